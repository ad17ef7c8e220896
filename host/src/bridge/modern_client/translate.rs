//! What a modern request has that a legacy server must not see, and what a modern answer has that a
//! legacy server does not say.

use bytes::Bytes;

use super::capabilities::Capabilities;
use crate::jsonrpc::{self, Document, Kind, Message};
use crate::protocol::rounds::NO_PARAMS;
use crate::protocol::tasks::EXTENSION;
use crate::protocol::{errors, meta, methods, rounds, versions};

/// Reserved keys of `_meta` begin so.
const RESERVED: &str = "io.modelcontextprotocol/";
/// What the modern era has of a server's capabilities (2026-07-28, schema: ServerCapabilities). `tasks`
/// became an extension, and `experimental` was agreed on with somebody else.
const CAPABILITIES: [&str; 5] = ["tools", "prompts", "resources", "completions", "logging"];
/// Longest list of pages that a server may want visited at once.
const VISITS: usize = 16;

/// One modern request, taken apart.
pub(super) struct Request {
    /// What the legacy server gets.
    pub(super) message: Message,
    pub(super) method: Box<str>,
    pub(super) capabilities: Capabilities,
    /// From which level on its client wants log messages.
    pub(super) level: Option<String>,
    /// The raw progress token.
    pub(super) token: Option<Bytes>,
    /// The place of a call that waits for the answers that come with this.
    pub(super) state: Option<String>,
    /// Raw `inputResponses`.
    pub(super) answers: Option<Bytes>,
    /// Whether its client may be answered with a task (the extension of tasks).
    pub(super) knows_tasks: bool,
}

impl Request {
    pub(super) fn of(message: &Message) -> Request {
        let copied = |raw: Option<&[u8]>| raw.map(Bytes::copy_from_slice);
        let text = |raw: Option<&[u8]>| raw.and_then(jsonrpc::unescape).map(|text| text.into_owned());
        // That there is one at all makes it a retry, whatever it is.
        let state = message.param("requestState");
        Request {
            message: without_modern(message),
            method: message.method().unwrap_or_default().into(),
            capabilities: Capabilities::of(message),
            level: text(message.meta(meta::LOG_LEVEL)),
            token: copied(message.meta(meta::PROGRESS_TOKEN)),
            state: state.map(|raw| text(Some(raw)).unwrap_or_default()),
            answers: copied(message.param("inputResponses")),
            knows_tasks: knows_tasks(message),
        }
    }

    /// Whether a server may ask something before it answers this (2026-07-28, multi round-trip).
    pub(super) fn may_be_asked(&self) -> bool {
        rounds::METHODS.contains(&&*self.method)
    }

    /// Whether it exists in the legacy era.
    pub(super) fn is_legacy_too(&self) -> bool {
        let method = &*self.method;
        !methods::LEGACY_ONLY.contains(&method)
            && method != methods::LISTEN
            && !method.starts_with("tasks/")
            && !method.starts_with("server/")
            && !method.starts_with("subscriptions/")
    }
}

fn knows_tasks(message: &Message) -> bool {
    let capabilities = message.meta(meta::CLIENT_CAPABILITIES).unwrap_or_default();
    let settings = jsonrpc::get(capabilities, &jsonrpc::pointer(&["extensions", EXTENSION]));
    settings.is_some_and(|settings| settings.starts_with(b"{"))
}

/// Whether a server makes tasks of calls of its tools (2025-11-25, tasks).
pub(super) fn has_tasks(initialized: &[u8]) -> bool {
    jsonrpc::get(initialized, "/capabilities/tasks/requests/tools/call").is_some()
}

/// Without what only this era has, and without `task`, which in it means nothing.
fn without_modern(message: &Message) -> Message {
    let Some(params) = message.params().filter(|params| params.starts_with(b"{")) else {
        return message.clone();
    };
    let mut params = Document::new(params, Default::default());
    let keys = params.keys("/_meta").unwrap_or_default();
    let own = keys.iter().filter(|key| key.starts_with(RESERVED));
    let own: Vec<String> = own.map(|key| jsonrpc::pointer(&["_meta", key])).collect();
    let members = ["/inputResponses", "/requestState", "/task"].map(str::to_owned);
    for at in members.iter().chain(&own) {
        // It fails for what is no pointer only.
        let _ = params.remove(at);
    }
    if !own.is_empty() && params.length("/_meta") == Ok(Some(0)) {
        let _ = params.remove("/_meta");
    }
    if params.edited() { message.with_params(params.bytes()) } else { message.clone() }
}

/// A legacy answer as a modern server would give it. `initialized` is what that one said of itself.
pub(super) fn answer(request: &Request, message: Message, initialized: &[u8]) -> Message {
    if message.kind() == Kind::Error {
        return failure(request, message);
    }
    if !message.result().is_some_and(|result| result.starts_with(b"{")) {
        return Message::error(message.id(), errors::INTERNAL, "the server's result is no object", None);
    }
    // Its own member of that name means nothing in its era, and could pass for a question.
    let mut message = message.with_result_member("resultType", Some(b"\"complete\""));
    for member in ["inputRequests", "requestState"] {
        message = message.with_result_member(member, None);
    }
    if is_kept(&request.method) {
        message = message.with_result_member("ttlMs", Some(b"0"));
        message = message.with_result_member("cacheScope", Some(b"\"private\""));
    }
    let message = with_server_info(message, initialized);
    if &*request.method == "tools/list" { without_execution(message) } else { message }
}

/// Every modern result should say whose it is (2026-07-28, `_meta`).
pub(super) fn with_server_info(message: Message, initialized: &[u8]) -> Message {
    let Some(info) = jsonrpc::get(initialized, "/serverInfo").filter(|raw| raw.starts_with(b"{")) else {
        return message;
    };
    let meta = message.result_member("_meta").filter(|raw| raw.starts_with(b"{")).unwrap_or(b"{}");
    let mut meta = Document::new(Bytes::copy_from_slice(meta), Default::default());
    // The server's own task, which no client of this era knows.
    let _ = meta.remove(&jsonrpc::pointer(&[meta::RELATED_TASK]));
    let at = jsonrpc::pointer(&[meta::SERVER_INFO]);
    match meta.set(&at, info) {
        Ok(()) => message.with_result_member("_meta", Some(meta.bytes())),
        Err(_) => message,
    }
}

/// Whether its results say how long they hold (2026-07-28, caching).
fn is_kept(method: &str) -> bool {
    method.ends_with("/list") || matches!(method, "resources/templates/list" | "resources/read")
}

/// The names of the tools in a list that can only be called as tasks, and of those that need not.
pub(super) fn task_tools(list: &Message) -> impl Iterator<Item = (Box<str>, bool)> {
    list.items("tools", "name").unwrap_or_default().into_iter().map(|item| {
        let raw = list.bytes().get(item.span).unwrap_or_default();
        let support = jsonrpc::get(raw, "/execution/taskSupport");
        (item.name, support == Some(b"\"required\""))
    })
}

fn without_execution(list: Message) -> Message {
    let Some(items) = list.items("tools", "name") else { return list };
    let stripped: Vec<Bytes> = items
        .into_iter()
        .filter_map(|item| {
            let raw = list.bytes().get(item.span)?;
            let mut tool = Document::new(list.bytes().slice_ref(raw), Default::default());
            let _ = tool.remove("/execution");
            Some(tool.bytes().clone())
        })
        .collect();
    list.with_items("tools", &stripped)
}

/// The code of an error; none for what is no code.
pub(super) fn code(message: &Message) -> Option<i32> {
    std::str::from_utf8(message.error_member("code")?).ok()?.parse().ok()
}

fn failure(request: &Request, message: Message) -> Message {
    let error = message.error_object().unwrap_or_default();
    let mut error = Document::new(error, Default::default());
    match code(&message) {
        // In this era that is a wrong parameter (2026-07-28, resources).
        Some(errors::RESOURCE_NOT_FOUND) => {
            let _ = error.set("/code", errors::INVALID_PARAMS.to_string().as_bytes());
            let uri = request.message.param("uri").filter(|_| &*request.method == "resources/read");
            if let Some(uri) = uri {
                if !jsonrpc::get(error.bytes(), "/data").is_some_and(|data| data.starts_with(b"{")) {
                    let _ = error.set("/data", b"{}");
                }
                let _ = error.set("/data/uri", uri);
            }
        }
        // These are of the later era and about a hop; whatever this server means by one, it is not that.
        Some(-32099..=-32020) | None => {
            let _ = error.set("/code", errors::INTERNAL.to_string().as_bytes());
        }
        Some(_) => return message,
    }
    message.with_error(error.bytes())
}

/// What `server/discover` says of a server that said this to `initialize`.
pub(super) fn discovery(initialized: &[u8]) -> Bytes {
    let object = |at: &str| jsonrpc::get(initialized, at).filter(|raw| raw.starts_with(b"{"));
    let mut out = b"{\"resultType\":\"complete\",\"supportedVersions\":".to_vec();
    out.extend_from_slice(serde_json::json!(versions::MODERN).to_string().as_bytes());
    out.extend_from_slice(b",\"capabilities\":{");
    let mut first = true;
    for name in CAPABILITIES {
        let Some(raw) = object(&format!("/capabilities/{name}")) else { continue };
        out.extend_from_slice(if std::mem::take(&mut first) { b"\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(raw);
    }
    if has_tasks(initialized) {
        let comma = if first { "" } else { "," };
        out.extend_from_slice(format!("{comma}\"extensions\":{{\"{EXTENSION}\":{{}}}}").as_bytes());
    }
    out.push(b'}');
    if let Some(raw) = jsonrpc::get(initialized, "/instructions").filter(|raw| raw.starts_with(b"\"")) {
        out.extend_from_slice(b",\"instructions\":");
        out.extend_from_slice(raw);
    }
    out.extend_from_slice(b",\"ttlMs\":0,\"cacheScope\":\"private\"");
    if let Some(raw) = object("/serverInfo") {
        out.extend_from_slice(format!(",\"_meta\":{{\"{}\":", meta::SERVER_INFO).as_bytes());
        out.extend_from_slice(raw);
        out.push(b'}');
    }
    out.push(b'}');
    out.into()
}

/// A question as it stands in `inputRequests`: what only the legacy era has is left out of its params.
pub(super) fn question_params(params: Option<Bytes>) -> Option<Bytes> {
    let mut params = Document::new(params.filter(|raw| raw.starts_with(b"{"))?, Default::default());
    for at in ["/_meta", "/task", "/elicitationId"] {
        let _ = params.remove(at);
    }
    Some(params.bytes().clone())
}

/// The pages that an error -32042 wants visited, as params of elicitations; none if it names none.
pub(super) fn pages(error: &Message) -> Option<Vec<Bytes>> {
    let data = error.error_member("data")?;
    let mut all = Vec::new();
    while let Some(raw) = jsonrpc::get(data, &format!("/elicitations/{}", all.len())) {
        let page = question_params(Some(Bytes::copy_from_slice(raw)))?;
        jsonrpc::get(&page, "/url").and_then(jsonrpc::unescape)?;
        let mut page = Document::new(page, Default::default());
        page.set("/mode", b"\"url\"").ok()?;
        all.push(page.bytes().clone());
        if all.len() > VISITS {
            return None;
        }
    }
    (!all.is_empty()).then_some(all)
}

/// The result that asks the client.
pub(super) fn input_required<'a>(
    questions: impl Iterator<Item = (u32, &'a str, Option<&'a [u8]>)>,
    state: &str,
) -> Message {
    let mut out = b"{\"resultType\":\"input_required\",\"inputRequests\":".to_vec();
    out.extend_from_slice(&input_requests(questions));
    out.extend_from_slice(b",\"requestState\":");
    out.extend_from_slice(&jsonrpc::escape(state));
    out.push(b'}');
    Message::response(b"0", &out)
}

/// Questions by their keys, as JSON.
pub(super) fn input_requests<'a>(
    questions: impl Iterator<Item = (u32, &'a str, Option<&'a [u8]>)>,
) -> Vec<u8> {
    let mut out = b"{".to_vec();
    for (at, (key, method, params)) in questions.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"r{key}\":{{\"method\":").as_bytes());
        out.extend_from_slice(&jsonrpc::escape(method));
        out.extend_from_slice(b",\"params\":");
        out.extend_from_slice(params.unwrap_or(NO_PARAMS));
        out.push(b'}');
    }
    out.push(b'}');
    out
}

/// The client's answer to a question by its key; none where there is none that could be one.
pub(super) fn answer_to(answers: Option<&Bytes>, key: u32) -> Option<Bytes> {
    let raw = jsonrpc::get(answers?, &format!("/r{key}"))?;
    raw.starts_with(b"{").then(|| Bytes::copy_from_slice(raw))
}

#[cfg(test)]
mod tests;
