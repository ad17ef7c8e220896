//! The links of requests that belong to no session: found by server and owner, bounded, and let go
//! when nobody wanted them for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Gateway;
use crate::proxy::{Joining, Link};
use crate::upstream::Owner;

type Key = (Arc<str>, Owner);

/// All of them.
#[derive(Default)]
pub(super) struct Joined {
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    by_key: HashMap<Key, Arc<Link>>,
    /// Whether a task looks for those that nobody wants any more.
    reaped: bool,
    over: bool,
}

impl Joined {
    /// Finds or makes one. None at `most`, if all are in use.
    pub(super) fn join(
        self: &Arc<Self>,
        gateway: &Arc<Gateway>,
        owner: Owner,
        joining: Joining,
        most: usize,
    ) -> Option<Arc<Link>> {
        let key = (joining.server.clone(), owner.clone());
        let (link, made, gone) = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            if links.over {
                return None;
            }
            let gone = if links.by_key.len() >= most && !links.by_key.contains_key(&key) {
                Some(links.give_way()?)
            } else {
                None
            };
            let caller = joining.caller.clone();
            let mut made = false;
            let link = links.by_key.entry(key).or_insert_with(|| {
                made = true;
                Link::joined(gateway.clone(), owner, joining)
            });
            link.touch(&caller);
            let link = link.clone();
            if !std::mem::replace(&mut links.reaped, true) {
                tokio::spawn(reap(Arc::downgrade(self), Arc::downgrade(gateway)));
            }
            (link, made, gone)
        };
        // Outside of the lock: what hangs from it is not known here.
        drop(gone);
        if made {
            gateway.note(&link);
        }
        Some(link)
    }

    /// Lets go of all, and makes no more.
    pub(super) fn end(&self) {
        let all = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.over = true;
            std::mem::take(&mut links.by_key)
        };
        for link in all.into_values() {
            link.close();
        }
    }

    /// False when there are none left.
    fn sweep(&self, idle: Duration) -> bool {
        let gone: Vec<_> = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            let due: Vec<Key> = links
                .by_key
                .iter()
                .filter(|(_, link)| unused(link) && link.idle() >= idle)
                .map(|(key, _)| key.clone())
                .collect();
            let gone = due.iter().filter_map(|key| links.by_key.remove(key)).collect();
            links.reaped = !links.by_key.is_empty();
            gone
        };
        for link in &gone {
            tracing::debug!(server = %link.server(), "let go of a link that nobody used");
            link.close();
        }
        self.links.lock().unwrap_or_else(PoisonError::into_inner).reaped
    }
}

impl Links {
    /// Takes out the one that nobody wanted for the longest time.
    fn give_way(&mut self) -> Option<Arc<Link>> {
        let unused = self.by_key.iter().filter(|(_, link)| unused(link));
        let key = unused.max_by_key(|(_, link)| link.idle()).map(|(key, _)| key.clone())?;
        self.by_key.remove(&key)
    }
}

/// Whether nobody but the map holds it, neither a request nor somebody who listens, and no call waits on it
/// for its client to come back.
fn unused(link: &Arc<Link>) -> bool {
    Arc::strong_count(link) == 1 && !link.has_parked()
}

async fn reap(joined: Weak<Joined>, gateway: Weak<Gateway>) {
    loop {
        let Some(idle) = gateway.upgrade().map(|gateway| gateway.config().limits.session_idle_seconds) else {
            return;
        };
        let idle = Duration::from_secs(idle);
        tokio::time::sleep((idle / 8).clamp(Duration::from_millis(500), Duration::from_secs(30))).await;
        match joined.upgrade() {
            Some(joined) if joined.sweep(idle) => {}
            _ => return,
        }
    }
}
