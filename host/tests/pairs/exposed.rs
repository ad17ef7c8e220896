//! The fixture server, which speaks stdio, behind every other transport: written for these tests, from
//! the specification, and sharing nothing with Lockgate.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::support::paths;

/// How it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Stdio,
    StreamableHttp,
    HttpSse,
    WebSocket,
}

type Sink = mpsc::UnboundedSender<Value>;

/// A served fixture.
pub struct Exposed {
    /// What goes under `servers` in the configuration.
    pub server: Value,
    _child: Option<Child>,
}

struct Shared {
    modern: bool,
    stdin: mpsc::UnboundedSender<Value>,
    /// By the JSON text of the id that the client gave.
    waiting: Mutex<HashMap<String, Sink>>,
    /// For what belongs to no request, or for everything.
    rest: Mutex<Option<Sink>>,
    everything: bool,
}

/// Serves one.
pub async fn expose(how: How, modern: bool) -> Exposed {
    let mut args = vec!["--name", "fx"];
    args.extend(modern.then_some("--modern"));
    let program = paths::server("fixture-server");
    if how == How::Stdio {
        return Exposed { server: json!({ "command": program, "args": args }), _child: None };
    }
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (stdin, mut lines) = mpsc::unbounded_channel::<Value>();
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            if input.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let shared = Arc::new(Shared {
        modern,
        stdin,
        waiting: Mutex::default(),
        rest: Mutex::default(),
        everything: matches!(how, How::HttpSse | How::WebSocket),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn({
        let shared = shared.clone();
        async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                shared.said(serde_json::from_str(&line).unwrap());
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let shared = shared.clone();
            tokio::spawn(async move {
                match how {
                    How::WebSocket => shared.websocket(stream).await,
                    _ => drop(shared.http(stream).await),
                }
            });
        }
    });
    let server = match how {
        How::WebSocket => json!({ "url": format!("ws://{address}/mcp") }),
        How::HttpSse => json!({ "url": format!("http://{address}/sse"), "transport": "sse-only" }),
        _ => json!({ "url": format!("http://{address}/mcp"), "transport": "http-only" }),
    };
    Exposed { server, _child: Some(child) }
}

impl Shared {
    /// Passes on what the fixture said.
    fn said(&self, message: Value) {
        let params = &message["params"];
        let key = match &message["method"] {
            Value::Null => message["id"].to_string(),
            _ if !params["progressToken"].is_null() => params["progressToken"].to_string(),
            _ => params["_meta"]["io.modelcontextprotocol/subscriptionId"].to_string(),
        };
        if !self.everything {
            let mut waiting = self.waiting.lock().unwrap();
            let sink =
                if message["method"].is_null() { waiting.remove(&key) } else { waiting.get(&key).cloned() };
            if let Some(sink) = sink {
                let _ = sink.send(message);
                return;
            }
        }
        if let Some(rest) = &*self.rest.lock().unwrap() {
            let _ = rest.send(message);
        }
    }

    async fn websocket(&self, stream: TcpStream) {
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let protocol =
            |request: &tokio_tungstenite::tungstenite::handshake::server::Request,
             mut response: tokio_tungstenite::tungstenite::handshake::server::Response| {
                assert_eq!(request.headers()["sec-websocket-protocol"], "mcp");
                response.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
                Ok(response)
            };
        let socket = tokio_tungstenite::accept_hdr_async(stream, protocol).await.unwrap();
        let (mut out, mut from) = socket.split();
        let (sink, mut told) = mpsc::unbounded_channel();
        *self.rest.lock().unwrap() = Some(sink);
        loop {
            tokio::select! {
                message = told.recv() => {
                    let Some(message) = message else { return };
                    if out.send(Frame::text(message.to_string())).await.is_err() {
                        return;
                    }
                }
                frame = from.next() => match frame {
                    Some(Ok(Frame::Text(text))) => {
                        let _ = self.stdin.send(serde_json::from_str(&text).unwrap());
                    }
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    async fn http(&self, stream: TcpStream) -> Option<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        loop {
            let (method, path, message) = request(&mut read).await?;
            match (method.as_str(), path.as_str()) {
                ("GET", "/sse") => {
                    let sink = self.stream_of_rest();
                    head(&mut write, "200 OK", "text/event-stream", "").await?;
                    chunk(&mut write, "event: endpoint\ndata: /message?sessionId=s\n\n").await?;
                    relay(&mut write, sink, &mut read).await?;
                    return None;
                }
                ("GET", _) if !self.modern => {
                    let sink = self.stream_of_rest();
                    head(&mut write, "200 OK", "text/event-stream", "").await?;
                    relay(&mut write, sink, &mut read).await?;
                    return None;
                }
                ("POST", "/mcp") if !message["id"].is_null() && !message["method"].is_null() => {
                    let (sink, answers) = mpsc::unbounded_channel();
                    self.waiting.lock().unwrap().insert(message["id"].to_string(), sink);
                    let session =
                        if message["method"] == "initialize" { "mcp-session-id: s\r\n" } else { "" };
                    let _ = self.stdin.send(message.clone());
                    head(&mut write, "200 OK", "text/event-stream", session).await?;
                    if relay(&mut write, answers, &mut read).await.is_none() {
                        self.waiting.lock().unwrap().remove(&message["id"].to_string());
                        if self.modern {
                            let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                                "params": { "requestId": message["id"] } });
                            let _ = self.stdin.send(cancelled);
                        }
                        return None;
                    }
                    write.write_all(b"0\r\n\r\n").await.ok()?;
                }
                ("POST", "/mcp" | "/message?sessionId=s") => {
                    let _ = self.stdin.send(message);
                    write.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.ok()?;
                }
                ("DELETE", _) if !self.modern => {
                    write.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()?;
                }
                _ => {
                    write.write_all(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n").await.ok()?;
                }
            }
        }
    }

    fn stream_of_rest(&self) -> mpsc::UnboundedReceiver<Value> {
        let (sink, told) = mpsc::unbounded_channel();
        *self.rest.lock().unwrap() = Some(sink);
        told
    }
}

/// Method, path and body of the next request.
async fn request(read: &mut BufReader<OwnedReadHalf>) -> Option<(String, String, Value)> {
    let mut start = String::new();
    if read.read_line(&mut start).await.ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        read.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).await.ok()?;
    let mut words = start.split(' ').map(str::to_owned);
    Some((words.next()?, words.next()?, serde_json::from_slice(&body).unwrap_or_default()))
}

async fn head(write: &mut OwnedWriteHalf, status: &str, kind: &str, more: &str) -> Option<()> {
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}transfer-encoding: chunked\r\n\r\n");
    write.write_all(head.as_bytes()).await.ok()
}

async fn chunk(write: &mut OwnedWriteHalf, text: &str) -> Option<()> {
    write.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.ok()
}

/// Events until there are no more. None if the client goes first.
async fn relay(
    write: &mut OwnedWriteHalf,
    mut messages: mpsc::UnboundedReceiver<Value>,
    read: &mut BufReader<OwnedReadHalf>,
) -> Option<()> {
    loop {
        tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(message) => chunk(write, &format!("event: message\ndata: {message}\n\n")).await?,
                None => return Some(()),
            },
            // Nothing comes here before the answer is out, but the end.
            _ = read.read_u8() => return None,
        }
    }
}
