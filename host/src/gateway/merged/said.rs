//! What several servers say of themselves, said as one.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::{EACH, Merged, too_late};
use crate::filter::Outcome;
use crate::jsonrpc::Message;
use crate::protocol::{meta, tasks, versions};
use crate::proxy::CallScope;

/// Most bytes of instructions, of one server: they go into the context of a model.
const INSTRUCTIONS: usize = 16 << 10;
/// Kinds of things, and what clients may be told of each.
const KINDS: [&str; 3] = ["tools", "prompts", "resources"];
/// What a server either has or has not.
const PLAIN: [&str; 2] = ["logging", "completions"];

type Said = (Arc<str>, Bytes);

/// The `InitializeResult` of all. The revision is set by whoever agrees on it with the client.
pub(super) fn initialized(said: &[Said]) -> Bytes {
    let parsed = parse(said);
    let mut result = json!({
        "protocolVersion": versions::LEGACY[0],
        "capabilities": capabilities(&parsed),
        "serverInfo": myself(),
    });
    instruct(&mut result, &parsed);
    result.to_string().into()
}

impl Merged {
    /// The `DiscoverResult` of all that can be reached. The error is the answer of the first that failed.
    pub(super) async fn discover(&self, request: &Message, scope: &CallScope) -> Result<Message, Outcome> {
        let asked = (0..self.parts.len()).map(|part| async move {
            let server = self.parts.get(part)?.server.clone();
            let asked = tokio::time::timeout(EACH, self.pass(part, request.clone(), scope.clone())).await;
            let answer = asked.unwrap_or_else(|_| Some(too_late(&server)))?;
            Some((server, answer))
        });
        let answers: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let said: Vec<Said> =
            answers.iter().filter_map(|(server, answer)| Some((server.clone(), answer.result()?))).collect();
        if said.is_empty() {
            let error = answers.iter().find_map(|(_, answer)| answer.error_object());
            return Err(Outcome::Failure(error.unwrap_or_else(|| {
                Bytes::from_static(br#"{"code":-32603,"message":"no server can be reached"}"#)
            })));
        }
        let parsed = parse(&said);
        let ttl = parsed.iter().map(|(_, said)| said["ttlMs"].as_u64().unwrap_or(0)).min().unwrap_or(0);
        let public =
            parsed.iter().all(|(_, said)| said["cacheScope"] == "public") && said.len() == self.parts.len();
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": versions::MODERN,
            "capabilities": capabilities(&parsed),
            "ttlMs": ttl,
            "cacheScope": if public { "public" } else { "private" },
            "_meta": { meta::SERVER_INFO: myself() },
        });
        instruct(&mut result, &parsed);
        Ok(Message::response(request.id().unwrap_or(b"null"), result.to_string().as_bytes()))
    }
}

fn parse(said: &[Said]) -> Vec<(Arc<str>, Value)> {
    let parse = |raw: &Bytes| serde_json::from_slice(raw).unwrap_or_default();
    said.iter().map(|(server, raw)| (server.clone(), parse(raw))).collect()
}

fn myself() -> Value {
    json!({ "name": "lockgate", "version": env!("CARGO_PKG_VERSION") })
}

/// What any of them can do, as far as it can be told apart here.
fn capabilities(said: &[(Arc<str>, Value)]) -> Value {
    let mut all = Map::new();
    let own = |said: &Value, name: &str| said["capabilities"].get(name).and_then(Value::as_object).cloned();
    for (_, said) in said {
        for kind in KINDS {
            let Some(flags) = own(said, kind) else { continue };
            let merged = all.entry(kind).or_insert_with(|| json!({}));
            for flag in ["listChanged", "subscribe"] {
                if flags.get(flag) == Some(&Value::Bool(true)) {
                    merged[flag] = true.into();
                }
            }
        }
        for name in PLAIN {
            if own(said, name).is_some() {
                all.insert(name.to_owned(), json!({}));
            }
        }
        for (id, settings) in own(said, "extensions").unwrap_or_default() {
            // Ids of tasks would have to be translated wherever they stand.
            if id != tasks::EXTENSION {
                let extensions = all.entry("extensions").or_insert_with(|| json!({}));
                if extensions.get(&id).is_none() {
                    extensions[id] = settings;
                }
            }
        }
    }
    Value::Object(all)
}

fn instruct(result: &mut Value, said: &[(Arc<str>, Value)]) {
    if let (Some(text), Some(result)) = (instructions(said), result.as_object_mut()) {
        result.insert("instructions".to_owned(), text.into());
    }
}

fn instructions(said: &[(Arc<str>, Value)]) -> Option<String> {
    let mut text = String::new();
    for (server, said) in said {
        let Some(own) = said["instructions"].as_str().filter(|own| !own.trim().is_empty()) else { continue };
        let cut = own.floor_char_boundary(INSTRUCTIONS);
        let own = own.get(..cut).unwrap_or(own);
        text.push_str(&format!("# {server} (its tools begin with `{server}__`)\n\n{own}\n\n"));
    }
    (!text.is_empty()).then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_those_of_all_and_tasks_of_none() {
        let a = r#"{"capabilities":{"tools":{"listChanged":true},"tasks":{},"experimental":{"x":{}}},"instructions":"Be kind."}"#;
        let b = r#"{"capabilities":{"tools":{},"resources":{"subscribe":true},"logging":{},"extensions":{"io.modelcontextprotocol/tasks":{},"x/ui":{"a":1}}}}"#;
        let said = [("a".into(), Bytes::from(a)), ("b".into(), Bytes::from(b))];
        let result: Value = serde_json::from_slice(&initialized(&said)).unwrap();
        assert_eq!(
            result["capabilities"],
            json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true }, "logging": {},
                "extensions": { "x/ui": { "a": 1 } } })
        );
        assert_eq!(result["instructions"], "# a (its tools begin with `a__`)\n\nBe kind.");
        assert_eq!(result["serverInfo"]["name"], "lockgate");
    }
}
