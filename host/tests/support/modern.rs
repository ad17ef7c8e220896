//! A raw client of the modern era (2026-07-28) over Streamable HTTP.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::Answer;
use super::http::Http;

/// Who makes requests, and what it can do.
#[derive(Clone)]
pub struct Modern {
    address: SocketAddr,
    path: String,
    /// Besides those of the protocol.
    pub headers: Vec<(String, String)>,
    /// `clientCapabilities` of every request.
    pub capabilities: Value,
    next: u64,
}

impl Modern {
    /// A client that can be asked everything.
    pub fn new(address: SocketAddr, server: &str) -> Modern {
        let capabilities = json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} });
        Modern { address, path: format!("/{server}/mcp"), headers: Vec::new(), capabilities, next: 0 }
    }

    /// The same with another header.
    pub fn with_header(mut self, name: &str, value: &str) -> Modern {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with other capabilities.
    pub fn able_to(mut self, capabilities: Value) -> Modern {
        self.capabilities = capabilities;
        self
    }

    /// Makes a request on a connection of its own and reads the answer to its end.
    pub fn request(&mut self, method: &str, params: Value) -> Answer {
        self.next += 1;
        let mut params = params;
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "raw", "version": "0" });
        let name = params["name"].as_str().or_else(|| params["uri"].as_str()).map(str::to_owned);
        let body = json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params });
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ];
        headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let sent = Http::new(self.address).send("POST", &self.path, &headers, body.to_string().as_bytes());
        let mut response = sent.unwrap_or_else(|error| panic!("{method}: {error}"));
        let mut answer = Answer { status: response.status, message: Value::Null, before: Vec::new() };
        if !response.is_stream() {
            let bytes = response.bytes().unwrap();
            let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
            answer.message = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
            return answer;
        }
        while let Some(event) = response.event().unwrap() {
            let message: Value = serde_json::from_str(&event).unwrap();
            if message.get("method").is_none() {
                answer.message = message;
            } else {
                answer.before.push(message);
            }
        }
        answer
    }

    /// Calls a tool.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Makes a call anew with answers to what `asked` asked; each is a function of method and params.
    pub fn again(
        &mut self,
        tool: &str,
        arguments: Value,
        asked: &Answer,
        answer: impl Fn(&str, &Value) -> Value,
    ) -> Answer {
        let result = asked.result();
        assert_eq!(result["resultType"], "input_required", "{asked:?}");
        let questions = result["inputRequests"].as_object().cloned().unwrap_or_default();
        let answers: serde_json::Map<String, Value> = questions
            .into_iter()
            .map(|(key, question)| {
                let answer = answer(question["method"].as_str().unwrap(), &question["params"]);
                (key, answer)
            })
            .collect();
        let mut params = json!({ "name": tool, "arguments": arguments, "inputResponses": answers });
        if let Some(state) = result.get("requestState") {
            params["requestState"] = state.clone();
        }
        self.request("tools/call", params)
    }
}
