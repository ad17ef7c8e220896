//! A server of the modern era, as a client of the legacy one sees it: with a handshake, a session that
//! remembers things, and questions that are asked.

mod calls;
mod changes;
mod handshake;
mod questions;
mod results;
mod rounds;
mod tasks;
mod told;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use calls::Way;
use changes::{Changes, News, Refused};
use handshake::Client;
use results::Definitions;
use tasks::Kept;

use super::{lock, made, timestamp, unguessable};
use crate::jsonrpc::{self, Message};
use crate::protocol::rounds::without_answers;
use crate::protocol::tasks::not_as_a_task;
use crate::protocol::{errors, meta, methods, versions};
use crate::proxy::Wanted;
use crate::upstream::{
    Connection, Handshake, Hello, Lease, Outgoing, Reply, Subscription, UpstreamCall, UpstreamError,
    Upstreams, known_level,
};

/// A connection for a client of the legacy era: the server's own where it speaks that, and else one of
/// these. Which of the two is known from the server alone, and remembered.
///
/// # Errors
/// As [`Upstreams::connect`].
pub(super) async fn connect(upstreams: &Arc<Upstreams>, hello: Hello) -> Result<Lease, UpstreamError> {
    let news = Arc::new(News::new(Arc::clone(&hello.downlink)));
    let mut again = true;
    loop {
        let refused = match upstreams.begin(hello.clone()).await {
            Ok(lease) => return Ok(lease),
            Err(refused) => refused,
        };
        let modern = Hello { downlink: news.clone(), ..hello.clone() };
        match upstreams.modern_instead(refused, modern).await {
            // What was remembered of it holds no more: it has to be asked again, once.
            Err(UpstreamError::OtherEra { .. }) if again => again = false,
            Err(error) => return Err(error),
            Ok(lease) => {
                let transport = lease.transport;
                let adapter = LegacyClient::new(lease, news, &hello, upstreams)?;
                return Ok(Lease::bridged(Arc::new(adapter), transport));
            }
        }
    }
}

/// One legacy client's connection to a modern server.
struct LegacyClient {
    way: Arc<Way>,
    handshake: Handshake,
    /// What it has set with `logging/setLevel`. Until then the server is not asked for log messages.
    level: Mutex<Option<&'static str>>,
    changes: Arc<Changes>,
    /// None where the server has no tasks, or the client's revision knows none.
    tasks: Option<Arc<Kept>>,
    question_time: Duration,
    closed: CancellationToken,
    modern: Lease,
}

impl LegacyClient {
    fn new(
        modern: Lease,
        news: Arc<News>,
        hello: &Hello,
        upstreams: &Upstreams,
    ) -> Result<LegacyClient, UpstreamError> {
        let connection = &modern.connection;
        let discovered = &connection.handshake().result;
        let has_tasks = handshake::has_tasks(discovered);
        let client = Client::of(hello.params.as_deref().unwrap_or_default(), has_tasks);
        let knows_tasks = has_tasks && versions::at_least(client.version, "2025-11-25");
        let of_server = upstreams.parking(&hello.server).ok_or_else(|| UpstreamError::Unreachable {
            server: Arc::clone(&hello.server),
            reason: "it is not configured".to_owned(),
        })?;
        let handshake = handshake::initialized(&hello.server, client.version, discovered, knows_tasks);
        let changes = Arc::new(Changes::new(Arc::clone(connection), news));
        changes.begin(&hello.server);
        let way = Way {
            server: Arc::clone(&hello.server),
            client,
            connection: Arc::clone(connection),
            has_tasks,
            lists_tasks: knows_tasks,
            definitions: Definitions::default(),
        };
        Ok(LegacyClient {
            way: Arc::new(way),
            handshake,
            level: Mutex::default(),
            changes,
            tasks: knows_tasks.then(|| Kept::new(upstreams.bounds(), of_server)),
            question_time: upstreams.question_time(),
            closed: CancellationToken::new(),
            modern,
        })
    }

    /// Passes a request on, asks the client what the server wants to know, and gives its answer the form
    /// that the client knows.
    async fn pass(&self, mut call: UpstreamCall) -> Result<Reply, UpstreamError> {
        call.message = self.enveloped(call.message);
        if call.message.method() != Some("tools/call") || call.message.param("task").is_none() {
            return self.way.call(call, self.question_time).await;
        }
        match &self.tasks {
            Some(tasks) => Ok(tasks.begin(&self.way, call)),
            None => {
                call.message = not_as_a_task(call.message);
                self.way.call(call, self.question_time).await
            }
        }
    }

    /// A request that says of its sender what the client said with `initialize`, and nothing else: keys
    /// of that kind in a legacy request are nobody's.
    fn enveloped(&self, message: Message) -> Message {
        let level = lock(&self.level).map(|level| format!("\"{level}\""));
        // A legacy client has asked for no further round, and what it calls so is nobody's.
        let mut message = without_answers(&message);
        message = message.with_meta(meta::CLIENT_CAPABILITIES, Some(&self.way.client.capabilities));
        for (key, value) in [
            (meta::CLIENT_INFO, self.way.client.info.as_deref()),
            (meta::LOG_LEVEL, level.as_deref().map(str::as_bytes)),
        ] {
            if value.is_some() || message.meta(key).is_some() {
                message = message.with_meta(key, value);
            }
        }
        message
    }

    fn set_level(&self, request: &Message) -> Reply {
        if !self.offers("/capabilities/logging") {
            return unknown_method("logging/setLevel");
        }
        match request.param_text("level").as_deref().and_then(known_level) {
            Some(level) => {
                *lock(&self.level) = Some(level);
                done()
            }
            None => refused(errors::INVALID_PARAMS, "Invalid params: `level` must be a log level"),
        }
    }

    /// Subscribes to a resource, or no more.
    async fn subscribe_to(&self, call: UpstreamCall, on: bool) -> Result<Reply, UpstreamError> {
        let method = if on { "resources/subscribe" } else { "resources/unsubscribe" };
        if !self.changes.offers_resources() {
            return Ok(unknown_method(method));
        }
        let Some(uri) = call.message.param_text("uri").map(std::borrow::Cow::into_owned) else {
            return Ok(refused(errors::INVALID_PARAMS, "Invalid params: `uri` must be a string"));
        };
        let changing = async {
            if on {
                self.changes.subscribe(&uri).await
            } else {
                self.changes.unsubscribe(&uri).await;
                Ok(())
            }
        };
        let changed = tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(UpstreamError::Cancelled),
            changed = changing => changed,
            () = tokio::time::sleep_until(call.deadline.into()) => {
                let reason = format!("it did not acknowledge a subscription to {:?} in time", shown(&uri));
                return Err(UpstreamError::Unreachable { server: Arc::clone(&self.way.server), reason });
            }
        };
        match changed {
            Ok(()) => Ok(done()),
            Err(Refused::Upstream(error)) => Err(error),
            Err(Refused::TooMany(most)) => {
                let text = format!("more than {most} subscriptions in one session; end some first");
                Ok(refused(errors::BUSY, &text))
            }
            Err(Refused::NotHonoured) => {
                let text = format!("server `{}` tells of no changes of {}", self.way.server, shown(&uri));
                let data = [b"{\"uri\":", &jsonrpc::escape(&uri)[..], b"}"].concat();
                Ok(made(Message::error(Some(b"0"), errors::RESOURCE_NOT_FOUND, &text, Some(&data))))
            }
        }
    }

    fn offers(&self, at: &str) -> bool {
        jsonrpc::get(&self.handshake.result, at).is_some_and(|raw| raw.starts_with(b"{"))
    }
}

impl Connection for LegacyClient {
    fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    fn call(&self, call: UpstreamCall) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        Box::pin(async move {
            if let Some(error) = self.closed() {
                return Err(error);
            }
            let method = call.message.method().unwrap_or_default();
            if let (Some(tasks), "tasks/get" | "tasks/result" | "tasks/cancel") = (&self.tasks, method) {
                return tasks.answer(call).await;
            }
            match method {
                methods::PING => Ok(done()),
                "logging/setLevel" => Ok(self.set_level(&call.message)),
                "resources/subscribe" => self.subscribe_to(call, true).await,
                "resources/unsubscribe" => self.subscribe_to(call, false).await,
                method if is_of_neither(method) => Ok(unknown_method(method)),
                _ => self.pass(call).await,
            }
        })
    }

    fn notify(
        &self,
        notification: Message,
        outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'_, Result<(), UpstreamError>> {
        // What this era's specification has, the other has not: a changed list of roots is asked for with
        // the next question, and progress belongs to questions that were never on the wire.
        let method = notification.method().unwrap_or_default();
        if methods::NOTIFICATIONS.contains(&method)
            || matches!(method, methods::CANCELLED | methods::INITIALIZED)
        {
            return Box::pin(std::future::ready(self.closed().map_or(Ok(()), Err)));
        }
        self.modern.connection.notify(notification, outgoing)
    }

    fn subscribe(&self, _wanted: Wanted) -> BoxFuture<'_, Result<Subscription, UpstreamError>> {
        // As a legacy server: it tells without being asked.
        let speaks = vec![self.handshake.protocol_version.clone()];
        let error = UpstreamError::OtherEra { server: Arc::clone(&self.way.server), speaks };
        Box::pin(std::future::ready(Err(error)))
    }

    fn wants_definitions(&self) -> bool {
        self.modern.connection.wants_definitions()
    }

    fn has_parked(&self) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| tasks.len() > 0)
    }

    fn closed(&self) -> Option<UpstreamError> {
        self.modern.connection.closed().or_else(|| {
            let reason = "was disconnected by Lockgate".to_owned();
            let server = Arc::clone(&self.way.server);
            self.closed.is_cancelled().then_some(UpstreamError::Gone { server, reason, may_have_run: false })
        })
    }

    fn close(&self) {
        // The connection behind it may be others' as well; it ends with the last who holds it.
        self.closed.cancel();
        if let Some(tasks) = &self.tasks {
            tasks.close();
        }
    }
}

impl Drop for LegacyClient {
    fn drop(&mut self) {
        self.close();
    }
}

/// Requests that a server of the modern era has for its own clients only, or that only a legacy server
/// with other abilities has.
fn is_of_neither(method: &str) -> bool {
    methods::LEGACY_ONLY.contains(&method)
        || matches!(method, methods::DISCOVER | methods::LISTEN)
        || method.starts_with("tasks/")
}

fn done() -> Reply {
    made(Message::response(b"0", b"{}"))
}

fn refused(code: i32, text: &str) -> Reply {
    made(Message::error(Some(b"0"), code, text, None))
}

fn unknown_method(method: &str) -> Reply {
    refused(errors::METHOD_NOT_FOUND, &format!("Method not found: {method}"))
}

/// What somebody wrote, for a sentence: bounded and without control characters.
fn shown(text: &str) -> String {
    text.chars().take(200).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests;
