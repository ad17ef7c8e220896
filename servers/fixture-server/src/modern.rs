//! `--modern`: the same server in revision 2026-07-28, and in no other. Every request says all about
//! itself, changes are told to those who listen, and questions are results.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::methods::{self, Refused, respond};
use crate::state::State;
use crate::tasks;
use crate::tools;

/// The revision.
pub const VERSION: &str = "2026-07-28";

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// On what belongs to a subscription.
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// What only earlier revisions have.
const REMOVED: [&str; 6] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/list"];

/// Handles one request.
pub fn handle(state: &Arc<State>, id: Value, method: &str, params: Value) -> io::Result<()> {
    let meta = &params["_meta"];
    let version = meta[META_VERSION].as_str();
    if version != Some(VERSION) && (version.is_some() || method == "initialize") {
        return state.send(&json!({ "jsonrpc": "2.0", "id": id, "error": {
            "code": -32022, "message": "Unsupported protocol version",
            "data": { "supported": [VERSION], "requested": version.unwrap_or("?") } } }));
    }
    if version.is_none() || !meta[META_CAPABILITIES].is_object() {
        return respond(state, &id, Err(Refused(-32602, "`_meta` lacks what it must have".to_owned())));
    }
    if REMOVED.contains(&method) {
        return respond(state, &id, Err(Refused(-32601, format!("Method not found: {method}"))));
    }
    match method {
        "tools/call" => {
            let state = Arc::clone(state);
            std::thread::spawn(move || {
                if let Err(error) = tools::call(&state, &id, &params) {
                    eprintln!("fixture-server: {error}");
                }
            });
            Ok(())
        }
        "tasks/get" | "tasks/update" | "tasks/cancel" if state.flags.tasks => {
            respond(state, &id, tasks::answer(state, method, &params))
        }
        "server/discover" => respond(state, &id, Ok(discover(state))),
        "subscriptions/listen" => {
            let wanted = params["notifications"].clone();
            state.notify(
                "notifications/subscriptions/acknowledged",
                json!({
                "_meta": { META_SUBSCRIPTION: id.clone() }, "notifications": wanted }),
            )?;
            state.listen(id, wanted);
            Ok(())
        }
        _ => respond(state, &id, methods::answer(state, method, &params)),
    }
}

/// A result with what every result of this revision says.
pub fn stamped(mut result: Value) -> Value {
    if result.get("resultType").is_none() {
        result["resultType"] = json!("complete");
    }
    let kept = ["tools", "prompts", "resources", "resourceTemplates", "contents", "supportedVersions"];
    if kept.iter().any(|member| result.get(member).is_some()) {
        result["ttlMs"] = json!(0);
        result["cacheScope"] = json!("public");
    }
    result
}

/// Whether a subscription wants this news.
pub fn wants(wanted: &Value, method: &str, params: &Value) -> bool {
    let flag = |name: &str| wanted[name] == json!(true);
    match method {
        "notifications/tools/list_changed" => flag("toolsListChanged"),
        "notifications/prompts/list_changed" => flag("promptsListChanged"),
        "notifications/resources/list_changed" => flag("resourcesListChanged"),
        "notifications/tasks" => {
            wanted["taskIds"].as_array().is_some_and(|tasks| tasks.contains(&params["taskId"]))
        }
        _ => wanted["resourceSubscriptions"].as_array().is_some_and(|uris| uris.contains(&params["uri"])),
    }
}

fn discover(state: &State) -> Value {
    json!({
        "supportedVersions": [VERSION],
        "capabilities": {
            "tools": { "listChanged": true }, "prompts": { "listChanged": true },
            "resources": { "subscribe": true, "listChanged": true }, "completions": {}, "logging": {},
            "extensions": if state.flags.tasks { json!({ tasks::EXTENSION: {} }) } else { json!({}) }
        },
        "_meta": { "io.modelcontextprotocol/serverInfo": {
            "name": state.flags.name.as_deref().unwrap_or("fixture"), "version": "0" } }
    })
}
