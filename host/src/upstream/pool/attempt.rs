//! One attempt to open a connection, and the watch over what came of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::places::Occupant;
use super::verdicts::NotOpened;
use super::{Key, Opened, Pool, Upstream};
use crate::protocol::versions;
use crate::requester::Requester;
use crate::upstream::hub::Hub;
use crate::upstream::inbox::Inbox;
use crate::upstream::route::Over;
use crate::upstream::wire::lock;
use crate::upstream::{Connection, Outgoing, UpstreamError};

/// A server that may be tried again this soon is waited for instead of refused.
const SOON: Duration = Duration::from_secs(1);

/// One attempt to open a connection.
pub(super) struct Attempt {
    pub(super) pool: Arc<Pool>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) key: Key,
    pub(super) requester: Requester,
    /// The first asker's: whoever joins takes the server as it is.
    pub(super) params: Option<Bytes>,
    pub(super) outgoing: Arc<dyn Outgoing>,
    pub(super) hub: Arc<Hub>,
    /// Of the child that serves it.
    pub(super) place: Mutex<Option<u64>>,
    pub(super) stop: CancellationToken,
}

/// A connection, as the one that has a place for a child.
struct Occupying {
    hub: Arc<Hub>,
    inbox: Arc<Inbox>,
    stop: CancellationToken,
}

impl Occupant for Occupying {
    fn silence(&self) -> Option<Duration> {
        Some(self.hub.silence()?.min(self.inbox.silence()?))
    }

    fn give_way(&self) -> bool {
        if !self.hub.give_way() {
            return false;
        }
        // First, so that whoever watches it takes this for no failure of the server's.
        self.stop.cancel();
        self.inbox.fail("gave way to another session: all places for its processes were taken");
        true
    }
}

impl Attempt {
    pub(super) async fn run(self) -> Opened {
        let server = Arc::clone(&self.key.0);
        self.wait_out_backoff().await?;
        let gave_up =
            || UpstreamError::Unreachable { server, reason: "nobody waited for it any more".to_owned() };
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = self.stop.cancelled() => return Err(gave_up().into()),
        };
        let (connection, inbox, over) = match opened {
            Ok(opened) => opened,
            Err(not) => {
                self.stop.cancel();
                // What is in doubt is settled by whoever waits.
                if not.doubt.is_none() && self.is_failed_start(&not.error, not.answered) {
                    let (owner, reason) = (&self.key.1, reason(&not.error));
                    lock(&self.upstream.starts).failed(Instant::now(), owner, &self.requester, reason);
                }
                return Err(not);
            }
        };
        lock(&self.upstream.starts).came_up();
        let pool = Arc::clone(&self.pool);
        if let Some(place) = *lock(&self.place) {
            let (hub, stop) = (Arc::clone(&self.hub), self.stop.clone());
            pool.places.occupied(place, Arc::new(Occupying { hub, inbox: Arc::clone(&inbox), stop }));
        }
        pool.tracker.spawn(self.watch(Arc::clone(&connection), inbox));
        Ok((connection, over))
    }

    /// Closes the connection when nobody holds it, and remembers if it ended of itself.
    pub(super) async fn watch(self, connection: Arc<dyn Connection>, inbox: Arc<Inbox>) {
        let began = Instant::now();
        tokio::select! {
            // What is let go of ends as well, and that is no failure of the server.
            biased;
            () = self.stop.cancelled() => {}
            () = inbox.ended.cancelled() => {
                if let (Some(end), Some(_)) = (inbox.closed(), &self.upstream.config.command) {
                    let server = &*self.key.0;
                    tracing::warn!(target: "server", server, %end, "a server ended; it is started again when it is needed");
                    let (lived, reason) = (began.elapsed(), reason(&end));
                    let mut starts = lock(&self.upstream.starts);
                    starts.ended(Instant::now(), &self.key.1, &self.requester, lived, reason);
                }
            }
        }
        connection.close();
        self.stop.cancel();
    }

    /// Whether that was a start that failed: the process did not come up, or died or was silent before it
    /// answered anything. A limit and a filter say nothing about the server, and its answer to one
    /// requester nothing about what it answers to others.
    pub(super) fn is_failed_start(&self, error: &UpstreamError, answered: bool) -> bool {
        let said = matches!(
            error,
            UpstreamError::Busy { .. } | UpstreamError::Refused { .. } | UpstreamError::OtherEra { .. }
        );
        self.upstream.config.command.is_some() && !answered && !said
    }

    async fn wait_out_backoff(&self) -> Result<(), UpstreamError> {
        let blocked = lock(&self.upstream.starts).blocked(Instant::now(), &self.key.1, &self.requester);
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
    async fn open(&self) -> Result<(Arc<dyn Connection>, Arc<Inbox>, Over), NotOpened> {
        let Attempt { upstream, key: (server, ..), params, .. } = self;
        let (modern, now) = (params.is_none(), Instant::now());
        let verdicts = &upstream.verdicts;
        let other = if modern { verdicts.legacy_only(now) } else { verdicts.modern_only(now) };
        if let Some(speaks) = other {
            return Err(UpstreamError::OtherEra { server: Arc::clone(server), speaks }.into());
        }
        let mut attempts = upstream.route.attempts(modern, now);
        let (mut doubtful, mut answered) = (false, false);
        while let Some(over) = attempts.next() {
            match self.open_over(over).await {
                Ok((connection, inbox)) => {
                    attempts.worked(over, Instant::now());
                    return Ok((connection, inbox, over));
                }
                Err(not) => {
                    doubtful |= not.may_be_modern;
                    answered |= not.answered;
                    let failed = attempts.failed(over, not.error);
                    failed.map_err(|error| self.not_opened(error, doubtful, answered))?;
                }
            }
        }
        let speaks = versions::LEGACY.map(str::to_owned).to_vec();
        Err(UpstreamError::OtherEra { server: Arc::clone(server), speaks }.into())
    }
}

/// What an error says besides the server's name.
pub(super) fn reason(error: &UpstreamError) -> String {
    match error {
        UpstreamError::NotStarted { reason, .. }
        | UpstreamError::Unreachable { reason, .. }
        | UpstreamError::NotServed { reason, .. } => reason.clone(),
        UpstreamError::Gone { reason, .. } => format!("it {reason}"),
        other => other.to_string(),
    }
}
