//! When a file counts: written to its end, not while somebody still writes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::file::{self, Content, FileError};

/// Time between the two reads that must agree.
pub const PAUSE: Duration = Duration::from_millis(100);

/// What is known of the files from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct Settling {
    known: HashMap<PathBuf, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    identity: (u64, u64),
    sha256: [u8; 32],
    /// When these bytes were first read.
    since: Instant,
    settled: bool,
}

/// What one read of a file says.
#[derive(Clone, Debug)]
pub enum Reading {
    /// It counts.
    Settled(Content),
    /// It may still be written; read again after [`PAUSE`].
    NotYet,
    /// It does not count.
    Bad(FileError),
}

impl Settling {
    /// Reads a file and judges by what earlier looks saw. `whole` tells whether bytes look like a
    /// finished file; it is asked for those that arrived by rename, which count at once if so.
    pub fn read(
        &mut self,
        dir: &Path,
        path: &Path,
        limit: u64,
        now: Instant,
        whole: impl FnOnce(&[u8]) -> bool,
    ) -> Reading {
        let content = match file::read(dir, path, limit) {
            Ok(content) => content,
            Err(error) => {
                self.known.remove(path);
                return Reading::Bad(error);
            }
        };
        let before = self.known.get(path);
        let arrived = before.is_none_or(|known| known.identity != content.identity);
        let (since, settled) = match before.filter(|known| known.sha256 == content.sha256) {
            Some(same) => (same.since, same.settled || now.duration_since(same.since) >= PAUSE),
            None => (now, arrived && whole(&content.bytes)),
        };
        let known = Known { identity: content.identity, sha256: content.sha256, since, settled };
        self.known.insert(path.to_owned(), known);
        if settled { Reading::Settled(content) } else { Reading::NotYet }
    }

    /// Forgets files that are gone.
    pub fn retain(&mut self, present: impl Fn(&Path) -> bool) {
        self.known.retain(|path, _| present(path));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Looks {
        dir: tempfile::TempDir,
        settling: Settling,
        now: Instant,
    }

    impl Looks {
        fn new() -> Looks {
            Looks { dir: tempfile::tempdir().unwrap(), settling: Settling::default(), now: Instant::now() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// A file is whole if it ends with a full stop.
        fn look(&mut self, name: &str) -> Reading {
            let path = self.path(name);
            self.settling.read(self.dir.path(), &path, 64, self.now, |bytes| bytes.ends_with(b"."))
        }

        fn settled(&mut self, name: &str) -> Option<String> {
            match self.look(name) {
                Reading::Settled(content) => Some(String::from_utf8(content.bytes.to_vec()).unwrap()),
                Reading::NotYet => None,
                Reading::Bad(error) => panic!("{error}"),
            }
        }

        fn bad(&mut self, name: &str) -> FileError {
            match self.look(name) {
                Reading::Bad(error) => error,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_renamed_whole_file_counts_at_once() {
        let mut looks = Looks::new();
        for text in ["one.", "two.", "three."] {
            fs::write(looks.path(".new"), text).unwrap();
            fs::rename(looks.path(".new"), looks.path("a")).unwrap();
            assert_eq!(looks.settled("a").as_deref(), Some(text));
        }
    }

    #[test]
    fn a_file_written_in_place_counts_after_two_equal_reads() {
        let mut looks = Looks::new();
        fs::write(looks.path("a"), "one.").unwrap();
        assert!(looks.settled("a").is_some());
        fs::write(looks.path("a"), "two.").unwrap();
        assert_eq!(looks.settled("a"), None, "whole, but it did not arrive by rename");
        looks.now += PAUSE / 2;
        assert_eq!(looks.settled("a"), None, "too early");
        fs::write(looks.path("a"), "two, and more.").unwrap();
        looks.now += PAUSE;
        assert_eq!(looks.settled("a"), None, "it changed in between");
        looks.now += PAUSE;
        assert_eq!(looks.settled("a").as_deref(), Some("two, and more."));
    }

    #[test]
    fn a_half_written_new_file_waits_until_it_stands_still() {
        let mut looks = Looks::new();
        fs::write(looks.path("a"), "hal").unwrap();
        assert_eq!(looks.settled("a"), None);
        looks.now += PAUSE;
        assert_eq!(looks.settled("a").as_deref(), Some("hal"), "stable: it is what it is");
    }

    #[test]
    fn links_must_lead_inside() {
        let mut looks = Looks::new();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x"), "x.").unwrap();
        symlink(outside.path().join("x"), looks.path("a")).unwrap();
        assert!(matches!(looks.bad("a"), FileError::Outside(_)));
        symlink("../../etc/passwd", looks.path("b")).unwrap();
        assert!(matches!(looks.bad("b"), FileError::Outside(_) | FileError::Missing));
        // As Kubernetes lays a volume out, and changes it.
        for version in ["1", "2"] {
            fs::create_dir(looks.path(&format!("..{version}"))).unwrap();
            fs::write(looks.path(&format!("..{version}/c")), format!("{version}.")).unwrap();
            symlink(format!("..{version}"), looks.path("..data_tmp")).unwrap();
            fs::rename(looks.path("..data_tmp"), looks.path("..data")).unwrap();
            if version == "1" {
                symlink("..data/c", looks.path("c")).unwrap();
            }
            assert_eq!(looks.settled("c"), Some(format!("{version}.")));
        }
    }

    #[test]
    fn what_is_no_readable_file_of_ours_is_refused() {
        let mut looks = Looks::new();
        assert_eq!(looks.bad("a"), FileError::Missing);
        fs::create_dir(looks.path("d")).unwrap();
        assert_eq!(looks.bad("d"), FileError::NotAFile);
        nix::unistd::mkfifo(&looks.path("p"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(looks.bad("p"), FileError::NotAFile, "and it does not block");
        fs::write(looks.path("l"), [b'.'; 65]).unwrap();
        assert_eq!(looks.bad("l"), FileError::TooLarge { size: 65, limit: 64 });
        fs::write(looks.path("w"), ".").unwrap();
        fs::set_permissions(looks.path("w"), fs::Permissions::from_mode(0o646)).unwrap();
        assert_eq!(looks.bad("w"), FileError::Writable { mode: 0o646 });
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut looks = Looks::new();
        fs::write(looks.path("a"), "hal").unwrap();
        assert_eq!(looks.settled("a"), None);
        looks.settling.retain(|_| false);
        looks.now += PAUSE;
        assert_eq!(looks.settled("a"), None, "seen as for the first time");
    }
}
