//! Clients that speak both eras and begin with `server/discover`: of the official Go SDK, of mcp-go, and of
//! FastMCP. Through Lockgate over every transport that they speak, to a server of either era.

use std::process::Command;

use serde_json::Value;

use super::support::{Gate, Setup, install, paths};
use super::text;

/// Checks of each suite.
const CHECKS: usize = 14;
/// What they agree on where the modern era is served, and where it is not.
const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";

fn go(program: &str) -> Command {
    Command::new(install::go_clients().join(program))
}

fn fastmcp() -> Command {
    let mut command = Command::new(install::python());
    command.arg(install::sources().join("sdk/fastmcp_suite.py"));
    command
}

fn run(client: Command, transport: &str, version: &str, target: &[String]) {
    run_without(&[], client, transport, version, target);
}

fn run_without(skipped: &[&str], mut client: Command, transport: &str, version: &str, target: &[String]) {
    client.args(["--transport", transport, "--version", version]);
    if !skipped.is_empty() {
        client.arg("--skip").arg(skipped.join(","));
    }
    client.args(target);
    let output = client.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    println!("{said}");
    let checks = CHECKS - skipped.len();
    let wanted = format!("{checks} of {checks} checks passed");
    assert!(output.status.success() && said.contains(&wanted), "{client:?}\n{said}");
}

/// `beyond_sse` are checks that fail over HTTP+SSE without Lockgate as well; `cancels` is on how many of the
/// three transports the client is sure to say that it gave a call up.
fn everywhere(client: fn() -> Command, beyond_sse: &[&str], cancels: usize) {
    let gate = Setup::new().with_fixture("legacy", &[]).with_fixture("modern", &["--modern"]).start();
    for server in ["legacy", "modern"] {
        let url = |path| vec![format!("http://{}/{server}/{path}", gate.address)];
        // HTTP+SSE has no modern era: they learn that at once, and fall back.
        run_without(beyond_sse, client(), "sse", LEGACY, &url("sse"));
        run(client(), "http", MODERN, &url("mcp"));
        let (lockgate, config) = (text(&paths::lockgate()), text(&gate.config()));
        let args = [&lockgate, "serve", "--config", &config, "--stdio", server].map(str::to_owned);
        run(client(), "stdio", MODERN, &args);
        given_up(&gate, server, cancels);
    }
}

/// What the clients gave up was cancelled at the server.
fn given_up(gate: &Gate, server: &str, times: usize) {
    let arrived = gate.arrived(server);
    let said: Vec<_> = arrived.iter().map(|message| (&message["id"], &message["method"])).collect();
    let is_wait = |message: &&Value| message["params"]["name"] == "wait";
    assert_eq!(arrived.iter().filter(is_wait).count(), 3, "{said:?}");
    let cancelled = arrived.iter().enumerate().filter(|(at, message)| {
        let id = &message["params"]["requestId"];
        let asked = arrived[..*at].iter().rfind(|earlier| earlier["id"] == *id && is_wait(earlier));
        message["method"] == "notifications/cancelled" && asked.is_some()
    });
    assert!(cancelled.count() >= times, "{said:?}");
}

#[test]
fn the_client_of_the_go_sdk() {
    everywhere(|| go("gosdk"), &[], 3);
}

#[test]
fn the_client_of_mcp_go() {
    // Over HTTP+SSE it cannot be asked anything: its transport drops requests of servers. In the legacy era it
    // tells nobody over HTTP that it gave a call up, and on a pipe it may be gone before it did.
    everywhere(|| go("mcpgo"), &["sampling", "elicitation", "roots", "roots again"], 1);
}

#[test]
fn the_client_of_fastmcp() {
    everywhere(fastmcp, &[], 3);
}

/// What the suites check is what these clients do without anybody in between.
#[test]
fn the_same_clients_without_lockgate() {
    for client in [go("gosdk"), go("mcpgo"), fastmcp()] {
        run(client, "stdio", LEGACY, &[text(&paths::server("fixture-server"))]);
    }
}
