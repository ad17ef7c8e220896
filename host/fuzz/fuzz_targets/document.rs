//! Lines of bytes: the first is a document, the others are edits; a `serde_json` tree of the
//! document must say the same after every edit that was taken.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[path = "../../src"]
#[allow(
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the module is under test here"
)]
mod host {
    pub mod jsonrpc;
}

use host::jsonrpc::{Document, Limits};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let limits = Limits { bytes: 4096, depth: 16, members: 200, number_bytes: 64 };
    let Ok(mut document) = Document::parse(Bytes::copy_from_slice(first), limits) else { return };
    if serde_json::from_slice::<Value>(first).is_err_and(|error| error.to_string().contains("out of range")) {
        return;
    }
    // Each edit: a pointer, a tab, and a value; without a value the place is removed.
    for line in lines.take(8) {
        let (at, json) = match line.iter().position(|byte| *byte == b'\t') {
            Some(tab) => (&line[..tab], Some(&line[tab + 1..])),
            None => (line, None),
        };
        let Ok(at) = std::str::from_utf8(at) else { continue };
        let before = document.bytes().clone();
        let done = match json {
            Some(json) => document.set(at, json),
            None => document.remove(at),
        };
        if done.is_err() {
            assert_eq!(document.bytes(), &before, "a refused edit changes nothing");
            continue;
        }
        Document::parse(document.bytes().clone(), limits).expect("an edited document is under the law");
        let Ok(tree) = serde_json::from_slice::<Value>(document.bytes()) else { return };
        if let Some(json) = json {
            let read = document.get(at.strip_suffix("/-").unwrap_or(at)).expect("the pointer was taken");
            assert!(read.is_some());
            if !at.ends_with("/-") {
                assert_eq!(tree.pointer(at), serde_json::from_slice(json).ok().as_ref());
            }
        }
        let strings = document.strings("").expect("the empty pointer is one");
        for (at, text) in &strings {
            assert_eq!(tree.pointer(at).and_then(Value::as_str), Some(text.as_str()));
        }
        let before = document.bytes().clone();
        document.replace_strings(&strings).expect("all of them are there");
        assert_eq!(document.bytes(), &before);
    }
});
