//! Servers over every transport, behind the built binary: each carries a call, progress, a cancellation, a
//! list change and a question of the server. Row B5 of the feature list.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]
#![allow(clippy::result_large_err, reason = "the signature that a library's callbacks have")]

#[path = "support/support.rs"]
mod support;

#[path = "transports/answers.rs"]
mod answers;
#[path = "transports/cors.rs"]
mod cors;
#[path = "transports/refusals.rs"]
mod refusals;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::child::Watched;
use support::peer::Peer;
use support::{Client, Gate, Setup, install};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// server-everything in its `sse` mode, on a free port.
struct Everything {
    url: String,
    _process: Watched,
}

fn everything() -> Everything {
    let script: PathBuf = install::npm("sdk-node", "sdk")
        .join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    // It cannot be told to take any free port, so one that was free a moment ago has to do; should
    // somebody else be quicker, it says so and the test fails with its words.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("node");
    command.arg(script).arg("sse").env("PORT", port.to_string());
    let process = Watched::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
    process.line("line about the port", |line| line.contains(&port.to_string()));
    Everything { url: format!("http://127.0.0.1:{port}/sse"), _process: process }
}

fn gate(url: &str, transport: &str) -> Gate {
    Setup::new().with_server("s", json!({ "url": url, "transport": transport })).start()
}

#[test]
fn row_b5_server_everything_over_http_sse_carries_everything() {
    let server = everything();
    // `auto` finds it: a POST to that URL is answered with 404.
    for transport in ["auto", "sse-first", "sse-only"] {
        let gate = gate(&server.url, transport);
        let mut client = Client::open(gate.address, "s");
        let mut stream = client.listen();
        // It registers more tools for a client that can answer questions, and says so.
        stream.expect("notifications/tools/list_changed");
        assert!(client.call("echo", json!({ "message": "é" })).text().contains('é'));

        let mut long = client.start(
            "tools/call",
            json!({
                "name": "trigger-long-running-operation", "arguments": { "duration": 0.2, "steps": 2 },
                "_meta": { "progressToken": "p" }
            }),
        );
        assert_eq!(long.expect("notifications/progress")["params"]["progressToken"], "p");
        assert!(long.finish().unwrap()["result"].is_object());

        let mut asking = client.start(
            "tools/call",
            json!({ "name": "trigger-sampling-request", "arguments": { "prompt": "x", "maxTokens": 5 } }),
        );
        let question = asking.expect("sampling/createMessage");
        let said =
            json!({ "role": "assistant", "content": { "type": "text", "text": "mine" }, "model": "m" });
        client.answer(&question, said);
        assert!(asking.finish().unwrap().to_string().contains("mine"));

        let mut endless = client.start(
            "tools/call",
            json!({
                "name": "trigger-long-running-operation", "arguments": { "duration": 600, "steps": 6000 },
                "_meta": { "progressToken": "q" }
            }),
        );
        endless.expect("notifications/progress");
        client.notify("notifications/cancelled", json!({ "requestId": endless.id }));
        assert_eq!(endless.finish(), None, "a cancelled call gets no answer");
        assert!(client.call("echo", json!({ "message": "after" })).text().contains("after"));
    }
}

/// An MCP server over a WebSocket, in the conventions of the TypeScript SDK 1.x.
struct Socket {
    url: String,
    arrived: mpsc::Receiver<Value>,
}

impl Socket {
    fn start() -> Socket {
        let (address, (seen, arrived)) = (mpsc::channel::<SocketAddr>(), mpsc::channel());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                address.0.send(listener.local_addr().unwrap()).unwrap();
                while let Ok((accepted, _)) = listener.accept().await {
                    tokio::spawn(serve(accepted, seen.clone()));
                }
            });
        });
        Socket { url: format!("ws://{}/mcp", address.1.recv().unwrap()), arrived }
    }

    fn wait_for(&self, method: &str) -> Value {
        loop {
            let message = self.arrived.recv_timeout(support::PATIENCE).unwrap();
            if message["method"] == method {
                return message;
            }
        }
    }
}

async fn serve(accepted: tokio::net::TcpStream, seen: mpsc::Sender<Value>) {
    let agree = |request: &Request, mut response: Response| {
        assert_eq!(request.headers()["sec-websocket-protocol"], "mcp");
        response.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(accepted, agree).await.unwrap();
    let mut asked = Value::Null;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        let _ = seen.send(message.clone());
        let id = &message["id"];
        let mut out = Vec::new();
        match (message["method"].as_str(), message["params"]["name"].as_str()) {
            (Some("initialize"), _) => out.push(json!({ "id": id, "result": {
                "protocolVersion": "2025-11-25", "capabilities": { "tools": { "listChanged": true } },
                "serverInfo": { "name": "socket", "version": "1" }
            } })),
            (Some("tools/list"), _) => out.push(json!({ "id": id, "result": { "tools": [
                { "name": "echo", "inputSchema": { "type": "object" } }
            ] } })),
            (Some("tools/call"), Some("echo")) => out.push(json!({ "id": id, "result": { "content": [
                { "type": "text", "text": message["params"]["arguments"]["message"] }
            ] } })),
            (Some("tools/call"), name) => {
                let token = &message["params"]["_meta"]["progressToken"];
                out.push(json!({ "method": "notifications/progress", "params": { "progressToken": token, "progress": 1 } }));
                if name == Some("ask") {
                    asked = id.clone();
                    out.push(json!({ "id": 1, "method": "roots/list" }));
                    out.push(json!({ "method": "notifications/tools/list_changed" }));
                }
            }
            (None, _) => out.push(json!({ "id": asked, "result": message["result"] })),
            _ => {}
        }
        for mut message in out {
            message["jsonrpc"] = "2.0".into();
            socket.send(Message::text(message.to_string())).await.unwrap();
        }
    }
}

#[test]
fn row_b5_a_websocket_carries_everything() {
    let server = Socket::start();
    for transport in ["auto", "websocket"] {
        let gate = gate(&server.url, transport);
        let mut client = Client::open(gate.address, "s");
        let mut stream = client.listen();
        assert_eq!(client.call("echo", json!({ "message": "é" })).text(), "é");
        let params = |name: &str| json!({ "name": name, "_meta": { "progressToken": "p" } });

        let mut asking = client.start("tools/call", params("ask"));
        assert_eq!(asking.expect("notifications/progress")["params"]["progressToken"], "p");
        let question = asking.expect("roots/list");
        client.answer(&question, json!({ "roots": [{ "uri": "file:///mine" }] }));
        assert_eq!(asking.finish().unwrap()["result"]["roots"][0]["uri"], "file:///mine");
        stream.expect("notifications/tools/list_changed");

        let mut endless = client.start("tools/call", params("endless"));
        endless.expect("notifications/progress");
        client.notify("notifications/cancelled", json!({ "requestId": endless.id }));
        assert_eq!(endless.finish(), None, "a cancelled call gets no answer");
        server.wait_for("notifications/cancelled");
        assert_eq!(client.call("echo", json!({ "message": "after" })).text(), "after");
    }
}

#[test]
fn a_server_is_reached_through_the_proxy_of_the_environment_where_it_says_so() {
    // It takes what it is sent for its own, as a proxy that forwards to one server would.
    let proxy = Peer::start();
    let url = "http://nowhere.invalid/mcp";
    let setup = |keys: Value| {
        let proxy = format!("http://{}", proxy.address);
        let setup = Setup::new().with_server("s", json!({ "url": url })).server_keys("s", keys);
        setup.with_env("HTTP_PROXY", &proxy).with_env("http_proxy", &proxy).with_env("NO_PROXY", "")
    };
    let through = setup(json!({ "proxy": "environment" })).start();
    let mut client = Client::open(through.address, "s");
    assert!(client.call("echo", json!({ "message": "x" })).result().is_object());
    let first = &proxy.arrived()[0];
    assert_eq!(first.header("host"), Some("nowhere.invalid"));

    let seen = proxy.arrived().len();
    let output = setup(json!({})).command("check").output().unwrap();
    assert!(!output.status.success());
    assert_eq!(proxy.arrived().len(), seen, "it was not told to use the proxy");
}

fn check(servers: &[(&str, Value)]) -> String {
    let setup =
        servers.iter().fold(Setup::new(), |setup, (name, server)| setup.with_server(name, server.clone()));
    let output = setup.command("check").args(["--timeout", "20s"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn row_b5_check_says_over_which_transport_or_what_was_tried() {
    let (socket, web) = (Socket::start(), Peer::start());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nothing = format!("http://{}/nothing-here", page("404 Not Found", "text/html", "<html>"));
    let garbage = format!("http://{}/mcp", page("200 OK", "application/json", "{]"));
    let said = check(&[
        ("socket", json!({ "url": socket.url })),
        ("web", json!({ "url": web.url() })),
        ("down", json!({ "url": format!("http://{free}/mcp") })),
        ("nothing", json!({ "url": nothing })),
        ("garbage", json!({ "url": garbage })),
    ]);
    for part in [
        "over WebSocket",
        "over Streamable HTTP",
        "connection refused",
        "tried Streamable HTTP: http",
        "HTTP 404: no Streamable HTTP server is there",
        "tried HTTP+SSE: http",
        "HTTP 404: no HTTP+SSE server is there",
        "sent an unacceptable message",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

/// A web server that always answers this.
fn page(status: &str, content_type: &str, body: &str) -> SocketAddr {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}
