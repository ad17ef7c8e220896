//! Random documents and what a filter may do to them, under a meter: no answer is larger than it allows, and no
//! work takes more memory than its document, its input and its answer account for.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[path = "../../src"]
#[allow(
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the module is under test here"
)]
mod host {
    pub mod jsonrpc;
}

use host::jsonrpc::{Document, Limits, Meter};

/// What an answer may have.
const ROOM: usize = 1 << 10;

/// Counts what is held, and the most that was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every method passes its arguments on to the system's allocator as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let limits = Limits { bytes: 256 << 10, depth: 64, members: 100_000, number_bytes: 64 };
    let Ok(document) = Document::parse(Bytes::copy_from_slice(first), limits) else { return };
    let meter = Meter::new();
    let mut document = document.metered(meter.clone());
    // Each line: what to do, a pointer, and after a tab a value or text.
    for line in lines.take(16) {
        let Some((&what, rest)) = line.split_first() else { continue };
        let mut parts = rest.splitn(2, |byte| *byte == b'\t');
        let Ok(at) = std::str::from_utf8(parts.next().unwrap_or_default()) else { continue };
        let value = parts.next().unwrap_or_default();
        let text = String::from_utf8_lossy(value).into_owned();
        // A bound on the memory of one piece of work: the texts before and after it, the members that are counted,
        // escapes of six bytes, and some for small things.
        let bytes = document.bytes().len() + rest.len() + ROOM;
        let most = 32 * bytes + (64 << 10);
        let edits: Vec<(String, String)> =
            at.split(' ').map(|at| (at.to_owned(), text.clone())).take(64).collect();

        meter.begin(ROOM, Instant::now() + Duration::from_secs(60));
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        let answer = match what % 10 {
            0 => document.kind(at).map(|_| 0),
            1 => document.get(at).map(|_| 0),
            2 => document.text(at).map(|text| text.map_or(0, |text| text.len())),
            3 => document.keys(at).map(|keys| keys.iter().map(String::len).sum()),
            4 => document.length(at).map(|_| 0),
            5 => document.strings(at).map(|all| all.iter().map(|(at, text)| at.len() + text.len()).sum()),
            6 => document.set(at, value).map(|()| 0),
            7 => document.set_text(at, &text).map(|()| 0),
            8 => document.remove(at).map(|()| 0),
            _ => document.replace_strings(&edits).map(|()| 0),
        };
        let took = MOST.load(Ordering::Relaxed) - before;
        assert!(!meter.is_over());
        assert!(answer.is_err() || answer.is_ok_and(|bytes| bytes <= ROOM), "an answer beyond its room");
        assert!(took <= most, "{took} bytes for {}, and {most} are accounted for", what % 10);
        Document::parse(document.bytes().clone(), limits).expect("what is left is under the law");

        // A meter whose time is over lets nothing happen.
        let now = document.bytes().clone();
        meter.begin(ROOM, Instant::now());
        let _ = document.set(at, value);
        if meter.is_over() {
            assert_eq!(document.bytes(), &now, "an edit in no time");
        }
    }
});
