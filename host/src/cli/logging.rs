//! Logs: always to stderr, colour only on a terminal, JSON where a program reads them.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Flags that every command has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct Options {
    /// How much is logged: error, warn, info, debug, trace, or directives such as lockgate=debug
    #[arg(long, global = true, value_name = "LEVEL", env = "LOCKGATE_LOG")]
    pub log_level: Option<String>,
    /// How it is logged
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_default_value = true,
        value_name = "FORMAT"
    )]
    pub log_format: Format,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// Sends all logs of this process to stderr, from `level` on unless the options name another.
///
/// # Errors
/// The level is none. The text is for the user.
pub fn install(options: &Options, level: &str) -> Result<(), String> {
    let filter = filter(options.log_level.as_deref().unwrap_or(level))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Already installed is fine: a program that embeds this one has its own.
    let _ = match options.log_format {
        Format::Json => logs.json().flatten_event(true).with_current_span(false).try_init(),
        Format::Text => logs.with_target(false).with_ansi(colour()).try_init(),
    };
    Ok(())
}

/// Whether stderr may be coloured: it is a terminal, and nobody asked for plain text.
pub fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stderr().is_terminal()
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let words = level.contains(['=', ',']);
    let lower = level.trim().to_ascii_lowercase();
    if !words && !LEVELS.contains(&lower.as_str()) {
        let near = crate::config::problem::nearest(level, LEVELS);
        let tip = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
        return Err(format!("`{level}` is no log level{tip}\n  allowed: {}", LEVELS.join(", ")));
    }
    // Libraries say what concerns their authors; what is asked for is Lockgate's own level, and that
    // of calls, servers and plugins, which log under these names.
    let directives = match lower.as_str() {
        _ if words => level.trim().to_owned(),
        "info" | "debug" | "trace" => {
            format!("warn,lockgate={lower},call={lower},server={lower},plugin={lower}")
        }
        _ => lower,
    };
    EnvFilter::builder().parse(&directives).map_err(|e| {
        format!("the log level `{level}` cannot be read: {e}\n  write it like `debug` or `lockgate=debug`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_read() {
        for good in ["info", "DEBUG", "off", "lockgate=trace,hyper=warn"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        let error = filter("inof").map(|_| ()).unwrap_err();
        assert!(error.contains("did you mean `info`?") && error.contains("allowed: error"), "{error}");
        assert!(filter("lockgate=loud").is_err());
    }
}
