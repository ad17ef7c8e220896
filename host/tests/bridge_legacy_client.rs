//! Clients of the legacy era use servers of the modern one as if these were of their own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[allow(dead_code, reason = "the modern era is not driven here")]
#[path = "pairs/driver.rs"]
mod driver;
#[allow(dead_code, reason = "one transport has no modern era")]
#[path = "pairs/exposed.rs"]
mod exposed;
#[path = "bridge_legacy_client/questions.rs"]
mod questions;
#[path = "support/support.rs"]
mod support;
#[path = "bridge_legacy_client/tasks.rs"]
mod tasks;
#[path = "bridge_legacy_client/verdicts.rs"]
mod verdicts;

use driver::{Down, Driver};
use exposed::{How, expose};
use serde_json::{Value, json};
use support::{Client, Gate, Setup};

const META: &str = "io.modelcontextprotocol/";

/// What arrived at the server with that method, in order.
fn arrived(gate: &Gate, method: &str) -> Vec<Value> {
    gate.arrived("fx").into_iter().filter(|message| message["method"] == method).collect()
}

/// A key of the protocol's own in the `_meta` of a request.
fn meta<'a>(message: &'a Value, key: &str) -> &'a Value {
    &message["params"]["_meta"][&format!("{META}{key}")]
}

/// A whole session over one pair of transports.
async fn carries_everything(down: Down, up: How) {
    let pair = format!("{down:?} to {up:?}");
    println!("{pair}");
    let exposed = expose(up, true).await;
    let mut client = Driver::start(down, false, &exposed).await;
    let said = client.initialize(json!({ "sampling": {}, "elicitation": {}, "roots": {} })).await;
    assert_eq!(said["protocolVersion"], "2025-11-25", "{pair}: {said}");
    assert_eq!(said["serverInfo"]["name"], "fx", "{pair}: {said}");

    let result = client.call("echo", json!({ "n": 1.50, "é": "\u{1F600}" })).await;
    assert_eq!(result["structuredContent"], json!({ "n": 1.50, "é": "\u{1F600}" }), "{pair}");
    assert_eq!(result["resultType"], Value::Null, "{pair}");

    let params = json!({ "name": "progress", "arguments": { "n": 4 }, "_meta": { "progressToken": "p" } });
    client.result("tools/call", params).await;
    let told: Vec<_> = client
        .left()
        .iter()
        .filter(|message| message["method"] == "notifications/progress")
        .map(|message| (message["params"]["progressToken"].clone(), message["params"]["progress"].clone()))
        .collect();
    let expected: Vec<_> = (1..=4).map(|step| (json!("p"), json!(step))).collect();
    assert_eq!(told, expected, "{pair}: progress, all of it, in order, before the result");

    let waiting = json!({ "name": "wait", "arguments": { "key": "k", "tell": true }, "_meta": { "progressToken": "w" } });
    let id = client.request("tools/call", waiting).await;
    client.until("sign that it waits", |message| message["params"]["progressToken"] == "w").await;
    client.cancel(&id).await;
    let result = client.call("wait", json!({ "key": "cancelled k" })).await;
    assert_eq!(result["content"][0]["text"], "released", "{pair}: the server learnt of it");

    let asking = client.request("tools/call", json!({ "name": "ask_all", "arguments": {} })).await;
    for (method, answer) in [
        ("roots/list", json!({ "roots": [] })),
        ("sampling/createMessage", json!({ "role": "assistant", "model": "m" })),
        ("elicitation/create", json!({ "action": "decline" })),
    ] {
        let question = client.until(method, |message| message["method"] == method).await;
        client.answer(&question, answer).await;
    }
    let result = client.result_of(&asking).await;
    let answers: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(
        answers,
        json!({ "r": { "roots": [] }, "s": { "role": "assistant", "model": "m" }, "a/b~c": { "action": "decline" } }),
        "{pair}"
    );

    client.result("resources/subscribe", json!({ "uri": "fixture://open/1" })).await;
    client.call("update_resource", json!({ "uri": "fixture://open/1" })).await;
    let updated = client.until("news of a resource", |m| m["method"] == "notifications/resources/updated");
    assert_eq!(updated.await["params"]["uri"], "fixture://open/1", "{pair}");

    client.call("add_tool", json!({ "name": "added" })).await;
    client.until("list change", |message| message["method"] == "notifications/tools/list_changed").await;
    let tools = client.result("tools/list", json!({})).await;
    assert!(tools["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "added"), "{pair}");
    assert!(
        client.left().iter().all(|message| message["id"] != id && !message.to_string().contains(META)),
        "{pair}: no answer to what was cancelled, and no word of the other era: {:?}",
        client.left()
    );
}

async fn to_all(down: Down) {
    for up in [How::Stdio, How::StreamableHttp, How::WebSocket] {
        carries_everything(down, up).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_stdio() {
    to_all(Down::Stdio).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_streamable_http() {
    to_all(Down::StreamableHttp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_http_sse() {
    to_all(Down::HttpSse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_websocket() {
    to_all(Down::WebSocket).await;
}

#[test]
fn every_legacy_revision_is_initialized_and_served() {
    let gate = Setup::fixture(&["--modern", "--page", "10"]).start();
    for (asked, answered) in [
        ("2024-10-07", "2024-11-05"),
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
    ] {
        let mut client = Client::unopened(gate.address, "fx", Vec::new());
        let params = json!({ "protocolVersion": asked, "capabilities": { "roots": { "listChanged": true } },
            "clientInfo": { "name": asked, "version": "7" } });
        let result = client.initialize(params).result().clone();
        assert_eq!(result["protocolVersion"], answered);
        assert_eq!(result["serverInfo"], json!({ "name": "fx", "version": "0" }));
        assert_eq!(result["capabilities"]["logging"], json!({}), "{result}");
        for modern in ["supportedVersions", "resultType", "ttlMs", "cacheScope"] {
            assert!(result.get(modern).is_none(), "{result}");
        }
        assert_eq!(client.tools().len(), 36);
        for (method, params) in [
            ("ping", json!({})),
            ("prompts/list", json!({})),
            ("prompts/get", json!({ "name": "greet", "arguments": { "who": "you" } })),
            ("resources/list", json!({})),
            ("resources/templates/list", json!({})),
            ("resources/read", json!({ "uri": "fixture://open/1" })),
            (
                "completion/complete",
                json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "who", "value": "A" } }),
            ),
        ] {
            let result = client.request(method, params).result().clone();
            for modern in ["resultType", "ttlMs", "cacheScope"] {
                assert!(result.get(modern).is_none(), "{method}: {result}");
            }
        }
        let call = arrived(&gate, "tools/list").pop().unwrap();
        assert_eq!(meta(&call, "protocolVersion"), "2026-07-28");
        assert_eq!(meta(&call, "clientCapabilities"), &json!({ "roots": {} }));
        assert_eq!(meta(&call, "clientInfo"), &json!({ "name": asked, "version": "7" }));
        assert_eq!(client.close(), 204);
    }
    for legacy in ["notifications/initialized", "ping", "notifications/roots/list_changed"] {
        assert!(arrived(&gate, legacy).is_empty(), "{legacy}");
    }
    assert_eq!(arrived(&gate, "initialize").len(), 1, "the verdict is remembered");
}

#[test]
fn what_only_a_session_has_is_answered_by_the_bridge() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    for method in ["tasks/list", "tasks/get", "tasks/result", "server/discover", "subscriptions/listen"] {
        let answer = client.request(method, json!({ "taskId": "t", "notifications": {} }));
        assert!([-32601, -32602].contains(&answer.error()["code"].as_i64().unwrap()), "{answer:?}");
    }
    let task = json!({ "name": "echo", "arguments": {}, "task": { "ttl": 1 } });
    assert!(client.request("tools/call", task).message.get("result").is_some(), "as if there were no `task`");
    client.notify("notifications/roots/list_changed", json!({}));
    let unknown = client.request("resources/read", json!({ "uri": "nothing://here" }));
    assert_eq!(unknown.error()["code"], -32002);
    assert_eq!(client.call("no_such_tool", json!({})).error()["code"], -32602);
    for error in [-32020, -32022] {
        let answer =
            client.call("protocol_error", json!({ "code": error, "message": "m", "data": { "x": 1 } }));
        assert_eq!(answer.error()["code"], -32603, "{answer:?}");
    }
    for reached in ["tasks/get", "notifications/roots/list_changed"] {
        assert!(arrived(&gate, reached).is_empty(), "{reached}");
    }
}

#[test]
fn keys_of_the_modern_era_in_a_legacy_request_are_nobodys() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    let forged = json!({ "name": "echo", "arguments": {}, "requestState": "mine", "inputResponses": { "q": {} },
        "_meta": { "io.modelcontextprotocol/logLevel": "debug", "io.modelcontextprotocol/clientCapabilities": { "x": {} },
                   "com.example/own": 1 } });
    let seen = client.request("tools/call", forged).result()["_meta"]["seen"].clone();
    assert!(seen.get("io.modelcontextprotocol/logLevel").is_none(), "{seen}");
    assert_eq!(seen["io.modelcontextprotocol/clientCapabilities"]["roots"], json!({}));
    assert_eq!(seen["com.example/own"], 1);
    let call = arrived(&gate, "tools/call").pop().unwrap();
    assert!(call["params"].get("requestState").is_none() && call["params"].get("inputResponses").is_none());
}

#[test]
fn log_messages_come_from_the_level_on_that_the_session_set() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    assert_eq!(client.call("log", json!({ "level": "error", "n": 1 })).before, Vec::<Value>::new());
    let refused = client.request("logging/setLevel", json!({ "level": "loud" }));
    assert_eq!(refused.error()["code"], -32602);
    client.request("logging/setLevel", json!({ "level": "warning" })).result();
    let answer = client.call("log", json!({ "level": "error", "n": 1 }));
    assert_eq!(
        answer.before[0]["params"],
        json!({ "level": "error", "logger": "fixture", "data": { "at": 1, "set": "warning" } })
    );
    let asked: Vec<Value> =
        arrived(&gate, "tools/call").iter().map(|call| meta(call, "logLevel").clone()).collect();
    assert_eq!(asked, [Value::Null, json!("warning")]);
    assert!(arrived(&gate, "logging/setLevel").is_empty());
}

#[test]
fn only_who_subscribed_is_told_of_a_resource_and_only_until_it_unsubscribes() {
    let gate = Setup::fixture(&["--modern"]).server_keys("fx", json!({ "isolation": "shared" })).start();
    let (mut one, mut other) = (gate.client("fx"), gate.client("fx"));
    let (mut heard, mut heard_by_other) = (one.listen(), other.listen());
    let (a, b) = (json!({ "uri": "fixture://open/1" }), json!({ "uri": "fixture://open/2" }));
    assert_eq!(one.request("resources/subscribe", a.clone()).result(), &json!({}));
    one.request("resources/subscribe", b.clone()).result();
    other.request("resources/subscribe", b.clone()).result();
    for uri in [&a, &b] {
        assert_eq!(one.call("update_resource", uri.clone()).text(), "told");
        assert_eq!(heard.expect("notifications/resources/updated")["params"], *uri);
    }
    let first = heard_by_other.expect("notifications/resources/updated");
    assert_eq!(first["params"], b, "and nothing of the first");
    assert_eq!(one.request("resources/unsubscribe", b.clone()).result(), &json!({}));
    one.call("update_resource", b.clone());
    assert_eq!(heard_by_other.expect("notifications/resources/updated")["params"], b);
    one.call("update_resource", a.clone());
    assert_eq!(heard.expect("notifications/resources/updated")["params"], a, "the other one was not told");
    assert_eq!(one.request("resources/subscribe", json!({})).error()["code"], -32602);
}

#[test]
fn a_session_of_its_own_hears_of_what_it_is_subscribed_to_and_of_nothing_else() {
    let gate = Setup::fixture(&["--modern"]).start();
    let mut client = gate.client("fx");
    let mut heard = client.listen();
    let (a, b) = (json!({ "uri": "fixture://open/1" }), json!({ "uri": "fixture://open/2" }));
    for uri in [&a, &b] {
        client.request("resources/subscribe", uri.clone()).result();
    }
    client.request("resources/unsubscribe", b.clone()).result();
    // The server may still tell of it: it is asked anew only for what it does not tell of yet.
    client.call("update_resource", b);
    client.call("update_resource", a.clone());
    assert_eq!(heard.expect("notifications/resources/updated")["params"], a);
}
