//! A child and everything it started, as one: asked to end, killed, and looked after until gone.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::cgroup::Cgroup;
use super::processes::{self, Mark, Process};
use super::{Farewell, Grace};

/// How often a family is looked at for members that have not ended yet.
const LOOK: Duration = Duration::from_millis(20);
/// The same where a look reads all of /proc.
const SCAN: Duration = Duration::from_millis(100);
/// How long killed processes may take to be gone.
const KILLED: Duration = Duration::from_secs(1);

/// The family. Dropping it kills what can be found of it without waiting.
///
/// Its members are those in its cgroup. Without one they are its process group (a system call, and
/// always complete for those that did not leave it) and those that carry its mark (a search of /proc,
/// which also finds those that left).
pub(super) struct Family {
    pid: i32,
    /// None where the system has no process descriptors; then the number has to do.
    leader: Option<Process>,
    cgroup: Option<Cgroup>,
    mark: String,
    /// When all were asked to end.
    asked: Option<Instant>,
    over: bool,
}

impl Family {
    /// Of a child that nobody has waited for yet.
    pub(super) fn of(pid: i32, cgroup: Option<Cgroup>, mark: String) -> Family {
        Family { pid, leader: Process::open(pid), cgroup, mark, asked: None, over: false }
    }

    /// Asks all with SIGTERM, once. `root` is the leader where nobody has waited for it yet.
    pub(super) async fn ask(&mut self, root: Option<i32>) {
        self.asked = Some(Instant::now());
        if let Some(cgroup) = &self.cgroup {
            for pid in cgroup.members() {
                let Some(process) = Process::open(pid) else { continue };
                if cgroup.holds(pid.cast_unsigned()) {
                    process.signal(Signal::SIGTERM);
                }
            }
            return;
        }
        // Before the group: the end of a parent hides whose child a process was.
        let others = self.elsewhere(root).await;
        self.signal_group(Some(Signal::SIGTERM));
        for process in others {
            process.signal(Signal::SIGTERM);
        }
    }

    /// Kills all there are now.
    pub(super) async fn kill(&self, root: Option<i32>) {
        if let Some(cgroup) = &self.cgroup {
            self.kill_cgroup(cgroup);
        }
        let others = if self.cgroup.is_none() { self.elsewhere(root).await } else { Vec::new() };
        self.signal_group(Some(Signal::SIGKILL));
        for process in others {
            process.signal(Signal::SIGKILL);
        }
    }

    /// Ends those who outlived the leader: they get as long as it would have, from when they were asked.
    pub(super) async fn end(mut self, farewell: &Farewell) {
        if !self.is_gone().await {
            if self.asked.is_none() {
                self.ask(None).await;
            }
            let asked = self.asked.unwrap_or_else(Instant::now);
            let until = || {
                let hurried = Grace::HURRIED.term.min(farewell.grace.term);
                asked + if farewell.hurry.is_cancelled() { hurried } else { farewell.grace.term }
            };
            if !self.goes(until).await {
                let until = Instant::now() + KILLED;
                loop {
                    self.kill(None).await;
                    // What was forked meanwhile is killed in the next round.
                    let look = until.min(Instant::now() + SCAN);
                    if self.goes(|| look).await || Instant::now() >= until {
                        break;
                    }
                }
            }
        }
        if self.signal_group(None) {
            self.reap();
        }
        self.over = true;
        if let Some(cgroup) = self.cgroup.take() {
            let until = Instant::now() + KILLED;
            while !cgroup.remove() && Instant::now() < until {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Whether nobody is left by then.
    async fn goes(&self, until: impl Fn() -> Instant) -> bool {
        let pause = if self.cgroup.is_some() { LOOK } else { SCAN };
        loop {
            if self.is_gone().await {
                return true;
            }
            let (now, until) = (Instant::now(), until());
            if now >= until {
                return false;
            }
            tokio::time::sleep_until(until.min(now + pause)).await;
        }
    }

    async fn is_gone(&self) -> bool {
        match &self.cgroup {
            Some(cgroup) => !cgroup.is_populated(),
            None => {
                let members = self.signal_group(None) && {
                    self.reap();
                    self.signal_group(None)
                };
                !members && self.elsewhere(None).await.is_empty()
            }
        }
    }

    /// As process 1 of a container Lockgate becomes the parent of whoever has lost theirs. The leader
    /// has been waited for: whatever else of the group is our child was adopted.
    fn reap(&self) {
        let group = Pid::from_raw(-self.pid);
        while waitpid(group, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive)
        {
        }
    }

    /// Those that left the group.
    async fn elsewhere(&self, root: Option<i32>) -> Vec<Process> {
        let (mark, group) = (Mark::Child(self.mark.clone()), self.pid);
        let find = move || {
            let mut found = processes::find(&mark, root);
            found.retain(|process| process.group() != Some(group));
            found
        };
        tokio::task::spawn_blocking(find).await.unwrap_or_default()
    }

    /// False if nobody in the group is left to be signalled.
    fn signal_group(&self, signal: Option<Signal>) -> bool {
        let by_descriptor = self.leader.as_ref().map(|leader| leader.signal_group(signal));
        let done = match by_descriptor {
            Some(Err(error)) if error.raw_os_error() == Some(libc::EINVAL) => self.signal_number(signal),
            Some(done) => done,
            None => self.signal_number(signal),
        };
        match done {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
            Err(error) => {
                let group = self.pid;
                tracing::error!(target: "server", group, %error, "processes of a server could not be signalled");
                false
            }
        }
    }

    /// Where the kernel offers nothing better: the number is the group's while it has members.
    fn signal_number(&self, signal: Option<Signal>) -> io::Result<()> {
        killpg(Pid::from_raw(self.pid), signal).map_err(|error: Errno| io::Error::from(error))
    }

    fn kill_cgroup(&self, cgroup: &Cgroup) {
        if let Err(error) = cgroup.kill() {
            let group = self.pid;
            tracing::error!(target: "server", group, %error, "the processes of a server could not be killed");
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if !self.over {
            if let Some(cgroup) = &self.cgroup {
                self.kill_cgroup(cgroup);
            }
            self.signal_group(Some(Signal::SIGKILL));
        }
    }
}
