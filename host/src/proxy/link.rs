//! A client's standing on one server, from `initialize` to the end of its session.
//!
//! The connection behind it may die and be made anew: what the client set up on it (log level,
//! subscriptions) is kept here and said again, so that the next call just works.

mod setup;
mod watched;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use watched::Watched;

use super::definitions::Definitions;
use super::listen::Listeners;
use super::methods::{self, Notification};
use super::notices::{self, Screened};
use super::outgoing::Filtered;
use super::{Downlink, Snapshot, cursors};
use crate::bridge;
use crate::config::{Isolation, Server};
use crate::filter::{Caller, ItemKind};
use crate::gateway::Gateway;
use crate::jsonrpc::{Message, unescape};
use crate::protocol::meta;
use crate::upstream::{Connection, Hello, Lease, Outgoing, Owner, UpstreamError};

/// What opens a [`Link`].
pub struct Opening {
    /// The server asked for.
    pub server: Arc<str>,
    /// Names the session; unguessable, never logged whole.
    pub session: Arc<str>,
    /// Who opens it.
    pub caller: Arc<Caller>,
    /// Raw `params` of `initialize`.
    pub params: Bytes,
    /// Where what belongs to no call goes.
    pub downlink: Arc<dyn Downlink>,
}

/// Who wants to make requests of the modern era, which knows no sessions.
#[derive(Clone)]
pub struct Joining {
    /// The server asked for.
    pub server: Arc<str>,
    /// Who makes the request. Its client info is what the request says of itself.
    pub caller: Arc<Caller>,
    /// Names the pipe that only this client uses (stdio, a WebSocket); none over HTTP.
    pub pipe: Option<Arc<str>>,
}

/// What belongs to one call besides its message.
#[derive(Clone)]
pub struct CallScope {
    /// Who makes it: re-authenticated with every HTTP request.
    pub caller: Arc<Caller>,
    /// Where its progress, logs and questions go.
    pub downlink: Arc<dyn Downlink>,
    /// Cancelled by `notifications/cancelled` or by whatever ends the session.
    pub cancel: CancellationToken,
    /// Cancelled when this side winds down (shutdown, an expired principal). Calls go on; one that
    /// lasts as long as its client likes (`subscriptions/listen`) answers now and is over.
    pub ending: CancellationToken,
}

/// A client's standing on one server.
pub struct Link {
    pub(super) gateway: Arc<Gateway>,
    pub(super) server: Arc<str>,
    pub(super) owner: Owner,
    /// Which server that is, whatever its name: what is sealed for clients belongs to it.
    pub(super) identity: [u8; 32],
    /// Of `initialize`; none for a link of the modern era.
    params: Option<Bytes>,
    /// Who opened it; of the modern era, who made the latest request: claims change.
    opener: Mutex<Arc<Caller>>,
    downlink: Arc<Watched>,
    listeners: Arc<Listeners>,
    /// When somebody last wanted it. Only links of the modern era, which no session owns, end for it.
    used: Mutex<Instant>,
    lease: Mutex<Option<Arc<Lease>>>,
    reconnecting: Arc<Semaphore>,
    /// Whether there was a connection before: a new one is told what was set up on it.
    connected: AtomicBool,
    definitions: Mutex<HashMap<Whose, Arc<Reading>>>,
    /// Counts list changes: what was read before one is not kept after it.
    epoch: AtomicU64,
    level: Mutex<Option<Message>>,
    /// The level that the client set itself, where others on the connection may set theirs.
    own_level: Mutex<Option<String>>,
    subscriptions: Mutex<BTreeSet<String>>,
    closed: AtomicBool,
}

/// Which definitions: those of one kind, as clients with these capabilities get them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    pub(super) kind: ItemKind,
    /// A digest of them; empty where the connection is that of one client anyway.
    pub(super) capabilities: Bytes,
}

/// Kinds of clients whose definitions are kept for one link. Programs are few; what goes beyond it is
/// read again.
const READINGS: usize = 64;

/// One reading of a server's definitions of one kind, shared by all who wait for it.
struct Reading {
    generation: u64,
    epoch: u64,
    cell: OnceCell<Arc<Definitions>>,
}

/// Subscriptions that are said again after a reconnection; beyond it they must be made anew.
const SUBSCRIPTIONS: usize = 1_000;

impl Link {
    /// Connects and initializes.
    pub(crate) async fn open(gateway: Arc<Gateway>, opening: Opening) -> Result<Arc<Link>, UpstreamError> {
        let Opening { server, session, caller, params, downlink } = opening;
        let owner = match (isolation(&gateway, &server), &caller.principal) {
            (Isolation::Shared, _) => Owner::Shared,
            (Isolation::Principal, Some(p)) => Owner::Principal(p.issuer.clone(), p.id.clone()),
            _ => Owner::Session(session),
        };
        let downlink = Screened::lasting(downlink, &server, &gateway);
        let link = Link::new(gateway, server, owner, Some(params), caller, downlink, Arc::default());
        link.connection().await?;
        Ok(link)
    }

    /// For all requests of the modern era that `owner` makes of a server. Connects when it is needed.
    pub(crate) fn joined(gateway: Arc<Gateway>, owner: Owner, joining: Joining) -> Arc<Link> {
        let listeners = Arc::new(Listeners::default());
        let Joining { server, caller, .. } = joining;
        let link = Link::new(gateway, server, owner, None, caller, listeners.clone(), listeners.clone());
        listeners.belong_to(&link);
        link
    }

    fn new(
        gateway: Arc<Gateway>,
        server: Arc<str>,
        owner: Owner,
        params: Option<Bytes>,
        opener: Arc<Caller>,
        downlink: Arc<dyn Downlink>,
        listeners: Arc<Listeners>,
    ) -> Arc<Link> {
        let shared = owner == Owner::Shared && params.is_some();
        let identity = gateway.config().servers.get(&*server).map(Server::identity).unwrap_or_default();
        let watched = Arc::new(Watched { inner: downlink, shared, logs: None, link: OnceLock::new() });
        let link = Arc::new(Link {
            gateway,
            server,
            owner,
            identity,
            params,
            opener: Mutex::new(opener),
            downlink: watched.clone(),
            listeners,
            used: Mutex::new(Instant::now()),
            lease: Mutex::new(None),
            reconnecting: Arc::new(Semaphore::new(1)),
            connected: AtomicBool::new(false),
            definitions: Mutex::default(),
            epoch: AtomicU64::new(0),
            level: Mutex::new(None),
            own_level: Mutex::new(None),
            subscriptions: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let _ = watched.link.set(Arc::downgrade(&link));
        link
    }

    /// Whom the requests of a modern client belong to: nobody in particular where nobody
    /// authenticates, for a server of this era keeps nothing between two requests.
    pub(crate) fn owner(gateway: &Gateway, joining: &Joining) -> Owner {
        // Over HTTP every exchange carries somebody's credentials: those are never shared.
        let config = gateway.config();
        let carries = config.servers.get(&*joining.server).is_some_and(|server| server.url.is_some());
        match (isolation(gateway, &joining.server), &joining.caller.principal, &joining.pipe) {
            (Isolation::Shared, Some(p), _) if carries => Owner::Principal(p.issuer.clone(), p.id.clone()),
            (Isolation::Shared, ..) => Owner::Shared,
            (_, Some(p), _) => Owner::Principal(p.issuer.clone(), p.id.clone()),
            (Isolation::Session, None, Some(pipe)) => Owner::Session(pipe.clone()),
            (_, None, _) => Owner::Shared,
        }
    }

    /// Notes who wants it now.
    pub(crate) fn touch(&self, caller: &Arc<Caller>) {
        *lock(&self.used) = Instant::now();
        *lock(&self.opener) = caller.clone();
    }

    /// Whether a call waits on it for its client to come back.
    pub(crate) fn has_parked(&self) -> bool {
        self.open_connection().is_some_and(|connection| connection.has_parked())
    }

    /// How long nobody wanted it.
    pub(crate) fn idle(&self) -> Duration {
        lock(&self.used).elapsed()
    }

    /// The server it leads to.
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// What the server itself calls the page that a sealed cursor of its list leads to: the same page has
    /// another seal each time.
    pub(crate) fn page_of(&self, caller: &Caller, method: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        cursors::of_the_server(self, caller, method, sealed)
    }

    /// Passes a notification of the client on. `notifications/cancelled` is the transport's own matter.
    pub async fn notify(self: &Arc<Self>, notification: Message, caller: Arc<Caller>) {
        let connection = match lock(&self.lease).clone() {
            Some(lease) if lease.connection.closed().is_none() => lease,
            // Whatever it is about died with the connection.
            _ => return,
        };
        let snapshot = self.gateway.snapshot();
        let method = notification.method().unwrap_or_default();
        let judged = snapshot.chain(&self.server).is_none_or(|chain| chain.judges_anything());
        match methods::notification(method) {
            Notification::Known => {}
            Notification::Extension if method == "notifications/initialized" => {
                return; // The connection said its own when it was initialized.
            }
            Notification::Extension if !judged => {}
            Notification::Extension | Notification::None => {
                tracing::debug!(server = %self.server, method = %method.escape_debug(), "dropped: no notification of a client");
                return;
            }
        }
        let Some(outgoing) = self.outgoing(&snapshot, Arc::from(method), &caller) else { return };
        let Some(chain) = snapshot.chain(&self.server) else { return };
        let Some(notification) = notices::up(chain, &self.server, notification).await else { return };
        if let Err(error) = connection.connection.notify(notification, outgoing).await {
            tracing::debug!(server = %self.server, %error, "a notification did not reach the server");
        }
    }

    /// Ends it: lets go of the connection (and with it of a child that nobody else uses).
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        lock(&self.lease).take();
    }

    /// Tells the client that lists may look different now: after a reload that changed filters.
    pub(crate) fn lists_changed(&self) {
        self.forget(None);
        for method in [
            "notifications/tools/list_changed",
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
        ] {
            let capability = method.split('/').nth(1).unwrap_or_default();
            if self.has_capability(capability) {
                self.downlink.inner.notify(Message::notification(method, None));
            }
        }
    }

    /// The open connection, made anew if it died. Dropping the future gives up the wait only.
    pub(crate) async fn connection(self: &Arc<Self>) -> Result<Arc<dyn Connection>, UpstreamError> {
        if let Some(open) = self.open_connection() {
            return Ok(open);
        }
        let turn = self.reconnecting.clone().acquire_owned().await;
        let turn = turn.map_err(|_| self.gone("is being let go"))?;
        if let Some(open) = self.open_connection() {
            return Ok(open);
        }
        let link = self.clone();
        // A task, because others wait for the same connection. There is one at a time.
        let connecting = tokio::spawn(async move {
            let _turn = turn;
            link.connect().await
        });
        connecting.await.unwrap_or_else(|_| Err(self.gone("could not be connected to: see Lockgate's log")))
    }

    async fn connect(self: &Arc<Self>) -> Result<Arc<dyn Connection>, UpstreamError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(self.gone("was let go: the session ended"));
        }
        let snapshot = self.gateway.snapshot();
        let opener = lock(&self.opener).clone();
        let outgoing = self
            .outgoing(&snapshot, Arc::from("initialize"), &opener)
            .ok_or_else(|| self.gone("is not served any more"))?;
        drop(lock(&self.lease).take());
        let hello = Hello {
            server: self.server.clone(),
            requester: opener.requester(),
            owner: self.owner.clone(),
            params: self.params.clone(),
            downlink: self.downlink.clone(),
            outgoing: outgoing.clone(),
        };
        let lease = Arc::new(bridge::connect(self.gateway.upstreams(), hello).await?);
        let connection = lease.connection.clone();
        // Not by the lease: an attempt that failed has let go of it already.
        if self.connected.swap(true, Ordering::AcqRel) {
            self.forget(None);
            self.say_again(&lease, &outgoing).await;
        }
        *lock(&self.lease) = Some(lease);
        if self.closed.load(Ordering::Acquire) {
            lock(&self.lease).take();
            return Err(self.gone("was let go: the session ended"));
        }
        Ok(connection)
    }

    fn gone(&self, reason: &str) -> UpstreamError {
        UpstreamError::Gone { server: self.server.clone(), reason: reason.to_owned(), may_have_run: false }
    }

    /// The definitions of one kind, read once per generation and list change.
    pub(super) async fn definitions<E>(
        &self,
        whose: Whose,
        generation: u64,
        not_before: Option<Instant>,
        read: impl AsyncFnOnce() -> Result<Definitions, E>,
    ) -> Result<Arc<Definitions>, E> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let reading = {
            let mut all = lock(&self.definitions);
            let fresh = |r: &&Arc<Reading>| {
                r.generation == generation
                    && r.epoch == epoch
                    && r.cell.get().is_none_or(|d| d.is_fresh() && not_before.is_none_or(|t| d.read >= t))
            };
            match all.get(&whose).filter(fresh) {
                Some(reading) => reading.clone(),
                None => {
                    let reading = Arc::new(Reading { generation, epoch, cell: OnceCell::new() });
                    if all.len() >= READINGS
                        && let Some(one) = all.keys().next().cloned()
                    {
                        all.remove(&one);
                    }
                    all.insert(whose, reading.clone());
                    reading
                }
            }
        };
        reading.cell.get_or_try_init(async || read().await.map(Arc::new)).await.cloned()
    }

    /// The `upstream` filters for exchanges of this link. None if the server is not served any more.
    pub(super) fn outgoing(
        &self,
        snapshot: &Snapshot,
        method: Arc<str>,
        caller: &Caller,
    ) -> Option<Arc<dyn Outgoing>> {
        let chain = snapshot.chain(&self.server)?.clone();
        let principal = if self.is_shared() { None } else { caller.principal.clone() };
        Some(Arc::new(Filtered { server: self.server.clone(), chain, method, call: None, principal }))
    }

    /// A call's downlink, watched like the session's: list changes come on either.
    pub(super) fn watched(
        self: &Arc<Self>,
        inner: Arc<dyn Downlink>,
        request: &Message,
    ) -> Arc<dyn Downlink> {
        let logs = request.meta(meta::LOG_LEVEL).and_then(unescape).map(Cow::into_owned);
        let link = OnceLock::from(Arc::downgrade(self));
        Arc::new(Watched { inner, shared: self.is_shared(), logs, link })
    }

    /// Whether several clients use the connection, and what happens on it cannot be told apart. A
    /// request of the modern era stands for itself.
    pub(super) fn is_shared(&self) -> bool {
        self.owner == Owner::Shared && !self.is_modern()
    }

    /// Whether it is for requests of the modern era.
    pub(super) fn is_modern(&self) -> bool {
        self.params.is_none()
    }

    /// Everybody who listens over it.
    pub(super) fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// Whether a filter decides which resources exist.
    pub(super) fn judges_resources(&self) -> bool {
        let snapshot = self.gateway.snapshot();
        snapshot.chain(&self.server).is_some_and(|chain| chain.judges(ItemKind::Resource))
    }

    /// Whether the server said it has this capability (`tools`, `prompts`, `resources` …).
    pub(crate) fn has_capability(&self, name: &str) -> bool {
        let lease = lock(&self.lease).clone();
        lease.is_some_and(|lease| {
            let pointer = format!("/capabilities/{name}");
            crate::jsonrpc::get(&lease.connection.handshake().result, &pointer).is_some()
        })
    }

    fn open_connection(&self) -> Option<Arc<dyn Connection>> {
        let lease = lock(&self.lease).clone()?;
        lease.connection.closed().is_none().then(|| lease.connection.clone())
    }

    fn forget(&self, kind: Option<ItemKind>) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let mut definitions = lock(&self.definitions);
        match kind {
            Some(kind) => definitions.retain(|whose, _| whose.kind != kind),
            None => definitions.clear(),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
        self.gateway.forget(self);
    }
}

fn isolation(gateway: &Gateway, server: &str) -> Isolation {
    gateway.config().servers.get(server).map(|server| server.isolation).unwrap_or_default()
}

/// Every method of the table leads to a kind's list through this.
pub(super) fn list_of(kind: ItemKind) -> Option<methods::List> {
    methods::definitions_of(kind)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section writes one value, so a panic cannot leave one half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
