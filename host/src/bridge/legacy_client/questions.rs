//! What a modern server wants to know before it answers (`inputRequests`), put to a legacy client.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde_json::Value;

use super::handshake::Client;
use super::{shown, unguessable};
use crate::jsonrpc::{self, Document, Kind, Limits, Message};
use crate::protocol::{meta, methods, versions};
use crate::proxy::Downlink;

/// Questions of one round: as many as a legacy server may have open. One that asks more is broken.
const MOST: usize = 64;

/// The questions of one round, all of which this client can be asked.
pub(super) struct Questions {
    all: Vec<Question>,
}

struct Question {
    /// The server's name for it, unescaped.
    key: String,
    request: Message,
}

impl Questions {
    /// Reads them from a result. The error is the end of the call: nobody is asked anything then.
    pub(super) fn of(answer: &Message, client: &Client) -> Result<Questions, String> {
        let raw = match answer.result_member("inputRequests") {
            None | Some(b"null") => return Ok(Questions { all: Vec::new() }),
            Some(raw) => Bytes::copy_from_slice(raw),
        };
        let mut requests = Document::new(raw, Limits::default());
        let keys =
            requests.keys("").map_err(|_| "the server asks something, but not as an object".to_owned())?;
        if keys.len() > MOST {
            return Err(format!("the server asks {} things at once; at most {MOST} are put", keys.len()));
        }
        let all = keys.into_iter().map(|key| question(&mut requests, key, client));
        Ok(Questions { all: all.collect::<Result<_, _>>()? })
    }

    /// Leaves those out that were answered: a server that was told may not have looked yet.
    pub(super) fn without(mut self, answered: &BTreeSet<String>) -> Questions {
        self.all.retain(|question| !answered.contains(&question.key));
        self
    }

    /// The server's names for them.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        self.all.iter().map(|question| question.key.clone())
    }

    /// Whether nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Puts them to the client, all at once, and waits for its answers: the raw `inputResponses`. The
    /// error is the end of the call; what is still open is taken back.
    pub(super) async fn put(&self, client: &dyn Downlink, patience: Duration) -> Result<Bytes, String> {
        let answers = self.all.iter().map(|question| async move {
            let asked = tokio::time::timeout(patience, client.ask(question.request.clone())).await;
            let method = question.request.method().unwrap_or_default();
            match asked.ok().map(|answer| (answer.result(), answer)) {
                Some((Some(result), _)) => Ok(result),
                // There is no room for an error among answers to a modern server; this says the same.
                _ if method == "elicitation/create" => Ok(Bytes::from_static(br#"{"action":"cancel"}"#)),
                Some((None, answer)) => {
                    Err(format!("the client did not answer `{method}`: {}", said(&answer)))
                }
                None => Err(format!("the client did not answer `{method}` within {} s", patience.as_secs())),
            }
        });
        let answers = try_join_all(answers).await?;
        let mut all = b"{".to_vec();
        for (question, answer) in self.all.iter().zip(answers) {
            if all.len() > 1 {
                all.push(b',');
            }
            all.extend_from_slice(&jsonrpc::escape(&question.key));
            all.push(b':');
            all.extend_from_slice(&answer);
        }
        all.push(b'}');
        Ok(all.into())
    }
}

/// The request that one question becomes.
fn question(requests: &mut Document, key: String, client: &Client) -> Result<Question, String> {
    let at = jsonrpc::pointer(&[&key]);
    let raw = requests.get(&at).ok().flatten().unwrap_or_default();
    let method = jsonrpc::get(&raw, "/method").and_then(jsonrpc::unescape).unwrap_or_default().into_owned();
    if !methods::QUESTIONS.contains(&&*method) {
        return Err(format!("the server asks `{}` of the client, which no client answers", shown(&method)));
    }
    let params = match jsonrpc::get(&raw, "/params") {
        Some(params) if params.starts_with(b"{") => Some(params),
        None if method == "roots/list" => None,
        _ => return Err(format!("the server asks `{method}` without saying what")),
    };
    let read: Value = params.and_then(|raw| serde_json::from_slice(raw).ok()).unwrap_or_default();
    if let Some(capability) = client.lacks(&method, &read) {
        return Err(format!(
            "the server asks `{method}`, for which the client declared no capability `{capability}`"
        ));
    }
    // Whoever asks puts the id in.
    let mut request = Message::request(b"0", &method, params);
    if request.meta(meta::PROGRESS_TOKEN).is_some() {
        // There is no way for progress back to the server.
        request = request.with_meta(meta::PROGRESS_TOKEN, None);
    }
    if method == "elicitation/create" {
        request = elicitation(request, &read, client)?;
    }
    Ok(Question { key, request })
}

/// An elicitation as clients of that revision know it.
fn elicitation(request: Message, params: &Value, client: &Client) -> Result<Message, String> {
    match params.get("mode").and_then(Value::as_str) {
        Some("url") => {
            // Clients want one, and name the elicitation by it (2025-11-25, elicitation).
            let id =
                unguessable().ok_or("no elicitation could be named: the system gives no random numbers")?;
            Ok(request.with_param("elicitationId", format!("\"{id}\"").as_bytes()))
        }
        // Before there was another mode this one had no name.
        Some("form") if !versions::at_least(client.version, "2025-11-25") => {
            let mut params = Document::new(request.params().unwrap_or_default(), Limits::default());
            // Removing makes nothing larger, so no limit is in its way.
            let _ = params.remove("/mode");
            Ok(request.with_params(params.bytes()))
        }
        _ => Ok(request),
    }
}

/// What a client says in an error, in one bounded line.
fn said(answer: &Message) -> String {
    debug_assert_eq!(answer.kind(), Kind::Error);
    let text = answer.error_member("message").and_then(jsonrpc::unescape);
    text.map_or_else(|| "it gave no reason".to_owned(), |text| shown(&text))
}
