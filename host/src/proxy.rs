//! The phases of a call, in order. No wasm, no transport and no era in here.

mod call;
mod cursors;
mod definitions;
mod link;
mod list;
mod listen;
pub mod methods;
mod modern;
mod notices;
mod outgoing;
mod questions;
pub mod rescue;
mod rounds;
mod snapshot;
mod uris;
mod wanted;

pub use link::{CallScope, Joining, Link, Opening};
pub(crate) use modern::without_tasks;
pub use outgoing::Filtered;
pub use rounds::Spent;
pub use snapshot::{Snapshot, method_kinds};
pub use wanted::Wanted;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::jsonrpc::Message;

/// The way back to a client: for one call (what belongs to it), or for a session (what does not).
pub trait Downlink: Send + Sync + 'static {
    /// Delivers a notification. Never waits: what a slow client cannot take is bounded and cut by
    /// the transport. Progress tokens are the client's own again.
    fn notify(&self, notification: Message);

    /// Asks the client something a server wants to know (sampling, elicitation, roots, ping). The
    /// answer is a result or an error, with whatever id; a client that cannot be asked is an error
    /// answer. Dropping the future tells the client that the question is void.
    fn ask(&self, request: Message) -> BoxFuture<'_, Message>;

    /// The same, for what comes over one connection in order. Who has to know of a question before
    /// anything that came after it notes it when this is called, not when the future is first polled.
    fn ask_in_order(self: Arc<Self>, request: Message) -> BoxFuture<'static, Message> {
        Box::pin(async move { self.ask(request).await })
    }

    /// How long its client has been silent; none while something is under way for it, or where it can
    /// do nothing but go on. What belongs to no client is silent for ever.
    fn silence(&self) -> Option<Duration> {
        Some(Duration::MAX)
    }

    /// Ends the session that it leads to, because others need its room. False if something has begun
    /// meanwhile. Where there is no session nothing is lost: the next request connects again.
    fn give_way(&self) -> bool {
        true
    }
}
