//! Random numbers from the host, fresh in every call. In `configure` they are all zero.
//!
//! Every call starts from one snapshot, so a generator that is seeded in `configure` gives the same
//! series in every call. Draw here instead, or seed from here at the start of a hook.

use crate::AccessError;

/// At most 4,096 random bytes.
pub fn bytes(length: u32) -> Result<Vec<u8>, AccessError> {
    Ok(crate::raw::random::bytes(length)?)
}

/// One random number.
pub fn number() -> u64 {
    crate::raw::random::number()
}
