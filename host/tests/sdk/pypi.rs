//! Servers from PyPI: one of the reference servers, and one made with the official SDK.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::json;

use super::support::child::Watched;
use super::support::{Gate, Setup, install};

fn server() -> String {
    install::sources().join("sdk/server.py").to_str().unwrap().to_owned()
}

/// Two calls, one of them with progress.
fn check(gate: &Gate) {
    let mut client = gate.client("py");
    assert_eq!(client.tools(), ["add", "count"]);
    let sum = client.call("add", json!({ "a": 40, "b": 2 }));
    assert_eq!(sum.result()["structuredContent"], json!({ "result": 42 }));
    let params = json!({ "name": "count", "arguments": { "to": 3 }, "_meta": { "progressToken": "p" } });
    let mut call = client.start("tools/call", params);
    for done in 1..=3 {
        let progress = call.expect("notifications/progress");
        assert_eq!(progress["params"]["progressToken"], "p");
        assert_eq!(progress["params"]["progress"].as_f64(), Some(f64::from(done)));
    }
    let result = call.finish().unwrap();
    assert_eq!(result["result"]["content"][0]["text"], "counted to 3");
}

#[test]
fn a_reference_server_from_pypi() {
    let server =
        json!({ "command": install::python(), "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"] });
    let gate = Setup::new().with_server("time", server).start();
    let mut client = gate.client("time");
    assert_eq!(client.tools(), ["get_current_time", "convert_time"]);
    let told = client.call("get_current_time", json!({ "timezone": "Europe/Warsaw" }));
    assert!(told.text().contains("Europe/Warsaw"), "{}", told.text());
}

#[test]
fn a_server_of_the_python_sdk_over_stdio() {
    let server = json!({ "command": install::python(), "args": [server(), "stdio", "0"] });
    check(&Setup::new().with_server("py", server).start());
}

#[test]
fn a_server_of_the_python_sdk_over_streamable_http() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(install::python());
    command.args([server(), "streamable-http".to_owned(), port.to_string()]).env("FASTMCP_LOG_LEVEL", "INFO");
    let process = Watched::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
    process.line("line about its port", |line| line.contains("Uvicorn running"));
    let url = format!("http://127.0.0.1:{port}/mcp");
    check(&Setup::new().with_server("py", json!({ "url": url })).start());
}
