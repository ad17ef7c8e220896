//! The filter on calls as Lockgate lends them.

use lockgate_plugin::prelude::*;
use lockgate_plugin::testing::{CallBuilder, configure};
use serde_json::{Value, json};

use crate::Approve;
use crate::config::Config;

fn filter(config: Value) -> Approve {
    configure(config).expect("an acceptable configuration")
}

fn call(name: &str) -> CallBuilder {
    CallBuilder::new("tools/call").server("notes").name(name).arguments(json!({ "id": 7 }))
}

fn asks(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Ask(questions) => questions.first().map(|question| question.message.as_str()),
        _ => None,
    }
}

#[test]
fn the_schema_file_is_that_of_the_type() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json");
    lockgate_plugin::testing::assert_config_schema(path, &schemars::schema_for!(Config).to_value());
}

#[test]
fn what_may_destroy_needs_a_yes_and_what_does_not_passes() {
    let filter = filter(json!({ "except": ["delete_draft"] }));
    for (annotations, needs) in [
        (json!({ "destructiveHint": true }), true),
        (json!({ "destructiveHint": false }), false),
        (json!({ "readOnlyHint": true }), false),
        (json!({ "readOnlyHint": true, "destructiveHint": true }), false),
        (json!({}), true),
        (json!({ "readOnlyHint": "true" }), true),
    ] {
        let verdict = filter.on_request(&call("t").definition(json!({ "annotations": annotations })).build());
        assert_eq!(asks(&verdict.expect("a verdict")).is_some(), needs, "{annotations}");
    }
    let verdict = filter.on_request(&call("unlisted").build()).expect("a verdict");
    assert_eq!(asks(&verdict), Some(r#"May `unlisted` of `notes` be called with {"id":7}?"#));
    assert!(filter.on_request(&call("delete_draft").build()).expect("a verdict").is_proceed());
    let other = CallBuilder::new("prompts/get").name("t").build();
    assert!(filter.on_request(&other).expect("a verdict").is_proceed());
}

#[test]
fn the_answer_decides_and_a_yes_holds_for_all_rounds_of_the_call() {
    let filter = filter(json!({ "tools": ["*"], "destructive": false }));
    let answered = |answer: Value| filter.on_request(&call("t").round(1).answers(&[answer]).build());
    assert!(answered(json!({ "action": "decline" })).expect("a verdict").is_reject());
    assert!(answered(json!({ "action": "cancel" })).expect("a verdict").is_reject());
    assert!(answered(json!({})).expect("a verdict").is_reject());
    let yes = call("t").round(1).answers(&[json!({ "action": "accept" })]).build();
    assert!(filter.on_request(&yes).expect("a verdict").is_proceed());
    assert_eq!(yes.state("approved").as_deref(), Some(&b"1"[..]));
    let later = call("t").round(2).state("approved", b"1").build();
    assert!(filter.on_request(&later).expect("a verdict").is_proceed());
}

#[test]
fn the_user_reads_every_argument_and_nothing_hides_behind_a_long_one() {
    let filter = filter(json!({ "tools": ["*"], "message": "{tool}: {arguments}" }));
    let arguments = json!({ "comment": "x".repeat(5_000), "path": "/", "odd": "a\u{202e}b" });
    let long = call("t").visible_name("seen").arguments(arguments).build();
    let verdict = filter.on_request(&long).expect("a verdict");
    let message = asks(&verdict).expect("a question");
    assert!(
        message.starts_with("seen: \ncomment: \"xxx") && message.contains("… (5002 characters)"),
        "{message}"
    );
    assert!(message.contains("\npath: \"/\"") && message.contains("a\\u{202e}b"), "{message}");
    let many: serde_json::Map<String, Value> =
        (0..500).map(|n| (format!("argument {n}"), json!(n))).collect();
    let verdict = filter.on_request(&call("t").arguments(Value::Object(many)).build()).expect("a verdict");
    assert!(verdict.is_reject(), "nobody reads that");
    let odd = call("t").arguments(json!({ "text": "{server}" })).build();
    let verdict = filter.on_request(&odd).expect("a verdict");
    assert_eq!(asks(&verdict), Some(r#"t: {"text":"{server}"}"#));
}

#[test]
fn a_configuration_that_does_nothing_is_refused() {
    assert!(configure::<Approve>(json!({ "destructive": false })).is_err());
    assert!(configure::<Approve>(json!({ "message": " " })).is_err());
    assert!(configure::<Approve>(json!({ "tool": ["x"] })).is_err());
}
