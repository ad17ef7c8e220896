//! A TCP connection that tells whether a request has begun to leave on it, and that does not begin one
//! where the other end has hung up.
//!
//! A server may close a connection that was kept for the next request at any moment. Whoever sends on it
//! nevertheless cannot know whether the request was read, and must not send it again. So the socket is
//! looked at before the first byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What has left on one connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: AtomicU64,
    /// As many as had left when the request that is under way began.
    before: AtomicU64,
    /// Nothing of that request has left, and nobody has looked at the socket for it.
    beginning: AtomicBool,
}

impl Sent {
    /// A request is about to leave on the connection.
    pub fn begin(&self) {
        self.0.before.store(self.0.bytes.load(Ordering::Acquire), Ordering::Release);
        self.0.beginning.store(true, Ordering::Release);
    }

    /// Whether nothing of the request that began last has left.
    #[must_use]
    pub fn nothing(&self) -> bool {
        self.0.before.load(Ordering::Acquire) == self.0.bytes.load(Ordering::Acquire)
    }
}

/// The connection.
#[derive(Debug)]
pub struct Counted {
    stream: TcpStream,
    sent: Sent,
}

impl Counted {
    /// Nothing has left on it yet.
    #[must_use]
    pub fn new(stream: TcpStream) -> Counted {
        Counted { stream, sent: Sent::default() }
    }

    fn look(&self) -> io::Result<()> {
        if self.sent.0.beginning.swap(false, Ordering::AcqRel) && has_hung_up(&self.stream) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the server had closed the connection",
            ));
        }
        Ok(())
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.sent.0.bytes.fetch_add(*bytes as u64, Ordering::AcqRel);
        }
        written
    }
}

/// Whether the other end has closed the connection, or its half of it, whatever is still unread.
#[cfg(target_os = "linux")]
fn has_hung_up(stream: &TcpStream) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    // Errors and a full end are reported unasked.
    let half = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
    poll(&mut [PollFd::new(stream.as_fd(), half)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Whether the other end has closed the connection and everything it sent was read.
#[cfg(not(target_os = "linux"))]
fn has_hung_up(stream: &TcpStream) -> bool {
    use nix::errno::Errno;
    use nix::sys::socket::{MsgFlags, recv};
    use std::os::fd::AsRawFd;
    match recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Ok(read) => read == 0,
        Err(error) => error != Errno::EAGAIN && error != Errno::EINTR,
    }
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.sent.clone())
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.look()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.count(written)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_request_does_not_begin_where_the_other_end_has_hung_up() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut client = Counted::new(client);
        let sent = client.sent.clone();
        sent.begin();
        client.write_all(b"one").await.unwrap();
        assert!(!sent.nothing());
        server.read_exact(&mut [0; 3]).await.unwrap();
        // Something is left to read: it hung up all the same.
        server.write_all(b"late").await.unwrap();
        drop(server);
        client.stream.readable().await.unwrap();
        client.stream.ready(tokio::io::Interest::READABLE).await.unwrap();
        sent.begin();
        while client.stream.try_read(&mut [0; 2]).is_ok_and(|read| read > 0) {}
        assert!(client.write_all(b"two").await.is_err());
        assert!(sent.nothing());
    }
}
