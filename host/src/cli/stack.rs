//! Configuration, plugins and gateway put together: what the commands command.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Loaded};
use crate::downstream::dial_out;
use crate::downstream::endpoint::{Endpoint, Served};
use crate::downstream::http::{HttpFront, Readiness};
use crate::downstream::stdio::serve_stdio;
use crate::filter::explain::{Explanation, explain};
use crate::filter::placed::Placed;
use crate::filter::{CallView, Hooks, Principal, Rejection};
use crate::gateway::Gateway;
use crate::plugin::assembly::{Assembly, Health, Level, Notice, Plugins, Status};
use crate::plugin::watch::{Trigger, Watch};
use crate::proxy::{Filtered, method_kinds};
use crate::upstream::{ExchangeDraft, Outgoing, Upstreams};

mod exposure;
mod reload;
mod together;

pub use exposure::open_servers;

/// One filter of the chain, as far as people are concerned.
#[derive(Clone, Debug)]
pub struct FilterReport {
    /// The filter.
    pub name: String,
    /// Its plugin.
    pub plugin: String,
    /// The plugin's version, if it tells.
    pub version: Option<String>,
    /// The plugin's file, if there is one.
    pub file: Option<PathBuf>,
    /// What it implements.
    pub hooks: Hooks,
    /// Whether any version of it is in the chain.
    pub serves: bool,
    /// Why it is not what was asked for, if so.
    pub problem: Option<String>,
}

/// One `lockgate`, put together.
pub struct Stack {
    gateway: Arc<Gateway>,
    /// None where the configuration names no directory: then nothing can ever be loaded.
    plugins: Option<Arc<Plugins>>,
    /// Filters that are no plugins, and stand before them.
    built_in: Vec<Arc<Placed>>,
    problems: Vec<String>,
    filters: Vec<FilterReport>,
    degraded: Arc<Mutex<bool>>,
    trigger: Mutex<Option<Trigger>>,
    asked: Arc<AtomicBool>,
    ended: CancellationToken,
}

impl Stack {
    /// Loads the plugins. A chain that cannot be had is no error here: [`Stack::problems`] says why,
    /// and the stack has no filters then, so it must not serve.
    /// `built_in` are filters that are no plugins: they stand before all others, and stay.
    pub async fn assemble(loaded: &Loaded, built_in: Vec<Arc<Placed>>) -> Stack {
        let config = Arc::new(loaded.config.clone());
        let mut stack = Stack {
            gateway: Gateway::new(Arc::clone(&config), built_in.clone()),
            plugins: None,
            problems: Vec::new(),
            filters: built_in.iter().map(|placed| built_in_report(placed)).collect(),
            built_in,
            degraded: Arc::default(),
            trigger: Mutex::default(),
            asked: Arc::default(),
            ended: CancellationToken::new(),
        };
        if config.plugins.dir.is_none() {
            return stack;
        }
        let plugins = match Plugins::open(&config) {
            Ok(plugins) => plugins,
            Err(error) => {
                stack.problems.push(format!("plugins cannot be loaded: {error}"));
                return stack;
            }
        };
        match plugins.assemble(&config).await {
            Ok(assembly) => {
                tell(&assembly.notices);
                stack.take(&config, &assembly);
            }
            Err(error) => {
                stack.filters.extend(error.statuses.iter().map(report));
                stack.problems = error.problems;
            }
        }
        stack.plugins = Some(Arc::new(plugins));
        stack
    }

    fn take(&mut self, config: &Arc<Config>, assembly: &Assembly) {
        self.filters.extend(assembly.statuses.iter().map(report));
        self.degraded = Arc::new(Mutex::new(is_degraded(&assembly.statuses)));
        if !assembly.filters.is_empty() {
            let filters = [self.built_in.as_slice(), &assembly.filters].concat();
            self.gateway = Gateway::new(Arc::clone(config), filters);
        }
    }

    /// Why the chain cannot be had: each names filter and file, what is wrong and what to do.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The chain as it was put together, in its order; with problems, what became of each filter.
    pub fn filters(&self) -> &[FilterReport] {
        &self.filters
    }

    /// The filters that serve, those that are no plugins included.
    pub fn placed(&self) -> Vec<Arc<Placed>> {
        self.gateway.snapshot().filters().to_vec()
    }

    /// The connections to the servers.
    pub fn upstreams(&self) -> &Upstreams {
        self.gateway.upstreams()
    }

    /// The `upstream` filters for exchanges that Lockgate makes for itself.
    pub fn outgoing(&self, server: &str) -> Arc<dyn Outgoing> {
        match self.gateway.snapshot().chain(server) {
            Some(chain) => Arc::new(Filtered {
                server: Arc::from(server),
                chain: Arc::clone(chain),
                method: Arc::from("initialize"),
                call: None,
                principal: None,
            }),
            None => Arc::new(Unfiltered),
        }
    }

    /// Which filters a call passes, in their order, and why.
    pub fn explain(&self, server: &str, method: &str, name: Option<&str>) -> Vec<Explanation> {
        let all = method_kinds();
        let kinds = all.iter().find(|(known, _)| *known == method).map_or(&[][..], |(_, kinds)| kinds);
        explain(self.gateway.snapshot().filters(), server, method, name, kinds, &all)
    }

    /// Watches the plugins from now on, and puts what changes into service. `listens`: clients come over
    /// the network, and who may reach the listener is judged for every generation.
    pub fn watch(&self, loaded: Arc<Loaded>, listens: bool) {
        let Some(plugins) = self.plugins.clone() else { return };
        let settings = &loaded.config.plugins;
        let watch = Watch::new(settings.dir.as_deref(), settings.watch);
        *self.trigger.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch.trigger());
        let reloading = reload::Reloading {
            gateway: Arc::clone(&self.gateway),
            built_in: self.built_in.clone(),
            plugins,
            loaded,
            listens,
            degraded: Arc::clone(&self.degraded),
            asked: Arc::clone(&self.asked),
        };
        let ended = self.ended.clone();
        tokio::spawn(async move { ended.run_until_cancelled(reloading.run(watch)).await });
    }

    /// Looks at configuration and plugins again, as after SIGHUP.
    pub fn look_again(&self) {
        match &*self.trigger.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(trigger) => {
                self.asked.store(true, Ordering::Relaxed);
                trigger.look_again();
            }
            None => tracing::warn!("nothing to look at again: `plugins.dir` is not set"),
        }
    }

    /// Serves clients over HTTP, and endpoints that it dials, until `shutdown`, then drains. `bare` is the one server that needs
    /// no name in the path, if there is one.
    pub async fn serve_http(&self, listener: TcpListener, bare: Option<&str>, shutdown: CancellationToken) {
        let degraded = Arc::clone(&self.degraded);
        let readiness = move || {
            let degraded = *degraded.lock().unwrap_or_else(PoisonError::into_inner);
            // What serves is the last good version: traffic may come, and somebody should look.
            Readiness { ready: true, status: if degraded { "degraded" } else { "ready" }.to_owned() }
        };
        let endpoint: Arc<dyn Endpoint> = Arc::new(Served(Arc::clone(&self.gateway)));
        let mut front = HttpFront::new(Arc::clone(&endpoint)).readiness(readiness);
        if let Some(server) = bare {
            front = front.bare(server);
        }
        tokio::join!(front.serve(listener, shutdown.clone()), dial_out::serve(endpoint, shutdown));
    }

    /// Serves one client over stdin and stdout until it is gone, or `shutdown`.
    pub async fn serve_stdio(&self, server: &str, shutdown: CancellationToken) {
        let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
        serve_stdio(Arc::clone(&self.gateway), server, input, output, shutdown).await;
    }

    /// A signal asked this process to end. Where no call is under way nothing needs time.
    pub fn draining(&self) {
        if self.gateway.calls_in_flight() == 0 {
            self.gateway.upstreams().hurry();
        }
    }

    /// Ends all connections and child processes, and stops watching.
    pub async fn close(&self) {
        self.ended.cancel();
        self.gateway.end();
        self.gateway.upstreams().shutdown().await;
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

fn built_in_report(placed: &Placed) -> FilterReport {
    FilterReport {
        name: placed.name.to_string(),
        plugin: placed.plugin.to_string(),
        version: placed.version.clone(),
        file: None,
        hooks: placed.hooks,
        serves: true,
        problem: None,
    }
}

fn report(status: &Status) -> FilterReport {
    FilterReport {
        name: status.name.to_string(),
        plugin: status.plugin.to_string(),
        version: status.version.clone(),
        file: status.file.clone(),
        hooks: status.hooks,
        serves: !matches!(status.health, Health::Failed { .. }),
        problem: match &status.health {
            Health::Serving => None,
            Health::Degraded { reason, .. } | Health::Failed { reason } => Some(reason.clone()),
        },
    }
}

fn is_degraded(statuses: &[Status]) -> bool {
    statuses.iter().any(|status| status.health != Health::Serving)
}

/// Logs what happened to filters, a line each.
fn tell(notices: &[Notice]) {
    for notice in notices {
        match notice.level {
            Level::Info => tracing::info!("{}", notice.text),
            Level::Warn => tracing::warn!("{}", notice.text),
            Level::Error => tracing::error!("{}", notice.text),
        }
    }
}

/// For servers that are not served: nothing is sent to them.
struct Unfiltered;

impl Outgoing for Unfiltered {
    fn exchange(&self, _: ExchangeDraft) -> BoxFuture<'_, Result<http::HeaderMap, Rejection>> {
        Box::pin(async { Ok(http::HeaderMap::new()) })
    }
    fn call(&self) -> Option<Arc<CallView>> {
        None
    }
    fn principal(&self) -> Option<Arc<Principal>> {
        None
    }
}
