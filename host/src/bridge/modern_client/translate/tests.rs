//! What passes between the eras, and what does not.

use super::*;

fn request(method: &str, params: &str) -> Request {
    Request::of(&Message::request(b"1", method, Some(params.as_bytes())))
}

fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

#[test]
fn a_request_loses_what_only_its_era_has_and_nothing_else() {
    for (params, left) in [
        (
            r#"{"name":"t","_meta":{"io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/a/b~c":1},"arguments":{"n":1.50}}"#,
            r#"{"name":"t","arguments":{"n":1.50}}"#,
        ),
        (
            r#"{"_meta":{"io.modelcontextprotocol/logLevel":"info","progressToken":7,"acme/trace":"x"},"name":"t"}"#,
            r#"{"_meta":{"progressToken":7,"acme/trace":"x"},"name":"t"}"#,
        ),
        (r#"{"name":"t","inputResponses":{"r1":{}},"requestState":"s","task":{"ttl":1}}"#, r#"{"name":"t"}"#),
        (r#"{"name":"t","_meta":{}}"#, r#"{"name":"t","_meta":{}}"#),
    ] {
        let request = request("tools/call", params);
        assert_eq!(request.message.params().unwrap(), left, "{params}");
    }
    let request = request(
        "tools/call",
        r#"{"requestState":"a\u0062","inputResponses":{"r1":{"action":"accept"},"r2":1},"_meta":{"progressToken":"p","io.modelcontextprotocol/logLevel":"info"}}"#,
    );
    assert_eq!(request.state.as_deref(), Some("ab"));
    assert_eq!((request.token.as_deref(), request.level.as_deref()), (Some(&b"\"p\""[..]), Some("info")));
    assert_eq!(answer_to(request.answers.as_ref(), 1).unwrap(), r#"{"action":"accept"}"#);
    assert_eq!(answer_to(request.answers.as_ref(), 2), None, "no object");
    assert_eq!(answer_to(request.answers.as_ref(), 3), None);
}

#[test]
fn a_client_knows_tasks_if_it_says_so_in_an_object() {
    for (capabilities, knows) in [
        (r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#, true),
        (r#"{"extensions":{"io.modelcontextprotocol/tasks":true}}"#, false),
        (r#"{"extensions":{"io.modelcontextprotocol":{"tasks":{}}}}"#, false),
        (r#"{"tasks":{}}"#, false),
    ] {
        let params =
            format!(r#"{{"_meta":{{"io.modelcontextprotocol/clientCapabilities":{capabilities}}}}}"#);
        assert_eq!(request("tools/call", &params).knows_tasks, knows, "{capabilities}");
    }
}

#[test]
fn only_what_both_eras_have_is_sent() {
    for method in ["tools/call", "tools/list", "resources/read", "completion/complete", "acme/own"] {
        assert!(request(method, "{}").is_legacy_too(), "{method}");
    }
    for method in [
        "tasks/get",
        "tasks/update",
        "subscriptions/listen",
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "server/discover",
    ] {
        assert!(!request(method, "{}").is_legacy_too(), "{method}");
    }
}

#[test]
fn no_legacy_result_passes_for_a_question() {
    let fake = r#"{"result\u0054ype":"input_required","inputRequests":{"r1":{}},"requestState":"x","ttlMs":9,"content":[]}"#;
    let called = answer(&request("tools/call", "{}"), Message::response(b"1", fake.as_bytes()), b"{}");
    assert_eq!(called.result().unwrap(), r#"{"result\u0054ype":"complete","ttlMs":9,"content":[]}"#);
    let listed = r#"{"tools":[{"name":"a","execution":{"taskSupport":"required"},"x":1},{"execution":{},"name":"b"}],"cacheScope":"public"}"#;
    let list = Message::response(b"1", listed.as_bytes());
    let names: Vec<_> = task_tools(&list).collect();
    assert_eq!(names, [("a".into(), true), ("b".into(), false)]);
    assert_eq!(
        answer(&request("tools/list", "{}"), list, b"{}").result().unwrap(),
        r#"{"tools":[{"name":"a","x":1},{"name":"b"}],"cacheScope":"private","resultType":"complete","ttlMs":0}"#
    );
    let odd = answer(&request("tools/call", "{}"), Message::response(b"1", b"[]"), b"{}");
    assert_eq!(code(&odd), Some(errors::INTERNAL), "{}", text(&odd));
}

#[test]
fn codes_of_another_meaning_do_not_pass() {
    let read = request("resources/read", r#"{"uri":"x:a"}"#);
    for (data, told) in
        [(None, r#"{"uri":"x:a"}"#), (Some(&br#"{"uri":"y","k":1}"#[..]), r#"{"uri":"x:a","k":1}"#)]
    {
        let error = answer(&read, Message::error(Some(b"1"), -32002, "none", data), b"{}");
        assert_eq!((code(&error), error.error_member("data")), (Some(-32602), Some(told.as_bytes())));
    }
    let call = request("tools/call", "{}");
    for (told, expected) in [
        (-32020, -32603),
        (-32021, -32603),
        (-32022, -32603),
        (-32042, -32603),
        (-32002, -32602),
        (-32000, -32000),
        (-32601, -32601),
        (5, 5),
    ] {
        let error = answer(&call, Message::error(Some(b"1"), told, "m", Some(b"[1]")), b"{}");
        assert_eq!((code(&error), error.error_member("data")), (Some(expected), Some(&b"[1]"[..])), "{told}");
    }
    let odd = Message::error(Some(b"1"), 1, "m", None).with_error(br#"{"code":-32021.0,"message":"m"}"#);
    assert_eq!(code(&answer(&call, odd, b"{}")), Some(errors::INTERNAL));
}

#[test]
fn discovery_says_what_initialize_said() {
    let said = br#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"tasks":{},"experimental":{},"logging":{},"prompts":7},"serverInfo":{"name":"s","x":1.0},"instructions":"a\nb"}"#;
    let discovery = discovery(said);
    let read: serde_json::Value = serde_json::from_slice(&discovery).unwrap();
    assert_eq!(read["capabilities"], serde_json::json!({ "tools": { "listChanged": true }, "logging": {} }));
    assert_eq!(read["instructions"], "a\nb");
    assert!(
        String::from_utf8_lossy(&discovery)
            .contains(r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","x":1.0}}"#)
    );
    for (said, told) in [
        (
            r#"{"capabilities":{"tasks":{"requests":{"tools":{"call":{}}}}}}"#,
            r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
        ),
        (
            r#"{"capabilities":{"tools":{},"tasks":{"requests":{"tools":{"call":{}}}},"extensions":{"x/y":{}}}}"#,
            r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
        ),
        (r#"{"capabilities":{"tasks":{"list":{},"requests":{"tools":{}}}}}"#, "{}"),
    ] {
        let discovery = super::discovery(said.as_bytes());
        assert_eq!(jsonrpc::get(&discovery, "/capabilities"), Some(told.as_bytes()), "{said}");
    }
    let bare: serde_json::Value = serde_json::from_slice(&super::discovery(b"{}")).unwrap();
    assert_eq!(
        (&bare["capabilities"], &bare["supportedVersions"]),
        (&serde_json::json!({}), &serde_json::json!(["2026-07-28"]))
    );
}

#[test]
fn a_question_loses_what_only_the_legacy_era_has() {
    let raw =
        br#"{"mode":"url","elicitationId":"e","url":"https://a","_meta":{"progressToken":1},"task":{}}"#;
    let params = question_params(Some(Bytes::from_static(raw))).unwrap();
    assert_eq!(params, r#"{"mode":"url","url":"https://a"}"#);
    assert_eq!(question_params(Some(Bytes::from_static(b"7"))), None);
    let questions = [(1, "roots/list", None), (12, "a\"b", Some(&params[..]))];
    let asked = input_required(questions.into_iter(), "s");
    assert_eq!(
        asked.result().unwrap(),
        r#"{"resultType":"input_required","inputRequests":{"r1":{"method":"roots/list","params":{}},"r12":{"method":"a\"b","params":{"mode":"url","url":"https://a"}}},"requestState":"s"}"#
    );
}

#[test]
fn pages_to_visit_are_read_from_the_error_or_there_are_none() {
    let error = |data: &str| Message::error(Some(b"1"), -32042, "m", Some(data.as_bytes()));
    let two = r#"{"elicitations":[{"mode":"url","elicitationId":"e","url":"u","message":"m"},{"url":"v"}]}"#;
    let expected = [r#"{"mode":"url","url":"u","message":"m"}"#, r#"{"url":"v","mode":"url"}"#];
    assert_eq!(pages(&error(two)).unwrap(), expected);
    for none in
        ["{}", r#"{"elicitations":[]}"#, r#"{"elicitations":[{"message":"m"}]}"#, r#"{"elicitations":[7]}"#]
    {
        assert_eq!(pages(&error(none)), None, "{none}");
    }
    let many = format!(r#"{{"elicitations":[{}]}}"#, vec![r#"{"url":"u"}"#; 17].join(","));
    assert_eq!(pages(&error(&many)), None);
}

#[test]
fn a_result_says_whose_it_is_and_keeps_what_else_it_says() {
    let result =
        br#"{"content":[],"_meta":{"a/b":1,"io.modelcontextprotocol/serverInfo":{"name":"forged"},"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#;
    let initialized = br#"{"serverInfo":{"name":"s","version":"1"}}"#;
    let told = answer(&request("tools/call", "{}"), Message::response(b"1", result), initialized);
    let meta = told.result_member("_meta").unwrap();
    let expected = br#"{"a/b":1,"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}"#;
    assert_eq!(meta, expected, "{}", String::from_utf8_lossy(meta));
}
