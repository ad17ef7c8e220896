//! Running plugins: the only place that mentions wasmtime.
//!
//! [`link`] reads what a component wants, [`prepare`] compiles, configures and snapshots it in a
//! bounded child process, and [`WasmFilter`] runs its hooks: a fresh copy of the configured
//! instance for every one, from a pool, within the filter's limits.

mod answers;
mod bindings;
mod engine;
mod fault;
mod filter;
mod host;
pub mod link;
mod prepare;
mod run;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;

pub use engine::{Engine, EngineSettings};
pub use fault::{LoadError, PrepareError};
pub use filter::{Artifact, Counters, GrantedSecret, Loading, WasmFilter};
pub use prepare::{Preparation, Prepared, Start, prepare};
