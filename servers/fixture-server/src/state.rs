//! What the threads of the server share: the way out, the log, what is waited for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::flags::Flags;
use crate::modern;
use crate::tasks::Task;

/// Shared by all threads.
pub struct State {
    /// How to behave.
    pub flags: Flags,
    log: Option<Mutex<File>>,
    board: Mutex<Board>,
    changed: Condvar,
}

/// What can change while the server runs.
#[derive(Default)]
struct Board {
    cancelled: BTreeSet<String>,
    released: BTreeSet<String>,
    subscribed: BTreeSet<String>,
    /// Of revision 2026-07-28: the id of each subscription, and what it wants.
    listening: Vec<(Value, Value)>,
    asked: HashMap<u64, Sender<Value>>,
    questions: u64,
    added: Vec<String>,
    counted: u64,
    log_level: Option<String>,
    tasks: BTreeMap<String, Task>,
}

/// How a wait ended.
#[derive(PartialEq, Eq)]
pub enum Ended {
    /// What was waited for came.
    Released,
    /// The time was over.
    Elapsed,
    /// The client cancelled.
    Cancelled,
}

impl State {
    /// Opens the log.
    pub fn new(flags: Flags) -> io::Result<State> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path).map(Mutex::new);
        let log = flags.log.as_ref().map(open).transpose()?;
        Ok(State { flags, log, board: Mutex::default(), changed: Condvar::new() })
    }

    /// Appends one line as it arrived.
    pub fn log(&self, line: &[u8]) -> io::Result<()> {
        match &self.log {
            Some(log) => lock(log).write_all(&[line, b"\n"].concat()),
            None => Ok(()),
        }
    }

    /// Sends one message.
    pub fn send(&self, message: &Value) -> io::Result<()> {
        self.send_raw(message.to_string().as_bytes())
    }

    /// Sends one line, whatever it is.
    pub fn send_raw(&self, line: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(&[line, b"\n"].concat())?;
        out.flush()
    }

    /// Sends a notification.
    pub fn notify(&self, method: &str, params: Value) -> io::Result<()> {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    }

    /// Asks the client and waits for its answer: the whole response. None if stdin was closed.
    pub fn ask(&self, method: &str, params: Value) -> io::Result<Option<Value>> {
        let (id, answer): (u64, Receiver<Value>) = {
            let mut board = lock(&self.board);
            board.questions += 1;
            let (sender, receiver) = channel();
            let id = board.questions;
            board.asked.insert(id, sender);
            (id, receiver)
        };
        let mut question = json!({ "jsonrpc": "2.0", "id": id, "method": method });
        if !params.is_null() {
            question["params"] = params;
        }
        self.send(&question)?;
        Ok(answer.recv().ok())
    }

    /// Hands a response of the client to the thread that asked.
    pub fn answered(&self, response: Value) {
        let asked = response["id"].as_u64().and_then(|id| lock(&self.board).asked.remove(&id));
        match asked {
            Some(asked) => drop(asked.send(response)),
            None => eprintln!("fixture-server: an answer to no question arrived: {response}"),
        }
    }

    /// Waits until the key is released, the call is cancelled or the time is over.
    pub fn wait(&self, call: &Value, key: Option<&str>, time: Duration) -> Ended {
        let end = Instant::now() + time;
        let call = call.to_string();
        let mut board = lock(&self.board);
        loop {
            if board.cancelled.contains(&call) {
                return Ended::Cancelled;
            }
            if key.is_some_and(|key| board.released.contains(key)) {
                return Ended::Released;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ended::Elapsed;
            }
            board = self.changed.wait_timeout(board, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets everything go that waits for the key, now or later.
    pub fn release(&self, key: &str) {
        lock(&self.board).released.insert(key.to_owned());
        self.changed.notify_all();
    }

    /// The client wants that call no more.
    pub fn cancel(&self, call: &Value) {
        lock(&self.board).cancelled.insert(call.to_string());
        self.changed.notify_all();
    }

    /// Remembers or forgets a subscription.
    pub fn subscribe(&self, uri: &str, on: bool) {
        let mut board = lock(&self.board);
        if on {
            board.subscribed.insert(uri.to_owned());
        } else {
            board.subscribed.remove(uri);
        }
    }

    /// Remembers who listens for what.
    pub fn listen(&self, id: Value, wanted: Value) {
        lock(&self.board).listening.push((id, wanted));
    }

    /// Forgets it.
    pub fn unlisten(&self, id: &Value) {
        lock(&self.board).listening.retain(|(listening, _)| listening != id);
    }

    /// Tells of a change whoever wants to know of it: in earlier revisions the one client there is
    /// (of a resource, if it subscribed). Returns whether anybody did.
    pub fn changed(&self, method: &str, params: Value) -> io::Result<bool> {
        if !self.flags.modern {
            let uri = params["uri"].as_str();
            let wanted = uri.is_none_or(|uri| lock(&self.board).subscribed.contains(uri));
            if wanted {
                self.notify(method, params)?;
            }
            return Ok(wanted);
        }
        let listening = lock(&self.board).listening.clone();
        let mut told = false;
        for (id, _) in listening.into_iter().filter(|(_, wanted)| modern::wants(wanted, method, &params)) {
            let mut params = params.clone();
            params["_meta"] = json!({ modern::META_SUBSCRIPTION: id });
            self.notify(method, params)?;
            told = true;
        }
        Ok(told)
    }

    /// Adds a tool to the list.
    pub fn add_tool(&self, name: &str) {
        lock(&self.board).added.push(name.to_owned());
    }

    /// Tools added so far.
    pub fn added_tools(&self) -> Vec<String> {
        lock(&self.board).added.clone()
    }

    /// Counts on, and says where it is.
    pub fn count(&self) -> u64 {
        let mut board = lock(&self.board);
        board.counted += 1;
        board.counted
    }

    /// Whether that key was released.
    pub fn is_released(&self, key: &str) -> bool {
        lock(&self.board).released.contains(key)
    }

    /// Keeps a task, and names it.
    pub fn keep_task(&self, task: Task) -> String {
        let mut board = lock(&self.board);
        let id = format!("task-{}", board.tasks.len() + 1);
        board.tasks.insert(id.clone(), task);
        id
    }

    /// Does something to a task, if there is one of that name.
    pub fn with_task<T>(&self, id: &str, what: impl FnOnce(&mut Task) -> T) -> Option<T> {
        lock(&self.board).tasks.get_mut(id).map(what)
    }

    /// Keeps what `logging/setLevel` said.
    pub fn set_log_level(&self, level: &str) {
        lock(&self.board).log_level = Some(level.to_owned());
    }

    /// What `logging/setLevel` said last.
    pub fn log_level(&self) -> Option<String> {
        lock(&self.board).log_level.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked leaves nothing half done here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
