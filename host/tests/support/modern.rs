//! A raw client of the modern era (2026-07-28) over Streamable HTTP, byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use super::client::Answer;
use super::http::{Http, Response};

/// Who makes requests, and what it can do. Every request is on a connection of its own.
#[derive(Clone)]
pub struct Modern {
    address: SocketAddr,
    path: String,
    headers: Vec<(String, String)>,
    capabilities: Value,
    meta: Value,
    /// Texts that stand in bodies in place of others: what no [`Value`] can hold.
    spellings: Vec<(&'static str, String)>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Modern {
    /// A client that can be asked everything.
    pub fn new(address: SocketAddr, server: &str) -> Modern {
        Modern {
            address,
            path: format!("/{server}/mcp"),
            headers: Vec::new(),
            capabilities: json!({
                "elicitation": { "form": {}, "url": {} },
                "sampling": { "tools": {} },
                "roots": { "listChanged": true }
            }),
            meta: json!({}),
            spellings: Vec::new(),
        }
    }

    /// The same with another header besides those of the protocol.
    pub fn with_header(mut self, name: &str, value: &str) -> Modern {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with other capabilities.
    pub fn able_to(mut self, capabilities: Value) -> Modern {
        self.capabilities = capabilities;
        self
    }

    /// The same with more in `_meta`.
    pub fn with(&self, key: &str, value: Value) -> Modern {
        let mut other = self.clone();
        other.meta[key] = value;
        other
    }

    /// The same with this text in its bodies in place of that one.
    pub fn spelling(mut self, instead_of: &'static str, text: &str) -> Modern {
        self.spellings.push((instead_of, text.to_owned()));
        self
    }

    /// Makes a request and reads the answer to its end.
    pub fn request(&self, method: &str, params: Value) -> Answer {
        read(self.open(method, params))
    }

    /// Makes a request and reads the head of the answer.
    pub fn open(&self, method: &str, mut params: Value) -> Response {
        let mut meta = self.meta.clone();
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "raw", "version": "0" });
        params["_meta"] = meta;
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[*key].as_str()).map(str::to_owned);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        for (instead_of, text) in &self.spellings {
            body = body.replace(instead_of, text);
        }
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ];
        headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let sent = Http::new(self.address).send("POST", &self.path, &headers, body.as_bytes());
        sent.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a tool.
    pub fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Makes a call anew with these answers.
    pub fn retry(&self, tool: &str, arguments: Value, state: &Value, answers: Value) -> Answer {
        let mut params = json!({ "name": tool, "arguments": arguments, "inputResponses": answers });
        if !state.is_null() {
            params["requestState"] = state.clone();
        }
        self.request("tools/call", params)
    }

    /// Makes a call anew with answers to what `asked` asked; each is a function of method and params.
    pub fn again(
        &self,
        tool: &str,
        arguments: Value,
        asked: &Answer,
        answer: impl Fn(&str, &Value) -> Value,
    ) -> Answer {
        let (questions, state) = asked.questions();
        let questions = questions.as_object().cloned().unwrap_or_default();
        let answers = questions.into_iter().map(|(key, question)| {
            let answer = answer(question["method"].as_str().unwrap(), &question["params"]);
            (key, answer)
        });
        self.retry(tool, arguments, state, Value::Object(answers.collect::<Map<_, _>>()))
    }
}

/// Reads an answer to its end.
fn read(mut response: Response) -> Answer {
    let mut answer = Answer { status: response.status, message: Value::Null, before: Vec::new() };
    if !response.is_stream() {
        let bytes = Response::bytes(&mut response).unwrap();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        answer.message = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        return answer;
    }
    while let Some(event) = response.event().unwrap() {
        let message: Value = serde_json::from_str(&event).unwrap();
        if message.get("method").is_none() {
            answer.message = message;
            return answer;
        }
        answer.before.push(message);
    }
    panic!("the stream ended without an answer, after {:?}", answer.before);
}

impl Answer {
    /// The text of a tool's first content part, read as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).unwrap()
    }

    /// The code of an error.
    pub fn code(&self) -> i64 {
        self.error()["code"].as_i64().unwrap_or_else(|| panic!("no code: {self:?}"))
    }

    /// The questions of an unfinished result, and its state; null where it has none.
    pub fn questions(&self) -> (&Value, &Value) {
        assert_eq!(self.result()["resultType"], "input_required", "{self:?}");
        (&self.result()["inputRequests"], &self.result()["requestState"])
    }
}
