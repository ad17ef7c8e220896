//! The key of a single machine: made once, and kept in the state folder for the next start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Config, Key};

const FILE: &str = "key";
/// Longest file that is read: a key has 64 digits.
const MAX_BYTES: u64 = 4 << 10;

/// Why there is no key to be had from a state folder.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made, read or written.
    #[error(
        "cannot keep the key in {}: {error}; make the folder writable, change `state_dir`, or give `keys`",
        path.display()
    )]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The operating system's words.
        error: io::Error,
    },
    /// Somebody else could read or replace it.
    #[error(
        "the key {} {reason}: whoever has it can forge session ids and cursors; remove the file, and a \
         new one is made (clients then begin anew)", path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Owner or mode.
        reason: String,
    },
    /// There is no key in it.
    #[error("the file {} holds no key; remove it, and a new one is made", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// The key that is kept in the state folder; made there if there is none yet. None where neither
/// `state_dir` nor the environment (`STATE_DIRECTORY` of systemd, `XDG_STATE_HOME`, `HOME`) names a
/// folder, or that of the environment cannot be used: the log says so, and a key that lasts as long
/// as this process has to do.
///
/// # Errors
/// The folder that `state_dir` names cannot be used, or the key in the folder is not ours alone.
pub fn kept(config: &Config) -> Result<Option<Key>, StateError> {
    if let Some(dir) = &config.state_dir {
        return key_in(dir).map(Some);
    }
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let dir = set("STATE_DIRECTORY")
        .or_else(|| set("XDG_STATE_HOME").map(|base| base.join("lockgate")))
        .or_else(|| set("HOME").map(|home| home.join(".local/state/lockgate")));
    let Some(dir) = dir else { return Ok(None) };
    match key_in(&dir) {
        Ok(key) => Ok(Some(key)),
        Err(error @ StateError::Io { .. }) => {
            tracing::warn!("{error}. Until then, cursors and event ids do not outlive this process");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn key_in(dir: &Path) -> Result<Key, StateError> {
    let failed = |error| StateError::Io { path: dir.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let path = dir.join(FILE);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| failed(io::Error::other(error.to_string())))?;
    let mut draft = tempfile::Builder::new().prefix(".key-").tempfile_in(dir).map_err(failed)?;
    writeln!(draft, "{}", hex::encode(random)).map_err(failed)?;
    draft.as_file().sync_all().map_err(failed)?;
    // Whoever comes first has made it; all others read that one.
    match draft.persist_noclobber(&path) {
        Ok(_) => {}
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(lost) => return Err(failed(lost.error)),
    }
    read(&path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// The key in a file; none if there is no file.
fn read(path: &Path) -> Result<Option<Key>, StateError> {
    let failed = |error| StateError::Io { path: path.to_owned(), error };
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    ours_alone(path, &file.metadata().map_err(failed)?)?;
    let text = text(file).map_err(failed)?;
    let digits = text.trim_end();
    if digits.len() < 64 || hex::decode(digits).is_err() {
        return Err(StateError::Malformed { path: path.to_owned() });
    }
    Ok(Some(Key::from(digits.to_owned())))
}

fn text(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn ours_alone(path: &Path, found: &fs::Metadata) -> Result<(), StateError> {
    let refuse = |reason| Err(StateError::NotOurs { path: path.to_owned(), reason });
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return refuse(format!("belongs to user {}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return refuse(format!("is open to others (mode {:03o})", found.mode() & 0o777));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/state");
        let config = Config { state_dir: Some(state.clone()), ..Config::default() };
        let made: Vec<Key> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| kept(&config).unwrap().unwrap())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(made.iter().all(|key| *key == made[0]), "eight starts at once, one key");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join("key"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "no drafts are left");
    }

    #[test]
    fn what_is_no_key_of_ours_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { state_dir: Some(dir.path().to_owned()), ..Config::default() };
        let path = dir.path().join("key");
        let said = || kept(&config).unwrap_err().to_string();
        fs::write(&path, "short\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(said().contains("is open to others (mode 644)"), "{}", said());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(said().contains("holds no key; remove it"), "{}", said());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(said().contains("cannot keep the key"), "{}", said());
        let config = Config { state_dir: Some("/dev/null/state".into()), ..Config::default() };
        assert!(kept(&config).unwrap_err().to_string().contains("change `state_dir`"));
    }
}
