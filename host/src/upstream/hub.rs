//! The downlinks of everybody who uses one connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wire::lock;
use crate::jsonrpc::Message;
use crate::proxy::Downlink;

/// Where what belongs to no call goes.
#[derive(Default)]
pub(super) struct Hub {
    next: AtomicU64,
    joined: Mutex<Vec<(u64, Arc<dyn Downlink>)>>,
}

impl Hub {
    /// Adds one; the number takes it out again.
    pub(super) fn join(&self, downlink: Arc<dyn Downlink>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.joined).push((number, downlink));
        number
    }

    pub(super) fn leave(&self, number: u64) {
        let gone = {
            let mut joined = lock(&self.joined);
            let at = joined.iter().position(|(n, _)| *n == number);
            at.map(|at| joined.swap_remove(at))
        };
        // Dropped outside the lock: what a downlink does at its end is not known here.
        drop(gone);
    }

    /// The only one there is.
    pub(super) fn only(&self) -> Option<Arc<dyn Downlink>> {
        match lock(&self.joined).as_slice() {
            [(_, downlink)] => Some(Arc::clone(downlink)),
            _ => None,
        }
    }

    /// How long all have been silent; none while something is under way for any of them.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.all().iter().try_fold(Duration::MAX, |least, downlink| Some(least.min(downlink.silence()?)))
    }

    /// Ends the sessions of all. False if one of them does not give way.
    pub(super) fn give_way(&self) -> bool {
        self.all().iter().all(|downlink| downlink.give_way())
    }

    fn all(&self) -> Vec<Arc<dyn Downlink>> {
        lock(&self.joined).iter().map(|(_, downlink)| Arc::clone(downlink)).collect()
    }

    pub(super) fn tell_all(&self, notification: &Message) {
        for downlink in self.all() {
            downlink.notify(notification.clone());
        }
    }
}
