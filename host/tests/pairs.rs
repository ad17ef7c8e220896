//! Every pair of a downstream and an upstream transport of one era carries a call, progress, a
//! cancellation and a list change.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "pairs/driver.rs"]
mod driver;
#[path = "pairs/exposed.rs"]
mod exposed;
#[path = "support/support.rs"]
mod support;

use driver::{Down, Driver};
use exposed::{How, expose};
use serde_json::{Value, json};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// One pair.
async fn carries_everything(down: Down, up: How, modern: bool) {
    let pair = format!("{down:?} to {up:?}, {}", if modern { "modern" } else { "legacy" });
    println!("{pair}");
    let exposed = expose(up, modern).await;
    let mut client = Driver::start(down, modern, &exposed).await;
    let said = client.begin().await;
    assert!(said["capabilities"]["tools"].is_object(), "{pair}: {said}");

    let listening = if modern {
        let id = client
            .request("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }))
            .await;
        let acknowledged = client.until("acknowledgement", |message| {
            message["method"] == "notifications/subscriptions/acknowledged"
        });
        let acknowledged = acknowledged.await;
        assert_eq!(acknowledged["params"]["_meta"][SUBSCRIPTION], id, "{pair}: {acknowledged}");
        Some(id)
    } else {
        None
    };

    let result = client.call("echo", json!({ "n": 1.50, "é": "\u{1F600}" })).await;
    assert_eq!(result["structuredContent"], json!({ "n": 1.50, "é": "\u{1F600}" }), "{pair}");
    assert_eq!(result["resultType"], if modern { json!("complete") } else { Value::Null }, "{pair}");

    let params = json!({ "name": "progress", "arguments": { "n": 4 }, "_meta": { "progressToken": "p" } });
    let result = client.result("tools/call", params).await;
    assert_eq!(result["content"][0]["text"], "4 told", "{pair}");
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

    client.call("add_tool", json!({ "name": "added" })).await;
    let changed =
        client.until("list change", |message| message["method"] == "notifications/tools/list_changed");
    let changed = changed.await;
    if let Some(id) = listening {
        assert_eq!(changed["params"]["_meta"][SUBSCRIPTION], id, "{pair}");
        client.cancel(&id).await;
    }
    let tools = client.result("tools/list", json!({})).await;
    assert!(tools["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "added"), "{pair}");
    assert!(
        client.left().iter().all(|message| message["id"] != id),
        "{pair}: no answer to what was cancelled"
    );
}

async fn all_from(down: Down, modern: bool) {
    for up in [How::Stdio, How::StreamableHttp, How::WebSocket] {
        carries_everything(down, up, modern).await;
    }
    // That transport is of the legacy era only.
    if !modern {
        carries_everything(down, How::HttpSse, modern).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_from_stdio() {
    all_from(Down::Stdio, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_from_streamable_http() {
    all_from(Down::StreamableHttp, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_from_http_sse() {
    all_from(Down::HttpSse, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_from_a_websocket() {
    all_from(Down::WebSocket, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modern_from_stdio() {
    all_from(Down::Stdio, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modern_from_streamable_http() {
    all_from(Down::StreamableHttp, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modern_from_a_websocket() {
    all_from(Down::WebSocket, true).await;
}
