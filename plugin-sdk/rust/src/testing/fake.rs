//! The host's side of the contract, in memory: the same names and signatures as its bindings.

use std::cell::Cell;

pub(crate) mod context;
pub(crate) mod documents;

thread_local! {
    static CONFIGURING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a `configure`, in which the host is deterministic.
pub(crate) fn while_configuring<R>(configure: impl FnOnce() -> R) -> R {
    CONFIGURING.set(true);
    let result = configure();
    CONFIGURING.set(false);
    result
}

pub(crate) mod log {
    //! Keeps log lines, by thread.

    use std::cell::RefCell;

    thread_local! {
        static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    }

    /// How important a line is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    #[expect(missing_docs, reason = "the names say it")]
    pub enum Level {
        Debug,
        Info,
        Warn,
        Error,
    }

    /// One line that a filter logged.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[expect(missing_docs, reason = "the names say it")]
    pub struct Line {
        pub level: Level,
        pub message: String,
        pub fields: Vec<(String, String)>,
    }

    pub(crate) fn write(level: Level, message: &str, fields: &[(String, String)]) {
        let line = Line { level, message: message.to_owned(), fields: fields.to_vec() };
        LINES.with_borrow_mut(|lines| lines.push(line));
    }

    pub(crate) fn take() -> Vec<Line> {
        LINES.take()
    }
}

pub(crate) mod clock {
    //! A clock that stands still until it is set.

    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(1_700_000_000_000) };
    }

    pub(crate) fn set(now: u64) {
        NOW.set(now);
    }

    pub(crate) fn unix_ms() -> u64 {
        if super::CONFIGURING.get() { 0 } else { NOW.get() }
    }

    pub(crate) fn monotonic_ms() -> u64 {
        NOW.get()
    }
}

pub(crate) mod random {
    //! Numbers that differ from run to run, but for `configure`.

    use std::hash::{BuildHasher, RandomState};

    use crate::AccessError;

    const MAX_BYTES: u32 = 4_096;

    pub(crate) fn bytes(length: u32) -> Result<Vec<u8>, AccessError> {
        if length > MAX_BYTES {
            return Err(AccessError::Limit(format!("at most {MAX_BYTES} random bytes at once")));
        }
        let bytes = std::iter::repeat_with(number).flat_map(u64::to_le_bytes);
        Ok(bytes.take(length as usize).collect())
    }

    pub(crate) fn number() -> u64 {
        if super::CONFIGURING.get() { 0 } else { RandomState::new().hash_one(0) }
    }
}

pub(crate) mod secrets {
    //! Secrets that the test granted.

    use hmac::{Hmac, Mac};
    use sha2::Sha256;

    use super::context::Exchange;
    use crate::AccessError;

    pub(crate) fn place(
        exchange: &Exchange,
        header: &str,
        secret: &str,
        format: &str,
    ) -> Result<(), AccessError> {
        exchange.place(header, secret, format)
    }

    /// Natively every secret is its own name: there is no exchange that could grant it.
    pub(crate) fn hmac_sha256(secret: &str, data: &[u8]) -> Result<Vec<u8>, AccessError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .map_err(|error| AccessError::Denied(error.to_string()))?;
        mac.update(data);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}
