//! One file of the watched directory, read once: what is hashed is what is judged and compiled.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// What stood in a file.
#[derive(Clone, Debug)]
pub struct Content {
    /// All of it.
    pub bytes: Bytes,
    /// SHA-256 of these bytes.
    pub sha256: [u8; 32],
    /// Device and inode: a rename brings another.
    pub identity: (u64, u64),
}

/// Why a file does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is gone.
    #[error("it does not exist")]
    Missing,
    /// It leads out of the directory.
    #[error("it is a link to {}, outside of the plugin directory; copy the file in", .0.display())]
    Outside(PathBuf),
    /// A folder, pipe or device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Somebody else's.
    #[error("it belongs to user {owner}; it must belong to Lockgate's own user ({us}) or root")]
    Owner {
        /// Its owner's number.
        owner: u32,
        /// Our number.
        us: u32,
    },
    /// Its group or everybody may write to it.
    #[error(
        "others may write to it (mode {mode:03o}), who could then decide what Lockgate runs: `chmod go-w` it"
    )]
    Writable {
        /// Its permission bits.
        mode: u32,
    },
    /// Too large to be read at all.
    #[error("it has {size} bytes and {limit} are allowed; make it smaller, or raise `plugins.max_mib`")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The most allowed.
        limit: u64,
    },
    /// The operating system did not give it.
    #[error("cannot read it: {0}")]
    Io(String),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> FileError {
        match error.kind() {
            io::ErrorKind::NotFound => FileError::Missing,
            _ => FileError::Io(error.to_string()),
        }
    }
}

/// Why others could change what lies somewhere.
pub(super) enum Refusal {
    Io(io::Error),
    Owner { owner: u32, us: u32 },
    Writable { mode: u32 },
}

/// Refuses a directory that others own or may write to.
pub(super) fn check_owner(dir: &Path) -> Result<(), Refusal> {
    let found = std::fs::metadata(dir).map_err(Refusal::Io)?;
    let us = nix::unistd::geteuid().as_raw();
    if found.uid() != us && found.uid() != 0 {
        return Err(Refusal::Owner { owner: found.uid(), us });
    }
    // Kubernetes mounts ConfigMaps and Secrets with mode 777, read-only.
    if found.mode() & 0o022 != 0 && !read_only(dir) {
        return Err(Refusal::Writable { mode: found.mode() & 0o777 });
    }
    Ok(())
}

/// Reads a file of the directory, whose links must lead to regular files inside of it.
pub(super) fn read(dir: &Path, path: &Path, limit: u64) -> Result<Content, FileError> {
    let inside = dir.canonicalize()?;
    let real = path.canonicalize()?;
    if !real.starts_with(&inside) {
        return Err(FileError::Outside(real));
    }
    // `real` has no link left; one that appears in between is refused. A pipe must not block us.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(&real)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(FileError::NotAFile);
    }
    let us = nix::unistd::geteuid().as_raw();
    if found.uid() != us && found.uid() != 0 {
        return Err(FileError::Owner { owner: found.uid(), us });
    }
    // As its directory: whoever may write to one of them decides what runs.
    if found.mode() & 0o022 != 0 && !read_only(&real) {
        return Err(FileError::Writable { mode: found.mode() & 0o777 });
    }
    let bytes = read_bounded(&mut file, found.len(), limit)?;
    let sha256 = Sha256::digest(&bytes).into();
    Ok(Content { bytes, sha256, identity: (found.dev(), found.ino()) })
}

fn read_bounded(file: &mut File, size: u64, limit: u64) -> Result<Bytes, FileError> {
    if size > limit {
        return Err(FileError::TooLarge { size, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default().saturating_add(1));
    // It may grow while it is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        size if size > limit => Err(FileError::TooLarge { size, limit }),
        _ => Ok(bytes.into()),
    }
}

fn read_only(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path)
        .is_ok_and(|found| found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}
