//! One look at the directory: every file read once, and whether it counts yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::State;
use super::kept::Serving;
use crate::config::Config;
use crate::plugin::directory::{self, Content, Listing, Reading, Settling};
use crate::plugin::inspect::{InspectError, Inspection, inspect};
use crate::plugin::load::LoadError;

/// Largest sidecar in bytes.
const SIDECAR_BYTES: u64 = 1 << 20;
const DEFAULT_MIB: u32 = 32;

/// What was seen.
pub(super) struct Look {
    /// The directory; none if the configuration has none.
    pub(super) dir: Option<PathBuf>,
    /// Why nothing in it counts.
    pub(super) trouble: Option<String>,
    /// Nothing at all lies in it.
    pub(super) empty: bool,
    /// Largest plugin allowed, in bytes.
    pub(super) max_bytes: u64,
    /// By plugin name.
    pub(super) found: BTreeMap<String, Found>,
    /// Names with a plugin file, in file-name order.
    pub(super) order: Vec<String>,
    /// Files to complain about.
    pub(super) odd: Vec<(PathBuf, String)>,
}

/// The files of one plugin.
pub(super) struct Found {
    pub(super) wasm: Part,
    pub(super) sidecar: Part,
}

/// One file.
pub(super) enum Part {
    Absent,
    NotYet(PathBuf),
    Settled { path: PathBuf, content: Content, inspected: Option<Result<Arc<Inspection>, InspectError>> },
    Bad { path: Option<PathBuf>, error: LoadError },
}

impl Part {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Part::Absent)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Part::Absent => None,
            Part::NotYet(path) | Part::Settled { path, .. } => Some(path),
            Part::Bad { path, .. } => path.as_deref(),
        }
    }
}

impl Look {
    /// Whether a file may still be written.
    pub(super) fn unsettled(&self) -> bool {
        let moving = |part: &Part| matches!(part, Part::NotYet(_));
        self.found.values().any(|found| moving(&found.wasm) || moving(&found.sidecar))
    }

    /// Whether a file that a filter was made from seems to be gone.
    pub(super) fn lacks_files_of(&self, serving: &BTreeMap<Arc<str>, Serving>) -> bool {
        serving.values().any(|serving| {
            let found = self.found.get(&*serving.placed.plugin);
            found.is_none_or(|found| found.wasm.is_absent() || (serving.sidecar && found.sidecar.is_absent()))
        })
    }

    /// Whether deletions mean something: an unmounted or unreadable directory says nothing.
    pub(super) fn tells_deletions(&self) -> bool {
        self.dir.is_some() && self.trouble.is_none() && !self.empty
    }
}

/// Looks at the directory of the configuration.
pub(super) async fn take(config: &Config, state: &mut State) -> Look {
    let max_bytes = u64::from(config.plugins.max_mib.unwrap_or(DEFAULT_MIB)) << 20;
    let Some(dir) = config.plugins.dir.clone() else { return Look::nothing(None, max_bytes) };
    let now = Instant::now();
    let mut settling = state.settling.clone();
    let at = dir.clone();
    let work = tokio::task::spawn_blocking(move || {
        let look = read(&at, max_bytes, now, &mut settling);
        (look, settling)
    });
    match work.await {
        Ok((look, settling)) => {
            state.settling = settling;
            look
        }
        Err(error) => {
            let mut look = Look::nothing(Some(dir), max_bytes);
            look.trouble = Some(format!("cannot look at the plugin directory: {error}"));
            look
        }
    }
}

impl Look {
    fn nothing(dir: Option<PathBuf>, max_bytes: u64) -> Look {
        let (found, order, odd) = (BTreeMap::new(), Vec::new(), Vec::new());
        Look { dir, trouble: None, empty: false, max_bytes, found, order, odd }
    }
}

fn read(dir: &Path, max_bytes: u64, now: Instant, settling: &mut Settling) -> Look {
    let mut look = Look::nothing(Some(dir.to_owned()), max_bytes);
    let listing = match directory::list(dir) {
        Ok(listing) => listing,
        Err(error) => {
            look.trouble = Some(error.to_string());
            return look;
        }
    };
    let Listing { plugins, order, odd, empty } = listing;
    (look.order, look.odd, look.empty) = (order, odd, empty);
    settling.retain(|path| {
        plugins.values().any(|files| files.wasm.iter().chain(&files.sidecar).any(|known| known == path))
    });
    for (name, files) in plugins {
        let wasm = match one(&name, &files.wasm) {
            Ok(Some(path)) => wasm(dir, path, max_bytes, now, settling),
            Ok(None) => Part::Absent,
            Err(error) => Part::Bad { path: files.wasm.first().cloned(), error },
        };
        let sidecar = match one(&name, &files.sidecar) {
            Ok(Some(path)) => sidecar(dir, path, now, settling),
            Ok(None) => Part::Absent,
            Err(error) => Part::Bad { path: files.sidecar.first().cloned(), error },
        };
        look.found.insert(name, Found { wasm, sidecar });
    }
    look
}

/// The only file of its kind, if there is one.
fn one<'a>(plugin: &str, files: &'a [PathBuf]) -> Result<Option<&'a PathBuf>, LoadError> {
    match files {
        [] => Ok(None),
        [path] => Ok(Some(path)),
        several => Err(LoadError::Duplicate {
            plugin: plugin.to_owned(),
            files: several.iter().map(|path| path.display().to_string()).collect(),
        }),
    }
}

fn wasm(dir: &Path, path: &Path, limit: u64, now: Instant, settling: &mut Settling) -> Part {
    let mut inspected = None;
    let reading = settling.read(dir, path, limit, now, |bytes| {
        let result = inspect(bytes, limit).map(Arc::new);
        // What more bytes cannot heal is finished too.
        let whole = result.as_ref().map_or_else(|error| !error.may_be_unfinished(), |_| true);
        inspected = Some(result);
        whole
    });
    part(path, reading, inspected)
}

fn sidecar(dir: &Path, path: &Path, now: Instant, settling: &mut Settling) -> Part {
    // Any prefix of a YAML file is likely one too: only an editor's finished line counts at once.
    let reading = settling.read(dir, path, SIDECAR_BYTES, now, |bytes| bytes.ends_with(b"\n"));
    part(path, reading, None)
}

fn part(path: &Path, reading: Reading, inspected: Option<Result<Arc<Inspection>, InspectError>>) -> Part {
    let path = path.to_owned();
    match reading {
        Reading::Settled(content) => Part::Settled { path, content, inspected },
        Reading::NotYet => Part::NotYet(path),
        // Listed a moment ago and gone since.
        Reading::Bad(directory::FileError::Missing) => Part::Absent,
        Reading::Bad(error) => Part::Bad { path: Some(path), error: error.into() },
    }
}
