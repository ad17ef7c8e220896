//! Notifications and questions past filters, through the built binary in front of the fixture server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use serde_json::{Value, json};
use support::{Client, Gate, Pending, Setup};

/// In front of the fixture server: the guest `usher`, which does what the words of a message say.
fn gate() -> Gate {
    Setup::fixture(&[]).with_filter(json!({ "plugin": "usher" })).start()
}

fn progress_params(n: u32) -> Value {
    json!({ "name": "progress", "arguments": { "n": n }, "_meta": { "progressToken": "t" } })
}

/// Which progress was told, and with which words.
fn told(before: &[Value]) -> Vec<(u64, &str)> {
    let params = before.iter().map(|message| &message["params"]);
    params.map(|told| (told["progress"].as_u64().unwrap(), told["message"].as_str().unwrap())).collect()
}

#[test]
fn a_log_message_is_edited_and_the_filter_knows_its_call() {
    let gate = gate();
    let answer = gate.client("fx").call("log", json!({ "level": "error", "n": 2 }));
    let data: Vec<&Value> = answer.before.iter().map(|message| &message["params"]["data"]).collect();
    assert_eq!(
        data,
        [&json!({ "at": 1, "set": "edited for log" }), &json!({ "at": 2, "set": "edited for log" })]
    );
    assert_eq!(answer.text(), "logged");
}

#[test]
fn a_progress_notification_is_dropped_and_another_edited() {
    let gate = gate();
    let answer = gate.client("fx").request("tools/call", progress_params(4));
    assert_eq!(told(&answer.before), [(1, "1 of 4"), (3, "edited"), (4, "4 of 4")]);
    assert!(answer.before.iter().all(|message| message["params"]["progressToken"] == "t"));
    assert_eq!(answer.text(), "4 told");
}

#[test]
fn a_hundred_notifications_come_in_order_and_then_the_result() {
    // One filter more, so that every message takes its way through several hooks.
    let gate = Setup::fixture(&[])
        .with_filter(json!({ "plugin": "usher" }))
        .with_filter(json!({ "plugin": "redact", "config": { "patterns": [{ "regex": " of 100" }] } }))
        .start();
    let mut client = gate.client("fx");
    let answer = client.request("tools/call", progress_params(100));
    let came: Vec<u64> = told(&answer.before).into_iter().map(|(n, _)| n).collect();
    let expected: Vec<u64> = (1..=100).filter(|n| ![2, 13].contains(n)).collect();
    assert_eq!(came, expected);
    assert_eq!(told(&answer.before)[3], (5, "5[redacted]"));
    assert_eq!(answer.text(), "100 told", "the answer is not what patterns of notifications are for");
}

#[test]
fn what_a_filter_fails_on_is_dropped_and_said_once() {
    let gate = gate();
    let mark = gate.mark();
    let answer = gate.client("fx").request("tools/call", progress_params(14));
    assert!(!told(&answer.before).iter().any(|(n, _)| *n == 13), "closed: {answer:?}");
    assert_eq!(answer.text(), "14 told", "the call itself is not refused");
    gate.said(mark, "the failure", |line| line.contains("thirteen") && line.contains("dropped"));
    let open = Setup::fixture(&[]).with_filter(json!({ "plugin": "usher", "on_failure": "open" })).start();
    let answer = open.client("fx").request("tools/call", progress_params(14));
    assert!(told(&answer.before).contains(&(13, "13 of 14")), "open: {answer:?}");
}

#[test]
fn a_question_is_answered_by_the_filter_and_the_client_sees_nothing_of_it() {
    let gate = gate();
    let answer = gate.client("fx").call("ask_elicitation", json!({ "text": "answer" }));
    assert_eq!(answer.before, Vec::<Value>::new());
    let given: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(given, json!({ "action": "accept", "content": { "name": "usher" } }));
}

#[test]
fn a_question_is_refused_by_the_filter_or_because_it_failed() {
    let gate = gate();
    let mut client = gate.client("fx");
    for (text, said) in [("refuse", "not here"), ("fail", "filter `usher` could not judge")] {
        let answer = client.call("ask_elicitation", json!({ "text": text }));
        assert_eq!((answer.before.len(), &answer.result()["isError"]), (0, &json!(true)), "{answer:?}");
        assert!(answer.text().contains(said), "{answer:?}");
    }
}

#[test]
fn a_question_and_its_answer_are_edited() {
    let gate = gate();
    let mut client = gate.client("fx");
    let ask = json!({ "name": "ask_elicitation", "arguments": { "text": "Who?" } });
    let mut pending = client.start("tools/call", ask);
    let question = pending.expect("elicitation/create");
    assert_eq!(question["params"]["message"], "edited");
    assert_eq!(question["params"]["requestedSchema"]["type"], "object", "the rest is as it was");
    client.answer(&question, json!({ "action": "accept", "content": { "name": "Ada" } }));
    let answer = pending.finish().unwrap();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text, json!({ "action": "accept", "content": { "name": "edited" } }).to_string());

    let ask = json!({ "name": "ask_sampling", "arguments": { "text": "?" } });
    let mut pending = client.start("tools/call", ask);
    let question = pending.expect("sampling/createMessage");
    let error = json!({ "code": -1, "message": "User rejected sampling request" });
    client.tell(&json!({ "jsonrpc": "2.0", "id": question["id"], "error": error }));
    let answer = pending.finish().unwrap().to_string();
    assert!(answer.contains("edited") && !answer.contains("rejected"), "a client's error, too: {answer}");
}

#[test]
fn what_a_client_tells_passes_as_well() {
    let without = Setup::fixture(&[]).start();
    for (gate, arrives) in [(gate(), false), (without, true)] {
        let mut client = gate.client("fx");
        client.notify("notifications/roots/list_changed", json!({}));
        client.call("echo", json!({}));
        let arrived = gate.arrived("fx");
        let found = arrived.iter().any(|message| message["method"] == "notifications/roots/list_changed");
        assert_eq!(found, arrives);
    }
}

#[test]
fn what_belongs_to_no_call_passes_the_filters_of_the_moment() {
    let gate = Setup::fixture(&[])
        .with_filter(json!({ "plugin": "redact", "config": { "patterns": [{ "regex": "fixture" }] } }))
        .start();
    let mut client = gate.client("fx");
    let mut stream = client.listen();
    client.call("add_tool", json!({ "name": "fresh" }));
    stream.expect("notifications/tools/list_changed");
    client.request("resources/subscribe", json!({ "uri": "fixture://open/1" })).result();
    client.call("update_resource", json!({ "uri": "fixture://open/1" }));
    let updated = stream.expect("notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], "fixture://open/1", "what it belongs to is no text to redact");
}

#[test]
fn explain_knows_both_hooks() {
    let setup = Setup::fixture(&[]).with_filter(json!({ "plugin": "usher" }));
    let config = setup.write();
    for (method, phase) in [
        ("notifications/message", "notification"),
        ("elicitation/create", "input"),
        ("tools/call", "not called"),
    ] {
        let mut command = support::gate::lockgate();
        command.args(["plugin", "explain", "--server", "fx", "--method", method, "--config"]).arg(&config);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(said.contains(phase) && !said.contains("note:"), "{method}: {said}");
    }
}

/// A request of the modern era, on a connection of its own.
fn modern(gate: &Gate, method: &str, mut params: Value) -> Pending {
    let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
    let name = params["name"].as_str().map(str::to_owned);
    headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {} });
    Client::unopened(gate.address, "fx", headers).start(method, params)
}

#[test]
fn news_of_a_task_do_not_pass_by_the_filters_that_look_at_its_result() {
    let looks = json!({ "plugin": "redact", "config": { "patterns": [{ "regex": "canary-[0-9a-f]+" }] } });
    for (filter, hears) in [(None, true), (Some(looks), false)] {
        let setup = Setup::fixture(&["--modern"]);
        let gate = filter.into_iter().fold(setup, Setup::with_filter).start();
        let wanted = json!({ "toolsListChanged": true, "taskIds": ["t"] });
        let mut stream = modern(&gate, "subscriptions/listen", json!({ "notifications": wanted }));
        let honoured = stream.expect("notifications/subscriptions/acknowledged");
        let honoured = &honoured["params"]["notifications"];
        let expected = if hears { wanted } else { json!({ "toolsListChanged": true }) };
        assert_eq!(*honoured, expected, "what is not told is not promised");
        for (tool, arguments) in
            [("update_task", json!({ "task": "t" })), ("add_tool", json!({ "name": "added" }))]
        {
            let answer =
                modern(&gate, "tools/call", json!({ "name": tool, "arguments": arguments })).finish();
            assert!(answer.as_ref().is_some_and(|answer| answer["result"].is_object()), "{answer:?}");
        }
        let first = stream.next().unwrap();
        let first = if hears {
            assert_eq!(first["method"], "notifications/tasks");
            assert!(first.to_string().contains("canary-7f3a9c"), "{first}");
            stream.next().unwrap()
        } else {
            first
        };
        assert_eq!(first["method"], "notifications/tools/list_changed", "{first}");
    }
}
