//! Where the commands meet what they command: every call from `cli` into plugins and the gateway.
//!
//! The commands themselves know only what is in here, so that they can be read, and changed,
//! without knowing how a gateway is put together.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::BuildArguments;
use super::reload::{Reloading, tell};
use crate::config::Loaded;
use crate::downstream::endpoint::Served;
use crate::downstream::http::{HttpFront, Readiness};
use crate::downstream::stdio::serve_stdio;
use crate::filter::Hooks;
use crate::filter::explain::{Explanation as Seen, explain};
use crate::gateway::Gateway;
use crate::plugin::assembly::{AssembleError, Assembly, Health, Plugins, Status};
use crate::plugin::watch::Trigger;
use crate::proxy::{Filtered, method_kinds, methods};
use crate::upstream::{Outgoing, Upstreams};

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
    /// Whether the configuration lists it.
    pub listed: bool,
    /// What it implements.
    pub hooks: Hooks,
    /// Why it cannot be used, and what to do, a line each; empty if it can.
    pub problems: Vec<String>,
}

/// Why a filter does or does not see a call.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The filter.
    pub filter: String,
    /// The phases in which it is called; empty if it is not.
    pub phases: Vec<&'static str>,
    /// Why.
    pub reason: String,
}

/// Configuration, plugins and connections of one `lockgate`, put together.
pub struct Stack {
    loaded: Arc<Loaded>,
    filters: Vec<FilterReport>,
    gateway: Arc<Gateway>,
    reloading: Arc<Reloading>,
    trigger: Trigger,
}

impl Stack {
    /// Loads the plugins. A filter that cannot be used is no error here: [`Stack::filters`] says why.
    ///
    /// # Errors
    /// Plugins cannot be loaded at all.
    pub async fn assemble(loaded: Arc<Loaded>) -> anyhow::Result<Stack> {
        let plugins = Plugins::open(&loaded.config)?;
        let (placed, filters) = match plugins.assemble(&loaded.config).await {
            Ok(Assembly { filters, statuses, notices, .. }) => {
                tell(&notices);
                let reports = statuses.into_iter().map(|status| report(status, &filters)).collect();
                (filters, reports)
            }
            Err(error) => (Vec::new(), refused(&loaded, error)),
        };
        let gateway = Gateway::new(Arc::new(loaded.config.clone()), placed);
        let reloading = Arc::new(Reloading::new(loaded.clone(), plugins, gateway.clone()));
        Ok(Stack { loaded, filters, gateway, trigger: reloading.trigger(), reloading })
    }

    /// The chain, in its order; those that cannot be used included.
    pub fn filters(&self) -> &[FilterReport] {
        &self.filters
    }

    /// Whether any filter establishes who calls.
    pub fn authenticates(&self) -> bool {
        self.filters.iter().any(|f| f.hooks.authenticate && f.problems.is_empty())
    }

    /// The connections to the servers.
    pub fn upstreams(&self) -> &Upstreams {
        self.gateway.upstreams()
    }

    /// The `upstream` filters for exchanges that Lockgate makes for itself.
    pub fn outgoing(&self, server: &str) -> Arc<dyn Outgoing> {
        let snapshot = self.gateway.snapshot();
        let methods = method_kinds();
        let chain = snapshot.chain(server).cloned().unwrap_or_else(|| {
            Arc::new(crate::filter::chain::Chain::new(server, &[], &methods, std::time::Duration::ZERO))
        });
        let (server, method) = (Arc::from(server), Arc::from("initialize"));
        Arc::new(Filtered { server, chain, method, call: None, principal: None })
    }

    /// Which filters a call passes.
    pub fn explain(&self, server: &str, method: &str, name: Option<&str>) -> Vec<Explanation> {
        let kinds = methods::kinds_of(methods::find(method));
        let snapshot = self.gateway.snapshot();
        explain(snapshot.filters(), server, method, name, kinds, &method_kinds())
            .into_iter()
            .map(|Seen { filter, phases, reason }| Explanation { filter: filter.to_string(), phases, reason })
            .collect()
    }

    /// Calls that clients wait for.
    pub fn calls_in_flight(&self) -> usize {
        self.gateway.calls_in_flight()
    }

    /// Looks at configuration and plugins again, as after SIGHUP.
    pub fn look_again(&self) {
        tracing::info!(file = %self.loaded.path.display(), "looking again at configuration and plugins");
        self.trigger.look_again();
    }

    /// Serves clients over HTTP until `shutdown`, then drains.
    pub async fn serve_http(&self, listener: TcpListener, shutdown: CancellationToken) {
        let watching = tokio::spawn(self.reloading.clone().watch());
        let gateway = self.gateway.clone();
        let readiness = move || {
            let snapshot = gateway.snapshot();
            let tripped = snapshot.filters().iter().any(|filter| filter.breaker.is_open());
            let status = if tripped { "degraded: a filter is tripped" } else { "ready" };
            Readiness { ready: true, status: status.into() }
        };
        let front = HttpFront::new(Arc::new(Served(self.gateway.clone()))).readiness(readiness);
        front.serve(listener, shutdown).await;
        watching.abort();
    }

    /// Serves one client over stdin and stdout until it is gone, or `shutdown`.
    pub async fn serve_stdio(&self, server: &str, shutdown: CancellationToken) {
        let watching = tokio::spawn(self.reloading.clone().watch());
        let (stdin, stdout) = (tokio::io::stdin(), tokio::io::stdout());
        serve_stdio(self.gateway.clone(), server, stdin, stdout, shutdown).await;
        watching.abort();
    }

    /// Ends all connections and child processes.
    pub async fn close(&self) {
        self.gateway.upstreams().shutdown().await;
    }
}

fn report(status: Status, filters: &[Arc<crate::filter::chain::Placed>]) -> FilterReport {
    let hooks = filters.iter().find(|f| f.name == status.name).map(|f| f.hooks).unwrap_or_default();
    let problems = match status.health {
        Health::Serving => Vec::new(),
        Health::Degraded { reason, .. } | Health::Failed { reason } => vec![reason],
    };
    FilterReport {
        name: status.name.to_string(),
        plugin: status.plugin.to_string(),
        version: status.version,
        file: status.file,
        listed: status.listed,
        hooks,
        problems,
    }
}

/// The listed filters, each with the problems that name it.
fn refused(loaded: &Loaded, error: AssembleError) -> Vec<FilterReport> {
    let mut rest = error.problems;
    let mut reports: Vec<FilterReport> = Vec::new();
    for entry in &loaded.config.filters {
        let name = entry.name.clone().unwrap_or_else(|| entry.plugin.clone());
        let mine = |problem: &mut String| problem.contains(&format!("`{name}`"));
        let problems: Vec<String> = rest.extract_if(.., mine).collect();
        let plugin = entry.plugin.clone();
        let hooks = Hooks::default();
        reports.push(FilterReport { name, plugin, version: None, file: None, listed: true, hooks, problems });
    }
    if !rest.is_empty() {
        let (name, plugin) = ("plugins".to_owned(), "-".to_owned());
        let hooks = Hooks::default();
        let report =
            FilterReport { name, plugin, version: None, file: None, listed: true, hooks, problems: rest };
        reports.push(report);
    }
    reports
}

/// `lockgate plugin build`
pub fn build(arguments: BuildArguments) -> anyhow::Result<ExitCode> {
    let options = lockgate_plugin_build::Options {
        out_file: arguments.out,
        ..lockgate_plugin_build::Options::default()
    };
    lockgate_plugin_build::build(&arguments.source, &options, &mut |line| eprintln!("{line}"))?;
    Ok(ExitCode::SUCCESS)
}
