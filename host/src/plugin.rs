//! Plugins: reading, checking, preparing, watching.

pub mod assembly;
pub mod cache;
pub mod directory;
pub mod inspect;
pub mod load;
pub mod open;
pub mod prepare;
#[cfg(test)]
pub(crate) mod samples;
pub mod watch;
