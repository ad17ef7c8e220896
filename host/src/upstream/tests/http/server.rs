//! A server that answers over HTTP what the test wants, down to the byte.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    /// Lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

pub(super) struct Web(Arc<State>);

struct State {
    address: std::net::SocketAddr,
    streaming: bool,
    sessions: AtomicUsize,
    connections: AtomicUsize,
    busy: watch::Sender<usize>,
    seen: watch::Sender<Vec<Seen>>,
    gets: Mutex<usize>,
}

pub(super) type Pipe = BufReader<TcpStream>;

impl Web {
    pub(super) async fn start() -> Web {
        Web::serve(false).await
    }

    /// With a stream for what belongs to no request.
    pub(super) async fn start_streaming() -> Web {
        Web::serve(true).await
    }

    async fn serve(streaming: bool) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = Arc::new(State {
            address: listener.local_addr().unwrap(),
            streaming,
            sessions: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            busy: watch::Sender::new(0),
            seen: watch::Sender::new(Vec::new()),
            gets: Mutex::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&shared);
                tokio::spawn(async move { connection(state, BufReader::new(stream)).await });
            }
        });
        Web(state)
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(super) fn url(&self) -> String {
        format!("{}/mcp?key=hidden", self.origin())
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.0.seen.borrow().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Waits for a request that looks like this.
    pub(super) async fn until(&self, matches: impl Fn(&Seen) -> bool) -> Seen {
        self.0.until(matches).await
    }

    /// Waits until no request is being answered.
    pub(super) async fn idle(&self) {
        self.0.busy.subscribe().wait_for(|busy| *busy == 0).await.unwrap();
    }
}

impl State {
    async fn until(&self, matches: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let all = seen.wait_for(|all| all.iter().any(&matches)).await.unwrap();
        all.iter().find(|s| matches(s)).unwrap().clone()
    }
}

async fn connection(state: Arc<State>, mut pipe: Pipe) {
    while let Some(request) = read(&mut pipe).await {
        state.busy.send_modify(|busy| *busy += 1);
        state.seen.send_modify(|seen| seen.push(request.clone()));
        let go_on = answer(&state, &request, &mut pipe).await;
        let _ = pipe.flush().await;
        state.busy.send_modify(|busy| *busy -= 1);
        if !go_on {
            return;
        }
    }
}

pub(super) async fn read(pipe: &mut Pipe) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if pipe.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut first = lines.first()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = vec![0; length];
    pipe.read_exact(&mut body).await.ok()?;
    Some(Seen { method, path, headers, body: String::from_utf8(body).unwrap() })
}

pub(super) async fn put(pipe: &mut Pipe, text: &str) {
    // A client that has gone away is part of some tests.
    let _ = pipe.write_all(text.as_bytes()).await;
    let _ = pipe.flush().await;
}

pub(super) async fn full(pipe: &mut Pipe, status: &str, headers: &str, body: &str) -> bool {
    let length = body.len();
    put(pipe, &format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")).await;
    true
}

pub(super) async fn json(pipe: &mut Pipe, status: &str, body: &str) -> bool {
    full(pipe, status, "Content-Type: application/json; charset=utf-8\r\nX-Server: yes\r\n", body).await
}

pub(super) async fn stream(pipe: &mut Pipe) {
    put(pipe, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
}

pub(super) async fn chunk(pipe: &mut Pipe, text: &str) {
    put(pipe, &format!("{:x}\r\n{text}\r\n", text.len())).await;
}

pub(super) async fn event(pipe: &mut Pipe, fields: &str, data: &str) {
    chunk(pipe, &format!("{fields}data: {data}\n\n")).await;
}

pub(super) async fn end(pipe: &mut Pipe) -> bool {
    put(pipe, "0\r\n\r\n").await;
    true
}

pub(super) fn progress(id: u64, n: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":{n}}}}}"#
    )
}

/// A whole answer, whose body says itself where it ends.
pub(super) fn chunked(id: u64) -> String {
    let (one, two) = (format!(r#"{{"jsonrpc":"2.0","id":{id},"#), r#""result":{"a":1}}"#);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    format!("{head}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len())
}

/// False if the connection is to be closed.
async fn answer(state: &Arc<State>, request: &Seen, pipe: &mut Pipe) -> bool {
    let header = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    if !request.path.starts_with("/mcp") {
        return full(pipe, "404 Not Found", "", "no such page").await;
    }
    match request.method.as_str() {
        "DELETE" => return full(pipe, "204 No Content", "", "").await,
        "GET" => return get(state, header("last-event-id"), pipe).await,
        _ => {}
    }
    let message: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    let id = message["id"].as_u64().unwrap_or(0);
    match message["method"].as_str() {
        Some("initialize") => {
            let session = state.sessions.fetch_add(1, Ordering::SeqCst) + 1;
            let headers = format!("content-type: application/json\r\nMcp-Session-Id: session-{session}\r\n");
            let result = r#"{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"w","version":"1"}}"#;
            full(pipe, "200 OK", &headers, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
                .await
        }
        Some("tools/call") => call(state, request, id, &message["params"], pipe).await,
        _ => full(pipe, "202 Accepted", "", "").await,
    }
}

async fn get(state: &Arc<State>, last_event: Option<&str>, pipe: &mut Pipe) -> bool {
    match last_event {
        Some("a1") => {
            stream(pipe).await;
            event(pipe, "id: a2\n", &progress(2, 1)).await;
            return end(pipe).await;
        }
        Some("a2") => {
            stream(pipe).await;
            event(pipe, "id: a3\n", r#"{"jsonrpc":"2.0","id":2,"result":{"polled":true}}"#).await;
            return end(pipe).await;
        }
        _ if !state.streaming => return full(pipe, "405 Method Not Allowed", "", "").await,
        Some("e2") => {
            stream(pipe).await;
            event(pipe, "id: e3\n", r#"{"jsonrpc":"2.0","id":"free","method":"roots/list"}"#).await;
            event(pipe, "id: e4\n", r#"{"jsonrpc":"2.0","id":2,"result":{"forged":true}}"#).await;
        }
        _ => {
            *state.gets.lock().unwrap() += 1;
            stream(pipe).await;
            event(pipe, "id: e1\n", r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).await;
            event(
                pipe,
                "id: e2\nretry: 10\n",
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#,
            )
            .await;
            return end(pipe).await;
        }
    }
    // Stays open until the client leaves.
    let mut byte = [0];
    let _ = pipe.read(&mut byte).await;
    false
}

async fn call(
    state: &Arc<State>,
    request: &Seen,
    id: u64,
    params: &serde_json::Value,
    pipe: &mut Pipe,
) -> bool {
    let error = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"no"}}}}"#);
    match params["name"].as_str().unwrap() {
        "json" => {
            let params = request.body.split_once("\"params\":").unwrap().1;
            json(pipe, "200 OK", &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"params":{params}}}"#))
                .await
        }
        "sse" => {
            stream(pipe).await;
            for n in 1..=3 {
                event(pipe, "", &progress(id, n)).await;
            }
            event(
                pipe,
                "event: message\n",
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#,
            )
            .await;
            event(pipe, "event: other\n", "not for us").await;
            event(
                pipe,
                ": comment\n",
                &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"streamed":1.0}}}}"#),
            )
            .await;
            event(pipe, "", &progress(id, 99)).await;
            end(pipe).await
        }
        "ask" => {
            let question = params["arguments"].to_string();
            stream(pipe).await;
            event(pipe, "", &format!(r#"{{"jsonrpc":"2.0","id":{question},"method":"elicitation/create"}}"#))
                .await;
            let id_of_it = format!("\"id\":{question}");
            let answer = state.until(|s| s.method == "POST" && s.body.contains(&id_of_it)).await;
            event(pipe, "", &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, answer.body)).await;
            end(pipe).await
        }
        "poll" => {
            stream(pipe).await;
            event(pipe, "id: a1\nretry: 10\n", "").await;
            end(pipe).await
        }
        "poll-lost" => {
            stream(pipe).await;
            event(pipe, "id: lost\nretry: 10\n", "").await;
            end(pipe).await
        }
        "cut-json" => {
            let json = "content-type: application/json\r\ncontent-length: 1000";
            put(
                pipe,
                &format!(
                    "HTTP/1.1 200 OK\r\n{json}\r\n\r\n{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}"
                ),
            )
            .await;
            false
        }
        "cut-sse" => {
            stream(pipe).await;
            // The event lacks its end, and the body too.
            chunk(pipe, &format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n")).await;
            false
        }
        "closed-sse" => {
            stream(pipe).await;
            chunk(pipe, &format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n")).await;
            end(pipe).await
        }
        "cut-at" => {
            let whole = chunked(id);
            let at = usize::try_from(params["arguments"].as_u64().unwrap()).unwrap();
            put(pipe, &whole[..at.min(whole.len())]).await;
            at >= whole.len()
        }
        "cut-head" => {
            put(pipe, "HTTP/1.1 200 OK\r\ncontent-ty").await;
            false
        }
        "redirect" => {
            let to = "location: http://elsewhere.example/mcp?token=hidden\r\n";
            full(pipe, "307 Temporary Redirect", to, "").await
        }
        "401" => json(pipe, "401 Unauthorized", &error).await,
        "403" => full(pipe, "403 Forbidden", "", "").await,
        "500" => {
            full(pipe, "500 Internal Server Error", "content-type: text/plain\r\n", "out of order").await
        }
        "html" => full(pipe, "200 OK", "content-type: text/html\r\n", "<html>").await,
        "202" => full(pipe, "202 Accepted", "", "").await,
        "other-id" => json(pipe, "200 OK", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await,
        "not-json" => json(pipe, "200 OK", "{]").await,
        "huge" => {
            let length = 17 << 20;
            put(
                pipe,
                &format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                ),
            )
            .await;
            put(pipe, &" ".repeat(length)).await;
            false
        }
        "huge-sse" => {
            stream(pipe).await;
            let text = "x".repeat(1 << 20);
            for _ in 0..18 {
                chunk(pipe, &format!("data: {text}\n")).await;
            }
            false
        }
        "refused" => json(pipe, "400 Bad Request", &error).await,
        "dead-404" => full(pipe, "404 Not Found", "", "").await,
        "dead-400" => {
            let error = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#;
            json(pipe, "400 Bad Request", error).await
        }
        "hang" => {
            stream(pipe).await;
            event(pipe, "", &progress(id, 1)).await;
            let mut byte = [0];
            let _ = pipe.read(&mut byte).await;
            false
        }
        other => panic!("{other}"),
    }
}
