//! What holds for any message: its bytes stay, and it says what `serde_json` reads in it.

use std::borrow::Cow;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::super::{Kind, Limits, Message, Source, get};
use super::{any_message, message, value};

fn read(raw: &[u8]) -> Value {
    serde_json::from_slice(raw).unwrap()
}

/// Bytes that are nearly a message.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        any::<prop::sample::Index>(),
        prop_oneof![
            Just(b"\"".to_vec()),
            Just(b"\\".to_vec()),
            Just(b"{".to_vec()),
            Just(b"}".to_vec()),
            Just(b",".to_vec()),
            Just(b"\\u".to_vec()),
            Just(b"\\ud800".to_vec()),
            Just(b"0".to_vec()),
            Just(b"[".to_vec()),
            Just(b"\n".to_vec()),
            Just(vec![]),
            proptest::collection::vec(any::<u8>(), 1..4),
        ],
        0usize..3,
    );
    (any_message(), proptest::collection::vec(edit, 1..4)).prop_map(|(text, edits)| {
        let mut bytes = text.into_bytes();
        for (place, with, cut) in edits {
            let at = place.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, with);
        }
        bytes
    })
}

/// If our scanner takes the bytes, so does `serde_json`, and both read the same.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(message) = Message::parse(Bytes::copy_from_slice(bytes), &Limits::default(), Source::Client)
    else {
        return Ok(());
    };
    prop_assert_eq!(message.bytes(), bytes);
    // The one thing that we take and `serde_json` does not: a number beyond the range of f64.
    let theirs: Value = match serde_json::from_slice(bytes) {
        Err(error) if error.to_string().contains("out of range") => return Ok(()),
        theirs => theirs.map_err(|error| TestCaseError::fail(error.to_string()))?,
    };
    prop_assert_eq!(message.method(), theirs["method"].as_str());
    prop_assert_eq!(message.id().map(read), theirs.get("id").filter(|id| !id.is_null()).cloned());
    prop_assert_eq!(message.params().map(|raw| read(&raw)), theirs.get("params").cloned());
    prop_assert_eq!(message.result().map(|raw| read(&raw)), theirs.get("result").cloned());
    prop_assert_eq!(message.error_object().map(|raw| read(&raw)), theirs.get("error").cloned());
    let object = |at: &str| theirs.pointer(at).and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in object("/params") {
        prop_assert_eq!(message.param(&name).map(read), Some(value.clone()));
        prop_assert_eq!(message.param_text(&name).map(Cow::into_owned), value.as_str().map(str::to_owned));
    }
    for (name, value) in object("/params/_meta") {
        prop_assert_eq!(message.meta(&name).map(read), Some(value));
    }
    for (name, value) in object("/result") {
        prop_assert_eq!(message.result_member(&name).map(read), Some(value.clone()));
        let lengths = message.items(&name, "name").map(|items| items.len());
        prop_assert_eq!(lengths, value.as_array().map(Vec::len));
    }
    for (name, value) in object("/error") {
        prop_assert_eq!(message.error_member(&name).map(read), Some(value));
    }
    let frame = message.frame();
    prop_assert!(!frame.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
    prop_assert_eq!(read(&frame), theirs);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_message_passes_byte_for_byte(text in any_message()) {
        let parsed = Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default(), Source::Client);
        prop_assert!(parsed.is_ok(), "{:?}: {}", parsed, text);
        agrees(text.as_bytes())?;
    }

    #[test]
    fn what_is_nearly_a_message_is_refused_or_means_the_same(bytes in nearly()) {
        agrees(&bytes)?;
        if let Ok(message) = Message::parse(bytes.into(), &Limits::default(), Source::Server) {
            agrees(message.bytes())?;
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        agrees(&bytes)?;
        let _ = get(&bytes, "/a/0");
    }

    #[test]
    fn identity_edits_change_no_byte(text in any_message()) {
        let message = message(&text);
        let mut same = vec![message.clone()];
        same.extend(message.id().map(|id| message.with_id(id)));
        same.extend(message.params().map(|params| message.with_params(&params)));
        same.extend(message.result().map(|result| message.with_result(&result)));
        same.extend(message.error_object().map(|error| message.with_error(&error)));
        let whole = read(text.as_bytes());
        let names = |at: &str| whole.pointer(at).and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, _) in names("/params") {
            same.extend(message.param(&name).map(|value| message.with_param(&name, value)));
        }
        for (name, _) in names("/params/_meta") {
            same.extend(message.meta(&name).map(|value| message.with_meta(&name, Some(value))));
        }
        for (name, _) in names("/result") {
            same.extend(message.result_member(&name).map(|value| message.with_result_member(&name, Some(value))));
            if let Some(items) = message.items(&name, "name") {
                let items: Vec<_> = items.iter().map(|item| message.bytes().slice(item.span.clone())).collect();
                same.push(message.with_items(&name, &items));
            }
        }
        same.push(message.with_meta("absent", None));
        same.push(message.with_result_member("absent", None));
        for other in same {
            prop_assert_eq!(other.bytes(), message.bytes());
        }
    }

    #[test]
    fn edits_do_what_they_do_to_a_tree(text in any_message(), value in value(), name in "(name|x|arguments|_meta|\u{e9})") {
        let message = message(&text);
        let raw = value.as_bytes();
        let (whole, new) = (read(text.as_bytes()), read(raw));
        let set = |at: &str, name: &str| {
            let mut whole = whole.clone();
            if let Some(object) = whole.pointer_mut(at).and_then(Value::as_object_mut) {
                object.insert(name.to_owned(), new.clone());
            }
            whole
        };
        let removed = |at: &str, name: &str| {
            let mut whole = whole.clone();
            if let Some(object) = whole.pointer_mut(at).and_then(Value::as_object_mut) {
                object.shift_remove(name);
            }
            whole
        };
        // Order of members included.
        let is = |message: &Message, expected: Value| (read(message.bytes()).to_string(), expected.to_string());
        if message.params().is_some() {
            let (found, expected) = is(&message.with_param(&name, raw), set("/params", &name));
            prop_assert_eq!(found, expected);
        } else if message.method().is_some() {
            let added = message.with_param(&name, raw);
            prop_assert_eq!(added.param(&name), Some(raw));
            prop_assert_eq!(added.without_params(), whole.clone());
        }
        if matches!(whole.pointer("/params/_meta"), Some(Value::Object(_))) {
            let (found, expected) = is(&message.with_meta(&name, Some(raw)), set("/params/_meta", &name));
            prop_assert_eq!(found, expected);
            let (found, expected) = is(&message.with_meta(&name, None), removed("/params/_meta", &name));
            prop_assert_eq!(found, expected);
            let (found, expected) = is(&message.with_meta("progressToken", None), removed("/params/_meta", "progressToken"));
            prop_assert_eq!(found, expected);
        } else if message.method().is_some() {
            let added = message.with_meta(&name, Some(raw));
            prop_assert_eq!(added.meta(&name), Some(raw));
            let gone = added.with_meta(&name, None);
            prop_assert_eq!(gone.param("_meta"), Some(&b"{}"[..]));
        }
        if matches!(whole.get("result"), Some(Value::Object(_))) {
            let (found, expected) = is(&message.with_result_member(&name, Some(raw)), set("/result", &name));
            prop_assert_eq!(found, expected);
            for member in whole["result"].as_object().unwrap().keys().chain([&name]) {
                let (found, expected) = is(&message.with_result_member(member, None), removed("/result", member));
                prop_assert_eq!(found, expected);
            }
        }
        if message.kind() == Kind::Result {
            prop_assert_eq!(message.with_result(raw).result().unwrap(), raw);
            let error = message.with_error(br#"{"code":1,"message":"no"}"#);
            prop_assert_eq!((error.kind(), error.id(), error.result()), (Kind::Error, message.id(), None));
        }
        let renamed = message.with_id(b"\"new\"");
        prop_assert_eq!(renamed.id(), Some(&b"\"new\""[..]));
        prop_assert_eq!((renamed.params(), renamed.result()), (message.params(), message.result()));
    }
}

impl Message {
    /// What else stands in the message.
    fn without_params(&self) -> Value {
        let mut whole = read(self.bytes());
        whole.as_object_mut().unwrap().shift_remove("params");
        whole
    }
}
