//! Change notifications of a modern server: what everybody on a connection wants of them is asked for
//! with one `subscriptions/listen` (2026-07-28, subscriptions), which is made anew when that changes
//! or when it breaks.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::jittered;
use super::exchange::{Clock, Line, Own};
use super::modern::{error_text, with_envelope};
use super::wire::lock;
use super::{Outgoing, UpstreamError};
use crate::jsonrpc::{self, Kind, Message};
use crate::protocol::{errors, methods, mirror};
use crate::proxy::{Downlink, Wanted};

/// How long a server may take to acknowledge.
const ACKNOWLEDGE: Duration = Duration::from_secs(20);
/// The first wait before a broken subscription is made anew, and the longest.
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(60);
/// One that lived this long was healthy: the next attempt is the first again.
const HEALTHY: Duration = Duration::from_secs(30);
/// As good as for ever: a subscription ends when one side wants it to.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is wanted of one connection's changes.
pub(super) struct Subscriptions {
    shared: Arc<Shared>,
}

struct Shared {
    line: Arc<Line>,
    outgoing: Arc<dyn Outgoing>,
    wants: Mutex<Wants>,
    changed: watch::Sender<u64>,
    settled: watch::Sender<Settled>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Wants {
    next: u64,
    by_number: BTreeMap<u64, Wanted>,
    running: bool,
}

/// What came of the wish of that version: what is honoured, or why nothing is.
#[derive(Clone, Default)]
struct Settled {
    version: u64,
    honoured: Wanted,
    error: Option<UpstreamError>,
}

/// One user's part. Dropping it takes back what only this one wanted.
pub struct Subscription {
    /// What of the wish the server honours.
    pub honoured: Wanted,
    /// Cancelled when the connection ends: then nothing comes any more.
    pub ended: CancellationToken,
    _part: Box<dyn Any + Send + Sync>,
}

impl Subscription {
    /// One that somebody else keeps up: `part` takes it back when it is dropped.
    pub(crate) fn new(
        honoured: Wanted,
        ended: CancellationToken,
        part: impl Send + Sync + 'static,
    ) -> Subscription {
        Subscription { honoured, ended, _part: Box::new(part) }
    }
}

struct Part {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Part {
    fn drop(&mut self) {
        lock(&self.shared.wants).by_number.remove(&self.number);
        self.shared.changed.send_modify(|version| *version += 1);
    }
}

impl Subscriptions {
    pub(super) fn new(line: Arc<Line>, outgoing: Arc<dyn Outgoing>) -> Subscriptions {
        let shared = Shared {
            line,
            outgoing,
            wants: Mutex::default(),
            changed: watch::Sender::new(0),
            settled: watch::Sender::new(Settled::default()),
            stop: CancellationToken::new(),
        };
        Subscriptions { shared: Arc::new(shared) }
    }

    /// Ends them all.
    pub(super) fn end(&self) {
        self.shared.stop.cancel();
    }

    /// Adds a wish, and waits until the server has said what of it it honours.
    pub(super) async fn subscribe(&self, wanted: Wanted) -> Result<Subscription, UpstreamError> {
        let shared = &self.shared;
        let mut settled = shared.settled.subscribe();
        let (part, version) = {
            let mut wants = lock(&shared.wants);
            let number = wants.next;
            wants.next += 1;
            wants.by_number.insert(number, wanted.clone());
            let mut version = 0;
            shared.changed.send_modify(|now| {
                *now += 1;
                version = *now;
            });
            if !std::mem::replace(&mut wants.running, true) {
                tokio::spawn(run(Arc::clone(shared)));
            }
            (Part { shared: Arc::clone(shared), number }, version)
        };
        let gone = || {
            shared.line.inbox.closed().unwrap_or(UpstreamError::Gone {
                server: Arc::clone(&shared.line.inbox.server),
                reason: "was let go".to_owned(),
                may_have_run: false,
            })
        };
        let outcome = tokio::select! {
            settled = settled.wait_for(|settled| settled.version >= version) => match settled {
                Ok(settled) => settled.clone(),
                Err(_) => return Err(gone()),
            },
            () = shared.line.inbox.ended.cancelled() => return Err(gone()),
            () = shared.stop.cancelled() => return Err(gone()),
        };
        match outcome.error {
            Some(error) => Err(error),
            None => {
                let ended = shared.line.inbox.ended.clone();
                Ok(Subscription { honoured: wanted.both(&outcome.honoured), ended, _part: Box::new(part) })
            }
        }
    }
}

/// The one task of a connection that keeps its subscription up.
async fn run(shared: Arc<Shared>) {
    let keeping = keep(&shared);
    tokio::select! {
        () = keeping => {}
        () = shared.stop.cancelled() => {}
        () = shared.line.inbox.ended.cancelled() => {}
    }
}

async fn keep(shared: &Arc<Shared>) {
    let mut changes = shared.changed.subscribe();
    let mut current: Option<Running> = None;
    let mut wait = RETRY;
    let mut broke = false;
    loop {
        let version = *changes.borrow_and_update();
        let union = lock(&shared.wants).by_number.values().fold(Wanted::default(), |all, one| all.or(one));
        if union.is_empty() {
            (current, broke) = (None, false);
            shared.settled.send_replace(Settled { version, ..Settled::default() });
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let fits = current.as_ref().is_some_and(|running| union.within(&running.wanted));
        if !fits {
            // The old one stays up until the new one is: nothing is missed in between.
            let begun = {
                let mut beginning = std::pin::pin!(Running::begin(shared, union.clone()));
                loop {
                    tokio::select! {
                        begun = &mut beginning => break begun,
                        _ = ended(&mut current) => (current, broke) = (None, true),
                    }
                }
            };
            match begun {
                Ok(running) => {
                    if broke {
                        running.honoured.tell_that_all_may_have_changed(shared);
                    }
                    broke = false;
                    current = Some(running);
                }
                Err(error) => {
                    let server = &*shared.line.inbox.server;
                    tracing::debug!(target: "server", server, %error, "no subscription to changes");
                    // Who has a subscription does not look at it any more; who waits for one does.
                    let settled = Settled { version, honoured: Wanted::default(), error: Some(error) };
                    shared.settled.send_replace(settled);
                    tokio::select! {
                        () = tokio::time::sleep(jittered(wait)) => {}
                        _ = changes.changed() => {}
                    }
                    wait = (wait * 2).min(MOST_RETRY);
                    continue;
                }
            }
        }
        let Some(running) = &mut current else { continue };
        shared.settled.send_replace(Settled { version, honoured: running.honoured.clone(), error: None });
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            error = &mut running.over => {
                let server = &*shared.line.inbox.server;
                tracing::debug!(target: "server", server, %error, "the subscription to changes ended");
                if running.began.elapsed() >= HEALTHY {
                    wait = RETRY;
                }
                current = None;
                broke = true;
                tokio::select! {
                    () = tokio::time::sleep(jittered(wait)) => {}
                    _ = changes.changed() => {}
                }
                wait = (wait * 2).min(MOST_RETRY);
            }
        }
    }
}

/// Waits for the end of the one there is; for ever if there is none.
async fn ended(current: &mut Option<Running>) -> String {
    match current {
        Some(running) => (&mut running.over).await,
        None => std::future::pending().await,
    }
}

/// One subscription that the server acknowledged.
struct Running {
    wanted: Wanted,
    honoured: Wanted,
    began: Instant,
    over: BoxFuture<'static, String>,
}

impl Running {
    async fn begin(shared: &Arc<Shared>, wanted: Wanted) -> Result<Running, UpstreamError> {
        let (heard, mut acknowledged) = mpsc::channel(1);
        let params = format!(r#"{{"notifications":{}}}"#, wanted.json());
        let message = with_envelope(Message::request(b"0", methods::LISTEN, Some(params.as_bytes())));
        let line = Arc::clone(&shared.line);
        let headers =
            if line.wire.cancels_by_leaving() { mirror::of(&message, None) } else { Default::default() };
        let own = Own {
            purpose: "stream",
            downlink: Some(Arc::new(Acknowledgement(heard))),
            outgoing: Arc::clone(&shared.outgoing),
            headers,
        };
        let server = Arc::clone(&line.inbox.server);
        let mut over: BoxFuture<'static, Result<Message, UpstreamError>> = Box::pin(async move {
            let end = Instant::now() + FOR_EVER;
            let never = CancellationToken::new();
            line.ask(message, own, &never, Clock::new(end, end)).await.map(|reply| reply.message)
        });
        let refused = |message: Message| {
            let reason = match message.kind() {
                Kind::Error => format!("it refused `{}`: {}", methods::LISTEN, error_text(&message)),
                _ => format!("it ended `{}` at once", methods::LISTEN),
            };
            UpstreamError::Unreachable { server: Arc::clone(&server), reason }
        };
        let honoured = tokio::select! {
            biased;
            Some(honoured) = acknowledged.recv() => Some(honoured),
            ended = &mut over => return Err(ended.map_or_else(|error| error, refused)),
            () = tokio::time::sleep(ACKNOWLEDGE) => None,
        };
        let Some(honoured) = honoured else {
            let reason =
                format!("it did not acknowledge `{}` within {} s", methods::LISTEN, ACKNOWLEDGE.as_secs());
            return Err(UpstreamError::Unreachable { server, reason });
        };
        let honoured = wanted.both(&honoured);
        let over = Box::pin(async move {
            match over.await {
                Ok(_) => "the server ended it".to_owned(),
                Err(error) => error.to_string(),
            }
        });
        Ok(Running { wanted, honoured, began: Instant::now(), over })
    }
}

/// Hears what the server honours.
struct Acknowledgement(mpsc::Sender<Wanted>);

impl Downlink for Acknowledgement {
    fn notify(&self, notification: Message) {
        if notification.method() == Some(methods::ACKNOWLEDGED) {
            let honoured = notification.param("notifications").map(Wanted::parse).unwrap_or_default();
            // Only the first one counts; it always has room.
            let _ = self.0.try_send(honoured);
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let why = "servers of this revision ask with their results";
        let refusal = Message::error(request.id(), errors::METHOD_NOT_FOUND, why, None);
        Box::pin(std::future::ready(refusal))
    }
}

impl Wanted {
    /// What was missed while there was no subscription is not told again: everything may be different
    /// (2026-07-28, subscriptions: no replay).
    fn tell_that_all_may_have_changed(&self, shared: &Shared) {
        for (honoured, kind) in
            [(self.tools, "tools"), (self.prompts, "prompts"), (self.resources, "resources")]
        {
            if honoured {
                let method = format!("notifications/{kind}/list_changed");
                shared.line.inbox.tell_all(&Message::notification(&method, None));
            }
        }
        for uri in &self.uris {
            let params = [b"{\"uri\":", &jsonrpc::escape(uri)[..], b"}"].concat();
            shared
                .line
                .inbox
                .tell_all(&Message::notification("notifications/resources/updated", Some(&params)));
        }
    }
}
