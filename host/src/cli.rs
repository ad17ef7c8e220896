//! The command line: what can be asked, and how answers and errors are said.
//!
//! One file per subcommand. stdout is for what was asked for; everything else goes to stderr.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};

mod banner;
mod check;
mod config;
mod connect;
mod explain;
mod logging;
mod plugin;
mod plugin_build;
mod probe;
mod report;
mod serve;
mod service;
mod signals;
mod single;
mod stack;
mod table;
mod usage;
mod wrap;

/// What a program that ends says about itself.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

const HELP: &str = "\
Examples:
  lockgate wrap -- npx -y some-server    serve a stdio server over HTTP
  lockgate connect https://a.example/mcp a remote server for a client that starts programs
  lockgate serve                         serve what ./lockgate.yaml describes
  lockgate check                         why does it not work?
  lockgate plugin inspect redact.wasm    what does this plugin do and want?

A configuration to begin with (lockgate.yaml):
  servers:
    notes: { command: node, args: [server.js] }

`lockgate help COMMAND` or `lockgate COMMAND --help` has examples of each.";

/// A programmable proxy for the Model Context Protocol
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, after_help = HELP, disable_help_subcommand = true, disable_help_flag = true)]
struct Cli {
    /// Print help
    // One form of help, the one that fits a screen, for -h and --help.
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
    #[command(flatten)]
    logging: logging::Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as a server in front of the configured MCP servers
    Serve(serve::Arguments),
    /// Serve one stdio server over HTTP: no configuration file needed
    Wrap(wrap::Arguments),
    /// Serve one remote server over stdio, or to several clients over HTTP
    Connect(connect::Arguments),
    /// Load everything, connect to every server, and say what works and what does not
    Check(check::Arguments),
    /// Build, inspect and explain plugins
    #[command(
        subcommand,
        after_help = "\
Examples:
  lockgate plugin inspect plugins/redact.wasm
  lockgate plugin explain --server notes --name delete_note"
    )]
    Plugin(PluginCommand),
    /// Print the configuration's schema, or the configuration as it takes effect
    #[command(
        subcommand,
        after_help = "\
Examples:
  lockgate config show --config lockgate.yaml
  lockgate config schema > lockgate.schema.json"
    )]
    Config(config::Command),
    /// Prepares one plugin in a process of its own; Lockgate calls this itself
    #[command(hide = true)]
    PluginPrepare,
    /// Ends what a killed Lockgate left behind; Lockgate calls this itself
    #[command(hide = true)]
    GuardChildren,
}

/// Write and understand plugins
#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Build a plugin from its source into a component
    Build(BuildArguments),
    /// Show what a plugin exports, imports and wants, without running it
    Inspect(plugin::Arguments),
    /// Tell which filters a call would pass, in which order, and why
    Explain(explain::Arguments),
}

/// `lockgate plugin build`
#[derive(Debug, Args)]
#[command(after_help = "Example: lockgate plugin build ./my-filter --out ./plugins/my-filter.wasm")]
pub struct BuildArguments {
    /// The plugin's folder
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub source: PathBuf,
    /// Where to write the component; beside the source's build output if not given
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// For whom output is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// `--config`, as every command has it that reads a configuration.
#[derive(Clone, Debug, Args)]
pub struct ConfigFile {
    /// The configuration: .yaml, .json or .toml; `-` reads standard input
    #[arg(long, short, value_name = "FILE", default_value = crate::config::DEFAULT_FILE, env = "LOCKGATE_CONFIG", hide_env = true)]
    pub config: PathBuf,
}

/// Does what the arguments of this process ask for.
pub fn run() -> ExitCode {
    report::install_panic_message();
    give_memory_back();
    let given = usage::arguments(std::env::args_os().collect());
    let matches = match usage::command().try_get_matches_from(&given) {
        Ok(matches) => matches,
        Err(mut error) => {
            // Help and version come here as well; clap knows which stream and which code.
            usage::complete(&mut error, &given);
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(mut error) => {
            usage::complete(&mut error, &given);
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    let Some(command) = cli.command else {
        let _ = usage::command().print_help();
        return ExitCode::SUCCESS;
    };
    // What other commands have to say stands in their output.
    let serves = matches!(command, Command::Serve(_) | Command::Wrap(_) | Command::Connect(_));
    let level = if serves { "info" } else { "warn" };
    // These talk to their parent over pipes and log nothing of their own.
    if !matches!(command, Command::PluginPrepare | Command::GuardChildren)
        && let Err(message) = logging::install(&cli.logging, level)
    {
        report::usage(&message);
        return ExitCode::from(2);
    }
    crate::upstream::guard::install_itself(vec!["guard-children".to_owned()]);
    let outcome = match command {
        Command::Serve(arguments) => serve::run(arguments, &cli.logging),
        Command::Connect(arguments) => connect::run(arguments, &cli.logging),
        Command::Wrap(arguments) => wrap::run(arguments, &cli.logging),
        Command::Check(arguments) => check::run(arguments),
        Command::Plugin(PluginCommand::Build(arguments)) => plugin_build::run(arguments),
        Command::Plugin(PluginCommand::Inspect(arguments)) => plugin::run(arguments),
        Command::Plugin(PluginCommand::Explain(arguments)) => explain::run(arguments),
        Command::Config(command) => config::run(command),
        Command::PluginPrepare => Ok(crate::plugin::prepare::run_prepare()),
        Command::GuardChildren => Ok(crate::upstream::guard::run()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            report::failure(&error);
            ExitCode::FAILURE
        }
    }
}

/// Has large messages take memory only while they are there. By itself glibc raises the size from which
/// on it maps a block of its own with every such block that is freed, and what it then carves out of a
/// heap instead is scattered over the heaps of all threads and stays.
fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: a call with two numbers, before there are other threads.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Writes to stdout. A reader that went away (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A chain that cannot be had serves nothing and explains nothing.
fn refuse_problems(stack: &stack::Stack) -> anyhow::Result<()> {
    if stack.problems().is_empty() {
        return Ok(());
    }
    Err(report::Several(stack.problems().to_vec()).into())
}

/// Refuses a server that the configuration does not have.
fn known_server(loaded: &crate::config::Loaded, name: &str) -> anyhow::Result<()> {
    let servers = &loaded.config.servers;
    match servers.get(name) {
        Some(server) if !server.disabled => Ok(()),
        Some(_) => anyhow::bail!(
            "server `{name}` is disabled in {}\n  remove `disabled` to serve it",
            loaded.path.display()
        ),
        None => {
            let names = || servers.keys().map(String::as_str);
            let tip = crate::config::problem::nearest(name, names())
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            let all = crate::config::problem::quoted(names());
            anyhow::bail!("no server `{name}` in {}{tip}\n  configured servers: {all}", loaded.path.display())
        }
    }
}

/// The runtime that everything asynchronous runs on.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start worker threads")
}

/// `30s`, `500ms`, `2m`; a bare number means seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "write it like 30s, 500ms or 2m".to_owned())?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(format!("`{unit}` is no unit; write it like 30s, 500ms or 2m")),
    };
    if duration.is_zero() || duration > Duration::from_secs(3600) {
        return Err("allowed is more than nothing and up to 60m".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        usage::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_and_its_help_fits_a_screen() {
        fn walk(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
                let path = format!("{path} {}", sub.get_name());
                let help = sub.clone().term_width(100).render_help().to_string();
                assert!(help.lines().count() <= 48, "{path} has {} lines:\n{help}", help.lines().count());
                assert!(help.contains("Example"), "{path} has no example:\n{help}");
                assert!(help.contains(EXIT_CODES), "{path} does not say its exit codes:\n{help}");
                walk(sub, &path);
            }
        }
        let mut command = usage::command();
        command.build();
        walk(&command, "lockgate");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "0s", "-1s", "5h", "1.5s", "99999999999999999999s", "61m"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
