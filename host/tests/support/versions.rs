//! Further versions of the guest `marker`: its version is a literal of fixed length in the file.

use super::paths;

const START: &[u8] = b"lockgate-marker-v";

/// The component of that version, and the text it stamps.
pub fn marker(version: u32) -> (Vec<u8>, String) {
    let text = format!("lockgate-marker-v{version:07}");
    let mut wasm = std::fs::read(paths::plugin("marker")).unwrap();
    let mut found = 0;
    for at in 0..wasm.len() - text.len() {
        // Followed by digits: names and descriptions that begin alike stay as they are.
        if wasm[at..].starts_with(START) && wasm[at + START.len()].is_ascii_digit() {
            wasm[at..at + text.len()].copy_from_slice(text.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "the marker holds no version to replace");
    (wasm, text)
}
