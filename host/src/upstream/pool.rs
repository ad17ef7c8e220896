//! All connections: at most one per server and owner, shared while anybody holds it.

mod wires;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::fan_in::{self, FanIn};
use super::gate::Gate;
use super::http::{HttpClient, client};
use super::hub::Hub;
use super::inbox::Inbox;
use super::route::{Over, Route};
use super::wire::lock;
use super::{Connection, Hello, Lease, Outgoing, Owner, UpstreamError, legacy, modern};
use crate::config::{self, Config, Proxy, Server};
use crate::jsonrpc::Limits;
use crate::net::{self, Connector, Proxies};
use crate::protocol::versions;

/// A server that may be tried again this soon is waited for instead of refused.
const SOON: Duration = Duration::from_secs(1);
/// What all connections get at the end: longer than the grace of a child.
const FAREWELL: Duration = Duration::from_secs(8);
/// For how many seconds silence, or the end of a child, is taken for the answer of a legacy server. Each
/// request would start a process and wait for it otherwise.
const DOUBTFUL: u64 = 60;
/// Longest number in a message: no real one comes near it.
const NUMBER_BYTES: usize = 1024;

/// All connections to all servers, and their bounds. Dropping it ends them, in the background.
pub struct Upstreams {
    pool: Arc<Pool>,
}

struct Pool {
    config: Arc<Config>,
    limits: Limits,
    servers: BTreeMap<Arc<str>, Arc<Upstream>>,
    children: Arc<Semaphore>,
    /// By itself, and through the proxies of the environment.
    network: [OnceLock<(Connector, HttpClient)>; 2],
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    /// Everything that has to end before the process may.
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

/// Server, owner, and whether the client is a modern one: its connection is another.
type Key = (Arc<str>, Owner, bool);

/// What all connections to one server share.
struct Upstream {
    config: Server,
    gate: Arc<Gate>,
    children: Arc<Semaphore>,
    /// Calls that wait for a user at a server of the legacy era, of all modern clients together.
    parking: Arc<Semaphore>,
    backoff: Mutex<Backoff>,
    route: Route,
    /// Until when the server is taken for one of the legacy era without being asked again, and what it
    /// speaks. A server that was upgraded still answers as before, so the verdict must end.
    verdict: Mutex<Option<(Instant, Vec<String>)>>,
    was_modern: AtomicBool,
}

impl Upstream {
    fn legacy_only(&self, now: Instant) -> Option<Vec<String>> {
        lock(&self.verdict).as_ref().filter(|(until, _)| now < *until).map(|(_, speaks)| speaks.clone())
    }
}

type Opened = Result<(Arc<dyn Connection>, Over), UpstreamError>;

/// One connection: being opened, open, or over.
struct Slot {
    key: Key,
    hub: Arc<Hub>,
    fan_in: FanIn,
    outgoing: Arc<dyn Outgoing>,
    /// Cancelled when the last holder is gone.
    stop: CancellationToken,
    users: Mutex<usize>,
    opened: Shared<BoxFuture<'static, Opened>>,
}

impl Upstreams {
    /// Nothing is started until asked for.
    pub fn new(config: Arc<Config>) -> Upstreams {
        let limits = &config.limits;
        let servers = config.servers.iter().map(|(name, server)| {
            let name: Arc<str> = name.as_str().into();
            let upstream = Upstream {
                config: server.clone(),
                gate: Arc::new(Gate::new(
                    Arc::clone(&name),
                    limits.calls_per_server,
                    limits.queue_per_server,
                )),
                children: Arc::new(Semaphore::new(limits.children_per_server as usize)),
                // Each keeps its place in the gate: those that nobody is asked for must get in as well.
                parking: Arc::new(Semaphore::new((limits.calls_per_server / 2).max(1) as usize)),
                backoff: Mutex::default(),
                route: Route::new(server, Duration::from_secs(limits.verdict_seconds)),
                verdict: Mutex::default(),
                was_modern: AtomicBool::new(false),
            };
            (name, Arc::new(upstream))
        });
        let pool = Pool {
            servers: servers.collect(),
            children: Arc::new(Semaphore::new(limits.children as usize)),
            limits: Limits {
                bytes: limits.server_message_bytes,
                depth: limits.message_depth,
                members: limits.message_members,
                number_bytes: NUMBER_BYTES,
            },
            network: Default::default(),
            slots: Mutex::default(),
            tracker: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            config,
        };
        Upstreams { pool: Arc::new(pool) }
    }

    /// The open connection of that owner, or a new one. Who asks while it is being opened waits for
    /// the same attempt. Dropping the future gives up one's part in it.
    pub async fn connect(&self, hello: Hello) -> Result<Lease, UpstreamError> {
        let hold = self.pool.join(hello)?;
        let (connection, over) = hold.slot.opened.clone().await?;
        Ok(Lease { connection, transport: over.name(), hold: Some(hold) })
    }

    /// The bounds of the configuration.
    pub(crate) fn bounds(&self) -> &config::Limits {
        &self.pool.config.limits
    }

    /// The places of calls that wait for a user at that server, whoever's they are.
    pub(crate) fn parking(&self, server: &str) -> Option<Arc<Semaphore>> {
        self.pool.servers.get(server).map(|upstream| Arc::clone(&upstream.parking))
    }

    /// Ends all connections; children get their grace period. Waits for them.
    pub async fn shutdown(&self) {
        self.pool.shutdown.cancel();
        self.pool.tracker.close();
        if tokio::time::timeout(FAREWELL, self.pool.tracker.wait()).await.is_err() {
            tracing::error!(target: "server", left = self.pool.tracker.len(), "not everything ended in time");
        }
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.pool.shutdown.cancel();
    }
}

impl Pool {
    /// Finds or makes the slot, and holds it.
    fn join(self: &Arc<Self>, hello: Hello) -> Result<Hold, UpstreamError> {
        let unusable = |reason: &str| UpstreamError::Unreachable {
            server: Arc::clone(&hello.server),
            reason: reason.to_owned(),
        };
        let upstream = self.servers.get(&hello.server).ok_or_else(|| unusable("it is not configured"))?;
        if self.shutdown.is_cancelled() {
            return Err(unusable("Lockgate is shutting down"));
        }
        let key = (Arc::clone(&hello.server), hello.owner.clone(), hello.params.is_none());
        let (slot, number, over) = {
            let mut slots = lock(&self.slots);
            let (slot, number, over) = match slots.get(&key) {
                Some(slot) if !slot.is_over() => {
                    (Arc::clone(slot), slot.hub.join(Arc::clone(&hello.downlink)), None)
                }
                _ => {
                    let hub = Arc::new(Hub::default());
                    // Before anything is started: a server may ask as soon as it runs.
                    let number = hub.join(Arc::clone(&hello.downlink));
                    let slot = self.open(key.clone(), Arc::clone(upstream), hello, hub);
                    let over = slots.insert(key, Arc::clone(&slot));
                    (slot, number, over)
                }
            };
            // Counted under the lock of the map: a slot there is never about to be closed.
            *lock(&slot.users) += 1;
            (slot, number, over)
        };
        // Outside the lock: what hangs from it is not known here.
        drop(over);
        Ok(Hold { pool: Arc::clone(self), slot, number })
    }

    /// Begins to open a connection, in a task of its own: it is nobody's alone.
    fn open(self: &Arc<Self>, key: Key, upstream: Arc<Upstream>, hello: Hello, hub: Arc<Hub>) -> Arc<Slot> {
        let stop = self.shutdown.child_token();
        let outgoing = Arc::clone(&hello.outgoing);
        let attempt = Attempt {
            pool: Arc::clone(self),
            upstream,
            key: key.clone(),
            params: hello.params,
            outgoing: hello.outgoing,
            hub: Arc::clone(&hub),
            stop: stop.clone(),
        };
        let server = Arc::clone(&key.0);
        let task = self.tracker.spawn(attempt.run());
        let opened = task.map(move |joined| {
            joined.unwrap_or(Err(UpstreamError::Unreachable {
                server,
                reason: "connecting to it failed inside Lockgate; see its log".to_owned(),
            }))
        });
        Arc::new(Slot {
            key,
            hub,
            fan_in: FanIn::default(),
            outgoing,
            stop,
            users: Mutex::new(0),
            opened: opened.boxed().shared(),
        })
    }

    fn network(&self, proxy: Proxy) -> Result<(Connector, HttpClient), String> {
        let [direct, proxied] = &self.network;
        let (network, proxies): (_, fn() -> Proxies) = match proxy {
            Proxy::None => (direct, Proxies::none),
            Proxy::Environment => (proxied, Proxies::of_environment),
        };
        if let Some(network) = network.get() {
            return Ok(network.clone());
        }
        let limits = &self.config.limits;
        let connect = Duration::from_secs(limits.connect_seconds);
        let connector = net::connector_through(connect, proxies());
        let connector = connector.map_err(|error| format!("TLS cannot be used: {error}"))?;
        let client = client(connector.clone(), limits.header_bytes);
        Ok(network.get_or_init(|| (connector, client)).clone())
    }
}

impl Slot {
    fn is_over(&self) -> bool {
        match self.opened.peek() {
            Some(Ok((connection, _))) => connection.closed().is_some(),
            Some(Err(_)) => true,
            None => self.stop.is_cancelled(),
        }
    }
}

/// One user's part in a slot.
pub(super) struct Hold {
    pool: Arc<Pool>,
    slot: Arc<Slot>,
    number: u64,
}

impl Hold {
    pub(super) fn fan_in(&self) -> &FanIn {
        &self.slot.fan_in
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What only this user wanted of the server is taken back, if others go on using the connection.
    fn take_back(&self) {
        let uris = self.slot.fan_in.left(self.number);
        let Some(Ok((connection, _))) = self.slot.opened.peek() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !uris.is_empty() && connection.closed().is_none() {
            runtime.spawn(fan_in::forget(Arc::clone(connection), Arc::clone(&self.slot.outgoing), uris));
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.slot.hub.leave(self.number);
        let last = {
            let mut slots = lock(&self.pool.slots);
            let mut users = lock(&self.slot.users);
            *users -= 1;
            let last = *users == 0;
            if last && slots.get(&self.slot.key).is_some_and(|slot| Arc::ptr_eq(slot, &self.slot)) {
                slots.remove(&self.slot.key);
            }
            last
        };
        match last {
            // It is seen to by who watches it: that it ended of itself has to be known.
            true if matches!(self.slot.opened.peek(), Some(Ok((c, _))) if c.closed().is_some()) => {}
            true => self.slot.stop.cancel(),
            false => self.take_back(),
        }
    }
}

/// One attempt to open a connection.
struct Attempt {
    pool: Arc<Pool>,
    upstream: Arc<Upstream>,
    key: Key,
    /// The first asker's: whoever joins takes the server as it is.
    params: Option<Bytes>,
    outgoing: Arc<dyn Outgoing>,
    hub: Arc<Hub>,
    stop: CancellationToken,
}

impl Attempt {
    async fn run(self) -> Opened {
        let server = Arc::clone(&self.key.0);
        self.wait_out_backoff().await?;
        let gave_up =
            || UpstreamError::Unreachable { server, reason: "nobody waited for it any more".to_owned() };
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = self.stop.cancelled() => return Err(gave_up()),
        };
        let (connection, inbox, over) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.stop.cancel();
                // A limit and a filter say nothing about the server, and one principal's credentials
                // nothing about another's.
                let servers_fault = self.upstream.config.command.is_some()
                    && !matches!(
                        error,
                        UpstreamError::Busy { .. }
                            | UpstreamError::Refused { .. }
                            | UpstreamError::OtherEra { .. }
                    );
                if servers_fault {
                    lock(&self.upstream.backoff).failed(Instant::now(), reason(&error));
                }
                return Err(error);
            }
        };
        let pool = Arc::clone(&self.pool);
        pool.tracker.spawn(self.watch(Arc::clone(&connection), inbox));
        Ok((connection, over))
    }

    /// Closes the connection when nobody holds it, and remembers if it ended of itself.
    async fn watch(self, connection: Arc<dyn Connection>, inbox: Arc<Inbox>) {
        let began = Instant::now();
        tokio::select! {
            // What is let go of ends as well, and that is no failure of the server.
            biased;
            () = self.stop.cancelled() => {}
            () = inbox.ended.cancelled() => {
                if let (Some(end), Some(_)) = (inbox.closed(), &self.upstream.config.command) {
                    let server = &*self.key.0;
                    tracing::warn!(target: "server", server, %end, "a server ended; it is started again when it is needed");
                    lock(&self.upstream.backoff).ended(Instant::now(), began.elapsed(), reason(&end));
                }
            }
        }
        connection.close();
        self.stop.cancel();
    }

    async fn wait_out_backoff(&self) -> Result<(), UpstreamError> {
        let blocked = lock(&self.upstream.backoff)
            .blocked(Instant::now())
            .map(|(left, reason)| (left, reason.to_owned()));
        match blocked {
            None => Ok(()),
            Some((left, _)) if left <= SOON => {
                tokio::time::sleep(left).await;
                Ok(())
            }
            Some((left, reason)) => Err(UpstreamError::NotStarted {
                server: Arc::clone(&self.key.0),
                reason: format!(
                    "it failed before and is tried again in {} s: {reason}",
                    left.as_secs().max(1)
                ),
            }),
        }
    }

    /// Tries the transports that may lead there, one after the other.
    async fn open(&self) -> Result<(Arc<dyn Connection>, Arc<Inbox>, Over), UpstreamError> {
        let Attempt { upstream, key: (server, ..), params, .. } = self;
        let modern = params.is_none();
        let legacy = upstream.legacy_only(Instant::now()).filter(|_| modern);
        if let Some(speaks) = legacy {
            return Err(UpstreamError::OtherEra { server: Arc::clone(server), speaks });
        }
        let mut attempts = upstream.route.attempts(modern, Instant::now());
        while let Some(over) = attempts.next() {
            match self.open_over(over).await {
                Ok((connection, inbox)) => {
                    attempts.worked(over, Instant::now());
                    return Ok((connection, inbox, over));
                }
                Err(error) => attempts.failed(over, error)?,
            }
        }
        let speaks = versions::LEGACY.map(str::to_owned).to_vec();
        Err(UpstreamError::OtherEra { server: Arc::clone(server), speaks })
    }

    async fn open_over(&self, over: Over) -> Result<(Arc<dyn Connection>, Arc<Inbox>), UpstreamError> {
        let Attempt { pool, upstream, params, outgoing, .. } = self;
        let limits = &pool.config.limits;
        let (wire, inbox) = self.wire(over).await?;
        // A start may take longer than a call: the first one of a package runner is a download.
        let seconds = upstream.config.timeout_seconds.unwrap_or(0).max(limits.call_seconds);
        let patience = Duration::from_secs(seconds);
        let gate = Arc::clone(&upstream.gate);
        let outgoing = Arc::clone(outgoing);
        let opened: Result<Arc<dyn Connection>, _> = match params {
            Some(params) => legacy::open(
                Arc::clone(&inbox),
                wire,
                gate,
                params,
                outgoing,
                patience,
                limits.batch_messages as usize,
            )
            .await
            .map(|session| Arc::new(session) as Arc<dyn Connection>),
            None => {
                let parts = modern::Parts { inbox: Arc::clone(&inbox), wire, gate, outgoing };
                self.open_modern(parts, patience, over.is_pipe()).await
            }
        };
        let connection = opened.map_err(|error| match error {
            // It never came to a call: what ended is the start.
            UpstreamError::Gone { server, reason, .. } if over == Over::Stdio => {
                UpstreamError::NotStarted { server, reason: format!("it {reason}") }
            }
            error => error,
        })?;
        Ok((connection, inbox))
    }

    async fn open_modern(
        &self,
        parts: modern::Parts,
        patience: Duration,
        pipe: bool,
    ) -> Result<Arc<dyn Connection>, UpstreamError> {
        let Attempt { pool, upstream, key: (server, ..), .. } = self;
        let patience = if pipe { Duration::from_secs(pool.config.limits.probe_seconds) } else { patience };
        let speaks = match modern::open(parts, patience, pipe).await? {
            modern::Probed::Modern(connection) => {
                upstream.was_modern.store(true, Ordering::Relaxed);
                return Ok(Arc::new(connection));
            }
            modern::Probed::Legacy { certain, speaks } => {
                let speaks =
                    if speaks.is_empty() { versions::LEGACY.map(str::to_owned).to_vec() } else { speaks };
                // One that spoke it before in this process is not demoted for one answer.
                if !upstream.was_modern.load(Ordering::Relaxed) {
                    let seconds = pool.config.limits.verdict_seconds;
                    let lifetime = Duration::from_secs(if certain { seconds } else { seconds.min(DOUBTFUL) });
                    *lock(&upstream.verdict) = Some((Instant::now() + lifetime, speaks.clone()));
                }
                speaks
            }
        };
        Err(UpstreamError::OtherEra { server: Arc::clone(server), speaks })
    }
}

/// What an error says besides the server's name.
fn reason(error: &UpstreamError) -> String {
    match error {
        UpstreamError::NotStarted { reason, .. }
        | UpstreamError::Unreachable { reason, .. }
        | UpstreamError::NotServed { reason, .. } => reason.clone(),
        UpstreamError::Gone { reason, .. } => format!("it {reason}"),
        other => other.to_string(),
    }
}
