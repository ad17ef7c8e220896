//! One conversation with the built server: what it offers and what it does.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

fn converse(requests: &[Value]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_notes-server"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for request in requests {
        writeln!(stdin, "{request}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn call(id: u32, name: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": name, "arguments": arguments, "_meta": { "progressToken": id } } })
}

#[test]
fn adds_reads_and_deletes_notes() {
    let answers = converse(&[
        call(1, "add_note", json!({ "title": "T", "text": "some text" })),
        call(2, "read_note", json!({ "id": "4" })),
        call(3, "delete_note", json!({ "id": "4" })),
        call(4, "read_note", json!({ "id": "4" })),
    ]);
    let text = |at: usize| answers[at]["result"]["content"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!((text(0), text(1), text(2)), ("Added as 4".into(), "T\nsome text".into(), "Deleted 4".into()));
    assert_eq!(answers[3]["result"]["isError"], true);
}

#[test]
fn tells_progress_and_refuses_what_it_does_not_know() {
    let answers = converse(&[call(7, "count_words", json!({})), call(8, "nothing", json!({}))]);
    let progress: Vec<_> = answers.iter().filter(|m| m["method"] == "notifications/progress").collect();
    assert_eq!(progress.len(), 3);
    assert!(progress.iter().all(|message| message["params"]["progressToken"] == 7));
    assert_eq!(answers.last().unwrap()["error"]["code"], -32602);
}

#[test]
fn every_listed_tool_can_be_called() {
    let listed = converse(&[json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })]);
    let tools = listed[0]["result"]["tools"].as_array().unwrap();
    let calls: Vec<Value> =
        tools.iter().map(|tool| call(1, tool["name"].as_str().unwrap(), json!({ "id": "1" }))).collect();
    assert!(converse(&calls).iter().all(|answer| answer.get("error").is_none()));
}
