//! A client's standing on one server, from `initialize` to the end of its session.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::Downlink;
use crate::filter::Caller;
use crate::jsonrpc::Message;

/// What opens a [`Link`].
pub struct Opening {
    /// The server asked for.
    pub server: Arc<str>,
    /// Names the session; unguessable, never logged whole.
    pub session: Arc<str>,
    /// Who opens it.
    pub caller: Arc<Caller>,
    /// Raw `params` of `initialize`.
    pub params: Bytes,
    /// Where what belongs to no call goes.
    pub downlink: Arc<dyn Downlink>,
}

/// What belongs to one call besides its message.
pub struct CallScope {
    /// Who makes it: re-authenticated with every HTTP request.
    pub caller: Arc<Caller>,
    /// Where its progress, logs and questions go.
    pub downlink: Arc<dyn Downlink>,
    /// Cancelled by `notifications/cancelled` or by whatever ends the session.
    pub cancel: CancellationToken,
}

/// A client's standing on one server.
pub struct Link {
    #[expect(dead_code, reason = "skeleton")]
    server: Arc<str>,
}

#[expect(unused_variables, reason = "skeleton")]
impl Link {
    /// Passes one request through the chain and returns the answer with the request's own id.
    /// None if it was cancelled: then the client gets no answer. Never called with `initialize` or `ping`.
    pub async fn call(self: &Arc<Self>, request: Message, scope: CallScope) -> Option<Message> {
        todo!()
    }

    /// Passes a notification of the client on. `notifications/cancelled` is the transport's own matter.
    pub async fn notify(self: &Arc<Self>, notification: Message, caller: Arc<Caller>) {
        todo!()
    }

    /// Ends it: lets go of the connection (and with it of a child that nobody else uses).
    pub fn close(&self) {
        todo!()
    }
}
