//! Puts changed plugins and filters into service while calls go on.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{Config, Loaded, load};
use crate::filter::chain::Placed;
use crate::gateway::Gateway;
use crate::plugin::assembly::{Assembly, Level, Notice, Plugins};
use crate::plugin::watch::{Trigger, Watch};

/// Watches the directory of the plugins and the configuration file.
pub struct Reloading {
    loaded: Arc<Loaded>,
    /// The configuration whose filters serve.
    config: Mutex<Arc<Config>>,
    plugins: Plugins,
    gateway: Arc<Gateway>,
    /// What was last complained about, so that it is said once.
    bad_file: Mutex<String>,
    bad_chain: Mutex<String>,
    /// Whoever waits for signs takes them along.
    watches: Mutex<Option<(Watch, Watch)>>,
    trigger: Trigger,
}

impl Reloading {
    /// Watches nothing before [`Reloading::watch`].
    pub fn new(loaded: Arc<Loaded>, plugins: Plugins, gateway: Arc<Gateway>) -> Reloading {
        let how = loaded.config.plugins.watch;
        let directory = Watch::new(loaded.config.plugins.dir.as_deref(), how);
        let file = Watch::new(loaded.path.parent().filter(|_| loaded.path.is_file()).map(nonempty), how);
        Reloading {
            config: Mutex::new(Arc::new(loaded.config.clone())),
            bad_file: Mutex::default(),
            bad_chain: Mutex::default(),
            trigger: directory.trigger(),
            watches: Mutex::new(Some((directory, file))),
            loaded,
            plugins,
            gateway,
        }
    }

    /// Asks for a look, as SIGHUP does.
    pub fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Looks whenever there is a sign, for as long as it is not dropped.
    pub async fn watch(self: Arc<Self>) {
        let taken = self.watches.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut directory, mut file)) = taken else { return };
        let mut unfinished: Option<Duration> = None;
        loop {
            let again = async {
                match unfinished {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = directory.look() => {}
                _ = file.look() => {}
                () = again => {}
            }
            self.reread();
            unfinished = self.assemble().await;
        }
    }

    /// Takes over the filters of a changed configuration file.
    fn reread(&self) {
        let fresh = match load(&self.loaded.path) {
            Ok(fresh) => fresh.config,
            Err(error) => {
                let text = error.to_string();
                if news(&self.bad_file, &text) {
                    tracing::error!(
                        "the changed configuration is not taken over, what served before serves on: {text}"
                    );
                }
                return;
            }
        };
        news(&self.bad_file, "");
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = (**config).clone();
        next.filters = fresh.filters;
        next.secrets = fresh.secrets;
        next.plugins.auto_attach = fresh.plugins.auto_attach;
        *config = Arc::new(next);
    }

    /// Builds beside, swaps last. Returns when to look again at something half-written.
    async fn assemble(&self) -> Option<Duration> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.plugins.assemble(&config).await {
            Ok(Assembly { filters, notices, look_again_in, .. }) => {
                news(&self.bad_chain, "");
                tell(&notices);
                let before = self.gateway.snapshot();
                if !same(before.filters(), &filters) {
                    let generation = self.gateway.swap(config, filters);
                    let names: Vec<_> =
                        self.gateway.snapshot().filters().iter().map(|f| f.name.to_string()).collect();
                    tracing::info!(generation, "filters in service: {}", names.join(" → "));
                }
                look_again_in
            }
            Err(error) => {
                if news(&self.bad_chain, &error.to_string()) {
                    for problem in &error.problems {
                        tracing::error!("what served before serves on: {problem}");
                    }
                }
                None
            }
        }
    }
}

/// Says what happened to plugins, a line each.
pub fn tell(notices: &[Notice]) {
    for notice in notices {
        match notice.level {
            Level::Error => tracing::error!("{}", notice.text),
            Level::Warn => tracing::warn!("{}", notice.text),
            Level::Info => tracing::info!("{}", notice.text),
        }
    }
}

/// Remembers a complaint; true if it is another one than before.
fn news(last: &Mutex<String>, text: &str) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let news = *last != text;
    text.clone_into(&mut last);
    news
}

fn same(a: &[Arc<Placed>], b: &[Arc<Placed>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn nonempty(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}
