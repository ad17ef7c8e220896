//! The one WebAssembly engine of the process: features, pool, and the clock that interrupts guests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmFeatures,
};

use super::fault::LoadError;

/// How often a running guest is looked at. CPU budgets are counted in these ticks.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Most core instances of one component. CPython with its libraries is the largest known, with some 30.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
/// Most linear memories of one component. Real ones have one, or two with an adapter.
const MEMORIES_PER_COMPONENT: u32 = 8;
/// Most tables of one component.
const TABLES_PER_COMPONENT: u32 = 32;
/// Most elements of one table. CPython needs some 15,000.
pub(super) const TABLE_ELEMENTS: usize = 65_536;
/// What one instance of average size is reckoned with, as the pool is shared: Rust guests are two
/// or three core instances with one memory and two tables. Larger ones take several slots.
pub(super) const CORE_INSTANCES_PER_SLOT: u32 = 8;
const MEMORIES_PER_SLOT: u32 = 2;
const TABLES_PER_SLOT: u32 = 4;

/// How large the engine is.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Instances that can be at work at once, over all filters.
    pub instances: u32,
    /// Largest `limits.memory_mib` of any filter.
    pub memory_mib: u32,
}

impl Default for EngineSettings {
    fn default() -> Self {
        // 256 calls in flight per server, two filters deep.
        EngineSettings { instances: 512, memory_mib: 64 }
    }
}

/// The engine. Cheap to clone; one per process, as components belong to the engine they were
/// loaded into.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    wasmtime: wasmtime::Engine,
    /// One permit per slot of the pool, so that a full pool means waiting and not an error.
    slots: Arc<Semaphore>,
    settings: EngineSettings,
    pooled: bool,
}

impl Engine {
    /// Makes the engine and starts its clock. Falls back to allocation on demand (slower by tens of
    /// microseconds a call) where the address space for the pool cannot be had.
    ///
    /// # Errors
    /// The platform cannot run WebAssembly, or no thread can be started.
    pub fn new(settings: &EngineSettings) -> Result<Engine, LoadError> {
        let settings =
            EngineSettings { instances: settings.instances.max(1), memory_mib: settings.memory_mib.max(1) };
        let mut config = base_config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(&settings)));
        let (engine, pooled) = match wasmtime::Engine::new(&config) {
            Ok(engine) => (engine, true),
            Err(error) => {
                tracing::warn!(
                    "no pool for {} plugin instances ({error:#}): they are allocated on demand; raise \
                     the limit on address space (ulimit -v)",
                    settings.instances
                );
                let engine = wasmtime::Engine::new(&base_config())
                    .map_err(|error| LoadError::Engine(format!("{error:#}")))?;
                (engine, false)
            }
        };
        start_clock(&engine)?;
        let slots = Arc::new(Semaphore::new(settings.instances as usize));
        Ok(Engine(Arc::new(Inner { wasmtime: engine, slots, settings, pooled })))
    }

    /// Whether instances come from the pool.
    pub fn pooled(&self) -> bool {
        self.0.pooled
    }

    /// What an artifact depends on besides the plugin and its configuration: wasmtime's version, its
    /// settings and the CPU's features. For the key of a cache.
    pub fn compatibility(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.0.wasmtime.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    /// The engine beneath, for benchmarks that compare with it.
    #[doc(hidden)]
    pub fn bare(&self) -> &wasmtime::Engine {
        self.wasmtime()
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    pub(super) fn slots(&self) -> &Arc<Semaphore> {
        &self.0.slots
    }

    pub(super) fn settings(&self) -> &EngineSettings {
        &self.0.settings
    }

    /// How many slots of the pool one instance of the component takes.
    pub(super) fn weight(&self, component: &wasmtime::component::Component) -> Result<u32, String> {
        // None: the component imports modules or components, so nobody can tell. The linker refuses it anyway.
        let Some(need) = component.resources_required() else { return Ok(1) };
        for (what, have, most) in [
            ("memories", need.num_memories, MEMORIES_PER_COMPONENT),
            ("tables", need.num_tables, TABLES_PER_COMPONENT),
        ] {
            if have > most {
                return Err(format!("it has {have} {what}; at most {most} are possible"));
            }
        }
        let slots =
            need.num_memories.div_ceil(MEMORIES_PER_SLOT).max(need.num_tables.div_ceil(TABLES_PER_SLOT));
        Ok(slots.clamp(1, self.0.settings.instances))
    }
}

/// Everything that the compiled code depends on; the same with and without the pool.
fn base_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Epochs bound time for a sixth of the cost of fuel, which only determinism would need.
        .consume_fuel(false)
        // Speed: a plugin is compiled once and called millions of times.
        .cranelift_opt_level(OptLevel::Speed)
        // Deep recursion ends at a quarter of the fiber's stack, the rest is for host functions.
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        // Guests cannot read the native stack, and zeroing it would cost on every call.
        .async_stack_zeroing(false)
        // Walking the stack on every trap costs more than the hook; `plugin inspect` is the place
        // to debug a trap.
        .wasm_backtrace_max_frames(None)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        // No symbolication means no need for the map from machine code to wasm offsets.
        .generate_address_map(false)
        // Component-model async is young, and no hook needs it (design, section 4).
        .concurrency_support(false)
        .memory_init_cow(true)
        // The features with an advisory or without a user: 64-bit memories, stack switching,
        // exceptions, custom page sizes, wide arithmetic.
        .wasm_features(
            WasmFeatures::MEMORY64
                | WasmFeatures::STACK_SWITCHING
                | WasmFeatures::EXCEPTIONS
                | WasmFeatures::CUSTOM_PAGE_SIZES
                | WasmFeatures::WIDE_ARITHMETIC,
            false,
        )
        // The same answer on every machine, so that a replica decides as its neighbour does.
        .relaxed_simd_deterministic(true);
    config
}

fn pool(settings: &EngineSettings) -> PoolingAllocationConfig {
    let n = settings.instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(n)
        .total_core_instances(n.saturating_mul(CORE_INSTANCES_PER_SLOT))
        .total_memories(n.saturating_mul(MEMORIES_PER_SLOT))
        .total_tables(n.saturating_mul(TABLES_PER_SLOT))
        .total_stacks(n)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memories_per_module(MEMORIES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS)
        .max_core_instance_size(2 << 20)
        .max_component_instance_size(2 << 20)
        .max_memory_size((settings.memory_mib as usize) << 20)
        // Asking the kernel which pages a guest wrote resets only those (Linux 6.7 and later): a
        // Rust guest writes a few, and without this its reset costs 50 µs and more.
        .pagemap_scan(Enabled::Auto)
        // Up to here written pages are copied back from the image instead of being unmapped, which
        // saves the page faults of the next instance in the slot.
        .linear_memory_keep_resident(512 << 10)
        .table_keep_resident(64 << 10)
        // Slots that stay bound to one plugin's image. What they keep resident is bounded by this
        // number times the line above: 64 MiB.
        .max_unused_warm_slots(128);
    pool
}

/// A thread of the operating system, because a busy executor would be late and guests would run over.
fn start_clock(engine: &wasmtime::Engine) -> Result<(), LoadError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("plugin-clock".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(drop)
        .map_err(|error| LoadError::Engine(format!("cannot start its clock: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_without_the_pool_runs_with_it() {
        // A child process with bounded address space has no pool, and compiles for one that has.
        let pooled = Engine::new(&EngineSettings { instances: 2, memory_mib: 64 }).expect("an engine");
        assert!(pooled.pooled());
        let on_demand = wasmtime::Engine::new(&base_config()).expect("an engine");
        let compiled =
            on_demand.precompile_component(&wat::parse_str("(component)").expect("text")).expect("compiled");
        // SAFETY: made by this program, a moment ago.
        unsafe { wasmtime::component::Component::deserialize(pooled.wasmtime(), &compiled) }.expect("loaded");
    }
}
