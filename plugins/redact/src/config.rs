//! The configuration of `redact`, and what is refused in it.

use lockgate_plugin::{Failure, Glob};
use regex_lite::Regex;
use serde::Deserialize;

use crate::path::Path;
use crate::text::Pattern;
use crate::{Redact, Target};

/// What must not leave.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// JSON Pointers of values to replace, such as `/structuredContent/users/*/email`; a `*` stands for
    /// every item or member. They point into the result, or with `/error` in front into an error.
    #[serde(default)]
    pointers: Vec<String>,
    /// The same for values to remove with their member. In the copy in text they become `null`.
    #[serde(default)]
    remove: Vec<String>,
    /// What is put in place of values that pointers name, and of matches of patterns that have none of
    /// their own.
    #[serde(default = "redacted")]
    replacement: String,
    /// Patterns to replace in every string of results and errors, and of what servers tell and ask.
    #[serde(default)]
    patterns: Vec<PatternConfig>,
    /// Only calls of these tools, prompts and resources, as globs; all if empty.
    #[serde(default)]
    names: Vec<String>,
}

/// One pattern.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PatternConfig {
    /// A regular expression in the syntax of Rust's `regex-lite`; `(?i)` in front ignores case.
    regex: String,
    /// What is put in its place; `$1` is the first group, `$$` a dollar sign.
    #[serde(default)]
    replace: Option<String>,
}

fn redacted() -> String {
    "[redacted]".to_owned()
}

impl Config {
    pub(crate) fn digest(self) -> Result<Redact, Failure> {
        if self.pointers.is_empty() && self.remove.is_empty() && self.patterns.is_empty() {
            return Err(Failure::InvalidConfig(
                "nothing to redact: give `pointers`, `remove` or `patterns`".to_owned(),
            ));
        }
        let mut in_results = Vec::new();
        let mut in_errors = Vec::new();
        for (key, pointers, remove) in [("pointers", &self.pointers, false), ("remove", &self.remove, true)] {
            for (index, pointer) in pointers.iter().enumerate() {
                let parse = |pointer: &str| {
                    Path::parse(pointer).map_err(|why| Failure::config(format!("{key}[{index}]"), why))
                };
                if let Some(rest) = pointer.strip_prefix("/error").filter(|rest| rest.starts_with('/')) {
                    in_errors.push(Target { path: parse(rest)?, in_copy: None, remove });
                    continue;
                }
                let below = pointer.strip_prefix("/structuredContent").filter(|rest| rest.starts_with('/'));
                let in_copy = below.map(parse).transpose()?;
                in_results.push(Target { path: parse(pointer)?, in_copy, remove });
            }
        }
        let mut patterns = Vec::with_capacity(self.patterns.len());
        for (index, pattern) in self.patterns.into_iter().enumerate() {
            let regex = Regex::new(&pattern.regex)
                .map_err(|error| Failure::config(format!("patterns[{index}].regex"), error))?;
            if regex.is_match("") {
                let why = "matches the empty text, and so between any two characters";
                return Err(Failure::config(format!("patterns[{index}].regex"), why));
            }
            // The replacement of pointers is literal: its `$` is no group.
            let replace = pattern.replace.unwrap_or_else(|| self.replacement.replace('$', "$$"));
            patterns.push(Pattern { regex, replace });
        }
        // Not through `serde_json::Value`, which would be a tenth of the plugin.
        let replacement = serde_json::to_string(&self.replacement)
            .map_err(|error| Failure::config("replacement", error))?;
        Ok(Redact {
            names: self.names.into_iter().map(Glob::new).collect(),
            in_results,
            in_errors,
            patterns,
            replacement,
        })
    }
}
