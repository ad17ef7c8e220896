//! Puts what changes in the plugins' directory, or in the configuration's filters, into service.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::together::held_by;
use super::{is_degraded, open_servers, tell};
use crate::config::locate::KeyPath;
use crate::config::validate::check_exposure;
use crate::config::{Config, Loaded, load};
use crate::filter::placed::Placed;
use crate::gateway::Gateway;
use crate::plugin::assembly::Plugins;
use crate::plugin::watch::{Look, Trigger, Watch};

/// What reloading works on.
pub struct Reloading {
    pub gateway: Arc<Gateway>,
    pub built_in: Vec<Arc<Placed>>,
    pub plugins: Arc<Plugins>,
    pub loaded: Arc<Loaded>,
    pub listens: bool,
    pub degraded: Arc<Mutex<bool>>,
    /// Set where somebody asked to look again, and wants to hear what came of it.
    pub asked: Arc<AtomicBool>,
}

impl Reloading {
    /// Looks whenever it is time to, for ever.
    pub async fn run(self, mut watch: Watch) {
        let trigger = watch.trigger();
        let mut file = self.watch_file();
        let mut written = self.written();
        let rewritten = Notify::new();
        // Not cancelled by looks at the plugins, and not cancelling them: a sign that was taken
        // would be lost. Signs from the file's folder are often about something else, such as a log.
        let watch_file = async {
            loop {
                file.look().await;
                let now = self.written();
                if now != written {
                    written = now;
                    rewritten.notify_one();
                }
            }
        };
        tokio::pin!(watch_file);
        let mut config = self.loaded.config.clone();
        let mut said: Vec<String> = Vec::new();
        loop {
            let look = tokio::select! {
                look = watch.look() => look,
                () = rewritten.notified() => Look::Asked,
                () = &mut watch_file => continue,
            };
            let mut news = false;
            if look == Look::Asked {
                self.plugins.forget_refusals();
                let read = self.read_again(&mut config).await;
                news = read == Read::News;
            }
            match self.plugins.assemble_if(&config, |filters| self.admit(filters)).await {
                Ok(assembly) => {
                    said.clear();
                    tell(&assembly.notices);
                    *self.degraded.lock().unwrap_or_else(PoisonError::into_inner) =
                        is_degraded(&assembly.statuses);
                    let filters = [self.built_in.as_slice(), &assembly.filters].concat();
                    if !same(self.gateway.snapshot().filters(), &filters) {
                        let generation = self.gateway.swap(Arc::new(config.clone()), filters);
                        tracing::info!(generation, "filters are in service");
                        news = true;
                    }
                    news |= !assembly.notices.is_empty();
                    if self.asked.swap(false, Ordering::Relaxed) && !news {
                        tracing::info!("looked again at the configuration and the plugins: nothing changed");
                    }
                    if let Some(pause) = assembly.look_again_in {
                        ask_later(trigger.clone(), pause);
                    }
                }
                Err(error) => {
                    // What served before still does; a routine look need not say so every time.
                    for problem in error.problems.iter().filter(|p| !said.contains(p)) {
                        tracing::error!("{problem}");
                    }
                    said = error.problems;
                    *self.degraded.lock().unwrap_or_else(PoisonError::into_inner) = true;
                }
            }
        }
    }

    /// Refuses what a start would refuse: filters that leave a listener open to the network. Address,
    /// servers and `http` are those of the start.
    fn admit(&self, filters: &[Arc<Placed>]) -> Result<(), String> {
        if !self.listens {
            return Ok(());
        }
        let filters = [self.built_in.as_slice(), filters].concat();
        let config = &self.loaded.config;
        check_exposure(config, &open_servers(config, &filters)).map_err(|problem| {
            format!("the filters stay as they were: {}", problem.render(&self.loaded.path))
        })
    }

    /// Watches the folder of the configuration file: editors and Kubernetes replace files.
    fn watch_file(&self) -> Watch {
        let folder = self.loaded.path.parent().filter(|_| self.loaded.path.is_file());
        let folder = folder.map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
        Watch::new(folder, self.loaded.config.plugins.watch)
    }

    /// The file's content as it stands.
    fn written(&self) -> Option<Vec<u8>> {
        std::fs::read(&self.loaded.path).ok()
    }

    /// Reads the configuration file again. Filters, their secrets and attaching follow it; the rest
    /// is said to need a restart.
    async fn read_again(&self, config: &mut Config) -> Read {
        let path = self.loaded.path.clone();
        if path.as_os_str() == "-" {
            return Read::AsBefore;
        }
        let loaded = match tokio::task::spawn_blocking(move || load(&path)).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                for problem in &error.problems {
                    tracing::error!("the configuration stays as it was: {}", problem.render(&error.file));
                }
                return Read::News;
            }
            // The runtime is ending.
            Err(_) => return Read::News,
        };
        for warning in &loaded.warnings {
            tracing::warn!("{}", warning.render(&loaded.path));
        }
        let mut fixed = needs_restart(&self.loaded.config, &loaded.config);
        // As the files have it: `--listen` wins over what a file says, and changes nothing in it.
        let listen = KeyPath::of(["listen"]);
        if self.loaded.stated(&listen) != loaded.stated(&listen) {
            fixed.push("listen");
        }
        if !fixed.is_empty() {
            tracing::warn!("changes of {} take effect at the next start", fixed.join(", "));
        }
        let news = !fixed.is_empty() || !loaded.warnings.is_empty();
        let held = held_by(&self.loaded.config, config, &loaded.config);
        if !held.is_empty() {
            let names: Vec<String> = held.iter().map(|name| format!("`{name}`")).collect();
            tracing::error!(
                "the filters and secrets stay as they were: the file changes {} as well, which takes effect at \
                 the next start, and what belongs together changes together. Restart Lockgate, or change the \
                 servers later",
                names.join(", ")
            );
            return Read::News;
        }
        config.filters = loaded.config.filters;
        config.secrets = loaded.config.secrets;
        config.plugins.auto_attach = loaded.config.plugins.auto_attach;
        config.plugins.max_mib = loaded.config.plugins.max_mib;
        if news { Read::News } else { Read::AsBefore }
    }
}

/// Whether reading the configuration again was worth a line of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    AsBefore,
    News,
}

/// The sections that differ and are read at the start only.
fn needs_restart(before: &Config, now: &Config) -> Vec<&'static str> {
    // None in the file: then the one of the state folder serves on.
    let keys = !now.keys.is_empty() && before.keys != now.keys;
    let json = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let (before, now) = (json(before), json(now));
    ["servers", "dial_out", "command_urls", "http", "limits", "/state_dir"]
        .into_iter()
        .chain(["/plugins/dir", "/plugins/watch", "/plugins/cache_dir", "/plugins/prepare_seconds"])
        .filter(|key| {
            let pointer = if key.starts_with('/') { (*key).to_owned() } else { format!("/{key}") };
            before.pointer(&pointer) != now.pointer(&pointer)
        })
        .map(|key| match key {
            "/state_dir" => "state_dir",
            "/plugins/dir" => "plugins.dir",
            "/plugins/watch" => "plugins.watch",
            "/plugins/cache_dir" => "plugins.cache_dir",
            "/plugins/prepare_seconds" => "plugins.prepare_seconds",
            other => other,
        })
        .chain(keys.then_some("keys"))
        .collect()
}

fn same(before: &[Arc<Placed>], now: &[Arc<Placed>]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// Something is still being written: look at it once more when it may be done.
fn ask_later(trigger: Trigger, pause: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        trigger.look_again();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;

    #[test]
    fn sections_that_need_a_restart_are_named() {
        let before = Config::default();
        let mut now = before.clone();
        now.filters.push(crate::config::FilterEntry::default());
        assert_eq!(needs_restart(&before, &now), Vec::<&str>::new());
        now.servers.insert("a".into(), Server::default());
        now.dial_out.push(crate::config::DialOut::default());
        now.plugins.dir = Some("x".into());
        now.keys.push("x".repeat(32).into());
        assert_eq!(needs_restart(&before, &now), ["servers", "dial_out", "plugins.dir", "keys"]);
        assert_eq!(
            needs_restart(&now, &before),
            ["servers", "dial_out", "plugins.dir"],
            "the made one serves on"
        );
    }
}
