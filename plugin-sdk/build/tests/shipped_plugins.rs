//! Builds the shipped plugins with the real toolchain and reads the components back.
//!
//! The first run compiles the standard library for WebAssembly where rustup has no target; without a
//! toolchain the test fails and says how to get one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, and its functions are part of it"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use lockgate_plugin_build::{Built, Options, build};
use wasmparser::{Parser, Payload};
use wit_component::DecodedWasm;

/// Hooks and imported interfaces (of `lockgate:plugin`) of each shipped plugin. All import `log`: the SDK
/// reports panics there.
const EXPECTED: [(&str, &[&str], &[&str]); 5] = [
    ("api-key-auth", &["lifecycle", "authenticate"], &["types", "context", "log", "clock"]),
    ("approve", &["lifecycle", "request"], &["types", "documents", "context", "log"]),
    ("header-inject", &["lifecycle", "upstream"], &["types", "context", "log", "secrets"]),
    (
        "redact",
        &["lifecycle", "response", "input", "notification"],
        &["types", "documents", "context", "log"],
    ),
    ("tool-filter", &["lifecycle", "catalog", "access"], &["types", "context", "log"]),
];

/// Above this a shipped plugin is no longer a small example.
const MAX_SIZE: u64 = 150_000;

/// `redact` carries an engine for regular expressions, and walks documents that are too large to pull at once.
const MAX_SIZE_REDACT: u64 = 205_000;

fn built() -> &'static [Built] {
    static BUILT: OnceLock<Vec<Built>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let options = Options {
            // The workspace has guests of the host's tests as well.
            packages: EXPECTED.map(|(name, ..)| name.to_owned()).to_vec(),
            out_dir: Some(root.join("target/plugins-under-test")),
            ..Options::default()
        };
        build(&root, &options, &mut |line| eprintln!("{line}")).unwrap()
    })
}

fn bytes(name: &str) -> Vec<u8> {
    let built = built().iter().find(|built| built.name == name).unwrap();
    assert_eq!(std::fs::metadata(&built.path).unwrap().len(), built.size);
    std::fs::read(&built.path).unwrap()
}

/// Exported and imported interface names of a component.
fn interfaces(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(bytes).unwrap() else {
        panic!("not a component");
    };
    let world = &resolve.worlds[world];
    let names = |keys: Vec<_>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    (names(world.exports.keys().collect()), names(world.imports.keys().collect()))
}

/// Custom sections of the component itself, not of the modules in it.
fn sections(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut depth = 0;
    let mut sections = BTreeMap::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) if depth == 1 => {
                sections.insert(section.name().to_owned(), section.data().to_vec());
            }
            _ => {}
        }
    }
    sections
}

#[test]
fn they_are_all_there_and_small() {
    let mut names: Vec<&str> = built().iter().map(|built| built.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, EXPECTED.map(|(name, ..)| name));
    for built in built() {
        let limit = if built.name == "redact" { MAX_SIZE_REDACT } else { MAX_SIZE };
        assert!(built.size < limit, "{} has {} bytes", built.name, built.size);
    }
}

#[test]
fn they_export_the_listed_hooks_and_import_only_what_they_use() {
    for (name, exports, imports) in EXPECTED {
        let (found_exports, found_imports) = interfaces(&bytes(name));
        let full = |names: &[&str]| -> Vec<String> {
            let mut names: Vec<String> =
                names.iter().map(|name| format!("lockgate:plugin/{name}@0.1.0")).collect();
            names.sort_unstable();
            names
        };
        let sorted = |mut names: Vec<String>| {
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(found_exports), full(exports), "exports of {name}");
        assert_eq!(sorted(found_imports), full(imports), "imports of {name}");
    }
}

#[test]
fn they_carry_their_name_version_schema_and_reasons() {
    for (name, ..) in EXPECTED {
        let sections = sections(&bytes(name));
        let text = |section: &str| String::from_utf8(sections[section].clone()).unwrap();
        assert_eq!(text("version"), env!("CARGO_PKG_VERSION"), "{name}");
        assert_eq!(text("licenses"), "MIT OR Apache-2.0", "{name}");
        assert!(text("description").len() > 20, "{name}");
        let schema: serde_json::Value = serde_json::from_str(&text("lockgate:config-schema")).unwrap();
        assert_eq!(schema["type"], "object", "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
    }
    let reasons: serde_json::Value =
        serde_json::from_slice(&sections(&bytes("header-inject"))["lockgate:import-reasons"]).unwrap();
    assert!(reasons["secrets"].is_string());
}
