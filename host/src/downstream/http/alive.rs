//! Noticing that the other end of a connection is gone, when nothing says so.
//!
//! A peer that loses power or its network sends no FIN. The kernel finds out by itself only after
//! hours, or a quarter of an hour when there is something to send; a stream that is held for so long
//! keeps its session, and that its child.

use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;

/// Unanswered probes that end a connection.
const PROBES: u32 = 3;

/// Has the kernel break the connection when the other end has been silent for `ping` and then
/// answered no probe, or acknowledged nothing of what was sent, for about three times as long.
///
/// # Errors
/// The system does not know one of the options; the connection works without it.
pub(super) fn watch(stream: &TcpStream, ping: Duration) -> nix::Result<()> {
    let seconds = u32::try_from(ping.as_secs()).unwrap_or(u32::MAX).clamp(1, 600);
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &seconds)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &seconds.div_ceil(2))?;
    setsockopt(stream, sockopt::TcpKeepCount, &PROBES)?;
    #[cfg(target_os = "linux")]
    setsockopt(stream, sockopt::TcpUserTimeout, &(seconds * PROBES * 1_000))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;

    #[tokio::test]
    async fn a_silent_connection_is_probed_and_given_up() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        watch(&stream, Duration::from_secs(20)).unwrap();
        assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
        assert_eq!(getsockopt(&stream, sockopt::TcpKeepIdle).unwrap(), 20);
        #[cfg(target_os = "linux")]
        assert_eq!(getsockopt(&stream, sockopt::TcpUserTimeout).unwrap(), 60_000);
        watch(&stream, Duration::ZERO).unwrap();
        assert_eq!(getsockopt(&stream, sockopt::TcpKeepIdle).unwrap(), 1, "no bound of nothing");
    }
}
