//! Saying in the log who was refused and why, without letting those who are refused fill it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::downstream::outlet::lock;

/// Lines in a row for one address; as many as a wrong configuration takes to be understood.
const BURST: u32 = 10;
/// After them there is one more line each time that this has passed.
const PAUSE: Duration = Duration::from_secs(10);
/// Addresses that are told apart. Those beyond share one place, so that nobody makes this grow.
const ADDRESSES: usize = 256;
/// Most of a path that is shown.
const PATH_CHARS: usize = 200;

/// Why a request was refused, on an answer that is a refusal.
#[derive(Clone)]
pub struct Refused(pub String);

/// Which addresses had how many lines.
#[derive(Default)]
pub struct RefusalLog(Mutex<HashMap<Option<IpAddr>, Lines>>);

struct Lines {
    left: u32,
    since: Instant,
    /// Refusals that had none.
    unsaid: u64,
}

impl RefusalLog {
    /// Says it, unless this address had its lines.
    pub fn say(&self, peer: SocketAddr, status: StatusCode, method: &Method, path: &str, reason: &str) {
        let Some(unsaid) = self.admit(peer.ip(), Instant::now()) else { return };
        let path: String = path.escape_debug().take(PATH_CHARS).collect();
        let status = status.as_u16();
        if unsaid == 0 {
            tracing::info!(%peer, status, %method, path, "refused a request: {reason}");
        } else {
            tracing::info!(%peer, status, %method, path, unsaid, "refused a request, and others before it: {reason}");
        }
    }

    /// How many refusals went unsaid since the last line; none if this one does as well.
    fn admit(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let mut all = lock(&self.0);
        if all.len() >= ADDRESSES && !all.contains_key(&Some(address)) {
            all.retain(|_, lines| now.duration_since(lines.since) < PAUSE * BURST);
        }
        let own = all.len() < ADDRESSES || all.contains_key(&Some(address));
        let fresh = Lines { left: BURST, since: now, unsaid: 0 };
        let lines = all.entry(Some(address).filter(|_| own)).or_insert(fresh);
        let passed = now.duration_since(lines.since).as_secs() / PAUSE.as_secs();
        if passed > 0 {
            lines.left = lines.left.saturating_add(u32::try_from(passed).unwrap_or(BURST)).min(BURST);
            lines.since = now;
        }
        if lines.left == 0 {
            lines.unsaid += 1;
            return None;
        }
        lines.left -= 1;
        Some(std::mem::take(&mut lines.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_lines_and_then_one_now_and_again() {
        let (log, start) = (RefusalLog::default(), Instant::now());
        let (ann, bob) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..BURST {
            assert_eq!(log.admit(ann, start), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(log.admit(ann, start), None);
        }
        assert_eq!(log.admit(bob, start), Some(0), "nobody's lines are another's");
        assert_eq!(log.admit(ann, start + PAUSE), Some(1000));
        assert_eq!(log.admit(ann, start + PAUSE), None);
    }

    #[test]
    fn many_addresses_share_what_is_left() {
        let (log, start) = (RefusalLog::default(), Instant::now());
        let said = (0..10_000u32).filter(|at| log.admit(IpAddr::from(at.to_be_bytes()), start).is_some());
        assert!(said.count() <= ADDRESSES + BURST as usize);
        assert!(lock(&log.0).len() <= ADDRESSES + 1);
        let later = start + PAUSE * (BURST + 1);
        assert_eq!(log.admit(IpAddr::from([9, 9, 9, 9]), later), Some(0), "old ones make room");
    }
}
