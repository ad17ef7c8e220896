//! How long to wait before an endpoint is dialled again.

use std::time::Duration;

use crate::config::Reconnect;

/// A connection that lived this long clears the slate; one that breaks at once is as bad as none.
const HEALTHY: Duration = Duration::from_secs(30);

/// The waits of one endpoint.
pub(super) struct Waits {
    settings: Reconnect,
    /// The next one, before its random part.
    next: Duration,
}

impl Waits {
    pub(super) fn new(settings: &Reconnect) -> Waits {
        Waits { next: settings.initial_backoff.0, settings: settings.clone() }
    }

    /// A connection ended after `life`.
    pub(super) fn lived(&mut self, life: Duration) {
        if life >= HEALTHY {
            self.next = self.settings.initial_backoff.0;
        }
    }

    /// The wait before the next attempt; none if there is to be none.
    pub(super) fn next(&mut self) -> Option<Duration> {
        if !self.settings.enabled {
            return None;
        }
        let wait = self.next;
        let most = self.settings.max_backoff.0;
        let grown = Duration::try_from_secs_f64(wait.as_secs_f64() * self.settings.multiplier);
        self.next = grown.map_or(most, |grown| grown.min(most));
        Some(wait.mul_f64(1.0 - self.settings.jitter * random()))
    }
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
    use crate::config::Period;

    fn settings(jitter: f64) -> Reconnect {
        let period = |seconds| Period(Duration::from_secs(seconds));
        Reconnect { initial_backoff: period(1), max_backoff: period(10), jitter, ..Reconnect::default() }
    }

    #[test]
    fn waits_grow_by_the_multiplier_up_to_the_cap() {
        let mut waits = Waits::new(&settings(0.0));
        let seconds: Vec<_> = (0..6).filter_map(|_| waits.next()).map(|wait| wait.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
        waits.lived(HEALTHY - Duration::from_millis(1));
        assert_eq!(waits.next(), Some(Duration::from_secs(10)), "a short life changes nothing");
        waits.lived(HEALTHY);
        assert_eq!(waits.next(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_random_part_is_the_configured_one() {
        let all: Vec<_> = (0..500)
            .filter_map(|_| Waits::new(&settings(0.5)).next())
            .map(|wait| wait.as_secs_f64())
            .collect();
        assert!(all.iter().all(|wait| (0.5..=1.0).contains(wait)), "{all:?}");
        assert!(all.iter().any(|wait| *wait < 0.6) && all.iter().any(|wait| *wait > 0.9), "{all:?}");
    }

    #[test]
    fn without_reconnection_there_is_no_next_time() {
        let mut waits = Waits::new(&Reconnect { enabled: false, ..settings(0.0) });
        assert_eq!(waits.next(), None);
    }
}
