//! A client of 2026-07-28 over HTTP, byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::support::{Http, Response};

/// Who asks: an address, a server's name, and what can be asked back.
#[derive(Clone)]
pub struct Modern {
    address: SocketAddr,
    path: String,
    capabilities: Value,
    meta: Value,
}

/// What came back for one request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// What came before the answer.
    pub before: Vec<Value>,
    pub message: Value,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Modern {
    pub fn new(address: SocketAddr, server: &str, capabilities: Value) -> Modern {
        Modern { address, path: format!("/{server}/mcp"), capabilities, meta: json!({}) }
    }

    /// The same with more in `_meta`.
    pub fn with(&self, key: &str, value: Value) -> Modern {
        let mut other = self.clone();
        other.meta[key] = value;
        other
    }

    pub fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// The same call with answers to what was asked.
    pub fn retry(&self, tool: &str, arguments: Value, state: &Value, answers: Value) -> Answer {
        let params =
            json!({ "name": tool, "arguments": arguments, "requestState": state, "inputResponses": answers });
        self.request("tools/call", params)
    }

    pub fn request(&self, method: &str, params: Value) -> Answer {
        read(self.open(method, params))
    }

    /// Sends a request and reads the head of the answer.
    pub fn open(&self, method: &str, mut params: Value) -> Response {
        let mut meta = self.meta.clone();
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        params["_meta"] = meta;
        let name = ["name", "uri", "taskId"]
            .iter()
            .find_map(|key| params.get(*key))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ];
        headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        Http::new(self.address).send("POST", &self.path, &headers, body.as_bytes()).unwrap()
    }
}

/// Reads an answer to its end.
fn read(mut response: Response) -> Answer {
    let (status, mut before) = (response.status, Vec::new());
    if !response.is_stream() {
        let body = Response::bytes(&mut response).unwrap();
        return Answer { status, before, message: serde_json::from_slice(&body).unwrap_or(Value::Null) };
    }
    while let Some(event) = response.event().unwrap() {
        let message: Value = serde_json::from_str(&event).unwrap();
        if message.get("method").is_none() {
            return Answer { status, before, message };
        }
        before.push(message);
    }
    panic!("the stream ended without an answer, after {before:?}");
}

impl Answer {
    pub fn result(&self) -> &Value {
        let result = self.message.get("result");
        result.unwrap_or_else(|| panic!("no result: {self:?}"))
    }

    /// The text of a complete result.
    pub fn text(&self) -> &str {
        assert_eq!(self.result()["resultType"], "complete", "{self:?}");
        self.result()["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {self:?}"))
    }

    /// The text, read as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).unwrap()
    }

    pub fn code(&self) -> i64 {
        self.message["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    /// The questions of an unfinished result, and its state.
    pub fn questions(&self) -> (&Value, &Value) {
        assert_eq!(self.result()["resultType"], "input_required", "{self:?}");
        (&self.result()["inputRequests"], &self.result()["requestState"])
    }
}
