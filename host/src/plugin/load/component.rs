//! The real loader: WebAssembly components, prepared by the child process and kept in the cache.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Candidate, LoadError, Loaded, Loader, StartKind, check_wiring};
use crate::jsonrpc;
use crate::plugin::cache::{Cache, Key};
use crate::plugin::inspect::{Inspection, inspect};
use crate::plugin::prepare::{Preparer, Request};
use crate::wasm::{Artifact, Engine, EngineSettings, GrantedSecret, Loading, Start, WasmFilter};

/// What a [`ComponentLoader`] works with.
pub struct ComponentLoaderSettings {
    /// What runs the filters.
    pub engine: Engine,
    /// What that engine was made with.
    pub engine_settings: EngineSettings,
    /// Who compiles.
    pub preparer: Preparer,
    /// Where compiled plugins are kept; none keeps them in memory and compiles at each start.
    pub cache: Option<Cache>,
    /// The JSON law for what filters write.
    pub json_limits: jsonrpc::Limits,
}

/// Loads WebAssembly components.
pub struct ComponentLoader(ComponentLoaderSettings);

impl ComponentLoader {
    /// A loader.
    pub fn new(settings: ComponentLoaderSettings) -> ComponentLoader {
        ComponentLoader(settings)
    }

    async fn load_component(&self, candidate: Candidate) -> Result<Loaded, LoadError> {
        let inspection = inspected(&candidate).await?;
        check_wiring(&candidate, &inspection)?;
        let (wanted, most) = (candidate.limits.memory_mib, self.0.engine_settings.memory_mib);
        if wanted > most {
            return Err(LoadError::Memory { wanted, most });
        }
        let (artifact, start) = match self.cached(&candidate).await? {
            Some((artifact, start)) => match self.start(&candidate, artifact, &start).await {
                Ok(filter) => return Ok(Loaded { filter, inspection, start }),
                Err(error) => {
                    // Sound by its MAC and still of no use, such as evicted in between: make it again.
                    tracing::debug!(plugin = %candidate.plugin, "its cached form does not load: {error}");
                    self.prepared(&candidate).await?
                }
            },
            None => self.prepared(&candidate).await?,
        };
        let filter = self.start(&candidate, artifact, &start).await?;
        Ok(Loaded { filter, inspection, start })
    }

    /// Loads what was prepared and has it test itself.
    async fn start(
        &self,
        candidate: &Candidate,
        artifact: Artifact,
        start: &StartKind,
    ) -> Result<Arc<WasmFilter>, LoadError> {
        let secrets = candidate.secrets.iter().map(|(name, secret)| {
            let granted = GrantedSecret { value: secret.value.clone(), servers: secret.servers.clone() };
            (name.clone(), granted)
        });
        let loading = Loading {
            name: Arc::clone(&candidate.name),
            plugin: Arc::clone(&candidate.plugin),
            artifact,
            start: match start.clone() {
                StartKind::Snapshot => Start::Snapshot,
                StartKind::Configure { reason } => Start::Configure { reason },
                StartKind::Plain => Start::Plain,
            },
            config: Arc::clone(&candidate.config),
            secrets_granted: secrets.collect(),
            instances: candidate.instances,
            limits: candidate.limits,
            json_limits: self.0.json_limits,
        };
        let filter = WasmFilter::load(&self.0.engine, loading)
            .await
            .map_err(|error| LoadError::Start(error.to_string()))?;
        filter.self_test().await.map_err(|failure| LoadError::SelfTest(failure.message))?;
        Ok(Arc::new(filter))
    }

    fn key(&self, candidate: &Candidate) -> Key {
        let compatibility = self.0.engine.compatibility();
        Key::new(&candidate.sha256, &candidate.config, candidate.limits.memory_mib, compatibility)
    }

    async fn cached(&self, candidate: &Candidate) -> Result<Option<(Artifact, StartKind)>, LoadError> {
        let Some(cache) = self.0.cache.clone() else { return Ok(None) };
        let key = self.key(candidate);
        let found = blocking(move || cache.get(key)).await?;
        Ok(found.map(|entry| (Artifact::File(entry.file), entry.start)))
    }

    async fn prepared(&self, candidate: &Candidate) -> Result<(Artifact, StartKind), LoadError> {
        let settings = &self.0;
        let request =
            Request::new(&candidate.plugin, &candidate.config, candidate.limits, &settings.engine_settings);
        let prepared = settings.preparer.prepare(request, candidate.bytes.clone()).await?;
        let (artifact, start) = (prepared.artifact, prepared.start);
        if let Some(cache) = settings.cache.clone() {
            let (bytes, kind, key) = (artifact.clone(), start.clone(), self.key(candidate));
            match blocking(move || cache.put(key, &bytes, &kind)).await? {
                Ok(entry) => return Ok((Artifact::File(entry.file), start)),
                Err(error) => {
                    tracing::warn!(plugin = %candidate.plugin, "its compiled form is not cached: {error}");
                }
            }
        }
        Ok((Artifact::Bytes(artifact), start))
    }
}

impl Loader for ComponentLoader {
    fn load(&self, candidate: Candidate) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(self.load_component(candidate))
    }
}

async fn inspected(candidate: &Candidate) -> Result<Arc<Inspection>, LoadError> {
    if let Some(inspection) = candidate.inspection.clone() {
        return Ok(inspection);
    }
    let (bytes, limit) = (candidate.bytes.clone(), candidate.max_bytes);
    Ok(Arc::new(blocking(move || inspect(&bytes, limit)).await??))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| LoadError::Machine(error.to_string()))
}

#[cfg(test)]
mod tests;
