//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a configuration file. Both numbers start at 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One thing that is wrong, or (as a warning) probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, if it is in one place.
    pub at: Option<At>,
    /// What is wrong: one line that names the key.
    pub message: String,
    /// What to do, one line each.
    pub help: Vec<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn at(at: At, message: impl Into<String>) -> Problem {
        Problem { at: Some(at), message: message.into(), help: Vec::new() }
    }

    /// A problem of the file as a whole.
    pub fn general(message: impl Into<String>) -> Problem {
        Problem { at: None, message: message.into(), help: Vec::new() }
    }

    /// Adds a line on what to do.
    pub fn help(mut self, line: impl Into<String>) -> Problem {
        self.help.push(line.into());
        self
    }

    /// The problem as text: `file:line:column: message`, then the help, indented.
    pub fn render(&self, file: &Path) -> String {
        let mut text = file.display().to_string();
        if let Some(at) = self.at {
            text.push_str(&format!(":{}:{}", at.line, at.column));
        }
        text.push_str(": ");
        text.push_str(&self.message);
        for line in &self.help {
            text.push_str("\n  ");
            text.push_str(line);
        }
        text
    }
}

/// A configuration that cannot be used. Its text has one paragraph per problem, in the file's order.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ConfigError {
    /// The file as it was asked for.
    pub file: PathBuf,
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// All problems of one file, put into its order, each said once.
    pub fn new(file: &Path, mut problems: Vec<Problem>) -> ConfigError {
        problems.sort_by(|a, b| (a.at, &a.message).cmp(&(b.at, &b.message)));
        problems.dedup();
        ConfigError { file: file.to_owned(), problems }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&problem.render(&self.file))?;
        }
        Ok(())
    }
}

/// The entry of `known` that was probably meant by `word`, if one is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain =
        |s: &str| s.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let folded = plain(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let other = plain(candidate);
        // A plural, a different case, `-` for `_`, or the word cut short are all near.
        let distance = if other == folded { 0 } else { strsim::damerau_levenshtein(&folded, &other) };
        let allowed = (other.len().max(folded.len()) / 3).max(1);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `a`, `b`, `c`: words in backquotes for a message.
pub fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_what_was_meant_and_nothing_far_away() {
        let known = ["servers", "filters", "plugins", "listen", "on_failure"];
        assert_eq!(nearest("server", known), Some("servers"));
        assert_eq!(nearest("fitlers", known), Some("filters"));
        assert_eq!(nearest("onFailure", known), Some("on_failure"));
        assert_eq!(nearest("telemetry", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn problems_are_said_in_the_order_of_the_file_and_once() {
        let at = |line, column| At { line, column };
        let error = ConfigError::new(
            Path::new("c.yaml"),
            vec![
                Problem::at(at(9, 1), "later"),
                Problem::at(at(2, 3), "first").help("do this"),
                Problem::at(at(9, 1), "later"),
            ],
        );
        assert_eq!(error.to_string(), "c.yaml:2:3: first\n  do this\nc.yaml:9:1: later");
    }
}
