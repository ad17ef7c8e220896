//! What the configuration and the sidecars ask for: one wish per filter.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::look::{Look, Part};
use crate::config::{Config, FilterEntry, FilterLimits, Grants, Instances, Match, Mode, OnFailure, Secret};
use crate::plugin::directory::Sidecar;
use crate::plugin::load::LoadError;

/// A filter as it shall be, whatever its plugin's bytes are.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) name: Arc<str>,
    pub(super) plugin: Arc<str>,
    pub(super) listed: bool,
    pub(super) config: Arc<str>,
    pub(super) matches: Match,
    pub(super) grants: Grants,
    pub(super) secrets: Vec<(String, Secret)>,
    pub(super) mode: Mode,
    pub(super) on_failure: OnFailure,
    pub(super) instances: Instances,
    pub(super) limits: FilterLimits,
}

/// What a running filter was made of. The same again needs no work.
#[derive(Clone, PartialEq)]
pub(super) struct Recipe {
    pub(super) sha256: [u8; 32],
    name: Arc<str>,
    config: Arc<str>,
    grants: Grants,
    /// A hash: the values are not kept here as well.
    secrets: [u8; 32],
    instances: Instances,
    limits: FilterLimits,
    listed: bool,
}

impl Wish {
    pub(super) fn recipe(&self, sha256: [u8; 32]) -> Recipe {
        let mut hash = Sha256::new();
        for (name, secret) in &self.secrets {
            for text in [name, &secret.value].into_iter().chain(&secret.servers) {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            hash.update([0xff]);
        }
        Recipe {
            sha256,
            name: Arc::clone(&self.name),
            config: Arc::clone(&self.config),
            grants: self.grants.clone(),
            secrets: hash.finalize().into(),
            instances: self.instances,
            limits: self.limits,
            listed: self.listed,
        }
    }
}

/// A wish, or why there is none although a file asks for it.
pub(super) struct Wanted {
    pub(super) name: Arc<str>,
    pub(super) plugin: Arc<str>,
    pub(super) listed: bool,
    pub(super) wish: Result<Wish, LoadError>,
}

/// Everything wanted, in the order of the chain.
pub(super) fn wanted(config: &Config, look: &Look) -> Vec<Wanted> {
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut wanted = Vec::new();
    for entry in &config.filters {
        let mut listed = from_entry(entry, config);
        if !names.insert(Arc::clone(&listed.name)) {
            listed.wish = Err(LoadError::NameTaken(listed.name.to_string()));
            // Its own place in statuses, and no claim on the other's last good version.
            listed.name = format!("{} (again)", listed.name).into();
        }
        wanted.push(listed);
    }
    if config.plugins.auto_attach.enabled {
        for plugin in &look.order {
            if config.filters.iter().any(|entry| entry.plugin == *plugin) {
                continue;
            }
            let mut dropped = from_files(plugin, config, look);
            if !names.insert(Arc::clone(&dropped.name)) {
                dropped.wish = Err(LoadError::NameTaken(plugin.clone()));
                dropped.name = format!("{plugin} (dropped file)").into();
            }
            wanted.push(dropped);
        }
    }
    wanted
}

fn from_entry(entry: &FilterEntry, config: &Config) -> Wanted {
    let name: Arc<str> = entry.name.as_deref().unwrap_or(&entry.plugin).into();
    let plugin: Arc<str> = entry.plugin.as_str().into();
    let wish = Wish {
        name: Arc::clone(&name),
        plugin: Arc::clone(&plugin),
        listed: true,
        config: config_text(entry.config.as_ref()),
        matches: entry.matches.clone(),
        grants: entry.grants.clone(),
        secrets: granted(&entry.grants, config),
        mode: entry.mode,
        on_failure: entry.on_failure,
        instances: entry.instances,
        limits: entry.limits,
    };
    Wanted { name, plugin, listed: true, wish: Ok(wish) }
}

fn from_files(plugin: &str, config: &Config, look: &Look) -> Wanted {
    let name: Arc<str> = plugin.into();
    let sidecar = match look.found.get(plugin).map(|found| &found.sidecar) {
        None | Some(Part::Absent) => Ok(Sidecar::default()),
        Some(Part::NotYet(path)) => Err(LoadError::Unfinished(path.display().to_string())),
        Some(Part::Settled { path, content, .. }) => {
            Sidecar::parse(&content.bytes, &config.plugins.auto_attach)
                .map_err(|reason| LoadError::Sidecar { file: path.display().to_string(), reason })
        }
        Some(Part::Bad { error: error @ LoadError::Duplicate { .. }, .. }) => Err(error.clone()),
        Some(Part::Bad { path, error }) => {
            let file = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            Err(LoadError::Sidecar { file, reason: error.to_string() })
        }
    };
    let wish = sidecar.map(|sidecar| Wish {
        name: Arc::clone(&name),
        plugin: Arc::clone(&name),
        listed: false,
        config: config_text(sidecar.config.as_ref()),
        secrets: granted(&sidecar.grants, config),
        matches: sidecar.matches,
        grants: sidecar.grants,
        mode: sidecar.mode,
        on_failure: sidecar.on_failure,
        instances: sidecar.instances,
        limits: sidecar.limits,
    });
    Wanted { plugin: Arc::clone(&name), name, listed: false, wish }
}

fn config_text(config: Option<&serde_json::Value>) -> Arc<str> {
    match config {
        None | Some(serde_json::Value::Null) => "{}".into(),
        Some(config) => config.to_string().into(),
    }
}

/// The granted secrets that exist; the loader names those that do not.
fn granted(grants: &Grants, config: &Config) -> Vec<(String, Secret)> {
    let exists = |name: &String| config.secrets.get(name).map(|secret| (name.clone(), secret.clone()));
    grants.secrets.iter().filter_map(exists).collect()
}
