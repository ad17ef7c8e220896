//! Opening a connection over one transport, in the era of whoever wants it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Upstreams;
use super::attempt::{Attempt, reason};
use super::verdicts::{Doubt, FailedStart, NotOpened};
use crate::protocol::versions;
use crate::upstream::inbox::Inbox;
use crate::upstream::legacy::{self, NotBegun};
use crate::upstream::route::Over;
use crate::upstream::{Connection, Hello, Lease, UpstreamError, modern};

/// For how many seconds silence, or the end of a child, is taken for the answer of a legacy server. Each
/// request would start a process and wait for it otherwise.
const DOUBTFUL: u64 = 60;

/// How long a child that refused gets to make room for the next, where there is room for so few.
const ROOM: Duration = Duration::from_secs(5);
const ROOM_PAUSE: Duration = Duration::from_millis(50);

impl Upstreams {
    /// A connection of the modern era, where one of the legacy era did not come about and the server may
    /// speak only that one.
    ///
    /// # Errors
    /// What stood in the way of the legacy one, unless that was the era.
    pub(crate) async fn modern_instead(&self, not: NotOpened, hello: Hello) -> Result<Lease, UpstreamError> {
        let NotOpened { error, doubt, .. } = not;
        let other_era = matches!(error, UpstreamError::OtherEra { .. });
        if doubt.is_none() && !other_era {
            return Err(error);
        }
        let until = Instant::now() + ROOM;
        let opened = loop {
            match self.connect(Hello { params: None, ..hello.clone() }).await {
                Err(UpstreamError::Busy { .. }) if Instant::now() < until => {
                    tokio::time::sleep(ROOM_PAUSE).await;
                }
                opened => break opened,
            }
        };
        match (opened, doubt) {
            (Ok(lease), doubt) => {
                if let Some(doubt) = doubt {
                    doubt.was_right(vec![lease.connection.handshake().protocol_version.clone()]);
                }
                Ok(lease)
            }
            (Err(other), None) => Err(other),
            // A limit and a filter say nothing about the server: the doubt stays.
            (Err(UpstreamError::Busy { .. } | UpstreamError::Refused { .. }), Some(_)) => Err(error),
            (Err(_), Some(doubt)) => {
                doubt.was_wrong();
                Err(error)
            }
        }
    }
}

impl Attempt {
    pub(super) async fn open_over(&self, over: Over) -> Result<(Arc<dyn Connection>, Arc<Inbox>), NotBegun> {
        let Attempt { pool, upstream, params, outgoing, .. } = self;
        let limits = &pool.config.limits;
        let (wire, inbox) = self.wire(over).await?;
        // A start may take longer than a call: the first one of a package runner is a download.
        let seconds = upstream.config.timeout_seconds.unwrap_or(0).max(limits.call_seconds);
        let patience = Duration::from_secs(seconds);
        let gate = Arc::clone(&upstream.gate);
        let outgoing = Arc::clone(outgoing);
        let opened: Result<Arc<dyn Connection>, NotBegun> = match params {
            Some(params) => {
                let begin = legacy::Begin {
                    params,
                    patience,
                    batch_messages: limits.batch_messages as usize,
                    silent_may_be_modern: over.is_pipe(),
                };
                legacy::open(Arc::clone(&inbox), wire, gate, outgoing, begin).await.map(|session| {
                    upstream.verdicts.spoke_legacy();
                    Arc::new(session) as Arc<dyn Connection>
                })
            }
            None => {
                let parts = modern::Parts { inbox: Arc::clone(&inbox), wire, gate, outgoing };
                self.open_modern(parts, patience, over.is_pipe()).await.map_err(NotBegun::from)
            }
        };
        let connection = opened.map_err(|not| NotBegun {
            error: match not.error {
                // It never came to a call: what ended is the start.
                UpstreamError::Gone { server, reason, .. } if over == Over::Stdio => {
                    UpstreamError::NotStarted { server, reason: format!("it {reason}") }
                }
                error => error,
            },
            answered: inbox.answered(),
            ..not
        })?;
        Ok((connection, inbox))
    }

    /// What is to be said of an attempt that failed; `doubtful`: a modern server may have ended it so.
    pub(super) fn not_opened(&self, error: UpstreamError, doubtful: bool, answered: bool) -> NotOpened {
        let Attempt { pool, upstream, params, key, .. } = self;
        if params.is_none() {
            return NotOpened { error, doubt: None, answered };
        }
        let lifetime = Duration::from_secs(pool.config.limits.verdict_seconds);
        if let UpstreamError::OtherEra { speaks, .. } = &error {
            upstream.verdicts.is_modern(speaks.clone(), true, Instant::now() + lifetime);
            return NotOpened { error, doubt: None, answered };
        }
        let doubt = doubtful.then(|| {
            upstream.verdicts.refused_initialize();
            let failed = self.is_failed_start(&error, answered).then(|| FailedStart {
                owner: key.1.clone(),
                requester: self.requester.clone(),
                reason: reason(&error),
            });
            Doubt::new(Arc::clone(upstream), failed, lifetime)
        });
        NotOpened { error, doubt, answered }
    }

    async fn open_modern(
        &self,
        parts: modern::Parts,
        patience: Duration,
        pipe: bool,
    ) -> Result<Arc<dyn Connection>, UpstreamError> {
        let Attempt { pool, upstream, key: (server, ..), .. } = self;
        let limits = &pool.config.limits;
        let patience = if pipe { Duration::from_secs(limits.probe_seconds) } else { patience };
        let speaks = match modern::open(parts, patience, pipe).await? {
            modern::Probed::Modern(connection) => {
                upstream.verdicts.spoke_modern();
                return Ok(Arc::new(connection));
            }
            modern::Probed::Legacy { certain, speaks } => {
                let speaks =
                    if speaks.is_empty() { versions::LEGACY.map(str::to_owned).to_vec() } else { speaks };
                let until = |seconds| Instant::now() + Duration::from_secs(seconds);
                let seconds = limits.verdict_seconds;
                upstream.verdicts.is_legacy(&speaks, certain, until(seconds), until(seconds.min(DOUBTFUL)));
                speaks
            }
        };
        Err(UpstreamError::OtherEra { server: Arc::clone(server), speaks })
    }
}
