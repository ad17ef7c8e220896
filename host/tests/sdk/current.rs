//! The official TypeScript client 2.x, which speaks both eras, against the server of the conformance tests.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::support::child::Watched;
use super::support::{Setup, install, paths};
use super::{node, run, text};

/// Checks of `modern.mjs`.
const CHECKS: usize = 13;

fn fixture() -> String {
    text(&install::conformance().join("fixture/main.mjs"))
}

/// The fixture over Streamable HTTP, and its URL.
fn over_http(era: &str) -> (Watched, String) {
    let mut command = Command::new("node");
    command.args([&fixture(), "--era", era]).stdin(Stdio::null()).stdout(Stdio::null());
    let process = Watched::start(&mut command);
    let line = process.line("line with its address", |line| line.starts_with("listening on "));
    (process, line.trim_start_matches("listening on ").to_owned())
}

/// The fixture as a child process.
fn over_stdio(era: &str) -> Value {
    json!({ "command": "node", "args": [fixture(), "--transport", "stdio", "--era", era] })
}

/// The suite with a client that probes (`auto`) or insists (`modern`), of which `era` must come.
fn client(mode: &str, era: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(node().join("modern.mjs")).args(["--mode", mode, "--era", era]);
    command
}

/// Over Streamable HTTP on both sides.
fn http_to_http(mode: &str, era: &str) {
    let (_direct, direct) = over_http(era);
    let (_server, url) = over_http(era);
    let gate = Setup::new().with_server("fx", json!({ "url": url })).start();
    run(&mut client(mode, era), CHECKS, &direct, &format!("http://{}/fx/mcp", gate.address));
}

/// The suite with the fixture as a child of the client for the direct half.
fn with_child(mode: &str, era: &str) -> Command {
    let mut suite = client(mode, era);
    suite.args([fixture().as_str(), "--transport", "stdio", "--era", era].map(|arg| format!("--arg={arg}")));
    suite
}

/// Over Streamable HTTP to a server over stdio.
fn http_to_stdio(mode: &str, era: &str) {
    let gate = Setup::new().with_server("fx", over_stdio(era)).start();
    run(&mut with_child(mode, era), CHECKS, "stdio", &format!("http://{}/fx/mcp", gate.address));
}

/// Over stdio on both sides.
fn stdio_to_stdio(mode: &str, era: &str) {
    let gate = Setup::new().with_server("fx", over_stdio(era));
    let mut suite = with_child(mode, era);
    suite.arg("--through-command").arg(paths::lockgate());
    let config = text(&gate.write());
    suite.args(
        ["serve", "--config", config.as_str(), "--stdio", "fx"].map(|arg| format!("--through-arg={arg}")),
    );
    run(&mut suite, CHECKS, "stdio", "stdio");
}

/// To a server of the legacy era directly, and through Lockgate to the same one of the modern era.
#[test]
fn the_current_client_insists_on_the_legacy_era_and_finds_it_in_front_of_a_modern_server() {
    let (_direct, direct) = over_http("legacy");
    let (_server, url) = over_http("modern");
    let gate = Setup::new().with_server("http", json!({ "url": url }));
    let gate = gate.with_server("stdio", over_stdio("modern")).start();
    for server in ["http", "stdio"] {
        let through = format!("http://{}/{server}/mcp", gate.address);
        run(client("legacy", "legacy").arg("--bridged"), CHECKS, &direct, &through);
    }
}

/// Clients that know the legacy era only, in front of a server of the modern one.
fn bridged(program: &std::path::Path, script: &std::path::Path) {
    let (_server, url) = over_http("modern");
    let gate = Setup::new().with_server("fx", json!({ "url": url })).start();
    for path in ["mcp", "sse"] {
        let mut client = Command::new(program);
        client.arg(script).arg(format!("http://{}/fx/{path}", gate.address));
        let output = client.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("all of it works"), "{path}: {said}");
    }
}

#[test]
fn the_typescript_client_1_uses_a_modern_server() {
    bridged("node".as_ref(), &node().join("bridged.mjs"));
}

#[test]
fn the_python_client_uses_a_modern_server_as_a_legacy_one() {
    bridged(install::python(), &install::sources().join("sdk/bridged.py"));
}

#[test]
fn the_current_client_insists_on_the_modern_era_over_streamable_http() {
    http_to_http("modern", "modern");
}

#[test]
fn the_current_client_finds_the_modern_era_over_streamable_http() {
    http_to_http("auto", "modern");
}

#[test]
fn the_current_client_insists_on_the_legacy_era_over_streamable_http() {
    http_to_http("legacy", "legacy");
}

/// To a server of the modern era directly, and through Lockgate to the same one of the legacy era.
#[test]
fn the_current_client_finds_the_modern_era_in_front_of_a_legacy_server() {
    let (_direct, direct) = over_http("modern");
    let (_server, url) = over_http("legacy");
    let gate = Setup::new().with_server("http", json!({ "url": url }));
    let gate = gate.with_server("stdio", over_stdio("legacy")).start();
    for server in ["http", "stdio"] {
        let through = format!("http://{}/{server}/mcp", gate.address);
        run(client("auto", "modern").arg("--bridged"), CHECKS, &direct, &through);
    }
}

#[test]
fn the_current_client_insists_on_the_modern_era_of_a_child() {
    http_to_stdio("modern", "modern");
}

#[test]
fn the_current_client_insists_on_the_modern_era_over_stdio() {
    stdio_to_stdio("modern", "modern");
}

#[test]
fn the_current_client_insists_on_the_legacy_era_over_stdio() {
    stdio_to_stdio("legacy", "legacy");
}
