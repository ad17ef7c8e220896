//! A call that became a task: it goes on without anybody who waits for it, and its client looks after it
//! now and then.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::parks::Place;
use super::super::translate::input_requests;
use super::super::{lock, timestamp};
use super::{Exchange, State, reached};
use crate::jsonrpc::{self, Message};
use crate::upstream::UpstreamError;

/// What is known of the task that the server made of a call.
pub(super) struct Background {
    /// As the server described it last.
    described: Bytes,
    /// When it last changed; raw.
    updated: Bytes,
}

/// How a task is doing.
pub(in crate::bridge::modern_client) struct View {
    /// As the server described it last.
    pub(in crate::bridge::modern_client) described: Bytes,
    /// When it last changed; raw.
    pub(in crate::bridge::modern_client) updated: Bytes,
    pub(in crate::bridge::modern_client) stands: Stands,
}

pub(in crate::bridge::modern_client) enum Stands {
    Working,
    /// Raw `inputRequests`.
    Asking(Vec<u8>),
    Over(Result<Message, UpstreamError>),
}

impl Background {
    fn of(described: &[u8]) -> Background {
        let updated = text_at(described, "/lastUpdatedAt").unwrap_or_else(now);
        Background { described: Bytes::copy_from_slice(described), updated }
    }
}

impl State {
    /// Notes that something changed just now.
    pub(super) fn touch(&mut self) {
        if let Some(task) = &mut self.task {
            task.updated = now();
        }
    }
}

impl Exchange {
    /// Whether its client may be answered with a task.
    pub(in crate::bridge::modern_client) fn may_be_task(&self) -> bool {
        lock(&self.state).may_be_task
    }

    /// The server made a task of it, and describes that so.
    pub(in crate::bridge::modern_client) fn became(&self, described: &[u8]) {
        let mut state = lock(&self.state);
        if !state.may_be_task {
            return;
        }
        state.task = Some(Background::of(described));
        // Nobody is told of the progress of a task (the extension of tasks).
        state.client = None;
        drop(state);
        self.changed.send_replace(());
    }

    /// The server describes its task anew.
    pub(in crate::bridge::modern_client) fn described(&self, described: &[u8]) {
        let mut state = lock(&self.state);
        if let Some(task) = state.task.as_mut().filter(|task| task.described != described) {
            *task = Background::of(described);
        }
    }

    /// How the task is doing.
    pub(in crate::bridge::modern_client) fn view(&self) -> View {
        let state = lock(&self.state);
        let (described, updated) = match &state.task {
            Some(task) => (task.described.clone(), task.updated.clone()),
            None => (Bytes::new(), now()),
        };
        let stands = match &state.outcome {
            Some(Ok(reply)) => Stands::Over(Ok(reply.message.clone())),
            Some(Err(error)) => Stands::Over(Err(error.clone())),
            None if state.questions.is_empty() => Stands::Working,
            None => Stands::Asking(input_requests(state.open())),
        };
        View { described, updated, stands }
    }

    /// Cancels the task. One that is over stays what it is.
    pub(in crate::bridge::modern_client) fn withdraw(&self) {
        let mut state = lock(&self.state);
        if state.over {
            return;
        }
        state.over = true;
        state.outcome = Some(Err(UpstreamError::Cancelled));
        // Its questions are refused after that: a server could take their refusal for what ends the task.
        state.touch();
        drop(state);
        self.cancel.cancel();
        self.changed.send_replace(());
    }

    /// Gives the place back that it has among those that wait.
    pub(in crate::bridge::modern_client) fn give_back(&self) -> Option<Place> {
        lock(&self.state).place.take()
    }

    /// Sees to it, until the task is over, that no question waits for ever, and cancels it when its time is
    /// up.
    pub(in crate::bridge::modern_client) async fn watch(
        self: Arc<Self>,
        until: Instant,
        stop: CancellationToken,
    ) {
        let mut changed = self.changed.subscribe();
        loop {
            let (over, due) = {
                let state = lock(&self.state);
                (state.over, state.questions.values().map(|question| question.until).min())
            };
            if over {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(until) => {
                    self.withdraw();
                    return;
                }
                _ = changed.changed() => {}
                () = reached(due) => self.cancel_due(),
            }
        }
    }

    /// Answers the questions that waited too long.
    fn cancel_due(&self) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let all = std::mem::take(&mut state.questions);
        let (due, open) = all.into_iter().partition(|(_, question)| now >= question.until);
        state.questions = open;
        state.touch();
        std::collections::BTreeMap::into_values(due).for_each(super::Question::cancel);
    }
}

/// A raw text in what a server says of its task.
pub(in crate::bridge::modern_client) fn text_at(described: &[u8], at: &str) -> Option<Bytes> {
    let raw = jsonrpc::get(described, at).filter(|raw| raw.starts_with(b"\""));
    raw.map(Bytes::copy_from_slice)
}

/// Now, as raw JSON.
pub(in crate::bridge::modern_client) fn now() -> Bytes {
    jsonrpc::escape(&timestamp()).into()
}
