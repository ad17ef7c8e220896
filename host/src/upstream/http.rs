//! A server over Streamable HTTP, with sessions: 2025-03-26 to 2025-11-25.

mod client;
mod decoded;
mod error;
mod http_sse;
mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, USER_AGENT,
};
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inbox::Inbox;
use super::wire::{Departure, Head, Origin, Parcel, Wire, lock};
use super::{ExchangeDraft, Outgoing, UpstreamError, address};
use crate::config::Server;
use crate::jsonrpc::{Kind, Limits, Message, Source, is_array};
use crate::net::{cause, is_refused};
use crate::protocol::{headers as names, versions};
pub(super) use client::{HttpClient, client};
use client::{Incomplete, Tracked, empty, excerpt, sent, whole};
use decoded::{Decoded, coding};
pub(super) use error::credentials;
pub(super) use http_sse::HttpSse;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("lockgate/", env!("CARGO_PKG_VERSION")));

/// What neither the configuration nor a filter sets: the transport's own, and what belongs to one
/// connection only.
const OWN: [&str; 15] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Longest wait for a server to take the end of a session.
const GOODBYE: Duration = Duration::from_secs(3);
/// Connections in a row that may turn out to be closed before a byte left on them.
const CLOSED_BEFORE: u32 = 8;
/// Longest wait for the head of an answer to a notification or an answer.
const TAKEN: Duration = Duration::from_secs(30);

/// The way to one server, and the session there.
pub(super) struct Http(Arc<Inner>);

struct Inner {
    server: Arc<str>,
    target: Target,
    /// Without its query, which may hold a key.
    shown: String,
    /// Whether errors name flags instead of keys.
    in_flags: bool,
    /// What should be there, in words.
    kind: &'static str,
    configured: HeaderMap,
    client: HttpClient,
    limits: Limits,
    /// For exchanges that belong to no call.
    outgoing: Arc<dyn Outgoing>,
    session: Mutex<Session>,
    inbox: OnceLock<Weak<Inbox>>,
    stop: CancellationToken,
    closed: AtomicBool,
    tracker: TaskTracker,
    runtime: Handle,
}

/// What the server gave out at `initialize`.
#[derive(Clone, Default)]
struct Session {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

/// One HTTP exchange about to be made.
struct Exchange<'a> {
    method: Method,
    purpose: &'static str,
    body: Option<Bytes>,
    departure: Option<Arc<Departure>>,
    outgoing: &'a Arc<dyn Outgoing>,
    last_event: Option<&'a str>,
    /// Where to, if not to the server's URL.
    to: Option<&'a Target>,
    /// What the era wants.
    headers: HeaderMap,
}

/// Why an exchange did not come to the head of an answer.
struct Failed {
    error: UpstreamError,
    /// The address answers that nobody listens there.
    nobody_there: bool,
}

impl From<UpstreamError> for Failed {
    fn from(error: UpstreamError) -> Failed {
        Failed { error, nobody_there: false }
    }
}

impl From<Failed> for UpstreamError {
    fn from(failed: Failed) -> UpstreamError {
        failed.error
    }
}

/// What the way to a server is made of.
pub(super) struct Parts<'a> {
    pub(super) server: &'a Arc<str>,
    pub(super) config: &'a Server,
    pub(super) client: HttpClient,
    pub(super) limits: Limits,
    /// For exchanges that belong to no call.
    pub(super) outgoing: &'a Arc<dyn Outgoing>,
    pub(super) stop: CancellationToken,
    pub(super) tracker: &'a TaskTracker,
}

/// Where one exchange goes.
struct Target {
    uri: Uri,
    url: Arc<str>,
}

impl Http {
    /// Checks the address; connects to nothing yet.
    pub(super) fn new(parts: Parts<'_>) -> Result<Http, UpstreamError> {
        Inner::new(parts, "Streamable HTTP").map(|inner| Http(Arc::new(inner)))
    }

    /// Whom to tell that the session is over.
    pub(super) fn attach(&self, inbox: &Arc<Inbox>) {
        // Set once, right after it was made.
        let _ = self.0.inbox.set(Arc::downgrade(inbox));
    }
}

impl Wire for Http {
    fn request<'a>(
        &'a self,
        parcel: Parcel,
        inbox: &'a Arc<Inbox>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>> {
        Box::pin(self.0.request(parcel, inbox))
    }

    fn send<'a>(
        &'a self,
        message: Message,
        purpose: &'static str,
        outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>> {
        Box::pin(async move {
            tokio::time::timeout(TAKEN, self.0.tell(message, purpose, &outgoing)).await.unwrap_or_else(|_| {
                Err(self.0.unreachable(format!(
                    "{} did not take a message within {} s",
                    self.0.shown,
                    TAKEN.as_secs()
                )))
            })
        })
    }

    fn established(&self, head: Option<&HeaderMap>, protocol_version: &str) {
        let mut session = lock(&self.0.session);
        // A modern server that gives one out all the same does not get it back (2026-07-28, transports).
        let given = head.filter(|_| versions::modern(protocol_version).is_none());
        session.id = given.and_then(|headers| headers.get(SESSION)).cloned();
        if let Some(id) = &mut session.id {
            id.set_sensitive(true);
        }
        session.version = HeaderValue::from_str(protocol_version).ok();
    }

    fn listen(&self, inbox: &Arc<Inbox>) {
        self.0.tracker.spawn_on(stream::listen(Arc::clone(&self.0), Arc::clone(inbox)), &self.0.runtime);
    }

    fn cancels_by_leaving(&self) -> bool {
        self.0.is_modern()
    }

    fn close(&self) {
        self.0.stop.cancel();
        if self.0.closed.swap(true, Ordering::AcqRel) || lock(&self.0.session).id.is_none() {
            return;
        }
        let inner = Arc::clone(&self.0);
        self.0.tracker.spawn_on(
            async move {
                let outgoing = Arc::clone(&inner.outgoing);
                let goodbye = inner.exchange(Exchange::new(Method::DELETE, "close", &outgoing));
                // 405 is an answer as good as any: it did hear it.
                let _ = tokio::time::timeout(GOODBYE, goodbye).await;
            },
            &self.0.runtime,
        );
    }
}

impl<'a> Exchange<'a> {
    fn new(method: Method, purpose: &'static str, outgoing: &'a Arc<dyn Outgoing>) -> Exchange<'a> {
        Exchange {
            method,
            purpose,
            body: None,
            departure: None,
            outgoing,
            last_event: None,
            to: None,
            headers: HeaderMap::new(),
        }
    }
}

impl Inner {
    fn new(parts: Parts<'_>, kind: &'static str) -> Result<Inner, UpstreamError> {
        let Parts { server, config, client, limits, outgoing, stop, tracker } = parts;
        let unusable = |reason| UpstreamError::Unreachable { server: Arc::clone(server), reason };
        let url = config.url.as_deref().unwrap_or_default();
        let (uri, shown) = address::parse(url, &["http", "https"]).map_err(unusable)?;
        Ok(Inner {
            server: Arc::clone(server),
            target: Target { url: uri.to_string().into(), uri },
            shown,
            in_flags: config.in_flags,
            kind,
            configured: address::headers(&config.headers).map_err(unusable)?,
            client,
            limits,
            outgoing: Arc::clone(outgoing),
            session: Mutex::default(),
            inbox: OnceLock::new(),
            stop,
            closed: AtomicBool::new(false),
            tracker: tracker.clone(),
            runtime: Handle::current(),
        })
    }

    /// Makes one exchange, up to the head of its answer.
    async fn exchange(&self, exchange: Exchange<'_>) -> Result<Response<Decoded>, Failed> {
        let Exchange { method, purpose, body, departure, outgoing, last_event, to, headers: of_era } =
            exchange;
        let to = to.unwrap_or(&self.target);
        let name = match method {
            Method::GET => "GET",
            Method::DELETE => "DELETE",
            _ => "POST",
        };
        let draft = ExchangeDraft { purpose, method: name, url: Arc::clone(&to.url), message: body.clone() };
        let set = outgoing.exchange(draft).await;
        let set =
            set.map_err(|rejection| UpstreamError::Refused { server: Arc::clone(&self.server), rejection })?;
        let mut headers = self.configured.clone();
        put_all(&mut headers, set);
        for own in OWN {
            headers.remove(own);
        }
        strip_mirrors(&mut headers);
        put_all(&mut headers, of_era);
        headers.entry(USER_AGENT).or_insert(AGENT);
        let accept = if body.is_some() { "application/json, text/event-stream" } else { "text/event-stream" };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let session = lock(&self.session).clone();
        headers.extend(session.id.map(|id| (SESSION, id)));
        headers.extend(session.version.map(|version| (VERSION, version)));
        headers.extend(
            last_event.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok()).map(|id| (LAST_EVENT, id)),
        );

        let mut closed_before = 0;
        loop {
            let body = body.clone().map_or_else(empty, |bytes| Tracked::new(bytes, departure.clone()));
            let mut request = Request::new(body);
            *request.method_mut() = method.clone();
            *request.uri_mut() = to.uri.clone();
            *request.headers_mut() = headers.clone();
            let on = capture_connection(&mut request);
            request.body_mut().count(on.clone());
            let error = match self.client.request(request).await {
                Ok(response) => return Ok(self.readable(response, purpose)?),
                Err(error) => error,
            };
            let unsent = sent(&on).is_some_and(|sent| sent.nothing());
            if !error.is_connect() && unsent && closed_before < CLOSED_BEFORE {
                // The connection had been kept, and the server closed it. Not a byte of the request left.
                closed_before += 1;
                continue;
            }
            let left = !unsent && departure.as_ref().is_none_or(|departure| departure.left());
            let why = cause(&error);
            let before = error.is_connect() || !left || matches!(purpose, "initialize" | "probe");
            let nobody_there = error.is_connect() && is_refused(&error);
            let error = match before {
                true => self.unreachable(format!("{}: {why}", self.shown)),
                false => self.gone(format!("broke the connection ({why})"), true),
            };
            return Err(Failed { error, nobody_there });
        }
    }

    /// An answer whose body can be read: framed as everybody reads it, and compressed with what is known here.
    fn readable(
        &self,
        response: Response<Incoming>,
        purpose: &'static str,
    ) -> Result<Response<Decoded>, UpstreamError> {
        let (mut parts, body) = response.into_parts();
        let unreadable = |what: String| match purpose {
            "call" => self.gone(what, true),
            _ => self.unreachable(format!("{} {what}", self.shown)),
        };
        let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
        let framed = match (codings.next(), codings.next()) {
            (None, _) => true,
            (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
            _ => false,
        };
        if !framed {
            let what = "answered with a Transfer-Encoding that is not `chunked`: its end cannot be told";
            return Err(unreadable(what.to_owned()));
        }
        let coding = coding(&parts.headers).map_err(|name| {
            unreadable(format!(
                "answered with a body compressed with `{name}`, though it was asked for none that is"
            ))
        })?;
        parts.headers.remove(CONTENT_ENCODING);
        Ok(Response::from_parts(parts, Decoded::new(body, coding)))
    }

    /// Whether the revision in use knows no sessions and no resumption.
    fn is_modern(&self) -> bool {
        let session = lock(&self.session);
        let version = session.version.as_ref().and_then(|version| version.to_str().ok());
        version.is_some_and(|version| versions::modern(version).is_some())
    }

    async fn request(&self, parcel: Parcel, inbox: &Arc<Inbox>) -> Result<(), UpstreamError> {
        let Parcel { id, message, purpose, departure, outgoing, headers } = parcel;
        let response = self
            .exchange(Exchange {
                body: Some(message.frame()),
                departure: Some(departure),
                headers,
                ..Exchange::new(Method::POST, purpose, &outgoing)
            })
            .await?;
        let (parts, body) = response.into_parts();
        let head: Head = (parts.status.as_u16(), Arc::new(parts.headers));
        let failed = parts.status.is_client_error() || parts.status.is_server_error();
        // A refusal may be an answer as well: it is if it names the call.
        let may_answer = failed && purpose == "call";
        if is(&head.1, "text/event-stream") && (parts.status == StatusCode::OK || may_answer) {
            return stream::answer(self, id, body, &head, inbox, &outgoing).await;
        }
        if parts.status.is_redirection() || !(may_answer || is(&head.1, "application/json")) {
            let text = excerpt(body).await;
            return Err(self.refusal(purpose, Some(id), parts.status, &head.1, &text));
        }
        let bytes = match whole(body, self.limits.bytes).await {
            Ok(bytes) => bytes,
            Err(Incomplete::TooLong) => return Err(self.too_long()),
            Err(Incomplete::Broken(why)) => {
                return Err(self.gone(format!("broke off its answer ({why})"), true));
            }
        };
        let named = may_answer && names_a_request(&bytes, &self.limits);
        if !parts.status.is_success() && !named {
            let answer = Message::parse(bytes.clone(), &self.limits, Source::Server);
            let text = start_of(&bytes);
            let proper = matches!(&answer, Ok(answer) if answer.kind() == Kind::Error);
            let unauthorized = matches!(parts.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if !proper || unauthorized || self.is_dead(parts.status, &text) {
                return Err(self.refusal(purpose, Some(id), parts.status, &head.1, &text));
            }
        }
        if inbox.text(Origin::Call(id), bytes, &self.limits, Some(&head)) {
            Ok(())
        } else {
            Err(self.gone("answered something else than what it was asked".to_owned(), true))
        }
    }

    /// Sends what has no answer.
    async fn tell(
        &self,
        message: Message,
        purpose: &'static str,
        outgoing: &Arc<dyn Outgoing>,
    ) -> Result<(), UpstreamError> {
        let body = Some(message.frame());
        let response =
            self.exchange(Exchange { body, ..Exchange::new(Method::POST, purpose, outgoing) }).await?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(());
        }
        let text = excerpt(body).await;
        Err(self.refusal(purpose, None, parts.status, &parts.headers, &text))
    }
}

/// Whether a body is a message, or several, that says whose answer it is: then it is that, whatever status
/// it came with, and no sign that a session is over.
fn names_a_request(body: &Bytes, limits: &Limits) -> bool {
    if is_array(body) {
        return true;
    }
    match Message::parse(body.clone(), limits, Source::Server) {
        Ok(message) => message.id().is_some_and(|id| id != b"null"),
        Err(violation) => violation.id.is_some_and(|id| &*id != b"null"),
    }
}

/// The beginning of a body, as text.
fn start_of(body: &Bytes) -> String {
    String::from_utf8_lossy(body.get(..4096).unwrap_or(body)).into_owned()
}

/// Removes what mirrors the body in the modern era: it is made from the body, and from nothing else.
fn strip_mirrors(headers: &mut HeaderMap) {
    let mirrors = |name: &HeaderName| {
        let name = name.as_str();
        name == names::METHOD || name == names::NAME || name.starts_with(names::PARAM_PREFIX)
    };
    let found: Vec<HeaderName> = headers.keys().filter(|name| mirrors(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Puts `more` in place of what `headers` has under the same names.
pub(super) fn put_all(headers: &mut HeaderMap, more: HeaderMap) {
    let mut current = None;
    for (name, value) in more {
        match (name, &current) {
            (Some(name), _) => {
                headers.insert(name.clone(), value);
                current = Some(name);
            }
            (None, Some(name)) => {
                headers.append(name.clone(), value);
            }
            (None, None) => {}
        }
    }
}

fn is(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}
