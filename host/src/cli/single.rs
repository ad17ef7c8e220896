//! What `wrap` and `connect` have in common: one server that is told in flags.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::host::{wrong_host, wrong_origin};
use crate::config::problem::nearest;
use crate::config::validate::{GLOB_HELP, RESERVED};
use crate::config::{Config, Isolation, Limits, mask};
use crate::filter::glob;
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
    #[arg(long, value_name = "GLOB", value_parser = parse_glob)]
    ignore_tool: Vec<String>,
    /// Longest wait for the server to start, and for one answer: 500ms, 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = super::parse_duration, default_value = "60s")]
    timeout: Duration,
    /// Serve whoever can reach an address beyond this machine
    #[arg(long)]
    allow_unauthenticated: bool,
    /// Accept this `Host` too: a name under which clients reach Lockgate. Repeatable
    #[arg(long, value_name = "HOST[:PORT]", value_parser = parse_host)]
    allowed_host: Vec<String>,
    /// Accept this `Origin` too: of web pages that may call. Repeatable
    #[arg(long, value_name = "ORIGIN", value_parser = parse_origin)]
    allowed_origin: Vec<String>,
    /// Let web pages of this machine, such as MCP Inspector, read the answers
    #[arg(long)]
    allow_loopback_origins: bool,
    /// Set a bound that errors name as `limits.KEY`. Repeatable
    #[arg(long, value_name = "KEY=NUMBER", value_parser = parse_limit)]
    limit: Vec<(String, u64)>,
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
        config.http.allowed_hosts.clone_from(&self.allowed_host);
        config.http.allowed_origins.clone_from(&self.allowed_origin);
        config.http.allow_loopback_origins = self.allow_loopback_origins;
        config.http.in_flags = true;
        for (key, number) in &self.limit {
            // Checked when it was read.
            if let Ok(limits) = with_limit(&config.limits, key, *number) {
                config.limits = limits;
            }
        }
    }

    /// The filters they ask for. `warn`: whether the filter itself says what hides nothing, as nobody else
    /// has seen the server's tools.
    pub fn filters(&self, warn: bool) -> Vec<Arc<Placed>> {
        match self.ignore_tool.as_slice() {
            [] => Vec::new(),
            globs => vec![ignore_tools(globs.to_vec(), warn)],
        }
    }

    /// The globs of tools that are hidden.
    pub fn ignored(&self) -> Vec<String> {
        self.ignore_tool.clone()
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
        // What stands there may be the value.
        None if !mask::is_variable(text) => {
            return Err("it is no name of a variable; write `KEY=VALUE`".to_owned());
        }
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

/// A glob that can cover the name of a tool.
fn parse_glob(text: &str) -> Result<String, String> {
    if text.is_empty() || glob::literal(text) {
        return Err(format!("no tool is called like that: {GLOB_HELP}"));
    }
    Ok(text.to_owned())
}

fn parse_host(text: &str) -> Result<String, String> {
    wrong_host(text).map_or_else(|| Ok(text.to_owned()), |help| Err(help.to_owned()))
}

fn parse_origin(text: &str) -> Result<String, String> {
    wrong_origin(text).map_or_else(|| Ok(text.to_owned()), |help| Err(help.to_owned()))
}

/// `KEY=NUMBER`, with or without the `limits.` that errors and files have before it.
fn parse_limit(text: &str) -> Result<(String, u64), String> {
    let Some((key, number)) = text.split_once('=') else {
        return Err("write it like `sessions=100`".to_owned());
    };
    let key = key.strip_prefix("limits.").unwrap_or(key);
    let number = number.parse().map_err(|_| format!("`{key}` is a whole number; the name says its unit"))?;
    with_limit(&Limits::default(), key, number)?;
    Ok((key.to_owned(), number))
}

/// The bounds with another value for one of them.
fn with_limit(limits: &Limits, key: &str, number: u64) -> Result<Limits, String> {
    let mut all = serde_json::to_value(limits).map_err(|e| e.to_string())?;
    let known: Vec<String> = all.as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
    let Some(value) = all.get_mut(key) else {
        let near = nearest(key, known.iter().map(String::as_str));
        let tip = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(format!(
            "there is no bound of that name{tip} docs/configuration.md lists them under `limits`"
        ));
    };
    *value = number.into();
    serde_json::from_value(all).map_err(|_| format!("{number} is more than `{key}` can be"))
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
    fn bounds_are_set_by_the_names_that_errors_have_for_them() {
        assert_eq!(parse_limit("sessions=7"), Ok(("sessions".into(), 7)));
        assert_eq!(parse_limit("limits.sessions=7"), Ok(("sessions".into(), 7)));
        assert_eq!(with_limit(&Limits::default(), "sessions", 7).unwrap().sessions, 7);
        for (bad, part) in [
            ("sessions", "write it like"),
            ("sesions=7", "did you mean `sessions`?"),
            ("sessions=many", "a whole number"),
            ("sessions=-1", "a whole number"),
            ("message_depth=70000", "more than `message_depth` can be"),
        ] {
            assert!(parse_limit(bad).unwrap_err().contains(part), "{bad}");
        }
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
