//! What one host function may cost, whatever the document: its answer and its edits have bounds, and what is more
//! is refused before it is made.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin as wit;
use super::super::fault::classify;
use super::super::store::{State, Subject};
use super::allocations::most_held;
use super::services::{down, store_within};
use crate::config::FilterLimits;
use crate::filter::{FailureKind, Item, ItemKind, ItemsView, Outcome};
use wit::context::{Doc, HostCall, HostItems};
use wit::documents::HostDoc;
use wit::types::AccessError;

const MIB: usize = 1 << 20;
/// What a host function may take beside what the filter is allowed.
const SLACK: usize = 8 * MIB;

/// Enough time for whatever the bounds of memory allow, so that these are what is seen.
fn limits() -> FilterLimits {
    FilterLimits { cpu_ms: 30_000, wall_ms: 60_000, memory_mib: 16, ..FilterLimits::default() }
}

/// Documents that are small on the wire and large to whoever writes every place of them down.
fn documents() -> Vec<(&'static str, String)> {
    let name = "n".repeat(100_000);
    let deep = (0..50).fold(r#"["a","b"]"#.to_owned(), |inner, level| {
        format!(r#"{{"{}":{inner},"x":"y"}}"#, level.to_string().repeat(1_000))
    });
    let members: Vec<String> = (0..100_000).map(|number| format!(r#""{number:x}":"""#)).collect();
    vec![
        ("many strings under a long name", format!(r#"{{"{name}":[{}]}}"#, vec![r#""a""#; 20_000].join(","))),
        ("long names in one another", deep),
        ("many members", format!("{{{}}}", members.join(","))),
        ("many empty strings", format!("[{}]", vec![r#""""#; 300_000].join(","))),
        ("nothing but containers", format!("[{}]", vec!["[]"; 400_000].join(","))),
        ("one long string of escapes", format!(r#"{{"s":"{}"}}"#, r"\u0041".repeat(1_000_000))),
    ]
}

fn failure_kind(error: &wasmtime::Error) -> FailureKind {
    classify("hook", error, None).kind
}

type Work = fn(&mut State, &Resource<Doc>) -> wasmtime::Result<Option<AccessError>>;

fn again(doc: &Resource<Doc>) -> Resource<Doc> {
    Resource::new_borrow(doc.rep())
}

/// Every function of a document, asked for as much as it can give.
fn functions() -> Vec<(&'static str, Work)> {
    fn refused<T>(answer: Result<T, AccessError>) -> Option<AccessError> {
        answer.err()
    }
    vec![
        ("kind", |state, doc| HostDoc::kind(state, again(doc), "/x".into()).map(refused)),
        ("get", |state, doc| HostDoc::get(state, again(doc), String::new()).map(refused)),
        ("get-all", |state, doc| state.get_all(again(doc), vec![String::new(); 1_000]).map(refused)),
        ("text", |state, doc| HostDoc::text(state, again(doc), "/s".into()).map(refused)),
        ("keys", |state, doc| state.keys(again(doc), String::new()).map(refused)),
        ("length", |state, doc| HostDoc::length(state, again(doc), String::new()).map(refused)),
        ("strings", |state, doc| state.strings(again(doc), String::new()).map(refused)),
        ("set", |state, doc| {
            let value = format!("[{}]", vec!["0"; 500_000].join(","));
            state.set(again(doc), "/new".into(), value).map(refused)
        }),
        ("set-text", |state, doc| {
            state.set_text(again(doc), "/new".into(), "\u{1}".repeat(MIB)).map(refused)
        }),
        ("remove", |state, doc| state.remove(again(doc), "/x".into()).map(refused)),
        ("replace-strings", |state, doc| {
            let edits = (0..20_000).map(|number| (format!("/x/{number}"), "b".to_owned())).collect();
            state.replace_strings(again(doc), edits).map(refused)
        }),
        ("take", |state, doc| state.take(again(doc), String::new()).map(refused)),
        ("put", |state, doc| {
            let Ok(Some(value)) = state.take(again(doc), String::new())? else { return Ok(None) };
            state.put(again(doc), "/new".into(), value).map(refused)
        }),
        ("a pointer of megabytes", |state, doc| {
            HostDoc::kind(state, again(doc), "/\u{1}".repeat(MIB)).map(refused)
        }),
    ]
}

fn outcome(state: &mut State) -> Resource<Doc> {
    let lent = state.lend();
    match HostCall::outcome(state, lent).unwrap() {
        Some(wit::context::Outcome::Success(doc)) => doc,
        _ => panic!("a result"),
    }
}

#[test]
fn no_function_takes_more_than_the_filter_may_have_and_some() {
    let limits = limits();
    let most = (limits.memory_mib as usize) * MIB + SLACK;
    for (document, text) in documents() {
        for (function, work) in functions() {
            let mut store = store_within(limits, down(Outcome::Success(Bytes::from(text.clone()))));
            let state = store.data_mut();
            let doc = outcome(state);
            let (held, done) = most_held(|| work(state, &doc).map_err(|error| failure_kind(&error)));
            assert!(held <= most, "{function} of {document}: {held} bytes, and {most} are allowed");
            // What reads may bring as much as may be pulled, and nothing is made only to be refused.
            let reads =
                ["kind", "get", "get-all", "text", "keys", "length", "strings", "a pointer of megabytes"];
            let read = limits.pull_bytes as usize + SLACK;
            assert!(held <= read || !reads.contains(&function), "{function} of {document}: {held} bytes");
            assert!(
                matches!(done, Ok(_) | Err(FailureKind::Memory | FailureKind::Limit)),
                "{function}: {done:?}"
            );
        }
    }
}

#[test]
fn what_is_too_large_to_pull_is_refused_with_its_size() {
    let (_, text) = documents().swap_remove(0);
    let mut store = store_within(limits(), down(Outcome::Success(Bytes::from(text))));
    let state = store.data_mut();
    let doc = outcome(state);
    let answer = state.strings(again(&doc), String::new()).unwrap();
    assert!(matches!(answer, Err(AccessError::TooLarge(bytes)) if bytes > MIB as u64), "{:?}", answer.err());
}

#[test]
fn versions_that_a_filter_keeps_count_as_its_memory() {
    let limits = limits();
    let text = format!(r#"{{"s":"{}","n":0}}"#, "x".repeat(MIB));
    let mut store = store_within(limits, down(Outcome::Success(Bytes::from(text))));
    let state = store.data_mut();
    let doc = outcome(state);
    let (held, kept) = most_held(|| {
        (0..1_000).try_fold(0, |kept, number| {
            // Each edit makes a new version, and the value taken of it keeps all of it.
            state.set(again(&doc), "/n".into(), number.to_string())?.expect("an edit");
            let _value = state.take(again(&doc), "/n".into())?.expect("a value");
            Ok::<_, wasmtime::Error>(kept + 1)
        })
    });
    let error = kept.expect_err("the memory of the filter ends");
    assert_eq!(failure_kind(&error), FailureKind::Memory, "{error}");
    assert!(held <= limits.memory_mib as usize * MIB + SLACK, "{held}");
    assert!(state.memory.pins.bytes() > 10 * MIB);
}

#[test]
fn a_value_that_is_dropped_gives_its_memory_back() {
    let text = format!(r#"{{"s":"{}","n":0}}"#, "x".repeat(MIB));
    let mut store = store_within(limits(), down(Outcome::Success(Bytes::from(text))));
    let state = store.data_mut();
    let doc = outcome(state);
    for number in 0..100 {
        state.set(again(&doc), "/n".into(), number.to_string()).unwrap().expect("an edit");
        let value = state.take(again(&doc), "/n".into()).unwrap().unwrap().expect("a value");
        wit::documents::HostValue::drop(state, value).unwrap();
    }
    assert!(state.memory.pins.bytes() < 3 * MIB, "{}", state.memory.pins.bytes());
}

/// Each of these takes seconds where nobody looks at the clock.
#[test]
fn work_of_the_host_ends_with_the_cpu_time_of_the_hook() {
    let (_, members) = documents().swap_remove(2);
    let limits = FilterLimits { cpu_ms: 20, ..limits() };
    fn far() -> String {
        "/1869f".to_owned()
    }
    type Repeated = Box<dyn Fn(&mut State, &Resource<Doc>) -> wasmtime::Result<()>>;
    let works: [(&str, Repeated); 3] = [
        ("get-all", Box::new(|state, doc| state.get_all(again(doc), vec![far(); 50_000]).map(drop))),
        (
            "set",
            Box::new(|state, doc| {
                (0..50_000).try_for_each(|number| state.set(again(doc), far(), number.to_string()).map(drop))
            }),
        ),
        (
            "length",
            Box::new(|state, doc| {
                (0..50_000).try_for_each(|_| HostDoc::length(state, again(doc), String::new()).map(drop))
            }),
        ),
    ];
    for (function, work) in works {
        let mut store = store_within(limits, down(Outcome::Success(Bytes::from(members.clone()))));
        let state = store.data_mut();
        let doc = outcome(state);
        let error = work(state, &doc).expect_err("its time ends");
        assert_eq!(failure_kind(&error), FailureKind::Cpu, "{function}: {error}");
    }
}

#[test]
fn lists_have_the_same_bounds() {
    let definition = Bytes::from(format!(r#"{{"d":"{}"}}"#, "x".repeat(100_000)));
    let item = |number: usize| Item {
        name: format!("{number}{}", "n".repeat(1_000)).into(),
        visible_name: "n".into(),
        definition: Some(definition.clone()),
    };
    let view = ItemsView {
        server: "s".into(),
        kind: ItemKind::Tool,
        method: "tools/list".into(),
        items: (0..10_000).map(item).collect(),
        caller: super::support::call().caller,
        decisions: None,
    };
    let mut store = store_within(limits(), Subject::Items(Arc::new(view)));
    let state = store.data_mut();
    let most = limits().pull_bytes as usize + SLACK;
    let lent = state.lend();
    let (held, plucked) = most_held(|| state.pluck(lent, "/d".into()));
    assert!(matches!(plucked, Ok(Err(AccessError::TooLarge(_)))) && held <= most, "{held}");
    let lent = state.lend();
    let (held, names) = most_held(|| HostItems::names(state, lent));
    assert!(names.is_err() && held <= most, "{held}");
}
