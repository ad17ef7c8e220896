//! Endpoints that Lockgate connects to: WebSocket servers inside the test that are MCP clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "support/support.rs"]
mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};

use serde_json::{Value, json};
use support::peer::Peer;
use support::{PATIENCE, Setup};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, accept_hdr};

/// What waits for Lockgate to connect.
struct Endpoint {
    address: SocketAddr,
    connections: Receiver<TcpStream>,
}

/// One connection; this side is the client.
struct Talk {
    socket: WebSocket<TcpStream>,
    /// Of the handshake, names in lower case.
    headers: Vec<(String, String)>,
    pings: u32,
    last: i64,
}

impl Endpoint {
    /// Listens on a free port.
    fn new() -> Endpoint {
        Endpoint::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn at(address: SocketAddr) -> Endpoint {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if sender.send(stream).is_err() {
                    return; // and nothing listens any more
                }
            }
        });
        Endpoint { address, connections }
    }

    fn url(&self) -> String {
        format!("ws://{}/agent?token=canary-9d1", self.address)
    }

    /// Ends it: whoever connects next is not answered, and after that nothing listens.
    fn kill(self) -> SocketAddr {
        let Endpoint { address, connections } = self;
        drop(connections);
        drop(TcpStream::connect(address));
        // The thread has seen that by the time that nothing can connect any more.
        while TcpStream::connect(address).is_ok() {
            support::processes::pause();
        }
        address
    }

    fn accept(&self) -> Talk {
        let stream = self.connections.recv_timeout(PATIENCE).expect("Lockgate connects");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut headers = Vec::new();
        #[allow(clippy::result_large_err, reason = "the library's own")]
        let note = |request: &Request, response: Response| {
            headers.extend(
                request
                    .headers()
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())),
            );
            Ok(response)
        };
        let socket = accept_hdr(stream, note).unwrap();
        Talk { socket, headers, pings: 0, last: 0 }
    }

    /// The next connection, initialized.
    fn client(&self) -> Talk {
        let mut talk = self.accept();
        let asked = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "agent", "version": "1" } });
        let result = talk.request("initialize", asked);
        assert_eq!(result["result"]["protocolVersion"], "2025-06-18", "{result}");
        talk.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        talk
    }
}

impl Talk {
    fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message; none when Lockgate said goodbye.
    fn hear(&mut self) -> Option<Value> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_)) => self.pings += 1,
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => return None,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn start(&mut self, method: &str, params: Value) -> i64 {
        self.last += 1;
        self.say(&json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params }));
        self.last
    }

    /// Asks, and skips what comes before the answer.
    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.start(method, params);
        loop {
            let message = self.hear().expect("an answer");
            if message["id"] == id {
                return message;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    fn tools(&mut self) -> Vec<String> {
        let tools = self.request("tools/list", json!({}));
        let tools = tools["result"]["tools"].as_array().unwrap_or_else(|| panic!("{tools}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// Keys that make a test quick.
fn quick(name: &str, url: &str, servers: &[&str]) -> Value {
    json!({ "name": name, "url": url, "servers": servers,
        "reconnect": { "initialBackoff": "10ms", "maxBackoff": "50ms", "multiplier": 2, "jitter": 0.5 } })
}

#[test]
fn row_e1_several_endpoints_each_with_its_own_servers() {
    let (one, two) = (Endpoint::new(), Endpoint::new());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut first = quick("first", &one.url(), &["fx"]);
    first["headers"] = json!({ "Authorization": "Bearer canary-9d1" });
    let gate = Setup::fixture(&[])
        .with_fixture("other", &[])
        .with_top(
            "dial_out",
            json!([
                quick("nobody", &format!("ws://{nobody}/"), &["fx"]),
                first,
                quick("second", &two.url(), &["fx", "other"])
            ]),
        )
        .start();
    let mut alone = one.client();
    let authorization = alone.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    assert_eq!(authorization.1, "Bearer canary-9d1");
    assert!(alone.tools().contains(&"echo".to_owned()), "one server is served as it is");
    assert_eq!(text(&alone.call("whoami", json!({}))), "fx");
    let mut both = two.client();
    let tools = both.tools();
    assert!(tools.contains(&"fx__echo".to_owned()) && tools.contains(&"other__echo".to_owned()), "{tools:?}");
    assert_eq!(text(&both.call("other__whoami", json!({}))), "other");
    // Progress, and a cancellation: the server sees it under its own id.
    let params = json!({ "name": "wait", "arguments": { "key": "k", "tell": true }, "_meta": { "progressToken": "p" } });
    let waiting = alone.start("tools/call", params);
    let progress = alone.hear().unwrap();
    assert_eq!(
        (&progress["method"], &progress["params"]["progressToken"]),
        (&json!("notifications/progress"), &json!("p"))
    );
    alone.say(
        &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": waiting } }),
    );
    assert_eq!(text(&alone.call("wait", json!({ "key": "cancelled k" }))), "released");
    // A list that changes.
    alone.call("add_tool", json!({ "name": "later" }));
    assert!(alone.tools().contains(&"later".to_owned()));
    let stderr = gate.stderr();
    assert!(stderr.contains("second (fx, other)"), "the first lines say what is served there:\n{stderr}");
    assert_eq!(
        stderr.lines().filter(|line| line.contains("nobody") && line.contains("disconnected")).count(),
        1
    );
    assert!(!stderr.contains("canary-9d1"), "no credential is shown:\n{stderr}");
}

#[test]
fn a_modern_client_is_served_at_a_dialled_endpoint() {
    let endpoint = Endpoint::new();
    let _gate = Setup::fixture(&["--modern"])
        .with_top("dial_out", json!([quick("agent", &endpoint.url(), &["fx"])]))
        .start();
    let mut talk = endpoint.accept();
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
    let discovered = talk.request("server/discover", json!({ "_meta": meta }));
    assert_eq!(discovered["result"]["resultType"], "complete", "{discovered}");
    let echoed =
        talk.request("tools/call", json!({ "name": "echo", "arguments": { "a": 1 }, "_meta": meta }));
    assert_eq!(echoed["result"]["structuredContent"]["a"], 1, "{echoed}");
}

#[test]
fn row_e2_an_endpoint_that_comes_back_is_served_again() {
    let endpoint = Endpoint::new();
    let gate =
        Setup::fixture(&[]).with_top("dial_out", json!([quick("agent", &endpoint.url(), &["fx"])])).start();
    let mut talk = endpoint.client();
    let params =
        json!({ "name": "wait", "arguments": { "key": "k", "tell": true }, "_meta": { "progressToken": 1 } });
    talk.start("tools/call", params);
    assert_eq!(talk.hear().unwrap()["method"], "notifications/progress");
    let mark = gate.mark();
    drop(talk);
    let address = endpoint.kill();
    gate.said(mark, "word of the loss", |line| line.contains("disconnected") && line.contains("agent"));
    let endpoint = Endpoint::at(address);
    let mut talk = endpoint.client();
    assert_eq!(text(&talk.call("whoami", json!({}))), "fx");
    gate.said(mark, "word of the return", |line| line.contains(" connected") && line.contains("agent"));
    let said = gate.stderr();
    assert_eq!(said.lines().filter(|line| line.contains("disconnected")).count(), 1, "once each:\n{said}");
}

#[test]
fn row_e3_an_endpoint_that_stops_answering_pings_is_given_up() {
    let endpoint = Endpoint::new();
    let mut entry = quick("agent", &endpoint.url(), &["fx"]);
    entry["keepalive"] = json!({ "interval": "100ms", "timeout": "200ms" });
    let gate = Setup::fixture(&[]).with_top("dial_out", json!([entry])).start();
    let mut living = endpoint.client();
    while living.pings < 5 {
        living.request("ping", json!({}));
    }
    assert!(!gate.stderr().contains("disconnected"), "one that answers is kept:\n{}", gate.stderr());
    // It keeps its socket open, and reads nothing any more.
    gate.said(0, "word of the loss", |line| line.contains("disconnected: it was silent"));
    let mut next = endpoint.client();
    assert_eq!(text(&next.call("whoami", json!({}))), "fx");
    drop(living);
}

#[test]
fn row_e4_every_kind_of_server_behind_a_dialled_endpoint() {
    let (endpoint, peer) = (Endpoint::new(), Peer::start());
    let far = Setup::fixture(&[]).start();
    let streaming = format!("http://{}/fx/sse", far.address);
    let gate = Setup::new()
        .with_fixture("local", &[])
        .server_keys("local", json!({ "timeout_seconds": 1 }))
        .with_server("http", json!({ "url": peer.url(), "headers": { "X-Own": "yes" } }))
        .with_server("events", json!({ "url": streaming, "transport": "sse-only" }))
        .with_server("off", json!({ "command": "/nowhere", "disabled": true }))
        .with_top("dial_out", json!([quick("agent", &endpoint.url(), &["local", "http", "events", "off"])]))
        .start();
    let mut talk = endpoint.client();
    let tools = talk.tools();
    for tool in ["local__echo", "http__echo", "events__echo"] {
        assert!(tools.contains(&tool.to_owned()), "{tool} in {tools:?}");
        let answer = talk.call(tool, json!({ "said": tool }));
        assert!(text(&answer).contains(tool), "{answer}");
    }
    assert!(!tools.iter().any(|tool| tool.starts_with("off__")), "{tools:?}");
    assert!(peer.arrived().iter().any(|request| request.header("x-own") == Some("yes")));
    let late = talk.call("local__wait", json!({ "key": "never" }));
    let late = late["error"]["message"].as_str().unwrap_or_else(|| panic!("{late}"));
    assert!(late.contains("within 1 s"), "{late}");
    assert!(gate.stderr().contains("agent (local, http, events)"), "{}", gate.stderr());
}

#[test]
fn shutdown_says_goodbye_after_the_calls_in_flight() {
    let endpoint = Endpoint::new();
    let mut gate =
        Setup::fixture(&[]).with_top("dial_out", json!([quick("agent", &endpoint.url(), &["fx"])])).start();
    let mut talk = endpoint.client();
    let id = talk.start("tools/call", json!({ "name": "slow", "arguments": { "ms": 300 }, "_meta": {} }));
    talk.request("ping", json!({}));
    let mark = gate.mark();
    gate.process().terminate();
    gate.said(mark, "word of the end", |line| line.contains("ending"));
    assert_eq!(talk.hear().unwrap()["id"], id, "the call is answered");
    assert_eq!(talk.hear(), None, "and then the connection is closed");
    assert!(gate.process().wait().success());
}

#[test]
fn what_cannot_be_dialled_is_told_with_its_place() {
    for (entry, said) in [
        (json!({ "name": "a", "url": "http://x/", "servers": ["fx"] }), "only ws and wss are dialled"),
        (json!({ "name": "a", "servers": ["fx"] }), "has no `url`"),
        (json!({ "url": "ws://x/", "servers": ["fx"] }), "has no `name`"),
        (json!({ "name": "a", "url": "ws://x/", "servers": ["fy"] }), "there is no server `fy`"),
        (
            json!({ "name": "a", "url": "ws://x/", "reconnect": { "initial_backoff": "5" } }),
            "`5` is not a time",
        ),
        (json!({ "name": "a", "url": "ws://x/", "reconnect": { "jitter": 2 } }), "`jitter` is 2"),
        (
            json!({ "name": "a", "url": "ws://x/", "reconnect": { "max_backoff": "10ms" } }),
            "longer than `max_backoff`",
        ),
        (
            json!({ "name": "a", "url": "ws://x/", "headers": { "Sec-WebSocket-Key": "x" } }),
            "set by Lockgate itself",
        ),
    ] {
        // Kept: its folder holds the configuration.
        let setup = Setup::fixture(&[]).with_top("dial_out", json!([entry.clone()]));
        let mut process = setup.start_badly();
        assert!(!process.wait().success(), "{entry}");
        let stderr = process.stderr();
        assert!(stderr.contains(said), "{entry}: {stderr}");
    }
}
