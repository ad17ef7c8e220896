//! Reading a request body within bounds: of one message, of all messages together, and of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use crate::config::Limits;

/// Slowest body that is waited for, after the time that a head may take: a 4 MiB message on a bad
/// mobile connection still passes, one byte a second does not.
const BYTES_PER_SECOND: u64 = 8 << 10;

/// Most of an unwanted body that is taken in: several times the largest message that any client means
/// to send.
const LINGERING_BYTES: usize = 64 << 20;

/// Why a body was not read, and what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// 413.
    #[error("the message is larger than `limits.client_message_bytes`")]
    TooLarge,
    /// 408.
    #[error("the body came too slowly")]
    TooSlow,
    /// 503.
    #[error("too much in flight; try again later")]
    Shed,
    /// 400. The connection broke, or its framing.
    #[error("the body broke off")]
    Broken,
}

/// The bytes of all client messages in flight.
#[derive(Debug, Default)]
pub struct InFlight(Arc<AtomicUsize>);

/// A share of them, given back when dropped.
#[derive(Debug)]
pub struct Share {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl InFlight {
    /// A share of nothing yet.
    pub fn share(&self) -> Share {
        Share { all: self.0.clone(), bytes: 0 }
    }
}

impl Share {
    /// Takes more; false (and nothing taken) if all together would exceed `most`.
    fn grow(&mut self, bytes: usize, most: usize) -> bool {
        let grown = self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
            all.checked_add(bytes).filter(|all| *all <= most)
        });
        if grown.is_ok() {
            self.bytes += bytes;
        }
        grown.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body. The share must live as long as the message.
pub async fn read(
    body: &mut Incoming,
    in_flight: &InFlight,
    limits: &Limits,
) -> Result<(Bytes, Share), Unread> {
    let mut share = in_flight.share();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits.client_message_bytes {
        return Err(Unread::TooLarge);
    }
    let begun = Instant::now();
    let grace = Duration::from_secs(limits.header_seconds);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let read = (first.len() + all.len()) as u64;
        let deadline = begun + grace + Duration::from_secs(read / BYTES_PER_SECOND);
        let frame = tokio::time::timeout_at(deadline, body.frame()).await.map_err(|_| Unread::TooSlow)?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if first.len() + all.len() + data.len() > limits.client_message_bytes {
            return Err(Unread::TooLarge);
        }
        if !share.grow(data.len(), limits.in_flight_bytes) {
            return Err(Unread::Shed);
        }
        // Most messages arrive in one piece: those are not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            // Grows with what came, not with what was announced: an announcement costs its sender nothing.
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, share))
}

/// Takes in what is left of a body that nobody wants, and forgets it. Many clients look for an answer only
/// after they have sent all of their request; if the connection were closed before, the refusal
/// would be lost with it. Bounded like a body that is wanted, in time, and in bytes by
/// [`LINGERING_BYTES`]; who sends on after that loses the answer.
pub async fn linger(mut body: Incoming, limits: &Limits) {
    let reading = async {
        let mut left = LINGERING_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // A client that is slower than this is gone, or means harm.
    let _ = tokio::time::timeout(Duration::from_secs(limits.header_seconds), reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back() {
        let in_flight = InFlight::default();
        let (mut a, mut b) = (in_flight.share(), in_flight.share());
        assert!(a.grow(60, 100) && !b.grow(41, 100) && b.grow(40, 100) && !a.grow(1, 100));
        drop(a);
        assert!(b.grow(60, 100));
        assert!(!b.grow(usize::MAX, usize::MAX), "no overflow");
        drop(b);
        assert_eq!(in_flight.0.load(Ordering::Relaxed), 0);
    }
}
