//! The modern era over HTTP: statuses, delayed heads, leaving as cancelling, and subscriptions.

use serde_json::json;

use super::client::{Answer, POST, Site, Wire, call as legacy_call};
use super::fake::progress;
use super::patience::soon;
use crate::jsonrpc::Message;

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");
const ENVELOPE: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
const JSON: (&str, &str) = ("Accept", "application/json");
const EVENTS: (&str, &str) = ("Accept", "text/event-stream");
const BOTH: (&str, &str) = ("Accept", "application/json, text/event-stream");

fn call(id: &str, tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}",{ENVELOPE}}}}}"#)
}

fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#)
}

fn listen(id: &str) -> String {
    let params = format!(r#""notifications":{{"toolsListChanged":true}},{ENVELOPE}"#);
    request(id, "subscriptions/listen", &params)
}

fn list_changed() -> Message {
    Message::notification("notifications/tools/list_changed", None)
}

/// Sends a message with the headers that repeat it.
async fn send(site: &Site, more: &[(&str, &str)], body: &str) -> Wire {
    let message: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let method = message["method"].as_str().unwrap_or_default();
    let mut headers = vec![("Content-Type", "application/json"), VERSION, ("Mcp-Method", method)];
    headers.extend(message["params"]["name"].as_str().map(|name| ("Mcp-Name", name)));
    if !more.iter().any(|(name, _)| *name == "Accept") {
        headers.push(BOTH);
    }
    headers.extend(more);
    let mut wire = site.connect().await;
    wire.request("POST", "/a/mcp", &headers, body).await;
    wire
}

async fn answer(site: &Site, more: &[(&str, &str)], body: &str) -> Answer {
    send(site, more, body).await.answer().await
}

#[tokio::test]
async fn the_status_follows_the_code_of_an_error_that_comes_first() {
    let site = Site::new().await;
    for (code, status) in [
        (-32020, 400),
        (-32021, 400),
        (-32022, 400),
        (-32601, 404),
        (-32602, 200),
        (-32603, 200),
        (-32000, 200),
        (7, 200),
    ] {
        let tool = format!("error {code}");
        for accept in [BOTH, JSON, EVENTS] {
            let answer = answer(&site, &[accept], &call("\"e\"", &tool)).await;
            assert_eq!(answer.status, status, "{code} {accept:?}");
            // What has a status of its own is no stream, whatever the client takes.
            let events = accept == EVENTS && status == 200;
            let kind = if events { "text/event-stream" } else { "application/json" };
            assert_eq!(answer.header("content-type"), Some(kind), "{code} {accept:?}");
            let text = answer.body.trim_start_matches("event: message\ndata: ").trim_end();
            let said: serde_json::Value = serde_json::from_str(text).expect("JSON");
            let wanted = json!({"code": code, "message": "as asked", "data": {"kept": 1}});
            assert_eq!((&said["id"], &said["error"]), (&json!("e"), &wanted));
        }
    }
}

#[tokio::test]
async fn envelopes_are_refused_with_the_status_and_code_that_the_specification_gives() {
    let site = Site::new().await;
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let old = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"v999","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let capable = r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{}}"#;
    let silent = format!(r#""_meta":{{{version}}}"#);
    let unknown = [("MCP-Protocol-Version", "v999"), ("Mcp-Method", "server/discover")];
    for (headers, body, status, code) in [
        (vec![], request("9", "server/discover", ""), 400, -32602),
        (vec![], request("9", "server/discover", capable), 400, -32602),
        (vec![], request("9", "server/discover", &silent), 400, -32602),
        (vec![], request("9", "server/discover", old), 400, -32020),
        (vec![], request("9", "ping", ENVELOPE), 404, -32601),
        (vec![], request("9", "initialize", ENVELOPE), 404, -32601),
        (vec![], request("9", "logging/setLevel", ENVELOPE), 404, -32601),
        (vec![], request("9", "resources/subscribe", ENVELOPE), 404, -32601),
        (vec![], request("9", "tasks/result", ENVELOPE), 404, -32601),
    ] {
        let answer = answer(&site, &headers, &body).await;
        assert_eq!((answer.status, answer.code(), &answer.json()["id"]), (status, code, &json!(9)), "{body}");
    }
    let answer = site.post(&unknown, &request("9", "server/discover", old)).await;
    assert_eq!((answer.status, answer.code(), &answer.json()["id"]), (400, -32022, &json!(9)));
    assert_eq!(answer.json()["error"]["data"], json!({"supported": ["2026-07-28"], "requested": "v999"}));
    let events = async {
        for _ in 0..10 {
            assert_eq!(site.events.next().await, "authenticate POST");
        }
        site.events.none().await;
    };
    events.await;
}

#[tokio::test]
async fn what_is_no_single_request_or_notification_is_refused_without_a_null_id() {
    let site = Site::new().await;
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#.to_owned(),
        format!("[{}]", call("1", "echo")),
        format!("[{},{}]", call("1", "echo"), call("2", "echo")),
        "[]".to_owned(),
    ] {
        let answer = site.post(&[VERSION], &body).await;
        assert_eq!((answer.status, answer.code()), (400, -32600), "{body}");
        assert!(answer.json().get("id").is_none(), "{}", answer.body);
    }
}

#[tokio::test]
async fn there_is_nothing_to_get_or_delete_and_there_are_no_sessions() {
    let site = Site::new().await;
    for (method, accept) in [("GET", BOTH), ("GET", JSON), ("DELETE", BOTH)] {
        let answer = site.send(method, "/a/mcp", &[accept, VERSION, ("Mcp-Session-Id", "x")], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    let stale = [("Mcp-Session-Id", "x"), ("Mcp-Session-Id", "y"), ("Last-Event-ID", "z")];
    let answer = answer(&site, &stale, &call("1", "who")).await;
    assert_eq!((answer.status, answer.header("mcp-session-id")), (200, None));
    assert!(!answer.json()["result"]["headers"].to_string().contains("mcp-session-id"));
}

#[tokio::test]
async fn the_head_waits_for_the_first_message() {
    let site = Site::new().await;
    let answered = answer(&site, &[], &call("1", "echo")).await;
    assert_eq!(answered.header("content-type"), Some("application/json"));
    let mut wire = send(&site, &[], &call("\"p\"", "progress")).await;
    let head = wire.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    for step in 1..=3 {
        // `event` takes nothing but `event:` and `data:`: no id, no retry.
        assert_eq!(wire.event().await.expect("progress")["params"]["progress"], step);
    }
    let last = wire.event().await.expect("the answer");
    assert_eq!(last, json!({"jsonrpc":"2.0","id":"p","result":{"steps":3}}));
    assert_eq!(wire.event().await, None);
}

#[tokio::test]
async fn silence_opens_the_stream_and_comments_keep_it_open() {
    let site = Site::new().await;
    let mut wire = send(&site, &[], &call("1", "gate")).await;
    let mut plain = send(&site, &[JSON], &call("2", "gate")).await;
    site.until("call gate").await;
    site.until("call gate").await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(wire.head().await.header("content-type"), Some("text/event-stream"));
    let waited = begun.elapsed().as_secs();
    assert!((14..=16).contains(&waited), "{waited} s");
    assert_eq!(wire.chunk().await.as_deref(), Some(": still here\n\n"));
    tokio::time::resume();
    site.shared.gate.add_permits(2);
    assert_eq!(wire.event().await.expect("the answer")["result"]["passed"], true);
    assert_eq!(plain.answer().await.json()["result"]["passed"], true, "JSON only: still one JSON text");
}

#[tokio::test]
async fn clients_that_take_only_one_kind_get_that() {
    let site = Site::new().await;
    let plain = answer(&site, &[JSON], &call("1", "progress")).await;
    assert_eq!(plain.json(), json!({"jsonrpc":"2.0","id":1,"result":{"steps":3}}));
    let events = answer(&site, &[EVENTS], &call("1", "gone")).await;
    assert_eq!(events.body, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n");
    let refused = answer(&site, &[JSON], &listen("1")).await;
    assert_eq!(refused.status, 406, "a subscription is a stream");
}

#[tokio::test]
async fn leaving_cancels_before_the_head_and_after_it() {
    let site = Site::new().await;
    for accept in [BOTH, JSON, EVENTS] {
        let wire = send(&site, &[accept], &call("1", "gate")).await;
        site.until("call gate").await;
        drop(wire);
        site.until("cancelled gate").await;
    }
    let mut wire = send(&site, &[], &call("1", "begun")).await;
    wire.head().await;
    wire.event().await.expect("progress");
    drop(wire);
    site.until("cancelled begun").await;
    site.events.none().await;
    // Nor does the end of one client disturb another with the same id.
    let mut other = send(&site, &[], &call("1", "gate")).await;
    site.until("call gate").await;
    drop(send(&site, &[], &call("1", "begun")).await);
    site.until("cancelled begun").await;
    site.shared.gate.add_permits(1);
    assert_eq!(other.answer().await.json()["result"]["passed"], true);
}

#[tokio::test]
async fn a_client_is_not_asked_and_a_panic_is_answered() {
    let site = Site::new().await;
    let asked = answer(&site, &[], &call("1", "ask")).await;
    assert!(asked.body.contains("input_required"), "{}", asked.body);
    let panicked = answer(&site, &[], &call("1", "panic")).await;
    assert_eq!((panicked.status, panicked.code(), &panicked.json()["id"]), (200, -32603, &json!(1)));
}

#[tokio::test]
async fn notifications_pass_unless_they_mean_nothing_here() {
    let site = Site::new().await;
    for (method, passes) in [
        ("notifications/com.example/x", true),
        ("notifications/cancelled", false),
        ("notifications/initialized", false),
        ("notifications/roots/list_changed", false),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"requestId":1}}}}"#);
        let answer = site.post(&[VERSION], &body).await;
        assert_eq!((answer.status, &*answer.body), (202, ""), "{method}");
        assert_eq!(site.events.next().await, "authenticate POST");
        if passes {
            assert_eq!(site.events.next().await, "join a 2026-07-28");
            assert_eq!(site.events.next().await, format!("notified {method}"));
        }
        site.events.none().await;
    }
}

#[tokio::test]
async fn a_subscription_is_acknowledged_first_and_lasts_until_its_client_leaves() {
    let site = Site::new().await;
    let mut wire = send(&site, &[], &listen("\"s\"")).await;
    assert_eq!(wire.head().await.header("content-type"), Some("text/event-stream"));
    let first = wire.event().await.expect("the acknowledgement");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "s");
    site.until("listen").await;
    site.shared.subscription(0).notify(list_changed());
    assert_eq!(wire.event().await.expect("news")["method"], "notifications/tools/list_changed");
    tokio::time::pause();
    for _ in 0..3 {
        assert_eq!(wire.chunk().await.as_deref(), Some(": still here\n\n"), "it is kept open");
    }
    tokio::time::resume();
    drop(wire);
    site.until("cancelled listen").await;
    site.shared.subscription(0).notify(list_changed());
    site.events.none().await;
}

#[tokio::test]
async fn shutdown_ends_subscriptions_with_their_result_and_lets_calls_finish() {
    let mut site = Site::new().await;
    let mut listening = send(&site, &[], &listen("7")).await;
    let mut calling = send(&site, &[], &call("8", "gate")).await;
    site.until("call gate").await;
    listening.head().await;
    listening.event().await.expect("the acknowledgement");
    site.shutdown.cancel();
    let last = listening.event().await.expect("the result");
    let meta = json!({"io.modelcontextprotocol/subscriptionId": 7});
    assert_eq!(last, json!({"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","_meta":meta}}));
    assert_eq!(listening.event().await, None);
    site.shared.gate.add_permits(1);
    assert_eq!(calling.answer().await.json()["result"]["passed"], true);
    soon("the end of serving", &mut site.serving).await.expect("no panic");
}

#[tokio::test]
async fn a_subscription_ends_with_its_principal() {
    let site = Site::with(true, |_| {}).await;
    let mut wire = send(&site, &[("Authorization", "Bearer brief")], &listen("1")).await;
    wire.head().await;
    wire.event().await.expect("the acknowledgement");
    site.until("listen").await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(wire.event().await.expect("the end")["result"]["resultType"], "complete");
    assert_eq!(wire.event().await, None);
    let lasted = begun.elapsed().as_secs();
    assert!((3_590..=3_610).contains(&lasted), "{lasted} s");
}

#[tokio::test]
async fn what_one_client_has_going_is_bounded() {
    let site = Site::with(true, |config| {
        config.limits.calls_per_client = 1;
        config.limits.listens_per_client = 1;
    })
    .await;
    let (alice, bob) = (("Authorization", "Bearer alice.1"), ("Authorization", "Bearer bob"));
    let mut gate = send(&site, &[alice], &call("1", "gate")).await;
    site.until("call gate").await;
    let mut listening = send(&site, &[alice], &listen("2")).await;
    site.until("listen").await;
    // Another token of hers is still her.
    let again = ("Authorization", "Bearer alice.2");
    let busy = answer(&site, &[again], &call("3", "echo")).await;
    assert_eq!((busy.status, busy.code(), &busy.json()["id"]), (200, -31503, &json!(3)));
    assert!(busy.body.contains("limits.calls_per_client"), "{}", busy.body);
    let busy = answer(&site, &[again], &listen("4")).await;
    assert_eq!((busy.status, busy.code(), &busy.json()["id"]), (200, -32603, &json!(4)));
    assert!(busy.body.contains("limits.listens_per_client"), "{}", busy.body);
    assert!(answer(&site, &[bob], &call("3", "echo")).await.json()["result"].is_object());
    site.shared.gate.add_permits(1);
    gate.answer().await;
    assert!(answer(&site, &[alice], &call("5", "echo")).await.json()["result"].is_object(), "given back");
    listening.head().await;
    drop(listening);
    site.until("cancelled listen").await;
    let mut next = send(&site, &[alice], &listen("6")).await;
    next.head().await;
    assert!(next.event().await.is_some(), "given back");
}

#[tokio::test]
async fn both_eras_share_a_url_and_do_not_disturb_each_other() {
    let site = Site::new().await;
    let session = site.initialize(&[]).await;
    let mut legacy = site.connect().await;
    let headers = [POST, &[("Mcp-Session-Id", session.as_str())]].concat();
    legacy.request("POST", "/a/mcp", &headers, &legacy_call("1", "gate")).await;
    site.until("call gate").await;
    // The same id, the session's header, and what would cancel or end a session.
    let named = ("Mcp-Session-Id", session.as_str());
    let modern = send(&site, &[named], &call("1", "begun")).await;
    site.until("call begun").await;
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(site.post(&[VERSION, named], cancelled).await.status, 202);
    assert_eq!(site.send("DELETE", "/a/mcp", &[VERSION, named], "").await.status, 405);
    assert_eq!(answer(&site, &[named], &request("1", "ping", ENVELOPE)).await.status, 404);
    drop(modern);
    site.until("cancelled begun").await;
    site.shared.session(0).notify(progress(9, 0));
    site.shared.gate.add_permits(1);
    let answered = legacy.answer().await;
    assert!(!answered.body.contains("\"progress\":9"), "what belongs to no call is not on a call's stream");
    assert_eq!(answered.json()["result"]["passed"], true);
    let (in_session, alone) = (legacy_call("2", "echo"), call("2", "echo"));
    let (named, none) = ([named], []);
    let (legacy, modern) = tokio::join!(site.post(&named, &in_session), answer(&site, &none, &alone));
    assert_eq!((legacy.status, modern.status), (200, 200));
    assert_eq!(legacy.json()["result"]["arguments"], json!({}));
    assert!(modern.json()["result"]["_meta"].is_object());
}
