//! The revisions of MCP that Lockgate speaks.

/// Legacy revisions (with `initialize`), newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// Modern revisions (every request says its own), newest first.
pub const MODERN: [&str; 1] = ["2026-07-28"];

/// The one revision in which several messages may come as an array.
pub const WITH_BATCHES: &str = "2025-03-26";

/// The first revision whose clients take an event without data, and so can be told from the first
/// event on where to resume a stream. Older clients choke on it.
pub const WITH_RESUMPTION: &str = "2025-11-25";

/// A draft of 2024-11-05 that the official SDKs still accept; the same on the wire.
const DRAFT: &str = "2024-10-07";

/// The revision for an `initialize` that asks for this one: the same if it is spoken, else the
/// newest legacy one. A modern revision is never negotiated by `initialize`.
pub fn negotiate(asked: &str) -> &'static str {
    legacy(asked).unwrap_or(LEGACY[0])
}

/// The legacy revision of that name, if it is spoken.
pub fn legacy(version: &str) -> Option<&'static str> {
    let version = if version == DRAFT { "2024-11-05" } else { version };
    LEGACY.into_iter().find(|spoken| *spoken == version)
}

/// The modern revision of that name, if it is spoken.
pub fn modern(version: &str) -> Option<&'static str> {
    MODERN.into_iter().find(|spoken| *spoken == version)
}

/// Whether this legacy revision is that one or a later one. Revisions are dates.
pub fn at_least(version: &str, oldest: &str) -> bool {
    version >= oldest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoken_revision_is_echoed_and_any_other_becomes_the_newest_legacy_one() {
        for (asked, answered) in [
            ("2024-10-07", "2024-11-05"),
            ("2024-11-05", "2024-11-05"),
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
            ("2025-11-25 ", "2025-11-25"),
            ("", "2025-11-25"),
        ] {
            assert_eq!(negotiate(asked), answered, "{asked}");
        }
        assert_eq!(legacy("2026-07-28"), None);
        assert_eq!(modern("2026-07-28"), Some("2026-07-28"));
        assert_eq!(modern("2025-11-25"), None);
    }

    #[test]
    fn later_revisions_are_at_least_earlier_ones() {
        assert!(at_least("2025-11-25", "2025-06-18") && at_least("2025-06-18", "2025-06-18"));
        assert!(!at_least("2025-03-26", "2025-06-18"));
    }
}
