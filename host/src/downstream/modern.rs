//! The modern era (2026-07-28 and later) over HTTP: every request stands for itself, says who makes
//! it, and lasts as long as its client reads.

pub mod envelope;
mod headers;
mod load;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::downlink::RequestDownlink;
use super::drain;
use super::http::{self as answer, Reply, Share};
use super::legacy::{Pending, Posted, Visitor, counted};
use super::stream::{EventStream, First};
use crate::filter::Caller;
use crate::jsonrpc::{Kind, Message};
use crate::protocol::{errors, methods};
use crate::proxy::{CallScope, Joining};
use crate::requester::Requester;

use load::{Going, Turn};

pub use load::Load;

/// Longest `subscriptions/listen`: it names resources, and is held as long as it lasts.
const LISTEN_BYTES: usize = 64 << 10;
/// After this long without a first message the stream is opened, so that nothing on the way takes
/// the silence for a dead connection. Longer than in the legacy era, because the status of an error
/// that comes later is lost with it.
const OPEN_STREAM_AFTER: Duration = Duration::from_secs(15);

/// What a subscription gets to end in good order when its principal expires.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Answers a POST of a message that [`classify`](super::era::classify) called modern, written in
/// `version`. Legacy headers (`Mcp-Session-Id`, `Last-Event-ID`) mean nothing here.
pub async fn post(posted: Posted, version: &str) -> Reply {
    let Posted { visitor, message, share } = posted;
    let peer = visitor.connection.peer;
    let client = headers::check(&message, version, &visitor.headers)
        .and_then(|()| envelope::read(&message, version, "streamable-http", Some(peer)));
    let caller = match client {
        Ok(client) => visitor.caller(Arc::new(client)),
        Err(error) => {
            let status = status(&error).unwrap_or(StatusCode::BAD_REQUEST);
            return answer::message(status, &error);
        }
    };
    let listens = message.method() == Some(methods::LISTEN);
    let going = if listens { Going::Subscription } else { Going::Call };
    let who = Requester::of(visitor.principal.as_deref(), Some(peer.ip()));
    let request = Accepted { caller, message, share };
    match (visitor.front.load.begin(who, going, &visitor.limits), request.message.kind()) {
        (Ok(turn), Kind::Request) => request.call(visitor, turn, listens).await,
        (Ok(turn), _) => request.notify(&visitor, turn).await,
        (Err(limit), Kind::Request) => visitor.answered(request.refused(limit)),
        (Err(limit), _) => answer::message(StatusCode::SERVICE_UNAVAILABLE, &errors::busy(None, limit)),
    }
}

/// A message that was checked.
struct Accepted {
    caller: Arc<Caller>,
    message: Message,
    share: Share,
}

impl Accepted {
    async fn call(self, visitor: Visitor, turn: Turn, listens: bool) -> Reply {
        if listens && !visitor.accepts.events {
            let text = "`subscriptions/listen` is answered with `text/event-stream` only";
            return answer::refuse(StatusCode::NOT_ACCEPTABLE, text);
        }
        if listens && self.message.bytes().len() > LISTEN_BYTES {
            let text =
                format!("`subscriptions/listen` is at most {LISTEN_BYTES} bytes long: it stays in memory");
            return answer::refuse(StatusCode::PAYLOAD_TOO_LARGE, &text);
        }
        let id = self.message.id().map(Bytes::copy_from_slice).unwrap_or_default();
        let limits = &visitor.limits;
        let cut = visitor.connection.cut.clone();
        let (stream, reader) = EventStream::new(limits.stream_buffer_bytes, visitor.accepts.events, cut);
        let cancel = CancellationToken::new();
        // A client that leaves has cancelled: this future is dropped then, or the body it returned.
        let leaving = cancel.clone().drop_guard();
        let ending = visitor.front.ending.child_token();
        let scope = CallScope {
            caller: self.caller.clone(),
            downlink: Arc::new(RequestDownlink::new(stream.clone(), cancel.clone())),
            cancel: cancel.clone(),
            ending: ending.clone(),
        };
        let pending = Pending { stream, id: id.clone() };
        let front = visitor.front.clone();
        let (server, visited) = (visitor.server.clone(), visitor.server.clone());
        let expiry = visitor.expiry().filter(|_| listens);
        let Accepted { caller, message, share } = self;
        // What lasts must not count for ever as what is being read and answered.
        let share = Some(share).filter(|_| !listens);
        // A task, so that a panic in it is answered, and that cancelling takes its course.
        visitor.front.tasks.spawn(async move {
            let answered = async {
                let joining = Joining { server, caller, pipe: None };
                let joined = tokio::select! {
                    joined = front.endpoint.join(joining) => joined,
                    () = cancel.cancelled() => return None,
                };
                match joined {
                    Ok(standing) => standing.call(message, scope).await,
                    Err(error) => Some(error.with_id(&id)),
                }
            };
            let expired = async {
                match expiry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
                ending.cancel();
                tokio::time::sleep(END_WITHIN).await;
            };
            let answer = tokio::select! {
                answer = drain::answered(answered, &front.over, &visited, &pending.id) => answer,
                () = expired => None,
            };
            drop(turn);
            pending.stream.answer(answer, share);
        });
        let ping = Duration::from_secs(limits.ping_seconds);
        let first = tokio::select! {
            first = reader.first() => first,
            () = tokio::time::sleep(OPEN_STREAM_AFTER), if visitor.accepts.events => First::Event,
        };
        match first {
            First::Answer(Some(message)) => match status(&message) {
                Some(status) => counted(answer::message(status, &message), &reader),
                None => counted(visitor.answered(message), &reader),
            },
            First::Event => {
                let mut reply = answer::events(reader.into_body(ping, None));
                reply.body_mut().cancels(leaving);
                reply
            }
            First::Answer(None) => answer::refuse(StatusCode::SERVICE_UNAVAILABLE, "the request was ended"),
            First::Cut => answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, "the stream was cut"),
        }
    }

    async fn notify(self, visitor: &Visitor, turn: Turn) -> Reply {
        let Accepted { caller, message, share } = self;
        // Cancelling is done by leaving, and the rest is about sessions.
        let idle = [methods::CANCELLED, methods::INITIALIZED, "notifications/roots/list_changed"];
        if !message.method().is_some_and(|method| idle.contains(&method)) {
            let front = visitor.front.clone();
            let joining = Joining { server: visitor.server.clone(), caller: caller.clone(), pipe: None };
            let passed = visitor.front.tasks.spawn(async move {
                match front.endpoint.join(joining).await {
                    Ok(standing) => standing.notify(message, caller).await,
                    Err(error) => {
                        tracing::debug!(error = %error.bytes().escape_ascii(), "a notification went nowhere");
                    }
                }
                drop((share, turn));
            });
            // Waited for, so that what the client sends next does not overtake it.
            let _ = passed.await;
        }
        answer::empty(StatusCode::ACCEPTED)
    }

    /// The answer where a limit is reached.
    fn refused(&self, limit: &str) -> Message {
        let id = self.message.id();
        if self.message.method() != Some(methods::LISTEN) {
            return errors::busy(id, limit);
        }
        let text = format!("too many subscriptions: `{limit}` is reached");
        Message::error(id, errors::INTERNAL, &text, None)
    }
}

/// The HTTP status that the specification gives an error; none where it comes in band, with 200.
fn status(message: &Message) -> Option<StatusCode> {
    let code = std::str::from_utf8(message.error_member("code")?).ok()?.parse().ok()?;
    match code {
        errors::HEADER_MISMATCH | errors::MISSING_CAPABILITY | errors::UNSUPPORTED_VERSION => {
            Some(StatusCode::BAD_REQUEST)
        }
        errors::METHOD_NOT_FOUND => Some(StatusCode::NOT_FOUND),
        _ => None,
    }
}
