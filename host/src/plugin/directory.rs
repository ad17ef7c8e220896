//! The watched directory: which plugins lie in it, and whether it can be trusted at all.
//!
//! Reading it decides nothing: what a missing or broken file means for the running filters is
//! decided in `assembly`.

mod file;
mod settle;
mod sidecar;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use file::{Content, FileError};
pub use settle::{PAUSE, Reading, Settling};
pub use sidecar::Sidecar;

/// Longest name of a plugin in bytes.
const NAME_BYTES: usize = 64;

/// What one look at the directory found.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The files of each plugin, by plugin name.
    pub plugins: BTreeMap<String, Files>,
    /// Plugin names in file-name order.
    pub order: Vec<String>,
    /// Files that are none of ours although they look like it, with the reason.
    pub odd: Vec<(PathBuf, String)>,
    /// Nothing in it at all. That is how an unmounted volume looks, so it removes no filter.
    pub empty: bool,
}

/// The files of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Its `.wasm` files; more than one is an error.
    pub wasm: Vec<PathBuf>,
    /// Its `.yaml` files; more than one is an error.
    pub sidecar: Vec<PathBuf>,
}

/// Why nothing in the directory counts.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is not there or cannot be read.
    #[error("cannot read the plugin directory {}: {reason}", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// Somebody else's.
    #[error(
        "the plugin directory {} belongs to user {owner}; it must belong to Lockgate's own user ({us}) \
         or root, because its owner decides what Lockgate runs: chown it", path.display()
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// Our number.
        us: u32,
    },
    /// Others may write to it.
    #[error(
        "the plugin directory {} may be written by others (mode {mode:03o}), who could then decide what \
         Lockgate runs: `chmod go-w {}`", path.display(), path.display()
    )]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Looks at the directory.
///
/// # Errors
/// It cannot be read, or others decide what lies in it.
pub fn list(dir: &Path) -> Result<Listing, DirectoryError> {
    let unreadable = |error: std::io::Error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "it does not exist; create it, or change `plugins.dir`".to_owned()
            }
            _ => error.to_string(),
        };
        DirectoryError::Unreadable { path: dir.to_owned(), reason }
    };
    file::check_owner(dir).map_err(|refusal| match refusal {
        file::Refusal::Io(error) => unreadable(error),
        file::Refusal::Owner { owner, us } => DirectoryError::Owner { path: dir.to_owned(), owner, us },
        file::Refusal::Writable { mode } => DirectoryError::Writable { path: dir.to_owned(), mode },
    })?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        names.push(entry.map_err(unreadable)?.file_name());
    }
    names.sort();
    let mut listing =
        Listing { plugins: BTreeMap::new(), order: Vec::new(), odd: Vec::new(), empty: names.is_empty() };
    for name in names {
        let path = dir.join(&name);
        match classify(&name.to_string_lossy()) {
            Kind::Other => {}
            Kind::Odd(reason) => listing.odd.push((path, reason)),
            Kind::Wasm(plugin) => {
                let files = listing.plugins.entry(plugin.clone()).or_default();
                if files.wasm.is_empty() {
                    listing.order.push(plugin);
                }
                files.wasm.push(path);
            }
            Kind::Sidecar(plugin) => listing.plugins.entry(plugin).or_default().sidecar.push(path),
        }
    }
    Ok(listing)
}

enum Kind {
    Wasm(String),
    Sidecar(String),
    Odd(String),
    Other,
}

/// What a file name stands for. Hidden files and foreign endings are nobody's business.
fn classify(file: &str) -> Kind {
    if file.starts_with('.') {
        return Kind::Other;
    }
    let (stem, make): (_, fn(String) -> Kind) = match file.rsplit_once('.') {
        Some((stem, "wasm")) => (stem, Kind::Wasm),
        Some((stem, "yaml")) => (stem, Kind::Sidecar),
        Some((_, "yml")) => return Kind::Odd("rename it to `.yaml`: `.yml` is not read".into()),
        _ => return Kind::Other,
    };
    let name = plugin_name(stem);
    if name.is_empty() || name.len() > NAME_BYTES {
        return Kind::Odd(format!("rename it: a plugin's name has 1 to {NAME_BYTES} characters"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Kind::Odd("rename it: a plugin's name is made of letters, digits, `-`, `_` and `.`".into());
    }
    make(name.to_owned())
}

/// The name of the plugin in a file of that stem: without its leading number.
pub fn plugin_name(stem: &str) -> &str {
    let rest = stem.trim_start_matches(|c: char| c.is_ascii_digit());
    match rest.strip_prefix(['-', '_']) {
        Some(name) if rest.len() < stem.len() => name,
        _ => stem,
    }
}

#[cfg(test)]
mod tests;
