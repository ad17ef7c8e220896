//! `lockgate wrap`: one stdio server over HTTP, without a configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::EXIT_CODES;
use super::logging::{self, Format};
use super::service::{Door, Service, parse_address};
use super::single::{self, Sharing};
use crate::config::{Config, Isolation, Loaded, Server};

/// `lockgate wrap`
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  lockgate wrap -- npx -y @modelcontextprotocol/server-everything
  lockgate wrap --listen :9000 --env API_KEY -- ./my-server --verbose
  lockgate wrap --ignore-tool 'delete_*' -- notes-server

The command runs without a shell. It gets the variables of --env and a few harmless ones (PATH, HOME,
LANG, …), nothing else of this environment.
{EXIT_CODES}"))]
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
    #[command(flatten)]
    common: single::Common,
    /// The server: a program that speaks MCP on stdin and stdout, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Does it.
pub fn run(arguments: Arguments, logging: &logging::Options) -> anyhow::Result<ExitCode> {
    let mut words = arguments.command.into_iter();
    let command = words.next().unwrap_or_default();
    let name = single::name_of_program(&command);
    let server = Server {
        command: Some(command),
        args: words.collect(),
        env: arguments.env.into_iter().collect(),
        cwd: arguments.cwd,
        isolation: Isolation::from(arguments.isolation),
        ..Server::default()
    };
    let servers = [(name.clone(), server)].into();
    let mut config = Config { listen: Some(arguments.listen), servers, ..Config::default() };
    arguments.common.apply(&mut config);
    let loaded = Loaded::from_config(config, single::ORIGIN)?;
    let built_in = arguments.common.filters();
    Service { loaded, door: Door::Bare(name), built_in, json: logging.log_format == Format::Json }.run()
}
