//! A child process whose stderr is read line by line and kept for failure messages.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::PATIENCE;

/// What the child wrote to stderr so far.
#[derive(Default)]
struct Lines {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Lines {
    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// A running process; killed and waited for when dropped.
pub struct Watched {
    child: Child,
    lines: Arc<Lines>,
    reader: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts it, with stderr piped. stdin and stdout are as the command says.
    pub fn start(command: &mut Command) -> Watched {
        let mut child =
            command.stderr(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = Arc::new(Lines::default());
        let (stderr, kept) = (child.stderr.take().unwrap(), Arc::clone(&lines));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(line) = line else { break };
                kept.lines.lock().unwrap().0.push(String::from_utf8_lossy(&line).into_owned());
                kept.changed.notify_all();
            }
            kept.lines.lock().unwrap().1 = true;
            kept.changed.notify_all();
        });
        Watched { child, lines, reader: Some(reader) }
    }

    /// The process itself.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Everything on stderr so far.
    pub fn stderr(&self) -> String {
        self.lines.all().join("\n")
    }

    /// How many lines there are on stderr so far: a mark for [`Watched::line_after`].
    pub fn mark(&self) -> usize {
        self.lines.all().len()
    }

    /// Waits for the first line that the test accepts.
    pub fn line(&self, what: &str, accept: impl Fn(&str) -> bool) -> String {
        self.line_after(0, what, accept)
    }

    /// Waits for the first such line after the first `mark` lines.
    pub fn line_after(&self, mark: usize, what: &str, accept: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut seen = mark;
        let mut guard = self.lines.lines.lock().unwrap();
        loop {
            if let Some(line) = guard.0.iter().skip(seen).find(|line| accept(line)) {
                return line.clone();
            }
            seen = guard.0.len().max(mark);
            let left = end.saturating_duration_since(Instant::now());
            if guard.1 || left.is_zero() {
                let (over, said) = (if guard.1 { "it ended" } else { "time was up" }, guard.0.join("\n"));
                drop(guard); // the reader goes on, so the lock must not be poisoned
                panic!("no {what} before {over}; stderr:\n{said}");
            }
            guard = self.lines.changed.wait_timeout(guard, left).unwrap().0;
        }
    }

    /// Waits for the end of the process and of its stderr.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        status
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), nix::sys::signal::SIGTERM).unwrap();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stderr of process {} ---\n{}\n---", self.child.id(), self.stderr());
        }
    }
}
