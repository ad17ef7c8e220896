//! Compiling, configuring and snapshotting a plugin, in a child process with bounds.
//!
//! Compilers and `lifecycle.configure` run a stranger's input. What they may do to this process (panic,
//! take all memory, never end) happens to a child that is thrown away.

mod child;
mod limits;
mod protocol;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

pub use child::run_prepare;
pub use protocol::Request;
use protocol::{Answer, PREFIX, Refusal};

use crate::plugin::load::StartKind;
use crate::wasm;

/// Most that a child may print; it prints one line.
const OUTPUT_BYTES: u64 = 64 << 10;
/// How much of what a child complained about is told.
const STDERR_CHARS: usize = 600;

/// A prepared plugin.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The compiled plugin, as made by this program on this machine.
    pub artifact: Bytes,
    /// How its instances start.
    pub start: StartKind,
}

/// Why a plugin was not prepared.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PreparationError {
    /// The plugin's own doing: it refused its configuration, trapped, or cannot be compiled.
    #[error("{0}")]
    Plugin(String),
    /// It took too long.
    #[error(
        "its preparation (compile, configure, snapshot) did not end within {0} s; raise \
         `plugins.prepare_seconds` if it is right to take that long"
    )]
    TooLong(u64),
    /// The child died.
    #[error(
        "its preparation crashed ({how}){words}; the plugin may be damaged or need more memory than allowed"
    )]
    Crashed {
        /// Exit code or signal.
        how: String,
        /// Its last words, with a leading separator; empty if there were none.
        words: String,
    },
    /// No child could be started, or its files not be made.
    #[error("its preparation could not be started: {0}")]
    Machine(String),
}

impl PreparationError {
    /// Whether the same plugin may be prepared another time.
    pub fn may_pass(&self) -> bool {
        matches!(self, PreparationError::Machine(_))
    }
}

/// Prepares plugins, one at a time.
#[derive(Clone)]
pub struct Preparer {
    place: Place,
    longest: Duration,
    turn: Arc<Semaphore>,
}

#[derive(Clone)]
enum Place {
    Child { program: PathBuf, arguments: Vec<String> },
    InProcess(wasm::Engine),
}

impl Preparer {
    /// Prepares in a child process: this very program with the subcommand `plugin-prepare`, which must
    /// call [`run_prepare`].
    ///
    /// # Errors
    /// The operating system does not tell which program this is.
    pub fn child(longest: Duration) -> std::io::Result<Preparer> {
        // Linux keeps a running program reachable here even if its file was replaced by an upgrade.
        let itself = PathBuf::from("/proc/self/exe");
        let program = if itself.exists() { itself } else { std::env::current_exe()? };
        Ok(Preparer::with_program(program, vec!["plugin-prepare".to_owned()], longest))
    }

    /// Prepares with another program that speaks the same protocol.
    pub fn with_program(program: PathBuf, arguments: Vec<String>, longest: Duration) -> Preparer {
        Preparer { place: Place::Child { program, arguments }, longest, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Prepares within this process, unbounded: for benchmarks, tests, and programs that embed Lockgate
    /// and trust their plugins.
    pub fn in_process(engine: wasm::Engine, longest: Duration) -> Preparer {
        Preparer { place: Place::InProcess(engine), longest, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Prepares a plugin. Waits while another is being prepared.
    pub async fn prepare(&self, request: Request, plugin: Bytes) -> Result<Prepared, PreparationError> {
        let machine = |error: &dyn std::fmt::Display| PreparationError::Machine(error.to_string());
        let _turn = self.turn.acquire().await.map_err(|error| machine(&error))?;
        let work = async {
            match &self.place {
                Place::Child { program, arguments } => {
                    let mut command = Command::new(program);
                    command.args(arguments);
                    in_child(command, request, plugin, self.longest).await
                }
                Place::InProcess(engine) => {
                    let engine = engine.clone();
                    let work =
                        tokio::task::spawn_blocking(move || child::prepare(&engine, &request, &plugin));
                    let answer = work.await.map_err(|error| PreparationError::Crashed {
                        how: "panic".to_owned(),
                        words: format!(": {error}"),
                    })?;
                    answer.map_err(PreparationError::from)
                }
            }
        };
        tokio::time::timeout(self.longest, work)
            .await
            .unwrap_or(Err(PreparationError::TooLong(self.longest.as_secs())))
    }
}

impl From<Refusal> for PreparationError {
    fn from(refusal: Refusal) -> PreparationError {
        match refusal {
            Refusal::Plugin(reason) => PreparationError::Plugin(reason),
            Refusal::Machine(reason) => PreparationError::Machine(reason),
        }
    }
}

async fn in_child(
    mut command: Command,
    mut request: Request,
    plugin: Bytes,
    longest: Duration,
) -> Result<Prepared, PreparationError> {
    let machine = |error: std::io::Error| PreparationError::Machine(error.to_string());
    let artifact = tempfile::NamedTempFile::new().map_err(machine)?;
    request.artifact = artifact.path().to_owned();
    request.seconds = longest.as_secs().max(1);
    request.plugin_bytes = plugin.len() as u64;
    let mut child = command
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Whoever stops waiting (a timeout, a shutdown) ends the child.
        .kill_on_drop(true)
        .spawn()
        .map_err(machine)?;
    let (answer, words) = converse(&mut child, &request, &plugin).await;
    // Its work is done or void. Closing stdin ends it; it is not asked for its opinion.
    let status = match answer {
        Some(_) => None,
        None => Some(child.wait().await.map_err(machine)?),
    };
    drop(child);
    match answer {
        Some(Answer::Prepared { start }) => {
            let artifact = tokio::fs::read(artifact.path()).await.map_err(machine)?;
            Ok(Prepared { artifact: artifact.into(), start })
        }
        Some(Answer::Refused(refusal)) => Err(refusal.into()),
        None => {
            let how = status.map(|status| status.to_string()).unwrap_or_default();
            Err(PreparationError::Crashed { how, words: last_words(&words) })
        }
    }
}

/// Sends the request and reads the answer, which is a line of its own: libraries print as well.
async fn converse(child: &mut Child, request: &Request, plugin: &[u8]) -> (Option<Answer>, Vec<u8>) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let send = async move {
        let mut stdin = stdin?;
        // A child that dies while it is written to tells on the other pipes.
        stdin.write_all(&protocol::encode(request)?).await.ok()?;
        stdin.write_all(plugin).await.ok()?;
        stdin.flush().await.ok()?;
        // Open until the answer is here: the child ends when it closes, so it cannot outlive us.
        Some(stdin)
    };
    let receive = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            let mut stdout = stdout.take(OUTPUT_BYTES);
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut piece).await {
                output.extend_from_slice(piece.get(..length).unwrap_or_default());
                if let Some(answer) = find_answer(&output) {
                    return Some(answer);
                }
            }
        }
        None
    };
    let mut listen = Box::pin(async move {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(OUTPUT_BYTES).read_to_end(&mut words).await;
        }
        words
    });
    let mut talk = Box::pin(async {
        let (_stdin, answer) = tokio::join!(send, receive);
        answer
    });
    tokio::select! {
        answer = &mut talk => {
            let mut words = Vec::new();
            if answer.is_none() {
                // What it complained about may still be in the pipe.
                let _ = child.start_kill();
                words = listen.await;
            }
            (answer, words)
        }
        words = &mut listen => (talk.await, words),
    }
}

fn find_answer(output: &[u8]) -> Option<Answer> {
    let mut lines: Vec<&[u8]> = output.split(|byte| *byte == b'\n').collect();
    lines.pop(); // not ended yet
    lines.into_iter().find_map(|line| {
        let place = memchr::memmem::find(line, PREFIX.as_bytes())?;
        serde_json::from_slice(line.get(place + PREFIX.len()..)?).ok()
    })
}

fn last_words(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line: Vec<&str> = text.split_whitespace().collect();
    let line: String = line.join(" ").chars().filter(|c| !c.is_control()).take(STDERR_CHARS).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests;
