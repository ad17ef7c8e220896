//! What is told about a chain: states that last, and events that are told once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::decide::{Chain, Slot};
use super::{AssembleError, Assembly, State};
use crate::filter::Hooks;
use crate::filter::placed::Placed;
use crate::plugin::load::StartKind;

/// How a filter is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The filter's name.
    pub name: Arc<str>,
    /// Its plugin.
    pub plugin: Arc<str>,
    /// The version that serves, if it tells one.
    pub version: Option<String>,
    /// SHA-256 of what serves, in hex.
    pub sha256: Option<String>,
    /// The plugin's file.
    pub file: Option<PathBuf>,
    /// Whether the configuration lists it.
    pub listed: bool,
    /// What serves implements these hooks; none if nothing serves.
    #[serde(skip)]
    pub hooks: Hooks,
    /// How its instances start.
    pub start: Option<StartKind>,
    /// Whether that is what was asked for.
    pub health: Health,
}

/// Whether a filter is what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Health {
    /// Yes.
    Serving,
    /// Its last good version serves instead.
    Degraded {
        /// Why.
        reason: String,
        /// SHA-256 of what should serve, in hex, if its file can be read.
        wanted_sha256: Option<String>,
    },
    /// Nothing serves.
    Failed {
        /// Why.
        reason: String,
    },
}

/// One line to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// The line.
    pub text: String,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Odd.
    Warn,
    /// Something asked for does not happen.
    Error,
}

/// What was told, by subject, so that it is not told again.
pub(super) type Told = BTreeMap<String, String>;

/// Makes an assembly of a chain, and remembers what serves and what was told.
pub(super) fn report(
    state: &mut State,
    chain: Chain,
    look_again_in: Option<Duration>,
) -> Result<Assembly, AssembleError> {
    let problems = problems(&chain);
    if !problems.is_empty() {
        return Err(AssembleError { problems, statuses: chain.slots.iter().map(status).collect() });
    }
    let mut teller = Teller { told: &mut state.told, current: BTreeSet::new(), notices: Vec::new() };
    for (placed, reason) in &chain.detached {
        teller.event(format!("filter {} ({}) is detached: {reason}", label(placed), placed.file.display()));
    }
    for (subject, text) in &chain.complaints {
        let level = if subject == "directory" { Level::Error } else { Level::Warn };
        teller.state(subject.clone(), text.clone(), level, text.clone());
    }
    if teller.told.contains_key("directory") && !teller.current.contains("directory") {
        teller.event("the plugin directory is as it should be again".to_owned());
    }
    for slot in &chain.slots {
        tell(&mut teller, slot);
    }
    let Teller { current, notices, .. } = teller;
    state.told.retain(|subject, _| current.contains(subject));

    state.serving.clear();
    let mut assembly = Assembly { filters: Vec::new(), statuses: Vec::new(), notices, look_again_in };
    for slot in chain.slots {
        assembly.statuses.push(status(&slot));
        if let Some(serving) = slot.serving {
            assembly.filters.push(Arc::clone(&serving.placed));
            state.serving.insert(slot.name, serving);
        }
    }
    let serving = &state.serving;
    let wanted: BTreeSet<&Arc<str>> = assembly.statuses.iter().map(|status| &status.name).collect();
    state.refused.retain(|name, _| serving.contains_key(name) || wanted.contains(name));
    Ok(assembly)
}

/// Why there cannot be such a chain.
fn problems(chain: &Chain) -> Vec<String> {
    let mut problems: Vec<String> = chain.fatal.iter().cloned().collect();
    for slot in chain.slots.iter().filter(|slot| slot.listed && slot.serving.is_none()) {
        let text = slot.trouble.as_ref().map(|trouble| trouble.text.as_str()).unwrap_or_default();
        if !problems.iter().any(|told| told == text) {
            problems.push(format!("filter {}: {text}", subject(slot)));
        }
    }
    problems
}

fn tell(teller: &mut Teller<'_>, slot: &Slot) {
    let subject = format!("filter {}", slot.name);
    match (&slot.trouble, &slot.serving) {
        (None, Some(serving)) => {
            let placed = &serving.placed;
            let file = placed.file.display();
            let how = &serving.start;
            match &slot.before {
                None => teller.event(format!("filter {} ({file}) serves, {how}", label(placed))),
                Some(before) if before.sha256 != placed.sha256 => teller.event(format!(
                    "filter {} ({file}) replaces {}, {how}",
                    label(placed),
                    version(before.version.as_deref(), &before.sha256)
                )),
                Some(before) if !Arc::ptr_eq(before, placed) => {
                    teller.event(format!(
                        "filter {} ({file}) serves with another configuration",
                        label(placed)
                    ));
                }
                Some(_) if teller.told.contains_key(&subject) => {
                    teller.event(format!("filter {} ({file}) is what was asked for again", label(placed)));
                }
                Some(_) => {}
            }
        }
        (Some(trouble), serving) => {
            let keeps = match serving {
                Some(serving) => format!(
                    "; {} keeps serving",
                    version(serving.placed.version.as_deref(), &serving.placed.sha256)
                ),
                None => "; it does not serve".to_owned(),
            };
            let new = match &trouble.sha256 {
                Some(sha256) => format!(" {}", version(trouble.version.as_deref(), sha256)),
                None => String::new(),
            };
            let text = format!("filter {}{new}: {}{keeps}", self::subject(slot), trouble.text);
            if trouble.everybodys || trouble.passing {
                teller.keep(&subject);
            } else {
                // The version is only known while the file is new, and is not news by itself.
                let news = format!("{:?} {}{keeps}", trouble.sha256, trouble.text);
                teller.state(subject, news, Level::Error, text);
            }
        }
        (None, None) => {}
    }
}

struct Teller<'a> {
    told: &'a mut Told,
    current: BTreeSet<String>,
    notices: Vec<Notice>,
}

impl Teller<'_> {
    fn event(&mut self, text: String) {
        self.notices.push(Notice { level: Level::Info, text });
    }

    /// Something that lasts: told when it begins and when what is new about it changes.
    fn state(&mut self, subject: String, news: String, level: Level, text: String) {
        if self.told.get(&subject) != Some(&news) {
            self.told.insert(subject.clone(), news);
            self.notices.push(Notice { level, text });
        }
        self.current.insert(subject);
    }

    /// Whatever was told of it still stands.
    fn keep(&mut self, subject: &str) {
        self.current.insert(subject.to_owned());
    }
}

fn status(slot: &Slot) -> Status {
    let placed = slot.serving.as_ref().map(|serving| &serving.placed);
    let health = match (&slot.trouble, placed) {
        (None, _) => Health::Serving,
        (Some(trouble), Some(_)) if trouble.passing => Health::Serving,
        (Some(trouble), Some(_)) => {
            Health::Degraded { reason: trouble.text.clone(), wanted_sha256: trouble.sha256.map(hex::encode) }
        }
        (Some(trouble), None) => Health::Failed { reason: trouble.text.clone() },
    };
    Status {
        name: Arc::clone(&slot.name),
        plugin: Arc::clone(&slot.plugin),
        version: placed.and_then(|placed| placed.version.clone()),
        sha256: placed.map(|placed| hex::encode(placed.sha256)),
        file: slot.file.clone(),
        listed: slot.listed,
        hooks: placed.map(|placed| placed.hooks).unwrap_or_default(),
        start: slot.serving.as_ref().map(|serving| serving.start.clone()),
        health,
    }
}

fn subject(slot: &Slot) -> String {
    match &slot.file {
        Some(file) => format!("{} ({})", slot.name, file.display()),
        None => slot.name.to_string(),
    }
}

fn label(placed: &Placed) -> String {
    format!("{} {}", placed.name, version(placed.version.as_deref(), &placed.sha256))
}

/// A version, or the beginning of the hash of what does not tell one.
fn version(version: Option<&str>, sha256: &[u8; 32]) -> String {
    let mut hash = hex::encode(sha256);
    hash.truncate(12);
    version.map_or_else(|| format!("[{hash}]"), |version| format!("{version} [{hash}]"))
}
