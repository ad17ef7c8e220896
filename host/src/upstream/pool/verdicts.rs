//! What was found out about the era of one server, how long it is believed, and what is open about it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::Upstream;
use crate::requester::Requester;
use crate::upstream::wire::lock;
use crate::upstream::{Owner, UpstreamError};

/// A verdict: until when it is believed, and the revisions that the server speaks.
type Verdict = Option<(Instant, Vec<String>)>;

/// The verdicts on one server. One that was upgraded still answers as before, so they must end.
#[derive(Default)]
pub(super) struct Verdicts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    legacy_only: Verdict,
    modern_only: Verdict,
    /// What it spoke in this process: one that did is not demoted for one answer.
    was_legacy: bool,
    was_modern: bool,
    /// Whether the last `initialize` came to nothing.
    refused: bool,
}

impl Verdicts {
    /// The revisions of a server that need not be asked whether it speaks the modern era.
    pub(super) fn legacy_only(&self, now: Instant) -> Option<Vec<String>> {
        believed(&lock(&self.state).legacy_only, now)
    }

    /// The revisions of a server that need not be asked whether it speaks the legacy era.
    pub(super) fn modern_only(&self, now: Instant) -> Option<Vec<String>> {
        believed(&lock(&self.state).modern_only, now)
    }

    /// It was initialized.
    pub(super) fn spoke_legacy(&self) {
        let mut state = lock(&self.state);
        (state.was_legacy, state.refused, state.modern_only) = (true, false, None);
    }

    /// It was discovered.
    pub(super) fn spoke_modern(&self) {
        let mut state = lock(&self.state);
        (state.was_modern, state.legacy_only) = (true, None);
    }

    /// It did not take `initialize`, and nobody knows yet why.
    pub(super) fn refused_initialize(&self) {
        lock(&self.state).refused = true;
    }

    /// Asked in the modern era, it did not speak it. What refuses both eras is none of either for certain:
    /// believed until `soon` only, as silence is.
    pub(super) fn is_legacy(&self, speaks: &[String], certain: bool, until: Instant, soon: Instant) {
        let mut state = lock(&self.state);
        state.modern_only = None;
        if !state.was_modern {
            let until = if certain && !state.refused { until } else { soon };
            state.legacy_only = Some((until, speaks.to_vec()));
        }
    }

    /// Asked in the legacy era, it did not speak it; `said_so`: in its own words, naming what it does.
    pub(super) fn is_modern(&self, speaks: Vec<String>, said_so: bool, until: Instant) {
        let mut state = lock(&self.state);
        state.legacy_only = None;
        if said_so || !state.was_legacy {
            state.modern_only = Some((until, speaks));
        }
    }
}

fn believed(verdict: &Verdict, now: Instant) -> Option<Vec<String>> {
    verdict.as_ref().filter(|(until, _)| now < *until).map(|(_, speaks)| speaks.clone())
}

/// Why a connection did not come about.
#[derive(Clone)]
pub(crate) struct NotOpened {
    /// The reason, for the client.
    pub(crate) error: UpstreamError,
    /// Set where a server that speaks the modern era only would end it like that as well.
    pub(crate) doubt: Option<Doubt>,
    /// Whether the server answered, so that the reason may hold its words for whoever asked.
    pub(super) answered: bool,
}

impl From<UpstreamError> for NotOpened {
    fn from(error: UpstreamError) -> NotOpened {
        NotOpened { error, doubt: None, answered: false }
    }
}

impl NotOpened {
    /// Whether the reason may hold what was said to whoever asked, by the server or by a filter.
    pub(super) fn is_for_who_asked(&self) -> bool {
        let said = matches!(self.error, UpstreamError::Refused { .. } | UpstreamError::NotServed { .. });
        self.answered || said
    }

    /// The reason, where nobody asks the server for the other era.
    pub(super) fn settled(self) -> UpstreamError {
        if let Some(doubt) = self.doubt {
            doubt.was_wrong();
        }
        self.error
    }
}

/// `initialize` came to nothing, and whether that is the server's failure depends on what it says in the
/// modern era. Everybody who waited for the same attempt holds the same one; it is settled once.
#[derive(Clone)]
pub(crate) struct Doubt(Arc<Open>);

struct Open {
    upstream: Arc<Upstream>,
    /// What is remembered if it failed to start; none where it answered, or Lockgate does not start it.
    failed: Option<FailedStart>,
    lifetime: Duration,
    settled: AtomicBool,
}

/// A start that failed, and for whom.
pub(super) struct FailedStart {
    pub(super) owner: Owner,
    pub(super) requester: Requester,
    pub(super) reason: String,
}

impl Doubt {
    pub(super) fn new(upstream: Arc<Upstream>, failed: Option<FailedStart>, lifetime: Duration) -> Doubt {
        Doubt(Arc::new(Open { upstream, failed, lifetime, settled: AtomicBool::new(false) }))
    }

    /// It speaks the modern era: nothing failed.
    pub(crate) fn was_right(&self, speaks: Vec<String>) {
        let Open { upstream, lifetime, settled, .. } = &*self.0;
        if !settled.swap(true, Ordering::AcqRel) {
            upstream.verdicts.is_modern(speaks, false, Instant::now() + *lifetime);
        }
    }

    /// It speaks neither: the start failed.
    pub(crate) fn was_wrong(&self) {
        let Open { upstream, failed, settled, .. } = &*self.0;
        if let (false, Some(failed)) = (settled.swap(true, Ordering::AcqRel), failed) {
            let FailedStart { owner, requester, reason } = failed;
            lock(&upstream.starts).failed(Instant::now(), owner, requester, reason.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks() -> Vec<String> {
        vec!["x".to_owned()]
    }

    #[test]
    fn verdicts_end_and_the_later_one_counts() {
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        let verdicts = Verdicts::default();
        verdicts.is_modern(speaks(), true, late);
        assert!(verdicts.modern_only(soon).is_some() && verdicts.modern_only(late).is_none());
        verdicts.is_legacy(&speaks(), true, late, soon);
        assert!(verdicts.modern_only(now).is_none() && verdicts.legacy_only(soon).is_some());
        verdicts.is_modern(speaks(), false, late);
        assert!(verdicts.modern_only(now).is_some() && verdicts.legacy_only(now).is_none());
        verdicts.spoke_legacy();
        assert!(verdicts.modern_only(now).is_none());
    }

    #[test]
    fn who_spoke_an_era_is_not_taken_for_one_of_the_other_by_chance() {
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        let verdicts = Verdicts::default();
        verdicts.spoke_legacy();
        verdicts.is_modern(speaks(), false, late);
        assert!(verdicts.modern_only(now).is_none(), "a bad start, perhaps");
        verdicts.is_modern(speaks(), true, late);
        assert!(verdicts.modern_only(now).is_some(), "it said so itself");
        verdicts.spoke_modern();
        verdicts.is_legacy(&speaks(), true, late, soon);
        assert!(verdicts.legacy_only(now).is_none());
    }

    #[test]
    fn what_refuses_both_eras_is_believed_for_a_short_time() {
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        let verdicts = Verdicts::default();
        verdicts.refused_initialize();
        verdicts.is_legacy(&speaks(), true, late, soon);
        assert!(verdicts.legacy_only(now).is_some() && verdicts.legacy_only(soon).is_none());
    }
}
