//! Host services, called as the linker calls them, without a guest in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::Store;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin as wit;
use super::super::filter::{GrantedSecret, Identity, Tally};
use super::super::store::{State, Subject, begin, new_store};
use super::support::*;
use crate::config::FilterLimits;
use crate::filter::{CallView, Outcome};
use wit::context::{HostCall, HostClient, HostDefinitions, HostExchange, HostHead, HostItems, HostPrincipal};
use wit::documents::{HostDoc, HostValue};
use wit::secrets::Host as _;
use wit::types::AccessError;

pub(super) fn store(subject: Subject) -> Store<State> {
    store_within(FilterLimits::default(), subject)
}

pub(super) fn store_within(limits: FilterLimits, subject: Subject) -> Store<State> {
    let secret = GrantedSecret { value: "s3cret".into(), servers: vec!["files".into()] };
    let identity = Identity {
        name: "the-filter".into(),
        plugin: "guest".into(),
        secrets: BTreeMap::from([("token".to_owned(), secret)]),
        limits,
        json_limits: LAW,
        counters: Tally::default(),
    };
    let mut store = new_store(&ENGINE, Arc::new(identity));
    begin(&mut store, subject, false, limits.cpu_ms);
    store
}

fn up(view: CallView) -> Subject {
    Subject::Call { view: Arc::new(view), up: true, state: None, reroute: None }
}

pub(super) fn down(outcome: Outcome) -> Subject {
    let view = CallView { outcome: Some(outcome), upstream_status: Some(200), ..call() };
    Subject::Call { view: Arc::new(view), up: false, state: None, reroute: None }
}

/// What a guest would hold: each use of a handle makes the next.
macro_rules! handle {
    ($resource:expr) => {
        Resource::new_borrow($resource.rep())
    };
}

/// Calls a method of the hook's subject.
macro_rules! ask {
    ($state:expr, $method:path $(, $argument:expr)*) => {{
        let lent = $state.lend();
        $method($state, lent $(, $argument)*)
    }};
}

#[test]
fn a_call_is_read_field_by_field() {
    let mut store = store(up(call()));
    let state = store.data_mut();
    assert_eq!(ask!(state, HostCall::name).unwrap().as_deref(), Some("read_file"));
    assert_eq!(ask!(state, HostCall::visible_name).unwrap().as_deref(), Some("read"));
    assert_eq!(ask!(state, HostCall::header, "X-Team".into()).unwrap().as_deref(), Some("blue, green"));
    assert_eq!(ask!(state, HostCall::header, "Authorization".into()).unwrap(), None);
    let principal = ask!(state, HostCall::principal).unwrap().expect("a principal");
    assert_eq!(HostPrincipal::id(state, handle!(principal)).unwrap(), "ada");
    assert_eq!(HostPrincipal::claim(state, principal, "/role".into()).unwrap().as_deref(), Some("\"dev\""));
    let client = ask!(state, HostCall::client).unwrap();
    assert_eq!(HostClient::name(state, handle!(client)).unwrap().as_deref(), Some("test"));
    assert!(ask!(state, HostCall::outcome).unwrap().is_none());
}

#[test]
fn edits_are_seen_by_every_handle_and_leave_the_rest_alone() {
    let mut store = store(up(call()));
    let state = store.data_mut();
    let first = ask!(state, HostCall::params).unwrap();
    let second = ask!(state, HostCall::params).unwrap();
    state.set(handle!(first), "/arguments/path".into(), "\"/b\"".into()).unwrap().unwrap();
    assert_eq!(state.text(second, "/arguments/path".into()).unwrap().unwrap().as_deref(), Some("/b"));
    state.set(first, "/_meta/mine".into(), "2".into()).unwrap().unwrap();
    let edited = state.documents.edited(super::super::host::documents::Key::Params).expect("edited");
    assert_eq!(
        std::str::from_utf8(edited.bytes()).unwrap(),
        r#"{"name":"read_file","arguments":{"path":"/b","n":1.0},"_meta":{"progressToken":5,"mine":2}}"#
    );
}

#[test]
fn what_the_call_is_about_cannot_be_edited() {
    let mut store = store(up(call()));
    let state = store.data_mut();
    let params = ask!(state, HostCall::params).unwrap();
    let refused = |result: Result<(), AccessError>, what: &str| {
        assert!(matches!(result, Err(AccessError::ReadOnly(_))), "{what}: {result:?}");
    };
    for at in ["/name", "/Name", "/_meta/progressToken", "/_meta/io.modelcontextprotocol~1x"] {
        refused(state.set(handle!(params), at.into(), "1".into()).unwrap(), at);
        refused(state.remove(handle!(params), at.into()).unwrap(), at);
        let edit = vec![("/arguments/path".to_owned(), "x".to_owned()), (at.to_owned(), "x".to_owned())];
        refused(state.replace_strings(handle!(params), edit).unwrap(), at);
    }
    // By way of a parent.
    for (at, value) in [
        ("", r#"{"name":"delete_all"}"#),
        ("", r#"{"name":"read_file","_meta":{"progressToken":6,"mine":1}}"#),
        ("", r#"{"name":"read_file","NAME":"delete_all","_meta":{"progressToken":5}}"#),
        ("", "[]"),
        ("/_meta", r#"{"mine":3}"#),
        ("/_meta", r#"{"progressToken":5,"io.modelcontextprotocol/x":1}"#),
    ] {
        refused(state.set(handle!(params), at.into(), value.into()).unwrap(), value);
    }
    refused(state.remove(handle!(params), "/_meta".into()).unwrap(), "/_meta");
    assert!(state.documents.edited(super::super::host::documents::Key::Params).is_none(), "nothing happened");
    let fine = r#"{"name":"read_file","arguments":{},"_meta":{"progressToken":5}}"#;
    state.set(params, "".into(), fine.into()).unwrap().expect("the same call");
}

#[test]
fn what_is_lent_to_read_cannot_be_edited() {
    let outcome = Outcome::Success(Bytes::from_static(br#"{"content":[]}"#));
    let mut store = store(down(outcome));
    let state = store.data_mut();
    let params = ask!(state, HostCall::params).unwrap();
    let refused = state.set(params, "/arguments".into(), "{}".into()).unwrap();
    assert!(matches!(refused, Err(AccessError::ReadOnly(why)) if why.contains("`request`")));
    let Some(wit::context::Outcome::Success(result)) = ask!(state, HostCall::outcome).unwrap() else {
        panic!("a result");
    };
    state.set(result, "/content/-".into(), "1".into()).unwrap().expect("editable in `response`");
    let reroute = ask!(state, HostCall::reroute, "files".into(), "x".into()).unwrap();
    assert!(matches!(reroute, Err(AccessError::Denied(_))));
    begin(&mut store, Subject::Items(Arc::new(items(&["a"]))), false, 20);
    let state = store.data_mut();
    let definition = ask!(state, HostItems::definition, 0).unwrap().unwrap().expect("a definition");
    let refused = state.set(definition, "/title".into(), "\"x\"".into()).unwrap();
    assert!(matches!(refused, Err(AccessError::ReadOnly(why)) if why.contains("`catalog`")));
    begin(&mut store, up(CallView { outcome: None, ..call() }), false, 20);
}

#[test]
fn more_than_may_be_pulled_is_told_and_not_copied() {
    let limits = FilterLimits { pull_bytes: 10, ..FilterLimits::default() };
    let mut store = store_within(limits, up(call()));
    let state = store.data_mut();
    let params = ask!(state, HostCall::params).unwrap();
    let whole = call().params.len() as u64;
    assert!(
        matches!(state.get(handle!(params), "".into()).unwrap(), Err(AccessError::TooLarge(n)) if n == whole)
    );
    assert!(matches!(
        state.get_all(handle!(params), vec!["".into()]).unwrap(),
        Err(AccessError::TooLarge(_))
    ));
    assert!(matches!(state.strings(handle!(params), "".into()).unwrap(), Err(AccessError::TooLarge(_))));
    let value = state.take(handle!(params), "".into()).unwrap().unwrap().expect("a value");
    assert_eq!(HostValue::size(state, handle!(value)).unwrap(), whole);
    assert!(matches!(HostValue::read(state, handle!(value)).unwrap(), Err(AccessError::TooLarge(_))));
    assert_eq!(state.budget.pulled_bytes(), 0);
    // A handle is enough to put it elsewhere.
    state.put(params, "/arguments/copy".into(), value).unwrap().expect("put");
}

#[test]
fn a_dropped_value_is_gone() {
    let mut store = store(up(call()));
    let state = store.data_mut();
    let params = ask!(state, HostCall::params).unwrap();
    let value = state.take(handle!(params), "/arguments".into()).unwrap().unwrap().expect("a value");
    let again: Resource<wit::documents::Value> = handle!(value);
    HostValue::drop(state, value).unwrap();
    assert!(HostValue::size(state, again).is_err());
}

#[test]
fn handles_end_with_the_hook() {
    let mut store = store(up(call()));
    let lent: Resource<wit::context::Call> = store.data().lend();
    let params = HostCall::params(store.data_mut(), handle!(lent)).unwrap();
    begin(&mut store, up(call()), false, 20);
    assert!(HostCall::name(store.data_mut(), lent).is_err(), "a call of an earlier hook");
    assert!(HostDoc::size(store.data_mut(), params).is_err(), "a document of an earlier hook");
}

#[test]
fn state_is_kept_within_its_bound() {
    let mut store = store(up(call()));
    let state = store.data_mut();
    let mut put =
        |key: &str, bytes: usize| ask!(state, HostCall::state_put, key.into(), vec![7; bytes]).unwrap();
    put("a", 8_000).expect("room");
    assert!(matches!(put("b", 192), Err(AccessError::Limit(_))));
    put("a", 1).expect("in place of the old one");
    put("b", 192).expect("room now");
    assert_eq!(ask!(state, HostCall::state_get, "b".into()).unwrap(), Some(vec![7; 192]));
}

#[test]
fn a_call_is_rerouted_on_its_own_server_only() {
    let mut store = store(up(call()));
    let state = store.data_mut();
    let mut reroute =
        |server: &str, name: &str| ask!(state, HostCall::reroute, server.into(), name.into()).unwrap();
    assert!(matches!(reroute("other", "x"), Err(AccessError::Denied(why)) if why.contains("`files`")));
    assert!(reroute("files", "").is_err());
    assert!(reroute("files", "a\nb").is_err());
    reroute("files", "list_files").expect("rerouted");
    assert!(matches!(&state.subject, Subject::Call { reroute: Some(name), .. } if name == "list_files"));
}

#[test]
fn definitions_are_renamed_and_reordered_by_index() {
    let view = crate::filter::DefinitionsView {
        server: "files".into(),
        kind: crate::filter::ItemKind::Tool,
        items: vec![
            ("a".into(), Bytes::from_static(br#"{"name":"a"}"#)),
            ("b".into(), Bytes::from_static(br#"{"name":"b"}"#)),
        ],
    };
    let subject = Subject::Definitions { view: Arc::new(view), renamed: BTreeMap::new(), order: None };
    let mut store = store(subject);
    let state = store.data_mut();
    for order in [vec![0], vec![0, 0], vec![0, 2], vec![0, 1, 1]] {
        assert!(ask!(state, HostDefinitions::reorder, order).unwrap().is_err());
    }
    ask!(state, HostDefinitions::reorder, vec![1, 0]).unwrap().expect("a permutation");
    assert!(ask!(state, HostDefinitions::rename, 2, "c".into()).unwrap().is_err());
    ask!(state, HostDefinitions::rename, 1, "c".into()).unwrap().expect("renamed");
    let document = ask!(state, HostDefinitions::definition, 1).unwrap().unwrap();
    let refused = state.set(handle!(document), "/name".into(), "\"x\"".into()).unwrap();
    assert!(matches!(refused, Err(AccessError::ReadOnly(why)) if why.contains("`rename`")));
    state.set(document, "/title".into(), "\"B\"".into()).unwrap().expect("edited");
    assert_eq!(state.documents.edited_definitions()[&1], r#"{"name":"b","title":"B"}"#);
    let Subject::Definitions { renamed, order, .. } = &state.subject else { panic!("definitions") };
    assert_eq!((renamed[&1].as_str(), order.as_deref()), ("c", Some(&[1, 0][..])));
}

#[test]
fn pluck_answers_for_every_item() {
    let mut view = items(&["a", "b"]);
    view.items[1].definition = None;
    let mut store = store(Subject::Items(Arc::new(view)));
    let state = store.data_mut();
    let plucked = ask!(state, HostItems::pluck, "/annotations/readOnlyHint".into()).unwrap().unwrap();
    assert_eq!(plucked, [Some("true".to_owned()), None]);
    assert!(ask!(state, HostItems::pluck, "no pointer".into()).unwrap().is_err());
}

#[test]
fn headers_of_an_exchange_are_set_removed_and_guarded() {
    let mut view = exchange("files");
    let mut token = http::HeaderValue::from_static("t");
    token.set_sensitive(true);
    view.headers.insert("x-token", token);
    view.headers.insert("x-old", http::HeaderValue::from_static("1"));
    let mut store =
        store(Subject::Exchange { view: Arc::new(view), set: http::HeaderMap::new(), remove: Vec::new() });
    let state = store.data_mut();
    let header = |state: &mut State, name: &str| ask!(state, HostExchange::header, name.into()).unwrap();
    assert_eq!(header(state, "X-Old").as_deref(), Some("1"));
    assert_eq!(header(state, "x-token"), None, "a secret");
    ask!(state, HostExchange::remove_header, "x-old".into()).unwrap().unwrap();
    assert_eq!(header(state, "x-old"), None);
    ask!(state, HostExchange::set_header, "x-old".into(), "2".into()).unwrap().unwrap();
    assert_eq!(header(state, "x-old").as_deref(), Some("2"));
    assert!(ask!(state, HostExchange::set_header, "x-a".into(), "a\r\nb: c".into()).unwrap().is_err());
    assert!(ask!(state, HostExchange::set_header, "Mcp-Method".into(), "x".into()).unwrap().is_err());
    for format in ["Bearer", "{} {}", "a\n{}"] {
        let placed =
            state.place(state.lend(), "authorization".into(), "token".into(), format.into()).unwrap();
        assert!(matches!(&placed, Err(AccessError::Denied(why)) if why.contains("`token`")), "{placed:?}");
    }
    let placed = state.place(state.lend(), "host".into(), "token".into(), "{}".into()).unwrap();
    assert!(placed.is_err(), "a header of Lockgate's own");
    state.place(state.lend(), "authorization".into(), "token".into(), "Bearer {}".into()).unwrap().unwrap();
    assert_eq!(header(state, "authorization"), None, "never read back");
    let message = ask!(state, HostExchange::message).unwrap().expect("a message");
    assert!(matches!(state.set(message, "/id".into(), "2".into()).unwrap(), Err(AccessError::ReadOnly(_))));
}

#[test]
fn a_secret_signs_without_being_read() {
    let mut store = store(up(call()));
    let state = store.data_mut();
    let code = state.hmac_sha256("token".into(), b"data".to_vec()).unwrap().expect("a code");
    // printf data | openssl dgst -sha256 -hmac s3cret
    assert_eq!(hex::encode(code), HMAC_OF_DATA);
    let unknown = state.hmac_sha256("other".into(), Vec::new()).unwrap();
    assert!(
        matches!(unknown, Err(AccessError::Denied(why)) if why.contains("`other`") && why.contains("grants.secrets"))
    );
    begin(&mut store, Subject::None, true, 20);
    assert!(store.data_mut().hmac_sha256("token".into(), Vec::new()).unwrap().is_err(), "not in `configure`");
}

const HMAC_OF_DATA: &str = "7fb6d95052c61207f9be33a8036dccbae6202133305b12302887123df46ec4f3";

#[test]
fn credentials_that_authenticate_reads_are_recorded() {
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", http::HeaderValue::from_static("Bearer t"));
    headers.insert("accept", http::HeaderValue::from_static("*/*"));
    let head = crate::filter::RequestHead {
        method: "POST".into(),
        path: "/mcp".into(),
        server: None,
        headers,
        address: None,
    };
    let mut store = store(Subject::Head { head: Arc::new(head), reads: Default::default() });
    let state = store.data_mut();
    assert_eq!(ask!(state, HostHead::header, "Authorization".into()).unwrap().as_deref(), Some("Bearer t"));
    assert_eq!(ask!(state, HostHead::header, "x-absent".into()).unwrap(), None);
    let Subject::Head { reads, .. } = &state.subject else { panic!("a head") };
    // An answer may depend on a header that is not there as well.
    assert_eq!(reads.headers.iter().collect::<Vec<_>>(), ["authorization", "x-absent"]);
    assert!(!reads.path && !reads.method && !reads.address && !reads.header_names);
    assert_eq!(ask!(state, HostHead::path).unwrap(), "/mcp");
    let Subject::Head { reads, .. } = &state.subject else { panic!("a head") };
    assert!(reads.path);
}
