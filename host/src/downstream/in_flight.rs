//! The calls of one client that are in flight, by the ids that it gave them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::outlet::lock;

/// All of them. A cancelled call gives its id back at once, and its room when it has ended.
#[derive(Default)]
pub struct InFlight {
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    by_id: HashMap<Box<[u8]>, Call>,
    /// With those that were cancelled and have not ended.
    running: usize,
    last: u64,
}

struct Call {
    number: u64,
    cancel: CancellationToken,
}

/// Why a call cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBegun {
    /// A call with that id is in flight.
    Duplicate,
    /// `limits.calls_per_session` is reached.
    Busy,
    /// The session is over.
    Over,
}

/// One call in flight. Dropping it gives its room back, and its id if it still has that.
pub struct Ticket {
    calls: Arc<InFlight>,
    id: Box<[u8]>,
    number: u64,
    /// Cancelled with the call.
    pub cancel: CancellationToken,
}

impl InFlight {
    /// Notes a call under the client's raw id. It is cancelled when `over` is.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub fn begin(
        self: &Arc<Self>,
        id: &[u8],
        most: u32,
        over: &CancellationToken,
    ) -> Result<Ticket, NotBegun> {
        let mut calls = lock(&self.calls);
        if over.is_cancelled() {
            return Err(NotBegun::Over);
        }
        if calls.running >= most as usize {
            return Err(NotBegun::Busy);
        }
        let number = calls.last + 1;
        let cancel = over.child_token();
        match calls.by_id.entry(id.into()) {
            Entry::Occupied(_) => return Err(NotBegun::Duplicate),
            Entry::Vacant(free) => free.insert(Call { number, cancel: cancel.clone() }),
        };
        calls.last = number;
        calls.running += 1;
        Ok(Ticket { calls: self.clone(), id: id.into(), number, cancel })
    }

    /// Cancels the call with this raw id. The id is free from here on: the client waits for no answer, and
    /// gets none. An id that is not in flight is nothing special: the answer and the cancellation crossed.
    pub fn cancel(&self, id: &[u8]) {
        let call = lock(&self.calls).by_id.remove(id);
        if let Some(call) = call {
            call.cancel.cancel();
        }
    }

    /// Cancels `over`, if no call is in flight. None begins after that.
    pub fn end_if_idle(&self, over: &CancellationToken) -> bool {
        let calls = lock(&self.calls);
        let idle = calls.running == 0;
        if idle {
            // Under the lock, under which every call begins.
            over.cancel();
        }
        idle
    }

    /// How many have not ended.
    pub fn count(&self) -> usize {
        lock(&self.calls).running
    }
}

impl Ticket {
    /// Ends the call before its answer is sent: the client may use the id again as soon as it has that.
    /// False if nobody waits for the answer any more: it was cancelled, and the id may be another call's.
    pub fn end(self) -> bool {
        self.is_awaited(&lock(&self.calls.calls))
    }

    fn is_awaited(&self, calls: &Calls) -> bool {
        calls.by_id.get(&self.id).is_some_and(|call| call.number == self.number)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls.calls);
        calls.running -= 1;
        if self.is_awaited(&calls) {
            calls.by_id.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_call_gives_its_id_back_at_once_and_its_room_at_its_end() {
        let (calls, over) = (Arc::new(InFlight::default()), CancellationToken::new());
        let begin = |id: &[u8]| calls.begin(id, 2, &over);
        let first = begin(b"1").ok().unwrap();
        assert_eq!(begin(b"1").err(), Some(NotBegun::Duplicate));
        calls.cancel(b"1");
        assert!(first.cancel.is_cancelled());
        let second = begin(b"1").ok().unwrap();
        assert!(!second.cancel.is_cancelled());
        assert_eq!((begin(b"2").err(), calls.count()), (Some(NotBegun::Busy), 2), "the first has not ended");
        assert!(!first.end(), "its answer would be taken for the second one's");
        assert_eq!(begin(b"1").err(), Some(NotBegun::Duplicate), "the end of the first is not the second's");
        let third = begin(b"2").ok().unwrap();
        assert!(second.end() && third.end());
        assert_eq!(calls.count(), 0);
        over.cancel();
        assert_eq!(begin(b"3").err(), Some(NotBegun::Over));
    }
}
