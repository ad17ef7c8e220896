//! Questions of a modern server, which are results, put to a legacy client, who is asked.

use serde_json::{Value, json};

use super::support::{Client, Setup};
use super::{arrived, meta};

/// The text of a tool's result.
fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn a_question_is_asked_and_the_call_made_again_with_the_answer() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    for (tool, method, result) in [
        (
            "ask_sampling",
            "sampling/createMessage",
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "hé" } }),
        ),
        (
            "ask_elicitation",
            "elicitation/create",
            json!({ "action": "accept", "content": { "name": "Ada" } }),
        ),
        ("ask_roots", "roots/list", json!({ "roots": [{ "uri": "file:///a", "name": "a" }] })),
    ] {
        let params =
            json!({ "name": tool, "arguments": { "text": "What?" }, "_meta": { "progressToken": "p" } });
        let mut pending = client.start("tools/call", params);
        let question = pending.expect(method);
        client.answer(&question, result.clone());
        let answer = pending.finish().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text(&answer)).unwrap(), result);
        assert_eq!(answer["result"].get("resultType"), None);
    }
    let calls = arrived(&gate, "tools/call");
    assert_eq!(calls.len(), 6);
    for round in calls.chunks(2) {
        let (first, second) = (&round[0], &round[1]);
        assert_ne!(first["id"], second["id"]);
        assert!(first["params"].get("requestState").is_none());
        assert_eq!(second["params"]["requestState"], "asked \u{e9} / once");
        assert_eq!(first["params"]["arguments"], second["params"]["arguments"]);
        assert_eq!(
            meta(first, "clientCapabilities"),
            &json!({ "sampling": {}, "elicitation": {}, "roots": {} })
        );
    }
}

#[test]
fn an_elicitation_that_is_refused_or_fails_is_one_that_the_user_cancelled() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    let ask = json!({ "name": "ask_elicitation", "arguments": { "text": "Who?" } });
    let mut pending = client.start("tools/call", ask);
    let question = pending.expect("elicitation/create");
    let error = json!({ "code": -1, "message": "no" });
    client.tell(&json!({ "jsonrpc": "2.0", "id": question["id"], "error": error }));
    assert_eq!(text(&pending.finish().unwrap()), r#"{"action":"cancel"}"#);
}

#[test]
fn a_url_elicitation_gets_an_id_that_nobody_can_guess() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = Client::unopened(gate.address, "fx", Vec::new());
    client
        .initialize(json!({ "protocolVersion": "2025-11-25", "clientInfo": { "name": "c", "version": "0" },
        "capabilities": { "elicitation": { "url": {} } } }));
    let ask =
        json!({ "name": "ask_elicitation", "arguments": { "text": "Go", "url": "https://a.example/" } });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut pending = client.start("tools/call", ask.clone());
        let question = pending.expect("elicitation/create");
        assert_eq!(question["params"]["mode"], "url");
        assert_eq!(question["params"]["url"], "https://a.example/");
        ids.push(question["params"]["elicitationId"].as_str().unwrap().to_owned());
        client.answer(&question, json!({ "action": "accept" }));
        assert_eq!(text(&pending.finish().unwrap()), r#"{"action":"accept"}"#);
    }
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() >= 22), "{ids:?}");
    assert!(!gate.arrived_text("fx").contains(&ids[0]), "the server knows no such name");
}

#[test]
fn a_form_for_an_older_client_names_no_mode() {
    let gate = Setup::fixture(&["--modern"]).start();
    for (version, mode) in [("2025-06-18", Value::Null), ("2025-11-25", json!("form"))] {
        let mut client = Client::unopened(gate.address, "fx", Vec::new());
        client.initialize(json!({ "protocolVersion": version, "clientInfo": { "name": "c", "version": "0" },
            "capabilities": { "elicitation": {}, "sampling": {}, "roots": {} } }));
        let mut pending = client.start("tools/call", json!({ "name": "ask_all", "arguments": {} }));
        assert_eq!(pending.expect("elicitation/create")["params"]["mode"], mode);
    }
}

#[test]
fn a_client_that_refuses_ends_the_call_and_what_else_it_was_asked_is_taken_back() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    let mut pending = client.start("tools/call", json!({ "name": "ask_all", "arguments": {} }));
    let elicitation = pending.expect("elicitation/create");
    let sampling = pending.expect("sampling/createMessage");
    let error = json!({ "code": -1, "message": "User rejected sampling request" });
    client.tell(&json!({ "jsonrpc": "2.0", "id": sampling["id"], "error": error }));
    let void = pending.expect("notifications/cancelled");
    assert_eq!(void["params"]["requestId"], elicitation["id"]);
    let answer = pending.finish().unwrap();
    assert_eq!(answer["result"]["isError"], true);
    assert!(text(&answer).contains("User rejected sampling request"), "{answer}");
    assert_eq!(arrived(&gate, "tools/call").len(), 1, "the server is not asked again");
}

#[test]
fn nobody_is_asked_what_the_client_has_no_capability_for() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = Client::unopened(gate.address, "fx", Vec::new());
    client
        .initialize(json!({ "protocolVersion": "2025-11-25", "clientInfo": { "name": "c", "version": "0" },
        "capabilities": { "elicitation": {} } }));
    for (tool, capability) in [("ask_sampling", "sampling"), ("ask_roots", "roots"), ("ask_all", "sampling")]
    {
        let answer = client.call(tool, json!({}));
        assert_eq!(answer.result()["isError"], true);
        assert!(answer.text().contains(&format!("`{capability}`")), "{answer:?}");
        assert_eq!(answer.before, Vec::<Value>::new(), "{tool}: not even what it could answer");
    }
    let url = client.call("ask_elicitation", json!({ "url": "https://a.example/" }));
    assert!(url.text().contains("elicitation.url"), "{url:?}");
    let other = client.call("ask_ping", json!({}));
    assert!(other.text().contains("`ping`") && other.result()["isError"] == true, "{other:?}");
    let lacks =
        json!({ "code": -32021, "message": "m", "data": { "requiredCapabilities": { "sampling": {} } } });
    let lacks = client.call("protocol_error", lacks);
    assert!(lacks.text().contains("`sampling`") && lacks.result()["isError"] == true, "{lacks:?}");
}

#[test]
fn rounds_without_questions_go_on_by_themselves_and_all_rounds_end() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    assert_eq!(client.call("rounds", json!({ "n": 3 })).text(), "after 3 rounds");
    let states: Vec<_> =
        arrived(&gate, "tools/call").iter().map(|call| call["params"]["requestState"].clone()).collect();
    assert_eq!(states, [Value::Null, json!("1"), json!("2"), json!("3")]);
    let before = arrived(&gate, "tools/call").len();
    let mut pending =
        client.start("tools/call", json!({ "name": "rounds", "arguments": { "n": 99, "ask": true } }));
    for _ in 0..10 {
        let question = pending.expect("roots/list");
        client.answer(&question, json!({ "roots": [] }));
    }
    let answer = pending.finish().unwrap();
    assert_eq!(answer["result"]["isError"], true);
    assert!(text(&answer).contains("10 rounds"), "{answer}");
    assert_eq!(arrived(&gate, "tools/call").len() - before, 11);
}

#[test]
fn a_user_who_thinks_is_no_server_that_hangs_but_does_not_think_for_ever() {
    // The question has as long as a call; before it a round of state only has used some of the call's.
    let gate = Setup::fixture(&["--modern"]).with_limit("call_seconds", 2).start();
    let mut client = gate.client("fx");
    let ask = json!({ "name": "ask_sampling", "arguments": { "text": "?" } });
    let mut pending = client.start("tools/call", ask);
    pending.expect("sampling/createMessage");
    let answer = pending.finish().unwrap();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(&answer).contains("within 2 s"), "{answer}");
    // Ten rounds of 250 ms each are longer than a call may take without a sign of life.
    assert_eq!(client.call("rounds", json!({ "n": 10 })).text(), "after 10 rounds");
}

#[test]
fn a_cancelled_call_takes_its_questions_back() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    let mut pending = client.start("tools/call", json!({ "name": "ask_roots", "arguments": {} }));
    let question = pending.expect("roots/list");
    client.notify("notifications/cancelled", json!({ "requestId": pending.id }));
    let void = pending.expect("notifications/cancelled");
    assert_eq!(void["params"]["requestId"], question["id"]);
    assert_eq!(pending.finish(), None, "no answer to what was cancelled");
    // The answer comes too late, and the server hears nothing of it.
    client.raw(
        json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "roots": [] } }).to_string().as_bytes(),
        "application/json",
    );
    assert_eq!(client.call("count", json!({})).text(), "1");
    assert_eq!(arrived(&gate, "tools/call").len(), 2);
}
