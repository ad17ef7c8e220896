//! How long a connection may take over a request's head, and how long it may idle between requests.
//!
//! hyper knows one timeout for both. Here they differ: a head that trickles in is cut soon, while an
//! idle connection lives longer than a load balancer keeps it, so that none is closed under a
//! request that is just being sent on it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::downstream::outlet::lock;

/// Balancers keep connections to the servers behind them for 60 to 75 s.
const IDLE: Duration = Duration::from_secs(90);

/// The pace of one connection.
pub struct Pace {
    head: Duration,
    phase: Mutex<Phase>,
    changed: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle {
        until: Instant,
    },
    /// The first byte of a head is there (or the connection is new).
    Head {
        until: Instant,
    },
    /// A request is being answered; its own bounds hold.
    Busy,
}

impl Pace {
    /// Of a new connection, whose first head may take as long as any.
    pub fn new(head: Duration) -> Arc<Pace> {
        let phase = Mutex::new(Phase::Head { until: Instant::now() + head });
        Arc::new(Pace { head, phase, changed: Notify::new() })
    }

    /// A head is complete. Dropping what is returned says that the answer is.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.set(Phase::Busy);
        Busy(self.clone())
    }

    /// Returns when the connection has taken too long.
    pub async fn exceeded(&self) {
        loop {
            let changed = self.changed.notified();
            let phase = *lock(&self.phase);
            match phase {
                Phase::Busy => changed.await,
                Phase::Idle { until } | Phase::Head { until } => {
                    if tokio::time::timeout_at(until, changed).await.is_err() && *lock(&self.phase) == phase {
                        return;
                    }
                }
            }
        }
    }

    fn bytes_came(&self) {
        if matches!(*lock(&self.phase), Phase::Idle { .. }) {
            self.set(Phase::Head { until: Instant::now() + self.head });
        }
    }

    fn set(&self, phase: Phase) {
        *lock(&self.phase) = phase;
        // One waiter at most; a permit is kept for it.
        self.changed.notify_one();
    }
}

/// A request being answered.
pub struct Busy(Arc<Pace>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set(Phase::Idle { until: Instant::now() + IDLE });
    }
}

/// A connection that notes what comes in.
pub struct Paced {
    /// What it is.
    pub stream: TcpStream,
    /// Where it is noted.
    pub pace: Arc<Pace>,
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pace.bytes_came();
        }
        read
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(pace: &Pace) -> u64 {
        let before = Instant::now();
        pace.exceeded().await;
        before.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_waited_for_shortly_and_an_idle_connection_long() {
        let pace = Pace::new(Duration::from_secs(10));
        assert_eq!(waited(&pace).await, 10, "a new connection");
        let busy = pace.begin();
        let endless = tokio::time::timeout(Duration::from_secs(3600), pace.exceeded()).await;
        assert!(endless.is_err(), "an answer takes what it takes");
        pace.bytes_came();
        assert!(*lock(&pace.phase) == Phase::Busy, "a body is no head");
        drop(busy);
        assert_eq!(waited(&pace).await, 90);
        drop(pace.begin());
        let (_, waited) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_secs(30)).await;
                pace.bytes_came();
                tokio::time::sleep(Duration::from_secs(5)).await;
                pace.bytes_came();
            },
            waited(&pace)
        );
        assert_eq!(waited, 40, "the second byte does not buy more time");
    }
}
