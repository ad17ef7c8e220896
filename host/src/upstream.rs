//! The side of the MCP servers: connections over stdio and Streamable HTTP, in both eras.
//!
//! A connection re-mints ids and progress tokens, so that no two clients ever meet in them, and
//! gives back the caller's own.

mod address;
mod backoff;
mod child;
mod command;
mod exchange;
mod fan_in;
mod framing;
mod gate;
mod http;
mod hub;
mod inbox;
mod legacy;
mod modern;
mod pool;
mod route;
mod sse;
mod stdio;
mod subscriptions;
mod websocket;
mod wire;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::filter::{CallView, Principal, Rejection};
use crate::jsonrpc::{Message, Violation};
use crate::proxy::{Downlink, Wanted};
use crate::requester::Requester;
pub use child::guard;
pub use fan_in::is_urgent_enough;
pub(crate) use fan_in::known as known_level;
pub use pool::Upstreams;
pub use subscriptions::Subscription;

/// One connection to a server whose era is known.
pub trait Connection: Send + Sync + 'static {
    /// What the server said of itself.
    fn handshake(&self) -> &Handshake;
    /// Sends a request and waits for its final answer, whatever id either carries.
    fn call(&self, call: UpstreamCall) -> BoxFuture<'_, Result<Reply, UpstreamError>>;
    /// Sends a notification.
    fn notify(
        &self,
        notification: Message,
        outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'_, Result<(), UpstreamError>>;
    /// Asks to be told of changes, on the downlink of the [`Hello`], for as long as the subscription
    /// is held. Servers of the legacy era tell without being asked, but for single resources.
    fn subscribe(&self, wanted: Wanted) -> BoxFuture<'_, Result<Subscription, UpstreamError>>;
    /// Whether `tools/call` goes better with the tool's definition, because the server wants some of the
    /// arguments as headers (2026-07-28, transports).
    fn wants_definitions(&self) -> bool {
        false
    }
    /// Whether a question (`input_required`) is one that a call of this process waits with: then its
    /// `requestState` means nothing elsewhere, and has to be sealed.
    fn parks(&self) -> bool {
        false
    }
    /// Cancelled when it can be used no more; none where nobody has to know at once.
    fn ended(&self) -> Option<CancellationToken> {
        None
    }
    /// Whether a call waits here for its client to come back, so that letting go would end it.
    fn has_parked(&self) -> bool {
        false
    }
    /// Nobody will come back with this `requestState`: what waits under it is over.
    fn abandon(&self, _state: &str) {}
    /// Why it can be used no more; none while it can.
    fn closed(&self) -> Option<UpstreamError>;
    /// Ends it, and the child process or HTTP session behind it.
    fn close(&self);
}

/// What a server said of itself: to `initialize`, or to `server/discover`.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The revision agreed on.
    pub protocol_version: String,
    /// The whole raw `InitializeResult` or `DiscoverResult`.
    pub result: Bytes,
}

/// One request on its way to a server.
#[derive(Clone)]
pub struct UpstreamCall {
    /// The final message. Its id and progress token are replaced on the wire.
    pub message: Message,
    /// Where progress, logs and questions that belong to it go.
    pub downlink: Arc<dyn Downlink>,
    /// Cancelled: the server is told, and the call ends with [`UpstreamError::Cancelled`].
    pub cancel: CancellationToken,
    /// When to give up (and tell the server). Progress moves it by as much as was left at the
    /// start, up to `hard_deadline`.
    pub deadline: Instant,
    /// The end in any case.
    pub hard_deadline: Instant,
    /// The filters its HTTP exchanges pass.
    pub outgoing: Arc<dyn Outgoing>,
    /// The raw definition of the tool that it calls, where it is known: modern servers want some
    /// arguments as headers, and the definition says which.
    pub definition: Option<Bytes>,
}

/// The final answer of a server.
#[derive(Debug)]
pub struct Reply {
    /// A result or an error.
    pub message: Message,
    /// HTTP status and headers; none on stdio.
    pub head: Option<(u16, Arc<::http::HeaderMap>)>,
}

/// The `upstream` filters, as a connection sees them: called for every outgoing HTTP exchange.
pub trait Outgoing: Send + Sync + 'static {
    /// Returns the headers to send besides the transport's own.
    fn exchange(&self, draft: ExchangeDraft) -> BoxFuture<'_, Result<::http::HeaderMap, Rejection>>;
    /// The call it is for, if any.
    fn call(&self) -> Option<Arc<CallView>>;
    /// For whom.
    fn principal(&self) -> Option<Arc<Principal>>;
}

/// An HTTP exchange about to be made.
#[derive(Clone, Debug)]
pub struct ExchangeDraft {
    /// `call`, `initialize`, `notification`, `answer`, `stream`, `close`.
    pub purpose: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Full URL.
    pub url: Arc<str>,
    /// Body.
    pub message: Option<Bytes>,
}

/// What stands before the last lines of a server's stderr, at the end of the `reason` of an error.
/// They are for the operator: they may hold anything, another client's data included.
pub const LAST_WORDS: &str = "; its last words: ";

/// What stands before the text of an HTTP answer that is no message, or before where it leads to, at the
/// end of the `reason` of an error. It is for the operator, like the last words.
pub const SAID: &str = "; it said: ";

/// The part of a reason that is for clients; none if all of it is.
#[must_use]
pub fn for_clients(reason: &str) -> Option<&str> {
    let at = [LAST_WORDS, SAID].into_iter().filter_map(|mark| reason.find(mark)).min()?;
    reason.get(..at)
}

/// Why a server could not be reached or did not answer. Texts are for the client and name the
/// server and what to do; nothing of the host's inside.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The command could not be started.
    #[error("server `{server}` could not be started: {reason}")]
    NotStarted {
        /// Server.
        server: Arc<str>,
        /// Reason, with the PATH searched where that matters.
        reason: String,
    },
    /// The server ended, or its connection broke, while the call was under way.
    #[error("server `{server}` {reason}; {}", if *.may_have_run { "the call may have run" } else { "the call did not reach it" })]
    Gone {
        /// Server.
        server: Arc<str>,
        /// `exited with status 1`, `closed the connection`, …
        reason: String,
        /// Whether a byte of the call may have left.
        may_have_run: bool,
    },
    /// The server could not be connected to, or is no MCP server.
    #[error("server `{server}` is not reachable: {reason}")]
    Unreachable {
        /// Server.
        server: Arc<str>,
        /// What was tried and came back.
        reason: String,
    },
    /// Something answered at its address, but not what was asked: no MCP server, or none of that era
    /// or transport. Authorization that is missing is no such answer.
    #[error("server `{server}` is not reachable: {reason}")]
    NotServed {
        /// Server.
        server: Arc<str>,
        /// HTTP status of the answer.
        status: u16,
        /// What was tried and came back.
        reason: String,
    },
    /// The server speaks other revisions of the protocol only.
    #[error("server `{server}` speaks revision {} of the protocol; a client that speaks one of those can use it", .speaks.join(", "))]
    OtherEra {
        /// Server.
        server: Arc<str>,
        /// What it speaks, as far as it is known.
        speaks: Vec<String>,
    },
    /// Too late.
    #[error("server `{server}` did not answer within {seconds} s; the call may have run")]
    Timeout {
        /// Server.
        server: Arc<str>,
        /// Budget.
        seconds: u64,
    },
    /// What it sent breaks the JSON law or the protocol.
    #[error("server `{server}` sent an unacceptable message: {violation}")]
    Malformed {
        /// Server.
        server: Arc<str>,
        /// How.
        violation: Violation,
    },
    /// A limit of Lockgate's is reached.
    #[error("server `{server}` is busy: {limit} is reached")]
    Busy {
        /// Server.
        server: Arc<str>,
        /// The configuration key.
        limit: &'static str,
    },
    /// An `upstream` filter refused the exchange.
    #[error("refused on the way to server `{server}`: {}", .rejection.message)]
    Refused {
        /// Server.
        server: Arc<str>,
        /// As the filter said it.
        rejection: Rejection,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Whom a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Everybody.
    Shared,
    /// One principal (`issuer`, `id`).
    Principal(String, String),
    /// One client session.
    Session(Arc<str>),
    /// Modern clients that the bridge speaks for to a legacy server.
    Bridged {
        /// Tells such connections of one server apart.
        name: Arc<str>,
        /// Whether it carries one call at a time, so that everything on it is certainly that one's.
        alone: bool,
    },
}

/// What opens a connection.
#[derive(Clone)]
pub struct Hello {
    /// The server to reach.
    pub server: Arc<str>,
    /// Who asks for it: bounds and back-off are kept for each of them.
    pub requester: Requester,
    /// Whose it is. Of one owner there is at most one connection; asking again joins it.
    pub owner: Owner,
    /// Raw `params` of `initialize`: version, capabilities and client info are passed on. None for a
    /// client of the modern era, which says these things with every request.
    pub params: Option<Bytes>,
    /// Where what belongs to no call goes. Joining adds a further one; list changes go to all,
    /// questions only where it is certain whose they are.
    pub downlink: Arc<dyn Downlink>,
    /// Filters for exchanges of the connection's own.
    pub outgoing: Arc<dyn Outgoing>,
}

/// One user's hold on a connection. Dropping the last one closes it.
pub struct Lease {
    /// The connection.
    pub connection: Arc<dyn Connection>,
    /// The transport that it came about over, in words for people: `stdio`, `Streamable HTTP`,
    /// `HTTP+SSE`, `WebSocket`.
    pub transport: &'static str,
    /// None where the connection is its user's alone, and holds others itself.
    hold: Option<pool::Hold>,
}

impl Lease {
    /// A connection that belongs to one user, and stands for others that it holds itself.
    pub(crate) fn bridged(connection: Arc<dyn Connection>, transport: &'static str) -> Lease {
        Lease { connection, transport, hold: None }
    }

    /// Whether everything comes over one pipe, so that what a server asks says not for which call.
    pub(crate) fn is_one_pipe(&self) -> bool {
        self.transport != route::Over::Http.name()
    }

    /// This user subscribed to a resource.
    pub fn subscribed(&self, uri: &str) {
        if let Some(hold) = &self.hold {
            hold.fan_in().subscribed(hold.number(), uri);
        }
    }

    /// This user wants no news of a resource any more. True if nobody on the connection does, so that
    /// the server has to be told.
    pub fn unsubscribed(&self, uri: &str) -> bool {
        self.hold.as_ref().is_none_or(|hold| hold.fan_in().unsubscribed(hold.number(), uri))
    }

    /// This user wants log messages from that level on; what the server has to be told is the lowest
    /// level that anybody on the connection wants. None for what is no level.
    pub fn level(&self, level: &str) -> Option<&'static str> {
        match &self.hold {
            Some(hold) => hold.fan_in().level(hold.number(), level),
            None => fan_in::known(level),
        }
    }
}

#[cfg(test)]
mod tests;
