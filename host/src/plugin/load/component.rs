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
        let (artifact, start) = self.prepared(&candidate).await?;
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
        Ok(Loaded { filter: Arc::new(filter), inspection, start })
    }

    async fn prepared(&self, candidate: &Candidate) -> Result<(Artifact, StartKind), LoadError> {
        let settings = &self.0;
        let key = Key::new(
            &candidate.sha256,
            &candidate.config,
            candidate.limits.memory_mib,
            settings.engine.compatibility(),
        );
        if let Some(cache) = settings.cache.clone() {
            let found = blocking(move || cache.get(key)).await?;
            if let Some(entry) = found {
                return Ok((Artifact::File(entry.file), entry.start));
            }
        }
        let request =
            Request::new(&candidate.plugin, &candidate.config, candidate.limits, &settings.engine_settings);
        let prepared = settings.preparer.prepare(request, candidate.bytes.clone()).await?;
        let (artifact, start) = (prepared.artifact, prepared.start);
        if let Some(cache) = settings.cache.clone() {
            let (bytes, kind) = (artifact.clone(), start.clone());
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
