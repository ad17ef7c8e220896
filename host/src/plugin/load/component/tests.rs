//! Real components through inspection, preparation, cache and self-test.

use std::fs;
use std::time::Duration;

use sha2::Digest;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use super::*;
use crate::config::{FilterLimits, Grants, Instances};
use crate::plugin::cache::MAX_BYTES;
use crate::plugin::open;
use crate::plugin::samples::component;

/// Accepts a configuration of at most 20 bytes, and fails its self-test if it has exactly 7.
const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (global $length (mut i32) (i32.const 0))
    (data (i32.const 16) "\01\00\00\00\00\00\00\00\30\00\00\00\0a\00\00\00")
    (data (i32.const 32) "\01\00\00\00\02\00\00\00\40\00\00\00\07\00\00\00")
    (data (i32.const 48) "`a` is odd")
    (data (i32.const 64) "seven!!")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "lockgate:plugin/lifecycle@0.1.0#configure") (param i32 i32) (result i32)
        (global.set $length (local.get 1))
        (select (i32.const 16) (i32.const 0) (i32.gt_u (local.get 1) (i32.const 20))))
    (func (export "lockgate:plugin/lifecycle@0.1.0#self-test") (result i32)
        (select (i32.const 32) (i32.const 0) (i32.eq (global.get $length) (i32.const 7))))
    (func (export "lockgate:plugin/access@0.1.0#decide") (param i32) (result i32) unreachable))"#;

fn guest() -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(format!("{}/../wit/v0.1", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let world = "package test:guest; world guest { export lockgate:plugin/lifecycle@0.1.0; \
                 export lockgate:plugin/access@0.1.0; }";
    let package = resolve.push_str("guest.wit", world).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(GUEST).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

fn candidate(wasm: Vec<u8>, config: &str) -> Candidate {
    Candidate {
        name: "f".into(),
        plugin: "p".into(),
        file: "p.wasm".into(),
        sha256: sha2::Sha256::digest(&wasm).into(),
        bytes: wasm.into(),
        inspection: None,
        max_bytes: 1 << 20,
        listed: true,
        config: config.into(),
        grants: Grants::default(),
        secrets: Vec::new(),
        instances: Instances::Fresh,
        // The tests share two cores with a compiler.
        limits: FilterLimits { cpu_ms: 2_000, wall_ms: 20_000, ..FilterLimits::default() },
    }
}

struct Workbench {
    folder: tempfile::TempDir,
    engine: Engine,
    settings: EngineSettings,
}

impl Workbench {
    fn new() -> Workbench {
        let settings = EngineSettings { instances: 4, memory_mib: 64 };
        Workbench { folder: tempfile::tempdir().unwrap(), engine: Engine::new(&settings).unwrap(), settings }
    }

    fn preparer(&self) -> Preparer {
        Preparer::in_process(self.engine.clone(), Duration::from_secs(120))
    }

    /// One that fails if it is asked.
    fn no_preparer(&self) -> Preparer {
        Preparer::with_program("/nowhere".into(), Vec::new(), Duration::from_secs(1))
    }

    fn loader(&self, preparer: Preparer) -> ComponentLoader {
        ComponentLoader::new(ComponentLoaderSettings {
            engine: self.engine.clone(),
            engine_settings: self.settings,
            preparer,
            cache: Some(Cache::open(&self.folder.path().join("cache"), MAX_BYTES).unwrap()),
            json_limits: open::json_limits(&crate::config::Config::default()),
        })
    }

    fn artifact(&self) -> std::path::PathBuf {
        let entries = fs::read_dir(self.folder.path().join("cache")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|ending| ending == "cwasm")).unwrap()
    }
}

#[tokio::test]
async fn the_second_load_takes_what_the_first_one_made() {
    let bench = Workbench::new();
    let first = bench.loader(bench.preparer()).load(candidate(guest(), "{}")).await.unwrap();
    assert_eq!(first.start, StartKind::Snapshot);
    assert!(first.filter.hooks().access && first.inspection.has_lifecycle());
    let second = bench.loader(bench.no_preparer()).load(candidate(guest(), "{}")).await.unwrap();
    assert_eq!(second.start, StartKind::Snapshot);
    let other = bench.loader(bench.no_preparer()).load(candidate(guest(), "{ }")).await;
    assert!(
        matches!(other.err().unwrap(), LoadError::Prepare(_)),
        "another configuration is another snapshot"
    );
}

#[tokio::test]
async fn a_damaged_cache_is_made_again() {
    let bench = Workbench::new();
    bench.loader(bench.preparer()).load(candidate(guest(), "{}")).await.unwrap();
    let file = bench.artifact();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let refused = bench.loader(bench.no_preparer()).load(candidate(guest(), "{}")).await;
    assert!(refused.is_err(), "it is not run");
    bench.loader(bench.preparer()).load(candidate(guest(), "{}")).await.unwrap();
    bench.loader(bench.no_preparer()).load(candidate(guest(), "{}")).await.unwrap();
}

#[tokio::test]
async fn each_step_says_why_it_refuses() {
    let bench = Workbench::new();
    let loader = bench.loader(bench.preparer());
    let refused =
        async |wasm: Vec<u8>, config: &str| loader.load(candidate(wasm, config)).await.err().unwrap();
    let error = refused(guest(), "{\"a\": \"much too long for it\"}").await;
    assert!(matches!(error, LoadError::Prepare(_)) && error.to_string().contains("`a` is odd"), "{error}");
    let error = refused(guest(), "{\"a\":1}").await;
    assert!(matches!(error, LoadError::SelfTest(_)) && error.to_string().contains("seven!!"), "{error}");
    let error = refused(component(&["access"], &[]), "{}").await;
    assert!(error.to_string().contains("access"), "a hook of another type is named: {error}");
    let error = refused(component(&["access"], &["secrets"]), "{}").await;
    assert!(matches!(error, LoadError::NotGranted { .. }), "{error}");
    let mut large = candidate(guest(), "{}");
    large.limits.memory_mib = 65;
    let error = loader.load(large).await.err().unwrap();
    assert!(matches!(error, LoadError::Memory { wanted: 65, most: 64 }), "{error}");
    let error = refused(b"\0asm".to_vec(), "{}").await;
    assert!(matches!(error, LoadError::Inspect(_)), "{error}");
}
