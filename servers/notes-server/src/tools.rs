//! The tools: what they are called, what they take, what they do.

use std::io;

use serde_json::{Value, json};

use crate::notebook::{self, Notebook};
use crate::protocol::Refused;

/// What `tools/list` says.
pub fn definitions() -> Value {
    let id = json!({ "type": "object", "properties": { "id": { "type": "string" } }, "required": ["id"] });
    let nothing = json!({ "type": "object", "properties": {} });
    json!([
        { "name": "list_notes", "title": "List notes", "description": "Ids and titles of all notes",
          "inputSchema": nothing, "annotations": { "readOnlyHint": true } },
        { "name": "read_note", "title": "Read a note", "description": "The text of one note",
          "inputSchema": id, "annotations": { "readOnlyHint": true } },
        { "name": "add_note", "title": "Add a note", "description": "Adds a note and returns its id",
          "inputSchema": { "type": "object", "required": ["title", "text"], "properties": {
              "title": { "type": "string" }, "text": { "type": "string" } } },
          "annotations": { "readOnlyHint": false, "destructiveHint": false } },
        { "name": "delete_note", "title": "Delete a note", "description": "Deletes one note for good",
          "inputSchema": id, "annotations": { "readOnlyHint": false, "destructiveHint": true } },
        { "name": "count_words", "title": "Count words",
          "description": "Counts the words of all notes, one by one, and tells how far it is",
          "inputSchema": nothing, "annotations": { "readOnlyHint": true } },
        { "name": "team", "title": "Team", "description": "Who shares this notebook",
          "inputSchema": nothing, "annotations": { "readOnlyHint": true },
          "outputSchema": { "type": "object", "required": ["members"], "properties": { "members": {
              "type": "array", "items": { "type": "object", "properties": {
                  "name": { "type": "string" }, "role": { "type": "string" },
                  "email": { "type": "string" }, "phone": { "type": "string" } } } } } } }
    ])
}

/// Runs one tool. The outer error is a broken pipe, the inner one goes to the client.
pub fn call(
    notebook: &mut Notebook,
    params: &Value,
    send: &mut dyn FnMut(Value) -> io::Result<()>,
) -> io::Result<Result<Value, Refused>> {
    let arguments = &params["arguments"];
    let argument = |name: &str| arguments[name].as_str().map(str::to_owned);
    Ok(Ok(match params["name"].as_str().unwrap_or_default() {
        "list_notes" => said(&Value::from(notebook.list()).to_string()),
        "read_note" => match argument("id").as_deref().and_then(|id| notebook.get(id)) {
            Some(note) => said(&format!("{}\n{}", note.title, note.text)),
            None => failed("There is no such note"),
        },
        "add_note" => match (argument("title"), argument("text")) {
            (Some(title), Some(text)) => said(&format!("Added as {}", notebook.add(&title, &text))),
            _ => failed("A note needs a title and a text"),
        },
        "delete_note" => match argument("id").filter(|id| notebook.delete(id)) {
            Some(id) => said(&format!("Deleted {id}")),
            None => failed("There is no such note"),
        },
        "count_words" => count_words(notebook, &params["_meta"]["progressToken"], send)?,
        "team" => {
            let team = notebook::team();
            let mut result = said(&team.to_string());
            result["structuredContent"] = team;
            result
        }
        other => return Ok(Err(Refused(-32602, format!("Unknown tool: {other}")))),
    }))
}

fn count_words(
    notebook: &Notebook,
    token: &Value,
    send: &mut dyn FnMut(Value) -> io::Result<()>,
) -> io::Result<Value> {
    let total = notebook.ids().count();
    let mut words = 0;
    for (done, note) in notebook.ids().filter_map(|id| notebook.get(id)).enumerate() {
        words += note.text.split_whitespace().count();
        if !token.is_null() {
            send(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": {
                "progressToken": token, "progress": done + 1, "total": total, "message": note.title
            } }))?;
        }
    }
    Ok(said(&format!("{words} words in {total} notes")))
}

fn said(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn failed(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": true })
}
