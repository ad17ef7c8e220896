//! Changes: what legacy connections tell of by themselves, and the resources they have to be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exchange::Exchange;
use super::lines::{Lines, NOTHING, Using};
use super::lock;
use crate::jsonrpc::{self, Kind, Message};
use crate::protocol::errors;
use crate::proxy::{Downlink, Wanted};
use crate::upstream::{Subscription, UpstreamCall, UpstreamError};

/// How long a server may take for what only says what is wanted of it.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// How long a subscription may wait for a connection.
const CONNECT: Duration = Duration::from_secs(60);

/// Questions outside of any call that may wait on one connection. A server that asks more is broken.
const WAITING: usize = 16;

/// The downlink of a connection: changes go on, and what the server asks outside of any call waits for the
/// next call whose client can be asked.
pub(super) struct News {
    client: Arc<dyn Downlink>,
    /// A call that is known to be the only one on it, while nothing under way says so.
    only: Mutex<Option<Weak<Exchange>>>,
    /// None where it is not certain whose call the next one is.
    waiting: Option<Mutex<Vec<Waiting>>>,
}

/// A question that waits for a call.
pub(super) struct Waiting {
    pub(super) request: Message,
    /// Closed when the server took it back, or has waited for long enough.
    pub(super) answer: oneshot::Sender<Message>,
}

impl News {
    /// `waits`: whether questions outside of any call wait for the next one.
    pub(super) fn new(client: Arc<dyn Downlink>, waits: bool) -> News {
        News { client, only: Mutex::default(), waiting: waits.then(Mutex::default) }
    }

    /// The call that everything on the connection belongs to; none where that cannot be told.
    pub(super) fn owner(&self) -> Option<Arc<Exchange>> {
        lock(&self.only).as_ref().and_then(Weak::upgrade)
    }

    /// Until further notice, everything on the connection belongs to this call.
    pub(super) fn belongs_to(&self, only: Option<Weak<Exchange>>) {
        *lock(&self.only) = only;
    }

    /// Takes the questions that wait, for a call to bring them to its client.
    pub(super) fn take_waiting(&self) -> Vec<Waiting> {
        let Some(waiting) = &self.waiting else { return Vec::new() };
        let mut all = std::mem::take(&mut *lock(waiting));
        all.retain(|question| !question.answer.is_closed());
        all
    }

    /// Lets a question wait for the next call that can carry it. How long is decided by the connection,
    /// which drops this then.
    pub(super) fn wait(&self, request: Message) -> BoxFuture<'static, Message> {
        let refused =
            |request: &Message, why: &str| Message::error(request.id(), errors::METHOD_NOT_FOUND, why, None);
        let answered = self.waiting.as_ref().and_then(|waiting| {
            let mut waiting = lock(waiting);
            waiting.retain(|question| !question.answer.is_closed());
            let (answer, answered) = oneshot::channel();
            (waiting.len() < WAITING).then(|| {
                waiting.push(Waiting { request: request.clone(), answer });
                answered
            })
        });
        Box::pin(async move {
            match answered {
                Some(answered) => match answered.await {
                    Ok(answer) => answer,
                    Err(_) => refused(&request, "the call that would have carried this question is over"),
                },
                None => refused(&request, "clients of this server are asked during their calls only"),
            }
        })
    }
}

impl Downlink for News {
    fn notify(&self, notification: Message) {
        match notification.method().unwrap_or_default() {
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated" => self.client.notify(notification),
            // Whose it is cannot be told.
            _ => {}
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        match self.owner() {
            Some(exchange) => Box::pin(async move { exchange.ask(request).await }),
            None => self.wait(request),
        }
    }

    fn ask_in_order(self: Arc<Self>, request: Message) -> BoxFuture<'static, Message> {
        match self.owner() {
            Some(exchange) => exchange.ask_in_order(request),
            None => self.wait(request),
        }
    }

    fn silence(&self) -> Option<Duration> {
        self.client.silence()
    }

    fn give_way(&self) -> bool {
        self.client.give_way()
    }
}

/// Which resources clients want to hear of.
#[derive(Default)]
pub(super) struct Wishes {
    version: AtomicU64,
    next: AtomicU64,
    by_number: Mutex<BTreeMap<u64, BTreeSet<String>>>,
    /// Cancelled, and replaced, when a connection is lost that might have told something.
    current: Mutex<CancellationToken>,
}

impl Wishes {
    /// Changes with every wish.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Ends all subscriptions: whoever has one takes it up again, and learns that there was a gap.
    pub(super) fn broke(&self) {
        let broken = std::mem::take(&mut *lock(&self.current));
        broken.cancel();
    }

    fn all(&self) -> (u64, BTreeSet<String>) {
        let by_number = lock(&self.by_number);
        (self.version(), by_number.values().flatten().cloned().collect())
    }

    fn set(&self, number: u64, uris: BTreeSet<String>) {
        let mut by_number = lock(&self.by_number);
        let before = if uris.is_empty() { by_number.remove(&number) } else { by_number.insert(number, uris) };
        if before.as_ref() != by_number.get(&number) {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// One user's wishes. Dropping it takes them back.
struct Wish {
    lines: Weak<Lines>,
    number: u64,
}

impl Drop for Wish {
    fn drop(&mut self) {
        let Some(lines) = self.lines.upgrade() else { return };
        let before = lines.wishes.version();
        lines.wishes.set(self.number, BTreeSet::new());
        if lines.wishes.version() != before {
            lines.wish_soon();
        }
    }
}

impl Lines {
    /// Subscribes one user to what of `wanted` the server offers.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        wanted: Wanted,
        initialized: &[u8],
    ) -> Result<Subscription, UpstreamError> {
        // Of tasks that a modern client could name there are none.
        let mut honoured = Wanted { tasks: BTreeSet::new(), ..wanted }.offered(initialized);
        // Before anything is said: what is lost from now on ends this one.
        let ended = lock(&self.wishes.current).clone();
        let number = self.wishes.next.fetch_add(1, Ordering::Relaxed);
        let wish = Wish { lines: Arc::downgrade(self), number };
        self.wishes.set(number, honoured.uris.clone());
        // One that is always there, carries several calls, and so can be asked at any time.
        let deadline = Instant::now() + CONNECT;
        let using = self.acquire(NOTHING, &CancellationToken::new(), deadline).await?;
        self.wish(&using).await;
        if !honoured.uris.is_empty() {
            let accepted = using.line().subscribed.lock().await;
            honoured.uris.retain(|uri| accepted.contains(uri));
            drop(accepted);
            self.wishes.set(number, honoured.uris.clone());
        }
        drop(using);
        self.wish_soon();
        Ok(Subscription::new(honoured, ended, wish))
    }

    /// Tells the server on this connection which resources are wanted, where that changed.
    pub(super) async fn wish(&self, using: &Using) {
        let line = using.line();
        if line.version.load(Ordering::Acquire) == self.wishes.version() {
            return;
        }
        let mut subscribed = line.subscribed.lock().await;
        let (version, all) = self.wishes.all();
        let gone = subscribed.difference(&all).map(|uri| (uri.clone(), false));
        let new = all.difference(&subscribed).map(|uri| (uri.clone(), true));
        for (uri, on) in gone.chain(new).collect::<Vec<_>>() {
            let method = if on { "resources/subscribe" } else { "resources/unsubscribe" };
            let params = [b"{\"uri\":", &jsonrpc::escape(&uri)[..], b"}"].concat();
            let message = Message::request(b"0", method, Some(&params));
            match self.tell(using, message).await {
                Ok(answer) if on && answer.kind() == Kind::Result => drop(subscribed.insert(uri)),
                Ok(_) if on => {}
                Ok(_) => drop(subscribed.remove(&uri)),
                Err(error) => {
                    tracing::debug!(target: "server", %error, "could not say which resources are wanted");
                    return;
                }
            }
        }
        line.version.store(version, Ordering::Release);
    }

    /// The same for all connections that are free. The others are told when they are.
    pub(super) fn wish_soon(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for using in self.free() {
            if using.line().version.load(Ordering::Acquire) == self.wishes.version() {
                // Given back as it was: nothing is due, so that this ends.
                continue;
            }
            let lines = Arc::clone(self);
            runtime.spawn(async move {
                let before = lines.wishes.version();
                lines.wish(&using).await;
                let line = using.line();
                if line.version.load(Ordering::Acquire) != before && lines.wishes.version() == before {
                    // It cannot be told: it is tried again with the next wish, and not for ever.
                    line.version.store(before, Ordering::Release);
                }
            });
        }
    }

    /// A request of Lockgate's own, which no client waits for.
    pub(super) async fn tell(&self, using: &Using, message: Message) -> Result<Message, UpstreamError> {
        let deadline = std::time::Instant::now() + SOON;
        let call = UpstreamCall {
            message,
            // A server that asks meanwhile does not mean this: it waits for a client's call.
            downlink: Arc::clone(&using.line().news) as Arc<dyn Downlink>,
            cancel: CancellationToken::new(),
            deadline,
            hard_deadline: deadline,
            outgoing: self.outgoing(),
            definition: None,
        };
        let reply = using.line().connection().call(call).await;
        if reply.is_err() {
            using.spoil();
        }
        reply.map(|reply| reply.message)
    }
}
