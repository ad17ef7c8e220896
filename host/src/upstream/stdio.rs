//! A server as a child process: one JSON-RPC message per line on its stdin and stdout.

mod words;

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::child::{self, Farewell, Running};
use super::command::Command;
use super::framing::{Line, Lines, owner_of};
use super::inbox::Inbox;
use super::wire::{Departure, Origin, Parcel, Wire};
use super::{Outgoing, UpstreamError};
use crate::jsonrpc::{Limits, Message, Source, Violation};
use words::{LastWords, Sample, shown};

/// Messages that wait for a child to read its stdin; the rest waits in its calls, which have deadlines.
const QUEUE: usize = 64;
/// Longest wait for a child to take a notification or an answer.
const QUEUE_TIME: Duration = Duration::from_secs(10);
/// Longest line of stderr that is read as one.
const STDERR_LINE: usize = 64 << 10;
/// How long the one end of a child (its exit, or the end of its output) waits for the other.
const SETTLE: Duration = Duration::from_millis(300);

/// The way to a child's stdin.
pub(super) struct Stdio {
    server: Arc<str>,
    queue: mpsc::Sender<Outbound>,
    stop: CancellationToken,
}

struct Outbound {
    message: Message,
    departure: Option<Arc<Departure>>,
}

/// A child that runs, before anybody reads what it says.
pub(super) struct Started {
    pub(super) wire: Arc<Stdio>,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
    exit: watch::Receiver<Option<ExitStatus>>,
    outbound: mpsc::Receiver<Outbound>,
    limits: Limits,
}

/// Starts the child. It ends with `stop`, which [`Wire::close`] cancels, too; sooner with `hurry`.
pub(super) async fn start(
    server: &Arc<str>,
    command: Command,
    limits: Limits,
    (stop, hurry): (CancellationToken, CancellationToken),
    tracker: &TaskTracker,
    kept: impl Send + 'static,
) -> Result<Started, UpstreamError> {
    let running = child::start(command, Farewell::new(hurry), stop.clone(), tracker, kept).await;
    let Running { stdin, stdout, stderr, exit } =
        running.map_err(|reason| UpstreamError::NotStarted { server: Arc::clone(server), reason })?;
    let (queue, outbound) = mpsc::channel(QUEUE);
    let wire = Arc::new(Stdio { server: Arc::clone(server), queue, stop });
    Ok(Started { wire, stdin, stdout, stderr, exit, outbound, limits })
}

impl Started {
    /// From now on what the child says goes to `inbox`, which fails when the child ends.
    pub(super) fn attach(self, inbox: &Arc<Inbox>, tracker: &TaskTracker) {
        let stop = self.wire.stop.clone();
        let words = Arc::new(LastWords::default());
        let (all_said, stderr_end) = oneshot::channel::<()>();
        tracker.spawn({
            let (inbox, stop) = (Arc::clone(inbox), stop.clone());
            async move {
                let writing = write(self.stdin, self.outbound);
                let closed = tokio::select! {
                    () = stop.cancelled() => return,
                    closed = writing => closed,
                };
                if let Err(error) = closed {
                    tracing::debug!(target: "server", server = &*inbox.server, %error, "stdin is closed");
                    // Most often it has ended, and how is the better reason.
                    tokio::time::sleep(3 * SETTLE).await;
                    inbox.fail("closed its input");
                }
            }
        });
        tracker.spawn({
            let (server, words, mut exit) =
                (Arc::clone(&inbox.server), Arc::clone(&words), self.exit.clone());
            async move {
                let long_ended = async {
                    ended(&mut exit).await;
                    tokio::time::sleep(2 * SETTLE).await;
                };
                tokio::select! {
                    () = listen_to_stderr(&server, self.stderr, &words) => {}
                    // Something that escaped its group may hold the pipe for ever.
                    () = long_ended => {}
                }
                drop(all_said);
            }
        });
        let inbox = Arc::clone(inbox);
        tracker.spawn(async move {
            let mut exit = self.exit;
            let mut reading = std::pin::pin!(read(&inbox, self.stdout, self.limits));
            let read_to_end = tokio::select! {
                () = &mut reading => true,
                // What it wrote before it ended still counts.
                _ = ended(&mut exit) => tokio::time::timeout(SETTLE, &mut reading).await.is_ok(),
                () = inbox.ended.cancelled() => false,
            };
            let how = match tokio::time::timeout(SETTLE, ended(&mut exit)).await {
                Ok(status) => status.map_or_else(|| "ended".to_owned(), how_it_ended),
                Err(_) => "closed its output".to_owned(),
            };
            if !inbox.ended.is_cancelled() {
                let _ = tokio::time::timeout(SETTLE, stderr_end).await;
                inbox.fail(&format!("{how}{}", words.said()));
            }
            stop.cancel();
            if !read_to_end {
                // A child that is told to end must not be stopped by a full pipe.
                tokio::select! {
                    () = reading => {}
                    _ = ended(&mut exit) => {}
                }
            }
        });
    }
}

impl Wire for Stdio {
    fn request<'a>(
        &'a self,
        parcel: Parcel,
        _inbox: &'a Arc<Inbox>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>> {
        let outbound = Outbound { message: parcel.message, departure: Some(parcel.departure) };
        Box::pin(async move {
            if self.queue.send(outbound).await.is_err() {
                // The inbox is about to say how it ended, to everybody under way.
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn send<'a>(
        &'a self,
        message: Message,
        _purpose: &'static str,
        _outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>> {
        let outbound = Outbound { message, departure: None };
        Box::pin(async move {
            match self.queue.send_timeout(outbound, QUEUE_TIME).await {
                Ok(()) => Ok(()),
                Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(UpstreamError::Busy {
                    server: Arc::clone(&self.server),
                    limit: "limits.queue_per_server",
                }),
                Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(UpstreamError::Gone {
                    server: Arc::clone(&self.server),
                    reason: "closed its input".to_owned(),
                    may_have_run: false,
                }),
            }
        })
    }

    fn established(&self, _head: Option<&http::HeaderMap>, _protocol_version: &str) {}

    fn listen(&self, _inbox: &Arc<Inbox>) {}

    fn close(&self) {
        self.stop.cancel();
    }
}

/// Writes one message per line. Its end closes the child's stdin.
async fn write(stdin: ChildStdin, mut outbound: mpsc::Receiver<Outbound>) -> std::io::Result<()> {
    let mut stdin = BufWriter::with_capacity(32 << 10, stdin);
    while let Some(Outbound { message, departure }) = outbound.recv().await {
        if departure.is_some_and(|departure| !departure.leave()) {
            continue;
        }
        stdin.write_all(&message.frame()).await?;
        stdin.write_all(b"\n").await?;
        if outbound.is_empty() {
            stdin.flush().await?;
        }
    }
    stdin.flush().await
}

/// Reads stdout to its end.
async fn read(inbox: &Arc<Inbox>, stdout: ChildStdout, limits: Limits) {
    let server = &*inbox.server;
    let mut lines = Lines::new(stdout, limits.bytes);
    let noise = Sample::default();
    loop {
        match lines.next().await {
            Ok(Some(Line::Whole(line))) => {
                let start = line.trim_ascii_start();
                if start.is_empty() {
                    continue;
                }
                if inbox.takes(start) {
                    // An array that holds no message at all is none of our business either.
                    inbox.text(Origin::Pipe, line, &limits, None);
                    continue;
                }
                if start.first() == Some(&b'{') {
                    match Message::parse(line.clone(), &limits, Source::Server) {
                        Ok(message) => {
                            inbox.incoming(Origin::Pipe, message, None);
                            continue;
                        }
                        Err(violation) => {
                            if inbox.unacceptable(Origin::Pipe, violation) {
                                continue;
                            }
                        }
                    }
                }
                if let Some(held_back) = noise.admit(Instant::now()) {
                    let line = shown(&line);
                    tracing::warn!(target: "server", server, held_back, line, "skipped a line on stdout that is no message");
                }
            }
            Ok(Some(Line::TooLong { head, tail, bytes })) => {
                tracing::warn!(target: "server", server, bytes, cap = limits.bytes, "skipped a line on stdout that is too long");
                if let Some(id) = owner_of(&head, &tail) {
                    let what = format!(
                        "a message of {bytes} bytes, more than limits.server_message_bytes ({})",
                        limits.bytes
                    );
                    let violation = Violation {
                        code: -32600,
                        what: what.into(),
                        at: limits.bytes,
                        id: None,
                        has_method: false,
                    };
                    let server = Arc::clone(&inbox.server);
                    inbox.fail_call(id, UpstreamError::Malformed { server, violation });
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(target: "server", server, %error, "stdout cannot be read any more");
                break;
            }
        }
    }
    if lines.unfinished() > 0 {
        tracing::debug!(target: "server", server, bytes = lines.unfinished(), "stdout ended within a line");
    }
    if noise.all() > 0 {
        tracing::debug!(target: "server", server, lines = noise.all(), "lines on stdout that were no messages");
    }
}

/// Reads stderr to its end, however fast it comes, so that the child never blocks on it.
async fn listen_to_stderr(server: &str, stderr: ChildStderr, words: &LastWords) {
    let mut lines = Lines::new(stderr, STDERR_LINE);
    let sample = Sample::default();
    loop {
        let line = match lines.next().await {
            Ok(Some(Line::Whole(line))) => line,
            Ok(Some(Line::TooLong { head, .. })) => head,
            Ok(None) | Err(_) => break,
        };
        let line = shown(&line);
        if line.is_empty() {
            continue;
        }
        if let Some(held_back) = sample.admit(Instant::now()) {
            tracing::debug!(target: "server", server, held_back, line, "stderr");
        }
        words.add(line);
    }
}

/// Waits for the end of a child; none if it could not be learnt how it ended.
async fn ended(exit: &mut watch::Receiver<Option<ExitStatus>>) -> Option<ExitStatus> {
    exit.wait_for(Option::is_some).await.ok().and_then(|status| *status)
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => {
            let name =
                nix::sys::signal::Signal::try_from(signal).map_or("", nix::sys::signal::Signal::as_str);
            format!("was ended by signal {signal} {name}").trim_end().to_owned()
        }
        (None, None) => "ended".to_owned(),
    }
}
