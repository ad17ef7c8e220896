//! Connections for requests in the course of which nothing is asked: beside a call that waits for its
//! client, where none is free.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::lock;
use super::{Lines, Using};
use crate::upstream::UpstreamError;

/// What there is for a request in the course of which nothing is asked.
enum Beside {
    Free(Using),
    /// All are at work, and none waits for its client.
    Soon,
    /// None of that kind is open.
    None,
}

impl Lines {
    /// A connection for a request in the course of which nothing is asked. Those whose calls wait for their
    /// clients will do: such requests are made for the very calls that would end the waiting, so they must
    /// not wait for a connection to come free. Should the waiting call ask again in just that moment, it is
    /// told that it cannot.
    pub(in crate::bridge::modern_client) async fn acquire_beside(
        self: &Arc<Self>,
        key: &str,
        cancel: &CancellationToken,
        deadline: Instant,
    ) -> Result<Using, UpstreamError> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.beside(key) {
                Beside::Free(using) => return Ok(using),
                Beside::None => return self.acquire(key, cancel, deadline).await,
                Beside::Soon => {}
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(UpstreamError::Cancelled),
                () = self.stop.cancelled() => return Err(self.gone()),
                () = tokio::time::sleep_until(deadline) => return Err(self.busy()),
                () = freed => {}
            }
        }
    }

    fn beside(self: &Arc<Self>, key: &str) -> Beside {
        let mut state = lock(&self.state);
        let mut mine: Vec<_> =
            state.lines.iter_mut().filter(|held| &*held.line.key == key && !held.line.is_dead()).collect();
        if mine.is_empty() {
            return Beside::None;
        }
        let free = mine.iter().position(|held| !held.line.exclusive || held.users == 0);
        let at = free.or_else(|| mine.iter().position(|held| held.parked));
        let Some(held) = at.and_then(|at| mine.get_mut(at)) else { return Beside::Soon };
        let guest = held.users > 0 && held.line.exclusive;
        held.users += 1;
        let line = Arc::clone(&held.line);
        Beside::Free(Using { lines: Arc::clone(self), line, spoiled: AtomicBool::new(false), guest })
    }
}
