//! The MCP methods besides tools: what is listed, read, completed, subscribed to.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::state::State;
use crate::{modern, tools};

/// Revisions answered as asked; anything else gets the first.
const VERSIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];
/// Resources there are.
const RESOURCES: [&str; 4] =
    ["fixture://open/1", "fixture://open/2", "fixture://open/3", "fixture://secret/1"];
/// Prompts there are.
const PROMPTS: [&str; 3] = ["greet", "farewell", "secret_prompt"];

/// Why a request is answered with an error: code and message.
pub struct Refused(pub i32, pub String);

/// Handles one message; tools run on threads of their own.
pub fn handle(state: &Arc<State>, message: Value) -> io::Result<()> {
    let Some(method) = message["method"].as_str().map(str::to_owned) else {
        state.answered(message);
        return Ok(());
    };
    let Some(id) = message.get("id").cloned() else {
        if method == "notifications/cancelled" {
            state.cancel(&message["params"]["requestId"]);
            state.unlisten(&message["params"]["requestId"]);
        }
        return Ok(());
    };
    if state.flags.hang.as_deref() == Some(&method) {
        return Ok(());
    }
    if let Some((_, result)) = state.flags.answers.iter().find(|(answered, _)| *answered == method) {
        return respond(state, &id, Ok(result.clone()));
    }
    let params = message["params"].clone();
    if state.flags.modern {
        return modern::handle(state, id, &method, params);
    }
    if method == "tools/call" {
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            if let Err(error) = tools::call(&state, &id, &params) {
                eprintln!("fixture-server: {error}");
            }
        });
        return Ok(());
    }
    respond(state, &id, answer(state, &method, &params))
}

/// Sends the answer to a request.
pub fn respond(state: &State, id: &Value, answer: Result<Value, Refused>) -> io::Result<()> {
    state.send(&match answer {
        Ok(result) => {
            let result = if state.flags.modern { modern::stamped(result) } else { result };
            json!({ "jsonrpc": "2.0", "id": id, "result": result })
        }
        Err(Refused(code, message)) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    })
}

/// The answer to whatever runs at once.
pub fn answer(state: &State, method: &str, params: &Value) -> Result<Value, Refused> {
    let text = |name: &str| params[name].as_str().unwrap_or_default().to_owned();
    match method {
        "initialize" => Ok(initialize(state, params)),
        "ping" => Ok(json!({})),
        "logging/setLevel" => {
            state.set_log_level(&text("level"));
            Ok(json!({}))
        }
        "tools/list" => page(state, "tools", tools::definitions(state), params),
        "prompts/list" => page(state, "prompts", PROMPTS.map(prompt).to_vec(), params),
        "resources/list" => page(state, "resources", RESOURCES.map(resource).to_vec(), params),
        "resources/templates/list" => page(
            state,
            "resourceTemplates",
            vec![
                json!({ "uriTemplate": "fixture://open/{id}", "name": "open" }),
                json!({ "uriTemplate": "fixture://secret/{id}", "name": "secret" }),
            ],
            params,
        ),
        "prompts/get" if PROMPTS.contains(&text("name").as_str()) => Ok(json!({ "messages": [{
            "role": "user", "content": { "type": "text", "text": format!("{} {}", text("name"), params["arguments"]["who"]) }
        }] })),
        "prompts/get" => Err(Refused(-32602, format!("Unknown prompt: {}", text("name")))),
        "resources/read" if is_resource(&text("uri")) => Ok(json!({ "contents": [{
            "uri": text("uri"), "mimeType": "text/plain", "text": format!("content of {}", text("uri"))
        }] })),
        "resources/subscribe" | "resources/unsubscribe" if is_resource(&text("uri")) => {
            state.subscribe(&text("uri"), method == "resources/subscribe");
            Ok(json!({}))
        }
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            Err(Refused(-32002, format!("Resource not found: {}", text("uri"))))
        }
        "completion/complete" => complete(params),
        other => Err(Refused(-32601, format!("Method not found: {other}"))),
    }
}

fn initialize(state: &State, params: &Value) -> Value {
    let asked = params["protocolVersion"].as_str().unwrap_or_default();
    let known = VERSIONS.into_iter().find(|version| *version == asked).unwrap_or(VERSIONS[0]);
    json!({
        "protocolVersion": state.flags.protocol.as_deref().unwrap_or(known),
        "capabilities": {
            "tools": { "listChanged": true }, "prompts": { "listChanged": true },
            "resources": { "subscribe": true, "listChanged": true }, "completions": {}, "logging": {}
        },
        "serverInfo": { "name": state.flags.name.as_deref().unwrap_or("fixture"), "version": "0" }
    })
}

/// One page of a list; the cursor is the index of its first item.
fn page(state: &State, member: &str, items: Vec<Value>, params: &Value) -> Result<Value, Refused> {
    let start = match params["cursor"].as_str() {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| Refused(-32602, format!("Invalid cursor: {cursor}")))?,
    };
    let size = state.flags.page.unwrap_or(usize::MAX);
    let left = items.len().saturating_sub(start);
    let mut result = json!({ member: items.into_iter().skip(start).take(size).collect::<Vec<_>>() });
    if left > size {
        result["nextCursor"] = Value::from((start + size).to_string());
    }
    match state.flags.lists.as_deref() {
        Some("null") => result[member] = Value::Null,
        Some("object") => result[member] = json!({ "0": result[member][0] }),
        Some("same-cursor") => result["nextCursor"] = Value::from("0"),
        Some("empty-cursor") => result["nextCursor"] = Value::from(""),
        _ => {}
    }
    Ok(result)
}

fn prompt(name: &str) -> Value {
    json!({ "name": name, "description": format!("{name} someone"), "arguments": [{ "name": "who" }] })
}

fn resource(uri: &str) -> Value {
    json!({ "uri": uri, "name": uri.rsplit_once("//").map_or(uri, |(_, name)| name), "mimeType": "text/plain" })
}

fn is_resource(uri: &str) -> bool {
    ["fixture://open/", "fixture://secret/"].iter().any(|start| uri.starts_with(start))
}

fn complete(params: &Value) -> Result<Value, Refused> {
    let reference = &params["ref"];
    let known = match reference["type"].as_str() {
        Some("ref/prompt") => reference["name"].as_str().is_some_and(|name| PROMPTS.contains(&name)),
        Some("ref/resource") => reference["uri"].as_str().is_some_and(is_resource),
        _ => false,
    };
    if !known {
        return Err(Refused(-32602, "Unknown reference".to_owned()));
    }
    let start = params["argument"]["value"].as_str().unwrap_or_default();
    let values: Vec<&str> =
        ["Ada", "Alan", "Grace"].into_iter().filter(|name| name.starts_with(start)).collect();
    Ok(json!({ "completion": { "values": values, "total": values.len(), "hasMore": false } }))
}
