//! A loader and a directory for the tests: real files, real inspection, no compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;

use super::*;
use crate::config::{AutoAttach, FilterEntry, Grants, Secret};
use crate::filter::*;
use crate::plugin::inspect::inspect;
use crate::plugin::load::{Candidate, LoadError, Loaded, StartKind, check_wiring};
use crate::plugin::samples::component_with;

/// Does everything but compile. A plugin whose bytes contain `REFUSE` fails its self-test, one whose
/// bytes contain `CROWDED` meets a machine without room.
#[derive(Default)]
pub(super) struct FakeLoader {
    pub(super) loads: AtomicUsize,
}

impl Loader for FakeLoader {
    fn load(&self, candidate: Candidate) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let inspection = Arc::new(inspect(&candidate.bytes, candidate.max_bytes)?);
            check_wiring(&candidate, &inspection)?;
            let has = |word: &[u8]| candidate.bytes.windows(word.len()).any(|window| window == word);
            if has(b"CROWDED") {
                return Err(LoadError::Machine("no room".into()));
            }
            if has(b"REFUSE") || candidate.config.contains("REFUSE") {
                return Err(LoadError::SelfTest("it does not want to".into()));
            }
            let filter = Arc::new(FakeFilter { hooks: inspection.hooks });
            Ok(Loaded { filter, inspection, start: StartKind::Snapshot })
        })
    }
}

struct FakeFilter {
    hooks: Hooks,
}

fn nothing<T>() -> BoxFuture<'static, Result<T, Failure>> {
    Box::pin(async { Err(Failure { kind: FailureKind::Host, message: "never called here".into() }) })
}

impl Filter for FakeFilter {
    fn hooks(&self) -> Hooks {
        self.hooks
    }
    fn authenticate<'a>(&'a self, _: Arc<RequestHead>) -> BoxFuture<'a, Result<Decision, Failure>> {
        nothing()
    }
    fn definitions<'a>(&'a self, _: DefinitionsView) -> BoxFuture<'a, Result<DefinitionsEdit, Failure>> {
        nothing()
    }
    fn access<'a>(&'a self, _: Arc<ItemsView>) -> BoxFuture<'a, Result<Vec<Visibility>, Failure>> {
        nothing()
    }
    fn request<'a>(&'a self, _: Arc<CallView>) -> BoxFuture<'a, Result<Effects, Failure>> {
        nothing()
    }
    fn upstream<'a>(&'a self, _: Arc<ExchangeView>) -> BoxFuture<'a, Result<ExchangeEffects, Failure>> {
        nothing()
    }
    fn response<'a>(&'a self, _: Arc<CallView>) -> BoxFuture<'a, Result<Effects, Failure>> {
        nothing()
    }
}

/// A directory, a configuration that watches it, and the plugins under test.
pub(super) struct Bench {
    parent: tempfile::TempDir,
    pub(super) config: Config,
    pub(super) loader: Arc<FakeLoader>,
    pub(super) plugins: Plugins,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("plugins");
        fs::create_dir(&dir).unwrap();
        let mut config = Config::default();
        config.plugins.dir = Some(dir);
        config.plugins.auto_attach =
            AutoAttach { enabled: true, max_grants: Grants { secrets: vec!["mail".into()] } };
        config.secrets.insert("mail".into(), Secret { value: "s3cret".into(), servers: Vec::new() });
        let loader = Arc::new(FakeLoader::default());
        let plugins = Plugins::new(Arc::clone(&loader) as Arc<dyn Loader>);
        Bench { parent, config, loader, plugins }
    }

    /// Lists plugins in the configuration.
    pub(super) fn listing(mut self, plugins: &[&str]) -> Bench {
        self.list(plugins);
        self
    }

    pub(super) fn list(&mut self, plugins: &[&str]) {
        let entry = |plugin: &&str| FilterEntry { plugin: (*plugin).to_owned(), ..FilterEntry::default() };
        self.config.filters = plugins.iter().map(entry).collect();
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.parent.path().join("plugins")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Puts a file there as careful tools do: written elsewhere, then renamed.
    pub(super) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let draft = self.parent.path().join("draft");
        fs::write(&draft, bytes).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    pub(super) fn delete(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(super) async fn assemble(&self) -> Assembly {
        self.plugins.assemble(&self.config).await.unwrap()
    }

    pub(super) async fn refused(&self) -> String {
        self.plugins.assemble(&self.config).await.err().unwrap().to_string()
    }

    pub(super) fn loads(&self) -> usize {
        self.loader.loads.load(Ordering::Relaxed)
    }
}

impl Assembly {
    /// `name version` of everything that serves, in order.
    pub(super) fn chain(&self) -> Vec<String> {
        let text = |placed: &Arc<Placed>| match &placed.version {
            Some(version) => format!("{} {version}", placed.name),
            None => placed.name.to_string(),
        };
        self.filters.iter().map(text).collect()
    }

    pub(super) fn status(&self, name: &str) -> &Status {
        self.statuses.iter().find(|status| &*status.name == name).unwrap()
    }

    /// Why a filter is not what was asked for.
    pub(super) fn reason(&self, name: &str) -> &str {
        match &self.status(name).health {
            Health::Serving => "",
            Health::Degraded { reason, .. } | Health::Failed { reason } => reason,
        }
    }

    pub(super) fn said(&self) -> Vec<&str> {
        self.notices.iter().map(|notice| notice.text.as_str()).collect()
    }
}

/// A plugin with these hooks that tells this version.
pub(super) fn plugin(hooks: &[&str], version: &str) -> Vec<u8> {
    component_with(hooks, &[], &format!("(@custom \"version\" \"{version}\")"))
}

/// One that tells a version and then fails.
pub(super) fn bad(hooks: &[&str], version: &str) -> Vec<u8> {
    component_with(hooks, &[], &format!("(@custom \"version\" \"{version}\")(@custom \"x\" \"REFUSE\")"))
}

/// Overwrites in place, as careless tools do.
pub(super) fn overwrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
