//! What each side said of itself, in the words of the other era.

use bytes::Bytes;
use serde_json::Value;

use crate::jsonrpc::{self, Document, Limits, pointer};
use crate::protocol::{meta, tasks, versions};
use crate::upstream::Handshake;

/// A client, from its `initialize`.
pub(super) struct Client {
    /// The revision that it speaks.
    pub(super) version: &'static str,
    /// Raw capabilities, as a modern request says them.
    pub(super) capabilities: Bytes,
    /// Raw `clientInfo`, if it gave any.
    pub(super) info: Option<Bytes>,
    can: Value,
}

impl Client {
    /// Of raw `params` of `initialize`. `tasks`: the server has those of its era, and what the client
    /// cannot do with them is done for it.
    pub(super) fn of(params: &[u8], tasks: bool) -> Client {
        let asked = jsonrpc::get(params, "/protocolVersion").and_then(jsonrpc::unescape);
        let object = |at| jsonrpc::get(params, at).filter(|raw| raw.starts_with(b"{"));
        let declared = object("/capabilities").map_or(Bytes::from_static(b"{}"), Bytes::copy_from_slice);
        let mut capabilities = Document::new(declared, Limits::default());
        // Tasks of that era are other ones; what is experimental means nothing here; and who does not
        // tell of changed roots cannot say that it will (2026-07-28, changelog).
        let own = pointer(&["extensions", tasks::EXTENSION]);
        for gone in ["/tasks", "/experimental", "/roots/listChanged", &*own] {
            // Removing makes nothing larger, so no limit is in its way.
            let _ = capabilities.remove(gone);
        }
        if tasks {
            if !jsonrpc::get(capabilities.bytes(), "/extensions").is_some_and(|all| all.starts_with(b"{")) {
                let _ = capabilities.set("/extensions", b"{}");
            }
            // It fails only where the limits of a message are reached: then the client knows none.
            let _ = capabilities.set(&own, b"{}");
        }
        let capabilities = capabilities.bytes().clone();
        Client {
            version: versions::negotiate(asked.as_deref().unwrap_or_default()),
            can: serde_json::from_slice(&capabilities).unwrap_or_default(),
            info: object("/clientInfo").map(Bytes::copy_from_slice),
            capabilities,
        }
    }

    /// The capability that the client would need to be asked this, and has not declared.
    pub(super) fn lacks(&self, method: &str, params: &Value) -> Option<&'static str> {
        let has = |pointer: &str| self.can.pointer(pointer).is_some_and(Value::is_object);
        let needed: &[(&str, &'static str)] = match method {
            "roots/list" => &[("/roots", "roots")],
            "sampling/createMessage" if params.get("tools").is_some() => {
                &[("/sampling", "sampling"), ("/sampling/tools", "sampling.tools")]
            }
            "sampling/createMessage" => &[("/sampling", "sampling")],
            "elicitation/create" if params.get("mode").and_then(Value::as_str) == Some("url") => {
                &[("/elicitation", "elicitation"), ("/elicitation/url", "elicitation.url")]
            }
            // Who names no mode means this one (2025-11-25, elicitation).
            "elicitation/create" if has("/elicitation/url") => {
                &[("/elicitation", "elicitation"), ("/elicitation/form", "elicitation.form")]
            }
            "elicitation/create" => &[("/elicitation", "elicitation")],
            _ => &[],
        };
        needed.iter().find(|(pointer, _)| !has(pointer)).map(|(_, name)| *name)
    }
}

/// Whether a server that said this to `server/discover` has tasks.
pub(super) fn has_tasks(discovered: &[u8]) -> bool {
    let at = pointer(&["capabilities", "extensions", tasks::EXTENSION]);
    jsonrpc::get(discovered, &at).is_some_and(|raw| raw.starts_with(b"{"))
}

/// The `InitializeResult` that a server would have given that said this to `server/discover`. `tasks`: a
/// client that speaks this revision may have its calls as tasks.
pub(super) fn initialized(server: &str, version: &'static str, discovered: &Bytes, tasks: bool) -> Handshake {
    let object = |at: &str| jsonrpc::get(discovered, at).filter(|raw| raw.starts_with(b"{"));
    let offered = object("/capabilities").map_or(Bytes::from_static(b"{}"), Bytes::copy_from_slice);
    let mut capabilities = Document::new(offered, Limits::default());
    for gone in ["/extensions", "/tasks"] {
        // Removing makes nothing larger, so no limit is in its way.
        let _ = capabilities.remove(gone);
    }
    if tasks {
        // It fails only where the limits of a message are reached: then none are offered.
        let _ = capabilities.set("/tasks", br#"{"cancel":{},"requests":{"tools":{"call":{}}}}"#);
    }
    let named = object(&pointer(&["_meta", meta::SERVER_INFO]));
    let info = named.or_else(|| object("/serverInfo")).map_or_else(
        // It has to have a name and a version (2025-11-25, lifecycle); here it need not say them.
        || serde_json::json!({ "name": server, "version": "unknown" }).to_string().into_bytes(),
        <[u8]>::to_vec,
    );
    let mut result = format!(r#"{{"protocolVersion":"{version}","capabilities":"#).into_bytes();
    result.extend_from_slice(capabilities.bytes());
    result.extend_from_slice(b",\"serverInfo\":");
    result.extend_from_slice(&info);
    if let Some(instructions) = jsonrpc::get(discovered, "/instructions").filter(|raw| raw.starts_with(b"\""))
    {
        result.extend_from_slice(b",\"instructions\":");
        result.extend_from_slice(instructions);
    }
    result.push(b'}');
    Handshake { protocol_version: version.to_owned(), result: result.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(capabilities: Value) -> Client {
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": capabilities });
        Client::of(params.to_string().as_bytes(), false)
    }

    fn capabilities(client: &Client) -> Value {
        serde_json::from_slice(&client.capabilities).unwrap()
    }

    #[test]
    fn capabilities_of_a_client_lose_what_the_modern_era_has_not() {
        let declared = json!({
            "roots": { "listChanged": true }, "sampling": {}, "elicitation": {}, "experimental": { "x": {} },
            "tasks": { "list": {} }, "extensions": { "io.modelcontextprotocol/tasks": {}, "x/y": {} }
        });
        assert_eq!(
            capabilities(&client(declared)),
            json!({ "roots": {}, "sampling": {}, "elicitation": {}, "extensions": { "x/y": {} } })
        );
        assert_eq!(capabilities(&client(json!(7))), json!({}));
        for (declared, extensions) in [
            (json!({ "roots": {} }), json!({ "io.modelcontextprotocol/tasks": {} })),
            (json!({ "extensions": 7 }), json!({ "io.modelcontextprotocol/tasks": {} })),
            (
                json!({ "extensions": { "x/y": {} } }),
                json!({ "x/y": {}, "io.modelcontextprotocol/tasks": {} }),
            ),
        ] {
            let params = json!({ "capabilities": declared }).to_string();
            assert_eq!(capabilities(&Client::of(params.as_bytes(), true))["extensions"], extensions);
        }
        assert_eq!(Client::of(b"", false).version, "2025-11-25");
    }

    #[test]
    fn only_what_was_declared_is_asked() {
        let (form, url) = (json!({}), json!({ "mode": "url" }));
        let tools = json!({ "tools": [] });
        for (declared, method, params, lacks) in [
            (json!({}), "elicitation/create", &form, Some("elicitation")),
            (json!({ "elicitation": {} }), "elicitation/create", &form, None),
            (json!({ "elicitation": {} }), "elicitation/create", &url, Some("elicitation.url")),
            (json!({ "elicitation": { "url": {} } }), "elicitation/create", &url, None),
            (json!({ "elicitation": { "url": {} } }), "elicitation/create", &form, Some("elicitation.form")),
            (json!({ "elicitation": { "url": {}, "form": {} } }), "elicitation/create", &form, None),
            (json!({}), "sampling/createMessage", &form, Some("sampling")),
            (json!({ "sampling": {} }), "sampling/createMessage", &tools, Some("sampling.tools")),
            (json!({ "sampling": { "tools": {} } }), "sampling/createMessage", &tools, None),
            (json!({ "sampling": true }), "sampling/createMessage", &form, Some("sampling")),
            (json!({ "roots": {} }), "roots/list", &form, None),
        ] {
            assert_eq!(client(declared.clone()).lacks(method, params), lacks, "{declared} {method} {params}");
        }
    }

    #[test]
    fn a_discovery_becomes_an_initialization() {
        let discovered = json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 1, "cacheScope": "public",
            "capabilities": { "tools": { "listChanged": true }, "extensions": { "x/y": {} }, "logging": {} },
            "instructions": "Be \"kind\"",
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "n", "version": "1" } }
        });
        let handshake = initialized("s", "2025-03-26", &discovered.to_string().into(), false);
        assert_eq!(handshake.protocol_version, "2025-03-26");
        assert_eq!(
            serde_json::from_slice::<Value>(&handshake.result).unwrap(),
            json!({
                "protocolVersion": "2025-03-26", "capabilities": { "tools": { "listChanged": true }, "logging": {} },
                "serverInfo": { "name": "n", "version": "1" }, "instructions": "Be \"kind\""
            })
        );
        let handshake = initialized("s", "2025-11-25", &Bytes::from_static(b"{}"), false);
        assert_eq!(
            serde_json::from_slice::<Value>(&handshake.result).unwrap(),
            json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "s", "version": "unknown" } })
        );
    }
}
