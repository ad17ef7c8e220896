//! What a legacy server asks outside of any call: it waits for the client's next call that can carry it.

use serde_json::{Value, json};

use super::support::client::{Client, Headers};
use super::support::processes::until;
use super::support::{Gate, Modern, PATIENCE, Setup};
use super::{LEGACY, all};

fn server(setup: Setup, more: &Value) -> Setup {
    let log = setup.folder().join("s.log");
    let server = json!({ "command": "python3", "args": ["-u", LEGACY, "--asks-first", "--log", log] });
    setup.with_server("s", server).server_keys("s", more.clone())
}

fn gate(more: &Value) -> Gate {
    server(Setup::new(), more).start()
}

fn roots(path: &str) -> Value {
    json!({ "roots": [{ "uri": format!("file://{path}") }] })
}

/// The answers that the server had for what it asked first when it was called.
fn known(client: &Modern, answers: &Value) -> Value {
    let asked = client.call("first", json!({}));
    let (questions, state) = asked.questions();
    assert_eq!(*questions, json!({ "r1": { "method": "roots/list", "params": {} } }), "{asked:?}");
    client.retry("first", json!({}), state, answers.clone()).json()
}

#[test]
fn the_next_call_brings_the_question_and_runs_when_the_server_has_the_answer() {
    let gate = gate(&json!({}));
    let client = Modern::new(gate.address, "s").able_to(all());
    // Lists cannot carry it.
    assert!(client.request("tools/list", json!({})).result()["tools"].is_array());
    let answer = roots("/a");
    assert_eq!(known(&client, &json!({ "r1": answer })), json!([answer]));
    let calls = || gate.arrived("s").into_iter().filter(|m| m["method"] == "tools/call").count();
    assert_eq!(calls(), 1, "it runs once, and not before the answer");
    // It was asked once.
    assert_eq!(client.call("first", json!({})).json(), json!([answer]));
    // The capabilities of another client are another connection, on which it is not asked.
    let other = client.clone().able_to(json!({ "elicitation": {} }));
    assert_eq!(other.call("first", json!({})).json(), json!([]));
}

#[test]
fn a_call_whose_client_does_not_come_back_with_the_answer_is_not_made() {
    let gate = server(Setup::new(), &json!({})).with_limit("parked_seconds", 1).start();
    let client = Modern::new(gate.address, "s").able_to(all());
    assert_eq!(client.call("first", json!({})).result()["resultType"], "input_required");
    let mark = |message: &Value| message["error"]["code"] == -1;
    until("the server hears that nobody answered", PATIENCE, || gate.arrived("s").iter().any(mark));
    // Its connection is over with it; on the next one it asks again.
    let answer = roots("/b");
    assert_eq!(known(&client, &json!({ "r1": answer })), json!([answer]));
    let calls = gate.arrived("s").into_iter().filter(|message| message["method"] == "tools/call");
    assert_eq!(calls.count(), 1, "the first was not made");
}

#[test]
fn an_operator_chooses_the_era() {
    let legacy = gate(&json!({ "era": "legacy" }));
    let client = Modern::new(legacy.address, "s").able_to(all());
    for method in ["server/discover", "tools/list"] {
        let refused = client.request(method, json!({}));
        assert_eq!(refused.code(), -32022, "{refused:?}");
        assert_eq!(refused.message["error"]["data"]["supported"][0], "2025-11-25", "{refused:?}");
    }
    assert_eq!(legacy.arrived("s"), Vec::<Value>::new(), "nothing is started for a client that is refused");
    assert!(legacy.client("s").tools().contains(&"count".to_owned()));

    let modern = Setup::fixture(&["--modern"]).server_keys("fx", json!({ "era": "modern" })).start();
    assert!(Modern::new(modern.address, "fx").request("tools/list", json!({})).result()["tools"].is_array());
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let refused = Client::unopened(modern.address, "fx", Headers::default()).initialize(params);
    assert_eq!(refused.error()["code"], -32022, "{refused:?}");
    assert_eq!(refused.error()["data"]["supported"], json!(["2026-07-28"]), "{refused:?}");
}
