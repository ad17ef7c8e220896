//! Official clients of one era and official servers of the other, over every transport, past one filter.
//!
//! The clients are the TypeScript SDK 1.x and 2.x and the Python SDK, the servers the conformance fixture, which is made with
//! the same SDKs' server halves. The guest `usher` edits what is asked and what is answered; it is the same
//! component in both directions.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use support::child::Watched;
use support::{Setup, install, paths};

fn script(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = install::npm("sdk-node", "sdk");
        install::beside(&folder, "sdk", &["eras.mjs", "tasks.mjs"]);
        folder
    });
    folder.join(name)
}

fn fixture() -> String {
    install::conformance().join("fixture/main.mjs").to_str().unwrap().to_owned()
}

/// The fixture as a child process of Lockgate.
fn child(era: &str) -> Value {
    json!({ "command": "node", "args": [fixture(), "--transport", "stdio", "--era", era] })
}

/// The fixture where it listens, and the process behind it.
fn listening(era: &str, transport: &str) -> (Value, Watched) {
    let mut command = Command::new("node");
    command
        .args([&*fixture(), "--era", era, "--transport", transport])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let process = Watched::start(&mut command);
    let line = process.line("line with its address", |line| line.starts_with("listening on "));
    (json!({ "url": line.trim_start_matches("listening on ") }), process)
}

fn setup(server: Value) -> Setup {
    Setup::new().with_server("fx", server).with_filter(json!({ "plugin": "usher" }))
}

fn run(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with('{'));
    let line =
        line.unwrap_or_else(|| panic!("{command:?}\n{said}\n{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(line).unwrap()
}

/// What every client must have seen, whatever is between it and the server.
fn check(seen: &Value, era: &str) {
    assert_eq!(seen["era"], era, "{seen:#}");
    assert!(seen["tools"].as_u64().unwrap() > 20 && seen["resources"].as_u64().unwrap() > 0, "{seen:#}");
    assert!(seen["prompts"].as_u64().unwrap() > 0, "{seen:#}");
    assert_eq!(seen["plain"], "This is a simple text response for testing.", "{seen:#}");
    assert_eq!(seen["elicitation"], "Hello, edited!", "{seen:#}");
    assert_eq!(seen["sampling"], "edited answer", "{seen:#}");
    assert_eq!(seen["roots"], "Roots: file:///edited", "{seen:#}");
    assert_eq!(seen["asked"], json!(["edited", "edited", "roots", "edited", "edited"]), "{seen:#}");
}

/// A client of that SDK over HTTP, at that entrance.
fn over_http(server: Value, sdk: &str, entrance: &str, era: &str) {
    let gate = setup(server).start();
    let at = format!("http://{}/fx/{entrance}", gate.address);
    check(&run(Command::new("node").arg(script("eras.mjs")).args(["--client", sdk, "--at", &at])), era);
}

/// A client of that SDK that starts Lockgate as its child.
fn over_stdio(server: Value, sdk: &str, era: &str) {
    let setup = setup(server);
    let config = setup.write();
    let mut command = Command::new("node");
    command
        .arg(script("eras.mjs"))
        .args(["--client", sdk, "--at", "stdio", "--command"])
        .arg(paths::lockgate());
    let serve = ["serve", "--config", config.to_str().unwrap(), "--stdio", "fx"];
    check(&run(command.args(serve.map(|arg| format!("--arg={arg}")))), era);
}

/// The Python client, which can be told which era to speak.
fn python(server: Value, mode: &str, era: &str) {
    let gate = setup(server).start();
    let script = install::sources().join("sdk/eras.py");
    let url = format!("http://{}/fx/mcp", gate.address);
    check(&run(Command::new(install::python()).arg(script).args(["--mode", mode, &url])), era);
}

#[test]
fn a_modern_client_over_http_is_asked_by_a_legacy_server_over_stdio() {
    over_http(child("legacy"), "2", "mcp", "modern");
}

#[test]
fn a_modern_client_over_http_is_asked_by_a_legacy_server_over_streamable_http() {
    let (server, _process) = listening("legacy", "http");
    over_http(server, "2", "mcp", "modern");
}

#[test]
fn a_modern_client_over_http_is_asked_by_a_legacy_server_over_sse() {
    let (server, _process) = listening("legacy", "sse");
    over_http(server, "2", "mcp", "modern");
}

#[test]
fn a_modern_client_over_stdio_is_asked_by_a_legacy_server() {
    over_stdio(child("legacy"), "2", "modern");
}

#[test]
fn a_legacy_client_over_sse_is_asked_by_a_modern_server_over_streamable_http() {
    let (server, _process) = listening("modern", "http");
    over_http(server, "1", "sse", "legacy");
}

#[test]
fn a_client_of_2025_06_18_over_sse_is_asked_by_a_modern_server() {
    let (server, _process) = listening("modern", "http");
    over_http(server, "old", "sse", "legacy");
}

#[test]
fn the_python_client_is_asked_across_the_eras() {
    python(child("legacy"), "2026-07-28", "modern");
    python(child("legacy"), "auto", "modern");
    python(child("modern"), "legacy", "legacy");
}

#[test]
fn a_legacy_client_over_sse_is_asked_by_a_modern_server_over_stdio() {
    over_http(child("modern"), "1", "sse", "legacy");
}

#[test]
fn a_legacy_client_over_streamable_http_is_asked_by_a_modern_server() {
    let (server, _process) = listening("modern", "http");
    over_http(server, "1", "mcp", "legacy");
}

#[test]
fn a_legacy_client_over_stdio_is_asked_by_a_modern_server() {
    over_stdio(child("modern"), "1", "legacy");
}

#[test]
fn a_legacy_client_has_tasks_of_a_modern_server_as_calls_and_as_tasks_of_its_own() {
    let (server, _process) = listening("modern", "http");
    let gate = Setup::new().with_server("fx", server).start();
    let at = format!("http://{}/fx/mcp", gate.address);
    let seen = run(Command::new("node").arg(script("tasks.mjs")).args(["--at", &at]));
    assert_eq!(seen["offered"], json!({ "cancel": {}, "requests": { "tools": { "call": {} } } }), "{seen:#}");
    assert_eq!(seen["support"], json!(["optional"]), "{seen:#}");
    let deletion = r#"Deletion: action=accept, content={"confirm":true}"#;
    let answered = r#"Answered: action=accept, content={"value":"1"}; action=accept, content={"value":"2"}"#;
    let failed = "failed: The job failed, as it always does";
    assert_eq!(seen["plain"], json!([deletion, answered, "Hello, Ada!", failed, "error -32603"]), "{seen:#}");
    assert_eq!(seen["asked"], json!(["Delete a?", "First?", "Second?", "What is your name?"]), "{seen:#}");
    assert_eq!(seen["task"]["text"], deletion, "{seen:#}");
    assert_eq!(seen["greeting"]["text"], "Hello, Ada!", "{seen:#}");
    assert_eq!(seen["askedInTask"], json!(["Delete a?"]), "{seen:#}");
    assert_eq!((&seen["cancelled"], &seen["after"]), (&json!("cancelled"), &json!("cancelled")), "{seen:#}");
}
