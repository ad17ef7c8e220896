//! Time, coarse on purpose (1 ms). In `configure` the wall clock reads 0.

/// Milliseconds since 1970-01-01 UTC.
pub fn unix_ms() -> u64 {
    crate::raw::clock::unix_ms()
}

/// Milliseconds since an arbitrary point; never goes back.
pub fn monotonic_ms() -> u64 {
    crate::raw::clock::monotonic_ms()
}
