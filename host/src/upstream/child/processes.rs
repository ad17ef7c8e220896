//! Processes found by what they carry, and signalled so that a number given away anew is never hit.
//!
//! Everything that a child starts inherits its environment, whatever group or session it moves to and
//! whoever becomes its parent. So a variable that nobody can guess marks the whole family.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::sys::signal::Signal;

/// The variable that every child has in its environment.
pub(super) const VARIABLE: &str = "LOCKGATE_CHILD";

/// Who is looked for.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// Everything that one child started, itself included: `instance.number`.
    Child(String),
    /// Everything of one Lockgate: its `instance`, of all children.
    Instance(String),
}

impl Mark {
    fn is_on(&self, environment: &[u8]) -> bool {
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|variable| {
            let value = variable.strip_prefix(VARIABLE.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            let Some(value) = value else { return false };
            match self {
                Mark::Child(mark) => value == mark.as_bytes(),
                Mark::Instance(instance) => {
                    value.strip_prefix(instance.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'.'))
                }
            }
        })
    }
}

/// One process for ever: its number may be given away anew, its descriptor stays with it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    descriptor: OwnedFd,
}

impl Process {
    /// None if there is no such process, or the system has no such descriptors (Linux before 5.3).
    pub(super) fn open(pid: i32) -> Option<Process> {
        let descriptor = i32::try_from(sys::open(pid)).ok().filter(|descriptor| *descriptor >= 0)?;
        // SAFETY: the call just returned it, and nobody else has it.
        Some(Process { pid, descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Whether it could be signalled.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        sys::signal(self.descriptor.as_raw_fd(), signal as i32, 0) == 0
    }

    /// Signals the group that it leads or once led; `None` only asks whether that has members. The
    /// error is the system's: ESRCH where nobody is left, EINVAL before Linux 6.9.
    pub(super) fn signal_group(&self, signal: Option<Signal>) -> std::io::Result<()> {
        const GROUP: u32 = 4;
        match sys::signal(self.descriptor.as_raw_fd(), signal.map_or(0, |signal| signal as i32), GROUP) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    /// The number of its process group; none once nobody can tell any more.
    pub(super) fn group(&self) -> Option<i32> {
        let group = stat(self.pid).map(|stat| stat.group);
        group.filter(|_| self.has_its_number())
    }

    /// Whether its number is still its own: until somebody has waited for it.
    fn has_its_number(&self) -> bool {
        sys::signal(self.descriptor.as_raw_fd(), 0, 0) == 0
    }

    /// Whether it runs; a zombie does not.
    pub(super) fn runs(&self) -> bool {
        let mut ended = libc::pollfd { fd: self.descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, as said, which outlives the call.
        unsafe { libc::poll(&raw mut ended, 1, 0) == 0 }
    }
}

/// All running processes with the mark, and those that descend from one of them or from `root`, which
/// the caller must not have waited for yet. Reads all of /proc, so it belongs on a thread that may block.
pub(super) fn find(mark: &Mark, root: Option<i32>) -> Vec<Process> {
    let everybody = list();
    let mut found: Vec<Process> = root.and_then(Process::open).into_iter().collect();
    let mut numbers: HashSet<i32> = root.into_iter().collect();
    for (pid, _) in &everybody {
        // Looked at again once it is held fast: in between the number may have got another owner.
        if !numbers.contains(pid)
            && carries(*pid, mark)
            && let Some(process) = Process::open(*pid)
            && carries(*pid, mark)
        {
            numbers.insert(*pid);
            found.push(process);
        }
    }
    // Some overwrite their environment (to change their title), so the children of all these count too.
    loop {
        let before = found.len();
        for (pid, parent) in &everybody {
            if !numbers.contains(parent) || numbers.contains(pid) {
                continue;
            }
            let Some(process) = Process::open(*pid) else { continue };
            let is_child = stat(*pid).is_some_and(|now| now.parent == *parent);
            if is_child && found.iter().any(|it| it.pid == *parent && it.has_its_number()) {
                numbers.insert(*pid);
                found.push(process);
            }
        }
        if found.len() == before {
            break;
        }
    }
    found.retain(Process::runs);
    found
}

/// Numbers and parents of all that run, without this process.
fn list() -> Vec<(i32, i32)> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let others = numbers.filter(|pid| u32::try_from(*pid) != Ok(own));
    let running = others.filter_map(|pid| Some((pid, stat(pid).filter(|stat| stat.state != 'Z')?.parent)));
    running.collect()
}

fn carries(pid: i32, mark: &Mark) -> bool {
    // Unreadable where it is another user's: then it could not be signalled either.
    std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| mark.is_on(&environment))
}

struct Stat {
    state: char,
    parent: i32,
    group: i32,
}

fn stat(pid: i32) -> Option<Stat> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let after = memchr::memrchr(b')', &stat)?;
    let mut fields = std::str::from_utf8(stat.get(after + 1..)?).ok()?.split_ascii_whitespace();
    let mut field = || fields.next();
    Some(Stat {
        state: field()?.chars().next()?,
        parent: field()?.parse().ok()?,
        group: field()?.parse().ok()?,
    })
}

#[cfg(target_os = "linux")]
mod sys {
    pub(super) fn open(pid: i32) -> i64 {
        // SAFETY: a system call on numbers. The descriptor is close-on-exec.
        unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }
    }

    pub(super) fn signal(descriptor: i32, signal: i32, flags: u32) -> i64 {
        let info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: a system call on numbers; without `info` the kernel fills it in.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal, info, flags) }
    }
}

#[cfg(not(target_os = "linux"))]
mod sys {
    pub(super) fn open(_pid: i32) -> i64 {
        -1
    }

    pub(super) fn signal(_descriptor: i32, _signal: i32, _flags: u32) -> i64 {
        -1
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_whole_value_and_an_instance_its_first_part() {
        let environment = b"A=1\0LOCKGATE_CHILD=ab12.3\0B=LOCKGATE_CHILD=ff.1\0";
        let on = |mark: Mark| mark.is_on(environment);
        assert!(on(Mark::Child("ab12.3".to_owned())) && on(Mark::Instance("ab12".to_owned())));
        for other in ["ab12.", "ab12.33", "ab12", "", "ff.1"] {
            assert!(!on(Mark::Child(other.to_owned())), "{other}");
        }
        for other in ["ab1", "ab12.3", "", "ff"] {
            assert!(!on(Mark::Instance(other.to_owned())), "{other}");
        }
    }

    #[test]
    fn a_process_is_known_beyond_its_end() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::open(child.id().cast_signed()).unwrap();
        assert!(process.runs() && process.has_its_number());
        assert!(process.signal(Signal::SIGKILL));
        child.wait().unwrap();
        assert!(!process.runs() && !process.has_its_number() && !process.signal(Signal::SIGKILL));
    }
}
