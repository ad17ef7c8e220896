//! Any bytes: what the scanner takes, `serde_json` takes too and reads alike, whatever is spliced.
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

use host::jsonrpc::{Limits, Message, Source};

fn read(raw: &[u8]) -> Value {
    serde_json::from_slice(raw).expect("a part of a lawful message is JSON")
}

fuzz_target!(|data: &[u8]| {
    for source in [Source::Client, Source::Server] {
        match Message::parse(Bytes::copy_from_slice(data), &Limits::default(), source) {
            Ok(message) => {
                assert_eq!(message.bytes().len(), data.len());
                assert!(message.replaced_surrogates() > 0 || message.bytes() == data);
                assert!(source == Source::Server || message.replaced_surrogates() == 0);
                check(&message);
            }
            Err(violation) => {
                assert!(matches!(violation.code, -32700 | -32600));
                assert!(violation.at <= data.len());
                if let Some(id) = violation.id {
                    assert!(matches!(read(&id), Value::String(_) | Value::Number(_)));
                }
            }
        }
    }
});

fn check(message: &Message) {
    let theirs: Value = match serde_json::from_slice(message.bytes()) {
        // Beyond the range of f64: our numbers are text.
        Err(error) if error.to_string().contains("out of range") => return,
        theirs => theirs.expect("what the scanner takes is JSON"),
    };
    assert_eq!(message.method(), theirs["method"].as_str());
    assert_eq!(message.id().map(read), theirs.get("id").filter(|id| !id.is_null()).cloned());
    assert_eq!(message.params().map(|raw| read(&raw)), theirs.get("params").cloned());
    assert_eq!(message.result().map(|raw| read(&raw)), theirs.get("result").cloned());
    assert_eq!(message.error_object().map(|raw| read(&raw)), theirs.get("error").cloned());
    let object = |at: &str| theirs.pointer(at).and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in object("/params") {
        assert_eq!(message.param(&name).map(read), Some(value));
    }
    for (name, value) in object("/params/_meta") {
        assert_eq!(message.meta(&name).map(read), Some(value));
        // Debug builds scan the result of every splice again and compare the spans.
        assert_eq!(message.with_meta(&name, None).meta(&name), None);
    }
    for (name, value) in object("/result") {
        assert_eq!(message.result_member(&name).map(read), Some(value));
        assert_eq!(message.with_result_member(&name, None).result_member(&name), None);
        let _ = message.items(&name, "name");
    }
    if let Some(id) = message.id() {
        assert_eq!(message.with_id(id).bytes(), message.bytes());
    }
    if message.method().is_some() {
        let changed = message.with_meta("x-fuzz", Some(b"[1]")).with_param("x-fuzz", b"{}").with_id(b"7");
        assert_eq!((changed.meta("x-fuzz"), changed.param("x-fuzz")), (Some(&b"[1]"[..]), Some(&b"{}"[..])));
    }
    let frame = message.frame();
    assert!(!frame.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
    assert_eq!(read(&frame), theirs);
}
