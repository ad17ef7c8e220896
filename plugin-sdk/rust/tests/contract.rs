//! The SDK carries its own copy of the contract, so that it works when published.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, and its functions are part of it")]

use std::collections::BTreeMap;
use std::path::Path;

fn files(dir: &Path) -> BTreeMap<String, String> {
    std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn the_copy_of_the_contract_is_identical() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = files(&sdk.join("../../wit/v0.1"));
    let copy = files(&sdk.join("macros/wit"));
    assert_eq!(original.keys().collect::<Vec<_>>(), copy.keys().collect::<Vec<_>>());
    for (name, text) in &original {
        assert!(
            copy.get(name) == Some(text),
            "{name} differs: copy wit/v0.1/*.wit to plugin-sdk/rust/macros/wit/"
        );
    }
}
