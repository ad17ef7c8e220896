//! Where the commands meet what they command: every call from `cli` into plugins and the gateway.
//!
//! The commands themselves know only what is in here, so that they can be read, and changed,
//! without knowing how a gateway is put together.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::BuildArguments;
use crate::config::Loaded;
use crate::filter::{CallView, Hooks, Principal, Rejection};
use crate::upstream::{ExchangeDraft, Outgoing, Upstreams};

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
    upstreams: Upstreams,
}

impl Stack {
    /// Loads the plugins. A filter that cannot be used is no error here: [`Stack::filters`] says why.
    ///
    /// # Errors
    /// The folder of the plugins cannot be used at all.
    pub async fn assemble(loaded: Arc<Loaded>) -> anyhow::Result<Stack> {
        anyhow::ensure!(
            loaded.config.filters.is_empty() && loaded.config.plugins.dir.is_none(),
            "this build cannot load plugins yet"
        );
        let upstreams = Upstreams::new(Arc::new(loaded.config.clone()));
        Ok(Stack { loaded, filters: Vec::new(), upstreams })
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
        &self.upstreams
    }

    /// The `upstream` filters for exchanges that Lockgate makes for itself.
    pub fn outgoing(&self, _server: &str) -> Arc<dyn Outgoing> {
        Arc::new(Unfiltered)
    }

    /// Which filters a call passes.
    pub fn explain(&self, _server: &str, _method: &str, _name: Option<&str>) -> Vec<Explanation> {
        Vec::new()
    }

    /// Calls that clients wait for.
    pub fn calls_in_flight(&self) -> usize {
        0
    }

    /// Looks at configuration and plugins again, as after SIGHUP.
    pub fn look_again(&self) {
        tracing::info!(file = %self.loaded.path.display(), "looking again");
    }

    /// Serves clients over HTTP until `shutdown`, then drains.
    pub async fn serve_http(&self, _listener: TcpListener, shutdown: CancellationToken) {
        shutdown.cancelled().await;
    }

    /// Serves one client over stdin and stdout until it is gone, or `shutdown`.
    pub async fn serve_stdio(&self, _server: &str, shutdown: CancellationToken) {
        shutdown.cancelled().await;
    }

    /// Ends all connections and child processes.
    pub async fn close(&self) {
        self.upstreams.shutdown().await;
    }
}

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

/// `lockgate plugin build`
pub fn build(_: BuildArguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build cannot build plugins yet")
}
