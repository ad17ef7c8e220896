//! The fakes follow the contract, so that a filter that passes natively passes in the host.

use lockgate_plugin::prelude::*;
use lockgate_plugin::testing::{
    self, AskBuilder, CallBuilder, DefinitionsBuilder, ExchangeBuilder, HeadBuilder, ItemsBuilder,
    NotificationBuilder, PrincipalBuilder,
};
use lockgate_plugin::{JsonKind, clock, log, random};
use serde_json::json;

#[test]
fn params_are_edited_in_request_but_for_reserved_members() {
    let call =
        CallBuilder::new("tools/call").name("say").arguments(json!({ "a": { "b/c": [1, "x"] } })).build();
    let params = call.params();
    assert_eq!(params.text("/arguments/a/b~1c/1"), Ok(Some("x".into())));
    assert_eq!(params.kind("/arguments/a/b~1c/0"), Ok(Some(JsonKind::Number)));
    params.set("/arguments/a/b~1c/-", "{\"new\":true}").unwrap();
    params.set_text("/arguments/a/b~1c/0", "\"quoted\"").unwrap();
    // A second handle sees the edits of the first.
    assert_eq!(
        call.params().get("/arguments").unwrap().unwrap(),
        r#"{"a":{"b/c":["\"quoted\"","x",{"new":true}]}}"#
    );
    params.remove("/arguments/a").unwrap();
    params.remove("/arguments/nothing").unwrap();
    assert_eq!(params.length("/arguments"), Ok(Some(0)));
    for reserved in ["/name", "/uri", "/ref/name", "", "/_meta/progressToken"] {
        assert!(matches!(params.set(reserved, "1"), Err(AccessError::ReadOnly(_))), "{reserved}");
    }
}

#[test]
fn documents_refuse_what_the_host_refuses() {
    let call = CallBuilder::new("tools/call").arguments(json!({ "n": 1, "s": "text" })).pull_bytes(8).build();
    let params = call.params();
    assert!(matches!(params.get("arguments"), Err(AccessError::InvalidPointer(_))));
    assert!(matches!(params.set("/no/parent", "1"), Err(AccessError::InvalidPointer(_))));
    assert!(matches!(params.set("/arguments/n", "1 2"), Err(AccessError::InvalidJson(_))));
    assert!(matches!(params.text("/arguments/n"), Err(AccessError::WrongKind(_))));
    assert!(matches!(params.keys("/arguments/s"), Err(AccessError::WrongKind(_))));
    assert_eq!(params.get("/arguments"), Err(AccessError::TooLarge(18)));
    assert_eq!(params.get("/arguments/none"), Ok(None));
    assert_eq!(params.keys("/arguments/none"), Ok(vec![]));
}

#[test]
fn strings_and_replacements_are_all_or_nothing() {
    let result = json!({ "content": [{ "type": "text", "text": "a" }], "n": 1 });
    let call = CallBuilder::new("tools/call").result(result).build();
    let outcome = call.outcome().unwrap();
    let strings = outcome.doc().strings("").unwrap();
    assert_eq!(strings, [("/content/0/type".into(), "text".into()), ("/content/0/text".into(), "a".into())]);
    let edits = [("/content/0/text".to_owned(), "b".to_owned()), ("/n".to_owned(), "c".to_owned())];
    assert!(matches!(outcome.doc().replace_strings(&edits), Err(AccessError::WrongKind(_))));
    assert_eq!(outcome.doc().text("/content/0/text"), Ok(Some("a".into())));
    outcome.doc().replace_strings(&edits[..1]).unwrap();
    assert_eq!(outcome.doc().text("/content/0/text"), Ok(Some("b".into())));
    assert!(matches!(call.params().set("/x", "1"), Err(AccessError::ReadOnly(_))));
}

#[test]
fn a_value_moves_without_being_read() {
    let call = CallBuilder::new("tools/call").arguments(json!({ "from": [1, 2, 3] })).pull_bytes(4).build();
    let value = call.params().take("/arguments/from").unwrap().unwrap();
    assert_eq!(value.size(), 7);
    assert_eq!(value.read(), Err(AccessError::TooLarge(7)));
    call.params().put("/arguments/to", &value).unwrap();
    assert_eq!(call.params().length("/arguments/to"), Ok(Some(3)));
}

#[test]
fn credentials_are_visible_to_authenticate_only() {
    let call = CallBuilder::new("ping").header("Authorization", "Bearer x").header("X-Trace", "1").build();
    assert_eq!(call.header("authorization"), None);
    assert_eq!(call.header("x-trace"), Some("1".into()));
    let head = HeadBuilder::new().header("Authorization", "bearer  x ").build();
    assert_eq!(head.bearer_token(), Some("x".into()));
    assert_eq!(HeadBuilder::new().header("Authorization", "Basic x").build().bearer_token(), None);
}

#[test]
fn state_and_reroute_stay_within_their_limits() {
    let call = CallBuilder::new("tools/call").name("a").build();
    call.put_state("k", &[1; 8_000]).unwrap();
    call.put_state("k", &[2; 8_000]).unwrap();
    assert!(matches!(call.put_state("l", &[0; 400]), Err(AccessError::Limit(_))));
    assert_eq!(call.state("k").unwrap()[0], 2);
    call.reroute("b").unwrap();
    assert_eq!((testing::rerouted(&call), call.name()), (Some("b".into()), Some("b".into())));
    let done = CallBuilder::new("tools/call").name("a").result(json!({})).build();
    assert!(matches!(done.reroute("b"), Err(AccessError::Denied(_))));
}

#[test]
fn definitions_keep_names_unique_and_orders_whole() {
    let definitions = DefinitionsBuilder::new(Kind::Tool)
        .item("a", json!({ "name": "a" }))
        .item("b", json!({ "name": "b" }))
        .build();
    assert!(definitions.rename(0, "b").is_err());
    assert!(definitions.rename(2, "c").is_err());
    definitions.rename(0, "c").unwrap();
    assert!(definitions.reorder(&[0, 0]).is_err());
    definitions.reorder(&[1, 0]).unwrap();
    assert_eq!(testing::visible_names(&definitions), ["b", "c"]);
    let doc = definitions.definition(1).unwrap();
    assert!(matches!(doc.set("/name", "\"x\""), Err(AccessError::ReadOnly(_))));
    doc.set("/description", "\"B\"").unwrap();
}

#[test]
fn items_pluck_in_one_crossing() {
    let items = ItemsBuilder::new(Kind::Tool)
        .item("a", json!({ "annotations": { "readOnlyHint": true } }))
        .item("b", json!(null))
        .principal(PrincipalBuilder::new("ada").claims(json!({ "roles": ["admin"] })))
        .build();
    assert_eq!(items.pluck("/annotations").unwrap(), [Some("{\"readOnlyHint\":true}".into()), None]);
    assert!(items.definition(1).unwrap().is_none());
    assert_eq!(items.principal().unwrap().claim_text("/roles/0"), Some("admin".into()));
    assert_eq!(testing::crossings(&items), 3);
}

#[test]
fn secrets_go_where_they_are_granted_and_are_not_read() {
    let exchange = ExchangeBuilder::new("weather").secret("token", "s3cret", &["weather"]).build();
    exchange.set_secret_header("Authorization", "token", "Bearer {}").unwrap();
    assert_eq!(exchange.header("authorization"), None);
    assert_eq!(testing::sent_headers(&exchange)["authorization"], "Bearer s3cret");
    assert!(matches!(exchange.set_secret_header("x", "other", "{}"), Err(AccessError::Denied(_))));
    assert!(matches!(exchange.set_header("Mcp-Session-Id", "x"), Err(AccessError::Denied(_))));
    let elsewhere = ExchangeBuilder::new("github").secret("token", "s3cret", &["weather"]).build();
    assert!(matches!(elsewhere.set_secret_header("x", "token", "{}"), Err(AccessError::Denied(_))));
}

struct Draws(u64, u64);

impl Filter for Draws {
    type Config = NoConfig;
    fn configure(_: NoConfig) -> Result<Self, Failure> {
        log::info("configured");
        Ok(Draws(clock::unix_ms(), random::number()))
    }
}

#[test]
fn configure_is_deterministic_and_hooks_are_not() {
    let refused = testing::configure::<Draws>(json!({ "a": 1 })).err().unwrap();
    assert!(refused.to_string().starts_with("a: unknown field `a`"), "{refused}");
    let draws: Draws = testing::configure(json!({})).unwrap();
    assert_eq!((draws.0, draws.1), (0, 0));
    assert_eq!(testing::take_log()[0].message, "configured");
    testing::set_unix_ms(5);
    assert_eq!(clock::unix_ms(), 5);
    assert_ne!(random::number(), random::number());
    assert_eq!(random::bytes(20).unwrap().len(), 20);
    assert!(random::bytes(4_097).is_err());
}

#[test]
fn notifications_are_edited_but_for_what_they_belong_to() {
    let told = json!({ "progressToken": 1, "progress": 1, "message": "a" });
    let told = NotificationBuilder::new("notifications/progress", told)
        .call(CallBuilder::new("tools/call").name("a"))
        .build();
    assert_eq!((told.is_down(), told.call().unwrap().name()), (true, Some("a".into())));
    told.params().set_text("/message", "b").unwrap();
    assert!(matches!(told.params().set("/progressToken", "2"), Err(AccessError::ReadOnly(_))));
    assert!(!NotificationBuilder::new("notifications/progress", json!({})).up().build().is_down());
}

#[test]
fn questions_are_edited_on_their_way_and_answers_on_theirs() {
    let ask =
        AskBuilder::new("elicitation/create", json!({ "message": "Who?", "elicitationId": "e" })).build();
    assert!(ask.answer().is_none());
    ask.params().set_text("/message", "Who are you?").unwrap();
    assert!(matches!(ask.params().set("/elicitationId", "1"), Err(AccessError::ReadOnly(_))));
    let answered =
        AskBuilder::new("elicitation/create", json!({})).answer(json!({ "action": "accept" })).build();
    assert!(matches!(answered.params().set("/message", "1"), Err(AccessError::ReadOnly(_))));
    answered.answer().unwrap().doc().set_text("/action", "decline").unwrap();
    let refused = AskBuilder::new("sampling/createMessage", json!({})).refused(-1, "no").build();
    assert!(matches!(refused.answer(), Some(Outcome::Failure(_))));
}
