//! The hooks `notification` and `input`: what a guest is lent, and what it may do with it.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin as wit;
use super::super::store::{State, Subject, begin};
use super::services::store;
use super::support::*;
use crate::filter::{AskEffects, Delivery, FailureKind, Filter, NotificationView, Outcome, QuestionView};
use wit::context::{HostAsk, HostCall, HostNotification};
use wit::documents::{Doc, HostDoc};
use wit::types::AccessError;

fn notification(params: &'static str) -> NotificationView {
    NotificationView {
        server: "files".into(),
        method: "notifications/progress".into(),
        down: true,
        params: Bytes::from_static(params.as_bytes()),
        call: Some(Arc::new(call())),
    }
}

fn question(answer: Option<Outcome>) -> QuestionView {
    QuestionView {
        server: "files".into(),
        method: "elicitation/create".into(),
        params: Bytes::from_static(br#"{"message":"Who?","elicitationId":"e"}"#),
        answer,
        call: None,
    }
}

fn success(result: &'static str) -> Option<Outcome> {
    Some(Outcome::Success(Bytes::from_static(result.as_bytes())))
}

fn refused(state: &mut State, doc: &Resource<Doc>, at: &str) -> bool {
    let set = state.set(Resource::new_borrow(doc.rep()), at.into(), "1".into()).unwrap();
    matches!(set, Err(AccessError::ReadOnly(_)))
}

#[test]
fn a_notification_is_read_with_its_call_and_edited_but_for_what_it_belongs_to() {
    let view = notification(
        r#"{"progressToken":"t","progress":1,"_meta":{"io.modelcontextprotocol/subscriptionId":1}}"#,
    );
    let mut store = store(Subject::Notification(Arc::new(view)));
    let state = store.data_mut();
    assert_eq!(HostNotification::method(state, state.lend()).unwrap(), "notifications/progress");
    assert_eq!(HostNotification::server(state, state.lend()).unwrap(), "files");
    assert!(HostNotification::down(state, state.lend()).unwrap());
    let of = HostNotification::call(state, state.lend()).unwrap().expect("its call");
    assert_eq!(HostCall::name(state, Resource::new_borrow(of.rep())).unwrap().as_deref(), Some("read_file"));
    let arguments = HostCall::params(state, Resource::new_borrow(of.rep())).unwrap();
    assert!(refused(state, &arguments, "/arguments"), "the call itself is only lent");
    let params = HostNotification::params(state, state.lend()).unwrap();
    for at in ["/progressToken", "/uri", "/_meta/io.modelcontextprotocol~1subscriptionId"] {
        assert!(refused(state, &params, at), "{at}");
    }
    assert!(!refused(state, &params, "/progress"));
    assert!(HostAsk::method(state, state.lend()).is_err(), "it is no question");
}

#[test]
fn a_question_is_edited_before_it_is_answered_and_its_answer_after() {
    let mut store = store(Subject::Question(Arc::new(question(None))));
    let state = store.data_mut();
    assert_eq!(HostAsk::method(state, state.lend()).unwrap(), "elicitation/create");
    assert!(HostAsk::call(state, state.lend()).unwrap().is_none());
    assert!(HostAsk::answer(state, state.lend()).unwrap().is_none());
    let params = HostAsk::params(state, state.lend()).unwrap();
    assert!(!refused(state, &params, "/message") && refused(state, &params, "/elicitationId"));

    begin(&mut store, Subject::Question(Arc::new(question(success(r#"{"action":"accept"}"#)))), false, 20);
    let state = store.data_mut();
    let params = HostAsk::params(state, state.lend()).unwrap();
    assert!(refused(state, &params, "/message"));
    let Some(wit::context::Outcome::Success(answer)) = HostAsk::answer(state, state.lend()).unwrap() else {
        panic!("a result");
    };
    assert!(!refused(state, &answer, "/action"));

    let error = Outcome::Failure(Bytes::from_static(br#"{"code":-1,"message":"no"}"#));
    begin(&mut store, Subject::Question(Arc::new(question(Some(error)))), false, 20);
    let state = store.data_mut();
    let answer = HostAsk::answer(state, state.lend()).unwrap();
    assert!(matches!(answer, Some(wit::context::Outcome::Failure(_))), "a refusal is as visible");
}

#[tokio::test]
async fn a_guest_edits_drops_answers_and_edits_answers() {
    let filter = filter("told").await;
    assert!(filter.hooks().notification && filter.hooks().input && !filter.hooks().request);
    let down = Arc::new(notification(r#"{"data":"s3cret","level":"info"}"#));
    let Ok(Delivery::Pass(Some(edited))) = filter.notification(down).await else { panic!("edited") };
    assert_eq!(edited, r#"{"data":"edited","level":"info"}"#);
    let up = NotificationView { down: false, ..notification("{}") };
    assert!(matches!(filter.notification(Arc::new(up)).await, Ok(Delivery::Drop)));

    let Ok(AskEffects::Answer(answer)) = filter.input_ask(Arc::new(question(None))).await else {
        panic!("answered");
    };
    assert_eq!(answer, r#"{"action":"decline"}"#);
    let answered = Arc::new(question(success(r#"{"action":"accept","content":{}}"#)));
    let Ok(AskEffects::Pass(Some(edited))) = filter.input_answer(answered).await else { panic!("edited") };
    assert_eq!(edited, r#"{"action":"edited","content":{}}"#);
}

#[tokio::test]
async fn what_a_guest_makes_of_a_message_is_held_to_the_law() {
    let small = crate::config::FilterLimits { output_bytes: 19, ..Setup::default().limits };
    let filter = load(&wat("told"), Setup { limits: small, ..Setup::default() }).await.expect("loaded");
    let failure = filter.input_ask(Arc::new(question(None))).await.expect_err("20 bytes are too many");
    assert_eq!(failure.kind, FailureKind::Limit, "{failure}");
    // A full-width `n` in what it did not write itself: edits are judged with the rest of the params.
    let odd = notification("{\"data\":\"x\",\"\u{ff4e}ame\":1}");
    let failure = self::filter("told").await.notification(Arc::new(odd)).await.expect_err("not lawful");
    assert_eq!(failure.kind, FailureKind::BadOutput, "{failure}");
}
