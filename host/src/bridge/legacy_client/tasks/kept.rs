//! Tasks of 2025-11-25 that Lockgate keeps around the calls of a client that asked for one: whether the
//! server makes tasks of its own of them or not, the client looks at this one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::calls::Way;
use super::super::{lock, made, refused, unguessable};
use super::task::Task;
use crate::config::Limits;
use crate::jsonrpc::{self, Message};
use crate::protocol::{errors, meta, tasks};
use crate::upstream::{Reply, UpstreamCall, UpstreamError};

/// Tasks without a place that are kept: those whose end the client knows. Older ones are forgotten.
const KNOWN: usize = 32;

/// All tasks that are kept for one client, whose session is one principal's: nobody else comes here.
pub(in super::super) struct Kept {
    all: Mutex<HashMap<String, Arc<Task>>>,
    /// Those whose end the client knows, the latest last.
    known: Mutex<VecDeque<String>>,
    room: Arc<Semaphore>,
    /// Of everybody's at this server.
    of_server: Arc<Semaphore>,
    longest: Duration,
    question: Duration,
    stop: CancellationToken,
}

impl Kept {
    pub(in super::super) fn new(limits: &Limits, of_server: Arc<Semaphore>) -> Arc<Kept> {
        Arc::new(Kept {
            all: Mutex::default(),
            known: Mutex::default(),
            room: Arc::new(Semaphore::new(limits.parked_calls as usize)),
            of_server,
            longest: Duration::from_secs(limits.task_seconds),
            question: Duration::from_secs(limits.parked_seconds),
            stop: CancellationToken::new(),
        })
    }

    /// Begins the call and answers with a task (2025-11-25, tasks: `CreateTaskResult`).
    pub(in super::super) fn begin(self: &Arc<Self>, way: &Arc<Way>, call: UpstreamCall) -> Reply {
        let Ok(mine) = Arc::clone(&self.room).try_acquire_owned() else {
            return made(errors::busy(Some(b"0"), "limits.parked_calls"));
        };
        let Ok(of_all) = Arc::clone(&self.of_server).try_acquire_owned() else {
            return made(errors::busy(Some(b"0"), "limits.calls_per_server"));
        };
        let Some(id) = unguessable() else {
            return refused(errors::INTERNAL, "no task could be named: the system gives no random numbers");
        };
        let asked = call.message.param("task").and_then(|task| jsonrpc::get(task, "/ttl"));
        let asked = asked.and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
        let ttl = asked.map_or(self.longest, Duration::from_millis).min(self.longest);
        let until = Instant::now() + ttl;
        let task = Arc::new(Task::new(id.clone(), ttl, [mine, of_all]));
        let told = task.described();
        lock(&self.all).insert(id, Arc::clone(&task));
        let call = UpstreamCall {
            message: tasks::not_as_a_task(call.message),
            downlink: task.clone(),
            cancel: task.cancel.clone(),
            hard_deadline: until.into_std(),
            ..call
        };
        let (kept, way) = (Arc::clone(self), Arc::clone(way));
        tokio::spawn(async move {
            kept.see_through(&task, &way, call, until).await;
            lock(&kept.all).remove(&task.id);
        });
        made(Message::response(b"0", &[b"{\"task\":", &told[..], b"}"].concat()))
    }

    async fn see_through(&self, task: &Task, way: &Way, call: UpstreamCall, until: Instant) {
        let outcome = {
            let running = way.call(call, self.question);
            tokio::pin!(running);
            tokio::select! {
                biased;
                outcome = &mut running => outcome,
                () = self.ends(task, until) => {
                    // It says so to the server, and comes to its end at once then.
                    task.cancel.cancel();
                    running.await
                }
            }
        };
        task.finish(outcome.map(|reply| reply.message));
        self.ends(task, until).await;
    }

    async fn ends(&self, task: &Task, until: Instant) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = task.forgotten.cancelled() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// Answers `tasks/get`, `tasks/result` and `tasks/cancel`.
    pub(in super::super) async fn answer(&self, call: UpstreamCall) -> Result<Reply, UpstreamError> {
        let id = call.message.param_text("taskId").unwrap_or_default();
        let task = lock(&self.all).get(&*id).cloned();
        let Some(task) = task else {
            return Ok(refused(errors::INVALID_PARAMS, "Unknown task"));
        };
        let answer = match call.message.method() {
            Some("tasks/result") => result(&task, &call).await,
            Some("tasks/cancel") if !task.cancel() => {
                Ok(refused(errors::INVALID_PARAMS, "the task is at its end already"))
            }
            _ => Ok(made(Message::response(b"0", &task.described()))),
        };
        self.told(&task);
        answer
    }

    /// The client was told how a task stands. If that is its end, the task needs its place no more.
    fn told(&self, task: &Task) {
        if task.outcome().is_none() || !task.give_back() {
            return;
        }
        let mut known = lock(&self.known);
        known.push_back(task.id.clone());
        let oldest = if known.len() > KNOWN { known.pop_front() } else { None };
        drop(known);
        if let Some(oldest) = oldest.and_then(|id| lock(&self.all).remove(&id)) {
            oldest.forgotten.cancel();
        }
    }

    /// How many there are.
    pub(in super::super) fn len(&self) -> usize {
        lock(&self.all).len()
    }

    /// Ends all of them.
    pub(in super::super) fn close(&self) {
        self.stop.cancel();
    }
}

/// The result of the call, when there is one. Until then whoever waits for it is asked what the server
/// wants to know.
async fn result(task: &Arc<Task>, call: &UpstreamCall) -> Result<Reply, UpstreamError> {
    let related = format!("{{\"taskId\":{}}}", String::from_utf8_lossy(&jsonrpc::escape(&task.id)));
    let _waiting = task.waited_for(&call.downlink);
    let mut changed = task.changes();
    let mut asking = FuturesUnordered::new();
    loop {
        if let Some(outcome) = task.outcome() {
            return outcome.map(|answer| made(belonging(answer, &related)));
        }
        for question in task.open_questions() {
            let request = question.request.with_meta(meta::RELATED_TASK, Some(related.as_bytes()));
            asking.push(question.put(request, &*call.downlink));
        }
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(UpstreamError::Cancelled),
            _ = changed.changed() => {}
            Some(()) = asking.next() => {}
            () = tokio::time::sleep_until(call.hard_deadline.into()) => {
                let text = "the task goes on; ask for its result again";
                return Ok(refused(errors::INTERNAL, text));
            }
        }
    }
}

/// A result that says which task it is of.
fn belonging(answer: Message, related: &str) -> Message {
    let Some(result) = answer.result() else { return answer };
    let mut result = jsonrpc::Document::new(result, jsonrpc::Limits::default());
    if !jsonrpc::get(result.bytes(), "/_meta").is_some_and(|own| own.starts_with(b"{")) {
        let _ = result.set("/_meta", b"{}");
    }
    // It fails only where the limits of a message are reached; then the result is worth more.
    let _ = result.set(&jsonrpc::pointer(&["_meta", meta::RELATED_TASK]), related.as_bytes());
    answer.with_result(result.bytes())
}
