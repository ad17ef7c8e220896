//! What requests of the modern era have besides: discovery, headers that mirror arguments, and results
//! that say what they are and how long they hold (2026-07-28).

use bytes::Bytes;

use super::call::{End, Run, Target};
use super::definitions::Definition;
use super::methods::{self, Row, Subject};
use super::rescue;
use crate::filter::{CallView, ItemKind, Outcome};
use crate::jsonrpc::{self, Document, Kind, Message};
use crate::protocol::{meta, mirror, rounds, tasks, versions};

impl Run<'_> {
    /// The answer for a name that does not exist here. In this era that is a wrong parameter whatever
    /// it names (2026-07-28, resources).
    pub(super) fn unknown(&self, kind: ItemKind, name: &str) -> Outcome {
        if self.link.is_modern() { rescue::unknown_modern(kind, name) } else { rescue::unknown(kind, name) }
    }

    /// Says what the server says of itself, and what Lockgate makes of it.
    pub(super) async fn discover(&mut self) -> Result<End, Outcome> {
        let reply = self.send(self.request.clone(), None, None).await?.message;
        let Some(result) = reply.result() else { return Ok(End::Reply(reply)) };
        let announced = self.link.gateway.announce(&result);
        let supported = serde_json::json!(versions::MODERN).to_string();
        let mut document = Document::new(announced, self.json_limits());
        // It fails only where the limits of a message are reached; then the server's list stands.
        let _ = document.set("/supportedVersions", supported.as_bytes());
        Ok(End::Reply(reply.with_result(document.bytes())))
    }

    /// Holds the headers of a call that repeat arguments against the arguments, both as they came and by
    /// the schema that its client was shown.
    pub(super) async fn check_mirrors(&self, row: &Row, target: Option<&Target>) -> Result<(), Outcome> {
        // Only HTTP has headers.
        if row.method != "tools/call" || !self.link.is_modern() || self.caller.headers.is_empty() {
            return Ok(());
        }
        let Some(target) = target else { return Ok(()) };
        let check = |definition: &[u8]| {
            mirror::check_params(&self.caller.headers, &self.request, definition)
                .map_err(|what| rescue::header_mismatch(&what))
        };
        let known = match target.definition.clone() {
            Some(definition) => Some(definition),
            None => self.definition_of(&target.name, false).await.map(|found| found.judged),
        };
        match known.map_or(Ok(()), |definition| check(&definition)) {
            Ok(()) => Ok(()),
            // The schema may have changed since it was read: then the client knows better.
            Err(refused) => match self.definition_of(&target.name, true).await {
                Some(now) => check(&now.judged),
                None => Err(refused),
            },
        }
    }

    /// What a call needs before it goes to a server of this era. Returns the definition of the tool it
    /// calls as the server gives it, where it is known.
    pub(super) async fn prepare(&mut self, row: &Row, view: &CallView) -> Option<Bytes> {
        if row.method != "tools/call" {
            return None;
        }
        // One that cannot be had fails the call, a moment later.
        let wanted = self.connection().await.is_ok_and(|connection| connection.wants_definitions());
        // Questions of a task come with `tasks/get`, and are answered with `tasks/update`: past `input`.
        let unseen = !self.chain.follows_task(view.name.as_deref(), "tasks/get");
        if self.link.is_modern() && (unseen || self.chain.looks_at_questions()) {
            self.request = without_tasks(&self.request);
        }
        if !wanted {
            return None;
        }
        self.definition_of(view.name.as_deref()?, false).await.map(|found| found.raw)
    }

    /// The definition of a tool; `anew`: read again unless it is fresh. A list that cannot be had is no
    /// reason to refuse a call: the server checks the headers itself.
    async fn definition_of(&self, name: &str, anew: bool) -> Option<Definition> {
        let all = match anew {
            false => self.definitions(ItemKind::Tool).await,
            true => self.definitions_again(ItemKind::Tool).await,
        };
        all.ok()??.items().iter().find(|definition| &*definition.name == name).cloned()
    }

    /// A result with what every result of this era must say. Members that stand are the server's.
    pub(super) fn stamped(&self, answer: Message) -> Message {
        if answer.kind() != Kind::Result {
            return answer;
        }
        let mut answer = answer;
        if answer.result_member("resultType").is_none() {
            answer = answer.with_result_member("resultType", Some(b"\"complete\""));
        }
        if rounds::result_type(&answer).as_deref() != Some("complete") {
            return answer;
        }
        let row = methods::find(&self.method);
        let shaped = self.chain.looks_at(&self.method);
        let judged = match row.subject {
            Subject::List(list) => shaped || self.chain.judges(list.kind),
            Subject::Named(ItemKind::Resource, _) if row.method == "resources/read" => {
                shaped || self.chain.judges(ItemKind::Resource)
            }
            _ if row.method == "server/discover" => false,
            _ => return answer,
        };
        // A filter may decide by whatever it likes, the time included: nobody may keep the answer.
        let ttl =
            answer.result_member("ttlMs").and_then(|raw| std::str::from_utf8(raw).ok()?.parse::<u64>().ok());
        if ttl.is_none() || judged {
            answer = answer.with_result_member("ttlMs", Some(b"0"));
        }
        if judged || !matches!(answer.result_member("cacheScope"), Some(b"\"public\"" | b"\"private\"")) {
            answer = answer.with_result_member("cacheScope", Some(b"\"private\""));
        }
        answer
    }

    /// A page of tools without those whose headers nobody could make (2026-07-28, transports: clients
    /// over HTTP must leave them out).
    pub(super) fn without_invalid_tools(&self, page: Message) -> Message {
        let Some(items) = page.items("tools", "name") else { return page };
        let mut kept = Vec::with_capacity(items.len());
        for item in &items {
            let Some(raw) = page.bytes().get(item.span.clone()) else { continue };
            match mirror::params(raw) {
                Ok(_) => kept.push(page.bytes().slice_ref(raw)),
                Err(why) => {
                    let (server, tool) = (&*self.link.server, item.name.escape_debug().to_string());
                    tracing::warn!(server, tool, "left out of the list: {why}");
                }
            }
        }
        if kept.len() == items.len() { page } else { page.with_items("tools", &kept) }
    }
}

/// The request of a client that knows no tasks: what a task returns would come past the filters that
/// look at what the tool returns.
pub(crate) fn without_tasks(request: &Message) -> Message {
    let Some(capabilities) = request.meta(meta::CLIENT_CAPABILITIES) else { return request.clone() };
    let at = jsonrpc::pointer(&["extensions", tasks::EXTENSION]);
    if jsonrpc::get(capabilities, &at).is_none() {
        return request.clone();
    }
    let mut document = Document::new(Bytes::copy_from_slice(capabilities), Default::default());
    match document.remove(&at) {
        Ok(()) => request.with_meta(meta::CLIENT_CAPABILITIES, Some(document.bytes())),
        Err(_) => request.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_be_made_to_know_no_tasks() {
        let with = r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{},"x/y":{}}}}}"#;
        let without = without_tasks(&Message::request(b"1", "tools/call", Some(with.as_bytes())));
        assert_eq!(without.meta(meta::CLIENT_CAPABILITIES), Some(&br#"{"extensions":{"x/y":{}}}"#[..]));
        let other = Message::request(b"1", "tools/call", Some(b"{}"));
        assert_eq!(without_tasks(&other).bytes(), other.bytes());
    }
}
