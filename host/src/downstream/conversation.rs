//! What one client says on one pipe, whatever the pipe is: standard input, the POSTs beside an event
//! stream, a WebSocket. Messages come in one at a time; whatever goes back takes the one way out.
//! Clients of both eras talk here, and one client may talk in both.

mod modern;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::downlink::CallDownlink;
use super::drain::{self, LAST_ANSWERS};
use super::endpoint::Endpoint;
use super::era::{self, Era};
use super::http::{Share, law};
use super::in_flight::NotBegun;
use super::outlet::Outlet;
use super::pipe::Pipe;
use super::registry::Room;
use super::session::{Applicant, Session};
use crate::config::Limits;
use crate::filter::{Caller, Principal};
use crate::jsonrpc::{Kind, Message, Source, Violation, is_array, split};
use crate::protocol::{errors, methods, versions};
use crate::proxy::CallScope;
use modern::Requests;

/// Notifications of the client that may wait to be passed on.
const NOTIFICATIONS: usize = 64;

/// Where a conversation takes place.
pub struct Place {
    /// What is behind it.
    pub endpoint: Arc<dyn Endpoint>,
    /// The server it leads to.
    pub server: Arc<str>,
    /// `stdio`, `sse` or `websocket`.
    pub transport: &'static str,
    /// The socket peer.
    pub address: Option<SocketAddr>,
}

/// Who says something. On most pipes always the same; beside an event stream each POST says anew.
#[derive(Clone, Default)]
pub struct Speaker {
    /// None where nothing authenticates.
    pub principal: Option<Arc<Principal>>,
    /// Without credentials.
    pub headers: Arc<HeaderMap>,
}

/// One message of the client.
pub struct Said {
    /// What.
    pub message: Message,
    /// Who.
    pub speaker: Speaker,
    /// Its share of what is in flight, where that is counted.
    pub share: Option<Share>,
}

/// The conversation. Whoever holds it takes the messages in; [`Conversation::end`] ends it, and so
/// does dropping it, at once.
pub struct Conversation {
    place: Place,
    limits: Limits,
    pipe: Arc<Pipe>,
    tasks: TaskTracker,
    room: Option<Room>,
    open: Option<Open>,
    requests: Requests,
    /// Cancelled when calls in flight have had their time: they are answered with an error.
    over: CancellationToken,
}

/// What there is after `initialize`.
struct Open {
    session: Arc<Session>,
    /// To the one task that passes notifications on, in order.
    notifications: mpsc::Sender<(Message, Arc<Caller>)>,
}

impl Conversation {
    /// One that answers on `pipe`. Its bounds are those configured now.
    pub fn new(place: Place, pipe: Arc<Pipe>) -> Conversation {
        let limits = place.endpoint.config().limits;
        let requests = Requests::new(&place);
        let (tasks, over) = (TaskTracker::new(), CancellationToken::new());
        Conversation { place, limits, pipe, tasks, room: None, open: None, requests, over }
    }

    /// Puts the session on the books where `room` was made for it, once it opens.
    pub fn within(mut self, room: Room) -> Conversation {
        self.room = Some(room);
        self
    }

    /// Takes the bytes of one message in. What is no message is answered and changes nothing.
    pub async fn take(&mut self, bytes: Bytes, speaker: &Speaker) {
        let (law, most) = (law(&self.limits), self.limits.batch_messages as usize);
        if !(is_array(&bytes) && self.batches()) {
            return self.judged(Message::parse(bytes, &law, Source::Client), speaker).await;
        }
        match split(&bytes, &law, Source::Client, most) {
            Ok(items) => {
                for item in items {
                    match item {
                        Ok(alone) if alone.method() == Some(methods::INITIALIZE) => {
                            let error = errors::invalid_request(alone.id(), "`initialize` must come alone");
                            self.pipe.deliver(&error).await;
                        }
                        item => self.judged(item, speaker).await,
                    }
                }
            }
            Err(violation) => self.judged(Err(violation), speaker).await,
        }
    }

    /// Whether arrays are spoken here. What is in one is answered message by message: a pipe has no
    /// answer that they could share.
    fn batches(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|open| open.session.client().protocol_version == versions::WITH_BATCHES)
    }

    async fn judged(&mut self, message: Result<Message, Violation>, speaker: &Speaker) {
        match message {
            Ok(message) => self.hear(Said { message, speaker: speaker.clone(), share: None }).await,
            Err(violation) => {
                let text = format!("refused: {violation}");
                let error = Message::error(violation.id.as_deref(), violation.code, &text, None);
                self.pipe.deliver(&error).await;
            }
        }
    }

    /// Answers a message that was too large to be read.
    pub async fn refuse_large(&self) {
        let text = "the message is larger than `limits.client_message_bytes`";
        self.pipe.deliver(&errors::invalid_request(None, text)).await;
    }

    /// Takes one message in. Returns when the next one may come, which is before a call's answer.
    pub async fn hear(&mut self, said: Said) {
        if let Some(open) = &self.open {
            open.session.touch();
        }
        match era::classify(&said.message, None) {
            Ok(Era::Legacy) => self.legacy(said).await,
            Ok(Era::Modern { version }) => self.modern(said, &version).await,
            Err(refusal) if said.message.kind() == Kind::Request => self.pipe.deliver(&refusal).await,
            Err(_) => {}
        }
    }

    /// Whether there is a session.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Ends it: calls in flight have `grace` for their answers. Returns its session, if there was one.
    pub async fn end(self, grace: Duration) -> Option<Arc<Session>> {
        self.tasks.close();
        self.pipe.end();
        let done = async {
            if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() && !grace.is_zero() {
                self.over.cancel();
                let _ = tokio::time::timeout(LAST_ANSWERS, self.tasks.wait()).await;
            }
        };
        tokio::select! {
            () = done => {}
            () = self.pipe.broken().cancelled() => {}
        }
        // The rest is what dropping does.
        self.open.as_ref().map(|open| open.session.clone())
    }

    async fn legacy(&mut self, said: Said) {
        let message = &said.message;
        match (message.kind(), message.method()) {
            (Kind::Request, Some(methods::PING)) => {
                let pong = Message::response(message.id().unwrap_or(b"null"), b"{}");
                self.pipe.deliver(&pong).await;
            }
            (Kind::Request, Some(methods::INITIALIZE)) => self.initialize(said).await,
            (Kind::Request, _) => match &self.open {
                Some(open) => self.call(open, said).await,
                None => {
                    let error = errors::invalid_request(message.id(), "begin with `initialize`");
                    self.pipe.deliver(&error).await;
                }
            },
            // Part of the handshake, which the server has had already.
            (Kind::Notification, Some(methods::INITIALIZED)) => {}
            (Kind::Notification, Some(methods::CANCELLED)) => {
                // It says nothing of the era of the request that it means.
                self.requests.cancel(message);
                if let Some(open) = &self.open {
                    open.session.cancel(message);
                }
            }
            (Kind::Notification, _) => {
                if let Some(open) = &self.open {
                    open.pass_on(said);
                }
            }
            (Kind::Result | Kind::Error, _) => {
                if let Some(open) = &self.open {
                    open.session.questions.answer(said.message);
                }
            }
        }
    }

    async fn initialize(&mut self, said: Said) {
        let id = said.message.id().map(Bytes::copy_from_slice);
        if self.open.is_some() {
            let error = errors::invalid_request(id.as_deref(), "initialized already");
            return self.pipe.deliver(&error).await;
        }
        let applicant = Applicant {
            server: self.place.server.clone(),
            transport: self.place.transport,
            principal: said.speaker.principal.clone(),
            address: self.place.address,
            headers: said.speaker.headers.clone(),
        };
        let endpoint = self.place.endpoint.clone();
        // A task, because a client that leaves meanwhile must not leave half of a session behind.
        let opening = tokio::spawn(async move { Session::open(&*endpoint, &said.message, applicant).await });
        match opening.await {
            Ok(Ok((session, answer))) => {
                let kept = self.room.take().is_none_or(|room| room.fill(session.clone()));
                let open = Open::new(session);
                if !kept {
                    return self.pipe.deliver(&errors::internal(id.as_deref())).await;
                }
                // What the server said meanwhile follows the answer.
                self.pipe.deliver(&answer).await;
                let outlet: Arc<dyn Outlet> = self.pipe.clone();
                // The first and only one: it fails only if the session is over already.
                if open.session.unsolicited.attach(outlet, Duration::ZERO).is_err() {
                    self.pipe.end();
                }
                self.open = Some(open);
            }
            Ok(Err(error)) => self.pipe.deliver(&error).await,
            Err(_) => self.pipe.deliver(&errors::internal(id.as_deref())).await,
        }
    }

    async fn call(&self, open: &Open, said: Said) {
        let id = said.message.id().map(Bytes::copy_from_slice).unwrap_or_default();
        let ticket = match open.session.begin(&id, self.limits.calls_per_session) {
            Ok(ticket) => ticket,
            Err(not) => {
                let error = match not {
                    NotBegun::Duplicate => {
                        errors::invalid_request(Some(&id), "a call with this id is in flight already")
                    }
                    NotBegun::Busy => errors::busy(Some(&id), "limits.calls_per_session"),
                    NotBegun::Over => errors::invalid_request(Some(&id), "the session has ended"),
                };
                return self.pipe.deliver(&error).await;
            }
        };
        let Some(standing) = open.session.standing().cloned() else {
            return self.pipe.deliver(&errors::internal(Some(&id))).await;
        };
        let outlet: Arc<dyn Outlet> = self.pipe.clone();
        let scope = CallScope {
            caller: open.caller(&said.speaker),
            downlink: Arc::new(CallDownlink::new(open.session.clone(), outlet, ticket.cancel.clone())),
            cancel: ticket.cancel.clone(),
            ending: self.pipe.ending().clone(),
        };
        let (pipe, session) = (self.pipe.clone(), open.session.clone());
        let Said { message, mut share, .. } = said;
        let over = self.over.clone();
        self.tasks.spawn(async move {
            // A task of its own, so that a panic in it still ends with an answer.
            let calling = tokio::spawn(async move { standing.call(message, scope).await });
            let answering = async { calling.await.unwrap_or_else(|_| Some(errors::internal(Some(&id)))) };
            let answer = drain::answered(answering, &over, session.server(), &id).await;
            session.touch();
            if let Some(answer) = answer.filter(|_| ticket.end()) {
                // It counts until there is room for it among what waits for the client.
                count(&mut share, &answer);
                pipe.deliver(&answer).await;
            }
            drop(share);
        });
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.session.end();
        }
        self.pipe.close();
    }
}

impl Open {
    fn new(session: Arc<Session>) -> Open {
        let (notifications, mut waiting) = mpsc::channel::<(Message, Arc<Caller>)>(NOTIFICATIONS);
        let standing = session.standing().cloned();
        tokio::spawn(async move {
            while let (Some((message, caller)), Some(standing)) = (waiting.recv().await, &standing) {
                standing.notify(message, caller).await;
            }
        });
        Open { session, notifications }
    }

    fn pass_on(&self, said: Said) {
        let caller = self.caller(&said.speaker);
        if self.notifications.try_send((said.message, caller)).is_err() {
            tracing::debug!("dropped a notification: the server takes them too slowly");
        }
    }

    fn caller(&self, speaker: &Speaker) -> Arc<Caller> {
        Arc::new(Caller {
            principal: speaker.principal.clone(),
            client: self.session.client().clone(),
            headers: speaker.headers.clone(),
        })
    }
}

/// What counts as in flight from now on is the answer.
fn count(share: &mut Option<Share>, answer: &Message) {
    if let Some(share) = share {
        share.answered(answer.bytes().len());
    }
}
