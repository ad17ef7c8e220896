//! The `upstream` phase: what a connection asks before every HTTP exchange.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::filter::chain::Chain;
use crate::filter::{CallView, ExchangeView, Principal, Rejection};
use crate::upstream::{ExchangeDraft, Outgoing};

/// The chain of a server, for one call or for a connection's own exchanges.
pub struct Filtered {
    /// The server.
    pub server: Arc<str>,
    /// Its chain, of the snapshot the call began with.
    pub chain: Arc<Chain>,
    /// What decides which filters match; `initialize` for a connection's own exchanges.
    pub method: Arc<str>,
    /// The call, if there is one.
    pub call: Option<Arc<CallView>>,
    /// For whom. None on connections that several principals share.
    pub principal: Option<Arc<Principal>>,
}

impl Outgoing for Filtered {
    fn exchange(&self, draft: ExchangeDraft) -> BoxFuture<'_, Result<http::HeaderMap, Rejection>> {
        Box::pin(async move {
            if !self.chain.has_exchange(&self.method) {
                return Ok(http::HeaderMap::new());
            }
            let view = ExchangeView {
                server: self.server.clone(),
                purpose: draft.purpose,
                method: draft.method,
                url: draft.url,
                message: draft.message,
                call: self.call.clone(),
                principal: self.principal.clone(),
                headers: http::HeaderMap::new(),
            };
            self.chain.exchange(&self.method, view).await
        })
    }

    fn call(&self) -> Option<Arc<CallView>> {
        self.call.clone()
    }

    fn principal(&self) -> Option<Arc<Principal>> {
        self.principal.clone()
    }
}
