//! The legacy era over HTTP: sessions from `initialize` to DELETE, calls, notifications, answers.

pub mod batch;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::downlink::CallDownlink;
use super::drain;
use super::endpoint::Standing;
use super::http::{self as answer, Accepts, Connection, HttpFront, Reply, Share};
use super::in_flight::{NotBegun, Ticket};
use super::names::{self, EventIds};
use super::registry::owner;
use super::replay::{Replay, Resumed};
use super::session::{Applicant, Session};
use super::stream::{EventBody, EventStream, First, Reader};
use crate::config::Limits;
use crate::filter::{Caller, ClientInfo, Principal};
use crate::jsonrpc::{Kind, Message};
use crate::protocol::{errors, headers, methods, versions};
use crate::proxy::CallScope;

/// After this long without an answer the stream is opened, so that nothing on the way takes the
/// silence for a dead connection.
const OPEN_STREAM_AFTER: Duration = Duration::from_secs(5);

/// Who sends an HTTP request, and where to.
pub struct Visitor {
    /// The listener.
    pub front: Arc<HttpFront>,
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// As configured when it came.
    pub limits: Limits,
    /// The server of the path.
    pub server: Arc<str>,
    /// As authenticated for this request.
    pub principal: Option<Arc<Principal>>,
    /// Without credentials.
    pub headers: Arc<HeaderMap>,
    /// `Mcp-Session-Id`.
    pub session: Option<String>,
    /// What may be answered.
    pub accepts: Accepts,
}

/// A POSTed message.
pub struct Posted {
    /// Who sent it.
    pub visitor: Visitor,
    /// What.
    pub message: Message,
    /// Its share of what is in flight.
    pub share: Share,
}

/// Answers a POST.
pub async fn post(posted: Posted) -> Reply {
    let Posted { visitor, message, share } = posted;
    let method = message.method();
    if message.kind() == Kind::Request && method == Some(methods::INITIALIZE) {
        return initialize(visitor, message, share).await;
    }
    let session = match visitor.session(message.id()) {
        Ok(session) => session,
        Err(refusal) => return *refusal,
    };
    session.touch();
    match (message.kind(), method) {
        (Kind::Request, Some(methods::PING)) => {
            visitor.answered(Message::response(message.id().unwrap_or(b"null"), b"{}"))
        }
        (Kind::Request, _) => call(visitor, session, message, share).await,
        (Kind::Notification, Some(methods::CANCELLED)) => {
            session.cancel(&message);
            answer::empty(StatusCode::ACCEPTED)
        }
        // Part of the handshake, which the server has had already.
        (Kind::Notification, Some(methods::INITIALIZED)) => answer::empty(StatusCode::ACCEPTED),
        (Kind::Notification, _) => {
            pass_on(&visitor, &session, message, share).await;
            answer::empty(StatusCode::ACCEPTED)
        }
        (Kind::Result | Kind::Error, _) => {
            session.questions.answer(message);
            answer::empty(StatusCode::ACCEPTED)
        }
    }
}

/// Answers a GET: the stream for what belongs to no call or, with `Last-Event-ID`, the rest of one
/// that was lost. An id that says nothing (any more) begins anew: with nothing of what went before,
/// but told to look again.
pub fn get(visitor: Visitor) -> Reply {
    let session = match visitor.session(None) {
        Ok(session) => session,
        Err(refusal) => return *refusal,
    };
    session.touch();
    let last = visitor.headers.get(headers::LAST_EVENT_ID);
    if let Some(rest) = last.and_then(|id| resume(&visitor, &session, id.to_str().ok()?)) {
        return rest;
    }
    let ping = Duration::from_secs(visitor.limits.ping_seconds);
    let (stream, reader) =
        EventStream::new(visitor.limits.stream_buffer_bytes, true, visitor.connection.cut.clone());
    let body = visitor.kept_body(&session, reader, visitor.expiry());
    let Ok(missed) = session.unsolicited.attach(stream, ping) else {
        return answer::refuse(StatusCode::CONFLICT, "this session's stream is open already");
    };
    if (missed || last.is_some())
        && let Some(standing) = session.standing()
    {
        standing.lists_changed();
    }
    tracing::debug!(server = &*visitor.server, peer = %visitor.connection.peer, missed, "a client listens");
    answer::events(body)
}

/// The rest of the stream that the event belongs to. Of the session's own stream all of it, or none:
/// in place of what is missing a client is told to look again. Of a call's stream what there is:
/// its answer matters, not how it got there.
fn resume(visitor: &Visitor, session: &Arc<Session>, id: &str) -> Option<Reply> {
    let (stream, after) = names::event_of(visitor.front.endpoint.keys(), session.id(), id)?;
    let Resumed { reader, whole } =
        session.replay()?.resume(stream, after, visitor.connection.cut.clone())?;
    let own = session.unsolicited.resumed(reader.stream());
    if own && !whole {
        return None;
    }
    tracing::debug!(server = &*visitor.server, peer = %visitor.connection.peer, own, "a client came back");
    let until = if own { visitor.expiry() } else { None };
    Some(answer::events(visitor.body(session, reader, after, until)))
}

/// Answers a DELETE: ends the session.
pub fn delete(visitor: &Visitor) -> Reply {
    match visitor.session(None) {
        Ok(session) => {
            tracing::debug!(server = &*visitor.server, peer = %visitor.connection.peer, "a client ended its session");
            visitor.front.sessions.end(&session);
            answer::empty(StatusCode::NO_CONTENT)
        }
        Err(refusal) => *refusal,
    }
}

impl Visitor {
    /// The session it names. Unknown, ended and foreign ones get the same answer.
    fn session(&self, id: Option<&[u8]>) -> Result<Arc<Session>, Box<Reply>> {
        let Some(named) = &self.session else {
            let text = "the header `Mcp-Session-Id` is missing; `initialize` gives one";
            let error = errors::invalid_request(id, text);
            return Err(answer::message(StatusCode::BAD_REQUEST, &error).into());
        };
        self.find(named).ok_or_else(|| {
            let keys = self.front.endpoint.keys();
            let ours = names::instance_of(keys, named, &self.server, &owner(self.principal.as_deref()));
            let text = "no such session; begin a new one with `initialize`";
            let what = if ours.is_some() { "over" } else { "never given out to this caller" };
            answer::no_session(text, what).into()
        })
    }

    fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.front.sessions.find(id, &self.server, &owner(self.principal.as_deref()))
    }

    /// When what was said of the principal stops to hold; none if it never does.
    pub(super) fn expiry(&self) -> Option<Instant> {
        let at = self.principal.as_ref()?.expires_at?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Instant::now().checked_add(Duration::from_secs(at).saturating_sub(now))
    }

    /// A whole answer, as JSON or as the only event of a stream.
    pub(super) fn answered(&self, message: Message) -> Reply {
        if self.accepts.json {
            return answer::message(StatusCode::OK, &message);
        }
        let (stream, reader) = EventStream::new(0, true, self.connection.cut.clone());
        stream.finish(Some(message));
        answer::events(reader.into_body(Duration::from_secs(self.limits.ping_seconds), None))
    }

    /// A stream from its beginning, kept where the session keeps any.
    fn kept_body(&self, session: &Session, reader: Reader, until: Option<Instant>) -> EventBody {
        match session.replay() {
            Some(replay) => self.body(session, reader.kept_in(replay), 0, until),
            None => self.body(session, reader, 0, until),
        }
    }

    /// A stream after an event. Events have ids where they are kept.
    fn body(&self, session: &Session, reader: Reader, after: u64, until: Option<Instant>) -> EventBody {
        let stream = reader.kept_as();
        let body = reader.into_body(Duration::from_secs(self.limits.ping_seconds), until);
        match stream {
            Some(stream) => {
                let ids = EventIds::new(self.front.endpoint.clone(), session.id().clone(), stream);
                body.with_ids(ids, after)
            }
            None => body,
        }
    }

    /// Whoever makes the request, with the program that it says it is.
    pub(super) fn caller(&self, client: Arc<ClientInfo>) -> Arc<Caller> {
        Arc::new(Caller { principal: self.principal.clone(), client, headers: self.headers.clone() })
    }
}

async fn initialize(visitor: Visitor, message: Message, share: Share) -> Reply {
    // A stale id is what a client has that begins anew without forgetting; a living one is a mistake.
    if visitor.session.as_deref().and_then(|id| visitor.find(id)).is_some() {
        let error = errors::invalid_request(message.id(), "this session is initialized already");
        return answer::message(StatusCode::BAD_REQUEST, &error);
    }
    let front = visitor.front.clone();
    let Some(room) = front.sessions.room(owner(visitor.principal.as_deref()), &visitor.limits) else {
        return busy(message.id(), "limits.sessions");
    };
    let id = message.id().map(Bytes::copy_from_slice);
    let applicant = Applicant {
        server: visitor.server.clone(),
        transport: "streamable-http",
        principal: visitor.principal.clone(),
        address: Some(visitor.connection.peer),
        headers: visitor.headers.clone(),
    };
    let limits = visitor.limits;
    let (told, outcome) = oneshot::channel();
    // A task, because a client that leaves meanwhile must not leave half of a session behind.
    visitor.front.tasks.spawn(async move {
        let opened = Session::open(&*front.endpoint, &message, applicant).await;
        drop(share);
        let opened = match opened {
            Ok((session, answer)) => {
                if versions::at_least(&session.client().protocol_version, versions::WITH_RESUMPTION)
                    && let Some(replay) = Replay::new(&limits, front.sessions.kept().clone())
                {
                    session.keep_events(replay);
                }
                if !room.fill(session.clone()) {
                    session.end();
                }
                Ok((session, answer))
            }
            Err(error) => Err(error),
        };
        if let Err(Ok((session, _))) = told.send(opened) {
            tracing::debug!("a client left while its session opened");
            front.sessions.end(&session);
        }
    });
    match outcome.await {
        Ok(Ok((session, opened))) => {
            let mut reply = visitor.answered(opened);
            if let Ok(id) = HeaderValue::from_str(session.id()) {
                reply.headers_mut().insert(HeaderName::from_static(headers::SESSION_ID), id);
            }
            reply
        }
        Ok(Err(error)) => visitor.answered(error),
        Err(_) => answer::message(StatusCode::INTERNAL_SERVER_ERROR, &errors::internal(id.as_deref())),
    }
}

/// A call that may begin.
struct Call {
    standing: Arc<dyn Standing>,
    ticket: Ticket,
    scope: CallScope,
    /// The client's, raw.
    id: Bytes,
}

/// One that may not: status and JSON-RPC error.
struct NotCalled {
    status: StatusCode,
    answer: Message,
}

impl Call {
    fn begin(
        visitor: &Visitor,
        session: &Arc<Session>,
        message: &Message,
        stream: &Arc<EventStream>,
    ) -> Result<Call, NotCalled> {
        let id = message.id().map(Bytes::copy_from_slice).unwrap_or_default();
        let refused = |status, answer| Err(NotCalled { status, answer });
        let ticket = match session.begin(&id, visitor.limits.calls_per_session) {
            Ok(ticket) => ticket,
            // Not a 200: some clients match answers by id alone, and would take this for the first call's.
            Err(NotBegun::Duplicate) => {
                let error = errors::invalid_request(Some(&id), "a call with this id is in flight already");
                return refused(StatusCode::BAD_REQUEST, error);
            }
            Err(NotBegun::Busy) => {
                return refused(StatusCode::OK, errors::busy(Some(&id), "limits.calls_per_session"));
            }
            Err(NotBegun::Over) => {
                let error =
                    Message::error(Some(&id), errors::SESSION_NOT_FOUND, "the session has ended", None);
                return refused(StatusCode::NOT_FOUND, error);
            }
        };
        let Some(standing) = session.standing().cloned() else {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, errors::internal(Some(&id)));
        };
        let scope = CallScope {
            caller: visitor.caller(session.client().clone()),
            downlink: Arc::new(CallDownlink::new(session.clone(), stream.clone(), ticket.cancel.clone())),
            cancel: ticket.cancel.clone(),
            ending: visitor.front.ending.clone(),
        };
        Ok(Call { standing, ticket, scope, id })
    }
}

async fn call(visitor: Visitor, session: Arc<Session>, message: Message, share: Share) -> Reply {
    let cut = visitor.connection.cut.clone();
    let (stream, reader) = EventStream::new(visitor.limits.stream_buffer_bytes, visitor.accepts.events, cut);
    let Call { standing, ticket, scope, id } = match Call::begin(&visitor, &session, &message, &stream) {
        Ok(call) => call,
        Err(NotCalled { status: StatusCode::OK, answer }) => return visitor.answered(answer),
        Err(NotCalled { status, answer: error }) => return answer::message(status, &error),
    };
    let pending = Pending { stream, id };
    // A task, because in this era a client that leaves has not cancelled.
    let (over, called) = (visitor.front.over.clone(), session.clone());
    visitor.front.tasks.spawn(async move {
        let session = called;
        let answering = standing.call(message, scope);
        let answer = drain::answered(answering, &over, session.server(), &pending.id).await;
        let answer = if ticket.end() { answer } else { None };
        if pending.stream.answer(answer, Some(share)) {
            session.touch();
        }
    });
    if !visitor.accepts.json {
        return answer::events(visitor.kept_body(&session, reader, None));
    }
    let first = tokio::select! {
        first = reader.first() => first,
        () = tokio::time::sleep(OPEN_STREAM_AFTER), if visitor.accepts.events => First::Event,
    };
    match first {
        First::Answer(Some(message)) => counted(answer::message(StatusCode::OK, &message), &reader),
        // Cancelled: there is no answer, and an empty stream says so in the terms of the protocol.
        First::Answer(None) if !visitor.accepts.events => answer::empty(StatusCode::ACCEPTED),
        First::Event => answer::events(visitor.kept_body(&session, reader, None)),
        First::Answer(None) => answer::events(visitor.body(&session, reader, 0, None)),
        First::Cut => answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, "the stream was cut"),
    }
}

/// A whole answer, which counts as in flight until it is written.
pub(super) fn counted(mut reply: Reply, reader: &Reader) -> Reply {
    if let Some(share) = reader.share() {
        reply.body_mut().counts(share);
    }
    reply
}

/// A call without an answer yet. One that ends without (a panic in it) is answered all the same.
pub(super) struct Pending {
    pub(super) stream: Arc<EventStream>,
    pub(super) id: Bytes,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.stream.finish(Some(errors::internal(Some(&self.id))));
    }
}

/// Passes a notification on. Waited for, so that what the client sends next does not overtake it.
async fn pass_on(visitor: &Visitor, session: &Session, message: Message, share: impl Send + 'static) {
    let caller = visitor.caller(session.client().clone());
    if let Some(standing) = session.standing().cloned() {
        let passed = visitor.front.tasks.spawn(async move {
            standing.notify(message, caller).await;
            drop(share);
        });
        // There is nobody to tell that it failed.
        let _ = passed.await;
    }
}

fn busy(id: Option<&[u8]>, limit: &str) -> Reply {
    let mut reply = answer::message(StatusCode::SERVICE_UNAVAILABLE, &errors::busy(id, limit));
    reply.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("10"));
    reply
}
