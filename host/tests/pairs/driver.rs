//! A client on every transport that Lockgate serves: it sends what the test says, and gives it all that
//! comes, in order.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::exposed::Exposed;
use crate::support::{Gate, PATIENCE, Setup};

/// What is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    Stdio,
    StreamableHttp,
    HttpSse,
    WebSocket,
}

/// A client, and the Lockgate in front of it.
pub struct Driver {
    modern: bool,
    incoming: mpsc::UnboundedReceiver<Value>,
    /// What was read while something else was waited for.
    read: Vec<Value>,
    way: Way,
    next: u64,
    _gate: Option<Gate>,
    _child: Option<Child>,
}

enum Way {
    Pipe(mpsc::UnboundedSender<Value>),
    Http(Box<Http>),
}

struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    session: Arc<Mutex<Option<String>>>,
    sink: mpsc::UnboundedSender<Value>,
    tasks: Vec<(Value, JoinHandle<()>)>,
}

impl Driver {
    /// Starts a Lockgate with that one server and connects to it.
    pub async fn start(down: Down, modern: bool, exposed: &Exposed) -> Driver {
        let setup = Setup::new().with_server("fx", exposed.server.clone());
        let (sink, incoming) = mpsc::unbounded_channel();
        let (mut gate, mut child) = (None, None);
        let way = match down {
            Down::Stdio => {
                let mut command = tokio::process::Command::from(setup.command("serve"));
                command.args(["--stdio", "fx"]).stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut started = command.stderr(Stdio::inherit()).kill_on_drop(true).spawn().unwrap();
                let (stdin, stdout) = (started.stdin.take().unwrap(), started.stdout.take().unwrap());
                child = Some(started);
                // The folder lives as long as the process.
                std::mem::forget(setup);
                Way::Pipe(lines(stdin, stdout, sink))
            }
            Down::WebSocket => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = format!("ws://{}/agent", listener.local_addr().unwrap());
                let setup =
                    setup.with_top("dial_out", json!([{ "name": "agent", "url": url, "servers": ["fx"] }]));
                gate = Some(started(setup).await);
                let (stream, _) = listener.accept().await.unwrap();
                Way::Pipe(frames(tokio_tungstenite::accept_async(stream).await.unwrap(), sink))
            }
            Down::HttpSse => {
                let running = started(setup).await;
                let origin = format!("http://{}", running.address);
                gate = Some(running);
                Way::Pipe(events(origin, sink).await)
            }
            Down::StreamableHttp => {
                let running = started(setup).await;
                let url = format!("http://{}/fx/mcp", running.address);
                gate = Some(running);
                Way::Http(Box::new(Http {
                    client: client(),
                    url,
                    session: Arc::default(),
                    sink,
                    tasks: Vec::new(),
                }))
            }
        };
        Driver { modern, incoming, read: Vec::new(), way, next: 1, _gate: gate, _child: child }
    }

    /// Sends a request; returns its id.
    pub async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = json!(format!("c{}", self.next));
        self.next += 1;
        self.request_with_id(id.clone(), method, params).await;
        id
    }

    async fn request_with_id(&mut self, id: Value, method: &str, mut params: Value) {
        if self.modern {
            let meta = params.as_object_mut().unwrap().entry("_meta").or_insert_with(|| json!({}));
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
            meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "driver", "version": "0" });
        }
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
    }

    /// Sends a notification.
    pub async fn notify(&mut self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
    }

    /// Sends a request and returns its result.
    pub async fn result(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params).await;
        self.result_of(&id).await
    }

    /// Answers a question.
    #[allow(dead_code, reason = "not every test binary is asked")]
    pub async fn answer(&mut self, question: &Value, result: Value) {
        self.send(json!({ "jsonrpc": "2.0", "id": question["id"], "result": result })).await;
    }

    /// Calls a tool.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Waits for the result of that request.
    pub async fn result_of(&mut self, id: &Value) -> Value {
        let answer = self.until("answer", |message| message["method"].is_null() && message["id"] == *id);
        let answer = answer.await;
        answer.get("result").unwrap_or_else(|| panic!("an error: {answer}")).clone()
    }

    /// Waits for a message, keeping those before it.
    pub async fn until(&mut self, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.read.iter().position(&accept) {
            return self.read.remove(at);
        }
        loop {
            let next = tokio::time::timeout(PATIENCE, self.incoming.recv()).await;
            let Ok(Some(message)) = next else { panic!("no {what}; there was {:?}", self.read) };
            if accept(&message) {
                return message;
            }
            self.read.push(message);
        }
    }

    /// What was read and not waited for, oldest first.
    pub fn left(&self) -> &[Value] {
        &self.read
    }

    /// Begins: the handshake of the legacy era, discovery in the modern one.
    pub async fn begin(&mut self) -> Value {
        if self.modern {
            return self.result("server/discover", json!({})).await;
        }
        self.initialize(json!({})).await
    }

    /// Begins as a client of the legacy era with these capabilities.
    pub async fn initialize(&mut self, capabilities: Value) -> Value {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "driver", "version": "0" } });
        let result = self.result("initialize", params).await;
        self.notify("notifications/initialized", json!({})).await;
        if let Way::Http(http) = &mut self.way {
            http.listen().await;
        }
        result
    }

    /// Gives a request up, in the way of its era and transport.
    pub async fn cancel(&mut self, id: &Value) {
        if let (Way::Http(http), true) = (&mut self.way, self.modern) {
            return http.leave(id);
        }
        self.notify("notifications/cancelled", json!({ "requestId": id })).await;
    }

    async fn send(&mut self, message: Value) {
        match &mut self.way {
            Way::Pipe(out) => out.send(message).unwrap(),
            Way::Http(http) => http.post(message, self.modern).await,
        }
    }
}

impl Http {
    /// Posts; notifications and handshakes are waited for, so that nothing overtakes them.
    async fn post(&mut self, message: Value, modern: bool) {
        let mut request = Request::post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if modern {
            request = request.header("mcp-protocol-version", "2026-07-28");
            request = request.header("mcp-method", message["method"].as_str().unwrap());
            if let Some(name) = message["params"]["name"].as_str() {
                request = request.header("mcp-name", name);
            }
        }
        if let Some(session) = &*self.session.lock().unwrap() {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        let request = request.body(Full::from(message.to_string())).unwrap();
        let (client, sink, session) = (self.client.clone(), self.sink.clone(), self.session.clone());
        let (headed, head) = oneshot::channel();
        let task = tokio::spawn(async move {
            let response = client.request(request).await.unwrap();
            assert!(response.status().as_u16() < 500, "{response:?}");
            if let Some(id) = response.headers().get("mcp-session-id") {
                *session.lock().unwrap() = Some(id.to_str().unwrap().to_owned());
            }
            let _ = headed.send(());
            read_all(response, &sink).await;
        });
        let waited = message["id"].is_null() || message["method"] == "initialize";
        self.tasks.push((message["id"].clone(), task));
        if waited {
            tokio::time::timeout(PATIENCE, head).await.unwrap().unwrap();
        }
    }

    /// Opens the stream for what belongs to no request.
    async fn listen(&mut self) {
        let session = self.session.lock().unwrap().clone().expect("a session");
        let request = Request::get(&self.url)
            .header("accept", "text/event-stream")
            .header("mcp-session-id", session)
            .header("mcp-protocol-version", "2025-11-25")
            .body(Full::default())
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let sink = self.sink.clone();
        self.tasks.push((Value::Null, tokio::spawn(async move { read_all(response, &sink).await })));
    }

    fn leave(&mut self, id: &Value) {
        self.tasks.iter().filter(|(other, _)| other == id).for_each(|(_, task)| task.abort());
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(Duration::from_secs(1)).build_http()
}

async fn started(setup: Setup) -> Gate {
    tokio::task::spawn_blocking(move || setup.start()).await.unwrap()
}

/// Every message of a response: one as JSON, or many as events.
async fn read_all(response: hyper::Response<hyper::body::Incoming>, sink: &mpsc::UnboundedSender<Value>) {
    let events = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let mut body = response.into_body();
    let (mut all, mut feed) = (Vec::new(), Events::default());
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        if events {
            for (_, data) in feed.read(&data) {
                let _ = sink.send(serde_json::from_str(&data).unwrap());
            }
        } else {
            all.extend_from_slice(&data);
        }
    }
    if !all.is_empty() {
        let _ = sink.send(serde_json::from_slice(&all).unwrap());
    }
}

/// Reads an event stream: names and data of its events, those without data left out.
#[derive(Default)]
struct Events {
    rest: String,
}

impl Events {
    fn read(&mut self, data: &[u8]) -> Vec<(String, String)> {
        self.rest.push_str(std::str::from_utf8(data).unwrap());
        let mut events = Vec::new();
        while let Some(end) = self.rest.find("\n\n") {
            let event: String = self.rest.drain(..end + 2).collect();
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let Some(data) = field("data:").filter(|data| !data.is_empty()) {
                events.push((field("event:").unwrap_or("message").to_owned(), data.to_owned()));
            }
        }
        events
    }
}

fn lines(
    mut stdin: tokio::process::ChildStdin,
    stdout: tokio::process::ChildStdout,
    sink: mpsc::UnboundedSender<Value>,
) -> mpsc::UnboundedSender<Value> {
    let (out, mut messages) = mpsc::unbounded_channel::<Value>();
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            stdin.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        }
    });
    tokio::spawn(async move {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = sink.send(serde_json::from_str(&line).unwrap());
        }
    });
    out
}

fn frames(
    socket: tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
    sink: mpsc::UnboundedSender<Value>,
) -> mpsc::UnboundedSender<Value> {
    let (out, mut messages) = mpsc::unbounded_channel::<Value>();
    let (mut to, mut from) = socket.split();
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            to.send(Frame::text(message.to_string())).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(frame)) = from.next().await {
            if let Frame::Text(text) = frame {
                let _ = sink.send(serde_json::from_str(&text).unwrap());
            }
        }
    });
    out
}

/// The HTTP+SSE transport: everything comes on one stream, and goes to the endpoint that it names.
async fn events(origin: String, sink: mpsc::UnboundedSender<Value>) -> mpsc::UnboundedSender<Value> {
    let client = client();
    let request = Request::get(format!("{origin}/fx/sse")).header("accept", "text/event-stream");
    let response = client.request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let (named, endpoint) = oneshot::channel();
    tokio::spawn(async move {
        let (mut body, mut feed, mut named) = (response.into_body(), Events::default(), Some(named));
        while let Some(Ok(frame)) = body.frame().await {
            for (event, data) in feed.read(&frame.into_data().unwrap_or_default()) {
                match event.as_str() {
                    "endpoint" => named.take().unwrap().send(data).unwrap(),
                    _ => drop(sink.send(serde_json::from_str(&data).unwrap())),
                }
            }
        }
    });
    let endpoint = tokio::time::timeout(PATIENCE, endpoint).await.unwrap().unwrap();
    let url = if endpoint.starts_with('/') { format!("{origin}{endpoint}") } else { endpoint };
    let (out, mut messages) = mpsc::unbounded_channel::<Value>();
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            let request = Request::post(&url).header("content-type", "application/json");
            let request = request.body(Full::from(message.to_string())).unwrap();
            let response = client.request(request).await.unwrap();
            assert_eq!(response.status(), 202);
        }
    });
    out
}
