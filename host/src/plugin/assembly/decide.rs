//! One filter at a time: the same as before, a new version, or the last good one with the reason.

use std::path::PathBuf;
use std::sync::Arc;

use super::State;
use super::kept::{Fate, Serving, fate};
use super::look::{Found, Look, Part};
use super::wish::{Recipe, Wanted, Wish, wanted};
use crate::config::Config;
use crate::filter::Hooks;
use crate::filter::placed::{Placed, PlacedParts};
use crate::plugin::load::{Candidate, LoadError, Loader};

/// What was tried with these ingredients and did not work.
#[derive(Clone)]
pub(super) struct Refused {
    recipe: Recipe,
    error: LoadError,
}

/// What became of one filter.
pub(super) struct Slot {
    pub(super) name: Arc<str>,
    pub(super) plugin: Arc<str>,
    pub(super) listed: bool,
    pub(super) file: Option<PathBuf>,
    /// What serves now, if anything does.
    pub(super) serving: Option<Serving>,
    /// What served before.
    pub(super) before: Option<Arc<Placed>>,
    /// Why it is not what was asked for.
    pub(super) trouble: Option<Trouble>,
}

/// Why a filter is not what was asked for.
pub(super) struct Trouble {
    pub(super) text: String,
    /// What the new file says its version is.
    pub(super) version: Option<String>,
    pub(super) sha256: Option<[u8; 32]>,
    /// The directory as a whole is the reason, which is told once and not for every filter.
    pub(super) everybodys: bool,
    /// It will pass by itself: not worth a word while something serves.
    pub(super) passing: bool,
}

/// The chain with everything there is to tell about it.
pub(super) struct Chain {
    pub(super) slots: Vec<Slot>,
    /// Filters that no longer serve, with the reason.
    pub(super) detached: Vec<(Arc<Placed>, String)>,
    /// The directory's trouble, and files to complain about.
    pub(super) complaints: Vec<(String, String)>,
    /// Why nothing may serve at a first start.
    pub(super) fatal: Option<String>,
}

/// Decides about every filter that is wanted or serves.
pub(super) async fn chain(loader: &dyn Loader, config: &Config, state: &mut State, look: Look) -> Chain {
    let mut listed = Vec::new();
    let mut attached = Vec::new();
    for wanted in wanted(config, &look) {
        let slot = decide(loader, state, &look, wanted).await;
        if slot.listed { listed.push(slot) } else { attached.push(slot) }
    }
    let mut detached = Vec::new();
    for (name, serving) in &state.serving {
        if listed.iter().chain(&attached).any(|slot: &Slot| slot.name == *name) {
            continue;
        }
        match fate(serving, config, &look) {
            Fate::Detached(reason) => detached.push((Arc::clone(&serving.placed), reason)),
            Fate::Deleted => {
                detached.push((Arc::clone(&serving.placed), "its files were deleted".to_owned()));
            }
            Fate::Kept(reason) => attached.push(kept(serving, reason, look.trouble.is_some() || look.empty)),
        }
    }
    attached.sort_by(|a, b| file_name(a).cmp(&file_name(b)));
    listed.append(&mut attached);
    let starts_blind = !state.started && config.plugins.auto_attach.enabled;
    Chain {
        slots: listed,
        detached,
        fatal: look.trouble.clone().filter(|_| starts_blind),
        complaints: complaints(config, state, &look),
    }
}

fn file_name(slot: &Slot) -> Option<&std::ffi::OsStr> {
    slot.file.as_deref().and_then(std::path::Path::file_name)
}

fn kept(serving: &Serving, text: String, everybodys: bool) -> Slot {
    let placed = &serving.placed;
    Slot {
        name: Arc::clone(&placed.name),
        plugin: Arc::clone(&placed.plugin),
        listed: false,
        file: Some(placed.file.clone()),
        serving: Some(serving.clone()),
        before: Some(Arc::clone(placed)),
        trouble: Some(Trouble { text, version: None, sha256: None, everybodys, passing: false }),
    }
}

async fn decide(loader: &dyn Loader, state: &mut State, look: &Look, wanted: Wanted) -> Slot {
    let Wanted { name, plugin, listed, wish } = wanted;
    let found = look.found.get(&*plugin);
    // A version that served because the configuration listed it is no last good one for a dropped file,
    // and the other way round.
    let last = state.serving.get(&name).filter(|last| last.placed.listed == listed).cloned();
    let file = found.and_then(|found| found.wasm.path()).map(PathBuf::from);
    let file = file.or_else(|| last.as_ref().map(|last| last.placed.file.clone()));
    let before = state.serving.get(&name).map(|last| Arc::clone(&last.placed));
    let result = match wish {
        Ok(wish) => {
            // A listed filter stands for everything of its name that served before.
            let decides = before.as_ref().filter(|before| listed || before.listed == listed);
            let decides = decides.map(|before| before.hooks).unwrap_or_default();
            serve(loader, state, look, found, last.as_ref(), decides, &wish).await
        }
        Err(error) => Err(error),
    };
    let (serving, trouble) = match result {
        Ok(serving) => {
            state.refused.remove(&name);
            (Some(serving), None)
        }
        Err(error) => (last, Some(trouble(&error, found, look))),
    };
    Slot { name, plugin, listed, file, serving, before, trouble }
}

fn trouble(error: &LoadError, found: Option<&Found>, look: &Look) -> Trouble {
    let (version, sha256) = match found.map(|found| &found.wasm) {
        Some(Part::Settled { content, inspected, .. }) => {
            let told = inspected.as_ref().and_then(|inspected| inspected.as_ref().ok());
            (told.and_then(|told| told.version.clone()), Some(content.sha256))
        }
        _ => (None, None),
    };
    Trouble {
        text: error.to_string(),
        version,
        sha256,
        everybodys: matches!(error, LoadError::Directory(_)) || look.empty,
        passing: matches!(error, LoadError::Unfinished(_)),
    }
}

/// The filter as wished, or why not.
async fn serve(
    loader: &dyn Loader,
    state: &mut State,
    look: &Look,
    found: Option<&Found>,
    last: Option<&Serving>,
    decides: Hooks,
    wish: &Wish,
) -> Result<Serving, LoadError> {
    if let Some(trouble) = &look.trouble {
        return Err(LoadError::Directory(trouble.clone()));
    }
    let (path, content, inspected) = match found.map(|found| &found.wasm) {
        None | Some(Part::Absent) => return Err(not_found(wish, look)),
        Some(Part::NotYet(path)) => return Err(LoadError::Unfinished(path.display().to_string())),
        Some(Part::Bad { error, .. }) => return Err(error.clone()),
        Some(Part::Settled { path, content, inspected }) => (path, content, inspected),
    };
    let has_sidecar = !wish.listed && found.is_some_and(|found| !found.sidecar.is_absent());
    if !wish.listed && !has_sidecar && last.is_some_and(|last| last.sidecar) {
        return Err(LoadError::SidecarGone);
    }
    let recipe = wish.recipe(content.sha256);
    if let Some(last) = last.filter(|last| last.recipe == recipe) {
        return Ok(Serving {
            placed: replaced(&last.placed, wish, path),
            sidecar: has_sidecar,
            ..last.clone()
        });
    }
    if let Some(refused) = state.refused.get(&wish.name).filter(|refused| refused.recipe == recipe) {
        return Err(refused.error.clone());
    }
    let candidate = Candidate {
        name: Arc::clone(&wish.name),
        plugin: Arc::clone(&wish.plugin),
        file: path.clone(),
        bytes: content.bytes.clone(),
        sha256: content.sha256,
        inspection: inspected.as_ref().and_then(|inspected| inspected.as_ref().ok().cloned()),
        max_bytes: look.max_bytes,
        listed: wish.listed,
        config: Arc::clone(&wish.config),
        grants: wish.grants.clone(),
        secrets: wish.secrets.clone(),
        instances: wish.instances,
        limits: wish.limits,
    };
    // Before it is compiled: which hooks are gone matters more than whatever else is wrong with it.
    let told = inspected.as_ref().and_then(|inspected| inspected.as_ref().ok());
    let loaded = match (inspected, told.and_then(|told| loses(decides, told.hooks, wish))) {
        (Some(Err(error)), _) => Err(LoadError::Inspect(error.clone())),
        (_, Some(lost)) => Err(lost),
        _ => loader.load(candidate).await,
    };
    let loaded = loaded.and_then(|loaded| match loses(decides, loaded.inspection.hooks, wish) {
        Some(lost) => Err(lost),
        None => Ok(loaded),
    });
    match loaded {
        Ok(loaded) => {
            let placed = Placed::new(PlacedParts {
                name: Arc::clone(&wish.name),
                plugin: Arc::clone(&wish.plugin),
                version: loaded.inspection.version.clone(),
                sha256: content.sha256,
                file: path.clone(),
                listed: wish.listed,
                matches: wish.matches.clone(),
                on_failure: wish.on_failure,
                mode: wish.mode,
                limits: wish.limits,
                hooks: loaded.inspection.hooks,
                filter: loaded.filter,
            });
            Ok(Serving { placed: Arc::new(placed), recipe, start: loaded.start, sidecar: has_sidecar })
        }
        Err(error) => {
            if error.may_pass() {
                state.refused.remove(&wish.name);
            } else {
                state.refused.insert(Arc::clone(&wish.name), Refused { recipe, error: error.clone() });
            }
            Err(error)
        }
    }
}

/// Whether a version would no longer decide what the one that serves decides: it is refused as the
/// deletion of the file is.
fn loses(before: Hooks, now: Hooks, wish: &Wish) -> Option<LoadError> {
    let hooks: Vec<_> = [
        (before.authenticate && !now.authenticate, "`authenticate`"),
        (before.access && !now.access, "`access`"),
    ]
    .into_iter()
    .filter_map(|(lost, hook)| lost.then_some(hook))
    .collect();
    let remedy = if wish.listed {
        "give its entry under `filters:` another `name`"
    } else {
        "list the plugin under `filters:` with a `name` of its own"
    };
    (!hooks.is_empty()).then_some(LoadError::LosesHooks { hooks, remedy })
}

/// The same filter where only its place changed: what runs goes on running.
fn replaced(placed: &Arc<Placed>, wish: &Wish, path: &std::path::Path) -> Arc<Placed> {
    let same = placed.matches == wish.matches
        && placed.on_failure == wish.on_failure
        && placed.mode == wish.mode
        && placed.plugin == wish.plugin
        && placed.file == path;
    if same {
        return Arc::clone(placed);
    }
    Arc::new(Placed::new(PlacedParts {
        name: Arc::clone(&placed.name),
        plugin: Arc::clone(&wish.plugin),
        version: placed.version.clone(),
        sha256: placed.sha256,
        file: path.to_owned(),
        listed: placed.listed,
        matches: wish.matches.clone(),
        on_failure: wish.on_failure,
        mode: wish.mode,
        limits: placed.limits,
        hooks: placed.hooks,
        filter: Arc::clone(&placed.filter),
    }))
}

fn not_found(wish: &Wish, look: &Look) -> LoadError {
    let there = || look.found.iter().filter(|(_, found)| !found.wasm.is_absent()).map(|(name, _)| name);
    let close = there()
        .map(|name| (strsim::jaro_winkler(name, &wish.plugin), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let near = match (close, there().next()) {
        (Some((_, name)), _) => format!("; did you mean `{name}`?"),
        (None, Some(_)) => {
            let names: Vec<&str> = there().map(String::as_str).collect();
            format!("; there is: {}", names.join(", "))
        }
        (None, None) => format!("; copy `{}.wasm` there", wish.plugin),
    };
    match &look.dir {
        Some(dir) => {
            LoadError::NotFound { plugin: wish.plugin.to_string(), dir: dir.display().to_string(), near }
        }
        None => LoadError::NotFound {
            plugin: wish.plugin.to_string(),
            dir: "any directory: `plugins.dir` is not set".into(),
            near: String::new(),
        },
    }
}

fn complaints(config: &Config, state: &State, look: &Look) -> Vec<(String, String)> {
    let mut complaints: Vec<(String, String)> = Vec::new();
    if let Some(trouble) = &look.trouble {
        complaints.push(("directory".into(), trouble.clone()));
    } else if let (Some(dir), true) = (&look.dir, look.empty && !state.serving.is_empty()) {
        let text = format!(
            "the plugin directory {} is empty, as an unmounted volume is: the last good versions keep serving; \
             put the files back, or take the filters out of the configuration",
            dir.display()
        );
        complaints.push(("directory".into(), text));
    }
    for (path, reason) in &look.odd {
        complaints.push((path.display().to_string(), format!("{}: {reason}", path.display())));
    }
    for (plugin, found) in &look.found {
        let Some(path) = found.sidecar.path() else { continue };
        let file = path.display().to_string();
        if config.filters.iter().any(|entry| entry.plugin == *plugin) {
            let text = format!(
                "{file} is not read: the configuration lists `{plugin}` under `filters:` and configures it there"
            );
            complaints.push((file, text));
        } else if found.wasm.is_absent() && look.dir.is_some() {
            let text = format!("{file} configures nothing: there is no `{plugin}.wasm` beside it");
            complaints.push((file, text));
        }
    }
    complaints
}
