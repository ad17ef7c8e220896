//! The interface `clock`: time, coarse on purpose.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::super::bindings::lockgate::plugin::clock::Host;
use super::super::store::State;

impl Host for State {
    fn unix_ms(&mut self) -> wasmtime::Result<u64> {
        self.tick()?;
        Ok(if self.configuring { 0 } else { unix_ms() })
    }

    fn monotonic_ms(&mut self) -> wasmtime::Result<u64> {
        self.tick()?;
        Ok(if self.configuring { 0 } else { monotonic_ms() })
    }
}

/// Milliseconds since 1970. One is the finest a plugin gets, so that it cannot time what shares the
/// machine with it.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the first question.
pub(super) fn monotonic_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}
