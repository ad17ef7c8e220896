//! Tasks that a modern server makes of calls, driven for a legacy client or kept as tasks of its own era.

use serde_json::{Value, json};
use sha2::Digest;

use super::support::client::full;
use super::support::{Client, Gate, PATIENCE, Setup, processes};
use super::{arrived, meta};

fn setup() -> Setup {
    Setup::fixture(&["--modern", "--tasks"])
}

fn elicitation() -> Value {
    json!({ "method": "elicitation/create", "params": { "mode": "form", "message": "who",
        "requestedSchema": { "type": "object", "properties": {} } } })
}

/// A call whose client wants a task.
fn begin(client: &mut Client, arguments: Value) -> Value {
    let params = json!({ "name": "job", "arguments": arguments, "task": { "ttl": 60_000 } });
    let task = client.request("tools/call", params).result()["task"].clone();
    assert_eq!(task["status"], "working", "{task}");
    assert!(task["taskId"].as_str().unwrap().len() >= 22, "nobody guesses it: {task}");
    task["taskId"].clone()
}

fn look(client: &mut Client, id: &Value) -> Value {
    client.request("tasks/get", json!({ "taskId": id })).result().clone()
}

/// Looks until it stands like that.
fn until(client: &mut Client, id: &Value, status: &str) {
    processes::until(status, PATIENCE, || look(client, id)["status"] == status);
}

/// Waits for something that the server's log says, in its own time.
fn until_arrived(gate: &Gate, method: &str) {
    processes::until(method, PATIENCE, || !arrived(gate, method).is_empty());
}

#[test]
fn a_call_that_becomes_a_task_is_a_call_that_takes_its_time() {
    let gate = setup().start();
    let mut client = gate.client("fx");
    let params = json!({ "name": "job", "arguments": { "key": "k" }, "_meta": { "progressToken": "p" } });
    let mut pending = client.start("tools/call", params);
    let mut told = Vec::new();
    for at in 1..=3 {
        let progress = pending.expect("notifications/progress");
        assert_eq!(progress["params"]["progressToken"], "p");
        assert_eq!(progress["params"]["progress"], at);
        told.push(progress["params"]["message"].clone());
    }
    assert_eq!(told, ["looked at 1 times", "looked at 2 times", "looked at 3 times"]);
    client.call("release", json!({ "key": "k" }));
    let answer = pending.finish().unwrap();
    assert_eq!(answer["result"], json!({ "content": [{ "type": "text", "text": "{}" }] }));
    let call = &arrived(&gate, "tools/call")[0];
    let declared = &meta(call, "clientCapabilities")["extensions"]["io.modelcontextprotocol/tasks"];
    assert_eq!(declared, &json!({}), "{call}");
    assert_eq!(arrived(&gate, "tasks/cancel"), Vec::<Value>::new());
}

#[test]
fn what_a_task_asks_is_asked_during_the_call_and_each_thing_once() {
    let gate = setup().start();
    let mut client = gate.client("fx");
    let ask = json!([elicitation(), { "method": "roots/list" }]);
    let mut pending =
        client.start("tools/call", json!({ "name": "job", "arguments": { "ask": ask, "late": true } }));
    let question = pending.expect("elicitation/create");
    client.answer(&question, json!({ "action": "decline" }));
    let question = pending.expect("roots/list");
    client.answer(&question, json!({ "roots": [] }));
    let answer = pending.finish().unwrap();
    let answers: Value =
        serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(answers, json!({ "q/0": { "action": "decline" }, "q/1": { "roots": [] } }));
    let updates = arrived(&gate, "tasks/update");
    assert_eq!(updates.len(), 2);
    assert!(updates[0]["params"].get("progressToken").is_none());
}

#[test]
fn a_task_that_fails_is_a_call_that_fails_and_one_that_makes_no_sense_is_cancelled() {
    let gate = setup().start();
    let mut client = gate.client("fx");
    let error = json!({ "code": -32050, "message": "no more paper", "data": { "sheets": 0 } });
    assert_eq!(client.call("job", json!({ "fail": error })).error(), &error);
    assert_eq!(client.call("job", json!({ "is_error": true })).result()["isError"], true);
    let cancelled = client.call("job", json!({ "status": "cancelled" }));
    assert!(cancelled.text().contains("cancelled"), "{cancelled:?}");
    assert_eq!(arrived(&gate, "tasks/cancel").len(), 0, "those were at their end");
    let lost = client.call("job", json!({ "status": "lost" }));
    assert!(lost.text().contains("lost") && lost.result()["isError"] == true, "{lost:?}");
    until_arrived(&gate, "tasks/cancel");
    let mut narrow = Client::unopened(gate.address, "fx", Vec::new());
    narrow.initialize(json!({ "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "c", "version": "0" } }));
    let mute = narrow.call("job", json!({ "ask": [elicitation()] }));
    assert!(mute.text().contains("`elicitation`") && mute.before.is_empty(), "{mute:?}");
}

#[test]
fn a_cancelled_call_cancels_the_task() {
    let gate = setup().start();
    let mut client = gate.client("fx");
    let params = json!({ "name": "job", "arguments": { "key": "k" }, "_meta": { "progressToken": "p" } });
    let mut pending = client.start("tools/call", params);
    pending.expect("notifications/progress");
    client.notify("notifications/cancelled", json!({ "requestId": pending.id }));
    assert_eq!(pending.finish(), None);
    until_arrived(&gate, "tasks/cancel");
    assert_eq!(arrived(&gate, "tasks/cancel")[0]["params"]["taskId"], "task-1");
}

#[test]
fn a_client_that_knows_tasks_gets_one_of_its_own_era() {
    let gate = setup().start();
    let mut client = gate.client("fx");
    assert_eq!(
        client.initialized["capabilities"]["tasks"],
        json!({ "cancel": {}, "requests": { "tools": { "call": {} } } })
    );
    for tool in client.list("tools/list", "tools") {
        assert_eq!(tool["execution"]["taskSupport"], "optional", "{tool}");
    }
    let id = begin(&mut client, json!({ "key": "k", "ask": [elicitation()] }));
    let task = look(&mut client, &id);
    assert_eq!((&task["status"], &task["ttl"]), (&json!("working"), &json!(60_000)), "{task}");
    assert!(task["pollInterval"].is_u64() && task["createdAt"].is_string(), "{task}");
    client.call("release", json!({ "key": "k" }));
    until(&mut client, &id, "input_required");
    let mut waiting = client.start("tasks/result", json!({ "taskId": id }));
    let question = waiting.expect("elicitation/create");
    let related = &question["params"]["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(related, &json!({ "taskId": id }));
    client.answer(&question, json!({ "action": "accept", "content": {} }));
    let result = waiting.finish().unwrap()["result"].clone();
    let text = result["content"][0]["text"].as_str().unwrap();
    assert_eq!(text, r#"{"q/0":{"action":"accept","content":{}}}"#);
    assert_eq!(result["_meta"]["io.modelcontextprotocol/related-task"], json!({ "taskId": id }));
    assert_eq!(look(&mut client, &id)["status"], "completed");
    let again = client.request("tasks/result", json!({ "taskId": id }));
    assert_eq!(again.result(), &result, "it stays for as long as it said");
    assert!(arrived(&gate, "tools/call").iter().all(|call| call["params"].get("task").is_none()));
}

#[test]
fn a_filter_sees_what_a_task_asks_in_a_call_and_in_a_task() {
    let gate = setup().with_filter(json!({ "plugin": "usher" })).start();
    let mut client = gate.client("fx");
    let arguments = json!({ "ask": [elicitation()] });
    let id = begin(&mut client, arguments.clone());
    for (method, params) in [
        ("tools/call", json!({ "name": "job", "arguments": arguments })),
        ("tasks/result", json!({ "taskId": id })),
    ] {
        let mut pending = client.start(method, params);
        let question = pending.expect("elicitation/create");
        assert_eq!(question["params"]["message"], "edited", "{method}");
        client.answer(&question, json!({ "action": "accept", "content": { "name": "Ada" } }));
        let answer = pending.finish().unwrap();
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(r#""name":"edited""#), "{method}: {text}");
    }
}

#[test]
fn any_call_may_be_a_task_whatever_the_server_makes_of_it() {
    let gate = setup().start();
    let mut client = gate.client("fx");
    for (tool, arguments, status) in [
        ("echo", json!({ "a": 1 }), "completed"),
        ("tool_error", json!({}), "failed"),
        ("protocol_error", json!({ "code": -32050, "message": "m" }), "failed"),
    ] {
        let plain = client.call(tool, arguments.clone()).message;
        let params = json!({ "name": tool, "arguments": arguments, "task": {} });
        let id = client.request("tools/call", params).result()["task"]["taskId"].clone();
        until(&mut client, &id, status);
        let mut kept = client.request("tasks/result", json!({ "taskId": id })).message;
        if let Some(own) = kept["result"]["_meta"].as_object_mut() {
            own.remove("io.modelcontextprotocol/related-task");
        }
        assert_eq!(kept["error"], plain["error"], "{tool}");
        assert_eq!(kept["result"]["content"], plain["result"]["content"], "{tool}");
    }
}

#[test]
fn a_cancelled_task_is_cancelled_at_the_server_and_nobody_else_finds_one() {
    let gate = setup().start();
    let (mut client, mut other) = (gate.client("fx"), gate.client("fx"));
    let id = begin(&mut client, json!({ "key": "k" }));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        assert_eq!(other.request(method, json!({ "taskId": id })).error()["code"], -32602, "{method}");
        assert_eq!(client.request(method, json!({ "taskId": "no" })).error()["code"], -32602, "{method}");
    }
    until_arrived(&gate, "tasks/get");
    let cancelled = client.request("tasks/cancel", json!({ "taskId": id }));
    assert_eq!(cancelled.result()["status"], "cancelled");
    until_arrived(&gate, "tasks/cancel");
    assert_eq!(client.request("tasks/cancel", json!({ "taskId": id })).error()["code"], -32602);
    assert_eq!(client.request("tasks/result", json!({ "taskId": id })).error()["code"], -32603);
    assert_eq!(look(&mut client, &id)["status"], "cancelled");
    assert_eq!(client.request("tasks/list", json!({})).error()["code"], -32601, "not offered");
}

#[test]
fn a_task_is_found_by_its_own_principal_only_also_where_all_share_a_connection() {
    let hash = |key: &str| hex::encode(sha2::Sha256::digest(key));
    let keys = ["ada", "bob"].map(|user| json!({ "name": user, "sha256": hash(&format!("{user}'s")) }));
    let shared = json!({ "isolation": "shared" });
    let gate = setup()
        .server_keys("fx", shared)
        .with_filter(json!({ "plugin": "api-key-auth", "config": { "keys": keys } }))
        .start();
    let [mut ada, mut bob] = ["ada", "bob"].map(|user| {
        let key = ("authorization".to_owned(), format!("Bearer {user}'s"));
        Client::open_with(gate.address, "fx", vec![key])
    });
    let id = begin(&mut ada, json!({ "key": "k" }));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        assert_eq!(bob.request(method, json!({ "taskId": id })).error()["code"], -32602, "{method}");
    }
    assert_eq!(look(&mut ada, &id)["status"], "working");
}

#[test]
fn a_question_goes_to_the_next_who_waits() {
    let gate = setup().start();
    let mut client = gate.client("fx");
    let id = begin(&mut client, json!({ "ask": [elicitation()] }));
    let mut first = client.start("tasks/result", json!({ "taskId": id }));
    first.expect("elicitation/create");
    client.notify("notifications/cancelled", json!({ "requestId": first.id }));
    assert_eq!(first.finish().map(|_| ()), None);
    let mut second = client.start("tasks/result", json!({ "taskId": id }));
    let question = second.expect("elicitation/create");
    client.answer(&question, json!({ "action": "cancel" }));
    let text = second.finish().unwrap()["result"]["content"][0]["text"].clone();
    assert_eq!(text, r#"{"q/0":{"action":"cancel"}}"#);
}

#[test]
fn tasks_are_bounded_in_number_and_in_time() {
    let gate = setup().with_limit("parked_calls", 2).with_limit("task_seconds", 2).start();
    let mut client = gate.client("fx");
    let ids = [1, 2].map(|_| begin(&mut client, json!({ "key": "never" })));
    let third = client.request("tools/call", json!({ "name": "job", "arguments": {}, "task": {} }));
    assert!(third.error()["message"].as_str().unwrap().contains("limits.parked_calls"), "{third:?}");
    for id in ids {
        processes::until("the end of a task", PATIENCE, || {
            client.request("tasks/get", json!({ "taskId": id })).message.get("error").is_some()
        });
    }
    until_arrived(&gate, "tasks/cancel");
    let id = begin(&mut client, json!({}));
    until(&mut client, &id, "completed");
    // Of all clients together half of the calls that the server takes.
    let gate = setup().with_limit("calls_per_server", 2).start();
    let mut client = gate.client("fx");
    begin(&mut client, json!({ "key": "never" }));
    let second = client.request("tools/call", json!({ "name": "job", "arguments": {}, "task": {} }));
    assert!(second.error()["message"].as_str().unwrap().contains("limits.calls_per_server"), "{second:?}");
}

#[test]
fn a_task_has_its_place_until_its_end_is_known_and_then_the_last_ones_are_kept() {
    let gate = setup().with_limit("parked_calls", 1).start();
    let mut client = gate.client("fx");
    let done = |client: &mut Client| {
        let params = json!({ "name": "echo", "arguments": {}, "task": {} });
        let id = client.request("tools/call", params).result()["task"]["taskId"].clone();
        client.request("tasks/result", json!({ "taskId": id })).result();
        id
    };
    let ids: Vec<Value> = (0..33).map(|_| done(&mut client)).collect();
    let gone = client.request("tasks/get", json!({ "taskId": ids[0] }));
    assert_eq!(gone.error()["code"], -32602);
    for id in &ids[1..] {
        assert_eq!(look(&mut client, id)["status"], "completed");
    }
}

#[test]
fn who_knows_no_tasks_is_shown_none() {
    let gate = setup().start();
    let mut client = Client::unopened(gate.address, "fx", Vec::new());
    let mut params = full();
    params["protocolVersion"] = json!("2025-06-18");
    client.initialize(params);
    assert_eq!(client.initialized["capabilities"].get("tasks"), None);
    assert!(client.list("tools/list", "tools").iter().all(|tool| tool.get("execution").is_none()));
    let plain = client.request("tools/call", json!({ "name": "job", "arguments": {}, "task": { "ttl": 1 } }));
    assert_eq!(plain.text(), "{}", "it is a call like any other");
    assert_eq!(client.request("tasks/get", json!({ "taskId": "x" })).error()["code"], -32601);
    let merged = Setup::fixture(&["--modern", "--tasks"]).start();
    let mut everywhere = Client::open(merged.address, "");
    let call = json!({ "name": "fx__job", "arguments": {}, "task": {} });
    assert_eq!(everywhere.request("tools/call", call).text(), "{}", "where servers are merged neither");
}
