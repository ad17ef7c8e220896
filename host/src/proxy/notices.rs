//! What a server tells and asks, past the filters that look at it, on its way to one client; and
//! what a client tells, on its way up.
//!
//! Delivering never waits, but filters take their time. So what they look at waits in a queue of its
//! downlink, and one task takes it out in order. Where no filter looks there is neither.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::{Downlink, questions};
use crate::filter::chain::{Chain, Row, States};
use crate::filter::{CallView, NotificationView, QuestionView};
use crate::gateway::Gateway;
use crate::jsonrpc::Message;
use crate::protocol::{errors, methods};

/// What one waiting message costs besides its bytes, so that a flood of small ones is bounded too.
const OVERHEAD: usize = 256;

/// A downlink behind the `notification` and `input` filters.
pub(super) struct Screened {
    chain: Source,
    queue: Arc<Queue>,
}

/// Which filters look.
enum Source {
    /// Those that the call began with.
    Call(Arc<Chain>),
    /// The current ones at every message: it outlives many generations. Weak, because the gateway's
    /// connections hold this.
    Lasting(Weak<Gateway>),
}

/// The call that everything on its downlink belongs to, once it is known what that one is about.
struct About {
    call: Arc<CallView>,
    states: States,
}

/// Notifications on their way down, in their order.
struct Queue {
    server: Arc<str>,
    client: Arc<dyn Downlink>,
    about: OnceLock<About>,
    /// Most bytes that wait (`limits.stream_buffer_bytes`: they wait for the same stream).
    limit: usize,
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Taken in, and done with, since the beginning.
    taken: u64,
    done: u64,
    /// Dropped for lack of room since it was last said.
    lost: u64,
    /// Whether a task takes out what waits.
    running: bool,
    closed: bool,
}

struct Waiting {
    message: Message,
    cost: usize,
    /// None where only the order makes it wait.
    filters: Option<(Arc<Chain>, Arc<Row>)>,
}

impl Screened {
    /// The downlink of one call, which keeps the chain it began with. None if no filter of the chain
    /// looks at what servers tell or ask: then there is nothing to put in between.
    pub(super) fn of_call(
        client: &Arc<dyn Downlink>,
        server: &Arc<str>,
        chain: &Arc<Chain>,
        limit: usize,
    ) -> Option<Arc<Screened>> {
        let looks = chain.looks_at_notifications() || chain.looks_at_questions();
        looks.then(|| Screened::new(client.clone(), server, Source::Call(chain.clone()), limit))
    }

    /// The downlink of a session (what belongs to no call), or of a subscription.
    pub(super) fn lasting(
        client: Arc<dyn Downlink>,
        server: &Arc<str>,
        gateway: &Arc<Gateway>,
    ) -> Arc<Screened> {
        let limit = gateway.config().limits.stream_buffer_bytes;
        Screened::new(client, server, Source::Lasting(Arc::downgrade(gateway)), limit)
    }

    fn new(client: Arc<dyn Downlink>, server: &Arc<str>, chain: Source, limit: usize) -> Arc<Screened> {
        let queue = Queue {
            server: server.clone(),
            client,
            about: OnceLock::new(),
            limit,
            state: Mutex::default(),
            moved: Notify::new(),
        };
        Arc::new(Screened { chain, queue: Arc::new(queue) })
    }

    /// Says which call everything belongs to, before it goes up.
    pub(super) fn about(&self, call: &CallView, states: &States) {
        let states = match self.chain {
            Source::Call(_) => states.clone(),
            // They are those of filters that may have been replaced, and go by place in the chain.
            Source::Lasting(_) => States::none(),
        };
        let about = About { call: Arc::new(call.clone()), states };
        // A call goes up once; what would come second is the same call.
        let _ = self.queue.about.set(about);
    }

    /// Waits until everything told so far is out (`budget` at most), and lets nothing pass after:
    /// the call's answer comes next.
    pub(super) async fn finish(&self, budget: Duration) {
        let all = tokio::time::timeout(budget, self.queue.settled()).await.is_ok();
        let left = self.close();
        if !all {
            tracing::warn!(
                server = %self.queue.server,
                "{left} notifications of a call dropped: its filters were not through with them after limits.chain_ms"
            );
        }
    }

    /// Lets nothing pass any more. Returns how many were not out yet.
    pub(super) fn close(&self) -> u64 {
        let mut state = self.queue.lock();
        state.closed = true;
        state.bytes = 0;
        state.waiting = VecDeque::new();
        state.taken - state.done
    }

    /// None: nobody can say any more which filters look, so nothing passes.
    fn chain(&self) -> Option<Arc<Chain>> {
        match &self.chain {
            Source::Call(chain) => Some(chain.clone()),
            Source::Lasting(gateway) => gateway.upgrade()?.snapshot().chain(&self.queue.server).cloned(),
        }
    }
}

impl Downlink for Screened {
    fn notify(&self, notification: Message) {
        let Some(chain) = self.chain() else { return };
        // The protocol's own frame of a subscription: without it nothing of that reaches the client.
        let own = notification.method() == Some(methods::ACKNOWLEDGED);
        let filters = (!own && chain.looks_at_notifications())
            .then(|| chain.row(notification.method().unwrap_or_default()))
            .filter(|row| row.tells())
            .map(|row| (chain, row));
        self.queue.take(notification, filters);
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let Some(chain) = self.chain() else {
            let error = Message::error(request.id(), errors::by_status(503), "the session is over", None);
            return Box::pin(std::future::ready(error));
        };
        let row = chain
            .looks_at_questions()
            .then(|| chain.row(request.method().unwrap_or_default()))
            .filter(|row| row.asks());
        let Some(row) = row else { return self.queue.client.ask(request) };
        Box::pin(async move {
            let queue = &self.queue;
            // What was told before the question is out before it. If that takes too long, the
            // question is the more urgent one.
            let _ = tokio::time::timeout(chain.budget(), queue.settled()).await;
            let view = QuestionView {
                server: queue.server.clone(),
                method: Arc::from(request.method().unwrap_or_default()),
                params: params(&request),
                answer: None,
                call: queue.about.get().map(|about| about.call.clone()),
            };
            questions::put(&chain, &row, view, queue.states(), request, &*queue.client).await
        })
    }

    fn silence(&self) -> Option<Duration> {
        self.queue.client.silence()
    }

    fn give_way(&self) -> bool {
        self.queue.client.give_way()
    }
}

impl Queue {
    /// Delivers a notification that no filter looks at and that nothing waits before; else it waits.
    fn take(self: &Arc<Self>, message: Message, filters: Option<(Arc<Chain>, Arc<Row>)>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if filters.is_none() && !state.running {
            drop(state);
            return self.client.notify(message);
        }
        let cost = message.bytes().len() + OVERHEAD;
        if state.bytes > 0 && state.bytes + cost > self.limit {
            state.lost += 1;
            return;
        }
        state.bytes += cost;
        state.taken += 1;
        state.waiting.push_back(Waiting { message, cost, filters });
        if state.running {
            return;
        }
        // Whatever delivers does so on a runtime; without one there is nobody left to deliver to.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        state.running = true;
        drop(state);
        runtime.spawn(Running(self.clone()).drain());
    }

    fn next(&self) -> Option<Waiting> {
        let mut state = self.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.running = false;
            let lost = std::mem::take(&mut state.lost);
            if lost > 0 {
                tracing::warn!(
                    server = %self.server,
                    "{lost} notifications dropped: the server tells faster than filters look (limits.stream_buffer_bytes)"
                );
            }
        }
        next
    }

    /// Under the lock, so that nothing comes after the end: the client's side never waits.
    fn deliver(&self, message: Option<Message>, cost: usize) {
        let mut state = self.lock();
        if !state.closed {
            state.bytes -= cost;
            if let Some(message) = message {
                self.client.notify(message);
            }
        }
        state.done += 1;
        drop(state);
        self.moved.notify_waiters();
    }

    /// Waits until all that was taken in so far is done with.
    async fn settled(&self) {
        let until = self.lock().taken;
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.lock().done >= until {
                return;
            }
            moved.await;
        }
    }

    fn states(&self) -> &States {
        static NONE: States = States::none();
        self.about.get().map_or(&NONE, |about| &about.states)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of whoever delivers leaves the counters as they were before that message.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that takes out what waits.
struct Running(Arc<Queue>);

impl Running {
    async fn drain(self) {
        let queue = &self.0;
        while let Some(Waiting { message, cost, filters }) = queue.next() {
            let passed = match filters {
                None => Some(message),
                Some((chain, row)) => {
                    let call = queue.about.get().map(|about| about.call.clone());
                    pass(&chain, &row, &queue.server, true, call, queue.states(), message).await
                }
            };
            queue.deliver(passed, cost);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It ends by itself only when nothing waits. A filter that panicked must not stop the others
        // for good: what comes next starts a new one.
        if std::thread::panicking() {
            let mut state = self.0.lock();
            state.running = false;
            state.done = state.taken - state.waiting.len() as u64;
        }
    }
}

/// Ends a call's downlink however the call ends, left by its transport included.
pub(super) struct Closing<'a>(pub(super) Option<&'a Arc<Screened>>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if let Some(screened) = self.0 {
            screened.close();
        }
    }
}

/// Passes a notification of a client through the filters, in the order of the chain. None: it ends
/// here.
pub(super) async fn up(chain: &Chain, server: &Arc<str>, notification: Message) -> Option<Message> {
    if !chain.looks_at_notifications() {
        return Some(notification);
    }
    let row = chain.row(notification.method().unwrap_or_default());
    if !row.tells() {
        return Some(notification);
    }
    pass(chain, &row, server, false, None, &States::default(), notification).await
}

async fn pass(
    chain: &Chain,
    row: &Row,
    server: &Arc<str>,
    down: bool,
    call: Option<Arc<CallView>>,
    states: &States,
    notification: Message,
) -> Option<Message> {
    let before = params(&notification);
    let mut view = NotificationView {
        server: server.clone(),
        method: Arc::from(notification.method().unwrap_or_default()),
        down,
        params: before.clone(),
        call,
    };
    let passes = chain.notification(row, &mut view, states).await;
    passes.then(|| with_params(notification, &before, &view.params))
}

/// What filters see as `params`.
pub(super) fn params(message: &Message) -> Bytes {
    message.params().unwrap_or_else(|| Bytes::from_static(b"{}"))
}

/// The message with its params as filters left them. Untouched ones are the same bytes, not only
/// equal ones.
pub(super) fn with_params(message: Message, before: &Bytes, after: &Bytes) -> Message {
    let same = before.as_ptr() == after.as_ptr() && before.len() == after.len();
    if same { message } else { message.with_params(after) }
}

#[cfg(test)]
mod tests;
