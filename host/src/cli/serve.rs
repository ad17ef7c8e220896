//! `lockgate serve`: the servers of a configuration file.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use super::logging::{self, Format};
<<<<<<< HEAD
use super::signals::{self, End, Event, Signal};
use super::stack::Stack;
use super::{ConfigFile, EXIT_CODES, report};
use crate::config::validate::check_exposure;
use crate::config::{Loaded, load};
use crate::keys;

mod port;
mod preflight;

pub use preflight::missing_command;
=======
use super::service::{Door, Service, parse_address};
use super::{ConfigFile, EXIT_CODES};
use crate::config::load;
>>>>>>> main

/// `lockgate serve`
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  lockgate serve --config lockgate.yaml
  lockgate serve --listen 127.0.0.1:9000
  lockgate serve --stdio notes           for a client that starts Lockgate itself

SIGTERM and Ctrl-C let calls in flight finish (limits.drain_seconds); a second one ends at once.
SIGHUP reads the configuration and the plugins again.
{EXIT_CODES}"))]
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
<<<<<<< HEAD
    report::warnings(&loaded);
    // Over stdio there is one client for the life of this process: nothing sealed outlives it.
    if arguments.stdio.is_none() && loaded.config.keys.is_empty() {
        loaded.config.keys.extend(keys::kept(&loaded.config)?);
    }
    let runtime = super::runtime()?;
    let json = logging.log_format == Format::Json;
    let end = runtime.block_on(serve(Arc::new(loaded), arguments.stdio, json));
    // A blocking read of stdin cannot be interrupted: whoever waits for it would wait for ever.
    runtime.shutdown_background();
    Ok(match end? {
        End::Cut(Signal::Interrupt) => ExitCode::from(130),
        End::Cut(_) => ExitCode::FAILURE,
        End::Finished => ExitCode::SUCCESS,
    })
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write it like 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080".to_owned())
}

async fn serve(loaded: Arc<Loaded>, stdio: Option<String>, json: bool) -> anyhow::Result<End> {
    if let Some(name) = &stdio {
        super::known_server(&loaded, name)?;
    }
    // Only listed filters may authenticate: without any, nothing needs to be compiled to know.
    if stdio.is_none() && loaded.config.filters.is_empty() {
        check_exposure(&loaded.config, false).map_err(report::Plain::from)?;
    }
    // Signals first: one that comes while plugins are compiled must end this process as well.
    let mut signals = signals::receive()?;
    // The port is taken before anything is compiled or started, and listened on when all is ready.
    let socket = match &stdio {
        None => Some(port::take(loaded.config.listen_address())?),
        Some(_) => None,
=======
    let door = match arguments.stdio {
        Some(server) => {
            super::known_server(&loaded, &server)?;
            Door::Stdio(server)
        }
        None => Door::Http,
>>>>>>> main
    };
    Service { loaded, door, built_in: Vec::new(), json: logging.log_format == Format::Json }.run()
}
