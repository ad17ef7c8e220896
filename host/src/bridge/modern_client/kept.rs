//! Tasks of the modern era (the extension of tasks) before a server of those of 2025-11-25: each is a call
//! that goes on here, found again by a name of Lockgate's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exchange::{Exchange, Stands, View, now, text_at};
use super::parks::Whose;
use super::translate::{self, Request};
use super::{lock, unguessable};
use crate::filter::{ItemKind, Outcome, Principal};
use crate::jsonrpc::{self, Kind, Message};
use crate::protocol::errors;
use crate::protocol::tasks::EXTENSION;
use crate::proxy::rescue;
use crate::upstream::UpstreamError;

/// What clients ask of tasks.
pub(super) const METHODS: [&str; 3] = ["tasks/get", "tasks/update", "tasks/cancel"];
/// The only method that a task comes of.
const CALL: &str = "tools/call";
/// Tasks without a place that are kept: those whose end their clients know. Older ones are forgotten.
const KNOWN: usize = 32;

/// All tasks of one adapter.
pub(super) struct Tasks {
    all: Mutex<BTreeMap<String, Task>>,
    /// What the server said of itself.
    initialized: Bytes,
    /// How long each lasts.
    lasts: Duration,
    /// Cancelled when the adapter ends.
    stop: CancellationToken,
}

#[derive(Clone)]
struct Task {
    exchange: Arc<Exchange>,
    whose: Whose,
    until: Instant,
    /// What its client was told of that.
    ttl: u128,
    /// Raw.
    created: Bytes,
    /// Since when its client knows that it is over.
    known: Option<Instant>,
}

impl Tasks {
    pub(super) fn new(initialized: Bytes, lasts: Duration, stop: CancellationToken) -> Tasks {
        Tasks { all: Mutex::default(), initialized, lasts, stop }
    }

    /// Keeps a call that became a task. Returns the answer to the call.
    pub(super) fn keep(self: &Arc<Self>, exchange: Arc<Exchange>, whose: Whose) -> Message {
        let Some(id) = unguessable() else {
            exchange.withdraw();
            return errors::internal(Some(b"0"));
        };
        let view = exchange.view();
        let ttl = number(&view.described, "/ttl").map_or(self.lasts.as_millis(), u128::from);
        let task = Task {
            exchange: Arc::clone(&exchange),
            whose,
            until: Instant::now() + self.lasts,
            ttl: ttl.min(self.lasts.as_millis()),
            created: text_at(&view.described, "/createdAt").unwrap_or_else(now),
            known: None,
        };
        // A task begins like this, whatever became of it in the meantime.
        let said = told(&id, &task, &view, ("task", "working"), None);
        let until = task.until;
        lock(&self.all).insert(id, task);
        let (all, stop) = (Arc::downgrade(self), self.stop.clone());
        tokio::spawn(async move {
            exchange.watch(until, stop).await;
            if let Some(all) = all.upgrade() {
                all.sweep();
            }
        });
        translate::with_server_info(Message::response(b"0", &said), &self.initialized)
    }

    /// The answer to a request that is about a task.
    pub(super) fn answer(&self, request: &Request, principal: Option<Arc<Principal>>) -> Message {
        if !request.knows_tasks {
            let data = format!(r#"{{"requiredCapabilities":{{"extensions":{{"{EXTENSION}":{{}}}}}}}}"#);
            let text = format!("{} needs the extension {EXTENSION}: declare it", request.method);
            return Message::error(Some(b"0"), errors::MISSING_CAPABILITY, &text, Some(data.as_bytes()));
        }
        let id = request.message.param_text("taskId").unwrap_or_default();
        let whose = Whose::new(CALL, principal);
        let found = lock(&self.all).get(&*id).filter(|task| task.is_there(&whose)).cloned();
        let Some(task) = found else { return refused(rescue::unknown(ItemKind::Task, &id)) };
        let answer = match &*request.method {
            "tasks/get" => self.described(&id, &task),
            "tasks/update" => match request.answers.as_ref().filter(|raw| raw.starts_with(b"{")) {
                Some(answers) => {
                    task.exchange.answer(Some(answers));
                    acknowledged()
                }
                None => refused(rescue::invalid_params("`inputResponses` must be an object")),
            },
            _ => {
                task.exchange.withdraw();
                self.is_known(&id);
                acknowledged()
            }
        };
        if answer.kind() == Kind::Error {
            answer
        } else {
            translate::with_server_info(answer, &self.initialized)
        }
    }

    /// How a task is doing.
    fn described(&self, id: &str, task: &Task) -> Message {
        let view = task.exchange.view();
        let (status, more) = match &view.stands {
            Stands::Working => ("working", None),
            Stands::Asking(questions) => ("input_required", Some(("inputRequests", questions.clone()))),
            Stands::Over(outcome) => {
                self.is_known(id);
                ended(outcome, &view, &self.initialized)
            }
        };
        Message::response(b"0", &told(id, task, &view, ("complete", status), more))
    }

    /// The client knows now that the task is over: that gives its place back.
    fn is_known(&self, id: &str) {
        let mut gone = Vec::new();
        let mut all = lock(&self.all);
        if let Some(task) = all.get_mut(id).filter(|task| task.known.is_none()) {
            task.known = Some(Instant::now());
            gone.push(task.clone());
            let mut known: Vec<_> =
                all.iter().filter_map(|(id, task)| Some((task.known?, id.clone()))).collect();
            known.sort();
            let excess = known.len().saturating_sub(KNOWN);
            gone.extend(known.iter().take(excess).filter_map(|(_, id)| all.remove(id)));
        }
        drop(all);
        let places: Vec<_> = gone.iter().filter_map(|task| task.exchange.give_back()).collect();
        drop((places, gone));
    }

    /// Forgets those whose time is up.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut all = lock(&self.all);
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut *all).into_iter().partition(|(_, task)| now < task.until);
        *all = kept;
        drop(all);
        drop(gone);
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut *lock(&self.all));
        gone.values().for_each(|task| task.exchange.withdraw());
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.all).len()
    }
}

impl Task {
    fn is_there(&self, whose: &Whose) -> bool {
        self.whose == *whose && Instant::now() < self.until
    }
}

/// The end of a task: its status, and what it came to.
fn ended(
    outcome: &Result<Message, UpstreamError>,
    view: &View,
    initialized: &[u8],
) -> (&'static str, Option<(&'static str, Vec<u8>)>) {
    let failed = |error: Option<Bytes>| ("failed", Some(("error", error.unwrap_or_default().to_vec())));
    match outcome {
        Ok(message) => {
            // What it was called with is no matter to its result.
            let request = Request::of(&Message::request(b"0", CALL, None));
            let answer = translate::answer(&request, message.clone(), initialized);
            match answer.result() {
                Some(result) => ("completed", Some(("result", result.to_vec()))),
                None if jsonrpc::get(&view.described, "/status") == Some(b"\"cancelled\"") => {
                    ("cancelled", None)
                }
                None => failed(answer.error_object()),
            }
        }
        Err(UpstreamError::Cancelled) => ("cancelled", None),
        Err(error) => {
            let error = match rescue::upstream(error) {
                Outcome::Failure(error) => Some(error),
                Outcome::Success(_) => None,
            };
            failed(error.or_else(|| errors::internal(None).error_object()))
        }
    }
}

/// A task as its client is told of it, with what belongs to its status.
fn told(
    id: &str,
    task: &Task,
    view: &View,
    (kind, status): (&str, &str),
    more: Option<(&str, Vec<u8>)>,
) -> Vec<u8> {
    let mut out = format!(r#"{{"resultType":"{kind}","status":"{status}","ttlMs":{}"#, task.ttl).into_bytes();
    let mut member = |name: &str, raw: &[u8]| {
        out.extend_from_slice(format!(r#","{name}":"#).as_bytes());
        out.extend_from_slice(raw);
    };
    member("taskId", &jsonrpc::escape(id));
    member("createdAt", &task.created);
    member("lastUpdatedAt", &view.updated);
    if let Some(message) = text_at(&view.described, "/statusMessage") {
        member("statusMessage", &message);
    }
    if let Some(pause) = number(&view.described, "/pollInterval") {
        member("pollIntervalMs", pause.to_string().as_bytes());
    }
    if let Some((name, raw)) = more {
        member(name, &raw);
    }
    out.push(b'}');
    out
}

fn number(described: &[u8], at: &str) -> Option<u64> {
    std::str::from_utf8(jsonrpc::get(described, at)?).ok()?.parse().ok()
}

fn acknowledged() -> Message {
    Message::response(b"0", br#"{"resultType":"complete"}"#)
}

fn refused(outcome: Outcome) -> Message {
    match outcome {
        Outcome::Failure(error) => rescue::message(Some(b"0"), &error),
        Outcome::Success(_) => errors::internal(Some(b"0")),
    }
}
