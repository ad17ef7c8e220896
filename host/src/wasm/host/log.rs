//! The interface `log`: lines of a plugin, escaped and capped, with the filter's name beside them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::super::bindings::lockgate::plugin::log::{Host, Level};
use super::super::filter::Identity;
use super::super::store::State;
use crate::filter::decisions::{name_rule, running_call};

/// A line costs time stamp, level and name besides its text, so empty ones are bounded as well: 1,024
/// lines of the default 64 KiB.
const BYTES_PER_LINE: u32 = 64;

/// Where the lines of one instance go: `tracing`, target `plugin`.
pub(in super::super) struct LogSink {
    identity: Arc<Identity>,
    left: AtomicU32,
    lines: AtomicU32,
    dropped: AtomicU64,
}

impl LogSink {
    pub(in super::super) fn new(identity: Arc<Identity>) -> LogSink {
        let sink = LogSink {
            identity,
            left: AtomicU32::default(),
            lines: AtomicU32::default(),
            dropped: AtomicU64::default(),
        };
        sink.refill();
        sink
    }

    /// A new hook, a new allowance.
    pub(in super::super) fn refill(&self) {
        self.left.store(self.identity.limits.log_bytes, Ordering::Relaxed);
        self.lines.store(self.identity.limits.log_bytes / BYTES_PER_LINE, Ordering::Relaxed);
    }

    /// Says how much was dropped in this hook, in one line, and counts it.
    pub(in super::super) fn settle(&self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.identity.counters.dropped_log(dropped);
            tracing::warn!(
                target: "plugin",
                filter = &*self.identity.name,
                "{dropped} bytes of log dropped (limits.log_bytes: {})",
                self.identity.limits.log_bytes
            );
        }
    }

    /// How much of so many bytes may still be written.
    fn admit(&self, bytes: usize) -> usize {
        let left = self.left.load(Ordering::Relaxed) as usize;
        let admitted = bytes.min(left);
        self.left.store((left - admitted) as u32, Ordering::Relaxed);
        if admitted < bytes {
            self.dropped.fetch_add((bytes - admitted) as u64, Ordering::Relaxed);
        }
        admitted
    }

    /// One line.
    pub(super) fn line(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let lines = self.lines.load(Ordering::Relaxed);
        if lines == 0 {
            let bytes =
                message.len() + fields.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            self.dropped.fetch_add(bytes.max(1) as u64, Ordering::Relaxed);
            return;
        }
        self.lines.store(lines - 1, Ordering::Relaxed);
        let admitted = self.admit(message.len());
        let text = escaped(cut(message, admitted));
        let mut rest = String::new();
        for (key, value) in fields {
            let bytes = key.len() + value.len();
            if self.admit(bytes) < bytes {
                continue;
            }
            if key == "rule" {
                name_rule(value);
            }
            let _ = write!(rest, "{}{}={:?}", if rest.is_empty() { "" } else { " " }, escaped(key), value);
        }
        if admitted == 0 && !message.is_empty() {
            return;
        }
        let filter = &*self.identity.name;
        let rest = (!rest.is_empty()).then_some(rest);
        let fields = rest.as_deref();
        let call = running_call();
        match level {
            Level::Debug => tracing::debug!(target: "plugin", filter, call, fields, "{text}"),
            Level::Info => tracing::info!(target: "plugin", filter, call, fields, "{text}"),
            Level::Warn => tracing::warn!(target: "plugin", filter, call, fields, "{text}"),
            Level::Error => tracing::error!(target: "plugin", filter, call, fields, "{text}"),
        }
    }
}

/// The longest beginning of so many bytes that is whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// Without control characters, which could forge lines or steer a terminal.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        // The second group turns the direction of text around, and hides things in it.
        if c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
        {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

impl Host for State {
    fn write(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.tick()?;
        self.log.line(level, &message, &fields);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_log() {
        assert_eq!(escaped("a\nb\u{1b}[31mc\u{202e}d\té"), "a\\nb\\u{1b}[31mc\\u{202e}d\\té");
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aé", 0), "");
    }
}
