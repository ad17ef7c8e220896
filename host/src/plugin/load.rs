//! From the bytes of a plugin to a running filter: check, prepare, load, try. Nothing is served before
//! all of it went well.

mod component;
mod error;
mod wiring;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use component::{ComponentLoader, ComponentLoaderSettings};
pub use error::LoadError;
pub use wiring::check_wiring;

use crate::config::{FilterLimits, Grants, Instances, Secret};
use crate::filter::Filter;
use crate::plugin::inspect::Inspection;

/// A plugin that shall become a filter.
#[derive(Clone)]
pub struct Candidate {
    /// The filter's name.
    pub name: Arc<str>,
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// Where the bytes were read.
    pub file: PathBuf,
    /// The plugin. These very bytes are judged and compiled; the file is not read again.
    pub bytes: Bytes,
    /// SHA-256 of `bytes`.
    pub sha256: [u8; 32],
    /// What [`inspect`](crate::plugin::inspect::inspect) said of `bytes`, if it was asked already.
    pub inspection: Option<Arc<Inspection>>,
    /// The largest file allowed, in bytes.
    pub max_bytes: u64,
    /// Whether the configuration lists the filter; a plugin that was merely dropped into the directory
    /// may do less.
    pub listed: bool,
    /// The configuration as JSON text; `{}` if there is none.
    pub config: Arc<str>,
    /// What it is granted.
    pub grants: Grants,
    /// The granted secrets, by name.
    pub secrets: Vec<(String, Secret)>,
    /// How its instances live.
    pub instances: Instances,
    /// Its bounds.
    pub limits: FilterLimits,
}

/// A filter that passed everything.
#[derive(Clone)]
pub struct Loaded {
    /// What runs.
    pub filter: Arc<dyn Filter>,
    /// What the plugin tells of itself.
    pub inspection: Arc<Inspection>,
    /// How its instances start.
    pub start: StartKind,
}

/// How instances of a filter start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StartKind {
    /// As a copy of the configured instance.
    Snapshot,
    /// Configured again each time, because it cannot be snapshotted.
    Configure {
        /// Why not.
        reason: String,
    },
    /// It has nothing to configure.
    Plain,
}

impl std::fmt::Display for StartKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartKind::Snapshot => f.write_str("from a snapshot"),
            StartKind::Configure { reason } => write!(f, "configured for each instance ({reason})"),
            StartKind::Plain => f.write_str("plain (nothing to configure)"),
        }
    }
}

/// Turns candidates into filters.
pub trait Loader: Send + Sync + 'static {
    /// Checks, prepares, loads and tries the candidate.
    fn load(&self, candidate: Candidate) -> BoxFuture<'_, Result<Loaded, LoadError>>;
}
