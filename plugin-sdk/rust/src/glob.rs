//! Name patterns: `*` stands for any characters, `?` for one; everything else for itself.

use serde::{Deserialize, Deserializer};

/// A pattern such as `delete_*`. Matches whole names, case and all; `*` matches `/` too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
}

impl Glob {
    /// Every text is a valid pattern.
    pub fn new(pattern: impl Into<String>) -> Glob {
        Glob { pattern: pattern.into() }
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Does the whole name match? Takes at most the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let mut pattern = self.pattern.as_str();
        let mut name = name;
        // Where to go on if what follows the last `*` does not match: one character further.
        let mut retry: Option<(&str, &str)> = None;
        loop {
            let mut rest = pattern.chars();
            let mut tail = name.chars();
            match (rest.next(), tail.next()) {
                (Some('*'), _) => {
                    pattern = rest.as_str();
                    retry = Some((pattern, name));
                    continue;
                }
                (Some('?'), Some(_)) => {
                    (pattern, name) = (rest.as_str(), tail.as_str());
                    continue;
                }
                (Some(wanted), Some(found)) if wanted == found => {
                    (pattern, name) = (rest.as_str(), tail.as_str());
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((after_star, from)) = retry else { return false };
            let mut further = from.chars();
            if further.next().is_none() {
                return false;
            }
            (pattern, name) = (after_star, further.as_str());
            retry = Some((pattern, name));
        }
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Glob, D::Error> {
        String::deserialize(deserializer).map(Glob::new)
    }
}

/// True if one of the patterns matches.
pub fn any_matches(globs: &[Glob], name: &str) -> bool {
    globs.iter().any(|glob| glob.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("delete_*", "delete_file", true),
            ("delete_*", "delete_", true),
            ("delete_*", "undelete_file", false),
            ("*_file", "delete_file", true),
            ("*_file", "delete_files", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("get_?", "get_a", true),
            ("get_?", "get_ä", true),
            ("get_?", "get_", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("file:///*", "file:///etc/passwd", true),
            ("Get", "get", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_hostile_name_costs_no_more_than_the_product() {
        let pattern = Glob::new("*a".repeat(50) + "b");
        assert!(!pattern.matches(&"a".repeat(2_000)));
    }
}
