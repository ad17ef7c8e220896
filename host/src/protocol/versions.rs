//! The revisions of MCP that Lockgate speaks.

/// Legacy revisions (with sessions), newest first.
pub const LEGACY: [&str; 2] = ["2025-11-25", "2025-06-18"];

/// The revision for an `initialize` that asks for this one: the same if it is spoken, else the
/// newest legacy one. A modern revision is never negotiated by `initialize`.
pub fn negotiate(asked: &str) -> &'static str {
    let [newest, ..] = LEGACY;
    LEGACY.into_iter().find(|version| *version == asked).unwrap_or(newest)
}

/// Whether a client may name this revision in `MCP-Protocol-Version`.
pub fn is_supported(version: &str) -> bool {
    LEGACY.contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoken_revision_is_echoed_and_any_other_becomes_the_newest_legacy_one() {
        for (asked, answered) in [
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            ("2025-03-26", "2025-11-25"),
            ("2024-11-05", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
            ("", "2025-11-25"),
        ] {
            assert_eq!(negotiate(asked), answered, "{asked}");
        }
        assert!(is_supported("2025-06-18") && !is_supported("2026-07-28") && !is_supported("2025-11-25 "));
    }
}
