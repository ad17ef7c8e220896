//! What work on a document may cost, asked inside the loops that do it.
//!
//! A filter names places in a document, and the host does the work. So the host must be able to stop in the middle:
//! what is counted afterwards has already been paid by everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::document::EditError;

/// The clock is looked at once for so many bytes of work: some 50 µs.
const LOOK: usize = 64 << 10;
/// What a text costs beside its bytes: where it is kept.
const TEXT: usize = 16;

/// Bounds the work that is done with it. Clones share the bounds.
#[derive(Clone, Debug, Default)]
pub struct Meter(Option<Arc<Gauge>>);

/// Atomics only because what holds it has to be `Sync`: one thread works with it at a time.
#[derive(Debug)]
struct Gauge {
    made: Instant,
    /// Nanoseconds after `made`.
    end: AtomicU64,
    /// Bytes that the answer may have in all, and still.
    all: AtomicUsize,
    room: AtomicUsize,
    until_look: AtomicUsize,
    over: AtomicBool,
}

/// For documents of the host's own.
pub(super) static UNLIMITED: Meter = Meter(None);

impl Meter {
    /// One that [`Meter::begin`] sets.
    pub fn new() -> Meter {
        Meter(Some(Arc::new(Gauge {
            made: Instant::now(),
            end: AtomicU64::new(u64::MAX),
            all: AtomicUsize::new(usize::MAX),
            room: AtomicUsize::new(usize::MAX),
            until_look: AtomicUsize::new(LOOK),
            over: AtomicBool::new(false),
        })))
    }

    /// From now on the answer may have `room` bytes, and the work ends at `end`.
    pub fn begin(&self, room: usize, end: Instant) {
        let Some(gauge) = &self.0 else { return };
        let end = end.saturating_duration_since(gauge.made);
        gauge.end.store(nanoseconds(end), Ordering::Relaxed);
        gauge.all.store(room, Ordering::Relaxed);
        gauge.room.store(room, Ordering::Relaxed);
        gauge.until_look.store(LOOK, Ordering::Relaxed);
        gauge.over.store(false, Ordering::Relaxed);
    }

    /// Whether the work was stopped because its time was over. What it returned then means nothing.
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|gauge| gauge.over.load(Ordering::Relaxed))
    }

    /// Counts work over so many bytes. False when the time is over: then the loop ends.
    #[inline]
    pub(super) fn goes_on(&self, bytes: usize) -> bool {
        let Some(gauge) = &self.0 else { return true };
        let left = gauge.until_look.load(Ordering::Relaxed);
        if bytes < left {
            gauge.until_look.store(left - bytes, Ordering::Relaxed);
            return !gauge.over.load(Ordering::Relaxed);
        }
        gauge.until_look.store(LOOK, Ordering::Relaxed);
        if nanoseconds(gauge.made.elapsed()) >= gauge.end.load(Ordering::Relaxed) {
            gauge.over.store(true, Ordering::Relaxed);
        }
        !gauge.over.load(Ordering::Relaxed)
    }

    /// Counts a text of the answer before it is made.
    ///
    /// # Errors
    /// [`EditError::TooLarge`] if there is no room for it.
    pub(super) fn take(&self, bytes: usize) -> Result<(), EditError> {
        let Some(gauge) = &self.0 else { return Ok(()) };
        let room = gauge.room.load(Ordering::Relaxed);
        match room.checked_sub(bytes.saturating_add(TEXT)) {
            Some(left) => {
                gauge.room.store(left, Ordering::Relaxed);
                Ok(())
            }
            None => Err(EditError::TooLarge(
                gauge.all.load(Ordering::Relaxed).saturating_sub(room).saturating_add(bytes),
            )),
        }
    }

    /// The bytes that the answer may still have.
    pub(super) fn room(&self) -> usize {
        self.0.as_ref().map_or(usize::MAX, |gauge| gauge.room.load(Ordering::Relaxed))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
