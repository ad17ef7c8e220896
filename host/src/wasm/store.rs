//! What the host keeps for one instance: what it is asked about, what it did, and what it may still use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use super::bindings::lockgate::plugin::types::AccessError;
use super::engine::{Engine, TABLE_ELEMENTS, TICK};
use super::fault::fault;
use super::filter::Identity;
use super::host::documents::Documents;
use super::host::log::LogSink;
use super::host::pins::Pins;
use super::host::wasi::Wasi;
use crate::config::FilterLimits;
use crate::filter::{FailureKind, Outcome};
use crate::jsonrpc::{EditError, Meter};

pub(super) use super::host::subject::Subject;

/// Most handles that one instance may hold: a list of 1,000 definitions, each open, and some.
const HANDLES: usize = 4_096;
/// CPU time that a hook gains per MiB it pulls: reading what it asked for takes a while in slow languages.
const CPU_MS_PER_PULLED_MIB: u64 = 200;
/// Bytes of headroom over `output_bytes` that one crossing may copy: the frame around the answer.
const CROSSING_OVERHEAD: usize = 64 << 10;
/// The clock is read once in so many host calls, so that cheap ones stay cheap.
const CALLS_PER_CLOCK_READ: u32 = 64;

/// Everything of one instance that is not in its memory.
pub(super) struct State {
    pub(super) identity: Arc<Identity>,
    pub(super) subject: Subject,
    /// In `lifecycle`: clocks stand still, chance is zero, services that act refuse.
    pub(super) configuring: bool,
    pub(super) documents: Documents,
    pub(super) budget: Budget,
    /// Bounds what the host does over documents for this instance.
    pub(super) meter: Meter,
    pub(super) memory: Memory,
    pub(super) log: Arc<LogSink>,
    /// Made when the first WASI function is called, if ever.
    pub(super) wasi: Option<Box<Wasi>>,
    /// Whether something was too large for the hook to pull.
    pub(super) too_large: bool,
    /// Which hook call of this instance it is: handles of earlier ones are dead.
    turn: u16,
}

/// What one hook may still use.
pub(super) struct Budget {
    limits: FilterLimits,
    ticks: u64,
    pulled: u64,
    output: u64,
    calls: u32,
    /// Time that the host worked over documents; epochs do not see it.
    host: Duration,
    ends: Instant,
}

/// Memory and tables of one instance, summed: wasmtime's own limits are per memory.
pub(super) struct Memory {
    bytes: usize,
    /// What the host keeps for it.
    pub(super) pins: Pins,
    most: usize,
    elements: usize,
    /// Whether it was refused some.
    pub(super) starved: bool,
}

/// A store with every limit set, its budget not yet begun.
pub(super) fn new_store(engine: &Engine, identity: Arc<Identity>) -> Store<State> {
    let limits = identity.limits;
    let log = Arc::new(LogSink::new(identity.clone()));
    let state = State {
        documents: Documents::new(identity.json_limits),
        budget: Budget::new(limits),
        meter: Meter::new(),
        memory: Memory {
            bytes: 0,
            pins: Pins::default(),
            most: (limits.memory_mib as usize) << 20,
            elements: 0,
            starved: false,
        },
        subject: Subject::None,
        configuring: false,
        log,
        wasi: None,
        too_large: false,
        turn: 0,
        identity,
    };
    let mut store = Store::new(engine.wasmtime(), state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(
        usize::try_from(limits.output_bytes).unwrap_or(usize::MAX).saturating_add(CROSSING_OVERHEAD),
    );
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    // Yielding at every tick keeps the executor's other tasks quick, and lets the wall-clock
    // timeout around the hook be seen. Tokio's own yield lets sockets be looked at in between;
    // wasmtime's would put this task right back into the queue, 61 times before that.
    store.epoch_deadline_callback(|mut store| {
        let budget = &mut store.data_mut().budget;
        budget.ticks += 1;
        budget.has_cpu_time()?;
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

/// Prepares the store for its next hook: a fresh budget, and no handle of earlier ones.
pub(super) fn begin(store: &mut Store<State>, subject: Subject, configuring: bool, cpu_ms: u32) {
    let state = store.data_mut();
    state.subject = subject;
    state.configuring = configuring;
    state.documents.clear();
    state.too_large = false;
    state.budget = Budget::new(FilterLimits { cpu_ms, ..state.identity.limits });
    state.turn = state.turn.wrapping_add(1);
    state.log.refill();
    if let Some(wasi) = &state.wasi {
        wasi.set_configuring(configuring);
    }
    store.set_epoch_deadline(1);
}

impl State {
    /// Charges one call into the host.
    pub(super) fn tick(&mut self) -> wasmtime::Result<()> {
        self.budget.call()
    }

    /// The host's number for something of this turn. Handles carry the turn, so that one kept from
    /// an earlier hook of a warm instance names nothing.
    pub(super) fn rep(&self, index: u16) -> u32 {
        (u32::from(self.turn) << 16) | u32::from(index)
    }

    /// The counterpart of [`State::rep`].
    pub(super) fn index(&self, rep: u32) -> wasmtime::Result<u16> {
        let [turn_high, turn_low, index_high, index_low] = rep.to_be_bytes();
        if u16::from_be_bytes([turn_high, turn_low]) != self.turn {
            return Err(fault(FailureKind::BadOutput, "it used a handle of an earlier hook"));
        }
        Ok(u16::from_be_bytes([index_high, index_low]))
    }

    /// The one subject of this hook, lent to it.
    pub(super) fn lend<T: 'static>(&self) -> Resource<T> {
        Resource::new_borrow(self.rep(0))
    }

    /// Counts text on its way into the guest, where its type leaves no way to refuse it.
    pub(super) fn pull(&mut self, text: impl Into<String>) -> wasmtime::Result<String> {
        let text = text.into();
        self.pulled(text.len())?;
        Ok(text)
    }

    /// Counts bytes on their way into the guest. Beyond `limits.pull_bytes` the hook ends.
    pub(super) fn pulled(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let most = self.identity.limits.pull_bytes;
        if bytes as u64 > most {
            return Err(fault(
                FailureKind::TooLarge,
                format!("it asked for {bytes} bytes at once (`limits.pull_bytes: {most}`)"),
            ));
        }
        self.budget.pulled += bytes as u64;
        Ok(())
    }

    /// Does work over a document: no longer than the hook still has time, which it is charged for, and with
    /// an answer of at most `limits.pull_bytes`.
    ///
    /// Nothing yields in here. The work is as long as its document and stops when the time of the hook is over,
    /// and the guest yields as soon as it is back: the epoch has passed by then.
    pub(super) fn metered<T>(
        &mut self,
        work: impl FnOnce(&mut State) -> wasmtime::Result<Result<T, EditError>>,
    ) -> wasmtime::Result<Result<T, AccessError>> {
        let began = Instant::now();
        let room = usize::try_from(self.identity.limits.pull_bytes).unwrap_or(usize::MAX);
        self.meter.begin(room, self.budget.work_until(began));
        let result = work(self)?;
        self.budget.host += began.elapsed();
        self.budget.has_cpu_time()?;
        if self.meter.is_over() {
            self.budget.in_time()?;
            return Err(self.budget.out_of_cpu_time());
        }
        self.too_large |= matches!(result, Err(EditError::TooLarge(_)));
        Ok(result.map_err(AccessError::from))
    }

    /// Counts bytes that the guest hands to the host.
    pub(super) fn output(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.budget.output(bytes)
    }
}

impl Budget {
    fn new(limits: FilterLimits) -> Budget {
        let wall = Duration::from_millis(u64::from(limits.wall_ms));
        Budget {
            limits,
            ticks: 0,
            pulled: 0,
            output: 0,
            calls: 0,
            host: Duration::ZERO,
            ends: Instant::now() + wall,
        }
    }

    /// Bytes that went into the guest.
    pub(super) fn pulled_bytes(&self) -> u64 {
        self.pulled
    }

    /// Calls into the host.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) fn count_pulled(&mut self, bytes: usize) {
        self.pulled += bytes as u64;
    }

    /// CPU time that the hook may use in all: more for one that pulled more.
    fn cpu_time(&self) -> Duration {
        let earned = (self.pulled * CPU_MS_PER_PULLED_MIB) >> 20;
        Duration::from_millis(u64::from(self.limits.cpu_ms) + earned)
    }

    /// CPU time that it used, in the guest and in the host.
    fn cpu_time_used(&self) -> Duration {
        TICK.saturating_mul(u32::try_from(self.ticks).unwrap_or(u32::MAX)).saturating_add(self.host)
    }

    fn has_cpu_time(&self) -> wasmtime::Result<()> {
        if self.cpu_time_used() > self.cpu_time() { Err(self.out_of_cpu_time()) } else { Ok(()) }
    }

    fn out_of_cpu_time(&self) -> wasmtime::Error {
        let text = format!("it used up its CPU time (`limits.cpu_ms: {}`)", self.limits.cpu_ms);
        fault(FailureKind::Cpu, text)
    }

    /// Until when the host may work for it.
    fn work_until(&self, now: Instant) -> Instant {
        (now + self.cpu_time().saturating_sub(self.cpu_time_used())).min(self.ends)
    }

    /// Charges one call into the host, or one step of a call that takes a list. Epochs do not see
    /// time spent in the host, so the end of the hook is looked for here as well.
    pub(super) fn call(&mut self) -> wasmtime::Result<()> {
        self.calls += 1;
        if self.calls > self.limits.host_calls {
            let most = self.limits.host_calls;
            return Err(fault(
                FailureKind::Limit,
                format!("it called the host more than {most} times (`limits.host_calls`)"),
            ));
        }
        if self.calls.is_multiple_of(CALLS_PER_CLOCK_READ) {
            self.in_time()?;
        }
        Ok(())
    }

    /// Whether the hook's wall time is not over yet.
    pub(super) fn in_time(&self) -> wasmtime::Result<()> {
        if Instant::now() < self.ends {
            return Ok(());
        }
        let most = self.limits.wall_ms;
        Err(fault(FailureKind::Wall, format!("it took longer than {most} ms (`limits.wall_ms`)")))
    }

    pub(super) fn output(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.output += bytes as u64;
        let most = self.limits.output_bytes;
        if self.output > most {
            return Err(fault(
                FailureKind::Limit,
                format!("it handed over more than {most} bytes (`limits.output_bytes`)"),
            ));
        }
        Ok(())
    }
}

impl Memory {
    /// Bytes in all linear memories.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether the host may keep so many bytes more for it.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(self.pins.bytes()).saturating_add(bytes) <= self.most
    }

    /// For while a snapshot is read out, when the instance runs code of the host's.
    pub(super) fn lift(&mut self) {
        self.most = usize::MAX;
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let sum = self.bytes.saturating_add(desired.saturating_sub(current));
        if sum.saturating_add(self.pins.bytes()) > self.most {
            self.starved = true;
            return Ok(false);
        }
        self.bytes = sum;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let sum = self.elements.saturating_add(desired.saturating_sub(current));
        if sum > TABLE_ELEMENTS * 2 {
            self.starved = true;
            return Ok(false);
        }
        self.elements = sum;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.starved = true;
        Ok(())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.starved = true;
        Ok(())
    }

    // The counts below are those that one component may need in the pool.
    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        32
    }

    fn memories(&self) -> usize {
        8
    }
}

/// The bytes of an outcome.
pub(super) fn outcome_bytes(outcome: &Outcome) -> &Bytes {
    match outcome {
        Outcome::Success(bytes) | Outcome::Failure(bytes) => bytes,
    }
}
