//! What a session's streams said lately, for a client that lost one and comes back for it.
//!
//! One book per session, so that nothing of another session can be in it; every event stands there
//! under its stream and number. It is bounded by bytes, events and age, the oldest event goes first,
//! and all books together are bounded as well: what is not kept is a gap, and a client that asks for
//! what is in a gap is told to look again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outlet::lock;
use super::stream::{EventStream, Reader};
use crate::config::Limits;
use crate::jsonrpc::Message;

/// The book of one session.
pub struct Replay {
    state: Mutex<State>,
    /// `limits.resume_bytes`.
    bytes: usize,
    /// `limits.resume_events`.
    events: usize,
    window: Duration,
    /// Bytes of all books, and how many there may be.
    all: Arc<AtomicUsize>,
    all_bytes: usize,
}

#[derive(Default)]
struct State {
    kept: VecDeque<Kept>,
    bytes: usize,
    streams: HashMap<u32, Entry>,
    last: u32,
}

struct Kept {
    stream: u32,
    number: u64,
    message: Message,
    at: Instant,
}

/// A stream with events that may be asked for again.
struct Entry {
    /// Gone once its call was answered: then what is kept is all there will be.
    stream: Weak<EventStream>,
    kept: usize,
    /// Events up to this number are not kept any more.
    gone: u64,
    last: u64,
}

/// A stream that was found again.
pub struct Resumed {
    /// Reads what followed, and what still comes.
    pub reader: Reader,
    /// Whether nothing is missing.
    pub whole: bool,
}

impl Replay {
    /// An empty book; `all` counts the bytes of all of them. None where nothing may be kept.
    pub fn new(limits: &Limits, all: Arc<AtomicUsize>) -> Option<Arc<Replay>> {
        let any = limits.resume_bytes > 0 && limits.resume_events > 0 && limits.resume_seconds > 0;
        any.then(|| {
            Arc::new(Replay {
                state: Mutex::default(),
                bytes: limits.resume_bytes,
                events: limits.resume_events as usize,
                window: Duration::from_secs(limits.resume_seconds),
                all,
                all_bytes: limits.resume_total_bytes,
            })
        })
    }

    /// The stream of that number, read from after an event on. None if it is not known (any more).
    pub fn resume(&self, stream: u32, after: u64, cut: CancellationToken) -> Option<Resumed> {
        let (found, whole) = {
            let mut state = lock(&self.state);
            self.expire_in(&mut state);
            let entry = state.streams.get(&stream).filter(|entry| after <= entry.last)?;
            (entry.stream.upgrade(), after >= entry.gone)
        };
        let reader = match found {
            Some(stream) => stream.attach(after, cut)?,
            None => EventStream::over(self.after(stream, after), cut),
        };
        Some(Resumed { reader, whole })
    }

    /// Forgets what is too old.
    pub fn expire(&self) {
        self.expire_in(&mut lock(&self.state));
    }

    /// How long an event is kept, and a stream without a reader.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// Most bytes of one event that is kept.
    pub(super) fn most_bytes(&self) -> usize {
        self.bytes
    }

    /// A number for a stream whose events are kept from now on.
    pub(super) fn enter(&self, stream: Weak<EventStream>) -> u32 {
        let mut state = lock(&self.state);
        state.last = state.last.wrapping_add(1);
        let number = state.last;
        state.streams.insert(number, Entry { stream, kept: 0, gone: 0, last: 0 });
        number
    }

    /// Keeps an event, if there is room or room can be made in this book.
    pub(super) fn keep(&self, stream: u32, number: u64, message: &Message) {
        let mut state = lock(&self.state);
        self.expire_in(&mut state);
        let bytes = message.bytes().len();
        let fits = bytes <= self.bytes && self.reserve(&mut state, bytes);
        let Some(entry) = state.streams.get_mut(&stream) else {
            if fits {
                self.all.fetch_sub(bytes, Ordering::Relaxed);
            }
            return;
        };
        entry.last = number;
        if !fits {
            entry.gone = number;
            return;
        }
        entry.kept += 1;
        state.bytes += bytes;
        state.kept.push_back(Kept { stream, number, message: message.clone(), at: Instant::now() });
    }

    /// The events of a stream after that number, oldest first.
    pub(super) fn after(&self, stream: u32, number: u64) -> Vec<(u64, Message)> {
        let state = lock(&self.state);
        let wanted = state.kept.iter().filter(|kept| kept.stream == stream && kept.number > number);
        wanted.map(|kept| (kept.number, kept.message.clone())).collect()
    }

    /// Forgets a stream: nobody can come back for it.
    pub(super) fn forget(&self, stream: u32) {
        let mut state = lock(&self.state);
        state.streams.remove(&stream);
        let mut freed = 0;
        state.kept.retain(|kept| {
            let stays = kept.stream != stream;
            freed += if stays { 0 } else { kept.message.bytes().len() };
            stays
        });
        state.bytes = state.bytes.saturating_sub(freed);
        self.all.fetch_sub(freed, Ordering::Relaxed);
    }

    /// A stream ended for good: it is known for as long as something of it is kept.
    pub(super) fn leave(&self, stream: u32) {
        let mut state = lock(&self.state);
        if state.streams.get(&stream).is_some_and(|entry| entry.kept == 0) {
            state.streams.remove(&stream);
        }
    }

    /// Takes bytes from what all books may hold, after making room in this one.
    fn reserve(&self, state: &mut State, bytes: usize) -> bool {
        while state.kept.len() >= self.events || state.bytes + bytes > self.bytes {
            if !self.evict(state) {
                return false;
            }
        }
        loop {
            let grown = self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
                all.checked_add(bytes).filter(|all| *all <= self.all_bytes)
            });
            if grown.is_ok() {
                return true;
            }
            // Others hold the rest. What is new here counts for more than what is old here.
            if !self.evict(state) {
                return false;
            }
        }
    }

    fn expire_in(&self, state: &mut State) {
        while state.kept.front().is_some_and(|oldest| oldest.at.elapsed() >= self.window) {
            self.evict(state);
        }
    }

    fn evict(&self, state: &mut State) -> bool {
        let Some(oldest) = state.kept.pop_front() else { return false };
        let bytes = oldest.message.bytes().len();
        state.bytes = state.bytes.saturating_sub(bytes);
        self.all.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(entry) = state.streams.get_mut(&oldest.stream) {
            entry.gone = oldest.number;
            entry.kept = entry.kept.saturating_sub(1);
            if entry.kept == 0 && entry.stream.strong_count() == 0 {
                state.streams.remove(&oldest.stream);
            }
        }
        true
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.all.fetch_sub(lock(&self.state).bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(configure: impl FnOnce(&mut Limits)) -> (Arc<Replay>, Arc<AtomicUsize>) {
        let mut limits = Limits::default();
        configure(&mut limits);
        let all = Arc::new(AtomicUsize::new(0));
        (Replay::new(&limits, all.clone()).expect("something may be kept"), all)
    }

    fn event(padding: usize) -> Message {
        let params = format!(r#"{{"x":"{}"}}"#, "x".repeat(padding));
        Message::notification("notifications/x", Some(params.as_bytes()))
    }

    fn numbers(book: &Replay, stream: u32) -> Vec<u64> {
        book.after(stream, 0).into_iter().map(|(number, _)| number).collect()
    }

    fn live() -> (Arc<EventStream>, Reader) {
        EventStream::new(1 << 20, true, CancellationToken::new())
    }

    #[tokio::test(start_paused = true)]
    async fn every_bound_holds_and_what_is_dropped_is_counted_out() {
        let size = event(0).bytes().len();
        let (book, all) = book(|limits| {
            limits.resume_events = 4;
            limits.resume_bytes = 3 * size;
            limits.resume_seconds = 10;
        });
        let (stream, reader) = live();
        let reader = reader.kept_in(&book);
        let one = reader.kept_as().expect("it is kept");
        for number in 1..=5 {
            book.keep(one, number, &event(0));
        }
        assert_eq!(numbers(&book, one), [3, 4, 5], "bounded by bytes");
        assert_eq!(all.load(Ordering::Relaxed), 3 * size);
        book.keep(one, 6, &event(3 * size));
        assert_eq!(numbers(&book, one), [3, 4, 5], "too large for the book: costs nobody a place");
        assert!(!book.resume(one, 5, CancellationToken::new()).unwrap().whole, "the sixth is missing");
        tokio::time::advance(Duration::from_secs(10)).await;
        book.expire();
        assert_eq!((numbers(&book, one).len(), all.load(Ordering::Relaxed)), (0, 0), "bounded by age");
        for number in 7..=9 {
            book.keep(one, number, &event(0));
        }
        drop((stream, reader, book));
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_books_together_are_bounded() {
        let size = event(0).bytes().len();
        let mut limits = Limits { resume_total_bytes: 3 * size, ..Limits::default() };
        let all = Arc::new(AtomicUsize::new(0));
        let (a, b) = (Replay::new(&limits, all.clone()).unwrap(), Replay::new(&limits, all.clone()).unwrap());
        let (stream, _reader) = live();
        let (in_a, in_b) = (a.enter(Arc::downgrade(&stream)), b.enter(Arc::downgrade(&stream)));
        (1..=2).for_each(|number| a.keep(in_a, number, &event(0)));
        (1..=5).for_each(|number| b.keep(in_b, number, &event(0)));
        assert_eq!((numbers(&a, in_a), numbers(&b, in_b)), (vec![1, 2], vec![5]), "no book takes another's");
        assert_eq!(all.load(Ordering::Relaxed), 3 * size);
        limits.resume_seconds = 0;
        assert!(Replay::new(&limits, all).is_none(), "switched off");
    }

    #[test]
    fn streams_are_known_for_as_long_as_something_of_them_is_kept() {
        let (book, _) = book(|limits| limits.resume_events = 2);
        let (stream, reader) = live();
        let one = book.enter(Arc::downgrade(&stream));
        book.keep(one, 1, &event(0));
        drop((stream, reader));
        book.leave(one);
        assert!(book.resume(one, 0, CancellationToken::new()).unwrap().whole);
        assert!(book.resume(one, 2, CancellationToken::new()).is_none(), "never said");
        assert!(book.resume(one + 1, 0, CancellationToken::new()).is_none());
        let (stream, _reader) = live();
        let two = book.enter(Arc::downgrade(&stream));
        (1..=2).for_each(|number| book.keep(two, number, &event(0)));
        assert!(book.resume(one, 1, CancellationToken::new()).is_none(), "forgotten with its last event");
        assert_eq!(lock(&book.state).streams.len(), 1);
        book.forget(two);
        assert!(lock(&book.state).streams.is_empty() && lock(&book.state).kept.is_empty());
    }
}
