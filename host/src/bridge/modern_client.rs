//! A server of the legacy era, as clients of the modern one see it: every request stands for itself, and
//! what the server asks in the middle of a call is a result that asks.

mod capabilities;
mod exchange;
mod kept;
mod lines;
mod news;
mod parks;
mod tasks;
mod translate;
mod visits;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{lock, made, timestamp, unguessable};
use crate::jsonrpc::{self, Kind, Message};
use crate::protocol::{errors, methods, versions};
use crate::proxy::Wanted;
use crate::upstream::{
    Connection, Handshake, Hello, Lease, Outgoing, Owner, Reply, Subscription, UpstreamCall, UpstreamError,
    Upstreams, is_urgent_enough,
};

use exchange::{Attended, Exchange};
use kept::Tasks;
use lines::{Lines, NOTHING, Using};
use parks::{Parked, Parks, Whose};
use tasks::{TaskTools, Way};
use translate::Request;
use visits::Then;

/// How often it is looked for what nobody needs any more.
const SWEEP: Duration = Duration::from_secs(15);
/// How long the first connection may take: a start is longer than a call where it begins with a download.
const FIRST: Duration = Duration::from_secs(600);

/// A modern client's view of a legacy server. Dropping it ends all that is behind it.
struct ModernClient {
    core: Arc<Core>,
}

struct Core {
    /// What the server said to `initialize`, and that as `server/discover` says it.
    initialized: bytes::Bytes,
    discovery: Handshake,
    lines: Arc<Lines>,
    parks: Arc<Parks>,
    kept: Arc<Tasks>,
    way: Way,
    closed: OnceLock<UpstreamError>,
}

/// A connection that speaks the modern era to a server that does not.
pub(super) async fn connect(upstreams: &Arc<Upstreams>, hello: Hello) -> Result<Lease, UpstreamError> {
    let (adapter, transport) = open(upstreams, hello).await?;
    Ok(Lease::bridged(Arc::new(adapter), transport))
}

/// Opens a first connection to the server, to learn what it is.
async fn open(
    upstreams: &Arc<Upstreams>,
    hello: Hello,
) -> Result<(ModernClient, &'static str), UpstreamError> {
    let stop = CancellationToken::new();
    let stopping = stop.clone().drop_guard();
    let unreachable = |reason: &str| UpstreamError::Unreachable {
        server: Arc::clone(&hello.server),
        reason: reason.to_owned(),
    };
    let name = unguessable().ok_or_else(|| unreachable("the system gives no random numbers"))?;
    let of_server = upstreams.parking(&hello.server).ok_or_else(|| unreachable("it is not configured"))?;
    let lines = Lines::new(upstreams, &hello, name, stop.clone());
    let first = lines.acquire(NOTHING, &CancellationToken::new(), Instant::now() + FIRST).await?;
    let bounds = upstreams.bounds();
    let initialized = first.line().connection().handshake().result.clone();
    let (pipes, transport) = first.line().transport();
    // One that waits keeps its connection: there must be one left for the others.
    let spare = if pipes { bounds.bridged_connections - 1 } else { u32::MAX };
    let most = match spare < bounds.parked_calls {
        true => (spare as usize, "limits.bridged_connections"),
        false => (bounds.parked_calls as usize, "limits.parked_calls"),
    };
    let has_tasks = translate::has_tasks(&initialized);
    let lasts = Duration::from_secs(bounds.task_seconds);
    let core = Arc::new(Core {
        discovery: Handshake {
            protocol_version: versions::MODERN[0].to_owned(),
            result: translate::discovery(&initialized),
        },
        kept: Arc::new(Tasks::new(initialized.clone(), lasts, stop.clone())),
        initialized,
        parks: Arc::new(Parks::new(most, hello.owner == Owner::Shared, of_server)),
        way: Way {
            server: Arc::clone(&hello.server),
            patience: Duration::from_secs(bounds.parked_seconds),
            stop,
            tools: has_tasks.then(Arc::<TaskTools>::default),
            lasts,
        },
        lines,
        closed: OnceLock::new(),
    });
    drop(first);
    tokio::spawn(sweep(Arc::downgrade(&core), core.way.stop.clone()));
    // From here on the adapter ends it.
    stopping.disarm();
    Ok((ModernClient { core }, transport))
}

async fn sweep(core: std::sync::Weak<Core>, stop: CancellationToken) {
    while tokio::time::timeout(SWEEP, stop.cancelled()).await.is_err() {
        let Some(core) = core.upgrade() else { return };
        core.lines.sweep();
        core.parks.sweep();
        core.kept.sweep();
    }
}

impl Connection for ModernClient {
    fn handshake(&self) -> &Handshake {
        &self.core.discovery
    }

    fn call(&self, call: UpstreamCall) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        Box::pin(self.core.call(call))
    }

    fn notify(&self, _: Message, _: Arc<dyn Outgoing>) -> BoxFuture<'_, Result<(), UpstreamError>> {
        // What modern clients tell is about requests of theirs, which are others here.
        Box::pin(std::future::ready(self.closed().map_or(Ok(()), Err)))
    }

    fn subscribe(&self, wanted: Wanted) -> BoxFuture<'_, Result<Subscription, UpstreamError>> {
        Box::pin(self.core.lines.subscribe(wanted, &self.core.initialized))
    }

    fn parks(&self) -> bool {
        true
    }

    fn has_parked(&self) -> bool {
        self.core.parks.len() > 0 || self.core.kept.len() > 0
    }

    fn abandon(&self, state: &str) {
        self.core.parks.abandon(state);
    }

    fn ended(&self) -> Option<CancellationToken> {
        Some(self.core.way.stop.clone())
    }

    /// A connection behind it that ends is replaced, so that it lasts as long as somebody wants it.
    fn closed(&self) -> Option<UpstreamError> {
        self.core.closed.get().cloned()
    }

    fn close(&self) {
        let _ = self.core.closed.set(self.core.lines.gone());
        self.core.way.stop.cancel();
        self.core.lines.end();
        self.core.lines.wishes.broke();
        self.core.parks.clear();
        self.core.kept.clear();
    }
}

impl Drop for ModernClient {
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    async fn call(&self, call: UpstreamCall) -> Result<Reply, UpstreamError> {
        if let Some(error) = self.closed.get() {
            return Err(error.clone());
        }
        let request = Request::of(&call.message);
        if &*request.method == methods::DISCOVER {
            return Ok(made(Message::response(b"0", &self.discovery.result)));
        }
        if self.way.tools.is_some() && kept::METHODS.contains(&&*request.method) {
            let principal = call.outgoing.principal();
            return Ok(made(self.kept.answer(&request, principal)));
        }
        if !request.is_legacy_too() {
            let text = format!("Method not found: {}", request.method);
            return Ok(made(Message::error(Some(b"0"), errors::METHOD_NOT_FOUND, &text, None)));
        }
        let state = request.state.as_deref().filter(|_| request.may_be_asked());
        let Some(state) = state else { return self.call_afresh(&request, &call).await };
        let whose = Whose::new(&request.method, call.outgoing.principal());
        match self.parks.take(state, &whose) {
            Some(Parked::Call(exchange)) => {
                exchange.resume(&request, &call);
                let outcome = exchange.attend(&call).await?;
                Ok(self.translated(&request, &whose, outcome))
            }
            Some(Parked::Visit(visit)) => {
                match visits::resume(&self.parks, visit, &request, &whose, self.way.patience) {
                    Then::Answer(message) => Ok(made(message)),
                    Then::CallAgain => self.call_afresh(&request, &call).await,
                }
            }
            None => {
                let text = "Invalid or expired requestState";
                Ok(made(Message::error(Some(b"0"), errors::INVALID_PARAMS, text, None)))
            }
        }
    }

    async fn call_afresh(&self, request: &Request, call: &UpstreamCall) -> Result<Reply, UpstreamError> {
        let whose = Whose::new(&request.method, call.outgoing.principal());
        let deadline = Instant::from_std(call.deadline.min(call.hard_deadline));
        let mut again = true;
        let mut place = None;
        if request.knows_tasks && self.way.makes_task(&request.message) {
            // Before anything is sent: there is no way to look after a task that has no place.
            match self.parks.place(&whose) {
                Ok(found) => place = Some(found),
                Err(limit) => return Ok(made(errors::busy(Some(b"0"), limit))),
            }
        }
        loop {
            let key = request.capabilities.json();
            let using = match request.may_be_asked() {
                true => self.lines.acquire(&key, &call.cancel, deadline).await?,
                false => self.lines.acquire_beside(&key, &call.cancel, deadline).await?,
            };
            tokio::select! {
                biased;
                () = call.cancel.cancelled() => {
                    using.spoil();
                    return Err(UpstreamError::Cancelled);
                }
                () = self.set_level(request, &using) => {}
                // The call itself says then that it is too late.
                () = tokio::time::sleep_until(deadline) => {}
            }
            let exchange = Exchange::begin(&self.parks, request, call, using, self.way.clone(), place.take());
            match exchange.attend(call).await {
                // The connection was over before the call left it, as only one that was idle can be.
                Err(UpstreamError::Gone { may_have_run: false, .. }) if std::mem::take(&mut again) => {
                    place = exchange.give_back();
                }
                outcome => return Ok(self.translated(request, &whose, outcome?)),
            }
        }
    }

    /// The server is told of a level only where it was told of none that includes it: what it says more
    /// than a client wants does not reach that.
    async fn set_level(&self, request: &Request, using: &Using) {
        let Some(level) = request.level.as_deref().filter(|level| using.line().knows_level(level)) else {
            return;
        };
        if jsonrpc::get(&self.initialized, "/capabilities/logging").is_none() {
            return;
        }
        let mut told = using.line().level.lock().await;
        if told.as_deref().is_some_and(|told| is_urgent_enough(level, told)) {
            return;
        }
        let params = format!(r#"{{"level":"{level}"}}"#);
        let message = Message::request(b"0", "logging/setLevel", Some(params.as_bytes()));
        match self.lines.tell(using, message).await {
            Ok(answer) if answer.kind() == Kind::Result => *told = Some(level.to_owned()),
            Ok(_) => {}
            Err(error) => tracing::debug!(target: "server", %error, "the log level was not set"),
        }
    }

    /// What the client gets for what came of waiting.
    fn translated(&self, request: &Request, whose: &Whose, outcome: Attended) -> Reply {
        let Reply { message, head } = match outcome {
            Attended::Question(message) => return made(message),
            Attended::Task(exchange) => return made(self.kept.keep(exchange, whose.clone())),
            Attended::Answer(reply) => reply,
        };
        if message.kind() == Kind::Error
            && translate::code(&message) == Some(errors::URL_ELICITATION_REQUIRED)
        {
            return made(visits::send(&self.parks, request, whose, &message, self.way.patience));
        }
        if let Some(tools) = self.way.tools.as_ref().filter(|_| &*request.method == "tools/list") {
            translate::task_tools(&message).for_each(|(name, required)| tools.note(&name, required));
        }
        Reply { message: translate::answer(request, message, &self.initialized), head }
    }
}

#[cfg(test)]
mod tests;
