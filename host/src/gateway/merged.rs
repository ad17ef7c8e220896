//! Several servers behind one entrance: lists are merged, names say whose they are, and every call goes
//! to one server through that server's own chain.
//!
//! A tool or prompt is `{server}__{name}`; resources keep their URIs, which also stand in results. What
//! cannot be told apart between servers (tasks, methods of extensions) is not offered here.

mod listen;
mod lists;
mod said;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::Gateway;
use crate::filter::{Caller, ItemKind, Outcome};
use crate::jsonrpc::{self, Document, Kind, Message};
use crate::protocol::methods::{DISCOVER, LISTEN};
use crate::protocol::tasks::not_as_a_task;
use crate::protocol::{errors, meta};
use crate::proxy::methods::{self, Subject};
use crate::proxy::{CallScope, Joining, Link, Opening, rescue, without_tasks};

/// Stands between a server's name and that of its tool. No server's name contains it.
const SEPARATOR: &str = "__";
/// How long what asks all servers waits for each of them: one that hangs must not hold the others.
const EACH: Duration = Duration::from_secs(15);

/// A client's standing on several servers.
pub struct Merged {
    gateway: Arc<Gateway>,
    parts: Vec<Part>,
    /// None in the legacy era, where every part was opened with the session.
    joining: Option<Joining>,
    /// Whose a resource is, as the lists said. Bounded by `limits.list_items` for each server.
    uris: Mutex<HashMap<String, usize>>,
}

struct Part {
    server: Arc<str>,
    /// Of the legacy era; none if it could not be opened, or where each request joins.
    link: Option<Arc<Link>>,
}

/// Where a request goes.
struct Route {
    part: usize,
    request: Message,
}

impl Merged {
    /// Opens a session on all of these servers. One that cannot be reached is left out; what all of
    /// them say of themselves is said as one.
    ///
    /// # Errors
    /// A JSON-RPC error without id, if none can be reached.
    pub async fn open(
        gateway: Arc<Gateway>,
        servers: Vec<Arc<str>>,
        opening: Opening,
    ) -> Result<(Merged, Bytes), Message> {
        let Opening { session, caller, params, downlink, .. } = opening;
        let opened = join_all(servers.into_iter().map(|server| {
            let opening = Opening {
                server: server.clone(),
                session: session.clone(),
                caller: caller.clone(),
                params: params.clone(),
                downlink: downlink.clone(),
            };
            let gateway = gateway.clone();
            async move {
                let opened = tokio::time::timeout(EACH, gateway.open(opening)).await;
                let opened = opened.unwrap_or_else(|_| Err(too_late(&server)));
                (server, opened)
            }
        }))
        .await;
        let (mut parts, mut said, mut refused) = (Vec::new(), Vec::new(), None);
        for (server, opened) in opened {
            let link = match opened {
                Ok((link, result)) => {
                    said.push((server.clone(), result));
                    Some(link)
                }
                // Why was logged where it failed.
                Err(error) => {
                    refused.get_or_insert(error);
                    None
                }
            };
            parts.push(Part { server, link });
        }
        if let (true, Some(error)) = (said.is_empty(), refused) {
            return Err(error);
        }
        let merged = Merged { gateway, parts, joining: None, uris: Mutex::default() };
        Ok((merged, said::initialized(&said)))
    }

    /// For one request of the modern era.
    pub fn join(gateway: Arc<Gateway>, servers: Vec<Arc<str>>, joining: Joining) -> Merged {
        let parts = servers.into_iter().map(|server| Part { server, link: None }).collect();
        Merged { gateway, parts, joining: Some(joining), uris: Mutex::default() }
    }

    /// Answers one request. None if it was cancelled.
    pub async fn call(&self, request: Message, scope: CallScope) -> Option<Message> {
        let id = Bytes::copy_from_slice(request.id().unwrap_or(b"null"));
        let method = request.method().unwrap_or_default();
        let row = methods::find(method);
        let answer = match (row.subject, method) {
            _ if !row.eras.include(self.joining.is_some()) => Err(rescue::unknown_method(method)),
            (_, DISCOVER) => self.discover(&request, &scope).await,
            (_, LISTEN) => return self.listen(request, scope).await,
            (_, "logging/setLevel") => return self.tell_level(request, scope).await,
            (Subject::List(list), _) if list.kind != ItemKind::Task => {
                match self.list(list, &request, &scope).await {
                    Some(answer) => answer,
                    None => return None,
                }
            }
            (Subject::Named(ItemKind::Resource, _), _) => return self.resource(request, scope).await,
            (Subject::Named(ItemKind::Tool | ItemKind::Prompt, _) | Subject::Reference, _) => {
                match self.route(row, request) {
                    Ok(Some(Route { part, request })) => return self.pass(part, request, scope).await,
                    Ok(None) => Err(rescue::unknown_method("completion/complete")),
                    Err(Unrouted::Resource(request)) => return self.resource(request, scope).await,
                    Err(Unrouted::Unknown(outcome)) => Err(outcome),
                }
            }
            _ => Err(rescue::unknown_method(method)),
        };
        Some(match answer {
            Ok(message) => message.with_id(&id),
            Err(Outcome::Success(result)) => Message::response(&id, &result),
            Err(Outcome::Failure(error)) => rescue::message(Some(&id), &error),
        })
    }

    /// Passes a notification on to all. Progress belongs to the question of one server, and whose that
    /// was is not known here.
    pub async fn notify(&self, notification: Message, caller: Arc<Caller>) {
        if notification.method() == Some(crate::protocol::methods::PROGRESS) {
            return;
        }
        join_all(self.parts.iter().filter_map(|part| part.link.as_ref()).map(|link| {
            let (notification, caller) = (notification.clone(), caller.clone());
            async move { link.notify(notification, caller).await }
        }))
        .await;
    }

    /// Tells the client that lists may look different now: each kind once for every server.
    pub fn lists_changed(&self) {
        for link in self.parts.iter().filter_map(|part| part.link.as_ref()) {
            link.lists_changed();
        }
    }

    /// Ends it on all servers.
    pub fn close(&self) {
        for link in self.parts.iter().filter_map(|part| part.link.as_ref()) {
            link.close();
        }
    }

    /// The way to one of the servers.
    async fn link(&self, part: usize) -> Result<Arc<Link>, Message> {
        let Some(part) = self.parts.get(part) else {
            return Err(Message::error(None, errors::INTERNAL, "no such server", None));
        };
        match (&part.link, &self.joining) {
            (Some(link), _) => Ok(link.clone()),
            (None, Some(joining)) => {
                self.gateway.join(Joining { server: part.server.clone(), ..joining.clone() }).await
            }
            (None, None) => {
                let text = format!("server `{}` could not be reached when this session began", part.server);
                Err(Message::error(None, errors::INTERNAL, &text, None))
            }
        }
    }

    /// Passes a request on to one server. None of them is told that the client knows tasks, or wants
    /// one: what they return could not be asked for here.
    async fn pass(&self, part: usize, request: Message, scope: CallScope) -> Option<Message> {
        let request = not_as_a_task(without_tasks(&request));
        let id = Bytes::copy_from_slice(request.id().unwrap_or(b"null"));
        match self.link(part).await {
            Ok(link) => link.call(request, scope).await,
            Err(error) => Some(error.with_id(&id)),
        }
    }

    /// The server that a name says, and the request with the name that this server knows.
    fn route(&self, row: &methods::Row, request: Message) -> Result<Option<Route>, Unrouted> {
        let named = methods::named(row, &request);
        let named = named.map_err(|what| Unrouted::Unknown(rescue::invalid_params(what)))?;
        let Some((kind, visible)) = named else { return Ok(None) };
        if matches!(kind, ItemKind::Resource | ItemKind::ResourceTemplate) {
            return Err(Unrouted::Resource(request));
        }
        let found = visible.split_once(SEPARATOR).and_then(|(server, name)| {
            let part = self.parts.iter().position(|part| *part.server == *server)?;
            Some((part, name))
        });
        let Some((part, name)) = found else {
            return Err(Unrouted::Unknown(rescue::unknown(kind, &visible)));
        };
        let request = match row.subject {
            Subject::Named(_, param) => request.with_param(param, &jsonrpc::escape(name)),
            _ => {
                let params = request.params().unwrap_or_else(|| Bytes::from_static(b"{}"));
                let mut params = Document::new(params, self.gateway.server_json_limits());
                params
                    .set_text(methods::reference_at(&request), name)
                    .map_err(|error| Unrouted::Unknown(rescue::invalid_params(&error.to_string())))?;
                request.with_params(params.bytes())
            }
        };
        Ok(Some(Route { part, request }))
    }

    /// A request about a resource goes to the server that listed it; where none did, to the first that
    /// knows it, in the order of the configuration.
    async fn resource(&self, request: Message, scope: CallScope) -> Option<Message> {
        let uri = match methods::named(methods::find(request.method().unwrap_or_default()), &request) {
            Ok(Some((_, uri))) => uri,
            Ok(None) => String::new(),
            Err(what) => {
                let Outcome::Failure(error) = rescue::invalid_params(what) else { return None };
                return Some(rescue::message(request.id(), &error));
            }
        };
        if self.listed(&uri).is_none() {
            self.index_resources(&request, &scope).await?;
        }
        if let Some(part) = self.listed(&uri) {
            return self.pass(part, request, scope).await;
        }
        let mut last = None;
        for part in 0..self.parts.len() {
            let answer = self.pass(part, request.clone(), scope.clone()).await?;
            let code = answer.error_member("code").map(<[u8]>::to_vec);
            let unknown = matches!(code.as_deref(), Some(b"-32002" | b"-32602" | b"-32601"));
            if answer.kind() == Kind::Result || !unknown {
                return Some(answer);
            }
            // That a server has no such method says less than that it has no such resource.
            if last.is_none() || code.as_deref() != Some(b"-32601") {
                last = Some(answer);
            }
        }
        last
    }

    /// Finds out whose the resources are. None if it was cancelled.
    async fn index_resources(&self, request: &Message, scope: &CallScope) -> Option<()> {
        let list = Message::request(b"0", methods::RESOURCES.method, None);
        let list = match request.param("_meta") {
            // Its progress is not the client's.
            Some(own) => list.with_param("_meta", own).with_meta(meta::PROGRESS_TOKEN, None),
            None => list,
        };
        // What it says is in the index now.
        let _ = self.list(methods::RESOURCES, &list, scope).await?;
        Some(())
    }

    fn listed(&self, uri: &str) -> Option<usize> {
        self.uris.lock().unwrap_or_else(PoisonError::into_inner).get(uri).copied()
    }

    /// Sets the log level on every server that logs.
    async fn tell_level(&self, request: Message, scope: CallScope) -> Option<Message> {
        let logging = self.parts.iter().filter_map(|part| part.link.as_ref());
        let logging = logging.filter(|link| link.has_capability("logging"));
        let answers = join_all(logging.map(|link| link.call(request.clone(), scope.clone()))).await;
        let mut answers: Vec<Message> = answers.into_iter().flatten().collect();
        if answers.is_empty() {
            let Outcome::Failure(error) = rescue::unknown_method("logging/setLevel") else { return None };
            return (!scope.cancel.is_cancelled()).then(|| rescue::message(request.id(), &error));
        }
        let at = answers.iter().position(|answer| answer.kind() == Kind::Result).unwrap_or_default();
        Some(answers.swap_remove(at))
    }
}

fn too_late(server: &str) -> Message {
    let seconds = EACH.as_secs();
    tracing::warn!(server, "left out where servers are merged: no answer within {seconds} s");
    let text = format!("server `{server}` did not answer within {seconds} s");
    Message::error(None, errors::INTERNAL, &text, None)
}

/// Why a request has no server by its name.
enum Unrouted {
    /// It is about a resource.
    Resource(Message),
    Unknown(Outcome),
}
