//! Plugins: reading, checking, preparing, watching.

pub mod inspect;
#[cfg(test)]
pub(crate) mod samples;
