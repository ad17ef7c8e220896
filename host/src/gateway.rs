//! The running proxy: one immutable snapshot behind a swap, and what outlives it.

use std::sync::Arc;

use bytes::Bytes;

use crate::filter::{Principal, RequestHead};
use crate::jsonrpc::Message;
use crate::proxy::{Link, Opening};

/// The running proxy. Transports hold one `Arc` of it.
pub struct Gateway {}

/// What the `authenticate` filters said of one HTTP request.
pub struct Authenticated {
    /// None where no filter authenticates.
    pub principal: Option<Arc<Principal>>,
    /// Headers (lower case) hidden from filters after this, besides the well-known credentials.
    pub hidden_headers: Vec<String>,
}

/// An HTTP refusal before any JSON-RPC.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// For the client.
    pub message: String,
}

#[expect(unused_variables, reason = "skeleton")]
impl Gateway {
    /// The configuration as served.
    pub fn config(&self) -> Arc<crate::config::Config> {
        todo!()
    }

    /// Runs the `authenticate` filters on the head of an HTTP request. stdio does not call this.
    pub async fn authenticate(&self, head: RequestHead) -> Result<Authenticated, Refusal> {
        todo!()
    }

    /// Opens a link: connects, initializes the server with the client's `initialize` params, and
    /// returns the `InitializeResult` for the client. The error is a JSON-RPC error without id.
    pub async fn open(self: &Arc<Self>, opening: Opening) -> Result<(Arc<Link>, Bytes), Message> {
        todo!()
    }
}
