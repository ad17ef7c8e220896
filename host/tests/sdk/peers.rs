//! Proxies that others wrote, `supergateway` and `mcp-remote`, on either side of Lockgate.
//!
//! What a client sees through them and Lockgate is compared with what it sees through them alone.

use std::process::Command;

use serde_json::json;

use super::support::Setup;
use super::{Listening, TYPESCRIPT, everything, node, over_http, run, text, typescript};

fn supergateway() -> String {
    text(&node().join("node_modules/supergateway/dist/index.js"))
}

fn mcp_remote() -> String {
    text(&node().join("node_modules/mcp-remote/dist/proxy.js"))
}

/// server-everything behind `supergateway`.
fn behind_supergateway(transport: &str, path: &str) -> Listening {
    Listening::start("Listening on port", path, |port| {
        let mut args = vec![supergateway()];
        args.extend(["--stdio".to_owned(), format!("node '{}' stdio", everything().display())]);
        args.extend([
            "--port".to_owned(),
            port.to_string(),
            "--outputTransport".to_owned(),
            transport.to_owned(),
        ]);
        if transport == "streamableHttp" {
            args.push("--stateful".to_owned());
        }
        args
    })
}

/// The suite with a proxy that the client starts, in front of the server and in front of Lockgate.
fn with_proxy(proxy: &str, args: impl Fn(&str) -> Vec<String>, direct: &str, through: &str) -> Command {
    let mut suite = typescript();
    suite.arg(format!("--arg={proxy}")).args(args(direct).iter().map(|arg| format!("--arg={arg}")));
    suite.args(["--through-command", "node"]).arg(format!("--through-arg={proxy}"));
    suite.args(args(through).iter().map(|arg| format!("--through-arg={arg}")));
    suite
}

/// What `supergateway` does not carry on the client's side: it makes a request of its own out of each, and
/// nothing that a server sends before or beside the answer comes back.
const BEYOND_SUPERGATEWAY: [&str; 10] = [
    "progress",
    "cancellation",
    "sampling",
    "elicitation: accepted",
    "elicitation: declined",
    "elicitation: a link to open",
    "roots",
    "subscribe, updated, unsubscribe",
    "logging: a level is kept to",
    "logging: messages of the server's own",
];

#[test]
fn supergateway_as_a_server_over_streamable_http() {
    let server = behind_supergateway("streamableHttp", "/mcp");
    let gate = Setup::new().with_server("everything", json!({ "url": server.url })).start();
    let mut suite = typescript();
    // It believes for ever that a cancelled call runs, and sends what the server asks next into the exchange
    // of that call. The client leaves such an exchange open; Lockgate has closed it.
    suite.arg("--skip=cancellation");
    let through = format!("http://{}/everything/mcp", gate.address);
    run(&mut suite, TYPESCRIPT - 1, &server.url, &through);
}

#[test]
fn supergateway_as_a_server_over_sse() {
    // It has one child, which remembers who came first, and tells everybody what it answers to anybody: so
    // two of them, and one client at a time.
    let (direct, server) = (behind_supergateway("sse", "/sse"), behind_supergateway("sse", "/sse"));
    let gate = Setup::new().with_server("everything", json!({ "url": server.url })).start();
    let mut suite = typescript();
    suite.args(["--skip=a client that can do nothing", "--skip=two clients with the same ids at once"]);
    let through = format!("http://{}/everything/mcp", gate.address);
    run(&mut suite, TYPESCRIPT - 2, &direct.url, &through);
}

#[test]
fn supergateway_as_a_client_over_streamable_http() {
    let server = over_http();
    let gate = Setup::new().with_server("everything", json!({ "url": server.url })).start();
    let through = format!("http://{}/everything/mcp", gate.address);
    let args = |url: &str| ["--streamableHttp", url, "--logLevel", "none"].map(str::to_owned).to_vec();
    let mut suite = with_proxy(&supergateway(), args, &server.url, &through);
    suite.args(BEYOND_SUPERGATEWAY.map(|check| format!("--skip={check}")));
    run(&mut suite, TYPESCRIPT - BEYOND_SUPERGATEWAY.len(), "stdio", "stdio");
}

#[test]
fn supergateway_as_a_client_over_sse() {
    let server =
        Listening::start("is running on port", "/sse", |_| vec![text(&everything()), "sse".to_owned()]);
    let behind = over_http();
    let gate = Setup::new().with_server("everything", json!({ "url": behind.url })).start();
    let through = format!("http://{}/everything/sse", gate.address);
    let args = |url: &str| ["--sse", url, "--logLevel", "none"].map(str::to_owned).to_vec();
    let mut suite = with_proxy(&supergateway(), args, &server.url, &through);
    suite.args(BEYOND_SUPERGATEWAY.map(|check| format!("--skip={check}")));
    run(&mut suite, TYPESCRIPT - BEYOND_SUPERGATEWAY.len(), "stdio", "stdio");
}

#[test]
fn mcp_remote_as_a_client_over_streamable_http() {
    let server = over_http();
    let gate = Setup::new().with_server("everything", json!({ "url": server.url })).start();
    let through = format!("http://{}/everything/mcp", gate.address);
    let args = |url: &str| [url, "--transport", "http-only", "--allow-http"].map(str::to_owned).to_vec();
    let mut suite = with_proxy(&mcp_remote(), args, &server.url, &through);
    suite.arg("--repeats=direct");
    run(suite.env("MCP_REMOTE_CONFIG_DIR", node()), TYPESCRIPT, "stdio", "stdio");
}

#[test]
fn mcp_remote_as_a_server_over_stdio() {
    let server = over_http();
    let args = json!([mcp_remote(), server.url, "--transport", "http-only", "--allow-http"]);
    let proxy = json!({ "command": "node", "args": args, "env": { "MCP_REMOTE_CONFIG_DIR": node() } });
    let gate = Setup::new().with_server("everything", proxy).start();
    let through = format!("http://{}/everything/mcp", gate.address);
    run(typescript().arg("--repeats=both"), TYPESCRIPT, &server.url, &through);
}
