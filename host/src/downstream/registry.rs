//! All HTTP sessions: found by id and owner, bounded, and ended by one reaper.
//!
//! Nearly no client ever ends its session (measured: 92 to 99 % just leave), so that reaping is the
//! normal way out.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::downlink;
use super::endpoint::Endpoint;
use super::outlet::lock;
use super::session::Session;
use crate::config::Limits;
use crate::filter::Principal;
use crate::jsonrpc::Message;
use crate::memory::{self, Ebb};
use crate::protocol::methods;

/// Whom a session belongs to: issuer and id of the principal, never a credential. None: nobody
/// authenticates here, and the session id is all there is.
pub type Owner = Option<(String, String)>;

/// The owner that a principal is.
pub fn owner(principal: Option<&Principal>) -> Owner {
    principal.map(|principal| (principal.issuer.clone(), principal.id.clone()))
}

/// All sessions.
#[derive(Default)]
pub struct Sessions {
    state: Mutex<State>,
    /// Bytes of events that all of them keep.
    kept: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Arc<str>, Held>,
    by_owner: HashMap<(String, String), Holding>,
    opening: usize,
    ebb: Ebb,
    /// No more are taken.
    over: bool,
}

/// What one principal has.
#[derive(Default)]
struct Holding {
    ids: HashSet<Arc<str>>,
    opening: usize,
}

struct Held {
    session: Arc<Session>,
    owner: Owner,
    /// Whether it is being asked if its client is still there.
    probing: Arc<AtomicBool>,
}

/// Room for one session that is about to open. Dropping it gives the room back.
pub struct Room {
    sessions: Arc<Sessions>,
    owner: Owner,
}

impl Sessions {
    /// Makes room for a session of `owner`. At `sessions_per_principal`, so that one principal cannot
    /// lock all others out, that principal's longest silent session without a call in flight and
    /// without a reader gives way: its client left, or will begin a new one. None if there is no room.
    pub fn room(self: &Arc<Self>, owner: Owner, limits: &Limits) -> Option<Room> {
        let all = limits.sessions as usize;
        let share = limits.sessions_per_principal as usize;
        let mut gone = None;
        {
            let mut state = lock(&self.state);
            if state.over {
                return None;
            }
            let held = owner.as_ref().and_then(|owner| state.by_owner.get(owner));
            if let Some(held) = held.filter(|held| held.ids.len() + held.opening >= share) {
                let id = state.quietest(&held.ids)?;
                gone = state.remove(&id);
            }
            if state.entries.len() + state.opening >= all {
                return None;
            }
            state.opening += 1;
            if let Some(owner) = &owner {
                state.by_owner.entry(owner.clone()).or_default().opening += 1;
            }
        }
        // Outside of the lock: closing a link runs others' code.
        if let Some(gone) = gone {
            gone.end();
        }
        Some(Room { sessions: self.clone(), owner })
    }

    /// The session of that id on that server, if it belongs to `owner`. Foreign, unknown and ended
    /// ones are alike.
    pub fn find(&self, id: &str, server: &str, owner: &Owner) -> Option<Arc<Session>> {
        let state = lock(&self.state);
        let held = state.entries.get(id)?;
        let over = held.session.over().is_cancelled();
        let found = &**held.session.server() == server && held.owner == *owner && !over;
        found.then(|| held.session.clone())
    }

    /// Ends one.
    pub fn end(&self, session: &Session) {
        let removed = lock(&self.state).remove(session.id());
        if let Some(removed) = removed {
            removed.end();
        }
    }

    /// Ends all, and takes no more.
    pub fn end_all(&self) {
        let all = {
            let mut state = lock(&self.state);
            state.over = true;
            state.by_owner.clear();
            std::mem::take(&mut state.entries)
        };
        for held in all.into_values() {
            held.session.end();
        }
    }

    /// Ends all streams that belong to no call; sessions and their calls go on.
    pub fn stop_listening(&self) {
        for held in lock(&self.state).entries.values() {
            held.session.unsolicited.end();
        }
    }

    /// The count of what all of them keep for clients that come back, in bytes.
    pub fn kept(&self) -> &Arc<AtomicUsize> {
        &self.kept
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.state).entries.len()
    }

    /// Ends what is due, until `shutdown`. One task for all sessions.
    pub async fn reap(self: Arc<Self>, endpoint: Arc<dyn Endpoint>, shutdown: CancellationToken) {
        loop {
            let limits = endpoint.config().limits;
            let shortest = limits.session_idle_seconds.min(limits.session_seconds);
            let pause = (Duration::from_secs(shortest) / 8)
                .clamp(Duration::from_millis(500), Duration::from_secs(30));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => self.sweep(&limits),
            }
            if lock(&self.state).ebb.is_over() {
                // Not waited for: nobody needs to know when it is done.
                drop(tokio::task::spawn_blocking(memory::give_back));
            }
        }
    }

    /// Ends the sessions that are idle or old, and asks those that may be idle whether they are: an
    /// open stream is no sign of a client (it may be half open), but an answer on it is.
    fn sweep(&self, limits: &Limits) {
        let idle = Duration::from_secs(limits.session_idle_seconds);
        let old = Duration::from_secs(limits.session_seconds);
        let (mut due, mut doubtful) = (Vec::new(), Vec::new());
        for held in lock(&self.state).entries.values() {
            let (session, silence) = (&held.session, held.session.silence());
            if let Some(replay) = session.replay() {
                replay.expire();
            }
            let over = session.over().is_cancelled();
            if over || session.opened().elapsed() >= old || (silence >= idle && session.in_flight() == 0) {
                due.push(session.clone());
            } else if silence >= idle / 2 && !held.probing.load(Ordering::Relaxed) {
                doubtful.push((session.clone(), held.probing.clone()));
            }
        }
        for session in due {
            tracing::debug!(server = &**session.server(), silence = ?session.silence(), "a session expired");
            self.end(&session);
        }
        for (session, probing) in doubtful {
            let Some(outlet) = session.unsolicited.current() else { continue };
            probing.store(true, Ordering::Relaxed);
            tokio::spawn(async move {
                let ping = Message::request(b"0", methods::PING, None);
                // Whatever the answer: that it came in was the sign.
                downlink::ask(session, Some(outlet), ping).await;
                probing.store(false, Ordering::Relaxed);
            });
        }
    }
}

impl State {
    fn remove(&mut self, id: &str) -> Option<Arc<Session>> {
        let held = self.entries.remove(id)?;
        self.ebb.ended();
        memory::shrink(&mut self.entries);
        if let Some(owner) = held.owner {
            self.change(owner, |holding| {
                holding.ids.remove(id);
            });
        }
        Some(held.session)
    }

    fn change(&mut self, owner: (String, String), change: impl FnOnce(&mut Holding)) {
        if let Entry::Occupied(mut holding) = self.by_owner.entry(owner) {
            change(holding.get_mut());
            if holding.get().ids.is_empty() && holding.get().opening == 0 {
                holding.remove();
            }
        }
        memory::shrink(&mut self.by_owner);
    }

    fn quietest(&self, ids: &HashSet<Arc<str>>) -> Option<Arc<str>> {
        ids.iter()
            .filter_map(|id| self.entries.get(id))
            .map(|held| &held.session)
            .filter(|session| session.in_flight() == 0 && session.unsolicited.current().is_none())
            .max_by_key(|session| session.silence())
            .map(|session| session.id().clone())
    }
}

impl Room {
    /// Puts the session that opened on the books. False if all sessions ended in the meantime.
    pub fn fill(self, session: Arc<Session>) -> bool {
        let mut state = lock(&self.sessions.state);
        if state.over {
            return false;
        }
        let id = session.id().clone();
        if let Some(owner) = &self.owner {
            state.by_owner.entry(owner.clone()).or_default().ids.insert(id.clone());
        }
        let held = Held { session, owner: self.owner.clone(), probing: Arc::default() };
        state.entries.insert(id, held);
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = lock(&self.sessions.state);
        state.opening = state.opening.saturating_sub(1);
        if let Some(owner) = self.owner.take() {
            state.change(owner, |holding| holding.opening = holding.opening.saturating_sub(1));
        }
    }
}
