//! What can go wrong with a plugin: at load, in preparation, and within a hook.

use std::fmt;

use crate::filter::{Failure, FailureKind};

/// A plugin cannot be put to work. The text says what, of which plugin, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The engine could not be made.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
    /// Not a component that this Lockgate can run.
    #[error("plugin `{plugin}`: {reason}")]
    Invalid {
        /// The plugin.
        plugin: String,
        /// Why, and what to do.
        reason: String,
    },
    /// It imports or exports what is not offered or not granted; every problem, one a line.
    #[error("plugin `{plugin}`: {}", problems.join("; "))]
    Contract {
        /// The plugin.
        plugin: String,
        /// Each names the interface and what to do.
        problems: Vec<String>,
    },
    /// It does not start within the filter's limits.
    #[error("filter `{filter}`: cannot start an instance: {reason}")]
    Start {
        /// The filter.
        filter: String,
        /// Why.
        reason: String,
    },
}

/// Why a plugin could not be compiled and configured.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PrepareError {
    /// `lifecycle.configure` did not accept the configuration; its own words.
    #[error("the plugin refuses its configuration: {0}")]
    Refused(String),
    /// Not a component, or not one that this Lockgate can run.
    #[error("{0}")]
    Invalid(String),
    /// `lifecycle.configure` failed without an answer.
    #[error("the plugin failed in `lifecycle.configure`: {0}")]
    Trap(String),
    /// It needs more than the filter's limits allow.
    #[error("{0}")]
    TooLarge(String),
    /// The host's own fault.
    #[error("{0}")]
    Host(String),
}

/// An error of ours that ends a hook and says what kind of failure it is.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FailureKind,
    pub(super) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

/// Ends the hook.
pub(super) fn fault(kind: FailureKind, what: impl Into<String>) -> wasmtime::Error {
    wasmtime::Error::new(Fault { kind, what: what.into() })
}

/// What an error from wasmtime means. `starved`: the instance was refused memory before.
pub(super) fn classify(hook: &str, error: &wasmtime::Error, starved: Option<&str>) -> Failure {
    if let Some(own) = error.downcast_ref::<Fault>() {
        return Failure { kind: own.kind, message: format!("{hook}: {}", own.what) };
    }
    if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
        // A guest that is refused memory aborts itself, mostly with `unreachable`.
        if let Some(limit) = starved {
            return Failure {
                kind: FailureKind::Memory,
                message: format!("{hook}: trapped ({trap}) after it was refused memory ({limit})"),
            };
        }
        return Failure { kind: FailureKind::Trap, message: format!("{hook}: trapped: {trap}") };
    }
    if error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>().is_some() {
        return Failure {
            kind: FailureKind::Host,
            message: format!("{hook}: the pool of instances is exhausted"),
        };
    }
    // The type behind this text is private to wasmtime; a test holds the words.
    let text = format!("{error:#}");
    if text.contains("fuel allocated for hostcalls") {
        return Failure {
            kind: FailureKind::Limit,
            message: format!("{hook}: it handed over more at once than `limits.output_bytes`"),
        };
    }
    if let Some(limit) = starved {
        return Failure { kind: FailureKind::Memory, message: format!("{hook}: {text} ({limit})") };
    }
    // What is left are answers that are not valid under the canonical ABI: bad UTF-8, pointers
    // out of bounds, unknown discriminants, handles that do not exist.
    Failure { kind: FailureKind::BadOutput, message: format!("{hook}: {text}") }
}
