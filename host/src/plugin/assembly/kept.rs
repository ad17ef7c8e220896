//! What serves, and when it stops: the rules of deletion.

use std::path::Path;
use std::sync::Arc;

use super::look::Look;
use super::wish::Recipe;
use crate::config::Config;
use crate::filter::placed::Placed;
use crate::plugin::load::StartKind;

/// A filter that serves.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) placed: Arc<Placed>,
    pub(super) recipe: Recipe,
    pub(super) start: StartKind,
    /// Whether a file beside the plugin configured it.
    pub(super) sidecar: bool,
}

/// What becomes of an attached filter that nothing asks for any more.
pub(super) enum Fate {
    /// The configuration took it away.
    Detached(String),
    /// Both its files are gone.
    Deleted,
    /// It goes on serving, and why.
    Kept(String),
}

/// Decides about an attached filter whose plugin file is not there (or not wanted) any more.
pub(super) fn fate(serving: &Serving, config: &Config, look: &Look) -> Fate {
    let placed = &serving.placed;
    if placed.listed {
        return Fate::Detached("the configuration no longer lists it".into());
    }
    if !config.plugins.auto_attach.enabled {
        return Fate::Detached("`plugins.auto_attach` is off".into());
    }
    if config.filters.iter().any(|entry| entry.plugin == *placed.plugin) {
        return Fate::Detached("the configuration lists its plugin now".into());
    }
    if look.dir.as_deref() != placed.file.parent() {
        return Fate::Detached("`plugins.dir` is another directory now".into());
    }
    if let Some(trouble) = &look.trouble {
        return Fate::Kept(trouble.clone());
    }
    if !look.tells_deletions() {
        return Fate::Kept(format!(
            "the plugin directory {} is empty, as an unmounted volume is; filters are not removed by that",
            directory(look)
        ));
    }
    let sidecar_left = look.found.get(&*placed.plugin).is_some_and(|found| !found.sidecar.is_absent());
    if serving.sidecar && sidecar_left {
        return Fate::Kept(format!(
            "{} is gone and the file beside it is not; delete that too to detach the filter",
            placed.file.display()
        ));
    }
    if placed.hooks.authenticate || placed.hooks.access {
        return Fate::Kept(format!(
            "{} is gone, but a filter that decides access never detaches by deletion; put the file back, or \
             detach it through the configuration",
            placed.file.display()
        ));
    }
    Fate::Deleted
}

fn directory(look: &Look) -> std::path::Display<'_> {
    look.dir.as_deref().unwrap_or(Path::new("")).display()
}
