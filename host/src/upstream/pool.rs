//! All connections: at most one per server and owner, shared while anybody holds it.

mod attempt;
mod eras;
mod places;
mod starts;
mod verdicts;
mod wires;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fan_in::{self, FanIn};
use super::gate::Gate;
use super::http::{HttpClient, client};
use super::hub::Hub;
use super::route::{Over, Route};
use super::wire::lock;
use super::{Connection, Hello, Lease, Outgoing, Owner, UpstreamError};
use crate::config::{self, Config, Proxy, Server, ServerEra};
use crate::jsonrpc::Limits;
use crate::net::{self, Connector, Proxies};
use attempt::Attempt;
use places::Places;
use starts::Starts;
pub(crate) use verdicts::NotOpened;
use verdicts::Verdicts;

/// What all connections get at the end: longer than the grace of a child, and with the default
/// `limits.drain_seconds` less than the 30 s that Kubernetes gives a process.
const FAREWELL: Duration = Duration::from_millis(5_500);
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
    places: Arc<Places>,
    /// By itself, and through the proxies of the environment.
    network: [OnceLock<(Connector, HttpClient)>; 2],
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    /// Everything that has to end before the process may.
    tracker: TaskTracker,
    shutdown: CancellationToken,
    /// Cancelled when this process ends and no call was under way.
    hurry: CancellationToken,
}

/// Server, owner, and whether the client is a modern one: its connection is another.
type Key = (Arc<str>, Owner, bool);

/// What all connections to one server share.
struct Upstream {
    config: Server,
    gate: Arc<Gate>,
    /// Calls that wait for a user at a server of the legacy era, of all modern clients together.
    parking: Arc<Semaphore>,
    starts: Mutex<Starts>,
    route: Route,
    verdicts: Verdicts,
}

type Opened = Result<(Arc<dyn Connection>, Over), NotOpened>;

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
                // Each keeps its place in the gate: those that nobody is asked for must get in as well.
                parking: Arc::new(Semaphore::new((limits.calls_per_server / 2).max(1) as usize)),
                starts: Mutex::default(),
                route: Route::new(server, Duration::from_secs(limits.verdict_seconds)),
                verdicts: Verdicts::default(),
            };
            (name, Arc::new(upstream))
        });
        let pool = Pool {
            servers: servers.collect(),
            places: Places::new(limits),
            limits: Limits {
                bytes: limits.server_message_bytes,
                depth: limits.result_depth,
                members: u32::MAX,
                number_bytes: NUMBER_BYTES,
            },
            network: Default::default(),
            slots: Mutex::default(),
            tracker: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            hurry: CancellationToken::new(),
            config,
        };
        Upstreams { pool: Arc::new(pool) }
    }

    /// The open connection of that owner, or a new one. Who asks while it is being opened waits for
    /// the same attempt. Dropping the future gives up one's part in it.
    pub async fn connect(&self, hello: Hello) -> Result<Lease, UpstreamError> {
        self.begin(hello).await.map_err(NotOpened::settled)
    }

    /// The same for who can also speak the other era: whether a server that did not take `initialize`
    /// failed is left open, for the caller to find out and say.
    pub(crate) async fn begin(&self, hello: Hello) -> Result<Lease, NotOpened> {
        let server = Arc::clone(&hello.server);
        let until = Instant::now() + self.question_time();
        // In each round the one that asked for the attempt leaves: everybody's own comes.
        while Instant::now() < until {
            let (hold, joined) = self.pool.join(hello.clone())?;
            match hold.slot.opened.clone().await {
                Ok((connection, over)) => {
                    return Ok(Lease { connection, transport: over.name(), hold: Some(hold) });
                }
                // What the server or a filter said to another is for that one only.
                Err(not) if joined && not.is_for_who_asked() => {}
                Err(not) => return Err(not),
            }
        }
        let reason = "it refuses everybody who asked at the same time; try again".to_owned();
        Err(UpstreamError::Unreachable { server, reason }.into())
    }

    /// The bounds of the configuration.
    pub(crate) fn bounds(&self) -> &config::Limits {
        &self.pool.config.limits
    }

    /// The eras in which that server is used.
    pub(crate) fn era(&self, server: &str) -> ServerEra {
        self.pool.servers.get(server).map_or(ServerEra::Auto, |upstream| upstream.config.era)
    }

    /// The places of calls that wait for a user at that server, whoever's they are.
    pub(crate) fn parking(&self, server: &str) -> Option<Arc<Semaphore>> {
        self.pool.servers.get(server).map(|upstream| Arc::clone(&upstream.parking))
    }

    /// How long a user may think about a question of a server.
    pub(crate) fn question_time(&self) -> Duration {
        Duration::from_secs(self.pool.config.limits.call_seconds)
    }

    /// From now on children get little time to end: nobody waits for anything of theirs.
    pub fn hurry(&self) {
        self.pool.hurry.cancel();
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
    /// Finds or makes the slot, and holds it. Says whether it was somebody else's already.
    fn join(self: &Arc<Self>, hello: Hello) -> Result<(Hold, bool), UpstreamError> {
        let unusable = |reason: &str| UpstreamError::Unreachable {
            server: Arc::clone(&hello.server),
            reason: reason.to_owned(),
        };
        let upstream = self.servers.get(&hello.server).ok_or_else(|| unusable("it is not configured"))?;
        if self.shutdown.is_cancelled() {
            return Err(unusable("Lockgate is shutting down"));
        }
        let key = (Arc::clone(&hello.server), hello.owner.clone(), hello.params.is_none());
        let (slot, number, over, joined) = {
            let mut slots = lock(&self.slots);
            let (slot, number, over, joined) = match slots.get(&key) {
                Some(slot) if !slot.is_over() => {
                    (Arc::clone(slot), slot.hub.join(Arc::clone(&hello.downlink)), None, true)
                }
                _ => {
                    let hub = Arc::new(Hub::default());
                    // Before anything is started: a server may ask as soon as it runs.
                    let number = hub.join(Arc::clone(&hello.downlink));
                    let slot = self.open(key.clone(), Arc::clone(upstream), hello, hub);
                    let over = slots.insert(key, Arc::clone(&slot));
                    (slot, number, over, false)
                }
            };
            // Counted under the lock of the map: a slot there is never about to be closed.
            *lock(&slot.users) += 1;
            (slot, number, over, joined)
        };
        // Outside the lock: what hangs from it is not known here.
        drop(over);
        Ok((Hold { pool: Arc::clone(self), slot, number }, joined))
    }

    /// Begins to open a connection, in a task of its own: it is nobody's alone.
    fn open(self: &Arc<Self>, key: Key, upstream: Arc<Upstream>, hello: Hello, hub: Arc<Hub>) -> Arc<Slot> {
        let stop = self.shutdown.child_token();
        let outgoing = Arc::clone(&hello.outgoing);
        let attempt = Attempt {
            pool: Arc::clone(self),
            upstream,
            key: key.clone(),
            requester: hello.requester,
            params: hello.params,
            outgoing: hello.outgoing,
            hub: Arc::clone(&hub),
            place: Mutex::default(),
            stop: stop.clone(),
        };
        let server = Arc::clone(&key.0);
        let task = self.tracker.spawn(attempt.run());
        let opened = task.map(move |joined| {
            let reason = || "connecting to it failed inside Lockgate; see its log".to_owned();
            joined.unwrap_or_else(|_| Err(UpstreamError::Unreachable { server, reason: reason() }.into()))
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
