//! News of changes: a legacy client is told of lists without asking, and of the resources that it
//! subscribed to; a modern server tells who listens, and what for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::lock;
use crate::jsonrpc::{self, Document, Limits, Message};
use crate::protocol::{errors, meta};
use crate::proxy::{Downlink, Wanted};
use crate::upstream::{Connection, Subscription, UpstreamError};

/// Resources that one session may be subscribed to: as many as are subscribed to again after a
/// reconnection.
const MOST: usize = 1_000;

/// What a modern server tells of that belongs to no call, on its way to one legacy client.
pub(super) struct News {
    client: Arc<dyn Downlink>,
    /// The resources that the client hears of. The connection may be others' as well.
    resources: Mutex<Wanted>,
}

impl News {
    pub(super) fn new(client: Arc<dyn Downlink>) -> News {
        News { client, resources: Mutex::default() }
    }

    fn hear(&self, uri: &str) {
        lock(&self.resources).uris.insert(uri.to_owned());
    }

    fn forget(&self, uri: &str) {
        lock(&self.resources).uris.remove(uri);
    }
}

impl Downlink for News {
    fn notify(&self, notification: Message) {
        let passes = match notification.method().unwrap_or_default() {
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/message" => true,
            "notifications/resources/updated" => lock(&self.resources).hears(&notification),
            _ => false,
        };
        if passes {
            self.client.notify(without_subscription(notification));
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        Box::pin(std::future::ready(unasked(&request)))
    }

    fn silence(&self) -> Option<Duration> {
        self.client.silence()
    }

    fn give_way(&self) -> bool {
        self.client.give_way()
    }
}

/// A notification without the name of a subscription that its client knows nothing of.
pub(super) fn without_subscription(notification: Message) -> Message {
    if notification.meta(meta::SUBSCRIPTION_ID).is_none() {
        return notification;
    }
    let stripped = notification.with_meta(meta::SUBSCRIPTION_ID, None);
    match (stripped.param("_meta"), stripped.params()) {
        (Some(b"{}"), Some(params)) => {
            let mut params = Document::new(params, Limits::default());
            // Removing makes nothing larger, so no limit is in its way.
            let _ = params.remove("/_meta");
            stripped.with_params(params.bytes())
        }
        _ => stripped,
    }
}

/// The answer to a request of a server whose era has none.
pub(super) fn unasked(request: &Message) -> Message {
    let why = "servers of this revision ask with their results";
    Message::error(request.id(), errors::METHOD_NOT_FOUND, why, None)
}

/// Why there is no subscription to a resource.
#[derive(Debug)]
pub(super) enum Refused {
    Upstream(UpstreamError),
    /// The session has this many already.
    TooMany(usize),
    /// The server listed what it tells of, and this was not there.
    NotHonoured,
}

/// What one session is told of.
pub(super) struct Changes {
    modern: Arc<dyn Connection>,
    news: Arc<News>,
    /// The lists whose changes the server tells of.
    lists: Wanted,
    resources: bool,
    /// Held while the server is asked: subscriptions are made one after the other.
    held: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    uris: BTreeSet<String>,
    subscription: Option<Subscription>,
}

impl Changes {
    pub(super) fn new(modern: Arc<dyn Connection>, news: Arc<News>) -> Changes {
        let said = &modern.handshake().result;
        let lists = Wanted::lists().offered(said);
        let resources = jsonrpc::get(said, "/capabilities/resources/subscribe") == Some(b"true");
        Changes { modern, news, lists, resources, held: tokio::sync::Mutex::default() }
    }

    /// Whether the server tells of single resources.
    pub(super) fn offers_resources(&self) -> bool {
        self.resources
    }

    /// Asks to be told of lists, in the background: nobody waits for it, and a session without it works.
    pub(super) fn begin(self: &Arc<Self>, server: &Arc<str>) {
        if self.lists.is_empty() {
            return;
        }
        // It ends with the connection, which ends with the last who holds that.
        let (changes, server) = (Arc::downgrade(self), Arc::clone(server));
        tokio::spawn(async move {
            let Some(changes) = changes.upgrade() else { return };
            let mut held = changes.held.lock().await;
            if held.subscription.is_some() {
                return;
            }
            match changes.modern.subscribe(changes.lists.clone()).await {
                Ok(subscription) => held.subscription = Some(subscription),
                Err(error) => {
                    tracing::warn!(server = &*server, %error, "a legacy client will not be told of changed lists");
                }
            }
        });
    }

    /// From now on the client is told of that resource.
    pub(super) async fn subscribe(&self, uri: &str) -> Result<(), Refused> {
        let mut held = self.held.lock().await;
        if held.uris.contains(uri) {
            return Ok(());
        }
        if held.uris.len() >= MOST {
            return Err(Refused::TooMany(MOST));
        }
        // Before the server is asked: it may tell of it as soon as it has read that.
        let hearing = Hearing::begin(&self.news, uri);
        let mut wanted = Wanted { uris: held.uris.clone(), ..self.lists.clone() };
        wanted.uris.insert(uri.to_owned());
        let subscription = self.modern.subscribe(wanted).await.map_err(Refused::Upstream)?;
        if !subscription.honoured.uris.contains(uri) {
            return Err(Refused::NotHonoured);
        }
        hearing.keep();
        held.uris.insert(uri.to_owned());
        held.subscription = Some(subscription);
        Ok(())
    }

    /// From now on the client is not told of that resource any more. That much is certain whatever the
    /// server does about it.
    pub(super) async fn unsubscribe(&self, uri: &str) {
        let mut held = self.held.lock().await;
        if !held.uris.remove(uri) {
            return;
        }
        self.news.forget(uri);
        let wanted = Wanted { uris: held.uris.clone(), ..self.lists.clone() };
        if wanted.is_empty() {
            held.subscription = None;
            return;
        }
        match self.modern.subscribe(wanted).await {
            Ok(subscription) => held.subscription = Some(subscription),
            Err(error) => {
                tracing::debug!(%error, "a server is still asked for news of one resource too many")
            }
        }
    }
}

/// Hears of a resource while the server is asked for it, and no longer unless kept.
struct Hearing<'a> {
    news: &'a News,
    uri: &'a str,
    kept: bool,
}

impl<'a> Hearing<'a> {
    fn begin(news: &'a News, uri: &'a str) -> Hearing<'a> {
        news.hear(uri);
        Hearing { news, uri, kept: false }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.news.forget(self.uri);
        }
    }
}
