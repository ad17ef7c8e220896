//! The shipped filter `approve`: the user's word before a tool may destroy something, in either era.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use serde_json::{Value, json};
use support::{Gate, Modern, Setup};

fn gate(flags: &[&str]) -> Gate {
    let config = json!({ "tools": ["echo", "ask_elicitation"], "destructive": false });
    Setup::fixture(flags).with_filter(json!({ "plugin": "approve", "config": config })).start()
}

fn calls(gate: &Gate) -> usize {
    gate.arrived("fx").iter().filter(|message| message["params"]["name"] == "echo").count()
}

fn answers_a_legacy_client(gate: &Gate) {
    for (action, runs) in [("accept", true), ("decline", false), ("cancel", false)] {
        let before = calls(gate);
        let mut client = gate.client("fx");
        let mut call = client.start("tools/call", json!({ "name": "echo", "arguments": { "a": 1 } }));
        let question = call.expect("elicitation/create");
        assert_eq!(question["params"]["message"], r#"May `echo` of `fx` be called with {"a":1}?"#);
        client.answer(&question, json!({ "action": action }));
        let answer = call.finish().unwrap();
        assert_eq!(answer.get("result").is_some(), runs, "{action}: {answer}");
        assert_eq!(calls(gate) - before, usize::from(runs), "{action}");
    }
    let mut unable = support::Client::unopened(gate.address, "fx", Vec::new());
    unable.initialize(json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "raw", "version": "0" } }));
    let before = calls(gate);
    let refused = unable.call("echo", json!({}));
    assert_eq!(refused.error()["data"]["reason"], "cannot-ask", "{refused:?}");
    assert_eq!(calls(gate), before);
}

fn answers_a_modern_client(gate: &Gate) {
    let arguments = json!({ "a": 1 });
    for (action, runs) in [("accept", true), ("decline", false), ("cancel", false)] {
        let before = calls(gate);
        let client = Modern::new(gate.address, "fx");
        let asked = client.call("echo", arguments.clone());
        let question = &asked.result()["inputRequests"]["lockgate-0"];
        assert_eq!(question["method"], "elicitation/create", "{asked:?}");
        assert_eq!(question["params"]["message"], r#"May `echo` of `fx` be called with {"a":1}?"#);
        let answered = |_: &str, _: &Value| json!({ "action": action });
        let answer = client.again("echo", arguments.clone(), &asked, answered);
        assert_eq!(answer.message.get("result").is_some(), runs, "{action}: {answer:?}");
        assert_eq!(calls(gate) - before, usize::from(runs), "{action}");
        let replayed = client.again("echo", arguments.clone(), &asked, answered);
        assert_eq!(replayed.error()["code"], -32602, "one yes is good for one call");
        let asked = client.call("echo", arguments.clone());
        let other = client.again("echo", json!({ "a": 2 }), &asked, |_, _| json!({ "action": "accept" }));
        assert_eq!(other.error()["code"], -32602, "and for its own arguments");
        assert_eq!(calls(gate) - before, usize::from(runs), "{action}");
    }
    let unable = Modern::new(gate.address, "fx").able_to(json!({}));
    let before = calls(gate);
    let refused = unable.call("echo", json!({}));
    assert_eq!((refused.status, &refused.error()["code"]), (400, &json!(-32021)), "{refused:?}");
    assert_eq!(calls(gate), before);
}

#[test]
fn a_legacy_client_of_a_legacy_server_is_asked() {
    answers_a_legacy_client(&gate(&[]));
}

#[test]
fn a_modern_client_of_a_modern_server_is_asked() {
    answers_a_modern_client(&gate(&["--modern"]));
}

#[test]
fn a_modern_client_of_a_legacy_server_is_asked() {
    answers_a_modern_client(&gate(&[]));
}

#[test]
fn a_legacy_client_of_a_modern_server_is_asked() {
    answers_a_legacy_client(&gate(&["--modern"]));
}

#[test]
fn one_yes_holds_for_the_servers_own_rounds_as_well() {
    let gate = gate(&["--modern"]);
    let client = Modern::new(gate.address, "fx");
    let arguments = json!({ "text": "who" });
    let asked = client.call("ask_elicitation", arguments.clone());
    assert!(asked.result()["inputRequests"].get("lockgate-0").is_some(), "{asked:?}");
    let yes = |_: &str, _: &Value| json!({ "action": "accept", "content": { "name": "Ada" } });
    let asked = client.again("ask_elicitation", arguments.clone(), &asked, yes);
    assert_eq!(asked.result()["inputRequests"]["q"]["params"]["message"], "who", "{asked:?}");
    let answer = client.again("ask_elicitation", arguments, &asked, yes);
    assert!(answer.text().contains("Ada"), "{answer:?}");
}

#[test]
fn a_tool_that_says_it_only_reads_is_called_without_a_word() {
    let gate = Setup::fixture(&["--modern"]).with_filter(json!({ "plugin": "approve" })).start();
    let client = Modern::new(gate.address, "fx");
    assert_ne!(client.call("echo", json!({})).result()["resultType"], "input_required");
    assert_eq!(client.call("delete_note", json!({})).result()["resultType"], "input_required");
}
