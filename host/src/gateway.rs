//! The running proxy: one immutable snapshot behind a swap, and what outlives it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::config::Config;
use crate::filter::chain::{self, Placed};
use crate::filter::{Decision, Principal, RequestHead};
use crate::jsonrpc::{Document, Limits, Message};
use crate::keys::Keys;
use crate::memory;
use crate::proxy::{Joining, Link, Opening, Snapshot, Spent, rescue};
use crate::upstream::Upstreams;

mod joined;
mod merged;

use joined::Joined;
pub use merged::Merged;

/// Generations alive at once, the newest included; the oldest beyond it is cut at once.
const GENERATIONS: usize = 4;

/// The running proxy. Transports hold one `Arc` of it.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    generations: AtomicU64,
    /// Earlier generations, oldest first, until they are cut: calls may still run on them, and calls that
    /// wait for their client come back to them.
    earlier: Mutex<Vec<Arc<Snapshot>>>,
    upstreams: Arc<Upstreams>,
    keys: Keys,
    /// Those that there are, by their address.
    links: Mutex<HashMap<usize, Weak<Link>>>,
    joined: Arc<Joined>,
    calls: AtomicUsize,
    spent: Spent,
}

/// Counts a call as under way until dropped.
pub(crate) struct UnderWay(Arc<Gateway>);

/// What the `authenticate` filters said of one HTTP request.
#[derive(Debug)]
pub struct Authenticated {
    /// None where no filter authenticates.
    pub principal: Option<Arc<Principal>>,
    /// Headers (lower case) hidden from filters after this, besides the well-known credentials.
    pub hidden_headers: Vec<String>,
}

/// An HTTP refusal before any JSON-RPC.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// For the client.
    pub message: String,
}

impl Gateway {
    /// Starts with a configuration and its filters. No server is started until a client comes.
    pub fn new(config: Arc<Config>, filters: Vec<Arc<Placed>>) -> Arc<Gateway> {
        Arc::new(Gateway {
            upstreams: Arc::new(Upstreams::new(config.clone())),
            keys: Keys::new(&config.keys),
            snapshot: ArcSwap::from_pointee(Snapshot::new(1, config, filters)),
            generations: AtomicU64::new(1),
            earlier: Mutex::default(),
            links: Mutex::default(),
            joined: Arc::default(),
            calls: AtomicUsize::new(0),
            spent: Spent::default(),
        })
    }

    /// The present generation.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The generation with that number, while it lives: the present one, and those before it that are not
    /// cut yet.
    pub(crate) fn generation(&self, number: u64) -> Option<Arc<Snapshot>> {
        let now = self.snapshot();
        if now.generation() == number {
            return Some(now);
        }
        let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.iter().find(|snapshot| snapshot.generation() == number).cloned()
    }

    /// The configuration as served.
    pub fn config(&self) -> Arc<Config> {
        self.snapshot.load().config().clone()
    }

    /// Calls that clients wait for.
    pub fn calls_in_flight(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn under_way(self: &Arc<Self>) -> UnderWay {
        self.calls.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Lets go of what no session owns, so that the process can end.
    pub fn end(&self) {
        self.joined.end();
    }

    /// All connections to servers.
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.upstreams
    }

    /// What ids and cursors are sealed with: the `keys` of the first configuration.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The questions that were answered.
    pub(crate) fn spent(&self) -> &Spent {
        &self.spent
    }

    /// Bounds on messages from servers, and on what filters make of messages.
    pub fn server_json_limits(&self) -> Limits {
        let snapshot = self.snapshot.load();
        let limits = &snapshot.config().limits;
        let (bytes, depth) = (limits.server_message_bytes, limits.result_depth);
        Limits { bytes, depth, members: u32::MAX, ..json_limits(limits) }
    }

    /// Puts new filters into service: calls that begin from now on pass them. Calls under way
    /// finish on the ones they began with, within `limits.drain_seconds`. Returns the generation.
    ///
    /// Of a new configuration only what concerns filters takes effect: the servers and limits that
    /// connections were made with stay (see [`Upstreams::new`]).
    pub fn swap(self: &Arc<Self>, config: Arc<Config>, filters: Vec<Arc<Placed>>) -> u64 {
        let generation = self.generations.fetch_add(1, Ordering::AcqRel) + 1;
        let next = Arc::new(Snapshot::new(generation, config.clone(), filters));
        let before = self.snapshot.swap(next.clone());
        let drain = Duration::from_secs(config.limits.drain_seconds);
        self.tell_of_changes(&before, &next);
        self.retire(before, drain);
        generation
    }

    /// Runs the `authenticate` filters on the head of an HTTP request. stdio does not call this.
    ///
    /// # Errors
    /// [`Refusal`] with the status to answer; 401 if filters authenticate and all skipped.
    pub async fn authenticate(&self, head: RequestHead) -> Result<Authenticated, Refusal> {
        let members = head.server.as_deref().and_then(|name| self.members(name));
        let Some(members) = members else { return self.authenticate_at(head).await };
        // Who wants to enter where servers are merged must be let in by each of them, as the same.
        let mut agreed: Option<Authenticated> = None;
        for server in members {
            let one = self.authenticate_at(RequestHead { server: Some(server), ..head.clone() }).await?;
            agreed = Some(match agreed {
                None => one,
                Some(mut all) if same_principal(all.principal.as_deref(), one.principal.as_deref()) => {
                    all.hidden_headers.extend(one.hidden_headers);
                    all
                }
                Some(_) => {
                    return Err(Refusal {
                        status: 403,
                        challenge: None,
                        message: "the servers that are merged here know this client by different names; \
                                  use the entrance of one of them"
                            .into(),
                    });
                }
            });
        }
        Ok(agreed.unwrap_or(Authenticated { principal: None, hidden_headers: Vec::new() }))
    }

    async fn authenticate_at(&self, head: RequestHead) -> Result<Authenticated, Refusal> {
        let snapshot = self.snapshot();
        let budget = Duration::from_millis(snapshot.config().limits.chain_ms.into());
        match chain::authenticate(snapshot.authenticate(), Arc::new(head), budget).await {
            Ok(None) => Ok(Authenticated { principal: None, hidden_headers: Vec::new() }),
            Ok(Some(Decision::Accept { principal, reads, .. })) => {
                if principal.expires_at.is_some_and(|at| at <= unix_seconds()) {
                    return Err(Refusal {
                        status: 401,
                        challenge: Some("Bearer error=\"invalid_token\"".into()),
                        message: "the credential has expired".into(),
                    });
                }
                let hidden_headers = reads.headers.into_iter().collect();
                Ok(Authenticated { principal: Some(principal), hidden_headers })
            }
            Ok(Some(Decision::Refuse { status, challenge, message })) => {
                Err(Refusal { status, challenge, message })
            }
            Ok(Some(Decision::Skip)) => Err(Refusal {
                status: 401,
                challenge: Some("Bearer".into()),
                message: "authentication is required: no filter accepted the request's credentials".into(),
            }),
            Err(closed) => Err(Refusal { status: 503, challenge: None, message: closed.rejection().message }),
        }
    }

    /// Opens a link: connects, initializes the server with the client's `initialize` params, and
    /// returns the `InitializeResult` for the client.
    ///
    /// # Errors
    /// A JSON-RPC error without id.
    pub async fn open(self: &Arc<Self>, opening: Opening) -> Result<(Arc<Link>, Bytes), Message> {
        if self.snapshot.load().chain(&opening.server).is_none() {
            return Err(rescue::refusal(rescue::unknown_method("initialize")));
        }
        let server = opening.server.clone();
        let link = match Link::open(self.clone(), opening).await {
            Ok(link) => link,
            Err(error) => {
                tracing::warn!(%server, "{error}");
                return Err(rescue::refusal(rescue::upstream(&error)));
            }
        };
        let connection =
            link.connection().await.map_err(|error| rescue::refusal(rescue::upstream(&error)))?;
        let result = self.announce(&connection.handshake().result);
        self.note(&link);
        Ok((link, result))
    }

    /// The servers behind a name that is no server's: those of an entrance that merges several.
    pub fn members(&self, name: &str) -> Option<Vec<Arc<str>>> {
        let config = self.config();
        let members = config.members(name)?;
        Some(members.into_iter().map(Arc::from).collect())
    }

    /// The link that a request of the modern era goes over: one for each server and owner, for as long
    /// as it is used. `limits.session_idle_seconds` after that it is let go.
    ///
    /// # Errors
    /// A JSON-RPC error without id.
    pub async fn join(self: &Arc<Self>, joining: Joining) -> Result<Arc<Link>, Message> {
        if self.snapshot.load().chain(&joining.server).is_none() {
            return Err(rescue::refusal(rescue::unknown_method("server/discover")));
        }
        let most = self.config().limits.sessions as usize;
        let server = joining.server.clone();
        let owner = Link::owner(self, &joining);
        let joined = self.joined.join(self, owner, joining, most);
        let link = joined.ok_or_else(|| rescue::refusal(rescue::limited("limits.sessions")))?;
        match link.connection().await {
            Ok(_) => Ok(link),
            Err(error) => {
                tracing::debug!(%server, "{error}");
                Err(rescue::refusal(rescue::upstream(&error)))
            }
        }
    }

    pub(crate) fn note(&self, link: &Arc<Link>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.insert(Arc::as_ptr(link).addr(), Arc::downgrade(link));
    }

    /// A link is over. It does not wait for the next one: a weak reference keeps all its memory.
    pub(crate) fn forget(&self, link: &Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.remove(&std::ptr::from_ref(link).addr());
        memory::shrink(&mut links);
    }

    /// The server's `InitializeResult` or `DiscoverResult`, promising list changes where a reload may change a list.
    /// Without a plugin directory nothing is reloaded: what the server says of its lists is true for Lockgate.
    pub(crate) fn announce(&self, result: &Bytes) -> Bytes {
        if self.config().plugins.dir.is_none() {
            return result.clone();
        }
        let mut doc = Document::new(result.clone(), self.server_json_limits());
        for capability in ["tools", "prompts", "resources"] {
            let at = format!("/capabilities/{capability}");
            if matches!(doc.kind(&at), Ok(Some(crate::jsonrpc::JsonKind::Object))) {
                // It fails only where the limits of a message are reached; then the server's own
                // announcement stands.
                let _ = doc.set(&format!("{at}/listChanged"), b"true");
            }
        }
        doc.bytes().clone()
    }

    /// Calls on a replaced generation end with the drain time, or when too many are alive.
    fn retire(self: &Arc<Self>, before: Arc<Snapshot>, drain: Duration) {
        let generation = before.generation();
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.push(before);
        let excess = earlier.len().saturating_sub(GENERATIONS - 1);
        let oldest: Vec<_> = earlier.drain(..excess).collect();
        drop(earlier);
        oldest.iter().for_each(|snapshot| cut(snapshot, "more than 4 generations"));
        let gateway = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(drain).await;
            let Some(gateway) = gateway.upgrade() else { return };
            let over = {
                let mut earlier = gateway.earlier.lock().unwrap_or_else(PoisonError::into_inner);
                let at = earlier.iter().position(|snapshot| snapshot.generation() == generation);
                at.map(|at| earlier.remove(at))
            };
            if let Some(snapshot) = over {
                cut(&snapshot, "the drain time is over");
            }
        });
    }

    /// Clients whose lists may look different now are told to look again.
    fn tell_of_changes(&self, before: &Snapshot, now: &Snapshot) {
        let links: Vec<_> = {
            let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.values().filter_map(Weak::upgrade).collect()
        };
        for link in links {
            if !same_lists(before, now, link.server()) {
                link.lists_changed();
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends the calls that still run on a generation.
fn cut(snapshot: &Arc<Snapshot>, why: &str) {
    if Arc::strong_count(snapshot) > 1 {
        tracing::info!(generation = snapshot.generation(), "cut: {why}");
    }
    snapshot.cut().cancel();
}

fn same_principal(a: Option<&Principal>, b: Option<&Principal>) -> bool {
    a.map(|p| (&p.issuer, &p.id)) == b.map(|p| (&p.issuer, &p.id))
}

/// Whether the filters that shape lists are the same ones in both generations.
fn same_lists(before: &Snapshot, now: &Snapshot, server: &str) -> bool {
    let shaping = |snapshot: &Snapshot| -> Vec<*const Placed> {
        let filters = snapshot.chain(server).map(|chain| chain.filters()).unwrap_or_default();
        filters.iter().filter(|f| f.hooks.catalog || f.hooks.access).map(Arc::as_ptr).collect()
    };
    shaping(before) == shaping(now)
}

/// The bounds of the JSON law for messages from clients.
pub fn json_limits(limits: &crate::config::Limits) -> Limits {
    Limits {
        bytes: limits.client_message_bytes,
        depth: limits.message_depth,
        members: limits.message_members,
        // Longer than any number a JSON implementation keeps; bounds what one token can cost.
        number_bytes: 1_024,
    }
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
