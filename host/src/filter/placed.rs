//! One filter in its place in the chain: what it matches, what happens if it fails, its breaker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::Breaker;
use super::identities::IdentityCache;
use super::{Filter, Hooks, glob};
use crate::config::{FilterLimits, Match, Mode, OnFailure};

/// What a [`Placed`] is made of.
pub struct PlacedParts {
    /// Name in logs, errors and metrics.
    pub name: Arc<str>,
    /// Name of the plugin.
    pub plugin: Arc<str>,
    /// Version the plugin gives itself.
    pub version: Option<String>,
    /// Of the plugin file.
    pub sha256: [u8; 32],
    /// Where the plugin came from.
    pub file: PathBuf,
    /// Whether the configuration lists it (else it was attached from the directory).
    pub listed: bool,
    /// Which messages it sees.
    pub matches: Match,
    /// What happens if it fails.
    pub on_failure: OnFailure,
    /// Whether what it decides happens.
    pub mode: Mode,
    /// Its bounds.
    pub limits: FilterLimits,
    /// Which hooks it implements.
    pub hooks: Hooks,
    /// The filter.
    pub filter: Arc<dyn Filter>,
}

/// One filter in its place in the chain. Reads like its parts.
pub struct Placed {
    parts: PlacedParts,
    /// Stops asking it when it keeps failing.
    pub breaker: Breaker,
    /// Its answers to `authenticate` that may be used again.
    pub identities: IdentityCache,
}

impl std::ops::Deref for Placed {
    type Target = PlacedParts;

    fn deref(&self) -> &PlacedParts {
        &self.parts
    }
}

impl Placed {
    /// Puts a filter in its place.
    pub fn new(parts: PlacedParts) -> Placed {
        let window = Duration::from_secs(parts.limits.breaker_seconds.into());
        let breaker = Breaker::new(parts.limits.breaker_faults, window);
        let identities = IdentityCache::new(parts.limits.kept_identities);
        Placed { parts, breaker, identities }
    }

    /// Whether it sees anything of this server.
    pub fn sees_server(&self, server: &str) -> bool {
        glob::any(&self.matches.servers, server)
    }

    /// Whether it sees messages of this method.
    pub fn sees_method(&self, method: &str) -> bool {
        glob::any(&self.matches.methods, method)
    }

    /// Whether it sees a message about this name; without `match.names`, every message.
    pub fn sees_name(&self, name: Option<&str>) -> bool {
        self.matches.names.is_empty() || name.is_some_and(|name| glob::any(&self.matches.names, name))
    }
}

impl std::fmt::Debug for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Placed").field("name", &self.name).field("hooks", &self.hooks).finish_non_exhaustive()
    }
}
