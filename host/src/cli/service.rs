//! A process that serves: from a configuration to `ready`, and to its end.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::banner::{Entrance, banner};
use super::report;
use super::signals::{self, End, Event, Signal};
use super::stack::{Stack, open_servers};
use crate::config::validate::check_exposure;
use crate::config::{Loaded, Problem};
use crate::filter::placed::Placed;
use crate::keys;

mod port;
mod preflight;

pub use preflight::missing_command;

/// What one process serves, and where.
pub struct Service {
    /// The configuration, from a file or from flags.
    pub loaded: Loaded,
    /// Where clients come in.
    pub door: Door,
    /// Filters that are no plugins. They stand before all others.
    pub built_in: Vec<Arc<Placed>>,
    /// Whether programs read what is said.
    pub json: bool,
    /// Globs of tools that flags hide.
    pub ignored: Vec<String>,
}

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// Over HTTP, every server under its name.
    Http,
    /// Over HTTP, to the one server there is. It must work before anything is said to be ready.
    Bare(String),
    /// Over stdin and stdout, to one server.
    Stdio(String),
}

impl Service {
    /// Serves until a signal or, on stdio, the end of the client.
    ///
    /// # Errors
    /// It cannot begin. The text is for the user.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        report::warnings(&self.loaded);
        let mut service = self;
        service.keep_key()?;
        let runtime = super::runtime()?;
        let end = runtime.block_on(service.serve());
        // A blocking read of stdin cannot be interrupted: whoever waits for it would wait for ever.
        runtime.shutdown_background();
        Ok(match end? {
            End::Cut(Signal::Interrupt) => ExitCode::from(130),
            End::Cut(_) => ExitCode::FAILURE,
            End::Finished => ExitCode::SUCCESS,
        })
    }

    /// The key of this machine, where the configuration has none. In front of a single server nothing
    /// that is sealed is worth keeping: with the process, its server's own cursors end as well.
    fn keep_key(&mut self) -> anyhow::Result<()> {
        let config = &mut self.loaded.config;
        if self.door == Door::Http && config.keys.is_empty() {
            config.keys.extend(keys::kept(config)?);
        }
        Ok(())
    }

    async fn serve(self) -> anyhow::Result<End> {
        let Service { loaded, door, built_in, json, ignored } = self;
        let loaded = Arc::new(loaded);
        // Only listed filters may authenticate: without any, nothing needs to be compiled to know.
        if loaded.config.filters.is_empty() {
            check_open(&loaded, &door, &[])?;
        }
        // Signals first: one that comes while plugins are compiled must end this process as well.
        let mut signals = signals::receive()?;
        // The port is taken before anything is compiled or started, and listened on when all is ready.
        let socket = match &door {
            Door::Stdio(_) => None,
            Door::Http | Door::Bare(_) => Some(port::take(loaded.config.listen_address())?),
        };
        let started = async {
            let stack = Stack::assemble(&loaded, built_in).await;
            super::refuse_problems(&stack)?;
            check_open(&loaded, &door, &stack.placed())?;
            match &door {
                Door::Bare(server) => preflight::insist(&loaded, &stack, server, &ignored).await?,
                Door::Http | Door::Stdio(_) => preflight::check(&loaded, &stack).await?,
            }
            anyhow::Ok(stack)
        };
        let stack = tokio::select! {
            stack = started => stack?,
            signal = interrupted(&mut signals) => return Ok(End::Cut(signal)),
        };
        stack.watch(Arc::clone(&loaded), socket.is_some());
        let shutdown = CancellationToken::new();
        let tell = |event| tell(&loaded, &stack, event);
        let end = match (socket, &door) {
            (None, Door::Http | Door::Bare(_)) => anyhow::bail!("nothing to serve on"),
            (_, Door::Stdio(server)) => {
                announce(&loaded, &stack, Entrance::Stdio(server), json);
                signals::supervise(stack.serve_stdio(server, shutdown.clone()), signals, &shutdown, tell)
                    .await
            }
            (Some(socket), door) => {
                let listener = socket.listen()?;
                let bare = match door {
                    Door::Bare(server) => Some(server.as_str()),
                    Door::Http | Door::Stdio(_) => None,
                };
                announce(&loaded, &stack, entrance(listener.local_addr()?, bare), json);
                let serving = stack.serve_http(listener, bare, shutdown.clone());
                signals::supervise(serving, signals, &shutdown, tell).await
            }
        };
        if end == End::Finished {
            stack.close().await;
        }
        Ok(end)
    }
}

/// `ADDRESS:PORT`. Without an address, and for `localhost`, it is this machine only.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':'));
    let address = port.map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    address.parse().map_err(|_| "write it like 127.0.0.1:8080, :8080, 0.0.0.0:8080 or [::1]:8080".to_owned())
}

fn entrance(address: SocketAddr, bare: Option<&str>) -> Entrance<'_> {
    match bare {
        Some(server) => Entrance::Bare(address, server),
        None => Entrance::Http(address),
    }
}

/// Refuses to serve whoever can reach the machine, with what the user of this command can do.
fn check_open(loaded: &Loaded, door: &Door, filters: &[Arc<Placed>]) -> Result<(), report::Plain> {
    let checked = match door {
        Door::Stdio(_) => Ok(()),
        Door::Http | Door::Bare(_) => check_exposure(&loaded.config, &open_servers(&loaded.config, filters)),
    };
    checked.map_err(|problem| match door {
        Door::Bare(_) => Problem::general(problem.message)
            .help("either listen on this machine only: `--listen 127.0.0.1:8080`")
            .help("or let everybody in on purpose: `--allow-unauthenticated`")
            .help("`lockgate serve` can authenticate: see `filters` in its configuration")
            .into(),
        Door::Http | Door::Stdio(_) => problem.into(),
    })
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
            Entrance::Bare(address, _) => format!("http://{address}/mcp"),
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
            stack.draining();
            let seconds = loaded.config.limits.drain_seconds;
            let again = match signal {
                Signal::Interrupt => "; Ctrl-C again ends at once",
                _ => "; another signal ends at once",
            };
            tracing::info!("ending: waiting up to {seconds} s for calls in flight{again}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_machine_is_this_one() {
        for (text, address) in [
            (":8080", "127.0.0.1:8080"),
            ("localhost:9", "127.0.0.1:9"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(parse_address(text).map(|a| a.to_string()).as_deref(), Ok(address), "{text}");
        }
        for bad in ["", "8080", ":", ":abc", ":99999", "example.com:80", "::1:80x", "localhost"] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}
