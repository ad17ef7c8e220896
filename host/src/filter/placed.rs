//! A filter in its place in the chain: what runs, where it came from, and when it applies.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{FilterLimits, Match, Mode, OnFailure};
use crate::filter::{Filter, Hooks};

/// One filter of a chain.
#[derive(Clone)]
pub struct Placed {
    /// Its name in logs, errors and metrics.
    pub name: Arc<str>,
    /// The plugin it runs.
    pub plugin: Arc<str>,
    /// The plugin's version, if it tells.
    pub version: Option<String>,
    /// SHA-256 of the plugin's file.
    pub sha256: [u8; 32],
    /// The plugin's file.
    pub file: PathBuf,
    /// Whether the configuration names it; otherwise it was attached by the watched directory.
    pub listed: bool,
    /// Which messages it sees.
    pub matches: Match,
    /// What happens to a call if it fails.
    pub on_failure: OnFailure,
    /// Whether what it decides happens.
    pub mode: Mode,
    /// Its bounds.
    pub limits: FilterLimits,
    /// What it implements.
    pub hooks: Hooks,
    /// What runs.
    pub filter: Arc<dyn Filter>,
}

/// What a [`Placed`] is made of.
pub type PlacedParts = Placed;

impl Placed {
    /// Puts a filter in its place.
    pub fn new(parts: PlacedParts) -> Placed {
        parts
    }
}
