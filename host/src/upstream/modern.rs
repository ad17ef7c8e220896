//! The era adapter for servers from 2026-07-28 on: no handshake and no session, every request says all
//! about itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exchange::{Clock, Closer, Line, Own};
use super::gate::Gate;
use super::inbox::Inbox;
use super::subscriptions::{Subscription, Subscriptions};
use super::wire::Wire;
use super::{Connection, Handshake, Outgoing, Reply, UpstreamCall, UpstreamError};
use crate::jsonrpc::{self, Kind, Message};
use crate::protocol::pages::{Step, Walk};
use crate::protocol::{errors, meta, methods, mirror, rounds, versions};
use crate::proxy::Wanted;

/// Methods that change nothing: asked again, once, if the stream with their answer broke. There is no
/// resumption in this era (2026-07-28, transports), and what may have an effect is never sent twice.
const REPEATABLE: [&str; 8] = [
    "tools/list",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
    methods::DISCOVER,
];

/// What asking a server for its era came to.
pub(super) enum Probed {
    /// It speaks this one.
    Modern(Modern),
    /// It does not.
    Legacy {
        /// Whether it said so, rather than nothing at all.
        certain: bool,
        /// The revisions it named, if it did.
        speaks: Vec<String>,
    },
}

/// What a connection of this era is made of.
pub(super) struct Parts {
    pub(super) inbox: Arc<Inbox>,
    pub(super) wire: Arc<dyn Wire>,
    pub(super) gate: Arc<Gate>,
    pub(super) outgoing: Arc<dyn Outgoing>,
}

/// A connection. Dropping it closes it.
pub(super) struct Modern {
    line: Arc<Line>,
    discovery: Handshake,
    subscriptions: Subscriptions,
}

/// Asks the server at the other end of `wire` what it is. `silent_is_legacy`: on pipes, some legacy
/// servers never answer what comes before `initialize`, and some end.
pub(super) async fn open(
    parts: Parts,
    patience: Duration,
    silent_is_legacy: bool,
) -> Result<Probed, UpstreamError> {
    let Parts { inbox, wire, gate, outgoing } = parts;
    let version = versions::MODERN[0];
    let mut closer = Closer { inbox: &inbox, wire: &wire, armed: true };
    // From the first request on: the probe is one of this era already.
    wire.established(None, version);
    let line = Arc::new(Line { inbox: Arc::clone(&inbox), wire: Arc::clone(&wire), gate });
    let deadline = Instant::now() + patience;
    let mut asked = ask(&line, &outgoing, deadline).await;
    if asked.as_ref().is_ok_and(|reply| refuses_what_it_speaks(&reply.message)) {
        asked = ask(&line, &outgoing, deadline).await;
    }
    let reply = match asked {
        Ok(reply) => reply,
        Err(UpstreamError::NotServed { status, .. }) if (400..500).contains(&status) => {
            return Ok(Probed::Legacy { certain: true, speaks: Vec::new() });
        }
        Err(UpstreamError::Timeout { .. } | UpstreamError::Gone { .. }) if silent_is_legacy => {
            return Ok(Probed::Legacy { certain: false, speaks: Vec::new() });
        }
        Err(UpstreamError::Timeout { server, seconds }) => {
            let reason = format!("it did not answer `{}` within {seconds} s", methods::DISCOVER);
            return Err(UpstreamError::Unreachable { server, reason });
        }
        Err(error) => return Err(error),
    };
    // An outage says nothing of what is spoken when there is none.
    if let Some((status, _)) = reply.head.as_ref().filter(|(status, _)| *status == 429 || *status >= 500) {
        let reason = format!("it answered HTTP {status} ({})", error_text(&reply.message));
        return Err(UpstreamError::Unreachable { server: Arc::clone(&inbox.server), reason });
    }
    match judge(&reply.message) {
        Verdict::Modern(result) => {
            closer.armed = false;
            drop(closer);
            let discovery = Handshake { protocol_version: version.to_owned(), result };
            let subscriptions = Subscriptions::new(Arc::clone(&line), outgoing);
            Ok(Probed::Modern(Modern { line, discovery, subscriptions }))
        }
        Verdict::Legacy { certain, speaks } => Ok(Probed::Legacy { certain, speaks }),
        Verdict::Unusable(reason) => {
            Err(UpstreamError::Unreachable { server: Arc::clone(&inbox.server), reason })
        }
    }
}

async fn ask(line: &Line, outgoing: &Arc<dyn Outgoing>, deadline: Instant) -> Result<Reply, UpstreamError> {
    let own = Own {
        purpose: "probe",
        downlink: None,
        outgoing: Arc::clone(outgoing),
        headers: mirror::of(&probe(), None),
    };
    line.ask(probe(), own, &CancellationToken::new(), Clock::new(deadline, deadline)).await
}

/// Whether a server refused the revision it was asked in and named the same one as spoken: it is taken at
/// its word, once (2026-07-28, versioning: choose from `data.supported` and ask again).
fn refuses_what_it_speaks(answer: &Message) -> bool {
    let code = errors::UNSUPPORTED_VERSION.to_string();
    answer.error_member("code") == Some(code.as_bytes()) && speaks_modern(&supported(answer))
}

/// The revisions that an error -32022 names.
fn supported(answer: &Message) -> Vec<String> {
    texts(answer.error_member("data").and_then(|data| jsonrpc::get(data, "/supported")))
}

enum Verdict {
    /// With the result of `server/discover`.
    Modern(Bytes),
    /// `certain`: it is not what a modern server in trouble would say as well.
    Legacy {
        certain: bool,
        speaks: Vec<String>,
    },
    Unusable(String),
}

/// What an answer to `server/discover` says of its server's era (2026-07-28, versioning). The list of
/// revisions decides: a server may answer the question and still negotiate down.
fn judge(answer: &Message) -> Verdict {
    if answer.kind() == Kind::Result {
        let speaks = texts(answer.result_member("supportedVersions"));
        return match answer.result() {
            Some(result) if speaks_modern(&speaks) => Verdict::Modern(result),
            // Such a result is not one of `server/discover`: some servers answer anything with `{}`.
            _ => Verdict::Legacy { certain: !speaks.is_empty(), speaks },
        };
    }
    let code = answer.error_member("code").and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
    match code {
        Some(errors::UNSUPPORTED_VERSION) => {
            let speaks = supported(answer);
            if speaks.iter().any(|version| versions::legacy(version).is_some()) && !speaks_modern(&speaks) {
                return Verdict::Legacy { certain: true, speaks };
            }
            let known = versions::MODERN.join(", ");
            let speaks = speaks.join(", ").escape_debug().take(200).collect::<String>();
            Verdict::Unusable(format!(
                "it speaks the revisions {speaks:?} of the protocol; Lockgate speaks {known}"
            ))
        }
        // Errors of the modern era: the question was understood, and what is spoken was not said.
        Some(errors::HEADER_MISMATCH | errors::MISSING_CAPABILITY) => {
            Verdict::Unusable(format!("it refused `server/discover`: {}", error_text(answer)))
        }
        // Whatever else the error is, a modern server would not give it (2026-07-28, stdio). These two a
        // modern one in trouble might: they are believed for a short time only.
        Some(errors::INTERNAL | errors::SESSION_NOT_FOUND) => {
            Verdict::Legacy { certain: false, speaks: Vec::new() }
        }
        _ => Verdict::Legacy { certain: true, speaks: Vec::new() },
    }
}

fn speaks_modern(speaks: &[String]) -> bool {
    speaks.iter().any(|version| versions::modern(version).is_some())
}

fn texts(array: Option<&[u8]>) -> Vec<String> {
    array.and_then(|raw| serde_json::from_slice(raw).ok()).unwrap_or_default()
}

/// What an error answer says, in one bounded line.
pub(super) fn error_text(message: &Message) -> String {
    let text = message.error_member("message").and_then(jsonrpc::unescape);
    text.map_or_else(|| "no reason given".to_owned(), |text| text.escape_debug().take(300).collect())
}

fn probe() -> Message {
    with_envelope(Message::request(b"0", methods::DISCOVER, Some(b"{}")))
}

/// A request with what every modern request must say of its sender; what it says already stands.
pub(super) fn with_envelope(mut message: Message) -> Message {
    let version = format!("\"{}\"", versions::MODERN[0]);
    if message.meta(meta::PROTOCOL_VERSION) != Some(version.as_bytes()) {
        message = message.with_meta(meta::PROTOCOL_VERSION, Some(version.as_bytes()));
    }
    if message.meta(meta::CLIENT_CAPABILITIES).is_none() {
        message = message.with_meta(meta::CLIENT_CAPABILITIES, Some(b"{}"));
    }
    if message.meta(meta::CLIENT_INFO).is_none() {
        let info = concat!(r#"{"name":"lockgate","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
        message = message.with_meta(meta::CLIENT_INFO, Some(info.as_bytes()));
    }
    message
}

impl Connection for Modern {
    fn handshake(&self) -> &Handshake {
        &self.discovery
    }

    fn call(&self, call: UpstreamCall) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        // Where the tasks of this era say what they ask.
        let of_task = call.message.method() == Some("tasks/get");
        Box::pin(async move {
            let mut reply = self.make(call).await?;
            if of_task || rounds::asks(&reply.message) {
                reply.message = rounds::with_params(reply.message);
            }
            Ok(reply)
        })
    }

    fn notify(
        &self,
        notification: Message,
        outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'_, Result<(), UpstreamError>> {
        Box::pin(async move {
            // Over HTTP, clients of this era have no notifications, and how their headers would have to
            // look is nowhere said (2026-07-28, transports).
            if self.line.wire.cancels_by_leaving() || notification.method() == Some(methods::CANCELLED) {
                return Ok(());
            }
            let inbox = &self.line.inbox;
            tokio::select! {
                sent = self.line.wire.send(notification, "notification", outgoing) => sent,
                () = inbox.ended.cancelled() => inbox.closed().map_or(Ok(()), Err),
            }
        })
    }

    fn subscribe(&self, wanted: Wanted) -> BoxFuture<'_, Result<Subscription, UpstreamError>> {
        // Who is asked for what it does not offer may refuse all of it.
        let offered = wanted.offered(&self.discovery.result);
        Box::pin(self.subscriptions.subscribe(offered))
    }

    fn wants_definitions(&self) -> bool {
        self.line.wire.cancels_by_leaving()
    }

    fn closed(&self) -> Option<UpstreamError> {
        self.line.inbox.closed()
    }

    fn close(&self) {
        self.subscriptions.end();
        self.line.close();
    }
}

impl Drop for Modern {
    fn drop(&mut self) {
        self.close();
    }
}

impl Modern {
    async fn make(&self, mut call: UpstreamCall) -> Result<Reply, UpstreamError> {
        call.message = with_envelope(call.message);
        let http = self.line.wire.cancels_by_leaving();
        let headers = |call: &UpstreamCall| {
            if http { mirror::of(&call.message, call.definition.as_deref()) } else { HeaderMap::new() }
        };
        let method = call.message.method().unwrap_or_default().to_owned();
        let repeatable = REPEATABLE.contains(&&*method);
        let again = call.clone();
        let reply = self.line.make(call, headers(&again)).await;
        match reply {
            Err(UpstreamError::Gone { may_have_run: true, .. })
                if repeatable && http && self.closed().is_none() && !again.cancel.is_cancelled() =>
            {
                self.line.make(again.clone(), headers(&again)).await
            }
            // The schema that the headers were made from is older than the server's, or there was none
            // (2026-07-28, transports: refresh, and try once more). It was refused before it ran.
            Ok(reply) if http && method == "tools/call" && is_mismatch(&reply.message) => {
                let Some(definition) = self.definition_again(&again).await else { return Ok(reply) };
                let again = UpstreamCall { definition: Some(definition), ..again };
                let headers = headers(&again);
                self.line.make(again, headers).await
            }
            reply => reply,
        }
    }

    /// The definition of the tool that a call names, as the server gives it now.
    async fn definition_again(&self, call: &UpstreamCall) -> Option<Bytes> {
        /// A list that long is not read for a header.
        const PAGES: u32 = 20;
        let name = call.message.param_text("name")?;
        let mut cursor: Option<Bytes> = None;
        let mut walk = Walk::new(PAGES);
        loop {
            let params = match &cursor {
                None => b"{}".to_vec(),
                Some(cursor) => [b"{\"cursor\":", &cursor[..], b"}"].concat(),
            };
            let message = with_envelope(Message::request(b"0", "tools/list", Some(&params)));
            let headers = mirror::of(&message, None);
            let asked = UpstreamCall { message, definition: None, ..call.clone() };
            let page = self.line.make(asked, headers).await.ok()?.message;
            for item in page.items("tools", "name")? {
                if *item.name == *name {
                    return page.bytes().get(item.span).map(|raw| page.bytes().slice_ref(raw));
                }
            }
            let Step::Next(next) = walk.step(&page) else { return None };
            cursor = Some(next);
        }
    }
}

fn is_mismatch(message: &Message) -> bool {
    message.error_member("code") == Some(errors::HEADER_MISMATCH.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::{Limits, Source};

    fn verdict(answer: &str) -> &'static str {
        let bytes = Bytes::copy_from_slice(answer.as_bytes());
        match judge(&Message::parse(bytes, &Limits::default(), Source::Server).unwrap()) {
            Verdict::Modern(_) => "modern",
            Verdict::Legacy { certain: true, .. } => "legacy",
            Verdict::Legacy { certain: false, .. } => "legacy for now",
            Verdict::Unusable(_) => "unusable",
        }
    }

    #[test]
    fn the_list_of_revisions_decides_and_some_errors_are_no_evidence() {
        for (answer, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"]}}"#, "modern"),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2025-11-25","2026-07-28"]}}"#,
                "modern",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2025-11-25"]}}"#, "legacy"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "legacy for now"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":5}}"#, "legacy for now"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no session"}}"#, "legacy for now"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":0,"message":""}}"#, "legacy"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"no number"}}"#, "legacy"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32021,"message":""}}"#, "unusable"),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"","data":{"supported":["2025-11-25"]}}}"#,
                "legacy",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"","data":{"supported":["2027-01-01"]}}}"#,
                "unusable",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":""}}"#, "unusable"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"try later"}}"#, "legacy for now"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":""}}"#, "legacy"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":""}}"#, "legacy"),
            (r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Server not initialized"}}"#, "legacy"),
        ] {
            assert_eq!(verdict(answer), expected, "{answer}");
        }
    }

    #[test]
    fn the_envelope_of_a_client_stands_and_a_missing_one_is_made() {
        let made = with_envelope(Message::request(b"1", "tools/list", None));
        assert_eq!(made.meta(meta::PROTOCOL_VERSION), Some(&b"\"2026-07-28\""[..]));
        assert_eq!(made.meta(meta::CLIENT_CAPABILITIES), Some(&b"{}"[..]));
        assert!(made.meta(meta::CLIENT_INFO).is_some());
        assert_eq!(with_envelope(made.clone()).bytes(), made.bytes());
    }
}
