//! A hand-written HTTP client that can do what no library lets one do, and a served fake behind it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fake::{Events, Fake, Shared};
use super::patience::soon;
use crate::config::Config;
use crate::downstream::http::{HttpFront, bind};

/// A fake served on a port of its own.
pub struct Site {
    pub address: SocketAddr,
    pub shared: Arc<Shared>,
    pub events: Events,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<()>,
}

impl Site {
    pub async fn new() -> Site {
        Site::with(false, |_| {}).await
    }

    pub async fn with(authenticates: bool, configure: impl FnOnce(&mut Config)) -> Site {
        let (fake, shared, events) = Fake::new(authenticates, configure);
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(HttpFront::new(Arc::new(fake)).serve(listener, shutdown.clone()));
        Site { address, shared, events, shutdown, serving }
    }

    pub async fn connect(&self) -> Wire {
        Wire { stream: BufReader::new(TcpStream::connect(self.address).await.expect("it listens")) }
    }

    /// One request on a connection of its own, answered as a whole.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut wire = self.connect().await;
        wire.request(method, path, headers, body).await;
        wire.answer().await
    }

    /// POSTs a message to server `a`.
    pub async fn post(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [POST, headers].concat();
        self.send("POST", "/a/mcp", &headers, body).await
    }

    /// The session id that `initialize` gives.
    pub async fn initialize(&self, headers: &[(&str, &str)]) -> String {
        let answer = self.post(headers, INITIALIZE).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.header("mcp-session-id").expect("a session id").to_owned()
    }

    /// Skips what happened until it is `awaited`.
    pub async fn until(&self, awaited: &str) {
        self.events.until(awaited).await;
    }
}

pub const POST: &[(&str, &str)] =
    &[("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

pub const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"sampling":{},"roots":{}},"clientInfo":{"name":"test","version":"1"}}}"#;

pub fn call(id: &str, tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
    )
}

/// One connection.
pub struct Wire {
    pub stream: BufReader<TcpStream>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error code: {}", self.body))
    }
}

impl Wire {
    pub async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("connected");
    }

    pub async fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += "Host: localhost\r\n";
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.write(&text).await;
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        soon("a line of the answer", self.stream.read_line(&mut line)).await.expect("text");
        line.trim_end().to_owned()
    }

    /// Status and headers.
    pub async fn head(&mut self) -> Answer {
        let status = self.line().await;
        let status = status.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {status:?}"));
        let mut answer =
            Answer { status: status.parse().expect("a number"), headers: Vec::new(), body: String::new() };
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else { return answer };
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Head and body.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                answer.body += &chunk;
            }
        } else {
            let length =
                answer.header("content-length").map_or(0, |length| length.parse().expect("a number"));
            let mut body = vec![0; length];
            soon("the body", self.stream.read_exact(&mut body)).await.expect("the whole body");
            answer.body = String::from_utf8(body).expect("UTF-8");
        }
        answer
    }

    /// One chunk: one write of the other side. None at the end; a connection that breaks panics.
    pub async fn chunk(&mut self) -> Option<String> {
        let length = usize::from_str_radix(&self.line().await, 16).expect("a chunk, not a broken connection");
        let mut chunk = vec![0; length + 2];
        soon("the rest of a chunk", self.stream.read_exact(&mut chunk)).await.expect("the whole chunk");
        chunk.truncate(length);
        (length > 0).then(|| String::from_utf8(chunk).expect("UTF-8"))
    }

    /// The message of the next event, comments skipped. None at the end of the stream.
    pub async fn event(&mut self) -> Option<serde_json::Value> {
        loop {
            let chunk = self.chunk().await?;
            if chunk.starts_with(':') {
                continue;
            }
            let data =
                chunk.strip_prefix("event: message\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
            let data = data.unwrap_or_else(|| panic!("one event is one chunk: {chunk:?}"));
            return Some(serde_json::from_str(data).expect("JSON"));
        }
    }

    /// The next event, comments skipped: its id, and its message (null where it has none).
    pub async fn event_with_id(&mut self) -> Option<(Option<String>, serde_json::Value)> {
        loop {
            let chunk = self.chunk().await?;
            if chunk.starts_with(':') {
                continue;
            }
            assert!(chunk.ends_with("\n\n"), "one event is one chunk: {chunk:?}");
            let field =
                |name: &str| chunk.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            let data = field("data: ").unwrap_or_default();
            let message = serde_json::from_str(&data).unwrap_or_default();
            assert_eq!(
                data.is_empty(),
                field("retry: ").is_some(),
                "when to come back stands first: {chunk:?}"
            );
            return Some((field("id: "), message));
        }
    }

    /// Waits until the other side closes (or breaks) the connection; returns what it still sent.
    pub async fn closes(mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an error, a close is none: both are what is asked.
        let _ = soon("the connection's end", self.stream.read_to_end(&mut rest)).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}
