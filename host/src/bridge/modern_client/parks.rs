//! Calls that wait for their client's answers: where they are found again, and how many there may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::exchange::Exchange;
use super::lock;
use super::visits::Visit;
use crate::filter::Principal;

/// A call that waits.
pub(super) enum Parked {
    /// The server waits as well.
    Call(Arc<Exchange>),
    /// The server refused it until its user has visited a page.
    Visit(Visit),
}

/// Whose a call is, or a task that came of it: nobody else's answers reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    method: Box<str>,
    principal: Option<(String, String)>,
}

impl Whose {
    pub(super) fn new(method: &str, principal: Option<Arc<Principal>>) -> Whose {
        let principal = principal.map(|principal| (principal.issuer.clone(), principal.id.clone()));
        Whose { method: method.into(), principal }
    }
}

struct Entry {
    parked: Parked,
    whose: Whose,
    until: Instant,
}

/// All calls of one adapter that wait.
pub(super) struct Parks {
    all: Mutex<HashMap<String, Entry>>,
    mine: Mutex<HashMap<(String, String), usize>>,
    room: Arc<Semaphore>,
    /// What bounds it.
    limit: &'static str,
    /// Of everybody's at this server.
    of_server: Arc<Semaphore>,
    /// Most that one of several principals gets.
    share: usize,
}

/// A place among those that wait.
pub(super) struct Place {
    parks: Arc<Parks>,
    principal: Option<(String, String)>,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(principal) = self.principal.take() else { return };
        let mut mine = lock(&self.parks.mine);
        if let Some(count) = mine.get_mut(&principal) {
            *count -= 1;
            if *count == 0 {
                mine.remove(&principal);
            }
        }
    }
}

impl Parks {
    /// `most`: with the limit that says so. `shared`: several principals may be behind the adapter, and no
    /// one of them gets more than half.
    pub(super) fn new(
        (most, limit): (usize, &'static str),
        shared: bool,
        of_server: Arc<Semaphore>,
    ) -> Parks {
        let share = if shared { most.div_ceil(2) } else { most };
        Parks {
            all: Mutex::default(),
            mine: Mutex::default(),
            room: Arc::new(Semaphore::new(most)),
            limit,
            of_server,
            share,
        }
    }

    /// A place for one more; if there is none left, the limit that is in the way.
    pub(super) fn place(self: &Arc<Self>, whose: &Whose) -> Result<Place, &'static str> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| self.limit)?;
        let of_server =
            Arc::clone(&self.of_server).try_acquire_owned().map_err(|_| "limits.calls_per_server")?;
        if let Some(principal) = &whose.principal {
            let mut mine = lock(&self.mine);
            let count = mine.entry(principal.clone()).or_default();
            if *count >= self.share {
                return Err(self.limit);
            }
            *count += 1;
        }
        Ok(Place { parks: Arc::clone(self), principal: whose.principal.clone(), _permits: (room, of_server) })
    }

    /// Notes a call that waits under this name.
    pub(super) fn park(&self, id: String, parked: Parked, whose: Whose, until: Instant) {
        lock(&self.all).insert(id, Entry { parked, whose, until });
    }

    /// The call that waits under this name, once. None if there is none, if it is somebody else's, or if
    /// it waited too long.
    pub(super) fn take(&self, id: &str, whose: &Whose) -> Option<Parked> {
        let mut all = lock(&self.all);
        // What is too late stays for the one who ends it.
        let entry = all.get(id).filter(|entry| entry.whose == *whose && Instant::now() < entry.until);
        entry?;
        all.remove(id).map(|entry| entry.parked)
    }

    /// Forgets one. False if it was taken before.
    pub(super) fn forget(&self, id: &str) -> bool {
        let gone = lock(&self.all).remove(id);
        gone.is_some()
    }

    /// Ends a call that waits under this name: its client will not be back.
    pub(super) fn abandon(&self, id: &str) {
        let gone = lock(&self.all).remove(id);
        if let Some(Entry { parked: Parked::Call(exchange), .. }) = gone {
            exchange.abandon();
        }
    }

    /// Forgets those that nobody waits with.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut gone = Vec::new();
        let mut all = lock(&self.all);
        let due = all.iter().filter(|(_, e)| now >= e.until && matches!(e.parked, Parked::Visit(_)));
        let due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
        gone.extend(due.iter().filter_map(|id| all.remove(id)));
        drop(all);
        drop(gone);
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut *lock(&self.all));
        drop(gone);
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        lock(&self.all).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(method: &str, id: &str) -> Whose {
        Whose { method: method.into(), principal: Some(("i".to_owned(), id.to_owned())) }
    }

    fn parks(most: usize, shared: bool, of_server: usize) -> Arc<Parks> {
        Arc::new(Parks::new((most, "limits.parked_calls"), shared, Arc::new(Semaphore::new(of_server))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_is_found_once_and_by_its_own_client_only() {
        let parks = parks(4, false, 4);
        let visit = || Parked::Visit(Visit::default());
        let until = Instant::now() + std::time::Duration::from_secs(10);
        parks.park("a".to_owned(), visit(), whose("tools/call", "ada"), until);
        assert!(parks.take("b", &whose("tools/call", "ada")).is_none());
        assert!(parks.take("a", &whose("prompts/get", "ada")).is_none());
        assert!(parks.take("a", &whose("tools/call", "bob")).is_none());
        assert!(parks.take("a", &whose("tools/call", "ada")).is_some());
        assert!(parks.take("a", &whose("tools/call", "ada")).is_none(), "once");
        parks.park("c".to_owned(), visit(), whose("tools/call", "ada"), until);
        parks.park("d".to_owned(), visit(), whose("tools/call", "ada"), until);
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        assert!(parks.take("c", &whose("tools/call", "ada")).is_none(), "too late");
        parks.sweep();
        assert_eq!(parks.len(), 0);
    }

    #[test]
    fn places_are_bounded_and_one_of_several_principals_gets_half() {
        let shared = parks(4, true, 9);
        let (ada, bob) = (whose("tools/call", "ada"), whose("tools/call", "bob"));
        let mut held = vec![shared.place(&ada).unwrap(), shared.place(&ada).unwrap()];
        assert_eq!(shared.place(&ada).err(), Some("limits.parked_calls"), "the other half is for others");
        held.push(shared.place(&bob).unwrap());
        held.remove(0);
        held.push(shared.place(&ada).unwrap());
        let alone = parks(4, false, 3);
        let held: Vec<_> = std::iter::from_fn(|| alone.place(&ada).ok()).collect();
        assert_eq!(held.len(), 3, "the server has no more");
        assert_eq!(alone.place(&ada).err(), Some("limits.calls_per_server"));
        drop(held);
        assert!(alone.place(&ada).is_ok() && lock(&alone.mine).is_empty());
    }
}
