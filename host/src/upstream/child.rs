//! Child processes: started without a shell in a group of their own, and ended with all they started.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::command::Command;

/// How long a child gets at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grace {
    /// After the end of its stdin.
    pub(super) stdin: Duration,
    /// After SIGTERM.
    pub(super) term: Duration,
}

impl Grace {
    /// As the protocol wants it: first the end of input, then SIGTERM, then SIGKILL.
    pub(super) const DEFAULT: Grace = Grace { stdin: Duration::from_secs(2), term: Duration::from_secs(3) };
}

/// How often a group is looked at for members that have not ended yet.
const LOOK: Duration = Duration::from_millis(20);
/// How long killed processes may take to be gone.
const KILLED: Duration = Duration::from_millis(500);

/// The pipes of a running child, and its end.
pub(super) struct Running {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    /// How it ended, once it has.
    pub(super) exit: watch::Receiver<Option<ExitStatus>>,
}

/// Starts a child. From here on it ends when it wants to, or when `stop` is cancelled; in any case
/// it is waited for, its whole group is ended with it, and then `kept` is dropped. Only its stdin is
/// the caller's to close.
pub(super) async fn start(
    command: Command,
    grace: Grace,
    stop: CancellationToken,
    tracker: &TaskTracker,
    kept: impl Send + 'static,
) -> Result<Running, String> {
    let program = command.program.display().to_string();
    let spawned = spawn(command).await.map_err(|error| format!("{program}: {error}"))?;
    let Spawned { mut child, group } = spawned;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(format!("{program}: it has no pipes"));
    };
    let (exited, exit) = watch::channel(None);
    tracker.spawn(async move {
        let status = tokio::select! {
            status = child.wait() => status,
            () = stop.cancelled() => wind_down(&mut child, &group, grace).await,
        };
        // Whatever else of the group is still there has lost its purpose.
        exited.send_replace(status.ok());
        stop.cancel();
        group.sweep(grace.term).await;
        drop(kept);
    });
    Ok(Running { stdin, stdout, stderr, exit })
}

async fn wind_down(child: &mut Child, group: &Group, grace: Grace) -> io::Result<ExitStatus> {
    if let Ok(status) = tokio::time::timeout(grace.stdin, child.wait()).await {
        return status;
    }
    group.signal(Signal::SIGTERM);
    if let Ok(status) = tokio::time::timeout(grace.term, child.wait()).await {
        return status;
    }
    group.signal(Signal::SIGKILL);
    child.wait().await
}

/// A process group. Dropping it kills what is left of it.
struct Group {
    /// None once nobody is left: the number may then become somebody else's.
    leader: Option<Pid>,
}

impl Group {
    /// False if nobody is left to be signalled.
    fn signal(&self, signal: impl Into<Option<Signal>>) -> bool {
        let Some(leader) = self.leader else { return false };
        match killpg(leader, signal) {
            Ok(()) => true,
            Err(Errno::ESRCH) => false,
            Err(error) => {
                let group = leader.as_raw();
                tracing::error!(target: "server", group, %error, "processes of a server could not be signalled");
                false
            }
        }
    }

    /// Ends the members that outlived the leader.
    async fn sweep(mut self, grace: Duration) {
        if self.signal(Signal::SIGTERM) && !self.empties(grace).await {
            self.signal(Signal::SIGKILL);
            // That takes a moment. Zombies whose new parent does not care stay, but do nothing more.
            self.empties(KILLED).await;
        }
        self.leader = None;
    }

    /// Whether the group has no members any more within `time`.
    async fn empties(&self, time: Duration) -> bool {
        let end = tokio::time::Instant::now() + time;
        while self.signal(None) {
            if tokio::time::Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

struct Spawned {
    child: Child,
    group: Group,
}

struct Job {
    command: tokio::process::Command,
    runtime: Handle,
    done: oneshot::Sender<io::Result<Spawned>>,
}

async fn spawn(command: Command) -> io::Result<Spawned> {
    static SPAWNER: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let Some(spawner) = SPAWNER.get_or_init(spawner) else {
        return Err(io::Error::other("the thread that starts processes could not be started"));
    };
    let (done, result) = oneshot::channel();
    let mut job = Job { command: prepare(command), runtime: Handle::current(), done };
    while let Err(error) = spawner.try_send(job) {
        let TrySendError::Full(back) = error else {
            return Err(io::Error::other("the thread that starts processes has ended"));
        };
        job = back;
        tokio::time::sleep(LOOK).await;
    }
    result.await.unwrap_or_else(|_| Err(io::Error::other("the thread that starts processes has ended")))
}

/// One thread starts all children and lives as long as the process: PR_SET_PDEATHSIG fires when the
/// *thread* that started a child ends, and the runtime ends its own threads whenever it likes.
fn spawner() -> Option<SyncSender<Job>> {
    let (jobs, queue) = sync_channel::<Job>(64);
    let thread = std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        for Job { mut command, runtime, done } in queue {
            let _inside = runtime.enter();
            let spawned = command.spawn().map(|child| {
                let leader = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
                Spawned { child, group: Group { leader } }
            });
            // Nobody waits any more: dropping it kills it.
            let _ = done.send(spawned);
        }
    });
    thread.ok().map(|_| jobs)
}

fn prepare(command: Command) -> tokio::process::Command {
    let mut prepared = std::process::Command::new(&command.program);
    prepared.arg0(&command.name).args(&command.args).env_clear().envs(&command.env);
    prepared.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(cwd) = &command.cwd {
        prepared.current_dir(cwd);
    }
    let parent = std::process::id();
    // SAFETY: between fork and exec only system calls are made; nothing allocates or locks.
    unsafe {
        prepared.pre_exec(move || in_child(parent));
    }
    let mut prepared = tokio::process::Command::from(prepared);
    prepared.kill_on_drop(true);
    prepared
}

#[cfg(target_os = "linux")]
fn in_child(parent: u32) -> io::Result<()> {
    // SAFETY: plain system calls on numbers.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        // It may have died in between, and then the signal never comes.
        if libc::getppid().cast_unsigned() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // What Lockgate itself inherited without close-on-exec. Kernels before 5.11 lack it; all of
        // Lockgate's own descriptors are close-on-exec anyway.
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn in_child(_parent: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
