//! The official TypeScript and Python clients see through Lockgate what they see directly.
//!
//! The clients and `@modelcontextprotocol/server-everything` are installed on first use, pinned by
//! the files in `tests/sdk`, into the target folder.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "sdk/current.rs"]
mod current;
#[path = "sdk/filesystem.rs"]
mod filesystem;
#[path = "sdk/others.rs"]
mod others;
#[path = "sdk/peers.rs"]
mod peers;
#[path = "sdk/pypi.rs"]
mod pypi;
#[path = "support/support.rs"]
mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::json;
use support::child::Watched;
use support::install;
use support::{Modern, Setup, paths};

/// The folder with the TypeScript client and server-everything.
fn node() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = install::npm("sdk-node", "sdk");
        install::beside(&folder, "sdk", &["suite.mjs", "modern.mjs", "bridged.mjs"]);
        folder
    })
}

fn everything() -> PathBuf {
    node().join("node_modules/@modelcontextprotocol/server-everything/dist/index.js")
}

fn typescript() -> Command {
    let mut command = Command::new("node");
    command.arg(node().join("suite.mjs"));
    command
}

fn pythonic() -> Command {
    let mut command = Command::new(install::python());
    command.arg(install::sources().join("sdk/suite.py")).arg("--everything").arg(everything());
    command
}

/// Checks of the TypeScript suite.
const TYPESCRIPT: usize = 41;
/// Of the Python one.
const PYTHON: usize = 19;
/// Of the TypeScript one if it only lists.
const LISTS: usize = 8;

/// Runs a suite; every check is one line, and the test fails with all of them if one failed, or if not as
/// many ran as there are.
fn run(suite: &mut Command, checks: usize, direct: &str, through: &str) {
    let output = suite.args(["--direct", direct, "--through", through]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{suite:?}\n{said}");
    assert!(
        said.contains(&format!("{checks} of {checks} checks passed")),
        "not {checks} checks ran:\n{said}"
    );
}

/// A server on a free port.
struct Listening {
    url: String,
    _process: Watched,
}

impl Listening {
    /// Starts a Node.js program that says `ready` on stdout or stderr once it listens on its port.
    ///
    /// Such programs cannot be told to take any free port, so one that was free a moment ago has to do;
    /// should somebody else be quicker, it says so and the test fails with its words.
    fn start(ready: &str, path: &str, args: impl FnOnce(u16) -> Vec<String>) -> Listening {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("sh");
        command.args(["-c", "exec node \"$@\" 1>&2", "node"]).args(args(port)).env("PORT", port.to_string());
        let process = Watched::start(command.stdin(Stdio::null()));
        process.line("line about the port", |line| line.contains(ready));
        Listening { url: format!("http://127.0.0.1:{port}{path}"), _process: process }
    }
}

fn over_http() -> Listening {
    let args = |_| vec![text(&everything()), "streamableHttp".to_owned()];
    Listening::start("listening on port", "/mcp", args)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn over_stdio() -> Setup {
    Setup::new().with_server("everything", json!({ "command": "node", "args": [everything(), "stdio"] }))
}

#[test]
fn the_typescript_client_over_stdio() {
    let gate = over_stdio().start();
    run(&mut typescript(), TYPESCRIPT, "stdio", &format!("http://{}/everything/mcp", gate.address));
}

#[test]
fn the_python_client_over_stdio() {
    let gate = over_stdio().start();
    run(&mut pythonic(), PYTHON, "stdio", &format!("http://{}/everything/mcp", gate.address));
}

#[test]
fn row_a11_the_typescript_client_over_sse() {
    let gate = over_stdio().start();
    run(&mut typescript(), TYPESCRIPT, "stdio", &format!("http://{}/everything/sse", gate.address));
}

#[test]
fn row_a11_a_list_that_changes_over_sse() {
    let gate = Setup::fixture(&[]).start();
    let script = node().join("changes.mjs");
    std::fs::copy(install::sources().join("sdk/changes.mjs"), &script).unwrap();
    let mut command = Command::new("node");
    let output = command.arg(script).arg(format!("http://{}/fx/sse", gate.address)).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("the list changed"), "{said}");
}

#[test]
fn the_python_client_over_sse() {
    let gate = over_stdio().start();
    run(&mut pythonic(), PYTHON, "stdio", &format!("http://{}/everything/sse", gate.address));
}

#[test]
fn the_typescript_client_to_a_server_over_sse() {
    let server =
        Listening::start("is running on port", "/sse", |_| vec![text(&everything()), "sse".to_owned()]);
    let gate = Setup::new().with_server("everything", json!({ "url": server.url })).start();
    run(&mut typescript(), TYPESCRIPT, &server.url, &format!("http://{}/everything/mcp", gate.address));
}

#[test]
fn the_typescript_client_over_streamable_http() {
    let server = over_http();
    let gate = Setup::new().with_server("everything", json!({ "url": server.url })).start();
    let through = format!("http://{}/everything/mcp", gate.address);
    run(typescript().arg("--repeats=direct"), TYPESCRIPT, &server.url, &through);
}

#[test]
fn the_python_client_over_streamable_http() {
    let server = over_http();
    let gate = Setup::new().with_server("everything", json!({ "url": server.url })).start();
    run(&mut pythonic(), PYTHON, &server.url, &format!("http://{}/everything/mcp", gate.address));
}

#[test]
fn lists_that_come_in_pages_are_complete() {
    let flags = ["--tools", "50", "--page", "7"];
    let gate = Setup::fixture(&flags).start();
    let mut suite = typescript();
    suite.arg("--lists-only").arg("--command").arg(paths::server("fixture-server"));
    suite.args(["--arg=--name", "--arg=fx"]).args(flags.map(|flag| format!("--arg={flag}")));
    run(&mut suite, LISTS, "stdio", &format!("http://{}/fx/mcp", gate.address));
}

#[test]
fn a_filter_knows_the_tools_that_a_client_of_these_capabilities_has() {
    let filter = json!({ "plugin": "tool-filter", "config": { "deny": ["nothing"] } });
    let gate = over_stdio().with_filter(filter).start();
    let asked = Modern::new(gate.address, "everything");
    let mute = asked.clone().able_to(json!({}));
    let tool = "trigger-sampling-request";
    for _ in 0..2 {
        let arguments = json!({ "prompt": "say", "maxTokens": 5 });
        let question = asked.call(tool, arguments.clone());
        assert_eq!(question.result()["resultType"], "input_required", "{question:?}");
        assert_eq!(mute.call(tool, arguments).error()["message"], format!("Unknown tool: {tool}"));
    }
}
