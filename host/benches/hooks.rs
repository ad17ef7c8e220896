//! What a hook call through the real contract costs, beside a bare call of the same guest.
//!
//! The guest (`benches/guest`) is what real filters are: configured with 50 KB, snapshotted, and
//! then asked one thing by name. *Real* is [`WasmFilter`]: permits, limits, timeout, pulled call,
//! checked answer. *Bare* is the least that wasmtime can do in the same engine with the same
//! compiled guest: store, instance, one host function, call. The two alternate call by call, so
//! that noise falls on both, and the medians and their ratio are printed.
//!
//! `cargo xtask bench` builds the guest first. `BENCH_GUEST` names the module if it lies elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::Criterion;
use lockgate::config::{FilterLimits, Instances};
use lockgate::filter::{CallView, Caller, ClientInfo, Filter, Item, ItemKind, ItemsView, Verdict};
use lockgate::jsonrpc;
use lockgate::wasm::{
    Artifact, Engine, EngineSettings, Loading, Preparation, Prepared, Start, WasmFilter, prepare,
};
use tokio::runtime::Runtime;

/// Calls of each kind behind the printed medians.
const ROUNDS: usize = 20_000;

fn main() {
    let engine = Engine::new(&EngineSettings::default()).expect("an engine");
    let prepared = prepared(&engine);
    // Several threads, as in service: the calling thread also polls the hook's future.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let filter = runtime.block_on(load(&engine, &prepared));
    let bare = bare::Bare::new(engine.bare(), &prepared.artifact);
    let view = Arc::new(call());

    compare(&runtime, &filter, &bare, &view);

    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("hook/request/fresh", |b| {
        b.to_async(&runtime).iter(|| async { filter.request(view.clone()).await.expect("a verdict") });
    });
    criterion.bench_function("hook/request/bare", |b| {
        b.to_async(&runtime).iter(|| async { bare.request().await });
    });
    let items = Arc::new(items(1_000));
    criterion.bench_function("hook/access/1000", |b| {
        b.to_async(&runtime).iter(|| async { filter.access(items.clone()).await.expect("answers") });
    });
    criterion.final_summary();
}

fn compare(runtime: &Runtime, filter: &WasmFilter, bare: &bare::Bare, view: &Arc<CallView>) {
    let (mut real_times, mut bare_times) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        for round in 0..ROUNDS + ROUNDS / 10 {
            let begun = Instant::now();
            let effects = filter.request(view.clone()).await.expect("a verdict");
            let real = begun.elapsed();
            assert!(matches!(effects.verdict, Verdict::Proceed));
            let begun = Instant::now();
            black_box(bare.request().await);
            let bare = begun.elapsed();
            // The first tenth warms slots and caches.
            if round >= ROUNDS / 10 {
                real_times.push(real);
                bare_times.push(bare);
            }
        }
    });
    let (real, bare) = (quantiles(&mut real_times), quantiles(&mut bare_times));
    println!("request hook, fresh instance from the snapshot, {ROUNDS} calls each, alternating:");
    println!("  real: median {:?}, p95 {:?}", real.0, real.1);
    println!("  bare: median {:?}, p95 {:?}", bare.0, bare.1);
    println!("  ratio of medians: {:.2}\n", real.0.as_secs_f64() / bare.0.as_secs_f64());
}

fn quantiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    (at(50), at(95))
}

/// A denial list of about 50 KB, none of whose names is called.
fn config() -> String {
    let names: Vec<String> = (0..2_000).map(|n| format!("\"some_tool_name_{n:08}\"")).collect();
    format!("{{\"deny\":[{}]}}", names.join(","))
}

fn prepared(engine: &Engine) -> Prepared {
    let default = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/bench-guest/wasm32-unknown-unknown/release/bench_guest.wasm"
    );
    let path = std::env::var("BENCH_GUEST").unwrap_or_else(|_| default.into());
    let module = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("cannot read {path}: {error}; `cargo xtask bench` builds it"));
    let mut encoder =
        wit_component::ComponentEncoder::default().module(&module).expect("a guest with metadata");
    let wasm = encoder.encode().expect("a component");
    let limits = FilterLimits::default();
    let preparation = Preparation { wasm: &wasm, config: &config(), limits: &limits, name: "bench-guest" };
    let prepared = prepare(engine, preparation).expect("prepared");
    assert_eq!(prepared.start, Start::Snapshot);
    prepared
}

async fn load(engine: &Engine, prepared: &Prepared) -> WasmFilter {
    let loading = Loading {
        name: "bench".into(),
        plugin: "bench-guest".into(),
        artifact: Artifact::Bytes(prepared.artifact.clone().into()),
        start: prepared.start.clone(),
        config: config().into(),
        secrets_granted: BTreeMap::new(),
        instances: Instances::Fresh,
        limits: FilterLimits::default(),
        json_limits: jsonrpc::Limits { bytes: 16 << 20, depth: 64, members: 100_000, number_bytes: 1_024 },
    };
    let filter = WasmFilter::load(engine, loading).await.expect("loaded");
    filter.self_test().await.expect("it works");
    filter
}

fn caller() -> Arc<Caller> {
    Arc::new(Caller {
        principal: None,
        client: Arc::new(ClientInfo {
            info: None,
            capabilities: Bytes::from_static(b"{}"),
            protocol_version: "2025-11-25".into(),
            transport: "streamable-http",
            address: None,
        }),
        headers: Arc::default(),
    })
}

fn call() -> CallView {
    CallView {
        id: 1,
        method: "tools/call".into(),
        server: "files".into(),
        name: Some("read_file".into()),
        visible_name: Some("read_file".into()),
        caller: caller(),
        round: 0,
        deadline: Instant::now() + Duration::from_secs(600),
        params: Bytes::from_static(br#"{"name":"read_file","arguments":{"path":"/etc/hostname"}}"#),
        answers: Arc::default(),
        definition: None,
        outcome: None,
        upstream_status: None,
        upstream_headers: None,
        state: Arc::default(),
        decisions: Arc::default(),
    }
}

fn items(count: usize) -> ItemsView {
    let item = |n: usize| {
        let name: Arc<str> = format!("tool_number_{n}").into();
        let definition = format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#);
        Item { visible_name: name.clone(), name, definition: Some(definition.into()) }
    };
    ItemsView {
        server: "files".into(),
        kind: ItemKind::Tool,
        method: "tools/list".into(),
        items: (0..count).map(item).collect(),
        caller: caller(),
        decisions: None,
    }
}

/// The least that a call of the guest can cost.
mod bare {
    use wasmtime::component::{Component, InstancePre, Linker, Resource, ResourceType};
    use wasmtime::{Engine, Store, StoreContextMut};

    // Only the types and the typed calls of the generated code are used.
    #[allow(dead_code, clippy::all, missing_docs)]
    mod bindings {
        wasmtime::component::bindgen!({
            path: "../wit/v0.1",
            world: "plugin",
            imports: { default: trappable },
            exports: { default: async },
        });
    }

    use bindings::exports::lockgate::plugin::request::GuestIndices;
    use bindings::lockgate::plugin::context::{Call, Items};
    use bindings::lockgate::plugin::types;

    pub struct Bare {
        engine: Engine,
        pre: InstancePre<&'static str>,
        indices: GuestIndices,
    }

    impl Bare {
        pub fn new(engine: &Engine, artifact: &[u8]) -> Bare {
            // SAFETY: made by this program, a moment ago.
            let component = unsafe { Component::deserialize(engine, artifact) }.expect("a component");
            let mut linker = Linker::<&'static str>::new(engine);
            let mut types = linker.instance("lockgate:plugin/types@0.1.0").expect("types");
            for (name, ty) in [
                ("extra-failure", ResourceType::host::<types::ExtraFailure>()),
                ("extra-access-error", ResourceType::host::<types::ExtraAccessError>()),
                ("extra-rejection", ResourceType::host::<types::ExtraRejection>()),
                ("extra-verdict", ResourceType::host::<types::ExtraVerdict>()),
            ] {
                types.resource(name, ty, |_, _| Ok(())).expect("a resource");
            }
            let mut context = linker.instance("lockgate:plugin/context@0.1.0").expect("context");
            context.resource("call", ResourceType::host::<Call>(), |_, _| Ok(())).expect("call");
            context.resource("items", ResourceType::host::<Items>(), |_, _| Ok(())).expect("items");
            context
                .func_wrap(
                    "[method]call.name",
                    |store: StoreContextMut<'_, &'static str>, (_,): (Resource<Call>,)| {
                        Ok((Some(store.data().to_string()),))
                    },
                )
                .expect("name");
            context
                .func_wrap(
                    "[method]items.names",
                    |_: StoreContextMut<'_, &'static str>, (_,): (Resource<Items>,)| {
                        Ok((Vec::<String>::new(),))
                    },
                )
                .expect("names");
            let pre = linker.instantiate_pre(&component).expect("linked");
            let indices = GuestIndices::new(&pre).expect("the hook");
            Bare { engine: engine.clone(), pre, indices }
        }

        pub async fn request(&self) -> types::Verdict {
            let mut store = Store::new(&self.engine, "read_file");
            store.set_epoch_deadline(1 << 30);
            let instance = self.pre.instantiate_async(&mut store).await.expect("an instance");
            let guest = self.indices.load(&mut store, &instance).expect("the hook");
            guest
                .call_on_request(&mut store, Resource::new_borrow(0))
                .await
                .expect("a call")
                .expect("a verdict")
        }
    }
}
