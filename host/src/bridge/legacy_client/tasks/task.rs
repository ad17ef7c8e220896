//! One kept task: how it stands, what is asked in it, and what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::super::{lock, timestamp};
use crate::jsonrpc::Message;
use crate::protocol::{errors, methods};
use crate::proxy::Downlink;
use crate::upstream::UpstreamError;

/// Open questions of one call: one that asks more is broken.
const QUESTIONS: usize = 64;
/// How often a client is told to look.
const POLL_MILLIS: u64 = 1_000;

/// A call that runs, or came to its end, while its client is elsewhere. It is the downlink of that call.
pub(super) struct Task {
    pub(super) id: String,
    /// Cancels the call.
    pub(super) cancel: CancellationToken,
    /// Nobody is told of it any more.
    pub(super) forgotten: CancellationToken,
    created: String,
    ttl: Duration,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

struct State {
    /// None while it runs.
    ended: Option<&'static str>,
    updated: String,
    /// What was said of it last.
    words: Option<String>,
    outcome: Option<Result<Message, UpstreamError>>,
    questions: BTreeMap<u64, Asked>,
    next: u64,
    /// Who waits for the result hears of progress: the latest of them.
    waiting: Option<Arc<dyn Downlink>>,
    /// Among the tasks that there may be; none once its client knows its end.
    places: Option<[OwnedSemaphorePermit; 2]>,
}

struct Asked {
    request: Message,
    /// None while it is being put to the client.
    answer: Option<oneshot::Sender<Message>>,
}

impl Task {
    pub(super) fn new(id: String, ttl: Duration, places: [OwnedSemaphorePermit; 2]) -> Task {
        let now = timestamp();
        let state = State {
            ended: None,
            updated: now.clone(),
            words: None,
            outcome: None,
            questions: BTreeMap::new(),
            next: 0,
            waiting: None,
            places: Some(places),
        };
        Task {
            id,
            cancel: CancellationToken::new(),
            forgotten: CancellationToken::new(),
            created: now,
            ttl,
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
        }
    }

    /// The task as its client sees it: raw (2025-11-25, tasks: `Task`).
    pub(super) fn described(&self) -> Vec<u8> {
        let state = lock(&self.state);
        let running = if state.questions.is_empty() { "working" } else { "input_required" };
        let mut told = serde_json::json!({
            "taskId": self.id,
            "status": state.ended.unwrap_or(running),
            "createdAt": self.created,
            "lastUpdatedAt": state.updated,
            "ttl": u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            "pollInterval": POLL_MILLIS,
        });
        if let (Some(words), Some(told)) = (&state.words, told.as_object_mut()) {
            told.insert("statusMessage".to_owned(), words.as_str().into());
        }
        told.to_string().into_bytes()
    }

    /// The call came to its end. A task that was cancelled before stays so.
    pub(super) fn finish(&self, outcome: Result<Message, UpstreamError>) {
        let good = outcome.as_ref().is_ok_and(|answer| {
            answer.result().is_some() && answer.result_member("isError") != Some(b"true")
        });
        self.end(if good { "completed" } else { "failed" }, outcome);
    }

    /// Its client wants it no more. False if it was at its end before.
    pub(super) fn cancel(&self) -> bool {
        let answer = Message::error(Some(b"0"), errors::INTERNAL, "the task was cancelled", None);
        let ended = self.end("cancelled", Ok(answer));
        if ended {
            self.cancel.cancel();
        }
        ended
    }

    fn end(&self, how: &'static str, outcome: Result<Message, UpstreamError>) -> bool {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return false;
        }
        state.ended = Some(how);
        state.outcome = Some(outcome);
        drop(state);
        self.has_changed();
        true
    }

    /// What came of the call; none while it runs.
    pub(super) fn outcome(&self) -> Option<Result<Message, UpstreamError>> {
        lock(&self.state).outcome.clone()
    }

    /// Gives its places back. False if it did before.
    pub(super) fn give_back(&self) -> bool {
        lock(&self.state).places.take().is_some()
    }

    /// Says whenever something about it changes.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Somebody waits for the result, and hears of progress as long as this is held.
    pub(super) fn waited_for<'a>(&'a self, client: &'a Arc<dyn Downlink>) -> Waiting<'a> {
        lock(&self.state).waiting = Some(Arc::clone(client));
        Waiting { task: self, client }
    }

    /// Questions that nobody was asked yet.
    pub(super) fn open_questions(&self) -> Vec<Question<'_>> {
        let mut state = lock(&self.state);
        let open = state.questions.iter_mut().filter_map(|(key, asked)| {
            let answer = asked.answer.take()?;
            Some(Question { task: self, key: *key, request: asked.request.clone(), answer: Some(answer) })
        });
        open.collect()
    }

    fn has_changed(&self) {
        lock(&self.state).updated = timestamp();
        self.changed.send_replace(());
    }

    fn take(&self, request: Message) -> Result<(u64, oneshot::Receiver<Message>), &'static str> {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return Err("the task that this question belongs to is over");
        }
        if state.questions.len() >= QUESTIONS {
            return Err("more than 64 questions of one call are open: answer those first");
        }
        let (answer, answered) = oneshot::channel();
        let key = state.next;
        state.next += 1;
        state.questions.insert(key, Asked { request, answer: Some(answer) });
        drop(state);
        self.has_changed();
        Ok((key, answered))
    }
}

impl Downlink for Task {
    fn notify(&self, notification: Message) {
        let waiting = {
            let mut state = lock(&self.state);
            if notification.method() == Some(methods::PROGRESS)
                && let Some(words) = notification.param_text("message")
            {
                state.words = Some(words.into_owned());
            }
            state.waiting.clone()
        };
        if let Some(waiting) = waiting {
            waiting.notify(notification);
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let id = request.id().map(<[u8]>::to_vec);
        let taken = self.take(request);
        Box::pin(async move {
            let why = match taken {
                Ok((key, answered)) => {
                    let _withdrawal = Withdrawal { task: self, key };
                    match answered.await {
                        Ok(answer) => return answer,
                        Err(_) => "the task that this question belongs to is over",
                    }
                }
                Err(why) => why,
            };
            Message::error(id.as_deref(), errors::INTERNAL, why, None)
        })
    }
}

/// A question that one client is asked. If that comes to nothing, the next who waits is.
pub(super) struct Question<'a> {
    task: &'a Task,
    key: u64,
    pub(super) request: Message,
    answer: Option<oneshot::Sender<Message>>,
}

impl Question<'_> {
    /// Asks, until there is an answer or the question has lost its sense.
    pub(super) async fn put(mut self, request: Message, client: &dyn Downlink) {
        let Some(asker) = &mut self.answer else { return };
        let answer = tokio::select! {
            biased;
            () = asker.closed() => return,
            answer = client.ask(request) => answer,
        };
        if let Some(asker) = self.answer.take() {
            let _ = asker.send(answer);
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        if let Some(asked) = lock(&self.task.state).questions.get_mut(&self.key) {
            asked.answer = Some(answer);
        }
        self.task.has_changed();
    }
}

/// Somebody waits for the result.
pub(super) struct Waiting<'a> {
    task: &'a Task,
    client: &'a Arc<dyn Downlink>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.task.state);
        if state.waiting.as_ref().is_some_and(|waiting| Arc::ptr_eq(waiting, self.client)) {
            state.waiting = None;
        }
    }
}

/// A question that is open: its answer came, or nobody waits for it any more.
struct Withdrawal<'a> {
    task: &'a Task,
    key: u64,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        lock(&self.task.state).questions.remove(&self.key);
        self.task.has_changed();
    }
}
