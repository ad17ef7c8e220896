//! What a server says besides the protocol: bounded, rate-limited, and never forwarded.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::LAST_WORDS;
use crate::upstream::wire::lock;

/// Lines kept of what a server said last.
const KEPT_LINES: usize = 20;
/// Characters kept of one line, in the log and among the last words.
const KEPT_CHARS: usize = 300;
/// Lines logged per window.
const LOGGED: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// The last lines of stderr.
#[derive(Default)]
pub(super) struct LastWords(Mutex<VecDeque<String>>);

impl LastWords {
    pub(super) fn add(&self, line: String) {
        let mut lines = lock(&self.0);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Ready to follow a sentence; empty if nothing was said.
    pub(super) fn said(&self) -> String {
        let lines = lock(&self.0);
        if lines.is_empty() {
            return String::new();
        }
        let all: Vec<&str> = lines.iter().map(String::as_str).collect();
        format!("{LAST_WORDS}{}", all.join(" | "))
    }
}

/// One line as it may stand in a log: bounded, control characters escaped.
pub(super) fn shown(line: &[u8]) -> String {
    // A character takes at most four bytes: more need not even be looked at.
    let line = line.get(..4 * KEPT_CHARS).unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    let mut shown = String::with_capacity(text.len());
    for c in text.chars().take(KEPT_CHARS) {
        if c.is_control() && c != '\t' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Lets a few lines per window through to the log and counts the rest.
#[derive(Default)]
pub(super) struct Sample {
    all: AtomicU64,
    window: Mutex<Option<Window>>,
}

struct Window {
    began: Instant,
    logged: u32,
    held_back: u64,
}

impl Sample {
    /// Counts one line. If it may be logged: how many were held back before it.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        self.all.fetch_add(1, Ordering::Relaxed);
        let mut window = lock(&self.window);
        let current = window.get_or_insert(Window { began: now, logged: 0, held_back: 0 });
        if now.duration_since(current.began) >= WINDOW {
            current.began = now;
            current.logged = 0;
        }
        if current.logged < LOGGED {
            current.logged += 1;
            return Some(std::mem::take(&mut current.held_back));
        }
        current.held_back += 1;
        None
    }

    /// All lines so far.
    pub(super) fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_sampled_and_counted() {
        let (sample, now) = (Sample::default(), Instant::now());
        let logged = (0..10_000).filter(|_| sample.admit(now).is_some()).count();
        assert_eq!((logged, sample.all()), (LOGGED as usize, 10_000));
        assert_eq!(sample.admit(now + WINDOW), Some(10_000 - u64::from(LOGGED)));
        assert_eq!(sample.admit(now + WINDOW), Some(0));
    }

    #[test]
    fn last_words_are_the_last_and_bounded() {
        let words = LastWords::default();
        assert_eq!(words.said(), "");
        for n in 0..100 {
            words.add(shown(format!("line {n} {}", "x".repeat(10_000)).as_bytes()));
        }
        let said = words.said();
        assert!(said.starts_with("; its last words: line 80 ") && said.contains("line 99 "), "{said}");
        assert!(said.len() < KEPT_LINES * (KEPT_CHARS + 10), "{}", said.len());
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(shown(b"\x1b[31mred\x07\r\n"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(shown("\u{85}\u{9b}é\tx\0".as_bytes()), "\\u{85}\\u{9b}é\tx\\u{0}");
        assert_eq!(shown(b"\xff ok"), "\u{FFFD} ok");
    }
}
