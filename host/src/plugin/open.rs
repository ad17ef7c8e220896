//! Everything that loads plugins, as the configuration sizes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::assembly::Plugins;
use super::cache::{self, Cache, CacheError};
use super::load::{ComponentLoader, ComponentLoaderSettings};
use super::prepare::Preparer;
use crate::config::Config;
use crate::jsonrpc;
use crate::wasm::{Engine, EngineSettings};

const PREPARE_SECONDS: u32 = 30;

/// Why plugins cannot be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The WebAssembly engine does not start.
    #[error("{0}")]
    Engine(#[from] crate::wasm::LoadError),
    /// The configured cache cannot be used.
    #[error("{0}")]
    Cache(#[from] CacheError),
    /// This program cannot start itself.
    #[error("cannot tell which program this is, to prepare plugins in a process of its own: {0}")]
    Program(#[from] std::io::Error),
}

impl Plugins {
    /// Opens the cache and starts the engine. Loads nothing yet. One per process.
    ///
    /// The limits and secrets of filters are taken from the configuration at each
    /// [`assemble`](Plugins::assemble); `plugins.cache_dir`, `plugins.prepare_seconds`, and the largest
    /// `limits.memory_mib` of any filter (which sizes the engine) from this one.
    ///
    /// # Errors
    /// The engine does not start, or a configured cache folder is not ours alone.
    pub fn open(config: &Config) -> Result<Plugins, OpenError> {
        let engine_settings = engine_settings(config);
        let engine = Engine::new(&engine_settings)?;
        let preparer = Preparer::child(longest(config))?;
        let loader = ComponentLoader::new(ComponentLoaderSettings {
            engine,
            engine_settings,
            preparer,
            cache: open_cache(config.plugins.cache_dir.as_deref())?,
            json_limits: json_limits(config),
        });
        Ok(Plugins::new(Arc::new(loader)))
    }
}

/// The engine that all filters of the configuration fit into.
pub fn engine_settings(config: &Config) -> EngineSettings {
    let usual = EngineSettings::default();
    let largest = config.filters.iter().map(|filter| filter.limits.memory_mib).max().unwrap_or(0);
    EngineSettings { memory_mib: usual.memory_mib.max(largest), ..usual }
}

/// How long a preparation may take.
pub fn longest(config: &Config) -> Duration {
    Duration::from_secs(config.plugins.prepare_seconds.unwrap_or(PREPARE_SECONDS).max(1).into())
}

/// The JSON law for what filters write: it may become part of a message in either direction.
pub fn json_limits(config: &Config) -> jsonrpc::Limits {
    let limits = &config.limits;
    jsonrpc::Limits {
        bytes: limits.server_message_bytes.max(limits.client_message_bytes),
        depth: limits.message_depth.max(limits.result_depth),
        members: u32::MAX,
        number_bytes: 1_024,
    }
}

/// The configured cache, or the user's own. Without a home, or where the user's own folder cannot be
/// used, there is none: plugins are then prepared at each start.
fn open_cache(configured: Option<&Path>) -> Result<Option<Cache>, CacheError> {
    if let Some(dir) = configured {
        return Cache::open(dir, cache::MAX_BYTES).map(Some);
    }
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let Some(base) = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))) else {
        return Ok(None);
    };
    match Cache::open(&base.join("lockgate/plugins"), cache::MAX_BYTES) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) => {
            tracing::warn!("{error}; plugins are compiled at each start until then");
            Ok(None)
        }
    }
}
