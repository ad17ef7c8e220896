//! Child processes: started without a shell in a group of their own, and ended with all they started.

mod cgroup;
mod family;
pub mod guard;
mod processes;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::command::Command;
use cgroup::{Cgroup, Place};
use family::Family;
use guard::Guard;

/// How long a child gets at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grace {
    /// After the end of its stdin.
    pub(super) stdin: Duration,
    /// After SIGTERM.
    pub(super) term: Duration,
}

/// How long it gets, and what shortens that.
#[derive(Clone, Debug)]
pub(super) struct Farewell {
    pub(super) grace: Grace,
    /// Cancelled when this process ends and nobody waits for any answer: then it is [`Grace::HURRIED`].
    pub(super) hurry: CancellationToken,
}

impl Grace {
    /// As the protocol wants it: first the end of input, then SIGTERM, then SIGKILL.
    pub(super) const DEFAULT: Grace =
        Grace { stdin: Duration::from_secs(2), term: Duration::from_millis(2_500) };
    /// Where nothing is under way: with the end of the process itself it is less than 2 s.
    pub(super) const HURRIED: Grace =
        Grace { stdin: Duration::from_millis(500), term: Duration::from_millis(700) };
}

impl Farewell {
    /// The one that the protocol wants, until there is a reason to hurry.
    pub(super) fn new(hurry: CancellationToken) -> Farewell {
        Farewell { grace: Grace::DEFAULT, hurry }
    }

    /// Waits for as long, or for `hurried` from when there is a reason to hurry.
    async fn pass(&self, long: Duration, hurried: Duration) {
        let hurry = async {
            self.hurry.cancelled().await;
            tokio::time::sleep(hurried).await;
        };
        tokio::select! {
            () = tokio::time::sleep(long) => {}
            () = hurry => {}
        }
    }
}

/// How often a full queue of starts is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The pipes of a running child, and its end.
pub(super) struct Running {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    /// How it ended, once it has.
    pub(super) exit: watch::Receiver<Option<ExitStatus>>,
}

/// Starts a child. From here on it ends when it wants to, or when `stop` is cancelled; in any case
/// it is waited for, all it started is ended with it, and then `kept` is dropped. Only its stdin is the
/// caller's to close.
pub(super) async fn start(
    command: Command,
    farewell: Farewell,
    stop: CancellationToken,
    tracker: &TaskTracker,
    kept: impl Send + 'static,
) -> Result<Running, String> {
    let program = command.program.display().to_string();
    let spawned = spawn(command).await.map_err(|error| format!("{program}: {error}"))?;
    let Spawned { mut child, mut family } = spawned;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(format!("{program}: it has no pipes"));
    };
    let (exited, exit) = watch::channel(None);
    tracker.spawn(async move {
        let status = tokio::select! {
            status = child.wait() => status,
            () = stop.cancelled() => wind_down(&mut child, &mut family, &farewell).await,
        };
        // Whatever else of the family is still there has lost its purpose.
        exited.send_replace(status.ok());
        stop.cancel();
        family.end(&farewell).await;
        drop(kept);
    });
    Ok(Running { stdin, stdout, stderr, exit })
}

async fn wind_down(child: &mut Child, family: &mut Family, farewell: &Farewell) -> io::Result<ExitStatus> {
    let Grace { stdin, term } = farewell.grace;
    tokio::select! {
        status = child.wait() => return status,
        () = farewell.pass(stdin, Grace::HURRIED.stdin) => {}
    }
    family.ask(number(child)).await;
    tokio::select! {
        status = child.wait() => return status,
        () = farewell.pass(term, Grace::HURRIED.term) => {}
    }
    family.kill(number(child)).await;
    child.wait().await
}

/// Its number, while nobody has waited for it.
fn number(child: &Child) -> Option<i32> {
    child.id().and_then(|id| i32::try_from(id).ok())
}

struct Spawned {
    child: Child,
    family: Family,
}

struct Job {
    command: Command,
    runtime: Handle,
    done: oneshot::Sender<io::Result<Spawned>>,
}

async fn spawn(command: Command) -> io::Result<Spawned> {
    static QUEUE: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let Some(queue) = QUEUE.get_or_init(open_nursery) else {
        return Err(io::Error::other("the thread that starts processes could not be started"));
    };
    let (done, result) = oneshot::channel();
    let mut job = Job { command, runtime: Handle::current(), done };
    while let Err(error) = queue.try_send(job) {
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
fn open_nursery() -> Option<SyncSender<Job>> {
    let (jobs, queue) = sync_channel::<Job>(64);
    let thread = std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        let mut nursery = Nursery::default();
        for Job { command, runtime, done } in queue {
            let _inside = runtime.enter();
            // Nobody waits any more: dropping it kills it.
            let _ = done.send(nursery.bear(&command));
        }
    });
    thread.ok().map(|_| jobs)
}

/// What all children of this Lockgate have in common.
#[derive(Default)]
struct Nursery {
    /// Nobody can guess it, so nobody else's process carries it. Empty until the first child.
    instance: String,
    place: Option<Place>,
    guard: Guard,
    born: u64,
}

impl Nursery {
    fn bear(&mut self, command: &Command) -> io::Result<Spawned> {
        if self.instance.is_empty() {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
            self.instance = hex::encode(random);
            // Somebody has to remove them after a SIGKILL.
            self.place = if guard::is_installed() { Place::detect(&self.instance) } else { None };
        }
        if let Err(error) = self.guard.ensure(&self.instance, self.place.as_ref()) {
            tracing::warn!(target: "server", %error, "no guard could be started: if Lockgate is killed, processes may stay");
        }
        self.born += 1;
        let mark = format!("{}.{}", self.instance, self.born);
        let cgroup = self.place.as_ref().and_then(|place| match place.make(&self.instance, self.born) {
            Ok(cgroup) => Some(cgroup),
            Err(error) => {
                tracing::warn!(target: "server", %error, "no cgroup could be made for a server");
                None
            }
        });
        let spawned = prepare(command, &mark, cgroup.as_ref()).and_then(|mut prepared| prepared.spawn());
        let pid = spawned.as_ref().ok().and_then(Child::id);
        let cgroup = cgroup.filter(|cgroup| {
            let inside = pid.is_some_and(|pid| cgroup.holds(pid));
            if !inside {
                cgroup.remove();
            }
            inside
        });
        let child = spawned?;
        let Some(pid) = number(&child) else { return Err(io::Error::other("it has no process id")) };
        Ok(Spawned { child, family: Family::of(pid, cgroup, mark) })
    }
}

fn prepare(command: &Command, mark: &str, cgroup: Option<&Cgroup>) -> io::Result<tokio::process::Command> {
    let mut prepared = std::process::Command::new(&command.program);
    prepared.arg0(&command.name).args(&command.args).env_clear().envs(&command.env);
    prepared.env(processes::VARIABLE, mark);
    prepared.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(cwd) = &command.cwd {
        prepared.current_dir(cwd);
    }
    let parent = std::process::id();
    let entrance = cgroup.map(Cgroup::entrance).transpose()?;
    // SAFETY: between fork and exec only system calls are made; nothing allocates or locks.
    unsafe {
        prepared.pre_exec(move || {
            if let Some(entrance) = &entrance {
                cgroup::enter(entrance);
            }
            in_child(parent)
        });
    }
    let mut prepared = tokio::process::Command::from(prepared);
    prepared.kill_on_drop(true);
    Ok(prepared)
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
