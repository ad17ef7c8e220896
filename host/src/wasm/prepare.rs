//! From a plugin's bytes to what instances are made of: compile, configure once, snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::Component;

use super::engine::Engine;
use super::fault::{LoadError, PrepareError, classify};
use super::filter::{Identity, Tally};
use super::link::{self, Contract};
use super::run::{Answer, Hook, call, words};
use super::snapshot;
use super::store::{Subject, begin, new_store};
use crate::config::FilterLimits;
use crate::filter::FailureKind;
use crate::jsonrpc;

/// CPU time for `configure` in milliseconds. It runs once, in a process that has its own limit.
const CONFIGURE_CPU_MS: u32 = 10_000;
/// Stack of the thread that compiles: Cranelift recurses deeper than Rust's default for threads.
const STACK_BYTES: usize = 16 << 20;

/// A plugin to be prepared.
#[derive(Clone, Copy, Debug)]
pub struct Preparation<'a> {
    /// The component as it was built.
    pub wasm: &'a [u8],
    /// The filter's configuration: one JSON object.
    pub config: &'a str,
    /// The filter's bounds.
    pub limits: &'a FilterLimits,
    /// The plugin's name, for errors.
    pub name: &'a str,
}

/// A plugin that was prepared.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The compiled component (`.cwasm`). Depends on [`Engine::compatibility`].
    pub artifact: Vec<u8>,
    /// How its instances start.
    pub start: Start,
}

/// How the instances of a filter start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Configured: they are copies of a snapshot.
    Snapshot,
    /// Not configured: `configure` runs at each instantiation.
    Configure {
        /// Why there is no snapshot.
        reason: String,
    },
    /// There is nothing to configure: the plugin does not export `lifecycle`.
    Plain,
}

/// Compiles a plugin, configures it, and snapshots what came of it. Slow (0.1 s to 20 s), and on
/// hostile input it may take very long, eat memory or panic: run it in a bounded child process.
///
/// # Errors
/// See [`PrepareError`].
pub fn prepare(engine: &Engine, preparation: Preparation<'_>) -> Result<Prepared, PrepareError> {
    // A thread of its own: its stack is large, and the caller may be within a runtime.
    std::thread::scope(|scope| {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .map_err(|error| PrepareError::Host(format!("cannot start a runtime: {error}")))?;
            runtime.block_on(prepare_here(engine, preparation))
        };
        let thread = std::thread::Builder::new().name("prepare".into()).stack_size(STACK_BYTES);
        let thread = thread
            .spawn_scoped(scope, work)
            .map_err(|error| PrepareError::Host(format!("cannot start a thread: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(PrepareError::Host("the compiler failed; this is a bug".into())))
    })
}

async fn prepare_here(engine: &Engine, preparation: Preparation<'_>) -> Result<Prepared, PrepareError> {
    let contract = Contract::read(preparation.wasm).map_err(PrepareError::Invalid)?;
    // Grants belong to the filter and are checked when it is loaded; here, nothing is carried out.
    contract.check(preparation.name, true).map_err(unfit)?;
    if !contract.lifecycle {
        let artifact = compile(engine, preparation.wasm)?;
        return Ok(Prepared { artifact, start: Start::Plain });
    }
    let reason = match snapshotted(engine, preparation).await {
        Ok(artifact) => return Ok(Prepared { artifact, start: Start::Snapshot }),
        Err(NoSnapshot::Unfit(error)) => return Err(error),
        Err(NoSnapshot::Because(reason)) => reason,
    };
    // Without a snapshot the configuration is still tried once, so that a wrong one is found now.
    let component = Component::new(engine.wasmtime(), preparation.wasm).map_err(|error| invalid(&error))?;
    configured(engine, &component, preparation).await?;
    let artifact = component.serialize().map_err(|error| PrepareError::Host(format!("{error:#}")))?;
    Ok(Prepared { artifact, start: Start::Configure { reason } })
}

enum NoSnapshot {
    /// The plugin can run, but each instance has to be configured.
    Because(String),
    /// It cannot run at all.
    Unfit(PrepareError),
}

async fn snapshotted(engine: &Engine, preparation: Preparation<'_>) -> Result<Vec<u8>, NoSnapshot> {
    let (context, instrumented) = snapshot::instrument(preparation.wasm).map_err(NoSnapshot::Because)?;
    let component = Component::new(engine.wasmtime(), &instrumented).map_err(|error| {
        NoSnapshot::Because(format!("with its insides exported it is invalid: {error:#}"))
    })?;
    let Configured { mut store, instance } =
        configured(engine, &component, preparation).await.map_err(NoSnapshot::Unfit)?;
    if let Some(obstacle) = snapshot::obstacle(store.data()) {
        return Err(NoSnapshot::Because(obstacle));
    }
    let taken = snapshot::take(&context, &mut store, instance).await.map_err(NoSnapshot::Because)?;
    compile(engine, &taken).map_err(|error| NoSnapshot::Because(format!("the snapshot is invalid: {error}")))
}

struct Configured {
    store: wasmtime::Store<super::store::State>,
    instance: wasmtime::component::Instance,
}

/// Starts an instance and runs `configure`.
async fn configured(
    engine: &Engine,
    component: &Component,
    preparation: Preparation<'_>,
) -> Result<Configured, PrepareError> {
    let plugin = preparation.name;
    engine.weight(component).map_err(PrepareError::TooLarge)?;
    let pre = link::linked(engine, component, plugin, true).map_err(unfit)?;
    let indices = link::indices(&pre, plugin).map_err(unfit)?;
    let limits = FilterLimits { cpu_ms: CONFIGURE_CPU_MS, wall_ms: u32::MAX, ..*preparation.limits };
    let identity = Arc::new(Identity {
        name: plugin.into(),
        plugin: plugin.into(),
        secrets: BTreeMap::new(),
        limits,
        json_limits: CONFIG_LAW,
        counters: Tally::default(),
    });
    let mut store = new_store(engine, identity);
    store.data_mut().configuring = true;
    let config = preparation.config.to_owned();
    let configured = async {
        let instance = pre.instantiate_async(&mut store).await?;
        begin(&mut store, Subject::None, true, CONFIGURE_CPU_MS);
        let answer = call(&indices, &mut store, &instance, Hook::Configure, Some(&config)).await?;
        Ok((instance, answer))
    };
    let result: wasmtime::Result<_> = configured.await;
    store.data().log.settle();
    let limit = format!("limits.memory_mib: {}", limits.memory_mib);
    match result {
        Ok((instance, Answer::Done(Ok(())))) => Ok(Configured { store, instance }),
        Ok((_, Answer::Done(Err(failure)))) => Err(PrepareError::Refused(words(&failure))),
        Ok(_) => Err(PrepareError::Host("`configure` answered for another hook".into())),
        Err(error) => {
            let starved = store.data().memory.starved.then_some(limit.as_str());
            let failure = classify("configure", &error, starved);
            Err(match failure.kind {
                FailureKind::Memory => PrepareError::TooLarge(failure.message),
                _ => PrepareError::Trap(failure.message),
            })
        }
    }
}

/// In `configure` there is no document to read, so these bound nothing but what is never written.
const CONFIG_LAW: jsonrpc::Limits =
    jsonrpc::Limits { bytes: 4 << 20, depth: 64, members: 100_000, number_bytes: 1_024 };

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, PrepareError> {
    engine.wasmtime().precompile_component(wasm).map_err(|error| invalid(&error))
}

fn invalid(error: &wasmtime::Error) -> PrepareError {
    PrepareError::Invalid(format!("the component is not valid: {error:#}"))
}

fn unfit(error: LoadError) -> PrepareError {
    PrepareError::Invalid(error.to_string())
}
