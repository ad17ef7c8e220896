//! Servers that are told in flags (`wrap`, `connect`) or in a URL (`command_urls`): from outside, with the built binary.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

#[path = "commands/command_urls.rs"]
mod command_urls;
#[path = "commands/connect.rs"]
mod connect;
#[path = "commands/flags.rs"]
mod flags;
#[path = "commands/secrets.rs"]
mod secrets;
#[path = "commands/wrap.rs"]
mod wrap;

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::child::Watched;
use support::client::full;
use support::gate::lockgate;
use support::{Client, Http, Response, paths};

/// A command that serves over HTTP, and said it is ready.
struct Running {
    process: Watched,
    address: SocketAddr,
}

impl Running {
    fn start(arguments: &[&str]) -> Running {
        let mut command = lockgate();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        Running::begin(&mut command)
    }

    fn begin(command: &mut Command) -> Running {
        let process = Watched::start(command);
        process.line("`ready` line", |line| line.trim() == "ready");
        let first = process.line("first line", |line| line.contains(" on http://"));
        let address = first.split("http://").nth(1).unwrap().parse().unwrap();
        Running { process, address }
    }

    fn client(&self) -> Client {
        Client::open_at(self.address, "/mcp")
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.pid()), signal).unwrap();
    }
}

/// A client of HTTP+SSE: what it posts is answered on its stream.
struct Stream {
    address: SocketAddr,
    post_to: String,
    stream: Response,
}

impl Stream {
    /// Opens the stream and initializes.
    fn open(address: SocketAddr, path: &str) -> (Stream, Value) {
        let accept = [("accept", "text/event-stream")];
        let mut stream = Http::new(address).send("GET", path, &accept, b"").unwrap();
        assert_eq!(stream.status, 200, "GET {path}");
        let post_to = stream.event().unwrap().unwrap();
        let mut client = Stream { address, post_to, stream };
        let initialized = client.request(0, "initialize", full())["result"].clone();
        client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        (client, initialized)
    }

    fn say(&self, message: &Value) {
        let headers = [("content-type", "application/json")];
        let body = message.to_string();
        let answer = Http::new(self.address).send("POST", &self.post_to, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 202, "{message}");
    }

    fn request(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.stream.event().unwrap().unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn call(&mut self, id: u64, tool: &str, arguments: Value) -> Value {
        self.request(id, "tools/call", json!({ "name": tool, "arguments": arguments }))
    }
}

fn fixture() -> String {
    paths::server("fixture-server").display().to_string()
}

/// Runs a command to its end.
fn ended(arguments: &[&str]) -> Output {
    let output = lockgate().args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.stdout.is_empty(), "stdout is for the transport: {output:?}");
    output
}

/// What a command that failed said; it is fit for people.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = ended(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.starts_with("error: "), "{text}");
    assert!(!text.contains("ready"), "{text}");
    for inner in ["panicked", "RUST_BACKTRACE", "Error {", "Err(", "lockgate::", "hyper::", "os error"] {
        assert!(!text.contains(inner), "{inner} is nobody's business: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    text
}

fn is_alive(pid: u32) -> bool {
    // A zombie that nobody waited for yet is not alive.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn pid_of(client: &mut Client) -> u32 {
    let said = client.call("whoami", json!({}));
    said.result()["structuredContent"]["pid"].as_u64().unwrap().try_into().unwrap()
}

#[test]
fn what_is_mistyped_is_wrong_usage_with_the_nearest_right_one() {
    for (arguments, wrong, right) in [
        (vec!["wrap", "--lisen", ":0", "--", "sh"], "--lisen", "--listen"),
        (vec!["wrap", "--ignore-tols", "x", "--", "sh"], "--ignore-tols", "--ignore-tool"),
        (vec!["wrap", "--isolation", "sesion", "--", "sh"], "sesion", "session"),
        (vec!["wrap", "--listen", "abc", "--", "sh"], "abc", "127.0.0.1:8080"),
        (vec!["wrap", "--listen", ":abc", "--", "sh"], ":abc", ":8080"),
        (vec!["wrap", "--env", "LOCKGATE_TEST_UNSET", "--", "sh"], "LOCKGATE_TEST_UNSET", "not set"),
        (vec!["wrap", "--cwd", "/no/such", "--", "sh"], "/no/such", "no such file"),
        (vec!["wrapp", "--", "sh"], "wrapp", "wrap"),
        (vec!["wrap"], "<COMMAND>", "lockgate wrap"),
        (vec!["connect", "--hedaer", "A:b", "https://a.example"], "--hedaer", "--header"),
        (vec!["connect", "--transport", "http-onyl", "https://a.example"], "http-onyl", "http-only"),
        (vec!["connect", "--header", "A", "https://a.example"], "A", "Authorization: Bearer ${TOKEN}"),
        (
            vec!["connect", "--header", "A: ${LOCKGATE_TEST_UNSET}", "https://a.example"],
            "LOCKGATE_TEST_UNSET",
            "not set",
        ),
        (vec!["connect", "nonsense"], "nonsense", "malformed"),
        (vec!["connect", "ftp://a.example/"], "`ftp`", "https://mcp.example.com/mcp"),
        (vec!["connect", "http://a.example/mcp"], "is not encrypted", "--allow-http"),
        (vec!["connect"], "<URL>", "lockgate connect"),
    ] {
        let text = refused(&arguments, 2);
        assert!(text.contains(wrong) && text.contains(right), "{text}");
        assert!(text.lines().count() <= 8, "{text}");
    }
}

/// Waits until a process is no more: its parent may still be about to collect it.
fn gone(pid: u32) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while is_alive(pid) {
        assert!(std::time::Instant::now() < end, "process {pid} is still there");
        support::processes::pause();
    }
}
