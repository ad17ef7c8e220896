//! What loads plugins, as the configuration bounds it.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::gateway::json_limits;
use crate::jsonrpc;
use crate::plugin::cache::Cache;
use crate::plugin::load::{ComponentLoader, ComponentLoaderSettings};
use crate::plugin::prepare::Preparer;
use crate::wasm::{Engine, EngineSettings};

/// Most that compiled plugins may take on disk: 1 GiB, some hundred plugins.
const CACHE_BYTES: u64 = 1 << 30;
/// Longest preparation of a plugin unless `plugins.prepare_seconds` says otherwise.
const PREPARE_SECONDS: u32 = 30;

/// Makes the loader.
///
/// # Errors
/// This machine cannot run plugins. The text is for the user.
pub fn loader(config: &Config) -> Result<ComponentLoader, String> {
    let defaults = EngineSettings::default();
    let memory_mib = config.filters.iter().map(|filter| filter.limits.memory_mib).max().unwrap_or(0);
    let engine_settings = EngineSettings { memory_mib: memory_mib.max(defaults.memory_mib), ..defaults };
    let engine =
        Engine::new(&engine_settings).map_err(|e| format!("this machine cannot run plugins: {e}"))?;
    let longest = config.plugins.prepare_seconds.unwrap_or(PREPARE_SECONDS);
    let preparer = Preparer::child(Duration::from_secs(longest.into()))
        .map_err(|e| format!("plugins cannot be prepared: {}", crate::config::expand::plain(&e)))?;
    let json_limits =
        jsonrpc::Limits { bytes: config.limits.server_message_bytes, ..json_limits(&config.limits) };
    Ok(ComponentLoader::new(ComponentLoaderSettings {
        engine,
        engine_settings,
        preparer,
        cache: cache(config),
        json_limits,
    }))
}

/// Without a cache everything works, and every start compiles.
fn cache(config: &Config) -> Option<Cache> {
    let Some(dir) = config.plugins.cache_dir.clone().or_else(user_cache) else {
        tracing::warn!("compiled plugins are not kept: there is no cache folder; set `plugins.cache_dir`");
        return None;
    };
    match Cache::open(&dir, CACHE_BYTES) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(
                "compiled plugins are not kept: {error}; set `plugins.cache_dir` to another folder"
            );
            None
        }
    }
}

/// `lockgate/plugins` in the user's cache folder, as the XDG specification names it.
fn user_cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("lockgate").join("plugins"))
}
