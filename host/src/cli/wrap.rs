//! `lockgate wrap`: one stdio server over HTTP, without a configuration file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::logging::{self, Format};
use super::report;
use super::service::{Door, Service, parse_address};
use super::single::{self, Sharing};
use crate::config::{Config, Isolation, Loaded, Server, mask};

/// `lockgate wrap`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockgate wrap -- npx -y @modelcontextprotocol/server-everything
  lockgate wrap --listen :9000 --env API_KEY -- ./my-server --verbose
  lockgate wrap --ignore-tool 'delete_*' -- notes-server

The command runs without a shell. It gets the variables of --env and a few harmless ones (PATH, HOME,
LANG, …), nothing else of this environment.")]
pub struct Arguments {
    /// Listen here; `:8080` is this machine only, port 0 takes a free one
    #[arg(long, short, value_name = "ADDRESS:PORT", value_parser = parse_address,
        default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A variable for the command; `KEY` alone passes on the one that is set. Repeatable
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = single::parse_variable)]
    env: Vec<(String, String)>,
    /// Where the command runs
    #[arg(long, value_name = "DIR", value_parser = single::parse_folder)]
    cwd: Option<PathBuf>,
    /// Who shares one process: each client session has its own, or all share one
    #[arg(long, value_enum, value_name = "WHO", default_value_t)]
    isolation: Sharing,
    /// Most processes of the command at once (8); further sessions are told to try again
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    processes: Option<u32>,
    #[command(flatten)]
    common: single::Common,
    /// The server: a program that speaks MCP on stdin and stdout, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Does it.
pub fn run(arguments: Arguments, logging: &logging::Options) -> anyhow::Result<ExitCode> {
    if let Some(wrong) = misplaced(&arguments).or_else(|| quoted(&arguments)) {
        report::usage(&wrong);
        return Ok(ExitCode::from(2));
    }
    let mut words = arguments.command.into_iter();
    let command = words.next().unwrap_or_default();
    let name = single::name_of_program(&command);
    let server = Server {
        command: Some(command),
        args: words.collect(),
        env: arguments.env.into_iter().collect(),
        cwd: arguments.cwd,
        isolation: Isolation::from(arguments.isolation),
        in_flags: true,
        ..Server::default()
    };
    let servers = [(name.clone(), server)].into();
    let mut config = Config { listen: Some(arguments.listen), servers, ..Config::default() };
    if let Some(processes) = arguments.processes {
        config.limits.children_per_server = processes;
        config.limits.children = config.limits.children.max(processes);
    }
    arguments.common.apply(&mut config);
    let loaded = Loaded::from_config(config, single::ORIGIN)?;
    let built_in = arguments.common.filters(false);
    let json = logging.log_format == Format::Json;
    let ignored = arguments.common.ignored();
    Service { loaded, door: Door::Bare(name), built_in, json, ignored }.run()
}

/// An option of `wrap` that stands after the program and would go to it, unless `--` says that it is
/// meant to.
fn misplaced(arguments: &Arguments) -> Option<String> {
    let given: Vec<OsString> = std::env::args_os().collect();
    let begin = given.len().checked_sub(arguments.command.len())?;
    if begin.checked_sub(1).and_then(|i| given.get(i)).is_some_and(|word| word == "--") {
        return None;
    }
    let own = Arguments::augment_args(clap::Command::new("wrap"));
    let own = super::logging::Options::augment_args(own);
    let after = arguments.command.get(1..)?;
    let option = after.iter().find_map(|word| {
        let name = word.split('=').next()?;
        own.get_arguments()
            .any(|a| {
                a.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
                    || a.get_short()
                        .is_some_and(|short| name.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4])))
            })
            .then_some(name)
    })?;
    let program = mask::word(arguments.command.first()?);
    Some(format!(
        "`{option}` stands after the program, so `{program}` would get it\n  \
         for Lockgate, write it before: lockgate wrap {option} … -- {program} …\n  \
         for the program, write `--` before that: lockgate wrap -- {program} … {option} …"
    ))
}

/// A whole command line given as one word: there is no shell that splits it.
fn quoted(arguments: &Arguments) -> Option<String> {
    let command = arguments.command.first()?;
    if command.starts_with("http://") || command.starts_with("https://") {
        let shown = mask::url(command);
        return Some(format!(
            "`{shown}` is a URL, not a program\n  for a remote server: lockgate connect {shown}"
        ));
    }
    if !command.contains(char::is_whitespace) || std::path::Path::new(command).exists() {
        return None;
    }
    let shown = mask::word(command);
    Some(format!(
        "there is no program `{shown}`: the command is run without a shell, and this is one word\n  \
         remove the quotes: lockgate wrap -- {shown}"
    ))
}
