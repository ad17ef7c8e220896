//! HTTP+SSE (2024-11-05): one event stream that is the session, and the POSTs beside it.

mod body;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::conversation::{Conversation, Place, Said, Speaker};
use super::http::{self as answer, HttpFront, Reply};
use super::legacy::{Posted, Visitor};
use super::names;
use super::outlet::lock;
use super::pipe::{Pipe, WhenFull};
use super::registry::{Owner, owner};
use crate::jsonrpc::{Kind, Message};
use crate::protocol::errors;

pub use body::StreamBody;

/// POSTed messages that wait for the one before them; the next POST waits for its answer until
/// there is room. Clients send a handful at once.
const WAITING: usize = 16;

/// The open streams, by the id in the URL that their clients post to. Bounded by the room that each
/// takes among the sessions.
#[derive(Default)]
pub struct Streams {
    open: Mutex<HashMap<Arc<str>, Listening>>,
}

/// What a POST needs of the stream beside it.
struct Listening {
    server: Arc<str>,
    owner: Owner,
    said: mpsc::Sender<Said>,
    /// For what is answered without being passed on.
    pipe: Arc<Pipe>,
}

/// Takes its stream off the list when dropped.
struct Listed {
    front: Arc<HttpFront>,
    id: Arc<str>,
}

/// Answers a GET: opens the stream, whose first event says where to post to. `path` is the one that
/// was asked for; its last segment is `sse`.
pub fn get(visitor: Visitor, path: &str) -> Reply {
    let front = visitor.front.clone();
    let Some(room) = front.sessions.room(owner(visitor.principal.as_deref()), &visitor.limits) else {
        return answer::refuse(StatusCode::SERVICE_UNAVAILABLE, "busy: `limits.sessions` is reached");
    };
    let owner = owner(visitor.principal.as_deref());
    let Some(id) = names::session_id(front.endpoint.keys(), &visitor.server, &owner) else {
        return answer::message(StatusCode::INTERNAL_SERVER_ERROR, &errors::internal(None));
    };
    let cut = WhenFull::Cut(visitor.connection.cut.clone());
    let (pipe, drain) = Pipe::new(visitor.limits.stream_buffer_bytes, cut);
    let (said, waiting) = mpsc::channel(WAITING);
    let listening = Listening { server: visitor.server.clone(), owner, said, pipe: pipe.clone() };
    lock(&front.streams.open).insert(id.clone(), listening);
    let listed = Listed { front: front.clone(), id: id.clone() };
    let place = Place {
        endpoint: front.endpoint.clone(),
        server: visitor.server.clone(),
        transport: "sse",
        address: Some(visitor.connection.peer),
    };
    let conversation = Conversation::new(place, pipe.clone()).within(room);
    front.tasks.spawn(converse(listed, conversation, pipe, waiting));
    tracing::debug!(server = &*visitor.server, peer = %visitor.connection.peer, "a client opened a stream");
    let base = path.trim_end_matches('/').strip_suffix("sse").unwrap_or(path);
    let ping = Duration::from_secs(visitor.limits.ping_seconds);
    let body = StreamBody::new(drain, &format!("{base}message?sessionId={id}"), ping, visitor.expiry());
    answer::stream(body)
}

/// Answers a POST. What it says is answered on the stream that `query` names, which must be one of
/// the same principal on the same server: an id alone opens nothing.
pub async fn post(posted: Posted, query: Option<&str>) -> Reply {
    let Posted { visitor, message, share } = posted;
    let id = message.id().map(bytes::Bytes::copy_from_slice);
    let speaker = Speaker { principal: visitor.principal.clone(), headers: visitor.headers.clone() };
    let said = match find(&visitor, query, id.as_deref()) {
        Ok((said, _)) => said,
        Err(unknown) => return *unknown,
    };
    match said.send(Said { message, speaker, share: Some(share) }).await {
        Ok(()) => answer::accepted(),
        Err(_) => no_such_stream(),
    }
}

/// Answers a POST whose message is not acted upon. A request has `error` for its answer, on the stream:
/// clients wait there (2024-11-05, transports). A refusal as an HTTP status is the end of the connection
/// to some of them, and is overlooked by others, which then wait as long as they can.
pub async fn decline(visitor: &Visitor, query: Option<&str>, message: &Message, error: Message) -> Reply {
    if message.kind() == Kind::Request {
        return refuse(visitor, query, error).await;
    }
    // Nobody waits for an answer; the id of a client's own answer is one of ours.
    match find(visitor, query, None) {
        Ok(_) => answer::accepted(),
        Err(unknown) => *unknown,
    }
}

/// The same for what is no message at all. Without an id nobody would know the answer on the stream.
pub async fn refuse(visitor: &Visitor, query: Option<&str>, error: Message) -> Reply {
    let Some(id) = error.id().filter(|id| *id != b"null") else {
        return answer::message(StatusCode::BAD_REQUEST, &error);
    };
    match find(visitor, query, Some(id)) {
        Ok((_, pipe)) => {
            pipe.deliver(&error).await;
            answer::accepted()
        }
        Err(unknown) => *unknown,
    }
}

/// The stream that the query names, if it is the visitor's.
fn find(
    visitor: &Visitor,
    query: Option<&str>,
    id: Option<&[u8]>,
) -> Result<(mpsc::Sender<Said>, Arc<Pipe>), Box<Reply>> {
    let parameters = query.unwrap_or_default().split('&');
    let named = parameters.filter_map(|parameter| parameter.strip_prefix("sessionId=")).next();
    let Some(named) = named.filter(|id| !id.is_empty()) else {
        let text = "`sessionId` is missing; post to the URL that the first event of the stream gives";
        let error = errors::invalid_request(id, text);
        return Err(answer::message(StatusCode::BAD_REQUEST, &error).into());
    };
    visitor.front.streams.find(named, visitor).ok_or_else(|| no_such_stream().into())
}

/// Unknown, ended and foreign ones get the same answer.
fn no_such_stream() -> Reply {
    answer::no_session("no such session; open a new stream", "unknown, over or another caller's")
}

/// The owner of one stream's conversation, to its end: that of the stream, in either direction.
async fn converse(
    listed: Listed,
    mut conversation: Conversation,
    pipe: Arc<Pipe>,
    mut waiting: mpsc::Receiver<Said>,
) {
    let limits = listed.front.endpoint.config().limits;
    let drain = Duration::from_secs(limits.drain_seconds);
    // A stream on which nothing is begun holds room that others need.
    let begin_by = Instant::now() + Duration::from_secs(limits.call_seconds);
    let conversing = async {
        loop {
            let next = match conversation.is_open() {
                true => waiting.recv().await,
                false => tokio::time::timeout_at(begin_by, waiting.recv()).await.ok().flatten(),
            };
            match next {
                Some(said) => conversation.hear(said).await,
                None => return Duration::ZERO,
            }
        }
    };
    let ending = listed.front.ending.clone();
    let grace = tokio::select! {
        grace = conversing => grace,
        () = pipe.broken().cancelled() => Duration::ZERO,
        () = pipe.ending().cancelled() => drain,
        () = ending.cancelled() => drain,
    };
    if let Some(session) = conversation.end(grace).await {
        listed.front.sessions.end(&session);
    }
}

impl Streams {
    /// How many are open.
    pub fn count(&self) -> usize {
        lock(&self.open).len()
    }

    fn find(&self, id: &str, visitor: &Visitor) -> Option<(mpsc::Sender<Said>, Arc<Pipe>)> {
        let open = lock(&self.open);
        let listening = open.get(id)?;
        let own =
            listening.server == visitor.server && listening.owner == owner(visitor.principal.as_deref());
        own.then(|| (listening.said.clone(), listening.pipe.clone()))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.front.streams.open).remove(&self.id);
    }
}
