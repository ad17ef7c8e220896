//! The era adapter for servers up to 2025-11-25: the handshake, and calls as JSON-RPC requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::inbox::{Entry, Inbox, Waiter};
use super::wire::{Parcel, Wire};
use super::{Connection, Handshake, Outgoing, Reply, UpstreamCall, UpstreamError};
use crate::jsonrpc::{Kind, Message};

/// The revisions that a server may agree on.
const REVISIONS: [&str; 5] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2024-10-07"];

/// An initialized connection. Dropping it closes it.
pub(super) struct Session {
    inbox: Arc<Inbox>,
    wire: Arc<dyn Wire>,
    gate: Arc<Gate>,
    handshake: Handshake,
}

/// Initializes the server at the other end of `wire` with the client's own `params`.
pub(super) async fn open(
    inbox: Arc<Inbox>,
    wire: Arc<dyn Wire>,
    gate: Arc<Gate>,
    params: &Bytes,
    outgoing: Arc<dyn Outgoing>,
    patience: Duration,
) -> Result<Session, UpstreamError> {
    let mut closer = Closer { inbox: &inbox, wire: &wire, armed: true };
    let reply = initialize(&inbox, &wire, params, &outgoing, patience).await?;
    let handshake = handshake(&inbox.server, &reply)?;
    let headers = reply.head.as_ref().map(|(_, headers)| &**headers);
    wire.established(headers, &handshake.protocol_version);
    let initialized = Message::notification("notifications/initialized", None);
    tokio::time::timeout(patience, wire.send(initialized, "notification", outgoing))
        .await
        .map_err(|_| too_late(&inbox.server, patience))??;
    wire.listen(&inbox);
    closer.armed = false;
    drop(closer);
    Ok(Session { inbox, wire, gate, handshake })
}

impl Connection for Session {
    fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    fn call(&self, call: UpstreamCall) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        Box::pin(self.make(call))
    }

    fn notify(
        &self,
        notification: Message,
        outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'_, Result<(), UpstreamError>> {
        Box::pin(async move {
            if let Some(error) = self.inbox.closed() {
                return Err(error);
            }
            match notification.method().unwrap_or_default() {
                // Lockgate's own matter: their ids and their moment are not the client's.
                "notifications/cancelled" | "notifications/initialized" => return Ok(()),
                // A token of the server's is only known to be this client's if there is no other.
                "notifications/progress" if !self.inbox.one_owner() => return Ok(()),
                _ => {}
            }
            tokio::select! {
                sent = self.wire.send(notification, "notification", outgoing) => sent,
                () = self.inbox.ended.cancelled() => self.inbox.closed().map_or(Ok(()), Err),
            }
        })
    }

    fn closed(&self) -> Option<UpstreamError> {
        self.inbox.closed()
    }

    fn close(&self) {
        self.inbox.fail("was disconnected by Lockgate");
        self.wire.close();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

impl Session {
    async fn make(&self, call: UpstreamCall) -> Result<Reply, UpstreamError> {
        if let Some(error) = self.inbox.closed() {
            return Err(error);
        }
        let clock = Clock::new(call.deadline.into(), call.hard_deadline.into());
        let _permit = tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(UpstreamError::Cancelled),
            () = self.inbox.ended.cancelled() => return Err(self.inbox.closed().unwrap_or(UpstreamError::Cancelled)),
            permit = self.gate.enter() => permit?,
            () = tokio::time::sleep_until(clock.until) => return Err(UpstreamError::Busy {
                server: Arc::clone(&self.inbox.server),
                limit: "limits.calls_per_server",
            }),
        };
        let id = self.inbox.mint();
        let raw_id = id.to_string();
        let token = call.message.meta("progressToken").map(Bytes::copy_from_slice);
        let mut message = call.message.with_id(raw_id.as_bytes());
        if token.is_some() {
            message = message.with_meta("progressToken", Some(raw_id.as_bytes()));
        }
        let (entry, waiter) = Entry::new(id, token, Some(call.downlink), Arc::clone(&call.outgoing));
        self.inbox.expect(&entry)?;
        let mut under_way = UnderWay { session: self, entry: &entry, reason: "the client cancelled it" };
        let departure = Arc::clone(&entry.departure);
        let parcel = Parcel { id, message, purpose: "call", departure, outgoing: call.outgoing };
        let reply = exchange(&self.inbox, &self.wire, parcel, waiter, &call.cancel, clock).await;
        if let Err(UpstreamError::Timeout { .. }) = reply {
            under_way.reason = "it took too long";
        }
        reply
    }
}

/// A call that its caller still waits for. However the waiting ends before the answer, the server
/// is told, once, with the id it knows.
struct UnderWay<'a> {
    session: &'a Session,
    entry: &'a Arc<Entry>,
    reason: &'static str,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Session { inbox, wire, .. } = self.session;
        let never_left = self.entry.departure.withdraw();
        if !inbox.abandon(self.entry) || never_left || inbox.closed().is_some() {
            return;
        }
        let params = format!(r#"{{"requestId":{},"reason":"{}"}}"#, self.entry.id, self.reason);
        let cancelled = Message::notification("notifications/cancelled", Some(params.as_bytes()));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (inbox, wire, outgoing) = (Arc::clone(inbox), Arc::clone(wire), Arc::clone(&self.entry.outgoing));
        runtime.spawn(async move {
            let sent = tokio::select! {
                sent = wire.send(cancelled, "notification", outgoing) => sent,
                () = inbox.ended.cancelled() => Ok(()),
            };
            if let Err(error) = sent {
                tracing::debug!(target: "server", server = &*inbox.server, %error, "cancellation not sent");
            }
        });
    }
}

/// When an exchange ends for lack of an answer.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    budget: Duration,
    until: Instant,
    hard: Instant,
}

impl Clock {
    fn new(deadline: Instant, hard: Instant) -> Clock {
        let start = Instant::now();
        Clock { start, budget: deadline.saturating_duration_since(start), until: deadline.min(hard), hard }
    }

    fn seconds(&self) -> u64 {
        self.until
            .saturating_duration_since(self.start)
            .as_millis()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

async fn exchange(
    inbox: &Arc<Inbox>,
    wire: &Arc<dyn Wire>,
    parcel: Parcel,
    mut waiter: Waiter,
    cancel: &CancellationToken,
    mut clock: Clock,
) -> Result<Reply, UpstreamError> {
    let departure = Arc::clone(&parcel.departure);
    let mut request = wire.request(parcel, inbox);
    let mut requested = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut waiter.answer => return answer.unwrap_or(Err(UpstreamError::Cancelled)),
            () = cancel.cancelled() => return Err(UpstreamError::Cancelled),
            done = &mut request, if !requested => match done {
                Ok(()) => requested = true,
                // The reason that the inbox knows is the better one: it saw the end first.
                Err(error) => return waiter.answer.try_recv().unwrap_or(Err(error)),
            },
            () = tokio::time::sleep_until(clock.until) => {
                let alive = waiter.life.has_changed().unwrap_or(false).then(|| *waiter.life.borrow_and_update());
                match alive.map(|at| clock.hard.min(at + clock.budget)) {
                    Some(later) if later > clock.until => clock.until = later,
                    _ if departure.withdraw() => return Err(UpstreamError::Unreachable {
                        server: Arc::clone(&inbox.server),
                        reason: format!("it took nothing in for {} s; the call did not reach it", clock.seconds()),
                    }),
                    _ => return Err(UpstreamError::Timeout {
                        server: Arc::clone(&inbox.server),
                        seconds: clock.seconds(),
                    }),
                }
            }
        }
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
    let (entry, waiter) = Entry::new(id, None, None, Arc::clone(outgoing));
    inbox.expect(&entry)?;
    let departure = Arc::clone(&entry.departure);
    let parcel = Parcel { id, message, purpose: "initialize", departure, outgoing: Arc::clone(outgoing) };
    let deadline = Instant::now() + patience;
    // Not cancellable in the protocol: if it fails the connection is closed.
    let never = CancellationToken::new();
    let reply = exchange(inbox, wire, parcel, waiter, &never, Clock::new(deadline, deadline)).await;
    reply.map_err(|error| match error {
        UpstreamError::Timeout { .. } => too_late(&inbox.server, patience),
        error => error,
    })
}

fn handshake(server: &Arc<str>, reply: &Reply) -> Result<Handshake, UpstreamError> {
    let unusable = |reason| UpstreamError::Unreachable { server: Arc::clone(server), reason };
    let result = match (reply.message.kind(), reply.message.result()) {
        (Kind::Result, Some(result)) => result,
        _ => return Err(unusable(format!("it refused to initialize: {}", error_text(&reply.message)))),
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

/// What an error answer says, in one bounded line.
fn error_text(message: &Message) -> String {
    #[derive(serde::Deserialize)]
    struct Text {
        message: String,
    }
    let text = message.error_object().and_then(|error| serde_json::from_slice::<Text>(&error).ok());
    text.map_or_else(|| "no reason given".to_owned(), |t| t.message.escape_debug().take(300).collect())
}

fn too_late(server: &Arc<str>, patience: Duration) -> UpstreamError {
    UpstreamError::Unreachable {
        server: Arc::clone(server),
        reason: format!("it did not answer `initialize` within {} s", patience.as_secs()),
    }
}

/// Closes what was opened for a handshake that did not come about.
struct Closer<'a> {
    inbox: &'a Inbox,
    wire: &'a Arc<dyn Wire>,
    armed: bool,
}

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.inbox.fail("was disconnected by Lockgate");
            self.wire.close();
        }
    }
}
