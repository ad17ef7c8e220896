//! One request under way on a connection: its way out, the wait for its answer, and what the server is
//! told if nobody waits any more. The same in both eras.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::inbox::{Entry, Inbox, Waiter};
use super::wire::{Parcel, Wire};
use super::{Outgoing, Reply, UpstreamCall, UpstreamError};
use crate::jsonrpc::Message;
use crate::protocol::{meta, methods};
use crate::proxy::Downlink;

/// A connection, as requests on it need it.
pub(super) struct Line {
    pub(super) inbox: Arc<Inbox>,
    pub(super) wire: Arc<dyn Wire>,
    pub(super) gate: Arc<Gate>,
}

/// Closes what was opened for a handshake that did not come about.
pub(super) struct Closer<'a> {
    pub(super) inbox: &'a Inbox,
    pub(super) wire: &'a Arc<dyn Wire>,
    pub(super) armed: bool,
}

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.inbox.fail("was disconnected by Lockgate");
            self.wire.close();
        }
    }
}

impl Line {
    /// Sends a request of a client and waits for its answer. Its id and progress token are replaced;
    /// `headers` are the transport's own.
    pub(super) async fn make(
        &self,
        call: UpstreamCall,
        headers: http::HeaderMap,
    ) -> Result<Reply, UpstreamError> {
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
        let own = Own { purpose: "call", downlink: Some(call.downlink), outgoing: call.outgoing, headers };
        self.ask(call.message, own, &call.cancel, clock).await
    }

    /// Sends one request and waits for its answer.
    pub(super) async fn ask(
        &self,
        message: Message,
        own: Own,
        cancel: &CancellationToken,
        clock: Clock,
    ) -> Result<Reply, UpstreamError> {
        let Own { purpose, downlink, outgoing, headers } = own;
        let id = self.inbox.mint();
        let raw_id = id.to_string();
        let token = message.meta(meta::PROGRESS_TOKEN).map(Bytes::copy_from_slice);
        let mut message = message.with_id(raw_id.as_bytes());
        if token.is_some() {
            message = message.with_meta(meta::PROGRESS_TOKEN, Some(raw_id.as_bytes()));
        }
        let (entry, waiter) = Entry::new(id, token, downlink, purpose == "call", Arc::clone(&outgoing));
        self.inbox.expect(&entry)?;
        let mut under_way = UnderWay { line: self, entry: &entry, reason: "the client cancelled it" };
        let departure = Arc::clone(&entry.departure);
        let parcel = Parcel { id, message, purpose, departure, outgoing, headers };
        let reply = exchange(&self.inbox, &self.wire, parcel, waiter, cancel, clock).await;
        if let Err(UpstreamError::Timeout { .. }) = reply {
            under_way.reason = "it took too long";
        }
        reply
    }

    /// Ends it for everybody on it.
    pub(super) fn close(&self) {
        self.inbox.fail("was disconnected by Lockgate");
        self.wire.close();
    }
}

/// What goes with a request besides its message.
pub(super) struct Own {
    /// `call`, `probe`, `stream` …
    pub(super) purpose: &'static str,
    /// None for what Lockgate asks itself.
    pub(super) downlink: Option<Arc<dyn Downlink>>,
    pub(super) outgoing: Arc<dyn Outgoing>,
    pub(super) headers: http::HeaderMap,
}

/// A call that its caller still waits for. However the waiting ends before the answer, the server
/// is told, once, with the id it knows.
struct UnderWay<'a> {
    line: &'a Line,
    entry: &'a Arc<Entry>,
    reason: &'static str,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Line { inbox, wire, .. } = self.line;
        let never_left = self.entry.departure.withdraw();
        if !inbox.abandon(self.entry) || never_left || inbox.closed().is_some() || wire.cancels_by_leaving() {
            return;
        }
        let params = format!(r#"{{"requestId":{},"reason":"{}"}}"#, self.entry.id, self.reason);
        let cancelled = Message::notification(methods::CANCELLED, Some(params.as_bytes()));
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
pub(super) struct Clock {
    start: Instant,
    budget: Duration,
    until: Instant,
    hard: Instant,
}

impl Clock {
    pub(super) fn new(deadline: Instant, hard: Instant) -> Clock {
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

pub(super) async fn exchange(
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
