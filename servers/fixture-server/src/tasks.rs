//! `--modern`: tasks of the extension `io.modelcontextprotocol/tasks`. How one stands follows from what
//! its call said, and from what came since.

use serde_json::{Value, json};

use crate::methods::Refused;
use crate::state::State;

/// The extension.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// One task.
#[derive(Clone)]
pub struct Task {
    arguments: Value,
    /// `inputResponses` that came for it.
    answers: Value,
    cancelled: bool,
    looks: u64,
    /// What was answered is shown as open once more, as by a server that has not looked yet.
    late: bool,
}

/// Whether the sender of a request knows tasks.
pub fn known(params: &Value) -> bool {
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"][EXTENSION].is_object()
}

/// `job`: a task, or a plain error for who knows none.
pub fn begin(state: &State, params: &Value) -> Result<Value, Refused> {
    if !known(params) {
        return Err(Refused(-32021, "Missing required client capability".to_owned()));
    }
    let task = Task {
        arguments: params["arguments"].clone(),
        answers: json!({}),
        cancelled: false,
        looks: 0,
        late: false,
    };
    let id = state.keep_task(task);
    Ok(json!({ "resultType": "task", "taskId": id, "status": "working", "createdAt": NOW,
        "lastUpdatedAt": NOW, "ttlMs": 60_000, "pollIntervalMs": 50 }))
}

/// When everything happens.
const NOW: &str = "2026-11-28T00:00:00Z";

/// `tasks/get`, `tasks/update` and `tasks/cancel`.
pub fn answer(state: &State, method: &str, params: &Value) -> Result<Value, Refused> {
    if !known(params) {
        return Err(Refused(-32021, "Missing required client capability".to_owned()));
    }
    let id = params["taskId"].as_str().unwrap_or_default();
    let unknown = || Refused(-32602, "Unknown task".to_owned());
    let task = state.with_task(id, |task| {
        match method {
            "tasks/update" => {
                if let Some(answers) = params["inputResponses"].as_object() {
                    for (key, answer) in answers {
                        task.answers[key] = answer.clone();
                    }
                }
            }
            "tasks/cancel" => task.cancelled = true,
            _ => task.looks += 1,
        }
        let mut shown = task.clone();
        if method == "tasks/update" {
            task.late = task.arguments["late"] == json!(true);
        } else if std::mem::take(&mut task.late) {
            shown.answers = json!({});
        }
        shown
    });
    let task = task.ok_or_else(unknown)?;
    if method != "tasks/get" {
        return Ok(json!({}));
    }
    let mut told = stands(state, &task);
    told["taskId"] = json!(id);
    told["createdAt"] = json!(NOW);
    told["lastUpdatedAt"] = json!(NOW);
    told["ttlMs"] = json!(60_000);
    told["pollIntervalMs"] = json!(50);
    Ok(told)
}

fn stands(state: &State, task: &Task) -> Value {
    let (wants, said) = (&task.arguments, |text: &str| json!([{ "type": "text", "text": text }]));
    let done = |content: Value| json!({ "status": "completed", "result": { "resultType": "complete", "content": content } });
    if task.cancelled {
        return json!({ "status": "cancelled" });
    }
    if wants["fail"].is_object() {
        return json!({ "status": "failed", "error": wants["fail"] });
    }
    if let Some(status) = wants["status"].as_str() {
        return json!({ "status": status });
    }
    // Each look finds it a little further.
    let words = format!("looked at {} times", task.looks);
    if wants["key"].as_str().is_some_and(|key| !state.is_released(key)) {
        return json!({ "status": "working", "statusMessage": words });
    }
    // One question after the other, each under a key of its own.
    let questions = wants["ask"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, question) in questions.iter().enumerate() {
        let key = format!("q/{at}");
        if task.answers.get(&key).is_none() {
            return json!({ "status": "input_required", "inputRequests": { key: question } });
        }
    }
    let mut told = done(said(&task.answers.to_string()));
    if wants["is_error"] == json!(true) {
        told["result"]["isError"] = json!(true);
    }
    told
}
