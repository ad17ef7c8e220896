//! Documents: their rules, and a tree of `serde_json` as the model of every edit.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::super::pointer::push_token;
use super::super::{Document, EditError, JsonKind, Limits};
use super::value;

fn document(text: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(text.as_bytes()), Limits::default()).unwrap()
}

fn text(document: &Document) -> &str {
    std::str::from_utf8(document.bytes()).unwrap()
}

const PLAIN: &str = r#" {"a":{"b":[10,"x\n",{"c":null}]},"d/e":true,"~":-1.50,"s":"t"} "#;

#[test]
fn reads() {
    let mut doc = document(PLAIN);
    let kinds = [
        ("", JsonKind::Object),
        ("/a/b", JsonKind::Array),
        ("/a/b/0", JsonKind::Number),
        ("/a/b/1", JsonKind::Text),
        ("/a/b/2/c", JsonKind::Null),
        ("/d~1e", JsonKind::Boolean),
        ("/~0", JsonKind::Number),
    ];
    for (at, kind) in kinds {
        assert_eq!(doc.kind(at), Ok(Some(kind)), "{at}");
    }
    assert_eq!(doc.kind("/a/b/3"), Ok(None));
    assert_eq!(doc.get("/~0").unwrap().unwrap(), "-1.50");
    assert_eq!(doc.get("").unwrap().unwrap(), PLAIN.trim());
    assert_eq!(doc.text("/a/b/1"), Ok(Some("x\n".into())));
    assert_eq!(doc.text("/nothing"), Ok(None));
    assert!(matches!(doc.text("/a"), Err(EditError::WrongKind(_))));
    assert_eq!(doc.keys("").unwrap(), ["a", "d/e", "~", "s"]);
    assert_eq!(doc.keys("/nothing").unwrap(), [""; 0]);
    assert!(matches!(doc.keys("/a/b"), Err(EditError::WrongKind(_))));
    assert_eq!((doc.length("/a/b"), doc.length(""), doc.length("/x")), (Ok(Some(3)), Ok(Some(4)), Ok(None)));
    assert!(matches!(doc.length("/s"), Err(EditError::WrongKind(_))));
    assert_eq!(doc.strings("").unwrap(), [("/a/b/1".into(), "x\n".into()), ("/s".into(), "t".into())]);
    assert_eq!(doc.strings("/s").unwrap(), [("/s".into(), "t".into())]);
    assert_eq!(doc.strings("/a/b/2").unwrap(), []);
    assert!(matches!(doc.get("a"), Err(EditError::InvalidPointer(_))));
    assert!(matches!(doc.strings("/~2"), Err(EditError::InvalidPointer(_))));
    assert!(!doc.edited());
}

#[test]
fn edits() {
    let mut doc = document(r#"{"a":{},"l":[1,2]}"#);
    doc.set("/a/x~1y", b" [true] ").unwrap();
    doc.set_text("/a/q\"", "\u{1}").unwrap();
    doc.set("/l/0", b"{}").unwrap();
    doc.set("/l/0/-", b"0").unwrap();
    doc.set("/l/-", b"3").unwrap();
    assert_eq!(text(&doc), r#"{"a":{"x/y":[true],"q\"":"\u0001"},"l":[{"-":0},2,3]}"#);
    doc.remove("/l/1").unwrap();
    doc.remove("/l/1").unwrap();
    doc.remove("/l/0").unwrap();
    doc.remove("/a/x~1y").unwrap();
    for nothing in ["/l/0", "/l/-", "/l/x", "/a/no", "/no/no/no", "/l/0/0"] {
        doc.remove(nothing).unwrap();
    }
    assert_eq!(text(&doc), r#"{"a":{"q\"":"\u0001"},"l":[]}"#);
    assert!(doc.edited());
    doc.set("", b" \"whole\" ").unwrap();
    assert_eq!(text(&doc), "\"whole\"");
    doc.set("", b"[[]]").unwrap();
    doc.set("/0/-", b"1").unwrap();
    assert_eq!(text(&doc), "[[1]]");
}

#[test]
fn refusals_change_nothing() {
    let before = r#"{"a":[1,2],"s":"t"}"#;
    let mut doc = document(before);
    for at in ["/x/y", "/a/2", "/a/3", "/a/01", "/a/x", "/a/", "a", "/~", "/a/-/x", "/a/-1"] {
        assert!(matches!(doc.set(at, b"1"), Err(EditError::InvalidPointer(_))), "{at}");
    }
    for at in ["/s/0", "/s/-", "/a/0/x"] {
        assert!(matches!(doc.set(at, b"1"), Err(EditError::WrongKind(_))), "{at}");
    }
    let unlawful: [&[u8]; 12] = [
        b"",
        b"x",
        b"1 2",
        b"1,\"b\":2",
        b"{\"a\":1,\"a\":2}",
        b"{\"a\":1,\"\\u0061\":2}",
        b"NaN",
        b"01",
        b"\"\\ud800\"",
        b"\"\xff\"",
        b"[1",
        b"\"a\nb\"",
    ];
    for json in unlawful {
        for at in ["", "/a", "/new", "/a/-"] {
            assert!(matches!(doc.set(at, json), Err(EditError::InvalidJson(_))), "{json:?} at {at}");
        }
    }
    assert!(matches!(doc.remove(""), Err(EditError::InvalidPointer(_))));
    assert!(matches!(doc.remove("/~x"), Err(EditError::InvalidPointer(_))));
    let edit = |at: &str| [("/s".to_owned(), "new".to_owned()), (at.to_owned(), "x".to_owned())];
    assert!(matches!(doc.replace_strings(&edit("/none")), Err(EditError::InvalidPointer(_))));
    assert!(matches!(doc.replace_strings(&edit("none")), Err(EditError::InvalidPointer(_))));
    assert!(matches!(doc.replace_strings(&edit("/a/0")), Err(EditError::WrongKind(_))));
    assert_eq!((text(&doc), doc.edited()), (before, false));
    assert!(matches!(
        Document::parse(Bytes::from_static(b"{\"a\":1,\"a\":2}"), Limits::default()),
        Err(EditError::InvalidJson(_))
    ));
}

#[test]
fn limits_count_the_whole_document() {
    let limits = Limits { bytes: 40, depth: 3, members: 6, number_bytes: 4 };
    let doc = || Document::parse(Bytes::from_static(br#"{"a":[1,{"b":2}]}"#), limits).unwrap();
    let refused =
        |result: Result<(), EditError>| assert!(matches!(result, Err(EditError::Limit(_))), "{result:?}");
    // Four members and items, three levels.
    refused(doc().set("/a/1/b", b"[]"));
    doc().set("/a/1/b", b"0").unwrap();
    doc().set("/a/0", b"[]").unwrap();
    refused(doc().set("/a/0", b"[[]]"));
    refused(doc().set("/a/0", b"12345"));
    let mut full = doc();
    full.set("/c", b"[5]").unwrap();
    refused(full.set("/d", b"1"));
    refused(full.set("/c/-", b"1"));
    full.set("/a", b"[7,8]").unwrap();
    full.set("/d", b"1").unwrap();
    refused(full.set("/e", b"1"));
    full.remove("/a").unwrap();
    full.set("/e", b"[1,2]").unwrap();
    refused(full.set("/f", b"1"));
    refused(doc().set_text("/a/0", &"x".repeat(40)));
    let mut long = Document::new(Bytes::from_static(br#"{"a":"x"}"#), limits);
    refused(long.replace_strings(&[("/a".into(), "y".repeat(33))]));
    long.replace_strings(&[("/a".into(), "y".repeat(32))]).unwrap();
    assert_eq!(long.bytes().len(), limits.bytes);
    let mut unseen = Document::new(Bytes::from_static(br#"{"a":[1,2,3,4,5]}"#), limits);
    refused(unseen.set("/b", b"1"));
    assert_eq!(unseen.bytes(), &br#"{"a":[1,2,3,4,5]}"#[..]);
}

#[test]
fn strings_are_replaced_in_one_pass() {
    let mut doc = document(r#"{"a":["x","\u0079",{"a/b":"z"}],"n":1}"#);
    let same: Vec<_> = doc.strings("").unwrap();
    doc.replace_strings(&same).unwrap();
    assert!(!doc.edited(), "equal texts keep their spelling");
    doc.replace_strings(&[
        ("/a/2/a~1b".into(), "Z\"".into()),
        ("/a/0".into(), "no".into()),
        ("/a/0".into(), "X".into()),
    ])
    .unwrap();
    assert_eq!(text(&doc), r#"{"a":["X","\u0079",{"a/b":"Z\""}],"n":1}"#);
    let mut whole = document("\"t\"");
    whole.replace_strings(&[(String::new(), "u".into())]).unwrap();
    assert_eq!(text(&whole), "\"u\"");
    whole.replace_strings(&[]).unwrap();
}

#[test]
fn large_documents_read_the_same_through_their_index() {
    let rows: Vec<String> = (0..500)
        .map(|n| format!(r#" {{"id":{n},"tags":["t{n}",[{n}]],"text":"{}\u0041"}}"#, "w".repeat(n)))
        .collect();
    let json = format!(r#"{{"rows":[{}],"last":"end"}}"#, rows.join(","));
    let mut doc = document(&json);
    for n in [0, 1, 250, 499] {
        assert_eq!(doc.get(&format!("/rows/{n}")).unwrap().unwrap(), rows[n].trim());
        assert_eq!(doc.get(&format!("/rows/{n}/tags/1/0")).unwrap().unwrap(), n.to_string());
        assert_eq!(doc.text(&format!("/rows/{n}/text")).unwrap().unwrap(), format!("{}A", "w".repeat(n)));
    }
    assert_eq!(doc.text("/last").unwrap().as_deref(), Some("end"));
    assert_eq!(doc.length("/rows"), Ok(Some(500)));
    doc.set("/rows/1/id", b"\"changed\"").unwrap();
    assert_eq!(doc.text("/rows/1/id").unwrap().as_deref(), Some("changed"));
    doc.remove("/rows/0").unwrap();
    assert_eq!(doc.text("/rows/0/id").unwrap().as_deref(), Some("changed"));
    assert_eq!(doc.get("/rows/498/id").unwrap().unwrap(), "499");
}

#[test]
fn a_clone_is_an_overlay_of_its_own() {
    let mut doc = document(PLAIN);
    let mut overlay = doc.clone();
    overlay.set("/s", b"1").unwrap();
    assert_eq!(
        (doc.text("/s").unwrap().as_deref(), doc.edited(), overlay.edited()),
        (Some("t"), false, true)
    );
}

/// Every pointer of a value.
fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    all.push(at.clone());
    let mut below = |token: &str, value: &Value| {
        let mut at = at.clone();
        push_token(&mut at, token);
        pointers(value, at, all);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| below(&n.to_string(), value)),
        _ => {}
    }
}

/// What an edit does to the tree: whether it is possible.
fn model(tree: &mut Value, at: &str, new: Option<&Value>) -> bool {
    let Some((parent, token)) = at.rsplit_once('/') else {
        return match new {
            Some(new) => {
                *tree = new.clone();
                true
            }
            None => false,
        };
    };
    let token = token.replace("~1", "/").replace("~0", "~");
    match (tree.pointer_mut(parent), new) {
        (Some(Value::Object(members)), Some(new)) => {
            members.insert(token, new.clone());
            true
        }
        (Some(Value::Object(members)), None) => {
            members.shift_remove(&token);
            true
        }
        (Some(Value::Array(items)), Some(new)) if token == "-" => {
            items.push(new.clone());
            true
        }
        (Some(Value::Array(items)), new) => match (token.parse::<usize>(), new) {
            (Ok(n), Some(new)) if n < items.len() => {
                items[n] = new.clone();
                true
            }
            (Ok(n), None) if n < items.len() => {
                items.remove(n);
                true
            }
            (_, new) => new.is_none(),
        },
        (_, new) => new.is_none(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn reads_are_those_of_a_tree(json in value()) {
        let mut doc = document(&json);
        let tree: Value = serde_json::from_str(&json).unwrap();
        let mut all = Vec::new();
        pointers(&tree, String::new(), &mut all);
        let mut strings = Vec::new();
        for at in &all {
            let value = tree.pointer(at).unwrap();
            let raw = doc.get(at).unwrap().unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Value>(&raw).unwrap(), value);
            if let Value::String(text) = value {
                prop_assert_eq!(doc.text(at).unwrap(), Some(text.clone()));
                strings.push((at.clone(), text.clone()));
            }
            if let Value::Object(members) = value {
                prop_assert_eq!(doc.keys(at).unwrap(), members.keys().cloned().collect::<Vec<_>>());
            }
            // Identity edits.
            doc.set(at, &raw).unwrap();
            prop_assert_eq!(doc.get(&format!("{at}/absent")).unwrap(), None);
        }
        prop_assert_eq!(&doc.strings("").unwrap(), &strings);
        doc.replace_strings(&strings).unwrap();
        prop_assert_eq!((text(&doc), doc.edited()), (json.as_str(), false));
        let changed: Vec<_> = strings.iter().map(|(at, text)| (at.clone(), format!("{text}!"))).collect();
        doc.replace_strings(&changed).unwrap();
        prop_assert_eq!(doc.strings("").unwrap(), changed);
    }

    #[test]
    fn edits_are_those_of_a_tree(
        json in value(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of("(-|0|7|new|a~1b)"), proptest::option::of(value())), 1..8),
    ) {
        let mut doc = document(&json);
        let mut tree: Value = serde_json::from_str(&json).unwrap();
        for (place, below, new) in edits {
            let mut all = Vec::new();
            pointers(&tree, String::new(), &mut all);
            let mut at = place.get(&all).clone();
            if let Some(token) = below {
                at = format!("{at}/{token}");
            }
            let done = match &new {
                Some(json) => doc.set(&at, json.as_bytes()),
                None => doc.remove(&at),
            };
            let new = new.map(|json| serde_json::from_str::<Value>(&json).unwrap());
            prop_assert_eq!(done.is_ok(), model(&mut tree, &at, new.as_ref()), "{}: {:?}", at, done);
            let now: Value = serde_json::from_slice(doc.bytes()).unwrap();
            prop_assert_eq!(now.to_string(), tree.to_string());
            // What was edited is still under the law, and counted rightly.
            let again = document(text(&doc));
            prop_assert!(doc.limits_agree(&again));
        }
    }
}
