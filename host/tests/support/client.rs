//! A raw MCP client over Streamable HTTP: it sends what the test says and hides nothing it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::http::{Http, Response};

/// What every request carries besides what MCP asks for.
pub type Headers = Vec<(String, String)>;

/// The answer to one request, with what came before it on the same response.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The JSON-RPC response; null if there was none.
    pub message: Value,
    /// Notifications and questions that came first, in their order.
    pub before: Vec<Value>,
}

impl Answer {
    /// The result; fails the test if it is an error.
    pub fn result(&self) -> &Value {
        self.message
            .get("result")
            .unwrap_or_else(|| panic!("not a result (HTTP {}): {}", self.status, self.message))
    }
    /// The error; fails the test if it is a result.
    pub fn error(&self) -> &Value {
        self.message
            .get("error")
            .unwrap_or_else(|| panic!("not an error (HTTP {}): {}", self.status, self.message))
    }
    /// The text of a tool's first content part.
    pub fn text(&self) -> &str {
        self.result()["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {}", self.message))
    }
}

/// One client session.
pub struct Client {
    address: SocketAddr,
    path: String,
    headers: Headers,
    session: Option<String>,
    version: String,
    next: Arc<AtomicU64>,
    http: Http,
    /// What the server said to `initialize`.
    pub initialized: Value,
}

/// A request under way, on a connection of its own.
pub struct Pending {
    /// Its JSON-RPC id.
    pub id: Value,
    response: Response,
    before: Vec<Value>,
}

impl Client {
    /// Opens a session at `/{server}/mcp` with all capabilities; without a name at `/mcp`.
    pub fn open(address: SocketAddr, server: &str) -> Client {
        Client::open_with(address, server, Headers::new())
    }

    /// The same with further headers on every request.
    pub fn open_with(address: SocketAddr, server: &str, headers: Headers) -> Client {
        let mut client = Client::unopened(address, server, headers);
        client.initialize(full()).result();
        client
    }

    /// The same at any path.
    pub fn open_at(address: SocketAddr, path: &str) -> Client {
        let mut client = Client::unopened(address, "", Headers::new());
        path.clone_into(&mut client.path);
        client.initialize(full()).result();
        client
    }

    /// A client that has said nothing yet.
    pub fn unopened(address: SocketAddr, server: &str, headers: Headers) -> Client {
        Client {
            address,
            path: if server.is_empty() { "/mcp".to_owned() } else { format!("/{server}/mcp") },
            headers,
            session: None,
            version: "2025-11-25".to_owned(),
            next: Arc::new(AtomicU64::new(1)),
            http: Http::new(address),
            initialized: Value::Null,
        }
    }

    /// Sends `initialize` and, if that succeeds, `notifications/initialized`.
    pub fn initialize(&mut self, params: Value) -> Answer {
        let mut pending = self.start("initialize", params);
        let session = pending.response.header("mcp-session-id").map(str::to_owned);
        let message = pending.finish();
        let answer =
            Answer { status: pending.response.status, message: message.unwrap_or_default(), before: vec![] };
        if let Some(result) = answer.message.get("result") {
            self.session = session;
            self.version = result["protocolVersion"].as_str().unwrap().to_owned();
            self.initialized = result.clone();
            self.notify("notifications/initialized", json!({}));
        }
        answer
    }

    /// Calls a tool and waits for its answer.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Sends a request and waits for its answer. Questions of the server stay in `before`: the
    /// answer to them does not come by itself, so use [`Client::start`] where there are any.
    pub fn request(&mut self, method: &str, params: Value) -> Answer {
        let id = self.id();
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        self.raw(body.as_bytes(), "application/json")
    }

    /// Sends a request on a connection of its own, and returns as soon as the response begins.
    pub fn start(&mut self, method: &str, params: Value) -> Pending {
        let id = self.id();
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let headers = self.all_headers("application/json");
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let response = Http::new(self.address).send("POST", &self.path, &headers, body.as_bytes());
        Pending {
            id,
            response: response.unwrap_or_else(|error| panic!("{method}: {error}")),
            before: Vec::new(),
        }
    }

    /// Sends a notification; fails the test unless it is accepted.
    pub fn notify(&mut self, method: &str, params: Value) {
        self.tell(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Answers a question of the server.
    pub fn answer(&mut self, question: &Value, result: Value) {
        self.tell(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }));
    }

    /// Sends a notification or a response; fails the test unless it is accepted.
    pub fn tell(&mut self, message: &Value) {
        let answer = self.raw(message.to_string().as_bytes(), "application/json");
        assert_eq!(answer.status, 202, "{message} was answered by {answer:?}");
    }

    /// Posts these bytes as they are and reads whatever answer there is.
    pub fn raw(&mut self, body: &[u8], content_type: &str) -> Answer {
        let headers = self.all_headers(content_type);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let response = self
            .http
            .send("POST", &self.path, &headers, body)
            .unwrap_or_else(|error| panic!("POST: {error}"));
        let mut pending = Pending { id: Value::Null, response, before: Vec::new() };
        let message = pending.finish().unwrap_or_default();
        let answer =
            Answer { status: pending.response.status, message, before: std::mem::take(&mut pending.before) };
        self.http.reuse(pending.response);
        answer
    }

    /// All pages of a list.
    pub fn list(&mut self, method: &str, member: &str) -> Vec<Value> {
        let (mut items, mut params) = (Vec::new(), json!({}));
        loop {
            let answer = self.request(method, params);
            items.extend(answer.result()[member].as_array().unwrap().iter().cloned());
            match answer.result().get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return items,
            }
        }
    }

    /// The names in `tools/list`.
    pub fn tools(&mut self) -> Vec<String> {
        let tools = self.list("tools/list", "tools");
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Opens the stream for what belongs to no call.
    pub fn listen(&self) -> Pending {
        let mut headers = self.all_headers("application/json");
        headers.retain(|(name, _)| name != "accept" && name != "content-type");
        headers.push(("accept".to_owned(), "text/event-stream".to_owned()));
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let response = Http::new(self.address).send("GET", &self.path, &headers, b"").unwrap();
        assert_eq!(response.status, 200, "GET {}", self.path);
        Pending { id: Value::Null, response, before: Vec::new() }
    }

    /// Ends the session; returns the HTTP status.
    pub fn close(&mut self) -> u16 {
        let headers = self.all_headers("application/json");
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.http.send("DELETE", &self.path, &headers, b"").unwrap().status
    }

    /// The session's id.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    fn id(&self) -> Value {
        Value::from(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn all_headers(&self, content_type: &str) -> Headers {
        let mut headers = self.headers.clone();
        headers.push(("content-type".to_owned(), content_type.to_owned()));
        headers.push(("accept".to_owned(), "application/json, text/event-stream".to_owned()));
        if let Some(session) = &self.session {
            headers.push(("mcp-session-id".to_owned(), session.clone()));
            headers.push(("mcp-protocol-version".to_owned(), self.version.clone()));
        }
        headers
    }
}

/// `params` of `initialize` for a client that can do everything.
pub fn full() -> Value {
    json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "sampling": {}, "elicitation": {}, "roots": { "listChanged": true } },
        "clientInfo": { "name": "raw", "version": "0" }
    })
}

impl Pending {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// The next message of the response; none when it is over.
    pub fn next(&mut self) -> Option<Value> {
        if self.response.is_stream() {
            let event = self.response.event().unwrap_or_else(|error| panic!("the stream broke: {error}"));
            return event
                .map(|data| serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}")));
        }
        let body = self.response.bytes().unwrap_or_else(|error| panic!("the body broke: {error}"));
        // Refusals below MCP may be plain text; then the text is what the test gets to see.
        (!body.is_empty()).then(|| {
            serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()))
        })
    }

    /// The next message of that method; fails the test if the response is over before.
    pub fn expect(&mut self, method: &str) -> Value {
        loop {
            let message =
                self.next().unwrap_or_else(|| panic!("no {method} came; before: {:?}", self.before));
            if message["method"] == method {
                return message;
            }
            assert!(message.get("method").is_some(), "the answer came before {method}: {message}");
            self.before.push(message);
        }
    }

    /// The final response; none if the stream ends without one.
    pub fn finish(&mut self) -> Option<Value> {
        while let Some(message) = self.next() {
            if message.get("method").is_none() {
                // Reads to the end, so that the connection can be used again.
                if self.response.is_stream() {
                    let after = self.next();
                    assert!(after.is_none(), "something came after the answer: {after:?}");
                }
                return Some(message);
            }
            self.before.push(message);
        }
        None
    }

    /// What came so far that was not asked for by name.
    pub fn before(&self) -> &[Value] {
        &self.before
    }
}
