//! Compiled plugins on disk, so that a start is quick and their code is mapped instead of held in memory.
//!
//! Loading a compiled plugin runs its machine code, so the folder is ours alone (mode 0700) and every
//! entry carries a MAC under a random key beside it. What does not verify is as if it were not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::plugin::load::StartKind;

/// Most that all entries take together, unless told.
pub const MAX_BYTES: u64 = 2 << 30;
/// Changes with the meaning of what is stored.
const FORMAT: &str = "lockgate plugin cache 1";
const KEY_FILE: &str = "key";
const DRAFT: &str = "draft-";
/// A draft of that age belongs to a process that died.
const DRAFT_SECONDS: u64 = 3600;

/// The folder of compiled plugins.
#[derive(Clone)]
pub struct Cache {
    dir: PathBuf,
    secret: [u8; 32],
    max_bytes: u64,
}

/// What an entry depends on, as one hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// An entry that verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The compiled plugin. It never changes in place.
    pub file: PathBuf,
    /// How its instances start.
    pub start: StartKind,
}

/// Why a folder cannot hold compiled plugins.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made, read or written.
    #[error("cannot use the plugin cache {}: {error}; change `plugins.cache_dir`", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The operating system's words.
        error: io::Error,
    },
    /// Somebody else could put machine code into it.
    #[error(
        "the plugin cache {} {reason}: whoever writes there runs code in Lockgate; \
         remove it, or change `plugins.cache_dir`", path.display()
    )]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Owner or mode.
        reason: String,
    },
}

impl Key {
    /// The hash of everything an artifact depends on: the plugin, its configuration, the limits that
    /// shape it, and the engine (`compatibility`). The version and file of this program come by themselves.
    pub fn new(plugin: &[u8; 32], config: &str, memory_mib: u32, compatibility: u64) -> Key {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(env!("CARGO_PKG_VERSION"));
        hash.update(program());
        hash.update(plugin);
        hash.update((config.len() as u64).to_le_bytes());
        hash.update(config);
        hash.update(memory_mib.to_le_bytes());
        hash.update(compatibility.to_le_bytes());
        Key(hash.finalize().into())
    }
}

#[derive(Serialize, Deserialize)]
struct Seal {
    start: StartKind,
    mac: String,
}

impl Cache {
    /// Opens the folder and creates it if need be. Entries beyond `max_bytes` in all are evicted, the
    /// longest unused first.
    ///
    /// # Errors
    /// It is not ours alone, or not usable.
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Cache, CacheError> {
        let failed = |error| CacheError::Io { path: dir.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let found = fs::metadata(&dir).map_err(failed)?;
        let refuse = |reason| Err(CacheError::NotOurs { path: dir.clone(), reason });
        if found.uid() != nix::unistd::geteuid().as_raw() {
            return refuse(format!("belongs to user {}", found.uid()));
        }
        if found.mode() & 0o077 != 0 {
            return refuse(format!("is open to others (mode {:03o})", found.mode() & 0o777));
        }
        let secret = secret(&dir).map_err(failed)?;
        Ok(Cache { dir, secret, max_bytes })
    }

    /// The entry of that key, if there is one and it verifies.
    pub fn get(&self, key: Key) -> Option<Entry> {
        let (file, seal_file) = self.paths(key);
        let seal: Seal = serde_json::from_slice(&fs::read(&seal_file).ok()?).ok()?;
        let mut mac = self.mac(key, &seal.start)?;
        let mut artifact = File::open(&file).ok()?;
        let mut piece = vec![0; 256 << 10];
        loop {
            match artifact.read(&mut piece).ok()? {
                0 => break,
                length => mac.update(piece.get(..length)?),
            }
        }
        mac.verify_slice(&hex::decode(&seal.mac).ok()?).ok()?;
        // Its age counts from its last use.
        let _ = File::open(&seal_file).and_then(|file| file.set_modified(SystemTime::now()));
        Some(Entry { file, start: seal.start })
    }

    /// Stores what was just made, and makes room for it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn put(&self, key: Key, artifact: &[u8], start: &StartKind) -> io::Result<Entry> {
        let (file, seal_file) = self.paths(key);
        let mut mac = self.mac(key, start).ok_or_else(|| io::Error::other("cannot seal"))?;
        mac.update(artifact);
        let seal = Seal { start: start.clone(), mac: hex::encode(mac.finalize().into_bytes()) };
        self.write(&file, artifact)?;
        self.write(&seal_file, &serde_json::to_vec(&seal)?)?;
        self.evict(&seal_file);
        Ok(Entry { file, start: start.clone() })
    }

    fn paths(&self, key: Key) -> (PathBuf, PathBuf) {
        let name = hex::encode(key.0);
        (self.dir.join(format!("{name}.cwasm")), self.dir.join(format!("{name}.seal")))
    }

    fn mac(&self, key: Key, start: &StartKind) -> Option<Hmac<Sha256>> {
        let start = serde_json::to_vec(start).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        mac.update(FORMAT.as_bytes());
        mac.update(&key.0);
        mac.update(&(start.len() as u64).to_le_bytes());
        mac.update(&start);
        Some(mac)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut draft = tempfile::Builder::new().prefix(DRAFT).tempfile_in(&self.dir)?;
        draft.write_all(bytes)?;
        draft.persist(path).map(drop).map_err(|error| error.error)
    }

    /// Removes the longest unused entries until the rest fits; `fresh` stays. Running filters keep what
    /// they mapped.
    fn evict(&self, fresh: &Path) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut found = Vec::new();
        let mut total = 0;
        for entry in entries.flatten() {
            let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
            let modified = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let age = modified.elapsed().map_or(0, |age| age.as_secs());
            if entry.file_name().to_string_lossy().starts_with(DRAFT) && age > DRAFT_SECONDS {
                let _ = fs::remove_file(&path);
            } else if path.extension().is_some_and(|ending| ending == "seal") {
                let artifact = path.with_extension("cwasm");
                let size = about.len() + fs::metadata(&artifact).map_or(0, |about| about.len());
                total += size;
                found.push((modified, size, path, artifact));
            }
        }
        found.sort();
        for (_, size, seal, artifact) in found {
            if total <= self.max_bytes {
                break;
            }
            if seal != fresh {
                let _ = fs::remove_file(&seal);
                let _ = fs::remove_file(&artifact);
                total = total.saturating_sub(size);
            }
        }
    }
}

/// The folder's key, made at its first use. Whoever loses a race takes the winner's.
fn secret(dir: &Path) -> io::Result<[u8; 32]> {
    let path = dir.join(KEY_FILE);
    for _ in 0..2 {
        if let Some(secret) = read_secret(&path) {
            return Ok(secret);
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
        let mut draft = tempfile::Builder::new().prefix(DRAFT).tempfile_in(dir)?;
        draft.write_all(&secret)?;
        draft.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
        match draft.persist_noclobber(&path) {
            Ok(_) => return Ok(secret),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                if read_secret(&path).is_none() {
                    // Damaged or not ours: what it sealed is void.
                    fs::remove_file(&path)?;
                }
            }
            Err(error) => return Err(error.error),
        }
    }
    read_secret(&path).ok_or_else(|| io::Error::other("its key cannot be made"))
}

fn read_secret(path: &Path) -> Option<[u8; 32]> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).ok()?;
    let found = file.metadata().ok()?;
    let ours = found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o077 == 0;
    let mut bytes = Vec::new();
    file.take(64).read_to_end(&mut bytes).ok()?;
    if ours { bytes.try_into().ok() } else { None }
}

/// Which build of this program it is: two builds of one version may prepare differently.
fn program() -> Vec<u8> {
    let about = std::env::current_exe().and_then(fs::metadata);
    about.map_or_else(
        |_| Vec::new(),
        |about| {
            let mut bytes = about.len().to_le_bytes().to_vec();
            bytes.extend_from_slice(&about.mtime().to_le_bytes());
            bytes.extend_from_slice(&about.mtime_nsec().to_le_bytes());
            bytes
        },
    )
}

#[cfg(test)]
mod tests;
