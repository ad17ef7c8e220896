//! The connections to the legacy server: one kind for each set of capabilities, and where a question
//! does not say for which call it is, one connection for each call.

mod beside;
mod turns;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::capabilities::initialize;
use super::exchange::Exchange;
use super::lock;
use super::news::{News, Wishes};
use crate::jsonrpc::Message;
use crate::proxy::Downlink;
use crate::requester::Requester;
use crate::upstream::{Connection, Hello, Lease, Outgoing, Owner, UpstreamError, Upstreams};
use turns::Turns;

/// The key of connections for clients that can be asked nothing.
pub(super) const NOTHING: &str = "{}";
/// How long a call waits for one that is about to end before another process is started for it.
const PAUSE: Duration = Duration::from_millis(250);
/// When it is tried again to open one, where Lockgate's own bounds were in the way.
const AGAIN: Duration = Duration::from_millis(100);
/// How long one is kept that is let go of with a call under way: that is cancelled first.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a server that was just initialized gets to ask something first. All answer `ping`, and at once.
const FIRST_QUESTION: Duration = Duration::from_secs(1);
/// How long one that nobody needs is kept: longer than a user takes to call again.
const IDLE: Duration = Duration::from_secs(60);

/// All of them.
pub(super) struct Lines {
    upstreams: Arc<Upstreams>,
    server: Arc<str>,
    /// Of the adapter: no two adapters share a connection.
    name: String,
    outgoing: Arc<dyn Outgoing>,
    /// Who asked for the first one.
    requester: Requester,
    downlink: Arc<dyn Downlink>,
    /// Whether all calls are the same principal's, or nobody's in particular: what a server asks outside of
    /// any call may wait for the next one then.
    one_asker: bool,
    most: usize,
    next: AtomicU64,
    state: Mutex<State>,
    freed: Notify,
    turns: Turns,
    /// What every connection is told that clients want to hear of.
    pub(super) wishes: Arc<Wishes>,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    /// In the order they were opened: the first that is free is taken, so that a server which keeps
    /// things in memory is one process as long as calls come one by one.
    lines: Vec<Held>,
    opening: usize,
    over: bool,
}

struct Held {
    line: Arc<Line>,
    users: usize,
    /// Its call waits for its client, perhaps for long.
    parked: bool,
    since: Instant,
}

/// One connection.
pub(super) struct Line {
    number: u64,
    key: Arc<str>,
    lease: Lease,
    /// Carries one call at a time.
    exclusive: bool,
    pub(super) news: Arc<News>,
    /// The level that the server was told.
    pub(super) level: tokio::sync::Mutex<Option<String>>,
    /// Resources that the server was asked to tell of.
    pub(super) subscribed: tokio::sync::Mutex<BTreeSet<String>>,
    /// Which wishes those were.
    pub(super) version: AtomicU64,
}

impl Line {
    pub(super) fn connection(&self) -> &Arc<dyn Connection> {
        &self.lease.connection
    }

    /// Whether everything on it belongs to the one call that it carries.
    pub(super) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Whether it is one pipe for everything, and its name.
    pub(super) fn transport(&self) -> (bool, &'static str) {
        (self.lease.is_one_pipe(), self.lease.transport)
    }

    /// Whether there is such a log level.
    pub(super) fn knows_level(&self, level: &str) -> bool {
        self.lease.level(level).is_some()
    }

    fn is_dead(&self) -> bool {
        self.lease.connection.closed().is_some()
    }
}

/// A connection in use. Dropping it gives it back.
pub(super) struct Using {
    lines: Arc<Lines>,
    line: Arc<Line>,
    spoiled: AtomicBool,
    /// Beside a call that waits for its client: what becomes of this one is no matter to the connection.
    guest: bool,
}

impl Using {
    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// The call beside which this one is made, where everything on the connection is known to be its.
    pub(super) fn host(&self) -> Option<Arc<Exchange>> {
        if self.guest { self.line.news.owner() } else { None }
    }

    /// The server may still be at work on the call: what it asks later would seem to belong to the next.
    pub(super) fn spoil(&self) {
        self.spoiled.store(!self.guest, Ordering::Relaxed);
    }

    /// Whether the call waits for its client.
    pub(super) fn park(&self, parked: bool) {
        if self.guest {
            return;
        }
        self.lines.with(&self.line, |held| held.parked = parked);
        self.lines.freed.notify_waiters();
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        let spoiled = self.line.exclusive && self.spoiled.load(Ordering::Relaxed);
        let gone = self.lines.release(&self.line, spoiled);
        if let (Some(gone), Ok(runtime)) = (gone, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                drop(gone);
            });
        }
        self.lines.freed.notify_waiters();
        if !spoiled && self.line.version.load(Ordering::Acquire) != self.lines.wishes.version() {
            self.lines.wish_soon();
        }
    }
}

/// What there is for a call.
enum Found {
    Free(Using),
    /// One is likely to be free in a moment.
    Soon,
    Room(Opening),
    /// Nothing more may be opened.
    Full,
}

/// A place for one that is being opened.
struct Opening(Arc<Lines>);

impl Drop for Opening {
    fn drop(&mut self) {
        lock(&self.0.state).opening -= 1;
        self.0.freed.notify_waiters();
    }
}

impl Lines {
    pub(super) fn new(
        upstreams: &Arc<Upstreams>,
        hello: &Hello,
        name: String,
        stop: CancellationToken,
    ) -> Arc<Lines> {
        Arc::new(Lines {
            upstreams: Arc::clone(upstreams),
            server: Arc::clone(&hello.server),
            name,
            outgoing: Arc::clone(&hello.outgoing),
            requester: hello.requester.clone(),
            downlink: Arc::clone(&hello.downlink),
            one_asker: hello.owner != Owner::Shared || hello.outgoing.principal().is_none(),
            most: upstreams.bounds().bridged_connections as usize,
            next: AtomicU64::new(0),
            state: Mutex::default(),
            freed: Notify::new(),
            turns: Turns::default(),
            wishes: Arc::default(),
            stop,
        })
    }

    /// The `upstream` filters of exchanges that belong to no call.
    pub(super) fn outgoing(&self) -> Arc<dyn Outgoing> {
        Arc::clone(&self.outgoing)
    }

    /// A connection for one call of a client with these capabilities, in order of arrival.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        key: &str,
        cancel: &CancellationToken,
        deadline: Instant,
    ) -> Result<Using, UpstreamError> {
        let why = Mutex::new(self.busy());
        let waiting = async {
            let _turn = self.turns.take(key).await;
            self.wait(key, &why).await
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(UpstreamError::Cancelled),
            () = self.stop.cancelled() => Err(self.gone()),
            using = waiting => using,
            () = tokio::time::sleep_until(deadline) => Err(lock(&why).clone()),
        }
    }

    async fn wait(self: &Arc<Self>, key: &str, why: &Mutex<UpstreamError>) -> Result<Using, UpstreamError> {
        let hurry = Instant::now() + PAUSE;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.look(key, Instant::now() >= hurry) {
                Found::Free(using) => return Ok(using),
                Found::Soon => {
                    let _ = tokio::time::timeout_at(hurry, freed).await;
                }
                Found::Full => freed.await,
                Found::Room(opening) => {
                    let slow = "it was not connected to in time; the call did not reach it".to_owned();
                    let before = std::mem::replace(
                        &mut *lock(why),
                        UpstreamError::Unreachable { server: Arc::clone(&self.server), reason: slow },
                    );
                    let opened = self.open(key, opening).await;
                    *lock(why) = before;
                    match opened {
                        Ok(using) => return Ok(using),
                        // Other connections are in the way. Where some are ours, one may come free.
                        Err(error @ UpstreamError::Busy { .. }) if self.may_come_free(key) => {
                            *lock(why) = error;
                            // Anew: the place that was just given back is this call's own, and no news.
                            let _ = tokio::time::timeout(AGAIN, self.freed.notified()).await;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    fn look(self: &Arc<Self>, key: &str, hurried: bool) -> Found {
        let mut gone = Vec::new();
        let mut state = lock(&self.state);
        let all = std::mem::take(&mut state.lines);
        let (dead, alive) = all.into_iter().partition(|held| held.line.is_dead());
        state.lines = alive;
        gone.extend::<Vec<Held>>(dead);
        let mine = || |held: &&mut Held| &*held.line.key == key;
        let free = state.lines.iter_mut().filter(mine()).find(|held| !held.line.exclusive || held.users == 0);
        let found = if let Some(held) = free {
            held.users += 1;
            let line = Arc::clone(&held.line);
            Found::Free(Using {
                lines: Arc::clone(self),
                line,
                spoiled: AtomicBool::new(false),
                guest: false,
            })
        } else if !hurried && state.lines.iter_mut().filter(mine()).any(|held| !held.parked) {
            Found::Soon
        } else if state.lines.len() + state.opening < self.most {
            state.opening += 1;
            Found::Room(Opening(Arc::clone(self)))
        } else if let Some(idle) = state.give_way(key) {
            gone.push(idle);
            state.opening += 1;
            Found::Room(Opening(Arc::clone(self)))
        } else {
            Found::Full
        };
        drop(state);
        // Outside of the lock: a connection ends with them.
        drop(gone);
        found
    }

    async fn open(self: &Arc<Self>, key: &str, opening: Opening) -> Result<Using, UpstreamError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let waits = self.one_asker && key != NOTHING;
        let news = Arc::new(News::new(Arc::clone(&self.downlink), waits));
        let hello = Hello {
            server: Arc::clone(&self.server),
            requester: self.requester.clone(),
            owner: Owner::Bridged { name: format!("{}/{number}", self.name).into(), alone: key != NOTHING },
            params: Some(initialize(key)),
            downlink: Arc::clone(&news) as Arc<dyn Downlink>,
            outgoing: self.outgoing(),
        };
        let lease = self.upstreams.connect(hello).await?;
        let ended = lease.connection.ended();
        let line = Arc::new(Line {
            number,
            key: key.into(),
            exclusive: key != NOTHING && lease.is_one_pipe(),
            lease,
            news,
            level: tokio::sync::Mutex::default(),
            subscribed: tokio::sync::Mutex::default(),
            version: AtomicU64::new(0),
        });
        {
            let mut state = lock(&self.state);
            if state.over {
                return Err(self.gone());
            }
            let line = Arc::clone(&line);
            state.lines.push(Held { line, users: 1, parked: false, since: Instant::now() });
        }
        drop(opening);
        if let Some(ended) = ended {
            let (lines, stop) = (Arc::downgrade(self), self.stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = ended.cancelled() => Lines::lost(&lines, number),
                }
            });
        }
        let using = Using { lines: Arc::clone(self), line, spoiled: AtomicBool::new(false), guest: false };
        if waits {
            // Servers that ask as soon as they are initialized have asked when they answer this, so that the
            // first call carries the question, and is made when the server has the answer.
            let ping = Message::request(b"0", "ping", None);
            let _ = tokio::time::timeout(FIRST_QUESTION, self.tell(&using, ping)).await;
        }
        // Before its first call: what changes during that is news already.
        self.wish(&using).await;
        Ok(using)
    }

    /// A connection ended. If nobody let go of it, what it would have told is lost.
    fn lost(lines: &Weak<Lines>, number: u64) {
        let Some(lines) = lines.upgrade() else { return };
        let dead = {
            let mut state = lock(&lines.state);
            let at = state.lines.iter().position(|held| held.line.number == number);
            at.map(|at| state.lines.remove(at))
        };
        if dead.is_some() {
            lines.wishes.broke();
            lines.freed.notify_waiters();
        }
    }

    /// Those that carry nothing, or may carry more, taken into use.
    pub(super) fn free(self: &Arc<Self>) -> Vec<Using> {
        let mut state = lock(&self.state);
        let free = state.lines.iter_mut().filter(|held| !held.line.exclusive || held.users == 0);
        free.map(|held| {
            held.users += 1;
            let line = Arc::clone(&held.line);
            Using { lines: Arc::clone(self), line, spoiled: AtomicBool::new(false), guest: false }
        })
        .collect()
    }

    /// Whether one of ours is in use, or about to end to make room for one of that kind.
    fn may_come_free(&self, key: &str) -> bool {
        let gone = {
            let mut state = lock(&self.state);
            if state.lines.iter().any(|held| held.users > 0) {
                return true;
            }
            state.give_way(key)
        };
        gone.is_some()
    }

    /// Lets go of those that nobody has used for a while, but for the first of each kind.
    pub(super) fn sweep(&self) {
        let mut kinds = BTreeSet::new();
        let mut gone = Vec::new();
        {
            let mut state = lock(&self.state);
            let all = std::mem::take(&mut state.lines);
            for held in all {
                let first = kinds.insert(Arc::clone(&held.line.key));
                if first || held.users > 0 || held.since.elapsed() < IDLE {
                    state.lines.push(held);
                } else {
                    gone.push(held);
                }
            }
        }
        drop(gone);
    }

    /// Lets go of all, and opens no more.
    pub(super) fn end(&self) {
        let gone = {
            let mut state = lock(&self.state);
            state.over = true;
            std::mem::take(&mut state.lines)
        };
        drop(gone);
        self.freed.notify_waiters();
    }

    fn release(&self, line: &Arc<Line>, spoiled: bool) -> Option<Held> {
        let mut state = lock(&self.state);
        let at = state.lines.iter().position(|held| Arc::ptr_eq(&held.line, line))?;
        if spoiled {
            return Some(state.lines.remove(at));
        }
        let held = state.lines.get_mut(at)?;
        (held.users, held.since) = (held.users.saturating_sub(1), Instant::now());
        held.parked &= held.users > 0;
        None
    }

    fn with(&self, line: &Arc<Line>, change: impl FnOnce(&mut Held)) {
        if let Some(held) = lock(&self.state).lines.iter_mut().find(|held| Arc::ptr_eq(&held.line, line)) {
            change(held);
        }
    }

    fn busy(&self) -> UpstreamError {
        UpstreamError::Busy { server: Arc::clone(&self.server), limit: "limits.bridged_connections" }
    }

    pub(super) fn gone(&self) -> UpstreamError {
        UpstreamError::Gone {
            server: Arc::clone(&self.server),
            reason: "was let go of by Lockgate".to_owned(),
            may_have_run: false,
        }
    }
}

impl State {
    /// Takes out the one of another kind that nobody has used for the longest time.
    fn give_way(&mut self, key: &str) -> Option<Held> {
        let idle = self.lines.iter().enumerate().filter(|(_, h)| h.users == 0 && &*h.line.key != key);
        let (at, _) = idle.min_by_key(|(_, held)| held.since)?;
        Some(self.lines.remove(at))
    }
}

#[cfg(test)]
impl Lines {
    /// How many there are of each kind.
    pub(super) fn kinds(&self) -> std::collections::BTreeMap<String, usize> {
        let mut kinds = std::collections::BTreeMap::new();
        for held in &lock(&self.state).lines {
            *kinds.entry(held.line.key.to_string()).or_default() += 1;
        }
        kinds
    }
}
