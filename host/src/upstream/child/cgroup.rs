//! A cgroup for each child, where the machine lets us: what is in one cannot leave it.
//!
//! Version 2 with `cgroup.kill` (Linux 5.14). Nothing is assumed: hierarchies are mixed with version 1,
//! read-only in most containers, and somebody else's without delegation. Then there is none, and
//! processes are found by their [mark](super::processes).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Set to `off` in Lockgate's environment, no cgroups are made.
const SWITCH: &str = "LOCKGATE_CGROUPS";
/// What the names of all of ours begin with.
const PREFIX: &str = "lockgate-";

/// Where cgroups can be made: within Lockgate's own, so that its limits hold for its children.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: PathBuf,
}

impl Place {
    /// Finds out by trying.
    pub(super) fn detect(instance: &str) -> Option<Place> {
        if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
            return None;
        }
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let place = candidates(&own, &mounts).into_iter().map(Place::at);
        place.into_iter().find(|place| place.works(instance))
    }

    /// The one at that directory, as found before.
    pub(super) fn at(dir: PathBuf) -> Place {
        Place { dir }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes one. Nobody is in it yet.
    pub(super) fn make(&self, instance: &str, number: u64) -> io::Result<Cgroup> {
        let dir = self.dir.join(format!("{PREFIX}{instance}-{number}"));
        std::fs::create_dir(&dir)?;
        Ok(Cgroup { dir })
    }

    /// All of that Lockgate's that are there.
    pub(super) fn all_of(&self, instance: &str) -> Vec<Cgroup> {
        let start = format!("{PREFIX}{instance}-");
        subdirectories(&self.dir)
            .into_iter()
            .filter(|dir| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)))
            .map(|dir| Cgroup { dir })
            .collect()
    }

    fn works(&self, instance: &str) -> bool {
        let Ok(probe) = self.make(instance, 0) else { return false };
        let works = probe.dir.join("cgroup.kill").exists() && probe.entrance().is_ok();
        probe.remove();
        works
    }
}

/// Where this process's own cgroup is mounted.
fn candidates(own: &str, mounts: &str) -> Vec<PathBuf> {
    let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::")) else { return Vec::new() };
    let of_mount = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        if !kind.starts_with("cgroup2 ") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // A container may see but a part of the hierarchy, and be outside of it.
        let within = Path::new(own).strip_prefix(root).ok()?;
        // The empty path would add a slash.
        Some(if within.as_os_str().is_empty() { point.into() } else { Path::new(point).join(within) })
    };
    mounts.lines().filter_map(of_mount).collect()
}

/// One cgroup. Its directory stays until it is removed.
#[derive(Debug)]
pub(super) struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// What a new process writes `0` to, to be in it.
    pub(super) fn entrance(&self) -> io::Result<File> {
        File::options().write(true).open(self.dir.join("cgroup.procs"))
    }

    /// Whether that process, not waited for yet, is in it.
    pub(super) fn holds(&self, pid: u32) -> bool {
        let Some(name) = self.dir.file_name().and_then(|name| name.to_str()) else { return false };
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroups| {
            cgroups.lines().any(|line| line.starts_with("0::") && line.ends_with(&format!("/{name}")))
        })
    }

    /// Whether anybody runs in it, or in one below it.
    pub(super) fn is_populated(&self) -> bool {
        std::fs::read_to_string(self.dir.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// The numbers of all in it and below it.
    pub(super) fn members(&self) -> Vec<i32> {
        fn gather(dir: &Path, members: &mut Vec<i32>) {
            let list = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            members.extend(list.lines().filter_map(|pid| pid.parse::<i32>().ok()));
            for below in subdirectories(dir) {
                gather(&below, members);
            }
        }
        let mut members = Vec::new();
        gather(&self.dir, &mut members);
        members
    }

    /// Kills all at once, those being forked included.
    pub(super) fn kill(&self) -> io::Result<()> {
        File::options().write(true).open(self.dir.join("cgroup.kill"))?.write_all(b"1")
    }

    /// Removes it if nobody is in it any more; whether it is gone.
    pub(super) fn remove(&self) -> bool {
        fn remove(dir: &Path) -> bool {
            // A server that runs as root may have made some of its own.
            for below in subdirectories(dir) {
                remove(&below);
            }
            match std::fs::remove_dir(dir) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
        }
        remove(&self.dir)
    }
}

/// Enters the cgroup behind that descriptor: between fork and exec, so nothing but a system call.
/// Whether it worked is looked up from outside: a child must not fail for it.
pub(super) fn enter(entrance: &File) {
    // SAFETY: the descriptor is open and the buffer one byte long.
    unsafe { libc::write(entrance.as_raw_fd(), c"0".as_ptr().cast(), 1) };
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let dirs =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(own: &str, mounts: &str) -> Vec<String> {
        candidates(own, mounts).iter().map(|dir| dir.display().to_string()).collect()
    }

    #[test]
    fn the_place_is_found_in_mixed_pure_and_partial_hierarchies() {
        let mixed = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:7 - cgroup2 cgroup2 rw\n";
        assert_eq!(found("9:name=systemd:/a\n0::/\n", mixed), ["/sys/fs/cgroup/unified"]);
        let pure = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "0::/system.slice/lockgate.service\n";
        assert_eq!(found(own, pure), ["/sys/fs/cgroup/system.slice/lockgate.service"]);
        let partial = "30 23 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(found("0::/docker/ab\n", partial), ["/sys/fs/cgroup"]);
        assert_eq!(found("0::/docker/ab/c\n", partial), ["/sys/fs/cgroup/c"]);
        assert_eq!(found("0::/elsewhere\n", partial), [""; 0]);
        assert_eq!(found("4:memory:/a\n", pure), [""; 0]);
    }
}
