//! What happens to a call and its questions when nobody waits for them any more.

use std::sync::Arc;

use super::{Exchange, lock};

/// A client that waits. However its waiting ends before there is something for it, the server is told.
pub(super) struct Attendance<'a> {
    pub(super) exchange: &'a Arc<Exchange>,
    pub(super) armed: bool,
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        if self.armed {
            lock(&self.exchange.state).client = None;
            self.exchange.cancel.cancel();
        }
    }
}

/// A question that is open. The server may take it back, or be gone.
pub(super) struct Withdrawal<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) key: u32,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        let withdrawn = lock(&self.exchange.state).questions.remove(&self.key);
        if withdrawn.is_some() {
            self.exchange.changed.send_replace(());
        }
    }
}
