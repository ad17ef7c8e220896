//! One hook call: permits, instance, budget, call, and what came of it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;
use wasmtime::component::{Component, Instance, InstancePre};

use super::bindings::exports::lockgate::plugin as hooks;
use super::bindings::lockgate::plugin::types;
use super::engine::Engine;
use super::fault::{LoadError, classify, fault};
use super::filter::Identity;
use super::host::documents::Documents;
use super::link;
use super::store::{State, Subject, begin, new_store};
use crate::filter::{Failure, FailureKind};

/// A warm instance is replaced after so many hooks: runtimes that leak leak slowly.
const WARM_CALLS: u32 = 10_000;

/// The exported functions, by the interface they stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Configure,
    SelfTest,
    Authenticate,
    Catalog,
    Access,
    Request,
    Upstream,
    Response,
    Ask,
    Answer,
    Notification,
}

impl Hook {
    pub(super) fn name(self) -> &'static str {
        match self {
            Hook::Configure => "lifecycle.configure",
            Hook::SelfTest => "lifecycle.self-test",
            Hook::Authenticate => "authenticate",
            Hook::Catalog => "catalog",
            Hook::Access => "access",
            Hook::Request => "request",
            Hook::Upstream => "upstream",
            Hook::Response => "response",
            Hook::Ask => "input.on-ask",
            Hook::Answer => "input.on-answer",
            Hook::Notification => "notification",
        }
    }
}

/// What a hook answered, still in the contract's own types.
pub(super) enum Answer {
    Done(Result<(), types::Failure>),
    Decision(Result<hooks::authenticate::Decision, types::Failure>),
    Visibilities(Result<Vec<hooks::access::Visibility>, types::Failure>),
    Verdict(Result<types::Verdict, types::Failure>),
    Exchange(Result<hooks::upstream::ExchangeVerdict, types::Failure>),
    Ask(Result<hooks::input::AskVerdict, types::Failure>),
    Delivery(Result<hooks::notification::Delivery, types::Failure>),
}

/// A hook that returned, and what it left.
pub(super) struct Ran {
    pub(super) answer: Answer,
    pub(super) subject: Subject,
    pub(super) documents: Documents,
    /// Whether something was too large for it to pull.
    pub(super) too_large: bool,
}

/// Where the functions of each exported interface are found in an instance.
#[derive(Clone, Default)]
pub(super) struct Indices {
    pub(super) lifecycle: Option<hooks::lifecycle::GuestIndices>,
    pub(super) authenticate: Option<hooks::authenticate::GuestIndices>,
    pub(super) catalog: Option<hooks::catalog::GuestIndices>,
    pub(super) access: Option<hooks::access::GuestIndices>,
    pub(super) request: Option<hooks::request::GuestIndices>,
    pub(super) upstream: Option<hooks::upstream::GuestIndices>,
    pub(super) response: Option<hooks::response::GuestIndices>,
    pub(super) input: Option<hooks::input::GuestIndices>,
    pub(super) notification: Option<hooks::notification::GuestIndices>,
}

/// One plugin, linked, with everything needed to run its hooks.
pub(super) struct Runtime {
    engine: Engine,
    identity: Arc<Identity>,
    pre: InstancePre<State>,
    indices: Indices,
    /// The configuration, where instances do not start configured.
    configure: Option<String>,
    concurrent: Arc<Semaphore>,
    weight: u32,
    warm: Option<Mutex<Vec<Warm>>>,
}

struct Warm {
    store: Store<State>,
    instance: Instance,
    calls: u32,
    /// The slots of the pool that it fills while it waits.
    slots: OwnedSemaphorePermit,
}

impl Runtime {
    pub(super) async fn new(
        engine: &Engine,
        component: &Component,
        identity: Arc<Identity>,
        configure: Option<String>,
        warm: bool,
    ) -> Result<Runtime, LoadError> {
        let plugin = identity.plugin.to_string();
        let weight = engine
            .weight(component)
            .map_err(|reason| LoadError::Invalid { plugin: plugin.clone(), reason })?;
        let pre = link::linked(engine, component, &plugin, !identity.secrets.is_empty())?;
        let indices = link::indices(&pre, &plugin)?;
        let concurrent = Arc::new(Semaphore::new(identity.limits.concurrent.max(1) as usize));
        let runtime = Runtime {
            engine: engine.clone(),
            pre,
            indices,
            configure,
            concurrent,
            weight,
            warm: warm.then(Mutex::default),
            identity,
        };
        runtime.probe().await?;
        Ok(runtime)
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::Configure | Hook::SelfTest => self.indices.lifecycle.is_some(),
            Hook::Authenticate => self.indices.authenticate.is_some(),
            Hook::Catalog => self.indices.catalog.is_some(),
            Hook::Access => self.indices.access.is_some(),
            Hook::Request => self.indices.request.is_some(),
            Hook::Upstream => self.indices.upstream.is_some(),
            Hook::Response => self.indices.response.is_some(),
            Hook::Ask | Hook::Answer => self.indices.input.is_some(),
            Hook::Notification => self.indices.notification.is_some(),
        }
    }

    /// Runs one hook.
    pub(super) async fn run(&self, hook: Hook, subject: Subject) -> Result<Ran, Failure> {
        let wall = Duration::from_millis(u64::from(self.identity.limits.wall_ms.max(1)));
        let result = self.run_within(hook, subject, wall).await;
        if let Err(failure) = &result {
            self.identity.counters.fault(failure.kind);
        }
        result
    }

    async fn run_within(&self, hook: Hook, subject: Subject, wall: Duration) -> Result<Ran, Failure> {
        let name = hook.name();
        let (_turn, slots) = self.permits(name, wall).await?;
        let (mut store, mut instance, calls, slots) = match slots {
            Slots::Held(warm) => (warm.store, Some(warm.instance), warm.calls, warm.slots),
            Slots::Free(slots) => (new_store(&self.engine, self.identity.clone()), None, 0, slots),
        };
        let work = async {
            let ready = match instance {
                Some(ready) => ready,
                None => self.start(&mut store).await?,
            };
            instance = Some(ready);
            begin(&mut store, subject, hook == Hook::SelfTest, self.identity.limits.cpu_ms);
            self.call(&mut store, &ready, hook, None).await
        };
        // A panic of the host's own in one plugin's call is that plugin's fault, not everybody's end.
        let work = AssertUnwindSafe(work).catch_unwind();
        let outcome = tokio::time::timeout(wall, work).await;
        let state = store.data_mut();
        state.log.settle();
        self.identity.counters.hook(state.budget.calls(), state.budget.pulled_bytes());
        let answer = match outcome {
            Ok(Ok(Ok(answer))) => answer,
            Ok(Ok(Err(error))) => {
                let limit = format!("limits.memory_mib: {}", self.identity.limits.memory_mib);
                return Err(classify(name, &error, state.memory.starved.then_some(limit.as_str())));
            }
            Ok(Err(_)) => {
                return Err(Failure {
                    kind: FailureKind::Host,
                    message: format!("{name}: Lockgate itself failed; this is a bug, please report it"),
                });
            }
            Err(_) => {
                let ms = wall.as_millis();
                return Err(Failure {
                    kind: FailureKind::Wall,
                    message: format!("{name}: it took longer than {ms} ms (`limits.wall_ms`)"),
                });
            }
        };
        let ran = Ran {
            answer,
            too_large: state.too_large,
            subject: std::mem::take(&mut state.subject),
            documents: std::mem::replace(&mut state.documents, Documents::new(self.identity.json_limits)),
        };
        if let Some(instance) = instance {
            self.keep(Warm { store, instance, calls: calls + 1, slots });
        }
        Ok(ran)
    }

    /// Waits for a turn of this filter and for room in the pool, at most as long as a hook may take.
    async fn permits(&self, name: &str, wall: Duration) -> Result<(OwnedSemaphorePermit, Slots), Failure> {
        if let Some(permits) = self.free_now() {
            return Ok(permits);
        }
        let wait = async {
            let turn = self.concurrent.clone().acquire_owned().await?;
            if let Some(warm) = self.warm_one() {
                return Ok((turn, Slots::Held(warm)));
            }
            let slots = self.engine.slots().clone().acquire_many_owned(self.weight).await?;
            Ok::<_, tokio::sync::AcquireError>((turn, Slots::Free(slots)))
        };
        match tokio::time::timeout(wall, wait).await {
            Ok(Ok(permits)) => Ok(permits),
            Ok(Err(_)) => Err(Failure {
                kind: FailureKind::Host,
                message: format!("{name}: plugins are being shut down"),
            }),
            Err(_) => Err(Failure {
                kind: FailureKind::Limit,
                message: format!(
                    "{name}: no instance became free within {} ms (`limits.concurrent: {}`, of {} for all filters)",
                    wall.as_millis(),
                    self.identity.limits.concurrent,
                    self.engine.settings().instances
                ),
            }),
        }
    }

    /// The usual case, without a timer.
    fn free_now(&self) -> Option<(OwnedSemaphorePermit, Slots)> {
        let turn = self.concurrent.clone().try_acquire_owned().ok()?;
        if let Some(warm) = self.warm_one() {
            return Some((turn, Slots::Held(warm)));
        }
        let slots = self.engine.slots().clone().try_acquire_many_owned(self.weight).ok()?;
        Some((turn, Slots::Free(slots)))
    }

    fn warm_one(&self) -> Option<Warm> {
        self.warm.as_ref()?.lock().ok()?.pop()
    }

    /// Puts a warm instance back, unless it is worn or may have grown out of proportion.
    fn keep(&self, warm: Warm) {
        let Some(pool) = &self.warm else { return };
        let memory = &warm.store.data().memory;
        if warm.calls >= WARM_CALLS || memory.starved || memory.bytes() > memory.most() / 2 {
            return;
        }
        if let Ok(mut pool) = pool.lock() {
            pool.push(warm);
        }
    }

    /// A new instance, configured if it does not start so.
    async fn start(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        if let Some(config) = &self.configure {
            begin(store, Subject::None, true, self.identity.limits.cpu_ms);
            match self.call(store, &instance, Hook::Configure, Some(config)).await? {
                Answer::Done(Err(failure)) => {
                    return Err(fault(FailureKind::Returned, format!("configure: {}", words(&failure))));
                }
                _ => return Ok(instance),
            }
        }
        Ok(instance)
    }

    /// Starts one instance and checks the type of every function it should have.
    async fn probe(&self) -> Result<(), LoadError> {
        let wall = Duration::from_millis(u64::from(self.identity.limits.wall_ms.max(1)));
        let failed = |reason: String| LoadError::Start { filter: self.identity.name.to_string(), reason };
        let _permits = self.permits("start", wall).await.map_err(|failure| failed(failure.message))?;
        let mut store = new_store(&self.engine, self.identity.clone());
        let start = AssertUnwindSafe(self.start(&mut store)).catch_unwind();
        let instance = match tokio::time::timeout(wall, start).await {
            Ok(Ok(Ok(instance))) => instance,
            Ok(Ok(Err(error))) => {
                let limit = format!("limits.memory_mib: {}", self.identity.limits.memory_mib);
                let starved = store.data().memory.starved.then_some(limit.as_str());
                return Err(failed(classify("start", &error, starved).message));
            }
            Ok(Err(_)) => return Err(failed("Lockgate itself failed; this is a bug".into())),
            Err(_) => return Err(failed(format!("it took longer than {} ms", wall.as_millis()))),
        };
        link::check_types(&self.indices, &mut store, &instance, &self.identity.plugin)
    }

    async fn call(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
        hook: Hook,
        config: Option<&String>,
    ) -> wasmtime::Result<Answer> {
        call(&self.indices, store, instance, hook, config).await
    }
}

/// Room in the pool, with or without an instance in it already.
enum Slots {
    Held(Warm),
    Free(OwnedSemaphorePermit),
}

/// Calls one exported function.
pub(super) async fn call(
    indices: &Indices,
    store: &mut Store<State>,
    instance: &Instance,
    hook: Hook,
    config: Option<&String>,
) -> wasmtime::Result<Answer> {
    let absent = || fault(FailureKind::Host, format!("the plugin does not export `{}`", hook.name()));
    Ok(match hook {
        Hook::Configure => {
            let guest = indices.lifecycle.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            Answer::Done(guest.call_configure(store, config.ok_or_else(absent)?).await?)
        }
        Hook::SelfTest => {
            let guest = indices.lifecycle.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            Answer::Done(guest.call_self_test(store).await?)
        }
        Hook::Authenticate => {
            let guest = indices.authenticate.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Decision(guest.call_authenticate(store, lent).await?)
        }
        Hook::Catalog => {
            let guest = indices.catalog.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Done(guest.call_on_definitions(store, lent).await?)
        }
        Hook::Access => {
            let guest = indices.access.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Visibilities(guest.call_decide(store, lent).await?)
        }
        Hook::Request => {
            let guest = indices.request.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Verdict(guest.call_on_request(store, lent).await?)
        }
        Hook::Upstream => {
            let guest = indices.upstream.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Exchange(guest.call_on_exchange(store, lent).await?)
        }
        Hook::Response => {
            let guest = indices.response.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Verdict(guest.call_on_response(store, lent).await?)
        }
        Hook::Ask => {
            let guest = indices.input.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Ask(guest.call_on_ask(store, lent).await?)
        }
        Hook::Answer => {
            let guest = indices.input.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Ask(guest.call_on_answer(store, lent).await?)
        }
        Hook::Notification => {
            let guest = indices.notification.as_ref().ok_or_else(absent)?.load(&mut *store, instance)?;
            let lent = store.data().lend();
            Answer::Delivery(guest.call_on_notification(store, lent).await?)
        }
    })
}

/// What a plugin says of its own failure.
pub(super) fn words(failure: &types::Failure) -> String {
    match failure {
        types::Failure::InvalidConfig(what) => format!("invalid configuration: {what}"),
        types::Failure::Unavailable(what) => format!("unavailable: {what}"),
        types::Failure::Internal(what) => what.clone(),
        types::Failure::Extra(_) => "a failure that this Lockgate does not know".into(),
    }
}
