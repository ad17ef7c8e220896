//! Stops asking a filter that keeps failing, and probes it now and then.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Counts faults in a window and opens beyond a number of them.
#[derive(Debug)]
pub struct Breaker {
    faults: u32,
    window: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed {
        since: Instant,
        faults: u32,
    },
    Open {
        until: Instant,
    },
    /// One call is out to see whether the filter works again. It may never tell: a client that
    /// leaves takes the authentication of its request along.
    Probing {
        until: Instant,
    },
}

/// Whether the filter may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Yes.
    Pass,
    /// It failed too often; treat the call as the filter's `on_failure` says.
    Open,
}

impl Breaker {
    /// Opens at `faults` faults within `window`, for as long as `window`. 0 faults: never.
    pub fn new(faults: u32, window: Duration) -> Breaker {
        Breaker { faults, window, state: Mutex::new(State::Closed { since: Instant::now(), faults: 0 }) }
    }

    /// Asked before every hook.
    pub fn permit(&self) -> Permit {
        self.permit_at(Instant::now())
    }

    fn permit_at(&self, now: Instant) -> Permit {
        if self.faults == 0 {
            return Permit::Pass;
        }
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => Permit::Pass,
            State::Open { until } | State::Probing { until } if now >= until => {
                *state = State::Probing { until: now + self.window };
                Permit::Pass
            }
            State::Open { .. } | State::Probing { .. } => Permit::Open,
        }
    }

    /// Told after every hook. True if this opened the breaker just now.
    pub fn record(&self, fault: bool) -> bool {
        if self.faults == 0 {
            return false;
        }
        let now = Instant::now();
        let mut state = self.lock();
        match &mut *state {
            State::Closed { since, faults } => {
                if !fault {
                    return false;
                }
                if now.duration_since(*since) > self.window {
                    (*since, *faults) = (now, 0);
                }
                *faults += 1;
                if *faults < self.faults {
                    return false;
                }
            }
            // What was under way when it opened says nothing new.
            State::Open { .. } => return false,
            State::Probing { .. } if !fault => {
                *state = State::Closed { since: now, faults: 0 };
                return false;
            }
            State::Probing { .. } => {}
        }
        *state = State::Open { until: now + self.window };
        true
    }

    /// Whether it is open or probing: shown on readiness.
    pub fn is_open(&self) -> bool {
        !matches!(*self.lock(), State::Closed { .. })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while holding it cannot leave it half-written: every arm writes one value.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_the_given_number_and_probes_once() {
        let breaker = Breaker::new(2, Duration::ZERO);
        assert!(!breaker.record(true));
        // The window is zero, so the next fault starts a new one: one fault is never two.
        let breaker_long = Breaker::new(2, Duration::from_secs(3600));
        assert!(!breaker_long.record(true));
        assert!(breaker_long.record(true));
        assert_eq!(breaker_long.permit(), Permit::Open);

        let window = Duration::from_secs(3600);
        let breaker = Breaker::new(1, window);
        assert!(breaker.record(true));
        assert!(breaker.is_open());
        let later = Instant::now() + window;
        assert_eq!(breaker.permit_at(later), Permit::Pass, "the window is over: a probe");
        assert_eq!(breaker.permit_at(later), Permit::Open, "only one");
        assert_eq!(breaker.permit_at(later + window), Permit::Pass, "a probe that never told is given up");
        assert!(!breaker.record(false));
        assert!(!breaker.is_open());
    }

    #[test]
    fn zero_faults_never_open() {
        let breaker = Breaker::new(0, Duration::from_secs(1));
        for _ in 0..1000 {
            assert!(!breaker.record(true));
        }
        assert_eq!(breaker.permit(), Permit::Pass);
    }
}
