//! A server that can be reached over Streamable HTTP, over HTTP+SSE, over both or over neither.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::server::{Pipe, Seen, chunk, end, full, json, progress, put, read, stream};

/// What a POST to the URL gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Post {
    /// The answer of a Streamable HTTP server without sessions.
    Speaks,
    /// This status line, with a plain text.
    Says(&'static str),
    /// This status line, with a JSON-RPC error that answers the request.
    Errs(&'static str),
    /// The end of the connection.
    Breaks,
}

/// What a GET gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Get {
    /// A stream that begins with this `endpoint`.
    Names(&'static str),
    /// This status line.
    Says(&'static str),
    /// A stream that begins with a message.
    Streams,
    /// A stream that ends before it says anything.
    Ends,
    /// A stream that never says anything.
    Waits,
}

pub(super) struct TwoWays {
    pub(super) url: String,
    state: Arc<State>,
}

struct State {
    post: Mutex<Post>,
    get: Mutex<Get>,
    seen: watch::Sender<Vec<Seen>>,
    /// Into the newest stream; an empty text ends it.
    out: Mutex<Option<mpsc::UnboundedSender<String>>>,
}

impl TwoWays {
    pub(super) async fn start(post: Post, get: Get) -> TwoWays {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let state = Arc::new(State {
            post: Mutex::new(post),
            get: Mutex::new(get),
            seen: watch::Sender::new(Vec::new()),
            out: Mutex::new(None),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut pipe = BufReader::new(socket);
                    while let Some(request) = read(&mut pipe).await {
                        state.seen.send_modify(|seen| seen.push(request.clone()));
                        if !state.answer(&request, &mut pipe).await {
                            return;
                        }
                    }
                });
            }
        });
        TwoWays { url, state }
    }

    pub(super) fn now(&self, post: Post, get: Get) {
        *self.state.post.lock().unwrap() = post;
        *self.state.get.lock().unwrap() = get;
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.borrow().clone()
    }

    /// The exchanges so far, and none of them ever again.
    pub(super) fn exchanges(&self) -> Vec<String> {
        self.state.seen.send_replace(Vec::new()).iter().map(exchange).collect()
    }

    pub(super) async fn until(&self, matches: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.state.seen.subscribe();
        let all = seen.wait_for(|all| all.iter().any(&matches)).await.unwrap();
        all.iter().find(|one| matches(one)).unwrap().clone()
    }

    /// Puts raw text on the stream; an empty one breaks it off.
    pub(super) fn put(&self, text: &str) {
        self.state.put(text);
    }
}

/// `POST /mcp initialize`, `GET /mcp`, …
fn exchange(seen: &Seen) -> String {
    let path = seen.path.split('?').next().unwrap();
    let message: serde_json::Value = serde_json::from_str(&seen.body).unwrap_or_default();
    let what = message["method"].as_str().unwrap_or_default();
    format!("{} {path} {what}", seen.method).trim_end().to_owned()
}

impl State {
    fn put(&self, text: &str) {
        let _ = self.out.lock().unwrap().as_ref().unwrap().send(text.to_owned());
    }

    fn tell(&self, message: &str) {
        self.put(&format!("event: message\ndata: {message}\n\n"));
    }

    async fn answer(&self, request: &Seen, pipe: &mut Pipe) -> bool {
        match (request.method.as_str(), request.path.starts_with("/message")) {
            ("POST", true) => {
                full(pipe, "202 Accepted", "", "Accepted").await;
                self.take(&request.body);
                true
            }
            ("POST", false) => self.post(&request.body, pipe).await,
            ("GET", _) => self.get(pipe).await,
            _ => full(pipe, "405 Method Not Allowed", "", "").await,
        }
    }

    async fn post(&self, body: &str, pipe: &mut Pipe) -> bool {
        let id = serde_json::from_str::<serde_json::Value>(body).unwrap()["id"].as_u64();
        let post = *self.post.lock().unwrap();
        match (post, id) {
            (Post::Speaks, Some(id)) => json(pipe, "200 OK", &initialized(id)).await,
            (Post::Speaks, None) => full(pipe, "202 Accepted", "", "").await,
            (Post::Says(status), _) => full(pipe, status, "content-type: text/plain\r\n", "not here").await,
            (Post::Errs(status), id) => {
                let id = id.unwrap_or(0);
                let error =
                    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"not you"}}}}"#);
                json(pipe, status, &error).await
            }
            (Post::Breaks, _) => false,
        }
    }

    async fn get(&self, pipe: &mut Pipe) -> bool {
        let get = *self.get.lock().unwrap();
        let first = match get {
            Get::Says(status) => return full(pipe, status, "", "").await,
            Get::Names(endpoint) => format!("event: endpoint\ndata: {endpoint}\n\n"),
            Get::Streams => "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n".to_owned(),
            Get::Ends | Get::Waits => ": hello\n\n".to_owned(),
        };
        let (out, mut more) = mpsc::unbounded_channel();
        *self.out.lock().unwrap() = Some(out);
        stream(pipe).await;
        chunk(pipe, &first).await;
        if matches!(get, Get::Ends) {
            return end(pipe).await;
        }
        let mut byte = [0];
        loop {
            let text = tokio::select! {
                text = more.recv() => text.unwrap_or_default(),
                _ = pipe.read(&mut byte) => return false,
            };
            if text.is_empty() {
                return false;
            }
            put(pipe, &format!("{:x}\r\n{text}\r\n", text.len())).await;
        }
    }

    /// What came over HTTP+SSE.
    fn take(&self, body: &str) {
        let message: serde_json::Value = serde_json::from_str(body).unwrap();
        let Some(id) = message["id"].as_u64() else { return };
        match (message["method"].as_str(), message["params"]["name"].as_str()) {
            (Some("initialize"), _) => self.tell(&initialized(id)),
            (_, Some("progress")) => {
                self.tell(&progress(id, 1));
                self.tell(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
                self.tell(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"n":1.50}}}}"#));
            }
            (_, Some("ask")) => {
                self.tell(&progress(id, 1));
                self.tell(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
            }
            // Never answered.
            (Some(_), _) => self.tell(&progress(id, 1)),
            _ => {}
        }
    }
}

fn initialized(id: u64) -> String {
    let result =
        r#"{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"w","version":"1"}}"#;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}
