//! The tools: one for every way a server can behave or misbehave during a call.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::methods::{Refused, respond};
use crate::pipe;
use crate::rounds;
use crate::state::{Ended, State};
use crate::tasks;

/// Names and descriptions. `delete_*` and `secret_*` are there to be hidden.
const TOOLS: [(&str, &str); 34] = [
    ("echo", "Returns its arguments, as text and as structured content"),
    ("slow", "Answers after `ms` milliseconds, unless cancelled"),
    ("wait", "Answers when `release` is called with the same `key`, unless cancelled"),
    ("release", "Lets `wait` with the same `key` go"),
    ("progress", "Tells progress `n` times, each with `bytes` more bytes of text, then answers"),
    ("tell", "Tells `text` as progress, then answers with it"),
    ("log", "Sends `n` log messages of `level`, then answers"),
    ("ask_sampling", "Asks the client for a completion of `text` and returns its answer"),
    ("ask_elicitation", "Asks the user `text` and returns the answer"),
    ("ask_roots", "Asks for the roots and returns the answer"),
    ("ask_ping", "Pings the client and returns the answer"),
    ("crash", "Ends the process without an answer"),
    ("hang", "Never answers"),
    ("flood_stderr", "Writes `bytes` to stderr, then answers"),
    ("noise", "Writes `lines` of noise to stdout, then answers"),
    ("big", "Answers with a text of `bytes` bytes"),
    ("sized", "Answers with a frame of exactly `bytes` bytes"),
    ("cut", "Answers in two writes, the first of them `at` bytes long and read before the second"),
    ("endless", "Writes one line to stdout, `bytes` bytes and `ms` milliseconds long, then answers"),
    ("keep_up_noise", "Writes `per_second` lines of noise to stdout for `seconds`, and answers at once"),
    ("count", "Answers how often it was called"),
    ("exact", "Answers with numbers, escapes and white space that a re-encoding would change"),
    (
        "nested",
        "Answers with a message that is `depth` levels deep and has `items` items in its deepest list",
    ),
    ("lone_surrogate", "Answers with half of a surrogate pair"),
    ("duplicate_keys", "Answers with the same member twice"),
    ("wrong_id", "Answers a call that nobody made, then this one"),
    ("tool_error", "Answers with isError"),
    ("protocol_error", "Answers with a JSON-RPC error of `code` and `message` with data"),
    ("whoami", "Name, process id and environment of the server"),
    ("update_resource", "Says that the resource `uri` changed, if it is subscribed to"),
    ("update_task", "Tells those who listen that the task `task` is done, with its result"),
    ("add_tool", "Adds a tool `name` and says that the list changed"),
    ("delete_everything", "Pretends to delete everything"),
    ("secret_canary", "Returns what nobody may see"),
];

/// Those that there are with `--modern` besides.
const MODERN: [(&str, &str); 2] = [
    ("ask_all", "Asks for everything at once and returns the answers"),
    ("rounds", "Is done after `n` rounds, which `ask` for the roots or carry only a state"),
];

/// That with `--tasks`.
const JOB: (&str, &str) =
    ("job", "Is a task, done when `key` is released and what it has to `ask` is answered; or it fails");

/// What `tools/list` says, before it is cut into pages.
pub fn definitions(state: &State) -> Vec<Value> {
    let of_era: &[_] = if state.flags.modern { &MODERN } else { &[] };
    let job = state.flags.tasks.then_some(&JOB);
    let named =
        TOOLS.iter().chain(of_era).chain(job).map(|(name, description)| definition(name, description));
    let numbered = (0..state.flags.tools)
        .map(|number| definition(&format!("tool_{number:04}"), "One of many that do nothing"));
    let added = state.added_tools();
    let added = added.iter().map(|name| definition(name, "Added while the server ran"));
    named.chain(numbered).chain(added).collect()
}

/// Runs one tool and answers.
pub fn call(state: &Arc<State>, id: &Value, params: &Value) -> io::Result<()> {
    let arguments = &params["arguments"];
    let name = params["name"].as_str().unwrap_or_default();
    let number = |name: &str, otherwise: u64| arguments[name].as_u64().unwrap_or(otherwise);
    let text = |name: &str| arguments[name].as_str().unwrap_or_default();
    let result = match name {
        "echo" => {
            let mut result = said(&arguments.to_string());
            result["structuredContent"] = arguments.clone();
            result["_meta"] = json!({ "seen": params["_meta"] });
            result
        }
        "slow" => match state.wait(id, None, Duration::from_millis(number("ms", 1_000))) {
            Ended::Cancelled => return Ok(()),
            _ => said("done"),
        },
        "wait" => {
            // Whoever wants to know learns that it waits.
            let token = &params["_meta"]["progressToken"];
            if arguments["tell"] == json!(true) {
                state.notify("notifications/progress", json!({ "progressToken": token, "progress": 0 }))?;
            }
            match state.wait(id, Some(text("key")), Duration::from_secs(number("seconds", 60))) {
                Ended::Cancelled => {
                    state.release(&format!("cancelled {}", text("key")));
                    return Ok(());
                }
                Ended::Elapsed => failed("nobody released it"),
                Ended::Released => {
                    let mut result = said("released");
                    result["structuredContent"] = json!({});
                    result
                }
            }
        }
        "release" => {
            state.release(text("key"));
            said("released")
        }
        "progress" => {
            let (n, token) = (number("n", 4), &params["_meta"]["progressToken"]);
            for done in 1..=n {
                state.notify("notifications/progress", json!({
                    "progressToken": token, "progress": done, "total": n, "message": format!("{done} of {n}{}", "x".repeat(size(number("bytes", 0)))) }))?;
            }
            said(&format!("{n} told"))
        }
        "tell" => {
            state.notify(
                "notifications/progress",
                json!({
                "progressToken": params["_meta"]["progressToken"], "progress": 1, "message": text("text") }),
            )?;
            said(text("text"))
        }
        "log" => {
            // In that revision who wants any says so with the request (2026-07-28, logging).
            let asked = &params["_meta"]["io.modelcontextprotocol/logLevel"];
            let times = if state.flags.modern && asked.is_null() { 0 } else { number("n", 1) };
            for at in 1..=times {
                let set = if state.flags.modern { asked.clone() } else { json!(state.log_level()) };
                state.notify(
                    "notifications/message",
                    json!({
                    "level": text("level"), "logger": "fixture", "data": { "at": at, "set": set } }),
                )?;
            }
            said("logged")
        }
        "ask_all" if state.flags.modern => rounds::ask_all(params),
        "rounds" if state.flags.modern => rounds::rounds(params),
        "job" if state.flags.tasks => match tasks::begin(state, params) {
            Ok(task) => task,
            Err(refused) => return respond(state, id, Err(refused)),
        },
        "ask_sampling" | "ask_elicitation" | "ask_roots" | "ask_ping" if state.flags.modern => {
            match rounds::answer("q", params) {
                Ok(Some(answer)) => said(&answer.to_string()),
                Ok(None) => rounds::question("q", method_of(name), &question(name, arguments)),
                Err(refused) => return respond(state, id, Err(refused)),
            }
        }
        "ask_sampling" | "ask_elicitation" | "ask_roots" | "ask_ping" => {
            asked(state, method_of(name), question(name, arguments))?
        }
        "crash" => std::process::exit(3),
        "hang" => return Ok(()),
        "flood_stderr" => {
            flood_stderr(size(number("bytes", 1 << 20)))?;
            said("flooded")
        }
        "noise" => {
            for line in 0..number("lines", 10) {
                state.send_raw(format!("[info] this is line {line} of no protocol").as_bytes())?;
            }
            said("noisy")
        }
        "big" => said(&"x".repeat(size(number("bytes", 1 << 20)))),
        "sized" => return pipe::sized(state, id, size(number("bytes", 1 << 20))),
        "cut" => return pipe::cut(id, size(number("at", 0))),
        "endless" => {
            pipe::endless(size(number("bytes", 1 << 20)), Duration::from_millis(number("ms", 0)))?;
            said("it ended")
        }
        "keep_up_noise" => {
            let time = Duration::from_secs(number("seconds", 1));
            pipe::keep_up_noise(state, number("per_second", 10_000), time);
            said("noisy from now on")
        }
        "count" => said(&state.count().to_string()),
        "exact" => return raw(state, id, EXACT),
        "nested" => {
            // The message, its result and `structuredContent` are the first three levels.
            let lists = number("depth", 4).saturating_sub(3) as usize;
            let items = vec!["0"; number("items", 0) as usize].join(",");
            let (open, close) = ("[".repeat(lists), "]".repeat(lists));
            let result = format!(r#"{{"content":[],"structuredContent":{{"v":{open}{items}{close}}}}}"#);
            return raw(state, id, &result);
        }
        "lone_surrogate" => return raw(state, id, r#"{"content":[{"type":"text","text":"cut \ud83d"}]}"#),
        "duplicate_keys" => {
            return raw(
                state,
                id,
                r#"{"content":[],"isError":false,"content":[{"type":"text","text":"second"}]}"#,
            );
        }
        "wrong_id" => {
            respond(state, &json!("nobody made this call"), Ok(said("for nobody")))?;
            said("for you")
        }
        "tool_error" => failed("this tool fails"),
        "protocol_error" => {
            return state.send(&json!({ "jsonrpc": "2.0", "id": id, "error": {
                "code": arguments["code"], "message": text("message"), "data": arguments["data"] } }));
        }
        "whoami" => whoami(state),
        "update_resource" => {
            let subscribed =
                state.changed("notifications/resources/updated", json!({ "uri": text("uri") }))?;
            said(if subscribed { "told" } else { "nobody subscribed" })
        }
        "update_task" => {
            let params = json!({ "taskId": text("task"), "status": "completed",
                "result": { "content": [{ "type": "text", "text": "canary-7f3a9c" }] } });
            let listened = state.changed("notifications/tasks", params)?;
            said(if listened { "told" } else { "nobody listens" })
        }
        "add_tool" => {
            state.add_tool(text("name"));
            state.changed("notifications/tools/list_changed", json!({}))?;
            said("added")
        }
        "delete_everything" => said("everything is gone"),
        "secret_canary" => said("canary-7f3a9c"),
        other if is_plain(state, other) => said(other),
        other => return respond(state, id, Err(Refused(-32602, format!("Unknown tool: {other}")))),
    };
    respond(state, id, Ok(result))
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// Writes that much to stderr, in lines.
pub fn flood_stderr(bytes: usize) -> io::Result<()> {
    let line = [[b'!'; 127].as_slice(), b"\n"].concat();
    let mut err = io::stderr().lock();
    for _ in 0..bytes.div_ceil(line.len()) {
        err.write_all(&line)?;
    }
    Ok(())
}

/// What serde_json and its peers would all write differently.
const EXACT: &str = r#"{ "content":[{"type":"text","text":"\u0041\/é\ud83d\ude00"}], "structuredContent":{"z":1.0,"a":12345678901234567890123,"e":1E+2,"n":-0.0, "unknown":[ ] } ,"x-later":null}"#;

fn raw(state: &State, id: &Value, result: &str) -> io::Result<()> {
    state.send_raw(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).as_bytes())
}

fn asked(state: &State, method: &str, params: Value) -> io::Result<Value> {
    Ok(match state.ask(method, params)? {
        Some(answer) => match answer.get("result") {
            Some(result) => said(&result.to_string()),
            None => failed(&answer["error"].to_string()),
        },
        None => failed("no answer came"),
    })
}

/// What a tool asks the client.
fn method_of(tool: &str) -> &'static str {
    match tool {
        "ask_sampling" => "sampling/createMessage",
        "ask_elicitation" => "elicitation/create",
        "ask_roots" => "roots/list",
        _ => "ping",
    }
}

/// How it asks.
fn question(tool: &str, arguments: &Value) -> Value {
    let text = arguments["text"].as_str().unwrap_or_default();
    match tool {
        "ask_sampling" => json!({ "maxTokens": 10, "messages": [
            { "role": "user", "content": { "type": "text", "text": text } }] }),
        "ask_elicitation" if arguments["url"].is_string() => {
            json!({ "mode": "url", "message": text, "url": arguments["url"] })
        }
        "ask_elicitation" => json!({ "message": text,
            "requestedSchema": { "type": "object", "properties": { "name": { "type": "string" } } } }),
        // As most servers do: these have no params that must be there.
        _ => Value::Null,
    }
}

fn whoami(state: &State) -> Value {
    let env: Value = std::env::vars().map(|(name, value)| (name, Value::from(value))).collect();
    let mut result = said(state.flags.name.as_deref().unwrap_or("fixture"));
    result["structuredContent"] = json!({ "pid": std::process::id(), "name": state.flags.name, "env": env });
    result
}

fn is_plain(state: &State, name: &str) -> bool {
    let numbered = name.strip_prefix("tool_").and_then(|number| number.parse::<usize>().ok());
    numbered.is_some_and(|number| number < state.flags.tools)
        || state.added_tools().iter().any(|it| it == name)
}

fn definition(name: &str, description: &str) -> Value {
    json!({
        "name": name, "description": description,
        "inputSchema": { "type": "object", "additionalProperties": true },
        "annotations": { "destructiveHint": name.starts_with("delete_"), "readOnlyHint": name == "echo" }
    })
}

fn said(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn failed(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": true })
}
