//! The call itself; and tools of 2025-11-25 that can only be called as tasks, driven to their end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::exchange::Exchange;
use super::lines::Using;
use super::lock;
use super::news::SOON;
use crate::jsonrpc::{self, Kind, Message};
use crate::protocol::tasks;
use crate::upstream::{Reply, UpstreamCall, UpstreamError};

/// How long a server may take to make a task of a call.
const CREATION: Duration = Duration::from_secs(60);
/// Names of tools that are remembered: more than that are not driven.
const NAMES: usize = 1_000;

/// How calls of one adapter are made.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) server: Arc<str>,
    /// How long a question waits for its answer.
    pub(super) patience: Duration,
    /// Cancelled when the adapter ends.
    pub(super) stop: CancellationToken,
    /// None where the server has no tasks for tools.
    pub(super) tools: Option<Arc<TaskTools>>,
    /// How long a task lasts that is kept for its client.
    pub(super) lasts: Duration,
}

impl Way {
    /// Whether this calls a tool that can only be called as a task. By what the list says, and not by trying:
    /// a relay may give such an answer for what it ran.
    pub(super) fn makes_task(&self, message: &Message) -> bool {
        let Some(tools) = self.tools.as_ref().filter(|_| message.method() == Some("tools/call")) else {
            return false;
        };
        message.param_text("name").is_some_and(|name| tools.require(&name))
    }
}

/// The tools that can only be called as tasks.
#[derive(Default)]
pub(super) struct TaskTools(Mutex<BTreeSet<Box<str>>>);

impl TaskTools {
    /// Notes what a list says of a tool.
    pub(super) fn note(&self, name: &str, required: bool) {
        let mut names = lock(&self.0);
        if !required {
            names.remove(name);
        } else if names.len() < NAMES {
            names.insert(name.into());
        }
    }

    fn require(&self, name: &str) -> bool {
        lock(&self.0).contains(name)
    }
}

/// Makes a call, as a task where it has to be one.
pub(super) async fn run(
    exchange: &Arc<Exchange>,
    call: UpstreamCall,
    using: &Arc<Using>,
    way: &Way,
) -> Result<Reply, UpstreamError> {
    if way.makes_task(&call.message) {
        return as_task(exchange, call, using, way).await;
    }
    using.line().connection().call(call).await
}

async fn as_task(
    exchange: &Arc<Exchange>,
    call: UpstreamCall,
    using: &Arc<Using>,
    way: &Way,
) -> Result<Reply, UpstreamError> {
    let connection = using.line().connection();
    let _only = Only::new(exchange, using);
    // Not to be cancelled: only its answer says which task there is to cancel.
    let deadline = std::time::Instant::now() + CREATION;
    // One that its client comes back for has to last that long at the server.
    let ttl = exchange.may_be_task().then(|| format!(r#"{{"ttl":{}}}"#, way.lasts.as_millis()));
    let begin = UpstreamCall {
        message: call.message.with_param("task", ttl.as_deref().unwrap_or("{}").as_bytes()),
        cancel: CancellationToken::new(),
        deadline,
        hard_deadline: deadline,
        ..call.clone()
    };
    let created = connection.call(begin).await?;
    let task = created.message.result_member("task");
    let Some(id) = task.and_then(|task| jsonrpc::get(task, "/taskId")).map(<[u8]>::to_vec) else {
        // It answered at once.
        return Ok(created);
    };
    exchange.became(task.unwrap_or_default());
    let mut under_way = Task { using, call: &call, id: &id, armed: true };
    let mut pause = pause_of(task);
    let params = [b"{\"taskId\":", &id[..], b"}"].concat();
    let ask =
        |method| UpstreamCall { message: Message::request(b"0", method, Some(&params)), ..call.clone() };
    loop {
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(UpstreamError::Cancelled),
            () = tokio::time::sleep(pause) => {}
        }
        let looked = connection.call(ask("tasks/get")).await.map_err(ran)?;
        if looked.message.kind() == Kind::Error {
            return Ok(looked);
        }
        let result = looked.message.result();
        exchange.described(result.as_deref().unwrap_or_default());
        match result.as_deref().and_then(|task| jsonrpc::get(task, "/status")) {
            Some(b"\"working\"") => pause = pause_of(result.as_deref()),
            // It ends, or asks for something and then ends, while somebody waits for its result.
            _ => break,
        }
    }
    let reply = connection.call(ask("tasks/result")).await.map_err(ran)?;
    under_way.armed = false;
    Ok(reply)
}

/// What went wrong for a call of which there is a task: it must not be made again.
fn ran(error: UpstreamError) -> UpstreamError {
    match error {
        UpstreamError::Gone { server, reason, .. } => {
            UpstreamError::Gone { server, reason, may_have_run: true }
        }
        error => error,
    }
}

fn pause_of(task: Option<&[u8]>) -> Duration {
    tasks::pause(task.and_then(|task| jsonrpc::get(task, "/pollInterval")))
}

/// While a task is driven, nothing under way says between two looks at it whose the connection is.
struct Only<'a>(Option<&'a Arc<Using>>);

impl<'a> Only<'a> {
    fn new(exchange: &Arc<Exchange>, using: &'a Arc<Using>) -> Only<'a> {
        let using = Some(using).filter(|using| using.line().is_exclusive());
        if let Some(using) = using {
            using.line().news.belongs_to(Some(Arc::downgrade(exchange)));
        }
        Only(using)
    }
}

impl Drop for Only<'_> {
    fn drop(&mut self) {
        if let Some(using) = self.0 {
            using.line().news.belongs_to(None);
        }
    }
}

/// A task that somebody waits for. However the waiting ends before its result, the server is told.
struct Task<'a> {
    using: &'a Arc<Using>,
    call: &'a UpstreamCall,
    id: &'a [u8],
    armed: bool,
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.armed {
            return;
        }
        let params = [b"{\"taskId\":", self.id, b"}"].concat();
        let deadline = std::time::Instant::now() + SOON;
        let call = UpstreamCall {
            message: Message::request(b"0", "tasks/cancel", Some(&params)),
            cancel: CancellationToken::new(),
            deadline,
            hard_deadline: deadline,
            ..self.call.clone()
        };
        let using = Arc::clone(self.using);
        runtime.spawn(async move {
            if let Err(error) = using.line().connection().call(call).await {
                tracing::debug!(target: "server", %error, "a task was not cancelled");
            }
        });
    }
}
