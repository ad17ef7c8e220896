//! The MCP side of the server: which method does what.

use std::io;

use serde_json::{Value, json};

use crate::notebook::Notebook;
use crate::tools;

/// Revisions this server speaks, newest first.
const VERSIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];

/// Why a request is answered with an error: JSON-RPC code and message.
pub struct Refused(pub i32, pub String);

/// Handles one message and sends whatever it calls for.
pub fn handle(
    notebook: &mut Notebook,
    message: &Value,
    send: &mut dyn FnMut(Value) -> io::Result<()>,
) -> io::Result<()> {
    let (Some(method), Some(id)) = (message["method"].as_str(), message.get("id")) else {
        return Ok(()); // notifications change nothing here, and this server asks no questions
    };
    let params = &message["params"];
    let answer = match method {
        "initialize" => Ok(initialize(params)),
        "ping" | "logging/setLevel" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": tools::definitions() })),
        "tools/call" => tools::call(notebook, params, send)?,
        "prompts/list" => Ok(json!({ "prompts": [prompt()] })),
        "prompts/get" => get_prompt(notebook, params),
        "resources/list" => Ok(json!({ "resources": notebook.resources() })),
        "resources/templates/list" => Ok(json!({ "resourceTemplates": [{
            "uriTemplate": "note:///{id}", "name": "note", "description": "One note", "mimeType": "text/plain"
        }] })),
        "resources/read" => read_resource(notebook, params),
        "completion/complete" => complete(notebook, params),
        other => Err(Refused(-32601, format!("Method not found: {other}"))),
    };
    send(match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(Refused(code, text)) => error(id.clone(), code, &text),
    })
}

/// A JSON-RPC error response.
pub fn error(id: Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

fn initialize(params: &Value) -> Value {
    let asked = params["protocolVersion"].as_str().unwrap_or_default();
    let version = VERSIONS.into_iter().find(|version| *version == asked).unwrap_or(VERSIONS[0]);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {} },
        "serverInfo": { "name": "notes", "title": "Shared notebook", "version": env!("CARGO_PKG_VERSION") },
        "instructions": "A shared notebook. List the notes before you add one."
    })
}

fn prompt() -> Value {
    json!({
        "name": "summarise_note",
        "description": "Asks for a summary of one note",
        "arguments": [{ "name": "id", "description": "Which note", "required": true }]
    })
}

fn get_prompt(notebook: &Notebook, params: &Value) -> Result<Value, Refused> {
    if params["name"] != "summarise_note" {
        return Err(Refused(-32602, format!("Unknown prompt: {}", text(&params["name"]))));
    }
    let id = text(&params["arguments"]["id"]);
    let note =
        notebook.get(&id).ok_or_else(|| Refused(-32602, format!("There is no note with the id {id}")))?;
    Ok(json!({ "messages": [{ "role": "user", "content": {
        "type": "text", "text": format!("Summarise this note in one sentence.\n\n{}\n{}", note.title, note.text)
    } }] }))
}

fn read_resource(notebook: &Notebook, params: &Value) -> Result<Value, Refused> {
    let uri = text(&params["uri"]);
    let note = uri
        .strip_prefix("note:///")
        .and_then(|id| notebook.get(id))
        .ok_or_else(|| Refused(-32002, format!("Resource not found: {uri}")))?;
    Ok(json!({ "contents": [{ "uri": uri, "mimeType": "text/plain", "text": note.text }] }))
}

fn complete(notebook: &Notebook, params: &Value) -> Result<Value, Refused> {
    let start = text(&params["argument"]["value"]);
    let known = matches!(
        (params["ref"]["type"].as_str(), params["ref"]["name"].as_str(), params["ref"]["uri"].as_str()),
        (Some("ref/prompt"), Some("summarise_note"), _) | (Some("ref/resource"), _, Some("note:///{id}"))
    );
    if !known {
        return Err(Refused(-32602, "Unknown reference".to_owned()));
    }
    let values: Vec<&str> = notebook.ids().filter(|id| id.starts_with(&start)).collect();
    Ok(json!({ "completion": { "values": values, "total": values.len(), "hasMore": false } }))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
