//! One HTTP request: everything that is checked before a message is acted upon, in order.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{EXPECT, ORIGIN};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use hyper::body::{Body, Incoming};

use super::entrance::{self, Door, Entrance};
use super::refusals::Refused;
use super::{Accepts, Connection, HttpFront, Reply, body, cors, guard, head, reply};
use crate::downstream::era::{self, Era};
use crate::downstream::legacy::{self, Posted, Visitor};
use crate::downstream::{modern, sse};
use crate::filter::RequestHead;
use crate::jsonrpc::{Limits, Message, Source, is_array};
use crate::protocol::{headers, meta, versions};
use crate::requester::Requester;

impl HttpFront {
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Result<Reply, Infallible> {
        let busy = connection.pace.begin();
        let (head, mut body) = request.into_parts();
        let (method, path, peer) = (head.method.clone(), head.uri.path().to_owned(), connection.peer);
        let waits = head.headers.contains_key(EXPECT);
        let front = self.clone();
        let routed = self.routed(head, &mut body, connection).await;
        let mut reply = routed.unwrap_or_else(|refusal| *refusal);
        if let Some(Refused(reason)) = reply.extensions_mut().remove() {
            front.refusals.say(peer, reply.status(), &method, &path, &reason);
            // A client that waits to be asked for its body sends none after a refusal.
            if !body.is_end_stream() && !waits {
                front.drop_slowly(body);
            }
        }
        reply.body_mut().hold(busy);
        Ok(reply)
    }

    /// Takes in the rest of a request beside its answer, so that the answer arrives.
    fn drop_slowly(&self, rest: Incoming) {
        let (ending, limits) = (self.ending.clone(), self.endpoint.config().limits);
        tokio::spawn(async move {
            tokio::select! {
                () = body::linger(rest, &limits) => {}
                () = ending.cancelled() => {}
            }
        });
    }

    /// The error is an answer as well: one that came before any message was acted upon.
    async fn routed(
        self: Arc<Self>,
        head: http::request::Parts,
        body: &mut Incoming,
        connection: Arc<Connection>,
    ) -> Result<Reply, Box<Reply>> {
        let config = self.endpoint.config();
        guard::check(&head.headers, &head.uri, connection.local.ip(), &config.http)
            .map_err(|text| reply::refuse(StatusCode::FORBIDDEN, &text))?;
        let reader = guard::reader(&head.headers, &config.http);
        let mut routed = self.admitted(head, body, connection, reader.is_some()).await;
        if let Some(origin) = reader {
            cors::expose(routed.as_mut().unwrap_or_else(|refusal| refusal), origin);
        }
        routed
    }

    /// A request that may come from where it comes. `page`: from a web page that may read the answer.
    async fn admitted(
        self: Arc<Self>,
        mut head: http::request::Parts,
        body: &mut Incoming,
        connection: Arc<Connection>,
        page: bool,
    ) -> Result<Reply, Box<Reply>> {
        let config = self.endpoint.config();
        head::check_framing(&head.headers)
            .map_err(|text| reply::refuse(StatusCode::NOT_IMPLEMENTED, text))?;
        let path = head.uri.path();
        if let Some(health) = self.health(path, &head.method) {
            return Ok(health);
        }
        let Entrance { server, door } = entrance::find(path, &config, self.bare.as_ref())
            .map_err(|text| reply::refuse(StatusCode::NOT_FOUND, text))?;
        if cors::is_preflight(&head.method, &head.headers) {
            if page {
                return cors::preflight(door, &head.headers);
            }
            if head.headers.contains_key(ORIGIN) {
                return Err(reply::refuse(StatusCode::FORBIDDEN, guard::no_reader(&config.http)).into());
            }
        }
        if !door.methods().split(", ").any(|method| method == head.method.as_str()) {
            return Err(reply::wrong_method(door.methods()).into());
        }
        const UNACCEPTABLE: &str = "`Accept` must list `application/json` and `text/event-stream`";
        let unacceptable = || reply::refuse(StatusCode::NOT_ACCEPTABLE, UNACCEPTABLE);
        let accepts = match head.method {
            Method::POST => {
                head::check_content(&head.headers)
                    .map_err(|text| reply::refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))?;
                match door {
                    // Nothing but a word comes back.
                    Door::Message => Accepts { json: true, events: false },
                    _ => head::accepts(&head.headers).ok_or_else(unacceptable)?,
                }
            }
            // Whatever it takes: that era has one stream per request, and no sessions to end.
            Method::GET | Method::DELETE if names_modern(&head.headers) => {
                return Err(reply::wrong_method("POST").into());
            }
            Method::GET if head::asks_for_events(&head.headers) => Accepts { json: false, events: true },
            Method::GET => {
                const UNNAMED: &str = "a stream is opened only for `Accept: text/event-stream`, by that name";
                return Err(reply::refuse(StatusCode::NOT_ACCEPTABLE, UNNAMED).into());
            }
            _ => Accepts { json: true, events: false },
        };
        let whole_head = RequestHead {
            method: head.method.as_str().to_owned(),
            path: path.to_owned(),
            server: Some(server.clone()),
            headers: head.headers.clone(),
            address: Some(connection.peer),
        };
        let authenticated = self.endpoint.authenticate(whole_head).await;
        let authenticated = authenticated.map_err(|refusal| reply::unauthenticated(&refusal))?;
        let version = single(&head.headers, headers::PROTOCOL_VERSION);
        let session = single(&head.headers, headers::SESSION_ID);
        strip(&mut head.headers, &authenticated.hidden_headers);
        let visitor = Visitor {
            front: self.clone(),
            connection,
            limits: config.limits,
            server,
            principal: authenticated.principal,
            headers: Arc::new(head.headers),
            session: None,
            accepts,
        };
        match head.method {
            Method::POST => {
                let peer = Some(visitor.connection.peer.ip());
                let requester = Requester::of(visitor.principal.as_deref(), peer);
                let share = self.in_flight.share(requester);
                let read = body::read(body, share, &config.limits).await;
                let (bytes, share) = read.map_err(|unread| reply::unread(&unread))?;
                // What this refuses as a session id or version is refused below as well.
                if is_array(&bytes)
                    && let (Ok(version), Ok(session)) = (&version, &session)
                {
                    let visitor = Visitor { session: session.clone(), ..visitor };
                    if let Some(session) = visitor.batching(version.as_deref())? {
                        return Ok(legacy::batch::post(visitor, session, bytes, share).await);
                    }
                    // It is no message, which is what the parser says of it.
                    parse(bytes, &config.limits)?;
                    return Err(reply::refuse(StatusCode::BAD_REQUEST, "an array is no message").into());
                }
                if door == Door::Message {
                    let query = head.uri.query();
                    let message = match judge(bytes, &config.limits) {
                        Ok(message) => message,
                        Err(error) => return Ok(sse::refuse(&visitor, query, error).await),
                    };
                    let version = named_by(&message, version)?;
                    return Ok(match era::legacy_only(&message, version.as_deref()) {
                        Ok(()) => sse::post(Posted { visitor, message, share }, query).await,
                        Err(error) => sse::decline(&visitor, query, &message, error).await,
                    });
                }
                let message = parse(bytes, &config.limits)?;
                let refused = |error: Message| reply::message(StatusCode::BAD_REQUEST, &error);
                let version = named_by(&message, version)?;
                match era::classify(&message, version.as_deref()).map_err(refused)? {
                    Era::Legacy => {
                        let visitor = Visitor { session: session?, ..visitor };
                        Ok(legacy::post(Posted { visitor, message, share }).await)
                    }
                    Era::Modern { version } => {
                        Ok(modern::post(Posted { visitor, message, share }, &version).await)
                    }
                }
            }
            method => {
                era::check_header(version?.as_deref())
                    .map_err(|error| reply::message(StatusCode::BAD_REQUEST, &error))?;
                if door == Door::Sse {
                    return Ok(sse::get(visitor, path));
                }
                let visitor = Visitor { session: session?, ..visitor };
                Ok(if method == Method::GET { legacy::get(visitor) } else { legacy::delete(&visitor) })
            }
        }
    }

    fn health(&self, path: &str, method: &Method) -> Option<Reply> {
        let readiness = match path {
            "/health" | "/healthz" | "/livez" => super::Readiness { ready: true, status: "ok".into() },
            "/readyz" => (self.readiness)(),
            _ => return None,
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(reply::wrong_method("GET, HEAD"));
        }
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let text = serde_json::json!({ "status": readiness.status }).to_string();
        Some(reply::json(status, text.into()))
    }
}

fn parse(bytes: Bytes, limits: &crate::config::Limits) -> Result<Message, Box<Reply>> {
    judge(bytes, limits).map_err(|error| reply::message(StatusCode::BAD_REQUEST, &error).into())
}

/// The message; or the JSON-RPC error that answers it.
fn judge(bytes: Bytes, limits: &crate::config::Limits) -> Result<Message, Message> {
    Message::parse(bytes, &law(limits), Source::Client).map_err(|violation| {
        Message::error(violation.id.as_deref(), violation.code, &format!("refused: {violation}"), None)
    })
}

/// The revision that the header names, where it counts: a message with an envelope says itself which
/// one it is written in.
fn named_by(
    message: &Message,
    header: Result<Option<String>, Box<Reply>>,
) -> Result<Option<String>, Box<Reply>> {
    if message.meta(meta::PROTOCOL_VERSION).is_some() { Ok(None) } else { header }
}

/// The bounds of a message from a client.
pub(in crate::downstream) fn law(limits: &crate::config::Limits) -> Limits {
    Limits {
        bytes: limits.client_message_bytes,
        depth: limits.message_depth,
        members: limits.message_members,
        number_bytes: 1024,
    }
}

/// The one value of a header that must not be repeated.
fn single(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Box<Reply>> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(http::HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value.to_owned())),
        _ => {
            let text = format!("the header `{name}` must be given once, in visible ASCII");
            Err(reply::refuse(StatusCode::BAD_REQUEST, &text).into())
        }
    }
}

/// Whether the head names a modern revision.
fn names_modern(head: &HeaderMap) -> bool {
    let named = head.get(headers::PROTOCOL_VERSION).and_then(|value| value.to_str().ok());
    named.is_some_and(|version| versions::modern(version).is_some())
}

/// Removes what no filter after `authenticate` may see.
fn strip(headers: &mut HeaderMap, hidden: &[String]) {
    let hidden = hidden.iter().filter_map(|name| name.parse::<HeaderName>().ok());
    for name in headers::CREDENTIALS.into_iter().map(HeaderName::from_static).chain(hidden) {
        headers.remove(name);
    }
}
