//! `lockgate serve`: the servers of a configuration file.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use super::ConfigFile;
use super::logging::{self, Format};
use super::service::{Door, Service, parse_address};
use crate::config::load;

/// `lockgate serve`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockgate serve --config lockgate.yaml
  lockgate serve --listen 127.0.0.1:9000
  lockgate serve --stdio notes           for a client that starts Lockgate itself

SIGTERM and Ctrl-C let calls in flight finish (limits.drain_seconds); a second one ends at once.
SIGHUP reads the configuration and the plugins again.")]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Listen here instead of at the configuration's `listen`; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// Serve one server over stdin and stdout, without HTTP
    #[arg(long, value_name = "SERVER", conflicts_with = "listen")]
    stdio: Option<String>,
}

/// Does it.
pub fn run(arguments: Arguments, logging: &logging::Options) -> anyhow::Result<ExitCode> {
    let mut loaded = load(&arguments.file.config)?;
    if let Some(address) = arguments.listen {
        loaded.config.listen = Some(address);
    }
    let door = match arguments.stdio {
        Some(server) => {
            super::known_server(&loaded, &server)?;
            Door::Stdio(server)
        }
        None => Door::Http,
    };
    let json = logging.log_format == Format::Json;
    Service { loaded, door, built_in: Vec::new(), json, ignored: Vec::new() }.run()
}
