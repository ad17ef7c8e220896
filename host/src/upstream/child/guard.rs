//! The guard: a small process that outlives Lockgate just long enough to end what it left behind.
//!
//! A process killed with SIGKILL cleans up nothing, and PR_SET_PDEATHSIG reaches the direct child only.
//! So another process has to do it. It holds the read end of a pipe whose write end only Lockgate has,
//! and the kernel tells it when that is gone, however Lockgate ended. Why so and not otherwise:
//! `docs/decisions/0006-a-guard-for-orphans.md`.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::cgroup::Place;
use super::processes::{self, Mark};

/// The whole clean-up. What is still there then cannot be killed: it hangs in the kernel.
const LONGEST: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

static PROGRAM: OnceLock<(PathBuf, Vec<String>)> = OnceLock::new();

/// Has all children that are started from now on guarded by a process of that program, started with the
/// first of them. With these arguments it must call [`run`] at once. Works once per process.
///
/// Without it, processes that servers start may outlive this one if it is killed with SIGKILL.
pub fn install(program: PathBuf, arguments: Vec<String>) {
    let _ = PROGRAM.set((program, arguments));
}

/// The same with this very program, which a file replaced by an upgrade does not change.
pub fn install_itself(arguments: Vec<String>) {
    let itself = PathBuf::from("/proc/self/exe");
    if itself.exists() {
        install(itself, arguments);
    }
}

/// Whether children are guarded here.
pub(super) fn is_installed() -> bool {
    PROGRAM.get().is_some()
}

/// The guard that runs, as Lockgate holds it.
#[derive(Default)]
pub(super) struct Guard {
    running: Option<(Child, ChildStdin)>,
}

impl Guard {
    /// Starts it, if one is wanted and none runs (any more).
    pub(super) fn ensure(&mut self, instance: &str, place: Option<&Place>) -> io::Result<()> {
        let Some((program, arguments)) = PROGRAM.get() else { return Ok(()) };
        if let Some((guard, _)) = &mut self.running
            && guard.try_wait()?.is_none()
        {
            return Ok(());
        }
        self.running = None;
        let mut command = Command::new(program);
        // Not the environment: it would keep secrets longer than Lockgate does, and mark the guard as a
        // child where Lockgate is a server of another Lockgate's.
        command.arg0("lockgate").args(arguments).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: between fork and exec only system calls are made; nothing allocates or locks.
        unsafe {
            command.pre_exec(detach);
        }
        let mut guard = command.spawn()?;
        let Some(mut pipe) = guard.stdin.take() else { return Err(io::Error::other("it has no pipe")) };
        let place = place.map(|place| place.dir().display().to_string()).unwrap_or_default();
        pipe.write_all(format!("{instance}\n{place}\n").as_bytes())?;
        self.running = Some((guard, pipe));
        Ok(())
    }
}

/// Out of the group that a terminal or a supervisor signals: it has to be there when the others are
/// gone, and then it ends by itself.
fn detach() -> io::Result<()> {
    // SAFETY: plain system calls on numbers.
    unsafe {
        libc::setsid();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            // Ignored signals stay ignored over exec.
            libc::signal(signal, libc::SIG_IGN);
        }
        #[cfg(target_os = "linux")]
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

/// What the guard does: waits until stdin ends, and then ends everything that this Lockgate started.
pub fn run() -> ExitCode {
    #[cfg(target_os = "linux")]
    // SAFETY: a NUL-terminated name.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"lockgate-guard".as_ptr());
    }
    let mut pipe = BufReader::new(io::stdin().lock());
    let (mut instance, mut place) = (String::new(), String::new());
    let told = pipe.read_line(&mut instance).and_then(|_| pipe.read_line(&mut place));
    // Cut short, it has been told nothing, and nothing has been started yet.
    if told.is_err() || !place.ends_with('\n') || instance.trim().is_empty() {
        return ExitCode::FAILURE;
    }
    let _ = io::copy(&mut pipe, &mut io::sink());
    let place = Some(place.trim_end_matches('\n')).filter(|dir| !dir.is_empty());
    sweep(instance.trim(), place.map(|dir| Place::at(dir.into())));
    ExitCode::SUCCESS
}

fn sweep(instance: &str, place: Option<Place>) {
    let cgroups = || place.as_ref().map(|place| place.all_of(instance)).unwrap_or_default();
    let mark = Mark::Instance(instance.to_owned());
    let end = Instant::now() + LONGEST;
    let mut quiet = 0;
    // What forks while it is looked for may be missed once, hardly twice.
    while quiet < 2 && Instant::now() < end {
        let populated: Vec<_> = cgroups().into_iter().filter(|cgroup| cgroup.is_populated()).collect();
        for cgroup in &populated {
            let _ = cgroup.kill();
        }
        // Even so: who may write to cgroups may have left its own.
        let marked = processes::find(&mark, None);
        for process in &marked {
            process.signal(Signal::SIGKILL);
        }
        quiet = if populated.is_empty() && marked.is_empty() { quiet + 1 } else { 0 };
        if quiet < 2 {
            std::thread::sleep(LOOK);
        }
    }
    for cgroup in cgroups() {
        cgroup.remove();
    }
}
