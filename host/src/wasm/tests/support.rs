//! Components from core WAT, one engine for all tests, and views to call hooks with.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use super::super::*;
use crate::config::{FilterLimits, Instances};
use crate::filter::*;
use crate::jsonrpc;

pub(super) const LAW: jsonrpc::Limits =
    jsonrpc::Limits { bytes: 16 << 20, depth: 64, members: 100_000, number_bytes: 1_024 };

pub(super) static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(&EngineSettings { instances: 64, memory_mib: 64 }).expect("an engine"));

/// A file of `tests/wat/`, as a component of the world in its first comments.
pub(super) fn wat(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/wat/{name}.wat", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the guest's text");
    let world: String = text.lines().filter_map(|line| line.strip_prefix(";; world: ")).collect();
    let mut resolve = Resolve::default();
    resolve.push_dir(format!("{}/../wit/v0.1", env!("CARGO_MANIFEST_DIR"))).expect("the contract");
    for package in WASI {
        resolve.push_str("wasi.wit", package).expect("the part of WASI");
    }
    component(resolve, &world, &text)
}

/// As much of WASI 0.2 as the guests here use.
const WASI: [&str; 4] = [
    "package wasi:io@0.2.0;
    interface error { resource error; }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }",
    "package wasi:cli@0.2.0;
    interface stdout {
        use wasi:io/streams@0.2.0.{output-stream};
        get-stdout: func() -> output-stream;
    }",
    "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }",
    "package wasi:clocks@0.2.0; interface monotonic-clock { now: func() -> u64; }",
];

/// A component against other WIT than ours.
pub(super) fn component_of(wit: &str, world: &str, core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_str("other.wit", wit).expect("the other WIT");
    component(resolve, world, core)
}

fn component(mut resolve: Resolve, world: &str, core: &str) -> Vec<u8> {
    let package = format!("package test:guest; world guest {{ {world} }}");
    let package = resolve.push_str("guest.wit", &package).expect("the world");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world");
    let mut module = ::wat::parse_str(core).expect("the core module");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("metadata");
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("the module");
    encoder.encode().expect("a component")
}

/// Everything about a filter that tests vary.
pub(super) struct Setup {
    pub(super) config: &'static str,
    pub(super) limits: FilterLimits,
    pub(super) instances: Instances,
    pub(super) secrets: BTreeMap<String, GrantedSecret>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            config: "{}",
            // The tests share two cores with a compiler: what ends a hook must be the limit under test.
            limits: FilterLimits { cpu_ms: 2_000, wall_ms: 20_000, ..FilterLimits::default() },
            instances: Instances::Fresh,
            secrets: BTreeMap::new(),
        }
    }
}

pub(super) fn prepared(wasm: &[u8], setup: &Setup) -> Result<Prepared, PrepareError> {
    prepare(&ENGINE, Preparation { wasm, config: setup.config, limits: &setup.limits, name: "guest" })
}

pub(super) async fn load(wasm: &[u8], setup: Setup) -> Result<WasmFilter, LoadError> {
    let prepared = prepared(wasm, &setup).expect("prepared");
    load_prepared(prepared, setup).await
}

pub(super) async fn load_prepared(prepared: Prepared, setup: Setup) -> Result<WasmFilter, LoadError> {
    let loading = Loading {
        name: "the-filter".into(),
        plugin: "guest".into(),
        artifact: Artifact::Bytes(prepared.artifact.into()),
        start: prepared.start,
        config: setup.config.into(),
        secrets_granted: setup.secrets,
        instances: setup.instances,
        limits: setup.limits,
        json_limits: LAW,
    };
    WasmFilter::load(&ENGINE, loading).await
}

pub(super) async fn filter(name: &str) -> WasmFilter {
    load(&wat(name), Setup::default()).await.expect("loaded")
}

pub(super) fn caller() -> Arc<Caller> {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-team", http::HeaderValue::from_static("blue"));
    headers.append("x-team", http::HeaderValue::from_static("green"));
    headers.insert("authorization", http::HeaderValue::from_static("Bearer t"));
    Arc::new(Caller {
        principal: Some(Arc::new(Principal {
            id: "ada".into(),
            issuer: "keys".into(),
            claims: Bytes::from_static(br#"{"role":"dev"}"#),
            expires_at: None,
        })),
        client: Arc::new(ClientInfo {
            info: Some(Bytes::from_static(br#"{"name":"test","version":"1"}"#)),
            capabilities: Bytes::from_static(b"{}"),
            protocol_version: "2025-11-25".into(),
            transport: "stdio",
            address: None,
        }),
        headers: Arc::new(headers),
    })
}

pub(super) fn call() -> CallView {
    CallView {
        id: 7,
        method: "tools/call".into(),
        server: "files".into(),
        name: Some("read_file".into()),
        visible_name: Some("read".into()),
        caller: caller(),
        round: 0,
        deadline: Instant::now() + Duration::from_secs(60),
        params: Bytes::from_static(
            br#"{"name":"read_file","arguments":{"path":"/a","n":1.0},"_meta":{"progressToken":5,"mine":1}}"#,
        ),
        answers: Arc::default(),
        definition: None,
        outcome: None,
        upstream_status: None,
        upstream_headers: None,
        state: Arc::new(BTreeMap::new()),
        decisions: Arc::default(),
    }
}

pub(super) fn items(names: &[&str]) -> ItemsView {
    let item = |name: &&str| Item {
        name: (*name).into(),
        visible_name: (*name).into(),
        definition: Some(format!(r#"{{"name":"{name}","annotations":{{"readOnlyHint":true}}}}"#).into()),
    };
    ItemsView {
        server: "files".into(),
        kind: ItemKind::Tool,
        method: "tools/list".into(),
        items: names.iter().map(item).collect(),
        caller: caller(),
        decisions: None,
    }
}

pub(super) fn exchange(server: &str) -> ExchangeView {
    ExchangeView {
        server: server.into(),
        purpose: "call",
        method: "POST",
        url: "http://127.0.0.1:1/mcp".into(),
        message: Some(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)),
        call: Some(Arc::new(call())),
        principal: None,
        headers: http::HeaderMap::new(),
    }
}
