//! Ways back to a client: where a message for it can be put without waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::jsonrpc::Message;

/// One way back to a client: an event stream, or standard output.
pub trait Outlet: Send + Sync + 'static {
    /// Queues a message. Never waits.
    fn send(&self, message: &Message) -> Result<(), Undelivered>;
    /// Whether somebody still reads.
    fn is_open(&self) -> bool;
    /// Ends it after what is queued.
    fn end(&self);
    /// What was taken for a reader that did not come back; none where nothing waits for one.
    fn unsent(&self) -> Option<Vec<Message>> {
        None
    }
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// Nobody reads any more.
    Gone,
    /// The reader is too slow: its buffer is full.
    Full,
}

/// Locks a mutex whose data is consistent at every point where a panic could strike.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
