//! What a transport does for the era adapter: carries messages out and brings in what comes back.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

use super::inbox::Inbox;
use super::{Outgoing, UpstreamError};
use crate::jsonrpc::Message;

/// Status and headers of the HTTP answer that brought a message.
pub(super) type Head = (u16, Arc<http::HeaderMap>);

/// A transport, already opened.
pub(super) trait Wire: Send + Sync + 'static {
    /// Sends a request and gives everything that comes back to `inbox`, the answer included. `Ok`
    /// means that there is nothing more to do here than to wait for the answer.
    fn request<'a>(
        &'a self,
        parcel: Parcel,
        inbox: &'a Arc<Inbox>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>>;

    /// Sends a notification, or the answer to a question of the server.
    fn send<'a>(
        &'a self,
        message: Message,
        purpose: &'static str,
        outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>>;

    /// The server answered `initialize`: what the transport has to repeat from now on.
    fn established(&self, head: Option<&http::HeaderMap>, protocol_version: &str);

    /// The handshake is complete: opens whatever brings in messages that belong to no call.
    fn listen(&self, inbox: &Arc<Inbox>);

    /// Whether letting go of a request tells the server that it is cancelled (2026-07-28 over HTTP).
    fn cancels_by_leaving(&self) -> bool {
        false
    }

    /// Ends it, and what is behind it. Returns at once; the end itself takes its grace period.
    fn close(&self);
}

/// A request on its way out.
pub(super) struct Parcel {
    /// Its id on the wire.
    pub(super) id: u64,
    /// With that id.
    pub(super) message: Message,
    /// `call` or `initialize`.
    pub(super) purpose: &'static str,
    /// Whether it has left.
    pub(super) departure: Arc<Departure>,
    /// The filters of its HTTP exchanges.
    pub(super) outgoing: Arc<dyn Outgoing>,
    /// Headers that the era wants of its HTTP exchange (`Mcp-Method`, …). Filters cannot change them.
    pub(super) headers: http::HeaderMap,
}

/// Where a message came from, and so to whom it may belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The one pipe of a child process.
    Pipe,
    /// The HTTP answer to the request with this id.
    Call(u64),
    /// A stream for what belongs to no request.
    Stream,
}

const WAITING: u8 = 0;
const LEFT: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Whether the first byte of a request has left. Decides whether it may have run, and whether the
/// server has to be told of its cancellation.
#[derive(Debug, Default)]
pub(super) struct Departure(AtomicU8);

impl Departure {
    /// About to write the first byte. False: it was withdrawn and must not be written.
    pub(super) fn leave(&self) -> bool {
        match self.0.compare_exchange(WAITING, LEFT, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state == LEFT,
        }
    }

    /// Takes it back. False: too late.
    pub(super) fn withdraw(&self) -> bool {
        !matches!(self.0.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire), Err(LEFT))
    }

    pub(super) fn left(&self) -> bool {
        self.0.load(Ordering::Acquire) == LEFT
    }
}

/// Locks a mutex that only guards plain data, which a panic elsewhere does not make wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Departure;

    #[test]
    fn what_left_cannot_be_withdrawn_and_what_was_withdrawn_cannot_leave() {
        let left = Departure::default();
        assert!(left.leave() && left.left());
        assert!(!left.withdraw());
        assert!(left.left());

        let withdrawn = Departure::default();
        assert!(withdrawn.withdraw() && withdrawn.withdraw());
        assert!(!withdrawn.leave() && !withdrawn.left());
    }
}
