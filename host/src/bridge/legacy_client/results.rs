//! Answers of a modern server, in the form that clients of the legacy era know.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;

use super::{lock, shown};
use crate::jsonrpc::{self, Document, Kind, Limits, Message};
use crate::protocol::rounds::result_type;
use crate::protocol::{errors, meta, mirror};

/// Definitions kept for their headers. A list with more tools of that kind is a strange one, and what is
/// not kept is found out by asking twice.
const MOST: usize = 1_000;

/// The definitions of tools that want arguments as headers, from the lists that the client read.
#[derive(Default)]
pub(super) struct Definitions {
    by_name: Mutex<HashMap<Box<str>, Bytes>>,
}

impl Definitions {
    /// Keeps those of one page. The first page begins a new list.
    pub(super) fn note(&self, page: &Message, first: bool) {
        let Some(items) = page.items("tools", "name") else { return };
        let mut kept = lock(&self.by_name);
        if first {
            kept.clear();
        }
        for item in items {
            let Some(raw) = page.bytes().get(item.span) else { continue };
            let wants_headers = mirror::params(raw).is_ok_and(|params| !params.is_empty());
            if wants_headers && kept.len() < MOST {
                // A slice would keep the whole page.
                kept.insert(item.name, Bytes::copy_from_slice(raw));
            }
        }
    }

    /// The one of the tool that a request calls.
    pub(super) fn of(&self, request: &Message) -> Option<Bytes> {
        lock(&self.by_name).get(&*request.param_text("name")?).cloned()
    }
}

/// The answer to a request with that method. `over_http`: arguments may have to be headers.
pub(super) fn translated(server: &str, method: &str, answer: Message, over_http: bool) -> Message {
    match answer.kind() {
        Kind::Result => result(server, method, answer, over_http),
        _ => error(server, method, answer),
    }
}

/// How a call ends that cannot go on: tools have a result for it, which models get to read.
pub(super) fn ended(method: &str, why: &str) -> Message {
    if method != "tools/call" {
        return Message::error(Some(b"0"), errors::INTERNAL, why, None);
    }
    let text = jsonrpc::escape(why);
    let result = [br#"{"content":[{"type":"text","text":"#, &text[..], br#"}],"isError":true}"#].concat();
    Message::response(b"0", &result)
}

fn result(server: &str, method: &str, answer: Message, over_http: bool) -> Message {
    match result_type(&answer).as_deref() {
        None | Some("complete") => {}
        Some(other) => {
            let kind = shown(other);
            let text = format!(
                "server `{server}` answered `{}` with a result of the type {kind}, which clients of this protocol revision cannot take",
                shown(method)
            );
            return Message::error(answer.id(), errors::INTERNAL, &text, None);
        }
    }
    let mut answer = without_sender(answer).with_result_member("resultType", None);
    let kept = matches!(
        method,
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" | "resources/read"
    );
    if kept {
        answer = answer.with_result_member("ttlMs", None).with_result_member("cacheScope", None);
    }
    match method {
        "tools/list" => tools(server, answer, over_http),
        "tools/call" => structured(answer),
        _ => answer,
    }
}

/// A result that does not say who made it: every modern one does, and a legacy client knows.
fn without_sender(answer: Message) -> Message {
    let Some(raw) = answer.result_member("_meta") else { return answer };
    let at = jsonrpc::pointer(&[meta::SERVER_INFO]);
    if jsonrpc::get(raw, &at).is_none() {
        return answer;
    }
    let mut own = Document::new(Bytes::copy_from_slice(raw), Limits::default());
    // Removing makes nothing larger, so no limit is in its way.
    let _ = own.remove(&at);
    let left = own.bytes().trim_ascii();
    let left = Some(left).filter(|left| left.iter().any(|byte| !b"{} \t\r\n".contains(byte)));
    answer.with_result_member("_meta", left)
}

/// A page of tools that legacy clients can take: a schema of results is that of an object for them
/// (2025-11-25, tools), and what nobody could call over HTTP is left out.
fn tools(server: &str, page: Message, over_http: bool) -> Message {
    let Some(items) = page.items("tools", "name") else { return page };
    let (mut kept, mut same) = (Vec::with_capacity(items.len()), true);
    for item in &items {
        let Some(raw) = page.bytes().get(item.span.clone()) else { continue };
        if let (true, Err(why)) = (over_http, mirror::params(raw)) {
            let tool = shown(&item.name);
            tracing::warn!(server, tool, "left out of the list: {why}");
            same = false;
            continue;
        }
        let of_objects = jsonrpc::get(raw, "/outputSchema/type") == Some(b"\"object\"");
        if of_objects || jsonrpc::get(raw, "/outputSchema").is_none() {
            kept.push(page.bytes().slice_ref(raw));
            continue;
        }
        let mut definition = Document::new(page.bytes().slice_ref(raw), Limits::default());
        // Removing makes nothing larger, so no limit is in its way.
        let _ = definition.remove("/outputSchema");
        kept.push(definition.bytes().clone());
        same = false;
    }
    if same { page } else { page.with_items("tools", &kept) }
}

/// A page of tools that says of each that its calls may be tasks, as they may here whatever the server
/// makes of them.
pub(super) fn with_task_support(page: Message) -> Message {
    let Some(items) = page.items("tools", "name") else { return page };
    let marked = items.into_iter().filter_map(|item| {
        let mut definition =
            Document::new(page.bytes().slice_ref(page.bytes().get(item.span)?), Limits::default());
        // It fails only where the limits of a message are reached; then the tool is one without.
        let _ = definition.set("/execution", br#"{"taskSupport":"optional"}"#);
        Some(definition.bytes().clone())
    });
    let marked: Vec<Bytes> = marked.collect();
    page.with_items("tools", &marked)
}

/// A tool's result whose structured content is an object, if it has any. Servers say the same as text;
/// where one does not, it is said here.
fn structured(answer: Message) -> Message {
    let Some(content) = answer.result_member("structuredContent").filter(|raw| !raw.starts_with(b"{")) else {
        return answer;
    };
    let parts = answer.result_member("content").map(|raw| raw.strip_prefix(b"[").unwrap_or(raw).trim_ascii());
    let silent = parts.is_none_or(|parts| parts == b"]");
    let text = silent.then(|| {
        let text = jsonrpc::escape(&String::from_utf8_lossy(content));
        [br#"[{"type":"text","text":"#, &text[..], b"}]"].concat()
    });
    let answer = answer.with_result_member("structuredContent", None);
    match text {
        Some(text) => answer.with_result_member("content", Some(&text)),
        None => answer,
    }
}

fn error(server: &str, method: &str, answer: Message) -> Message {
    let code = answer.error_member("code").and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
    let data = answer.error_member("data");
    match code {
        Some(errors::INVALID_PARAMS) if method == "resources/read" => {
            let names_it = data.is_some_and(|data| jsonrpc::get(data, "/uri").is_some());
            let error = answer.error_object().filter(|_| names_it);
            let Some(error) = error else { return answer };
            let mut error = Document::new(error, Limits::default());
            let code = errors::RESOURCE_NOT_FOUND.to_string();
            // It fails only where the limits of a message are reached; then the server's own code stands.
            let _ = error.set("/code", code.as_bytes());
            answer.with_error(error.bytes())
        }
        Some(errors::MISSING_CAPABILITY) => {
            let needed = data.and_then(|data| jsonrpc::get(data, "/requiredCapabilities"));
            let needed = needed.map_or_else(|| "another one".to_owned(), names);
            let text = format!(
                "server `{server}` needs a client with the capability {needed}, which this client did not declare"
            );
            match answer.id() {
                Some(id) => ended(method, &text).with_id(id),
                None => ended(method, &text),
            }
        }
        Some(errors::HEADER_MISMATCH) => {
            let text = format!(
                "server `{server}` and Lockgate disagree on which arguments are headers; read the list of tools again"
            );
            Message::error(answer.id(), errors::INTERNAL, &text, None)
        }
        Some(errors::UNSUPPORTED_VERSION) => {
            let text = format!(
                "server `{server}` does not speak the protocol revision any more that it named; connect anew"
            );
            Message::error(answer.id(), errors::INTERNAL, &text, None)
        }
        _ => answer,
    }
}

/// The names of capabilities that an error lists, for people.
fn names(capabilities: &[u8]) -> String {
    let keys = Document::new(Bytes::copy_from_slice(capabilities), Limits::default()).keys("");
    let names: Vec<String> =
        keys.unwrap_or_default().iter().take(8).map(|key| format!("`{}`", shown(key))).collect();
    if names.is_empty() { "another one".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::jsonrpc::Source;

    fn message(value: Value) -> Message {
        Message::parse(value.to_string().into(), &Limits::default(), Source::Server).unwrap()
    }

    fn of_result(method: &str, result: Value) -> Value {
        let answer =
            translated("s", method, message(json!({ "jsonrpc": "2.0", "id": 1, "result": result })), true);
        serde_json::from_slice(answer.bytes()).unwrap()
    }

    fn of_error(method: &str, error: Value) -> Value {
        let answer =
            translated("s", method, message(json!({ "jsonrpc": "2.0", "id": 1, "error": error })), true);
        serde_json::from_slice(answer.bytes()).unwrap()
    }

    #[test]
    fn results_lose_what_only_the_modern_era_says() {
        let result = json!({ "resources": [], "resultType": "complete", "ttlMs": 1, "cacheScope": "public" });
        assert_eq!(of_result("resources/list", result)["result"], json!({ "resources": [] }));
        let own = json!({ "content": [], "ttlMs": 1, "resultType": "complete" });
        assert_eq!(of_result("tools/call", own)["result"], json!({ "content": [], "ttlMs": 1 }));
        for (own, left) in [(json!({}), Value::Null), (json!({ "a/b": 1 }), json!({ "a/b": 1 }))] {
            let mut result = json!({ "content": [], "_meta": own });
            result["_meta"]["io.modelcontextprotocol/serverInfo"] = json!({ "name": "n", "version": "1" });
            assert_eq!(of_result("tools/call", result)["result"]["_meta"], left);
        }
        let task = json!({ "resultType": "task", "taskId": "t" });
        let error = &of_result("tools/call", task)["error"];
        assert_eq!(error["code"], -32603);
        assert!(error["message"].as_str().unwrap().contains("task"), "{error}");
    }

    #[test]
    fn tools_keep_only_schemas_of_objects() {
        let tools = json!([
            { "name": "a", "outputSchema": { "type": "object" }, "x": 1.50 },
            { "name": "b", "outputSchema": { "type": "array" } },
            { "name": "c", "outputSchema": { "type": ["object", "null"] } },
            { "name": "d", "outputSchema": true },
            { "name": "e" },
            { "name": "f", "inputSchema": { "type": "object", "properties": { "p": { "type": "number", "x-mcp-header": "P" } } } },
        ]);
        let page = of_result("tools/list", json!({ "tools": tools, "nextCursor": "n" }));
        assert_eq!(
            page["result"],
            json!({ "tools": [tools[0], { "name": "b" }, { "name": "c" }, { "name": "d" }, tools[4]], "nextCursor": "n" })
        );
    }

    #[test]
    fn structured_content_is_an_object_or_text() {
        let text = json!([{ "type": "text", "text": "x" }]);
        let both = json!({ "content": text, "structuredContent": [1] });
        assert_eq!(of_result("tools/call", both)["result"], json!({ "content": text }));
        let only = json!({ "content": [], "structuredContent": [1, "a"] });
        assert_eq!(of_result("tools/call", only)["result"]["content"][0]["text"], r#"[1,"a"]"#);
        let object = json!({ "content": text, "structuredContent": { "a": 1 } });
        assert_eq!(of_result("tools/call", object.clone())["result"], object);
    }

    #[test]
    fn errors_are_those_of_the_legacy_era() {
        let unknown = json!({ "code": -32602, "message": "Resource not found", "data": { "uri": "u" } });
        let error = &of_error("resources/read", unknown.clone())["error"];
        assert_eq!((&error["code"], &error["data"]), (&json!(-32002), &json!({ "uri": "u" })));
        assert_eq!(of_error("tools/call", unknown)["error"]["code"], -32602);
        let bare = json!({ "code": -32602, "message": "Invalid params" });
        assert_eq!(of_error("resources/read", bare)["error"]["code"], -32602);
        for code in [-32020, -32022] {
            let answer =
                of_error("tools/call", json!({ "code": code, "message": "x", "data": { "supported": [] } }));
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32603), &json!(1)), "{answer}");
            assert_eq!(answer["error"]["data"], Value::Null);
        }
        let lacks =
            json!({ "code": -32021, "message": "x", "data": { "requiredCapabilities": { "sampling": {} } } });
        let answer = of_error("tools/call", lacks.clone());
        assert_eq!(answer["result"]["isError"], true);
        assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("`sampling`"), "{answer}");
        assert_eq!(of_error("prompts/get", lacks)["error"]["code"], -32603);
    }

    #[test]
    fn definitions_are_kept_for_tools_with_headers() {
        let page = |name: &str| {
            message(json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": [
                { "name": name, "inputSchema": { "properties": { "p": { "type": "string", "x-mcp-header": "P" } } } },
                { "name": "plain", "inputSchema": {} },
            ] } }))
        };
        let call = |name: &str| {
            Message::request(b"1", "tools/call", Some(json!({ "name": name }).to_string().as_bytes()))
        };
        let definitions = Definitions::default();
        definitions.note(&page("a"), true);
        definitions.note(&page("b"), false);
        assert!(definitions.of(&call("a")).is_some() && definitions.of(&call("b")).is_some());
        assert!(definitions.of(&call("plain")).is_none());
        definitions.note(&page("c"), true);
        assert!(definitions.of(&call("a")).is_none() && definitions.of(&call("c")).is_some());
    }
}
