//! The task that a modern server made of a call, driven to its end: the client sees one call that takes
//! its time (2026-07-28, the extension `io.modelcontextprotocol/tasks`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::super::calls::{Time, Way};
use super::super::questions::Questions;
use super::super::results::ended;
use super::super::rounds::MOST;
use super::super::told::Told;
use super::super::{made, shown};
use crate::jsonrpc::{self, Kind, Message};
use crate::protocol::{errors, meta, tasks};
use crate::upstream::{Connection, Reply, UpstreamCall, UpstreamError};

/// How long a server may take to be told that nobody waits for its task any more.
const FAREWELL: Duration = Duration::from_secs(5);

/// Looks at a task until it has come to its end, and puts what its server asks meanwhile to the client.
/// `created` is the answer that made a task of `call`. However this ends before the task does, its
/// server is told.
pub(in super::super) async fn drive(
    way: &Way,
    call: &UpstreamCall,
    time: &Time,
    told: &Told,
    created: Reply,
) -> Result<Reply, UpstreamError> {
    let given_up = |why: &str| Ok(made(ended("tools/call", why)));
    let id = created.message.result_member("taskId").filter(|raw| raw.starts_with(b"\""));
    let Some(id) = id.map(Bytes::copy_from_slice) else {
        return given_up("the server made a task of the call, and gave it no id");
    };
    let mut task = Task { connection: Arc::clone(&way.connection), call, id, armed: true };
    let token = call.message.meta(meta::PROGRESS_TOKEN);
    let (mut answered, mut rounds) = (BTreeSet::new(), 0);
    let mut words = None;
    let mut state = created.message;
    loop {
        let said = state.result_member("statusMessage").filter(|raw| raw.starts_with(b"\""));
        if let (Some(token), Some(said)) = (token, said.filter(|said| words.as_deref() != Some(*said))) {
            told.step(token, said);
            words = Some(Bytes::copy_from_slice(said));
        }
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(UpstreamError::Cancelled),
            () = time.over() => {
                return given_up(&format!(
                    "its task was not done within {} s and was cancelled", time.spent()));
            }
            () = tokio::time::sleep(tasks::pause(state.result_member("pollIntervalMs"))) => {}
        }
        let looked = task.ask("tasks/get", None, time.deadline()).await?;
        state = looked.message;
        if state.kind() == Kind::Error {
            // Nobody knows it any more.
            task.armed = false;
            return Ok(Reply { message: state, head: looked.head });
        }
        match state.result_member("status").and_then(jsonrpc::unescape).as_deref() {
            Some("working") => {}
            Some("input_required") => {
                let questions = match Questions::of(&state, &way.client) {
                    Ok(questions) => questions.without(&answered),
                    Err(why) => return given_up(&why),
                };
                if questions.is_empty() {
                    continue;
                }
                if rounds == MOST {
                    return given_up(&format!(
                        "the server still asks something after {MOST} rounds of questions; its task was cancelled"
                    ));
                }
                rounds += 1;
                answered.extend(questions.keys());
                let answers = tokio::select! {
                    biased;
                    () = call.cancel.cancelled() => return Err(UpstreamError::Cancelled),
                    answers = questions.put(&*call.downlink, time.question) => answers,
                    () = time.over() => {
                        Err(format!("it took longer than {} s in all, with questions open", time.spent()))
                    }
                };
                let answers = match answers {
                    Ok(answers) => answers,
                    Err(why) => return given_up(&why),
                };
                let taken = task.ask("tasks/update", Some(&answers), time.deadline()).await?;
                if taken.message.kind() == Kind::Error {
                    return Ok(taken);
                }
            }
            Some("completed") => {
                let Some(result) = state.result_member("result").filter(|raw| raw.starts_with(b"{")) else {
                    return given_up("the server's task is done, and has no result");
                };
                task.armed = false;
                return Ok(Reply { message: Message::response(b"0", result), head: looked.head });
            }
            Some("failed") => {
                task.armed = false;
                let failed = Message::error(Some(b"0"), errors::INTERNAL, "the server's task failed", None);
                let error = state.result_member("error").filter(|raw| raw.starts_with(b"{"));
                let message = error.map_or(failed.clone(), |error| failed.with_error(error));
                return Ok(Reply { message, head: looked.head });
            }
            Some("cancelled") => {
                task.armed = false;
                return given_up("the server cancelled its task");
            }
            other => {
                let other = shown(other.unwrap_or_default());
                return given_up(&format!("the server's task is in the state {other:?}, which is none"));
            }
        }
    }
}

/// A task that somebody waits for.
struct Task<'a> {
    connection: Arc<dyn Connection>,
    call: &'a UpstreamCall,
    /// Raw.
    id: Bytes,
    armed: bool,
}

impl Task<'_> {
    /// A request about the task, said of the same sender as the call.
    fn request(&self, method: &str, answers: Option<&[u8]>) -> Message {
        let params = [b"{\"taskId\":", &self.id[..], b"}"].concat();
        let mut message = Message::request(b"0", method, Some(&params));
        if let Some(answers) = answers {
            message = message.with_param("inputResponses", answers);
        }
        if let Some(own) = self.call.message.param("_meta") {
            message = message.with_param("_meta", own).with_meta(meta::PROGRESS_TOKEN, None);
        }
        message
    }

    async fn ask(
        &self,
        method: &str,
        answers: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<Reply, UpstreamError> {
        let message = self.request(method, answers);
        let call = UpstreamCall { message, deadline, definition: None, ..self.call.clone() };
        self.connection.call(call).await
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.armed {
            return;
        }
        let deadline = Instant::now() + FAREWELL;
        let call = UpstreamCall {
            message: self.request("tasks/cancel", None),
            cancel: CancellationToken::new(),
            deadline,
            hard_deadline: deadline,
            definition: None,
            ..self.call.clone()
        };
        let connection = Arc::clone(&self.connection);
        runtime.spawn(async move {
            if let Err(error) = connection.call(call).await {
                tracing::debug!(target: "server", %error, "a task was not cancelled");
            }
        });
    }
}
