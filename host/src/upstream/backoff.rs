//! When a server that does not start may be tried again.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(200);
/// So that half an hour of failing makes at most 60 starts (F06), and nobody waits long for one that was
/// repaired.
const MOST: Duration = Duration::from_secs(40);
/// A server that ran this long starts with a clean slate.
const HEALTHY: Duration = Duration::from_secs(30);

/// The failed starts of one server.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<(Instant, String)>,
}

impl Backoff {
    /// How long it must not be tried yet, and why not.
    pub(super) fn blocked(&self, now: Instant) -> Option<(Duration, &str)> {
        let (until, reason) = self.last.as_ref()?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some((left, reason.as_str()))
    }

    /// A start failed, or what was started ended soon of itself.
    pub(super) fn failed(&mut self, now: Instant, reason: String) {
        let most = FIRST.saturating_mul(1 << self.failures.min(16)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        // Spread over a quarter only: with waits near nothing, a loop would hardly be slowed down.
        self.last = Some((now + most.mul_f64(0.75 + random() / 4.0), reason));
    }

    /// It failed once more for one that it failed for before: as long a wait as the last, from now on.
    pub(super) fn again(&mut self, now: Instant) {
        self.failures = self.failures.saturating_sub(1);
        if let Some((_, reason)) = self.last.take() {
            self.failed(now, reason);
        }
    }

    /// Whether nothing failed lately.
    pub(super) fn is_clear(&self) -> bool {
        self.failures == 0
    }

    /// What was started ended of itself after `lived`.
    pub(super) fn ended(&mut self, now: Instant, lived: Duration, reason: String) {
        if lived >= HEALTHY {
            *self = Backoff::default();
        } else {
            self.failed(now, reason);
        }
    }
}

/// Around `wait`, so that many do not come back at the same moment.
pub(super) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.75 + random() / 2.0)
}

/// In [0, 1).
fn random() -> f64 {
    // Spreading out is not worth failing for.
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_cap_and_end() {
        let now = Instant::now();
        let mut longest = Vec::new();
        for failures in 1..12 {
            let mut most = Duration::ZERO;
            for _ in 0..200 {
                let mut backoff = Backoff::default();
                for _ in 0..failures {
                    backoff.failed(now, "because".to_owned());
                }
                most = most.max(backoff.blocked(now).map_or(Duration::ZERO, |(left, _)| left));
            }
            longest.push(most);
        }
        assert!(longest[0] > FIRST / 2 && longest[0] <= FIRST, "{longest:?}");
        assert!(longest[3] > FIRST * 4 && longest[3] <= FIRST * 8, "{longest:?}");
        assert!(longest[10] > MOST / 2 && longest[10] <= MOST, "{longest:?}");
        let mut backoff = Backoff::default();
        backoff.failed(now, "because".to_owned());
        assert_eq!(backoff.blocked(now + FIRST), None);
    }

    #[test]
    fn a_crash_loop_is_slow_and_over_soon_after_its_cause() {
        const CALLS: Duration = Duration::from_millis(10);
        let began = Instant::now();
        let mut backoff = Backoff::default();
        let (mut now, mut starts) = (began, 0);
        let mut first_minute = 0;
        while now - began < Duration::from_secs(30 * 60) {
            if backoff.blocked(now).is_none() {
                starts += 1;
                first_minute += u32::from(now - began < Duration::from_secs(60));
                backoff.ended(now, Duration::from_millis(1), "it exits at once".to_owned());
            }
            now += CALLS;
        }
        assert!((40..=60).contains(&starts), "{starts} starts in half an hour of calls every {CALLS:?}");
        assert!((6..=10).contains(&first_minute), "soon at first: {first_minute}");
        // Repaired: the next start is admitted within the cap, and a healthy life clears the slate.
        let left = backoff.blocked(now).map_or(Duration::ZERO, |(left, _)| left);
        assert!(left <= MOST, "{left:?}");
        backoff.ended(now + left, HEALTHY, "much later".to_owned());
        backoff.failed(now, "again".to_owned());
        assert!(backoff.blocked(now).is_some_and(|(left, _)| left <= FIRST), "as if for the first time");
    }

    #[test]
    fn a_healthy_life_clears_the_slate_and_a_short_one_does_not() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.failed(now, "a".to_owned());
        backoff.ended(now, HEALTHY - Duration::from_millis(1), "b".to_owned());
        assert_eq!(backoff.failures, 2);
        backoff.ended(now, HEALTHY, "c".to_owned());
        assert_eq!((backoff.failures, backoff.blocked(now)), (0, None));
    }
}
