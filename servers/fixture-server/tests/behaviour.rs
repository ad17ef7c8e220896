//! The fixture itself, spoken to directly: what the tests of Lockgate rely on.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

struct Fixture {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Fixture {
    fn start(args: &[&str]) -> Fixture {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fixture-server"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Fixture { child, stdin, stdout }
    }
    fn send(&mut self, message: Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }
    fn call(&mut self, id: u32, name: &str, arguments: Value) {
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": name, "arguments": arguments, "_meta": { "progressToken": id } } }));
    }
    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or(Value::String(line))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lists_come_in_pages_and_lose_nothing() {
    let mut fixture = Fixture::start(&["--tools", "1000", "--page", "300"]);
    let (mut names, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        fixture.send(
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "cursor": cursor } }),
        );
        let result = fixture.receive()["result"].clone();
        names.extend(result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].to_string()));
        pages += 1;
        cursor = result["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!((names.len(), pages), (1034, 4));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 1034);
}

#[test]
fn a_waiting_call_is_released_or_cancelled() {
    let mut fixture = Fixture::start(&[]);
    fixture.call(1, "wait", json!({ "key": "a" }));
    fixture.call(2, "wait", json!({ "key": "b" }));
    fixture
        .send(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } }));
    fixture.call(3, "release", json!({ "key": "b" }));
    let mut ids = [fixture.receive()["id"].clone(), fixture.receive()["id"].clone()];
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, [json!(2), json!(3)]);
    fixture.call(4, "release", json!({ "key": "a" }));
    assert_eq!(fixture.receive()["id"], 4, "the cancelled call must stay without an answer");
}

#[test]
fn asks_the_client_and_returns_its_answer() {
    let mut fixture = Fixture::start(&[]);
    fixture.call(1, "ask_elicitation", json!({ "text": "Who?" }));
    let question = fixture.receive();
    assert_eq!(question["method"], "elicitation/create");
    fixture.send(json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept" } }));
    assert_eq!(fixture.receive()["result"]["content"][0]["text"], r#"{"action":"accept"}"#);
}

#[test]
fn logs_what_arrives_before_it_acts() {
    let folder = std::env::temp_dir().join(format!("fixture-log-{}", std::process::id()));
    let mut fixture = Fixture::start(&["--log", folder.to_str().unwrap()]);
    fixture.call(1, "crash", json!({}));
    assert_eq!(fixture.receive(), Value::String(String::new()));
    let log = std::fs::read_to_string(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    assert!(log.contains(r#""name":"crash""#), "{log}");
    assert_eq!(fixture.child.wait().unwrap().code(), Some(3));
}

#[test]
fn exits_at_start_with_its_last_words() {
    let output = Command::new(env!("CARGO_BIN_EXE_fixture-server"))
        .args(["--stderr", "no licence found", "--exit", "7"])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(7), b"no licence found\n".as_slice()));
}
