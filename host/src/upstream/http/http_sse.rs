//! A server over HTTP+SSE (2024-11-05): one stream brings everything in, and names the place that
//! everything is sent to. The end of the stream is the end of the session.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use tokio_util::task::TaskTracker;

use super::client::{excerpt, whole};
use super::decoded::Decoded;
use super::stream::finish;
use super::{Exchange, Inner, Parts, TAKEN, Target, is, names_a_request, start_of};
use crate::jsonrpc::Message;
use crate::net::cause;
use crate::protocol::versions;
use crate::upstream::inbox::Inbox;
use crate::upstream::sse::{Event, Parser, TooLarge};
use crate::upstream::wire::{Origin, Parcel, Wire, lock};
use crate::upstream::{Outgoing, UpstreamError};

/// Longest address that a server may name for messages.
const ENDPOINT_BYTES: usize = 8 << 10;
/// From this revision on clients name the revision in a header, over this transport as well: the
/// official SDK does, and servers before it do not look.
const WITH_VERSION_HEADER: &str = "2025-06-18";

/// The way to one server, and the session there.
pub(in crate::upstream) struct HttpSse {
    http: Inner,
    /// Where messages go. What stands in it is the session's secret.
    endpoint: Target,
}

/// An open stream, before anybody reads what comes over it.
pub(in crate::upstream) struct Streaming {
    pub(in crate::upstream) wire: Arc<HttpSse>,
    reader: Reader,
    /// What came in one piece with the endpoint.
    early: Vec<Event>,
}

struct Reader {
    body: Decoded,
    parser: Parser,
}

impl HttpSse {
    /// Opens the stream and waits, at most for `patience`, for the address that messages go to.
    ///
    /// # Errors
    /// [`UpstreamError::NotServed`] if something answers, and it is nothing of this kind.
    pub(in crate::upstream) async fn open(
        parts: Parts<'_>,
        patience: Duration,
    ) -> Result<Streaming, UpstreamError> {
        let http = Inner::new(parts, "HTTP+SSE")?;
        let opening = async {
            let mut reader = Reader { body: stream(&http).await?, parser: Parser::new(http.limits.bytes) };
            let (named, early) = first(&http, &mut reader).await?;
            Ok((reader, named, early))
        };
        let (reader, named, early) = tokio::time::timeout(patience, opening).await.unwrap_or_else(|_| {
            Err(http.not_served(format!("did not name an `endpoint` within {} s", patience.as_secs())))
        })?;
        let endpoint = endpoint(&http.target.url, &named).map_err(|why| {
            http.unreachable(format!("{} names an `endpoint` for messages that {why}", http.shown))
        })?;
        Ok(Streaming { wire: Arc::new(HttpSse { http, endpoint }), reader, early })
    }
}

impl Streaming {
    /// From now on what the server says goes to `inbox`, which fails when the stream ends.
    pub(in crate::upstream) fn attach(self, inbox: &Arc<Inbox>, tracker: &TaskTracker) {
        let Streaming { wire, mut reader, early } = self;
        let inbox = Arc::clone(inbox);
        tracker.spawn(async move {
            let stop = wire.http.stop.clone();
            tokio::select! {
                how = read(&wire.http, &mut reader, early, &inbox) => inbox.fail(&how),
                () = stop.cancelled() => inbox.fail("was disconnected by Lockgate"),
                () = inbox.ended.cancelled() => {}
            }
            stop.cancel();
        });
    }
}

impl Wire for HttpSse {
    fn request<'a>(
        &'a self,
        parcel: Parcel,
        inbox: &'a Arc<Inbox>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>> {
        Box::pin(async move {
            let Parcel { id, message, purpose, departure, outgoing, headers } = parcel;
            let exchange = Exchange {
                body: Some(message.frame()),
                departure: Some(departure),
                to: Some(&self.endpoint),
                headers,
                ..Exchange::new(Method::POST, purpose, &outgoing)
            };
            let response = self.http.exchange(exchange).await?;
            // The answer comes on the stream; the exchange only says whether the message was taken.
            self.taken(response, purpose, Some((id, inbox))).await
        })
    }

    fn send<'a>(
        &'a self,
        message: Message,
        purpose: &'static str,
        outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>> {
        Box::pin(async move {
            let sending = async {
                let exchange = Exchange {
                    body: Some(message.frame()),
                    to: Some(&self.endpoint),
                    ..Exchange::new(Method::POST, purpose, &outgoing)
                };
                let response = self.http.exchange(exchange).await?;
                self.taken(response, purpose, None).await
            };
            tokio::time::timeout(TAKEN, sending).await.unwrap_or_else(|_| {
                let shown = &self.http.shown;
                Err(self
                    .http
                    .unreachable(format!("{shown} did not take a message within {} s", TAKEN.as_secs())))
            })
        })
    }

    fn established(&self, _head: Option<&HeaderMap>, protocol_version: &str) {
        if versions::at_least(protocol_version, WITH_VERSION_HEADER) {
            lock(&self.http.session).version = HeaderValue::from_str(protocol_version).ok();
        }
    }

    fn listen(&self, _inbox: &Arc<Inbox>) {}

    fn close(&self) {
        self.http.stop.cancel();
    }
}

impl HttpSse {
    async fn taken(
        &self,
        response: Response<Decoded>,
        purpose: &'static str,
        asked: Option<(u64, &Arc<Inbox>)>,
    ) -> Result<(), UpstreamError> {
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            tokio::spawn(finish(body));
            return Ok(());
        }
        let code = parts.status.as_u16();
        let bytes = whole(body, self.http.limits.bytes).await;
        let head = (code, Arc::new(parts.headers));
        let (text, named) = match bytes {
            Ok(bytes) => {
                let named = names_a_request(&bytes, &self.http.limits);
                // A server may say here what it should say on the stream. It is the answer all the same.
                if named
                    && let Some((id, inbox)) = asked
                    && inbox.text(Origin::Call(id), bytes.clone(), &self.http.limits, Some(&head))
                {
                    return Ok(());
                }
                (start_of(&bytes), named)
            }
            // Nobody knows what it said.
            Err(_) => (String::new(), true),
        };
        match parts.status {
            _ if named => {
                Err(self.http.gone(format!("answered something else than it was asked (HTTP {code})"), true))
            }
            StatusCode::NOT_FOUND => {
                let reason = format!("ended the session (HTTP {code})");
                if let Some((_, inbox)) = asked {
                    inbox.fail(&reason);
                }
                Err(self.http.gone(reason, false))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.http.refused_with(purpose, parts.status, &head.1, &text))
            }
            status => {
                let said = super::error::said(&text);
                Err(self.http.gone(format!("answered HTTP {code}{said}"), status.is_server_error()))
            }
        }
    }
}

impl Inner {
    fn not_served(&self, how: String) -> UpstreamError {
        UpstreamError::NotServed {
            server: Arc::clone(&self.server),
            status: StatusCode::OK.as_u16(),
            reason: format!("{} {how}: no HTTP+SSE server is there", self.shown),
        }
    }
}

/// Opens the stream.
async fn stream(http: &Inner) -> Result<Decoded, UpstreamError> {
    let response = http.exchange(Exchange::new(Method::GET, "stream", &http.outgoing)).await;
    let response = response.map_err(|failed| match failed.error {
        UpstreamError::Gone { reason, .. } => http.unreachable(format!("{} {reason}", http.shown)),
        error => error,
    })?;
    let (parts, body) = response.into_parts();
    if parts.status == StatusCode::OK && is(&parts.headers, "text/event-stream") {
        return Ok(body);
    }
    let text = excerpt(body).await;
    // To the one who judges it, this is the answer that a handshake got.
    Err(http.refusal("initialize", None, parts.status, &parts.headers, &text))
}

/// The address that the first `endpoint` names, and the events that came along with it.
async fn first(http: &Inner, reader: &mut Reader) -> Result<(String, Vec<Event>), UpstreamError> {
    loop {
        let mut events = Vec::new();
        let more = reader.more(&mut events).await;
        if let Some(at) = events.iter().position(|event| event.name == "endpoint") {
            let early = events.split_off(at + 1);
            let named = events.pop().map(|event| event.data).unwrap_or_default();
            return Ok((String::from_utf8_lossy(&named).trim().to_owned(), early));
        }
        // A Streamable HTTP server may offer a stream here as well, and says something else on it.
        if events.iter().any(|event| event.name == "message") {
            return Err(http.not_served("began its stream with something else than an `endpoint`".to_owned()));
        }
        more.map_err(|how| http.not_served(format!("{how} before it named an `endpoint`")))?;
    }
}

/// Reads to the end of the stream; how it ended.
async fn read(http: &Inner, reader: &mut Reader, early: Vec<Event>, inbox: &Arc<Inbox>) -> String {
    let (mut events, mut more) = (early, Ok(()));
    loop {
        for event in events.drain(..).filter(|event| event.name == "message" && !event.data.is_empty()) {
            inbox.text(Origin::Pipe, event.data, &http.limits, None);
        }
        // After what came before the end: that still counts.
        if let Err(how) = more {
            return how;
        }
        more = reader.more(&mut events).await;
    }
}

impl Reader {
    /// Waits for the next piece and the events it completes; the error says how the stream ended.
    async fn more(&mut self, events: &mut Vec<Event>) -> Result<(), String> {
        match self.body.frame().await {
            None => Err("closed the stream".to_owned()),
            Some(Err(error)) => Err(format!("broke the stream ({})", cause(&error))),
            Some(Ok(frame)) => {
                let fed = self.parser.feed(&frame.into_data().unwrap_or_default(), events);
                fed.map_err(|TooLarge(cap)| {
                    format!("sent a message of more than limits.server_message_bytes ({cap})")
                })
            }
        }
    }
}

/// Where messages go, from what the server names. Another origin would get what is meant for this one,
/// credentials included (2024-11-05, transports; TypeScript SDK: "Endpoint origin does not match").
fn endpoint(url: &str, named: &str) -> Result<Target, String> {
    let bad = |what: &str| Err(what.to_owned());
    if named.len() > ENDPOINT_BYTES {
        return Err(format!("is longer than {ENDPOINT_BYTES} bytes"));
    }
    let Ok(base) = url::Url::parse(url) else { return bad("cannot be resolved") };
    let Ok(mut target) = base.join(named) else { return bad("is no URL") };
    if target.origin() != base.origin() {
        let (there, here) = (target.origin().ascii_serialization(), base.origin().ascii_serialization());
        let there: String = there.escape_debug().take(200).collect();
        return Err(format!(
            "lies elsewhere ({there} instead of {here}): what is meant for the one would reach the other; if that \
             is where the server is, give its URL"
        ));
    }
    if !target.username().is_empty() || target.password().is_some() {
        return bad("has credentials in it");
    }
    target.set_fragment(None);
    match target.as_str().parse() {
        Ok(uri) => Ok(Target { uri, url: target.as_str().into() }),
        Err(_) => bad("is no URL"),
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn an_endpoint_is_resolved_and_stays_on_its_origin() {
        let base = "https://a.example/x/sse?key=1";
        for (named, expected) in [
            ("/message?sessionId=1", "https://a.example/message?sessionId=1"),
            ("message?sessionId=1", "https://a.example/x/message?sessionId=1"),
            ("?sessionId=1", "https://a.example/x/sse?sessionId=1"),
            ("https://A.example:443/m#f", "https://a.example/m"),
            ("//a.example/m", "https://a.example/m"),
        ] {
            assert_eq!(endpoint(base, named).map(|t| t.uri.to_string()), Ok(expected.to_owned()), "{named}");
        }
        for (named, why) in [
            ("https://b.example/m", "elsewhere"),
            ("http://a.example/m", "elsewhere"),
            ("https://a.example:8443/m", "elsewhere"),
            ("//b.example/m", "elsewhere"),
            ("\\\\b.example\\m", "elsewhere"),
            ("https://a.example@b.example/m", "elsewhere"),
            ("https://me:pw@a.example/m", "credentials"),
            ("file:///etc/passwd", "elsewhere"),
            ("https://[::1/m", "no URL"),
        ] {
            let error = endpoint(base, named).map(|t| t.uri.to_string()).unwrap_err();
            assert!(error.contains(why), "{named}: {error}");
        }
        assert!(endpoint(base, &"x".repeat(9000)).is_err());
    }
}
