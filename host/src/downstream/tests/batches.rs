//! Arrays of messages: where they are spoken, and that each item is a message like any other.

use serde_json::{Value, json};

use super::client::{Answer, INITIALIZE, POST, Site, call};

async fn open(site: &Site, version: &str) -> String {
    let answer = site.post(&[], &INITIALIZE.replace("2025-06-18", version)).await;
    answer.header("mcp-session-id").expect("a session id").to_owned()
}

async fn post(site: &Site, id: &str, body: &str) -> Answer {
    site.post(&[("Mcp-Session-Id", id)], body).await
}

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;

#[tokio::test]
async fn items_are_answered_one_by_one_and_in_one_array() {
    let site = Site::new().await;
    let id = open(&site, "2025-03-26").await;
    let body = format!(
        r#" [{},{},{},[{}],{{"jsonrpc":"2.0","id":"p","method":"ping"}},{}]"#,
        call("1", "echo"),
        NOTE,
        call("\"two\"", "echo"),
        call("3", "echo"),
        INITIALIZE,
    );
    let answer = post(&site, &id, &body).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let answers = answer.json();
    let of = |id: Value| -> Vec<&Value> {
        answers.as_array().expect("an array").iter().filter(|answer| answer["id"] == id).collect()
    };
    assert_eq!(of(json!("two")).len(), 1);
    assert_eq!(of(json!("p"))[0]["result"], json!({}));
    assert!(of(json!(1))[0].get("result").is_some(), "{answers}");
    assert_eq!(of(json!(0))[0]["error"]["code"], -32600, "`initialize` must come alone");
    let nested = answers
        .as_array()
        .expect("an array")
        .iter()
        .filter(|answer| answer.get("id").is_none_or(Value::is_null));
    assert_eq!(nested.map(|answer| answer["error"]["code"].clone()).collect::<Vec<_>>(), [json!(-32600)]);
    site.until("notified notifications/roots/list_changed").await;
}

#[tokio::test]
async fn what_needs_no_answer_gets_none() {
    let site = Site::new().await;
    let id = open(&site, "2025-03-26").await;
    let answer =
        post(&site, &id, &format!(r#"[{NOTE},{{"jsonrpc":"2.0","id":"lg-9","result":{{}}}}]"#)).await;
    assert_eq!((answer.status, &*answer.body), (202, ""));
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#;
    let answer = post(&site, &id, &format!("[{},{cancelled}]", call("4", "gate"))).await;
    assert_eq!((answer.status, &*answer.body), (202, ""), "cancelled within its own array");
}

#[tokio::test]
async fn progress_makes_it_a_stream_with_an_event_for_each() {
    let site = Site::new().await;
    let id = open(&site, "2025-03-26").await;
    let mut wire = site.connect().await;
    let body = format!("[{},{}]", call("1", "progress"), call("2", "progress"));
    wire.request("POST", "/a/mcp", &[POST, &[("Mcp-Session-Id", &*id)]].concat(), &body).await;
    assert_eq!(wire.head().await.header("content-type"), Some("text/event-stream"));
    let (mut steps, mut ids) = (0, Vec::new());
    while let Some(event) = wire.event().await {
        match event["id"].as_i64() {
            Some(id) => ids.push(id),
            None => steps += 1,
        }
    }
    ids.sort_unstable();
    assert_eq!((steps, ids), (6, vec![1, 2]));
}

#[tokio::test]
async fn anywhere_else_arrays_are_no_messages() {
    let site = Site::with(false, |config| config.limits.batch_messages = 2).await;
    let body = format!("[{}]", call("1", "echo"));
    for version in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let id = open(&site, version).await;
        let answer = post(&site, &id, &body).await;
        assert_eq!((answer.status, answer.code()), (400, -32600), "{version}");
    }
    assert_eq!(site.post(&[], &body).await.status, 400, "no session");
    assert_eq!(site.post(&[], &format!("[{INITIALIZE}]")).await.status, 400);
    let id = open(&site, "2025-03-26").await;
    let other = [("Mcp-Session-Id", &*id), ("MCP-Protocol-Version", "2025-06-18")];
    assert_eq!(site.post(&other, &body).await.status, 400, "another revision than was agreed on");
    assert_eq!(post(&site, "gone", &body).await.status, 404, "begin anew");
    for refused in ["[]", "[1,", &format!("[{NOTE},{NOTE},{NOTE}]")] {
        let answer = post(&site, &id, refused).await;
        assert!(answer.status == 400 && answer.json()["error"].is_object(), "{refused}: {answer:?}");
    }
    assert_eq!(post(&site, &id, &body).await.status, 200);
}
