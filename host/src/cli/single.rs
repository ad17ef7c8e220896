//! What `wrap` and `connect` have in common: one server that is told in flags.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::validate::RESERVED;
use crate::config::{Config, Isolation};
use crate::filter::ignore::ignore_tools;
use crate::filter::placed::Placed;

/// What a configuration that was made of flags is called in errors.
pub const ORIGIN: &str = "command line";

/// Longest name of a server.
const NAME_CHARS: usize = 64;

/// Flags of both commands.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Hide the tools that a glob covers: from lists and from calls. Repeatable
    #[arg(long, value_name = "GLOB")]
    ignore_tool: Vec<String>,
    /// Longest wait for the server to start, and for one answer: 500ms, 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = super::parse_duration, default_value = "60s")]
    timeout: Duration,
    /// Serve whoever can reach an address beyond this machine
    #[arg(long)]
    allow_unauthenticated: bool,
}

impl Common {
    /// What of the configuration they say.
    pub fn apply(&self, config: &mut Config) {
        // The configuration counts seconds, and none would be no time at all.
        let seconds = self.timeout.as_secs_f64().ceil().max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 3600")]
        let seconds = seconds as u64;
        config.limits.call_seconds = seconds;
        config.limits.call_max_seconds = config.limits.call_max_seconds.max(seconds);
        config.http.allow_unauthenticated = self.allow_unauthenticated;
    }

    /// The filters they ask for.
    pub fn filters(&self) -> Vec<Arc<Placed>> {
        match self.ignore_tool.as_slice() {
            [] => Vec::new(),
            globs => vec![ignore_tools(globs.to_vec())],
        }
    }
}

/// Who shares one connection to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sharing {
    /// Nobody: one for each client session
    #[default]
    Session,
    /// All clients
    Shared,
    /// All sessions of one authenticated principal
    Principal,
}

impl From<Sharing> for Isolation {
    fn from(sharing: Sharing) -> Isolation {
        match sharing {
            Sharing::Session => Isolation::Session,
            Sharing::Shared => Isolation::Shared,
            Sharing::Principal => Isolation::Principal,
        }
    }
}

/// `KEY=VALUE`, or `KEY` for the variable that this process has.
pub fn parse_variable(text: &str) -> Result<(String, String), String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, value.to_owned()),
        None => {
            let own = std::env::var(text);
            let own =
                own.map_err(|_| format!("the variable `{text}` is not set; set it, or write `{text}=VALUE`"));
            (text, own?)
        }
    };
    if key.is_empty() {
        return Err("a variable has a name: write `KEY=VALUE`".to_owned());
    }
    Ok((key.to_owned(), value))
}

/// A folder that is there.
pub fn parse_folder(text: &str) -> Result<PathBuf, String> {
    let folder = std::path::absolute(text).map_err(|e| crate::config::expand::plain(&e))?;
    match std::fs::metadata(&folder) {
        Ok(meta) if meta.is_dir() => Ok(folder),
        Ok(_) => Err(format!("{} is no folder", folder.display())),
        Err(e) => Err(format!("{}: {}", folder.display(), crate::config::expand::plain(&e))),
    }
}

/// A name for a server that is known by its program only: the file's, without its ending.
pub fn name_of_program(command: &str) -> String {
    let file = command.rsplit('/').next().unwrap_or_default();
    let stem = file.split_once('.').map_or(file, |(stem, _)| stem);
    name_of(stem)
}

/// The nearest to `text` that can name a server; `server` if nothing of it can.
pub fn name_of(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().take(NAME_CHARS) {
        let c = if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        // Two underscores separate servers from tools.
        name.push(if c == '_' && name.ends_with('_') { '-' } else { c });
    }
    let nothing = !name.contains(|c: char| c.is_ascii_alphanumeric());
    if nothing || RESERVED.contains(&name.to_ascii_lowercase().as_str()) { "server".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_get_names_that_the_configuration_would_accept() {
        for (command, name) in [
            ("npx", "npx"),
            ("/usr/local/bin/notes-server", "notes-server"),
            ("./run.sh", "run"),
            ("python3.12", "python3"),
            ("my server", "my-server"),
            ("a___b", "a_-_b"),
            ("mcp", "server"),
            ("..", "server"),
            ("", "server"),
            ("ü", "server"),
        ] {
            assert_eq!(name_of_program(command), name, "{command}");
        }
        assert_eq!(name_of(&"x".repeat(100)).len(), 64);
    }

    #[test]
    fn variables_are_given_or_passed_on() {
        let given = |text| parse_variable(text);
        assert_eq!(given("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(given("A="), Ok(("A".into(), String::new())));
        assert_eq!(given("PATH").map(|(_, value)| value), Ok(std::env::var("PATH").unwrap()));
        assert!(given("=x").is_err());
        let error = given("LOCKGATE_TEST_UNSET").unwrap_err();
        assert!(error.contains("`LOCKGATE_TEST_UNSET` is not set"), "{error}");
    }
}
