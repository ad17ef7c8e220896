use lockgate_plugin::prelude::*;
use lockgate_plugin::testing::{self, AskBuilder, CallBuilder, NotificationBuilder};
use serde_json::{Value, json};

use crate::{Redact, config};

fn refusal(config: Value) -> String {
    testing::configure::<Redact>(config).err().unwrap().to_string()
}

/// What is left of a call's outcome.
fn outcome(config: Value, call: CallBuilder) -> Value {
    let call = call.build();
    let filter: Redact = testing::configure(config).unwrap();
    assert_eq!(filter.on_response(&call), Ok(Verdict::Proceed));
    serde_json::from_str(&call.outcome().unwrap().doc().get("").unwrap().unwrap()).unwrap()
}

fn result(config: Value, result: Value) -> Value {
    outcome(config, CallBuilder::new("tools/call").name("users").result(result))
}

/// A result with a copy of its structured content in text, as servers make it.
fn users() -> Value {
    json!({
        "content": [
            { "type": "text", "text": "{ \"users\": [\n  {\"email\": \"a@b.c\", \"age\": 1.0}, {\"email\":null} ] }" },
            { "type": "text", "text": "two users" },
        ],
        "structuredContent": { "users": [{ "email": "a@b.c", "age": 1.0 }, { "email": null }] },
    })
}

#[test]
fn pointers_are_replaced_in_structured_content_and_its_copy() {
    let redacted = result(
        json!({ "pointers": ["/structuredContent/users/*/email", "/structuredContent/none"] }),
        users(),
    );
    assert_eq!(redacted["structuredContent"]["users"][0], json!({ "email": "[redacted]", "age": 1.0 }));
    assert_eq!(redacted["structuredContent"]["users"][1]["email"], "[redacted]");
    assert!(redacted["structuredContent"].get("none").is_none());
    // All that is not redacted keeps its bytes, white space and numbers included.
    assert_eq!(
        redacted["content"][0]["text"],
        "{ \"users\": [\n  {\"email\": \"[redacted]\", \"age\": 1.0}, {\"email\":\"[redacted]\"} ] }"
    );
    assert_eq!(redacted["content"][1]["text"], "two users");
}

#[test]
fn removed_members_are_gone_and_null_in_the_copy() {
    let redacted = result(json!({ "remove": ["/structuredContent/users/0/email"] }), users());
    assert_eq!(redacted["structuredContent"]["users"][0], json!({ "age": 1.0 }));
    assert!(redacted["content"][0]["text"].as_str().unwrap().contains("{\"email\": null, \"age\": 1.0}"));
    let all = result(json!({ "remove": ["/structuredContent/users/*"] }), users());
    assert_eq!(all["structuredContent"]["users"], json!([]));
}

#[test]
fn pointers_reach_anything_in_the_result() {
    let redacted = result(
        json!({ "pointers": ["/content/1/text", "/structuredContent/users"], "replacement": "X\"" }),
        users(),
    );
    assert_eq!(redacted["content"][1]["text"], "X\"");
    assert_eq!(redacted["structuredContent"]["users"], "X\"");
    assert_eq!(redacted["content"][0]["text"], "{ \"users\": \"X\\\"\" }");
}

#[test]
fn an_escaped_or_repeated_name_hides_nothing_in_the_copy() {
    let text = r#"{"\u0065mail":"a@b.c","email":"d@e.f","a/b":{"email":"g"}}"#;
    let content = json!({ "content": [{ "type": "text", "text": text }], "structuredContent": {} });
    let redacted =
        result(json!({ "pointers": ["/structuredContent/email", "/structuredContent/a~1b/email"] }), content);
    assert_eq!(
        redacted["content"][0]["text"],
        r#"{"\u0065mail":"[redacted]","email":"[redacted]","a/b":{"email":"[redacted]"}}"#
    );
}

#[test]
fn patterns_are_replaced_in_every_string() {
    let config = json!({ "patterns": [
        { "regex": "[a-z]+@[a-z.]+" },
        { "regex": "(?i)(token)=\\w+", "replace": "$1=***" },
    ] });
    let redacted = result(
        config,
        json!({
            "content": [
                { "type": "text", "text": "write to ada@example.com, TOKEN=abc1" },
                { "type": "resource", "resource": { "uri": "x://y", "text": "ada@example.com" } },
            ],
            "structuredContent": { "list": ["bob@example.com", 1, "no"] },
            "_meta": { "note": "eve@example.com" },
        }),
    );
    assert_eq!(redacted["content"][0]["text"], "write to [redacted], TOKEN=***");
    assert_eq!(redacted["content"][1]["resource"], json!({ "uri": "x://y", "text": "[redacted]" }));
    assert_eq!(redacted["structuredContent"]["list"], json!(["[redacted]", 1, "no"]));
    assert_eq!(redacted["_meta"]["note"], "[redacted]");
}

#[test]
fn json_in_text_is_searched_unescaped_and_stays_json() {
    let text = r#"{"who":"ada\u0040example.com","note":"say \"key=1\"","n":[1.50]}"#;
    let config = json!({ "patterns": [{ "regex": "[a-z]+@[a-z.]+" }, { "regex": "\"key=\\d\"", "replace": "\"-\"" }] });
    let redacted = result(config, json!({ "content": [{ "type": "text", "text": text }] }));
    assert_eq!(redacted["content"][0]["text"], r#"{"who":"[redacted]","note":"say \"-\"","n":[1.50]}"#);
}

#[test]
fn a_number_in_the_copy_is_found_as_well() {
    let config = json!({ "patterns": [{ "regex": "\\b\\d{16}\\b", "replace": "0" }] });
    let redacted =
        result(config, json!({ "content": [{ "type": "text", "text": "{\"card\": 4111111111111111}" }] }));
    assert_eq!(redacted["content"][0]["text"], "{\"card\": 0}");
}

#[test]
fn images_and_audio_are_not_damaged_and_what_only_looks_like_them_is_searched() {
    let content = json!({
        "content": [
            { "type": "image", "data": "QUJDRA==", "mimeType": "image/png" },
            { "type": "text", "data": "QUJDRA==", "text": "" },
            { "type": "resource", "resource": { "uri": "x", "blob": "QUJDRA==", "mimeType": "audio/wav" } },
            { "type": "resource", "resource": { "uri": "x", "blob": "QUJDRA==", "mimeType": "text/plain" } },
        ],
        "structuredContent": { "data": "QUJDRA==" },
    });
    let redacted = result(json!({ "patterns": [{ "regex": "QUJD" }] }), content);
    assert_eq!(redacted["content"][0]["data"], "QUJDRA==");
    assert_eq!(redacted["content"][1]["data"], "[redacted]RA==");
    assert_eq!(redacted["content"][2]["resource"]["blob"], "QUJDRA==");
    assert_eq!(redacted["content"][3]["resource"]["blob"], "[redacted]RA==");
    assert_eq!(redacted["structuredContent"]["data"], "[redacted]RA==");
}

#[test]
fn an_image_that_is_too_large_to_pull_keeps_nothing_else_from_being_searched() {
    let result = json!({
        "content": [
            { "type": "text", "text": "a secret" },
            { "type": "image", "data": "x".repeat(100), "mimeType": "image/png" },
            { "type": "text", "text": "another secret" },
        ],
    });
    let call = CallBuilder::new("tools/call").name("a").result(result).pull_bytes(50).build();
    let filter: Redact = testing::configure(json!({ "patterns": [{ "regex": "secret" }] })).unwrap();
    assert_eq!(filter.on_response(&call), Ok(Verdict::Proceed));
    let outcome = call.outcome().unwrap();
    let text = |at: &str| outcome.doc().text(at);
    assert_eq!(text("/content/0/text"), Ok(Some("a [redacted]".to_owned())));
    assert_eq!(text("/content/2/text"), Ok(Some("another [redacted]".to_owned())));
    assert_eq!(text("/content/1/data"), Err(AccessError::TooLarge(100)));
}

#[test]
fn names_of_members_are_searched_where_they_are_not_the_protocols() {
    let redacted = result(
        json!({ "patterns": [{ "regex": "[a-z]+@b.c" }, { "regex": "content", "replace": "x" }] }),
        json!({
            "content": [{ "type": "text", "text": "t" }],
            "structuredContent": { "ada@b.c": 1, "by": [{ "eve@b.c": "x" }], "n": "1" },
        }),
    );
    assert_eq!(
        redacted["structuredContent"].to_string(),
        r#"{"[redacted]":1,"by":[{"[redacted] 2":"x"}],"n":"1"}"#
    );
    assert_eq!(redacted["content"][0]["text"], "t");
}

#[test]
fn errors_are_redacted_in_message_and_data() {
    let config = json!({
        "pointers": ["/error/data/query", "/structuredContent/x"],
        "patterns": [{ "regex": "/home/\\w+" }],
    });
    let data = json!({ "query": { "id": 7 }, "path": ["/home/ada/x"] });
    let call = CallBuilder::new("tools/call").name("users").error(-32_603, "no /home/ada/x", Some(data));
    assert_eq!(
        outcome(config, call),
        json!({ "code": -32_603, "message": "no [redacted]/x", "data": { "query": "[redacted]", "path": ["[redacted]/x"] } })
    );
}

#[test]
fn only_the_names_asked_for_are_touched() {
    let config = json!({ "names": ["user*"], "patterns": [{ "regex": "secret" }] });
    let text = || json!({ "content": [{ "type": "text", "text": "secret" }] });
    let after =
        |call: CallBuilder| outcome(config.clone(), call.result(text()))["content"][0]["text"].clone();
    assert_eq!(after(CallBuilder::new("tools/call").name("users")), "[redacted]");
    assert_eq!(after(CallBuilder::new("tools/call").name("files")), "secret");
    assert_eq!(after(CallBuilder::new("tools/list")), "secret");
}

#[test]
fn a_result_too_large_to_search_fails_rather_than_passes() {
    let text = "x".repeat(100);
    let result = json!({ "content": [{ "type": "text", "text": text }] });
    let call = CallBuilder::new("tools/call").name("a").result(result).pull_bytes(50).build();
    let filter: Redact = testing::configure(json!({ "patterns": [{ "regex": "secret" }] })).unwrap();
    let refused = filter.on_response(&call).unwrap_err().to_string();
    assert!(refused.contains("limits.pull_bytes"), "{refused}");
}

#[test]
fn bad_configuration_is_refused_with_its_key() {
    assert!(refusal(json!({})).contains("nothing to redact"));
    assert!(refusal(json!({ "pattern": [] })).starts_with("pattern: unknown field"));
    assert!(
        refusal(json!({ "patterns": [{ "regexp": "a" }] })).starts_with("patterns[0].regexp: unknown field")
    );
    assert!(
        refusal(json!({ "patterns": [{ "regex": "a" }, { "regex": "(" }] }))
            .starts_with("patterns[1].regex: ")
    );
    assert!(refusal(json!({ "patterns": [{ "regex": "a*" }] })).contains("matches the empty text"));
    assert!(
        refusal(json!({ "pointers": ["email"] })).starts_with("pointers[0]: `email` is not a JSON Pointer")
    );
    assert!(refusal(json!({ "remove": ["/a", ""] })).starts_with("remove[1]: "));
}

#[test]
fn the_schema_is_that_of_the_configuration() {
    let schema = schemars::schema_for!(config::Config);
    testing::assert_config_schema(
        concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json"),
        schema.as_value(),
    );
}

fn pattern() -> Value {
    json!({ "patterns": [{ "regex": "s3cret" }], "names": ["users"] })
}

/// What is left of a notification's `params`.
fn told(notification: NotificationBuilder) -> Value {
    let notification = notification.build();
    let filter: Redact = testing::configure(pattern()).unwrap();
    assert_eq!(filter.on_notification(&notification), Ok(Delivery::Pass));
    serde_json::from_str(&notification.params().get("").unwrap().unwrap()).unwrap()
}

#[test]
fn what_servers_tell_is_searched_unless_it_belongs_to_another_call() {
    let log = || {
        let data = json!({ "token": "s3cret", "json": "{\"k\":\"\\u00733cret\"}" });
        NotificationBuilder::new("notifications/message", json!({ "level": "info", "data": data }))
    };
    let redacted = json!({ "token": "[redacted]", "json": "{\"k\":\"[redacted]\"}" });
    assert_eq!(told(log())["data"], redacted, "nobody knows that it is not meant");
    assert_eq!(told(log().call(CallBuilder::new("tools/call").name("users")))["data"], redacted);
    assert_eq!(told(log().call(CallBuilder::new("tools/call").name("other")))["data"]["token"], "s3cret");
    assert_eq!(told(log().up())["data"]["token"], "s3cret");
    let progress = json!({ "progressToken": "s3cret", "progress": 1, "message": "s3cret" });
    let progress = told(NotificationBuilder::new("notifications/progress", progress));
    assert_eq!(
        progress,
        json!({ "progressToken": "s3cret", "progress": 1, "message": "[redacted]" }),
        "the token is the client's own"
    );
}

#[test]
fn what_servers_ask_is_searched_and_its_answer_is_not() {
    let filter: Redact = testing::configure(pattern()).unwrap();
    let params = json!({ "messages": [
        { "content": { "type": "text", "text": "s3cret" } }, { "content": { "type": "image", "data": "s3cret" } },
    ] });
    let ask = AskBuilder::new("sampling/createMessage", params).build();
    assert_eq!(filter.on_ask(&ask), Ok(AskVerdict::Pass));
    assert_eq!(ask.params().text("/messages/0/content/text"), Ok(Some("[redacted]".into())));
    assert_eq!(ask.params().text("/messages/1/content/data"), Ok(Some("s3cret".into())));
    let answered = AskBuilder::new("roots/list", json!({})).answer(json!({ "roots": ["s3cret"] })).build();
    assert_eq!(filter.on_answer(&answered), Ok(AskVerdict::Pass));
    assert_eq!(answered.answer().unwrap().doc().text("/roots/0"), Ok(Some("s3cret".into())));
}
