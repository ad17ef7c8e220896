//! `lockgate serve`: from a configuration file to a process that serves, and to its end.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::banner::{Entrance, banner};
use super::logging::{self, Format};
use super::signals::{self, End, Event, Signal};
use super::stack::Stack;
use super::{ConfigFile, EXIT_CODES, report};
use crate::config::validate::check_exposure;
use crate::config::{Loaded, load};
use crate::keys;

mod port;
mod preflight;

pub use preflight::missing_command;

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
    };
    let started = async {
        let stack = Stack::assemble(&loaded).await;
        super::refuse_problems(&stack)?;
        if stdio.is_none() {
            check_exposure(&loaded.config, stack.authenticates()).map_err(report::Plain::from)?;
        }
        preflight::check(&loaded, &stack).await?;
        anyhow::Ok(stack)
    };
    let stack = tokio::select! {
        stack = started => stack?,
        signal = interrupted(&mut signals) => return Ok(End::Cut(signal)),
    };
    stack.watch(Arc::clone(&loaded));
    let shutdown = CancellationToken::new();
    let end = match (socket, &stdio) {
        (Some(socket), _) => {
            let listener = socket.listen()?;
            announce(&loaded, &stack, Entrance::Http(listener.local_addr()?), json);
            let serving = stack.serve_http(listener, shutdown.clone());
            signals::supervise(serving, signals, &shutdown, |event| tell(&loaded, &stack, event)).await
        }
        (None, Some(name)) => {
            announce(&loaded, &stack, Entrance::Stdio(name), json);
            let serving = stack.serve_stdio(name, shutdown.clone());
            signals::supervise(serving, signals, &shutdown, |event| tell(&loaded, &stack, event)).await
        }
        (None, None) => bail!("nothing to serve on"),
    };
    if end == End::Finished {
        stack.close().await;
    }
    Ok(end)
}

/// Waits for a signal that ends a process that is still starting.
async fn interrupted(signals: &mut tokio::sync::mpsc::Receiver<Signal>) -> Signal {
    loop {
        match signals.recv().await {
            Some(Signal::Hangup) => {}
            Some(signal) => return signal,
            None => std::future::pending().await,
        }
    }
}

/// Says once what is served, and that it is ready: it is, as soon as the port is listened on.
fn announce(loaded: &Loaded, stack: &Stack, entrance: Entrance<'_>, json: bool) {
    if json {
        let filters: Vec<&str> =
            stack.filters().iter().filter(|f| f.serves).map(|f| f.name.as_str()).collect();
        let servers: Vec<&str> =
            loaded.config.servers.iter().filter(|(_, s)| !s.disabled).map(|(n, _)| n.as_str()).collect();
        let entrance = match entrance {
            Entrance::Http(address) => format!("http://{address}"),
            Entrance::Stdio(_) => "stdio".to_owned(),
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            on = entrance,
            servers = servers.join(","),
            filters = filters.join(","),
            "ready"
        );
        return;
    }
    // One write: nothing of the log comes between.
    eprintln!("{}ready", banner(loaded, stack.filters(), entrance));
}

fn tell(loaded: &Loaded, stack: &Stack, event: Event) {
    match event {
        Event::LookAgain => stack.look_again(),
        Event::Draining(signal) => {
            let seconds = loaded.config.limits.drain_seconds;
            let again = match signal {
                Signal::Interrupt => "; Ctrl-C again ends at once",
                _ => "; another signal ends at once",
            };
            tracing::info!("ending: waiting up to {seconds} s for calls in flight{again}");
        }
    }
}
