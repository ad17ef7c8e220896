//! What the transports need of the proxy behind them: who calls, a link to a server, and its calls.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::config::Config;
use crate::filter::{Caller, RequestHead};
use crate::gateway::{Authenticated, Gateway, Merged, Refusal};
use crate::jsonrpc::Message;
use crate::keys::Keys;
use crate::proxy::{CallScope, Joining, Link, Opening};

/// A proxy that clients can be connected to. [`Gateway`] is the one that is served; the transports
/// ask for no more than this, so that they can be driven without filters and servers behind them.
pub trait Endpoint: Send + Sync + 'static {
    /// The configuration as served now.
    fn config(&self) -> Arc<Config>;
    /// What ids given to clients are sealed with.
    fn keys(&self) -> &Keys;
    /// Who sends this HTTP request?
    fn authenticate(&self, head: RequestHead) -> BoxFuture<'_, Result<Authenticated, Refusal>>;
    /// A link to a server, and the server's `InitializeResult`. The error is a JSON-RPC error.
    fn open(&self, opening: Opening) -> BoxFuture<'_, Opened>;
    /// The standing that one request of the modern era has: there are no sessions, so it is shared
    /// by all requests of its principal. The error is a JSON-RPC error.
    ///
    /// Of such a standing [`Standing::call`] takes every modern method: `server/discover`, and
    /// `subscriptions/listen`, whose acknowledgement and notifications go to the call's downlink
    /// and whose answer is the end of the subscription. Letting go of it is all that ends it;
    /// [`Standing::close`] is for sessions.
    fn join(&self, joining: Joining) -> BoxFuture<'_, Joined>;
}

/// What joining comes to.
pub type Joined = Result<Arc<dyn Standing>, Message>;

/// What opening a link comes to.
pub type Opened = Result<(Arc<dyn Standing>, Bytes), Message>;

/// A client's standing on one server: [`Link`], as a transport sees it.
pub trait Standing: Send + Sync + 'static {
    /// Answers one request; none if it was cancelled.
    fn call(&self, request: Message, scope: CallScope) -> BoxFuture<'_, Option<Message>>;
    /// Passes a notification on.
    fn notify(&self, notification: Message, caller: Arc<Caller>) -> BoxFuture<'_, ()>;
    /// Tells the client that all lists may look different: it missed something.
    fn lists_changed(&self);
    /// Ends it. Called once.
    fn close(&self);
}

/// The running proxy as an [`Endpoint`].
pub struct Served(pub Arc<Gateway>);

impl Endpoint for Served {
    fn config(&self) -> Arc<Config> {
        self.0.config()
    }
    fn keys(&self) -> &Keys {
        self.0.keys()
    }
    fn authenticate(&self, head: RequestHead) -> BoxFuture<'_, Result<Authenticated, Refusal>> {
        self.0.authenticate(head).boxed()
    }
    fn open(&self, opening: Opening) -> BoxFuture<'_, Opened> {
        async move {
            if let Some(servers) = self.0.members(&opening.server) {
                let (merged, result) = Merged::open(self.0.clone(), servers, opening).await?;
                let standing: Arc<dyn Standing> = Arc::new(Combined(merged));
                return Ok((standing, result));
            }
            let (link, result) = self.0.open(opening).await?;
            let standing: Arc<dyn Standing> = Arc::new(Linked(link));
            Ok((standing, result))
        }
        .boxed()
    }
    fn join(&self, joining: Joining) -> BoxFuture<'_, Joined> {
        async move {
            if let Some(servers) = self.0.members(&joining.server) {
                let merged = Merged::join(self.0.clone(), servers, joining);
                let standing: Arc<dyn Standing> = Arc::new(Combined(merged));
                return Ok(standing);
            }
            let standing: Arc<dyn Standing> = Arc::new(Linked(self.0.join(joining).await?));
            Ok(standing)
        }
        .boxed()
    }
}

struct Linked(Arc<Link>);

impl Standing for Linked {
    fn call(&self, request: Message, scope: CallScope) -> BoxFuture<'_, Option<Message>> {
        self.0.call(request, scope).boxed()
    }
    fn notify(&self, notification: Message, caller: Arc<Caller>) -> BoxFuture<'_, ()> {
        self.0.notify(notification, caller).boxed()
    }
    fn lists_changed(&self) {
        self.0.lists_changed();
    }
    fn close(&self) {
        self.0.close();
    }
}

struct Combined(Merged);

impl Standing for Combined {
    fn call(&self, request: Message, scope: CallScope) -> BoxFuture<'_, Option<Message>> {
        self.0.call(request, scope).boxed()
    }
    fn notify(&self, notification: Message, caller: Arc<Caller>) -> BoxFuture<'_, ()> {
        self.0.notify(notification, caller).boxed()
    }
    fn lists_changed(&self) {
        self.0.lists_changed();
    }
    fn close(&self) {
        self.0.close();
    }
}
