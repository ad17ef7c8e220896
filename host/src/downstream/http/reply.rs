//! Every answer of the HTTP listener, with the headers that all of them carry.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio_util::sync::DropGuard;

use super::body::Unread;
use super::in_flight::Share;
use super::pace::Busy;
use super::refusals::Refused;
use crate::downstream::sse::StreamBody;
use crate::downstream::stream::{Cut, EventBody};
use crate::gateway::Refusal;
use crate::jsonrpc::Message;
use crate::protocol::errors;

/// An answer.
pub type Reply = Response<ReplyBody>;

/// Its body.
pub struct ReplyBody {
    content: Content,
    /// Held until the body is sent or given up.
    _busy: Option<Busy>,
    /// The same; dropping it cancels the call whose answer this is.
    _leaving: Option<DropGuard>,
}

enum Content {
    /// All of it (nothing, once sent).
    Whole(Bytes),
    Events(Box<EventBody>),
    Stream(Box<StreamBody>),
}

impl ReplyBody {
    /// Notes the end of the answer where it is waited for.
    pub fn hold(&mut self, busy: Busy) {
        self._busy = Some(busy);
    }

    /// The answer counts as in flight until it is written.
    pub fn counts(&mut self, share: Share) {
        if let Content::Whole(bytes) = &mut self.content {
            *bytes = share.with(std::mem::take(bytes));
        }
    }

    /// Cancels a call when the client stops reading its answer.
    pub fn cancels(&mut self, leaving: DropGuard) {
        self._leaving = Some(leaving);
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Events(events) => Pin::new(events).poll_frame(cx),
            Content::Stream(stream) => Pin::new(stream).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Events(_) | Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// JSON text with a status.
pub fn json(status: StatusCode, text: Bytes) -> Reply {
    reply(status, Some("application/json"), "no-store", Content::Whole(text))
}

/// A JSON-RPC message with a status.
pub fn message(status: StatusCode, message: &Message) -> Reply {
    json(status, message.bytes().clone())
}

/// Nothing but a status.
pub fn empty(status: StatusCode) -> Reply {
    reply(status, None, "no-store", Content::Whole(Bytes::new()))
}

/// A refusal that an HTTP status says best: a JSON-RPC error without id, for nothing was read yet.
pub fn refuse(status: StatusCode, text: &str) -> Reply {
    let mut refusal = message(status, &Message::error(None, errors::by_status(status.as_u16()), text, None));
    refusal.extensions_mut().insert(Refused(text.to_owned()));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    refusal
}

/// A session that is not there (any more), or belongs to somebody else: the same answer for all of them.
/// `what` is said of it in the log.
///
/// Without the id of the request: whoever finds it in an answer takes the session for alive, whatever the status.
pub fn no_session(text: &str, what: &str) -> Reply {
    let error = Message::error(None, errors::SESSION_NOT_FOUND, text, None);
    let mut refusal = message(StatusCode::NOT_FOUND, &error);
    refusal.extensions_mut().insert(Refused(format!("no such session ({what})")));
    refusal
}

/// A body that was not read.
pub fn unread(unread: &Unread) -> Reply {
    let status = match unread {
        Unread::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Unread::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Unread::Shed(_) => StatusCode::SERVICE_UNAVAILABLE,
        Unread::Broken => StatusCode::BAD_REQUEST,
    };
    refuse(status, &unread.to_string())
}

/// Not this method; `allowed` lists those that are.
pub fn wrong_method(allowed: &'static str) -> Reply {
    let mut reply = refuse(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed} here"));
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

/// What the `authenticate` filters refused.
pub fn unauthenticated(refusal: &Refusal) -> Reply {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut reply = refuse(status, &refusal.message);
    let challenge = refusal.challenge.as_deref().map(HeaderValue::from_str);
    if let Some(Ok(challenge)) = challenge {
        reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    reply
}

/// A message was taken; its answer comes elsewhere.
pub fn accepted() -> Reply {
    let text = Bytes::from_static(b"Accepted");
    reply(StatusCode::ACCEPTED, Some("text/plain"), "no-store", Content::Whole(text))
}

/// An event stream of one request or session of Streamable HTTP.
pub fn events(body: EventBody) -> Reply {
    event_stream(Content::Events(Box::new(body)))
}

/// The event stream of an HTTP+SSE session.
pub fn stream(body: StreamBody) -> Reply {
    event_stream(Content::Stream(Box::new(body)))
}

/// Never compressed, never buffered on the way.
fn event_stream(body: Content) -> Reply {
    let mut reply =
        reply(StatusCode::OK, Some("text/event-stream"), "no-cache, no-store, no-transform", body);
    reply.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    reply
}

fn reply(
    status: StatusCode,
    content_type: Option<&'static str>,
    cache: &'static str,
    content: Content,
) -> Reply {
    let mut reply = Response::new(ReplyBody { content, _busy: None, _leaving: None });
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        // Nothing here is a page; a browser that shows it all the same runs and frames nothing.
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    reply
}
