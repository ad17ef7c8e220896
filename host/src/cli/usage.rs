//! What is said to a command line that was not understood.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Error};

use super::{Cli, EXIT_CODES};
use crate::config::mask;
use crate::config::problem::nearest;

/// What other programs call what an option does here.
const OTHER_NAMES: [(&str, &[&str]); 11] = [
    ("listen", &["port", "host", "bind", "address", "addr", "listen-address"]),
    ("config", &["file", "conf", "configuration", "config-file", "settings"]),
    ("log-level", &["verbose", "debug", "quiet", "loglevel", "log", "verbosity"]),
    ("log-format", &["json-logs", "log-json"]),
    ("output", &["json", "format"]),
    ("ignore-tool", &["hide-tool", "exclude-tool", "deny-tool", "disable-tool", "block-tool", "exclude"]),
    ("allowed-origin", &["cors", "cors-origin", "allow-origin"]),
    ("allowed-host", &["allow-host", "hostname", "server-name"]),
    ("allow-http", &["insecure", "allow-insecure", "no-tls"]),
    ("enable-proxy", &["proxy", "use-proxy"]),
    ("cwd", &["dir", "directory", "workdir", "working-directory"]),
];

/// The command line, with the exit codes in the help of every command.
pub fn command() -> Command {
    fn with_exit_codes(command: Command) -> Command {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let help = format!("{help}\n\n{EXIT_CODES}");
        command
            .after_help(help.trim_start().to_owned())
            .disable_help_subcommand(true)
            .mut_subcommands(with_exit_codes)
    }
    with_exit_codes(Cli::command())
}

/// The arguments of this process: `help serve` means `serve --help`, also for `plugin` and `config`.
pub fn arguments(mut given: Vec<OsString>) -> Vec<OsString> {
    let is = |at: usize, words: &[&str]| given.get(at).is_some_and(|word| words.iter().any(|w| word == w));
    let at = if is(1, &["help"]) {
        1
    } else if is(1, &["plugin", "config"]) && is(2, &["help"]) {
        2
    } else {
        return given;
    };
    given.remove(at);
    given.push("--help".into());
    given
}

/// Makes an error fit for its reader: without secrets, and with what was probably meant.
pub fn complete(error: &mut Error, given: &[OsString]) {
    let tip = tip(error, given);
    mask(error);
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
}

fn tip(error: &Error, given: &[OsString]) -> Option<String> {
    let suggests = |kind| error.get(kind).is_some();
    if suggests(ContextKind::SuggestedArg) || suggests(ContextKind::SuggestedSubcommand) {
        return None;
    }
    let words = || given.iter().skip(1).filter_map(|word| word.to_str());
    let mut command = command();
    command.build();
    let mut command = &command;
    for word in words() {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let has = |option: &str| command.get_arguments().any(|a| a.get_long() == Some(option));
    let wrong = match error.kind() {
        ErrorKind::UnknownArgument => text(error, ContextKind::InvalidArg)?,
        ErrorKind::InvalidSubcommand => text(error, ContextKind::InvalidSubcommand)?,
        _ => return None,
    };
    if let Some(name) = wrong.strip_prefix("--") {
        let name = name.split('=').next().unwrap_or_default();
        let others = OTHER_NAMES.iter().filter(|(option, _)| has(option));
        let known = others.flat_map(|(option, names)| names.iter().map(|name| (*name, *option)));
        let known: Vec<(&str, &str)> = known.collect();
        let near = nearest(name, known.iter().map(|(name, _)| *name))?;
        let (_, option) = known.iter().find(|(name, _)| *name == near)?;
        return Some(format!("did you mean '--{option}'?"));
    }
    let ending = wrong.rsplit_once('.').map_or("", |(_, ending)| ending);
    if ["yaml", "yml", "json", "toml"].contains(&ending) {
        return Some(match error.kind() {
            ErrorKind::InvalidSubcommand => {
                format!("a configuration is served with 'lockgate serve --config {wrong}'")
            }
            _ if has("config") => format!("name the configuration with '--config {wrong}'"),
            _ => return None,
        });
    }
    if error.kind() == ErrorKind::InvalidSubcommand && wrong.contains("://") {
        return Some(format!("a remote server is served with 'lockgate connect {}'", mask::url(&wrong)));
    }
    (has("listen") && super::service::parse_address(&format!(":{}", wrong.trim_start_matches(':'))).is_ok())
        .then(|| format!("say where to listen with '--listen :{}'", wrong.trim_start_matches(':')))
}

/// Takes secrets out of an error: what was given in the wrong place may be one.
fn mask(error: &mut Error) {
    let option = text(error, ContextKind::InvalidArg).unwrap_or_default();
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
        let Some(given) = text(error, kind) else { continue };
        let shown = match (kind, option.split(['=', ' ']).next()) {
            (ContextKind::InvalidValue, Some("--header")) => mask::header(&given),
            (ContextKind::InvalidValue, Some("--env")) => mask::variable(&given),
            (ContextKind::InvalidArg, _) if given.contains('<') => given.clone(),
            _ => mask::word(&given),
        };
        if shown != given {
            error.insert(kind, ContextValue::String(shown));
            // A tip repeats what was given.
            error.remove(ContextKind::Suggested);
        }
    }
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_a_command_too() {
        let of = |words: &[&str]| arguments(words.iter().map(OsString::from).collect());
        assert_eq!(of(&["lockgate", "help", "serve"]), ["lockgate", "serve", "--help"]);
        assert_eq!(of(&["lockgate", "help"]), ["lockgate", "--help"]);
        assert_eq!(of(&["lockgate", "plugin", "help", "build"]), ["lockgate", "plugin", "build", "--help"]);
        assert_eq!(of(&["lockgate", "wrap", "help"]), ["lockgate", "wrap", "help"]);
    }
}
