//! How many calls one server gets at once, and how many wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::UpstreamError;

/// The gate in front of one server, for all its connections together.
pub(super) struct Gate {
    server: Arc<str>,
    room: Arc<Semaphore>,
    waiting: AtomicU32,
    most_waiting: u32,
}

impl Gate {
    pub(super) fn new(server: Arc<str>, calls: u32, most_waiting: u32) -> Gate {
        let room = Arc::new(Semaphore::new(calls.max(1) as usize));
        Gate { server, room, waiting: AtomicU32::new(0), most_waiting }
    }

    /// Waits for a place, in order of arrival. Fails at once if too many wait already.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Ok(permit);
        }
        let busy = |limit| UpstreamError::Busy { server: Arc::clone(&self.server), limit };
        let _place =
            Place::take(&self.waiting, self.most_waiting).ok_or_else(|| busy("limits.queue_per_server"))?;
        // It is never closed.
        Arc::clone(&self.room).acquire_owned().await.map_err(|_| busy("limits.calls_per_server"))
    }
}

/// A place in the queue, given back on every way out.
struct Place<'a>(&'a AtomicU32);

impl Place<'_> {
    fn take(waiting: &AtomicU32, most: u32) -> Option<Place<'_>> {
        let take = |n: u32| (n < most).then_some(n + 1);
        waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok().map(|_| Place(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn beyond_the_queue_calls_are_refused_and_a_place_comes_free_again() {
        let gate = Gate::new("s".into(), 1, 1);
        let first = gate.enter().await.unwrap();
        let mut second = Box::pin(gate.enter());
        assert!(second.as_mut().now_or_never().is_none());
        let refused = gate.enter().await.unwrap_err();
        assert!(matches!(refused, UpstreamError::Busy { limit: "limits.queue_per_server", .. }), "{refused}");

        // Who leaves the queue makes room in it.
        drop(second);
        let mut third = Box::pin(gate.enter());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.await.is_ok());
    }
}
