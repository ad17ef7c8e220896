//! What a plugin can call: one file per interface of the contract.

mod call;
mod clock;
mod context;
pub(super) mod documents;
mod exchange;
mod head;
mod lists;
pub(super) mod log;
pub(super) mod pins;
mod random;
mod reserved;
mod secrets;
pub(super) mod subject;
mod told;
mod types;
pub(super) mod wasi;
