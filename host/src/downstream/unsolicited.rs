//! What belongs to no call: kept until the client listens, then sent there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::outlet::{Outlet, Undelivered, lock};
use super::stream::EventStream;
use crate::jsonrpc::Message;

/// Most bytes kept for a client that does not listen (yet). Most clients listen within a second of
/// `initialize` or never: this has to hold what a server says in that second, times all sessions.
const WAITING_BYTES: usize = 64 << 10;
/// Most messages kept likewise.
const WAITING_MESSAGES: usize = 64;

/// The session's own outlet, if the client opened one, and what waits for it.
#[derive(Default)]
pub struct Unsolicited {
    state: Mutex<State>,
    attached: Notify,
}

#[derive(Default)]
struct State {
    outlet: Option<(Arc<dyn Outlet>, Instant)>,
    waiting: VecDeque<Message>,
    bytes: usize,
    dropped: u64,
    /// Whether something may never have reached the client.
    missed: bool,
    ended: bool,
}

/// The client already listens, or the session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied;

impl Unsolicited {
    /// Delivers a notification, now or when the client listens. Of what waits, an equal earlier
    /// notice of a change is superseded, and the oldest goes when the bounds are reached.
    pub fn notify(&self, notification: Message) {
        let mut state = lock(&self.state);
        if state.ended {
            return;
        }
        if let Some((outlet, _)) = &state.outlet {
            match outlet.send(&notification) {
                Ok(()) => return,
                // Standard output stays the way back, however slowly it is read.
                Err(Undelivered::Full) if outlet.is_open() => return,
                // What went before into a connection that was lost may be lost with it.
                Err(_) => (state.outlet, state.missed) = (None, true),
            }
        }
        state.keep(notification);
    }

    /// Makes `outlet` the one. One that was attached less than `young` ago and is still read is not
    /// replaced: the client opened two at once. An older one is: its client came back before the
    /// loss of the old connection could be noticed here. What waits, or waited in vain for a reader
    /// of the old one, is sent. Returns whether the client may have missed something all the same.
    pub fn attach(&self, outlet: Arc<dyn Outlet>, young: Duration) -> Result<bool, Occupied> {
        let mut state = lock(&self.state);
        if state.ended {
            return Err(Occupied);
        }
        if let Some((old, since)) = state.outlet.take_if(|(old, _)| old.is_open()) {
            if since.elapsed() < young {
                state.outlet = Some((old, since));
                return Err(Occupied);
            }
            old.end();
        }
        let left = state.outlet.take().and_then(|(left, _)| {
            let unsent = left.unsent();
            left.end();
            unsent
        });
        // Of what was sent before the connection was lost, nobody knows what arrived.
        state.missed |= left.is_some();
        state.bytes = 0;
        let waiting = std::mem::take(&mut state.waiting);
        for message in left.unwrap_or_default().into_iter().chain(waiting) {
            if outlet.send(&message).is_err() {
                break;
            }
        }
        state.outlet = Some((outlet, Instant::now()));
        let missed = std::mem::take(&mut state.missed);
        drop(state);
        self.attached.notify_waiters();
        Ok(missed)
    }

    /// Notes that a stream is read again. Whether it is this outlet.
    pub fn resumed(&self, stream: &Arc<EventStream>) -> bool {
        let own = match &mut lock(&self.state).outlet {
            Some((outlet, since)) if std::ptr::addr_eq(Arc::as_ptr(outlet), Arc::as_ptr(stream)) => {
                *since = Instant::now();
                true
            }
            _ => false,
        };
        self.attached.notify_waiters();
        own
    }

    /// The open outlet, waiting for one up to `within`.
    pub async fn outlet(&self, within: Duration) -> Option<Arc<dyn Outlet>> {
        let wait = async {
            loop {
                let mut attached = std::pin::pin!(self.attached.notified());
                attached.as_mut().enable();
                if let Some(outlet) = self.current() {
                    return Some(outlet);
                }
                if lock(&self.state).ended {
                    return None;
                }
                attached.await;
            }
        };
        tokio::time::timeout(within, wait).await.ok().flatten()
    }

    /// The open outlet, if there is one now.
    pub fn current(&self) -> Option<Arc<dyn Outlet>> {
        let state = lock(&self.state);
        state.outlet.as_ref().map(|(outlet, _)| outlet).filter(|outlet| outlet.is_open()).cloned()
    }

    /// Ends the outlet and forgets what waits. Nothing can be attached after it.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.waiting = VecDeque::new();
        if let Some((outlet, _)) = state.outlet.take() {
            outlet.end();
        }
        drop(state);
        self.attached.notify_waiters();
    }
}

impl State {
    fn keep(&mut self, notification: Message) {
        let says_only_that_something_changed = notification
            .method()
            .is_some_and(|method| method.ends_with("/list_changed") || method.ends_with("/updated"));
        if says_only_that_something_changed
            && let Some(at) = self.waiting.iter().position(|old| old.bytes() == notification.bytes())
            && let Some(old) = self.waiting.remove(at)
        {
            self.bytes -= old.bytes().len();
        }
        self.bytes += notification.bytes().len();
        self.waiting.push_back(notification);
        while self.bytes > WAITING_BYTES || self.waiting.len() > WAITING_MESSAGES {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.bytes -= oldest.bytes().len();
            self.dropped += 1;
            self.missed = true;
            tracing::debug!(dropped = self.dropped, "a client does not listen for notifications");
        }
    }
}
