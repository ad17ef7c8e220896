//! The era adapter for servers up to 2025-11-25: the handshake, and calls as JSON-RPC requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exchange::{Clock, Closer, Line, exchange};
use super::gate::Gate;
use super::inbox::{Entry, Inbox};
use super::modern::error_text;
use super::wire::{Parcel, Wire};
use super::{Connection, Handshake, Outgoing, Reply, Subscription, UpstreamCall, UpstreamError};
use crate::jsonrpc::{self, Kind, Message};
use crate::protocol::{errors, versions};
use crate::proxy::Wanted;

/// The revisions that a server may agree on.
const REVISIONS: [&str; 5] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2024-10-07"];

/// An initialized connection. Dropping it closes it.
pub(super) struct Session {
    line: Line,
    handshake: Handshake,
}

/// What an initialization begins with.
pub(super) struct Begin<'a> {
    /// The client's own.
    pub(super) params: &'a Bytes,
    pub(super) patience: Duration,
    pub(super) batch_messages: usize,
    /// On pipes, a server of the modern era may never answer `initialize`, or end.
    pub(super) silent_may_be_modern: bool,
}

/// Why there is no session.
pub(super) struct NotBegun {
    pub(super) error: UpstreamError,
    /// Whether a server that speaks the modern era only would end it like that as well. Missing
    /// credentials and outages are no evidence of an era.
    pub(super) may_be_modern: bool,
    /// Whether the server answered: an error answer belongs to whoever asked, and is no failed start.
    pub(super) answered: bool,
}

impl From<UpstreamError> for NotBegun {
    fn from(error: UpstreamError) -> NotBegun {
        NotBegun { error, may_be_modern: false, answered: false }
    }
}

/// Initializes the server at the other end of `wire`.
pub(super) async fn open(
    inbox: Arc<Inbox>,
    wire: Arc<dyn Wire>,
    gate: Arc<Gate>,
    outgoing: Arc<dyn Outgoing>,
    begin: Begin<'_>,
) -> Result<Session, NotBegun> {
    let Begin { params, patience, batch_messages, silent_may_be_modern } = begin;
    let mut closer = Closer { inbox: &inbox, wire: &wire, armed: true };
    let reply = initialize(&inbox, &wire, params, &outgoing, patience).await.map_err(|error| {
        let may_be_modern = match &error {
            UpstreamError::NotServed { status, .. } => (400..500).contains(status),
            UpstreamError::Timeout { .. } | UpstreamError::Gone { .. } => silent_may_be_modern,
            _ => false,
        };
        let error = match error {
            UpstreamError::Timeout { .. } => too_late(&inbox.server, patience),
            error => error,
        };
        NotBegun { error, may_be_modern, answered: false }
    })?;
    let handshake = handshake(&inbox.server, &reply).map_err(|error| NotBegun {
        error,
        may_be_modern: is_refused_as_unknown(&reply),
        answered: true,
    })?;
    let headers = reply.head.as_ref().map(|(_, headers)| &**headers);
    if handshake.protocol_version == versions::WITH_BATCHES {
        inbox.take_arrays(batch_messages);
    }
    wire.established(headers, &handshake.protocol_version);
    let initialized = Message::notification("notifications/initialized", None);
    tokio::time::timeout(patience, wire.send(initialized, "notification", outgoing))
        .await
        .map_err(|_| too_late(&inbox.server, patience))??;
    wire.listen(&inbox);
    closer.armed = false;
    drop(closer);
    Ok(Session { line: Line { inbox, wire, gate }, handshake })
}

impl Connection for Session {
    fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    fn call(&self, call: UpstreamCall) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        Box::pin(self.line.make(call, http::HeaderMap::new()))
    }

    fn notify(
        &self,
        notification: Message,
        outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'_, Result<(), UpstreamError>> {
        Box::pin(async move {
            if let Some(error) = self.line.inbox.closed() {
                return Err(error);
            }
            match notification.method().unwrap_or_default() {
                // Lockgate's own matter: their ids and their moment are not the client's.
                "notifications/cancelled" | "notifications/initialized" => return Ok(()),
                // A token of the server's is only known to be this client's if there is no other.
                "notifications/progress" if !self.line.inbox.one_owner() => return Ok(()),
                _ => {}
            }
            tokio::select! {
                sent = self.line.wire.send(notification, "notification", outgoing) => sent,
                () = self.line.inbox.ended.cancelled() => self.line.inbox.closed().map_or(Ok(()), Err),
            }
        })
    }

    fn subscribe(&self, _wanted: Wanted) -> BoxFuture<'_, Result<Subscription, UpstreamError>> {
        Box::pin(async {
            let server = Arc::clone(&self.line.inbox.server);
            Err(UpstreamError::OtherEra { server, speaks: vec![self.handshake.protocol_version.clone()] })
        })
    }

    fn ended(&self) -> Option<CancellationToken> {
        Some(self.line.inbox.ended.clone())
    }

    fn closed(&self) -> Option<UpstreamError> {
        self.line.inbox.closed()
    }

    fn close(&self) {
        self.line.close();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

async fn initialize(
    inbox: &Arc<Inbox>,
    wire: &Arc<dyn Wire>,
    params: &Bytes,
    outgoing: &Arc<dyn Outgoing>,
    patience: Duration,
) -> Result<Reply, UpstreamError> {
    let id = inbox.mint();
    let mut message = Message::request(id.to_string().as_bytes(), "initialize", Some(params));
    if message.meta("progressToken").is_some() {
        message = message.with_meta("progressToken", None);
    }
    let (entry, waiter) = Entry::new(id, None, None, false, Arc::clone(outgoing));
    inbox.expect(&entry)?;
    let departure = Arc::clone(&entry.departure);
    let headers = http::HeaderMap::new();
    let parcel =
        Parcel { id, message, purpose: "initialize", departure, outgoing: Arc::clone(outgoing), headers };
    let deadline = Instant::now() + patience;
    // Not cancellable in the protocol: if it fails the connection is closed.
    let never = CancellationToken::new();
    exchange(inbox, wire, parcel, waiter, &never, Clock::new(deadline, deadline)).await
}

/// Whether an answer refuses `initialize` as servers do that do not know it. An outage is no refusal.
fn is_refused_as_unknown(reply: &Reply) -> bool {
    const UNKNOWN: [i32; 5] = [
        errors::METHOD_NOT_FOUND,
        errors::INVALID_REQUEST,
        errors::INVALID_PARAMS,
        errors::HEADER_MISMATCH,
        errors::UNSUPPORTED_VERSION,
    ];
    let outage = reply.head.as_ref().is_some_and(|(status, _)| *status == 429 || *status >= 500);
    let code = reply.message.error_member("code");
    let code = code.and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
    !outage && code.is_some_and(|code| UNKNOWN.contains(&code))
}

fn handshake(server: &Arc<str>, reply: &Reply) -> Result<Handshake, UpstreamError> {
    let unusable = |reason| UpstreamError::Unreachable { server: Arc::clone(server), reason };
    if let Some(speaks) = only_modern(&reply.message) {
        return Err(UpstreamError::OtherEra { server: Arc::clone(server), speaks });
    }
    let result = match (reply.message.kind(), reply.message.result()) {
        (Kind::Result, Some(result)) => result,
        _ => {
            let reason = format!("it refused to initialize: {}", error_text(&reply.message));
            // Nothing is there for a POST: servers of HTTP+SSE may say so in JSON-RPC (2025-03-26, transports:
            // backwards compatibility goes by the status).
            return Err(match reply.head {
                Some((status @ (404 | 405), _)) => {
                    UpstreamError::NotServed { server: Arc::clone(server), status, reason }
                }
                _ => unusable(reason),
            });
        }
    };
    let version = reply.message.result_member("protocolVersion");
    let version = version.and_then(|raw| serde_json::from_slice::<String>(raw).ok());
    let Some(protocol_version) = version else {
        return Err(unusable("its answer to `initialize` has no `protocolVersion`".to_owned()));
    };
    if !REVISIONS.contains(&protocol_version.as_str()) {
        let shown: String = protocol_version.chars().take(40).collect();
        let known = REVISIONS.join(", ");
        return Err(unusable(format!(
            "it speaks revision {shown:?} of the protocol; Lockgate speaks {known}"
        )));
    }
    Ok(Handshake { protocol_version, result })
}

/// The revisions of a server that refused `initialize` because it speaks later ones only. It should
/// name them (2026-07-28, versioning).
fn only_modern(answer: &Message) -> Option<Vec<String>> {
    if answer.error_member("code")? != errors::UNSUPPORTED_VERSION.to_string().as_bytes() {
        return None;
    }
    let supported = jsonrpc::get(answer.error_member("data")?, "/supported")?;
    let mut speaks: Vec<String> = serde_json::from_slice(supported).ok()?;
    speaks.retain(|version| versions::modern(version).is_some());
    (!speaks.is_empty()).then_some(speaks)
}

fn too_late(server: &Arc<str>, patience: Duration) -> UpstreamError {
    UpstreamError::Unreachable {
        server: Arc::clone(server),
        reason: format!("it did not answer `initialize` within {} s", patience.as_secs()),
    }
}
