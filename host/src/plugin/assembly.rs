//! The filters that serve: what the configuration and the directory ask for, and the last good version
//! of everything that cannot be had.
//!
//! Nothing here swaps anything: a caller takes an [`Assembly`] and makes a generation of it.

mod decide;
mod kept;
mod look;
mod report;
mod wish;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use report::{Health, Level, Notice, Status};

use crate::config::Config;
use crate::filter::placed::Placed;
use crate::plugin::directory::{PAUSE, Settling};
use crate::plugin::load::Loader;

/// Loads plugins and remembers the last good version of every filter.
pub struct Plugins {
    loader: Arc<dyn Loader>,
    /// One assembly at a time: two would judge each other's half-done work.
    turn: Semaphore,
    state: Mutex<State>,
}

/// What is remembered from one assembly to the next.
#[derive(Clone, Default)]
struct State {
    settling: Settling,
    /// What serves, by filter name.
    serving: BTreeMap<Arc<str>, kept::Serving>,
    /// What was tried and refused, by filter name: not tried again until something about it changes.
    refused: BTreeMap<Arc<str>, decide::Refused>,
    told: report::Told,
    /// Whether an assembly succeeded before.
    started: bool,
}

/// The chain as it can be had now.
pub struct Assembly {
    /// In their order: as the configuration lists them, then attached ones in file-name order.
    pub filters: Vec<Arc<Placed>>,
    /// One per filter that is wanted or serves, in the same order.
    pub statuses: Vec<Status>,
    /// What happened since the last assembly, each thing told once.
    pub notices: Vec<Notice>,
    /// Something in the directory is still being written: look again after so long.
    pub look_again_in: Option<Duration>,
}

/// A chain that cannot be had: a filter that the configuration lists has no version that works.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct AssembleError {
    /// Each names the filter, its file, what is wrong and what to do.
    pub problems: Vec<String>,
    /// Every filter that was wanted, those that would work included, in order: for `check`.
    pub statuses: Vec<Status>,
}

impl Plugins {
    /// With nothing loaded yet.
    pub fn new(loader: Arc<dyn Loader>) -> Plugins {
        Plugins { loader, turn: Semaphore::new(1), state: Mutex::default() }
    }

    /// Looks at the directory, loads what changed, and puts the chain together. What did not change is
    /// the same `Arc` as before. Dropping the future changes nothing.
    ///
    /// # Errors
    /// A listed filter has no working version at all, or (the first time) the directory cannot be
    /// trusted. The last assembly then still stands.
    pub async fn assemble(&self, config: &Config) -> Result<Assembly, AssembleError> {
        self.assemble_if(config, |_| Ok(())).await
    }

    /// The same, where somebody else has a say: a chain that `admit` refuses, with the reason, changes
    /// nothing.
    ///
    /// # Errors
    /// As [`Plugins::assemble`], and the reason of `admit`.
    pub async fn assemble_if(
        &self,
        config: &Config,
        admit: impl Fn(&[Arc<Placed>]) -> Result<(), String>,
    ) -> Result<Assembly, AssembleError> {
        // Never closed; if it were, two assemblies at once would only be a waste.
        let _turn = self.turn.acquire().await.ok();
        let mut state = self.lock().clone();
        let look = self.look(config, &mut state).await;
        let unsettled = look.unsettled();
        let chain = decide::chain(&*self.loader, config, &mut state, look).await;
        let result = report::report(&mut state, chain, unsettled.then_some(PAUSE));
        let result = result.and_then(|assembly| match admit(&assembly.filters) {
            Ok(()) => Ok(assembly),
            Err(problem) => Err(AssembleError { problems: vec![problem], statuses: assembly.statuses }),
        });
        let mut current = self.lock();
        if result.is_ok() {
            state.started = true;
            *current = state;
        } else {
            // What stands, stands. That a file settled or was refused is true all the same.
            current.settling = state.settling;
            current.refused = state.refused;
        }
        result
    }

    /// Forgets what was refused, so that the next assembly tries everything again.
    pub fn forget_refusals(&self) {
        self.lock().refused.clear();
    }

    /// The files that serve now, by filter name.
    pub fn serving_files(&self) -> BTreeMap<Arc<str>, PathBuf> {
        let state = self.lock();
        state.serving.iter().map(|(name, serving)| (Arc::clone(name), serving.placed.file.clone())).collect()
    }

    /// Looks until nothing is in motion, at most twice: what may still be written, and what seems to be
    /// gone, is judged by the second look.
    async fn look(&self, config: &Config, state: &mut State) -> look::Look {
        let first = look::take(config, state).await;
        if !first.unsettled() && !first.lacks_files_of(&state.serving) {
            return first;
        }
        tokio::time::sleep(PAUSE).await;
        look::take(config, state).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod lost_hooks_tests;
#[cfg(test)]
mod tests;
