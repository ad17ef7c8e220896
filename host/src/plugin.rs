//! Plugins: reading, checking, preparing, watching.

pub mod directory;
pub mod inspect;
#[cfg(test)]
pub(crate) mod samples;
pub mod watch;
