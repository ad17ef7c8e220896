//! A filter whose hooks a plugin answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wasmtime::component::Component;

use super::answers;
use super::engine::Engine;
use super::fault::LoadError;
use super::link;
use super::prepare::Start;
use super::run::{Hook, Runtime};
use super::store::Subject;
use crate::config::{FilterLimits, Instances};
use crate::filter::{
    AskEffects, CallView, Decision, DefinitionsEdit, DefinitionsView, Delivery, Effects, ExchangeEffects,
    ExchangeView, Failure, FailureKind, Filter, HeadReads, Hooks, ItemsView, NotificationView, QuestionView,
    RequestHead, Visibility,
};
use crate::jsonrpc;

/// Everything that a filter is made of.
pub struct Loading {
    /// The filter's name, for logs and errors.
    pub name: Arc<str>,
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// What [`super::prepare`] made.
    pub artifact: Artifact,
    /// How its instances start; from [`super::Prepared`].
    pub start: Start,
    /// Its configuration: one JSON object. Only used with [`Start::Configure`].
    pub config: Arc<str>,
    /// What it may use by name. Empty: it must not import `secrets`.
    pub secrets_granted: BTreeMap<String, GrantedSecret>,
    /// Fresh or warm.
    pub instances: Instances,
    /// Its bounds.
    pub limits: FilterLimits,
    /// The JSON law for what it writes.
    pub json_limits: jsonrpc::Limits,
}

/// A compiled component. Loading one runs its machine code: it must be this program's own work,
/// which whoever calls [`WasmFilter::load`] vouches for (by a MAC, or by having just made it).
pub enum Artifact {
    /// In memory.
    Bytes(Bytes),
    /// A `.cwasm` file, mapped. It must not change while it is in use.
    File(PathBuf),
}

/// A secret that a filter may use, and where it may go.
#[derive(Clone)]
pub struct GrantedSecret {
    /// Its value.
    pub value: String,
    /// The servers it may be sent to.
    pub servers: Vec<String>,
}

impl std::fmt::Debug for GrantedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrantedSecret").field("value", &"***").field("servers", &self.servers).finish()
    }
}

/// What a filter did since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Hook calls, failed ones included.
    pub calls: u64,
    /// Faults by kind; kinds that never happened are absent.
    pub faults: Vec<(FailureKind, u64)>,
    /// Calls of hooks into the host.
    pub host_calls: u64,
    /// Bytes of log beyond `limits.log_bytes`.
    pub log_bytes_dropped: u64,
    /// Bytes that went into instances.
    pub pulled_bytes: u64,
}

const KINDS: [FailureKind; 9] = [
    FailureKind::Returned,
    FailureKind::Trap,
    FailureKind::Cpu,
    FailureKind::Wall,
    FailureKind::Memory,
    FailureKind::Limit,
    FailureKind::BadOutput,
    FailureKind::TooLarge,
    FailureKind::Host,
];

/// The live form of [`Counters`].
#[derive(Default)]
pub(super) struct Tally {
    calls: AtomicU64,
    faults: [AtomicU64; KINDS.len()],
    host_calls: AtomicU64,
    log_bytes_dropped: AtomicU64,
    pulled_bytes: AtomicU64,
}

impl Tally {
    pub(super) fn hook(&self, host_calls: u32, pulled: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.host_calls.fetch_add(u64::from(host_calls), Ordering::Relaxed);
        self.pulled_bytes.fetch_add(pulled, Ordering::Relaxed);
    }

    pub(super) fn fault(&self, kind: FailureKind) {
        let counted = KINDS.iter().position(|known| *known == kind).and_then(|at| self.faults.get(at));
        if let Some(counter) = counted {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped_log(&self, bytes: u64) {
        self.log_bytes_dropped.fetch_add(bytes, Ordering::Relaxed);
    }

    fn read(&self) -> Counters {
        let faults = KINDS.iter().zip(&self.faults);
        Counters {
            calls: self.calls.load(Ordering::Relaxed),
            faults: faults
                .map(|(kind, count)| (*kind, count.load(Ordering::Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            host_calls: self.host_calls.load(Ordering::Relaxed),
            log_bytes_dropped: self.log_bytes_dropped.load(Ordering::Relaxed),
            pulled_bytes: self.pulled_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Who an instance works for, and what it may.
pub(super) struct Identity {
    pub(super) name: Arc<str>,
    pub(super) plugin: Arc<str>,
    pub(super) secrets: BTreeMap<String, GrantedSecret>,
    pub(super) limits: FilterLimits,
    pub(super) json_limits: jsonrpc::Limits,
    pub(super) counters: Tally,
}

/// A filter that runs a plugin's hooks, each in a fresh instance (or a warm one) within its limits.
pub struct WasmFilter {
    runtime: Runtime,
    reads_definitions: bool,
}

impl WasmFilter {
    /// Loads a prepared plugin: links what it is granted, checks that every hook has the type that
    /// the contract gives it, and starts one instance.
    ///
    /// # Errors
    /// The artifact is of another Lockgate, an import is unknown or not granted, a hook is missing
    /// a function or has another type, or the instance does not start within the limits.
    pub async fn load(engine: &Engine, loading: Loading) -> Result<WasmFilter, LoadError> {
        let plugin = loading.plugin.clone();
        let invalid = |error: wasmtime::Error| LoadError::Invalid {
            plugin: plugin.to_string(),
            reason: format!("its compiled form cannot be loaded: {error:#}"),
        };
        let component = match &loading.artifact {
            // SAFETY: the caller vouches that the bytes are this program's own work; see `Artifact`.
            Artifact::Bytes(bytes) => unsafe { Component::deserialize(engine.wasmtime(), bytes) },
            // SAFETY: as above, and that the file does not change.
            Artifact::File(path) => unsafe { Component::deserialize_file(engine.wasmtime(), path) },
        }
        .map_err(invalid)?;
        let configure = match loading.start {
            Start::Configure { .. } => Some(loading.config.to_string()),
            Start::Snapshot | Start::Plain => None,
        };
        let identity = Arc::new(Identity {
            name: loading.name,
            plugin: loading.plugin,
            secrets: loading.secrets_granted,
            limits: loading.limits,
            json_limits: loading.json_limits,
            counters: Tally::default(),
        });
        let warm = loading.instances == Instances::Warm;
        let runtime = Runtime::new(engine, &component, identity, configure, warm).await?;
        let reads_definitions = link::imports_of_context(engine, &component, "[method]call.definition");
        Ok(WasmFilter { runtime, reads_definitions })
    }

    /// Runs `lifecycle.self-test` on an instance as calls get it; a plugin without `lifecycle` passes.
    ///
    /// # Errors
    /// What the plugin answered, or how it failed.
    pub async fn self_test(&self) -> Result<(), Failure> {
        if !self.runtime.has(Hook::SelfTest) {
            return Ok(());
        }
        let ran = self.runtime.run(Hook::SelfTest, Subject::None).await?;
        self.counted(false, answers::done(Hook::SelfTest, ran.answer))
    }

    /// What it did since it was loaded.
    pub fn counters(&self) -> Counters {
        self.runtime.identity().counters.read()
    }

    /// Counts the faults of answers that came but are not acceptable. A plugin that gives up because something was
    /// too large for it to pull returns an error of its own.
    fn counted<T>(&self, too_large: bool, mut result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &mut result {
            if too_large && failure.kind == FailureKind::Returned {
                failure.kind = FailureKind::TooLarge;
                failure.message +=
                    &format!(" (`limits.pull_bytes: {}`)", self.runtime.identity().limits.pull_bytes);
            }
            self.runtime.identity().counters.fault(failure.kind);
        }
        result
    }
}

impl Filter for WasmFilter {
    fn hooks(&self) -> Hooks {
        Hooks {
            authenticate: self.runtime.has(Hook::Authenticate),
            catalog: self.runtime.has(Hook::Catalog),
            access: self.runtime.has(Hook::Access),
            request: self.runtime.has(Hook::Request),
            upstream: self.runtime.has(Hook::Upstream),
            response: self.runtime.has(Hook::Response),
            input: self.runtime.has(Hook::Ask),
            notification: self.runtime.has(Hook::Notification),
        }
    }

    fn reads_definitions(&self) -> bool {
        self.reads_definitions
    }

    fn authenticate<'a>(&'a self, head: Arc<RequestHead>) -> BoxFuture<'a, Result<Decision, Failure>> {
        Box::pin(async move {
            let subject = Subject::Head { head, reads: HeadReads::default() };
            let ran = self.runtime.run(Hook::Authenticate, subject).await?;
            self.counted(ran.too_large, answers::decision(ran, self.runtime.identity()))
        })
    }

    fn definitions<'a>(
        &'a self,
        definitions: DefinitionsView,
    ) -> BoxFuture<'a, Result<DefinitionsEdit, Failure>> {
        Box::pin(async move {
            let view = Arc::new(definitions);
            let subject = Subject::Definitions { view, renamed: BTreeMap::new(), order: None };
            let ran = self.runtime.run(Hook::Catalog, subject).await?;
            self.counted(ran.too_large, answers::definitions(ran))
        })
    }

    fn access<'a>(&'a self, items: Arc<ItemsView>) -> BoxFuture<'a, Result<Vec<Visibility>, Failure>> {
        Box::pin(async move {
            let expected = items.items.len();
            let ran = self.runtime.run(Hook::Access, Subject::Items(items)).await?;
            self.counted(ran.too_large, answers::visibilities(ran, expected))
        })
    }

    fn request<'a>(&'a self, view: Arc<CallView>) -> BoxFuture<'a, Result<Effects, Failure>> {
        Box::pin(async move {
            let subject = Subject::Call { view, up: true, state: None, reroute: None };
            let ran = self.runtime.run(Hook::Request, subject).await?;
            self.counted(ran.too_large, answers::effects(Hook::Request, ran, self.runtime.identity()))
        })
    }

    fn upstream<'a>(&'a self, view: Arc<ExchangeView>) -> BoxFuture<'a, Result<ExchangeEffects, Failure>> {
        Box::pin(async move {
            let subject = Subject::Exchange { view, set: http::HeaderMap::new(), remove: Vec::new() };
            let ran = self.runtime.run(Hook::Upstream, subject).await?;
            self.counted(ran.too_large, answers::exchange(ran, self.runtime.identity()))
        })
    }

    fn response<'a>(&'a self, view: Arc<CallView>) -> BoxFuture<'a, Result<Effects, Failure>> {
        Box::pin(async move {
            let subject = Subject::Call { view, up: false, state: None, reroute: None };
            let ran = self.runtime.run(Hook::Response, subject).await?;
            self.counted(ran.too_large, answers::effects(Hook::Response, ran, self.runtime.identity()))
        })
    }

    fn input_ask<'a>(&'a self, view: Arc<QuestionView>) -> BoxFuture<'a, Result<AskEffects, Failure>> {
        Box::pin(async move {
            let ran = self.runtime.run(Hook::Ask, Subject::Question(view)).await?;
            self.counted(ran.too_large, answers::asked(Hook::Ask, ran, self.runtime.identity()))
        })
    }

    fn input_answer<'a>(&'a self, view: Arc<QuestionView>) -> BoxFuture<'a, Result<AskEffects, Failure>> {
        Box::pin(async move {
            let ran = self.runtime.run(Hook::Answer, Subject::Question(view)).await?;
            self.counted(ran.too_large, answers::asked(Hook::Answer, ran, self.runtime.identity()))
        })
    }

    fn notification<'a>(&'a self, view: Arc<NotificationView>) -> BoxFuture<'a, Result<Delivery, Failure>> {
        Box::pin(async move {
            let ran = self.runtime.run(Hook::Notification, Subject::Notification(view)).await?;
            self.counted(ran.too_large, answers::delivery(ran, self.runtime.identity()))
        })
    }
}
