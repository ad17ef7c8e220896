//! Sessions over HTTP: how they begin, whose they are, and what ends them.

use super::client::{INITIALIZE, POST, Site, call};
use super::patience::soon;

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

#[tokio::test]
async fn initialize_negotiates_with_the_client_and_opens_a_session() {
    let site = Site::new().await;
    for (asked, agreed) in [
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
        ("2026-07-28", "2025-11-25"),
    ] {
        let answer = site.post(&[], &INITIALIZE.replace("2025-06-18", asked)).await;
        let result = &answer.json()["result"];
        // The server said 2024-11-05: that is between it and Lockgate.
        assert_eq!(result["protocolVersion"], agreed, "{asked}");
        assert_eq!(result["serverInfo"]["name"], "fake");
        let id = answer.header("mcp-session-id").expect("an id");
        assert!(id.len() >= 32 && id.bytes().all(|b| b.is_ascii_graphic()));
        site.until(&format!("open a {agreed}")).await;
        let accepted = site.post(&[("Mcp-Session-Id", id)], INITIALIZED).await;
        assert_eq!((accepted.status, accepted.body.as_str()), (202, ""));
    }
}

#[tokio::test]
async fn initialize_that_fails_opens_nothing() {
    let site = Site::new().await;
    let refused = site.post(&[], &INITIALIZE.replace("\"test\"", "\"unwelcome\"")).await;
    assert_eq!((refused.status, refused.code(), refused.json()["id"].as_i64()), (200, -31000, Some(0)));
    assert!(refused.header("mcp-session-id").is_none());
    let nameless = site.post(&[], r#"{"jsonrpc":"2.0","id":5,"method":"initialize","params":{}}"#).await;
    assert_eq!((nameless.code(), nameless.json()["id"].as_i64()), (-32602, Some(5)));
    let session = site.initialize(&[]).await;
    let again = site.post(&[("Mcp-Session-Id", &session)], INITIALIZE).await;
    assert_eq!((again.status, again.code()), (400, -32600));
    let stale = site.post(&[("Mcp-Session-Id", "stale")], INITIALIZE).await;
    assert_eq!(stale.status, 200, "a stale id does not keep a client from beginning anew");
}

#[tokio::test]
async fn a_client_that_leaves_during_initialize_leaves_no_session() {
    let site = Site::new().await;
    let mut wire = site.connect().await;
    wire.request("POST", "/a/mcp", POST, &INITIALIZE.replace("\"test\"", "\"slow\"")).await;
    site.until("open a 2025-06-18").await;
    drop(wire);
    // The listener notices the loss by itself; opening ends only after that.
    let other = site.initialize(&[]).await;
    assert!(!other.is_empty());
    site.until("open a 2025-06-18").await;
    tokio::task::yield_now().await;
    site.shared.gate.add_permits(1);
    site.until("closed").await;
}

#[tokio::test]
async fn missing_foreign_and_unknown_sessions() {
    let site = Site::with(true, |_| {}).await;
    let (alice, alice2, bob) = (
        ("Authorization", "Bearer alice.1"),
        ("Authorization", "Bearer alice.2"),
        ("Authorization", "Bearer bob"),
    );
    let id = site.initialize(&[alice]).await;
    let own = ("Mcp-Session-Id", id.as_str());
    let missing = site.post(&[alice], &call("1", "echo")).await;
    assert_eq!((missing.status, missing.code()), (400, -32600));
    for (method, body) in [("POST", call("1", "echo")), ("GET", String::new()), ("DELETE", String::new())] {
        let unknown =
            site.send(method, "/a/mcp", &[POST, &[alice, ("Mcp-Session-Id", "nope")]].concat(), &body).await;
        assert_eq!((unknown.status, unknown.code()), (404, -32001), "{method}");
        let foreign = site.send(method, "/a/mcp", &[POST, &[bob, own]].concat(), &body).await;
        let elsewhere = site.send(method, "/b/mcp", &[POST, &[alice, own]].concat(), &body).await;
        for other in [foreign, elsewhere] {
            assert_eq!((other.status, &other.body), (404, &unknown.body), "{method}");
            let names = |answer: &super::client::Answer| {
                answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
            };
            assert_eq!(names(&other), names(&unknown));
        }
    }
    let renewed = site.post(&[alice2, own], &call("2", "echo")).await;
    assert_eq!(renewed.status, 200, "another token of the same principal");
    let doubled = site.post(&[alice, own, own], &call("3", "echo")).await;
    assert_eq!(doubled.status, 400, "two session ids");
}

#[tokio::test]
async fn credentials_are_hidden_and_everything_else_is_seen() {
    let site = Site::with(true, |_| {}).await;
    let alice = ("Authorization", "Bearer alice");
    let id = site.initialize(&[alice]).await;
    let headers = [alice, ("Mcp-Session-Id", &id), ("Cookie", "a=b"), ("X-Secret", "s"), ("X-Team", "t")];
    let who = site.post(&headers, &call("1", "who")).await.json();
    assert_eq!(who["result"]["principal"], "alice");
    let seen: Vec<&str> =
        who["result"]["headers"].as_array().expect("a list").iter().filter_map(|v| v.as_str()).collect();
    assert!(seen.contains(&"x-team"), "{seen:?}");
    for hidden in ["authorization", "cookie", "x-secret", "mcp-session-id"] {
        assert!(!seen.contains(&hidden), "{hidden}");
    }
}

#[tokio::test]
async fn delete_ends_a_session_and_its_calls() {
    let site = Site::new().await;
    let id = site.initialize(&[]).await;
    let headers = [POST, &[("Mcp-Session-Id", id.as_str())]].concat();
    let mut waiting = site.connect().await;
    waiting.request("POST", "/a/mcp", &headers, &call("1", "gate")).await;
    site.until("call gate").await;
    assert_eq!(site.send("DELETE", "/a/mcp", &headers, "").await.status, 204);
    let answer = waiting.answer().await;
    assert_eq!((answer.header("content-type"), answer.body.as_str()), (Some("text/event-stream"), ""));
    let ended = [site.events.next().await, site.events.next().await, site.events.next().await];
    assert!(ended.contains(&"cancelled gate".into()) && ended.contains(&"closed".into()), "{ended:?}");
    assert_eq!(site.send("DELETE", "/a/mcp", &headers, "").await.status, 404);
    assert_eq!(site.send("POST", "/a/mcp", &headers, &call("2", "echo")).await.status, 404);
}

#[tokio::test]
async fn ids_keep_their_type_and_are_refused_while_in_flight() {
    let site = Site::new().await;
    let id = site.initialize(&[]).await;
    let headers = [POST, &[("Mcp-Session-Id", id.as_str())]].concat();
    let mut waiting = Vec::new();
    let ids = ["1", "\"1\"", "\"\"", "0", "-1", "9007199254740993"];
    for id in ids {
        let mut wire = site.connect().await;
        wire.request("POST", "/a/mcp", &headers, &call(id, "gate")).await;
        site.until("call gate").await;
        waiting.push((id, wire));
    }
    let twice = site.send("POST", "/a/mcp", &headers, &call("\"1\"", "echo")).await;
    assert_eq!((twice.status, twice.code()), (400, -32600));
    site.shared.gate.add_permits(ids.len());
    for (id, mut wire) in waiting {
        let answer = wire.answer().await;
        assert!(answer.body.contains(&format!("\"id\":{id},")), "{id}: {}", answer.body);
    }
    assert_eq!(site.send("POST", "/a/mcp", &headers, &call("1", "echo")).await.status, 200, "free again");
}

#[tokio::test]
async fn calls_per_session_are_bounded_and_sessions_do_not_share_the_bound() {
    let site = Site::with(false, |config| config.limits.calls_per_session = 1).await;
    let (one, two) = (site.initialize(&[]).await, site.initialize(&[]).await);
    let mut wire = site.connect().await;
    wire.request("POST", "/a/mcp", &[POST, &[("Mcp-Session-Id", one.as_str())]].concat(), &call("1", "gate"))
        .await;
    site.until("call gate").await;
    let busy = site.post(&[("Mcp-Session-Id", &one)], &call("2", "echo")).await;
    assert_eq!(busy.code(), -31503);
    assert!(busy.body.contains("limits.calls_per_session"));
    assert!(site.post(&[("Mcp-Session-Id", &two)], &call("2", "echo")).await.json()["result"].is_object());
    let pong = site.post(&[("Mcp-Session-Id", &one)], r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#).await;
    assert_eq!(pong.json(), serde_json::json!({"jsonrpc":"2.0","id":"p","result":{}}));
}

#[tokio::test]
async fn sessions_are_bounded_and_a_principal_has_a_share_of_them() {
    let site = Site::with(true, |config| {
        config.limits.sessions = 40;
        config.limits.sessions_per_principal = 32;
    })
    .await;
    let alice = ("Authorization", "Bearer alice");
    let mut ids = Vec::new();
    for _ in 0..33 {
        ids.push(site.initialize(&[alice]).await);
    }
    let works =
        async |id: &str, who| site.post(&[who, ("Mcp-Session-Id", id)], &call("1", "echo")).await.status;
    assert_eq!(works(&ids[0], alice).await, 404, "the one that was silent for longest gave way");
    assert_eq!(works(&ids[1], alice).await, 200);
    for n in 0..8 {
        site.initialize(&[("Authorization", &format!("Bearer other{n}"))]).await;
    }
    let full = site.post(&[("Authorization", "Bearer late")], INITIALIZE).await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("10")));
}

#[tokio::test]
async fn other_notifications_reach_the_server_and_the_handshake_does_not() {
    let site = Site::new().await;
    let id = site.initialize(&[]).await;
    let id = [("Mcp-Session-Id", id.as_str())];
    site.until("open a 2025-06-18").await;
    site.post(&id, INITIALIZED).await;
    site.post(&id, r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#).await;
    let after = [site.events.next().await, site.events.next().await, site.events.next().await];
    assert_eq!(
        after,
        ["authenticate POST", "authenticate POST", "notified notifications/roots/list_changed"]
    );
}

#[tokio::test]
async fn shutdown_lets_calls_finish_and_ends_everything() {
    let mut site = Site::new().await;
    let id = site.initialize(&[]).await;
    let headers = [POST, &[("Mcp-Session-Id", id.as_str())]].concat();
    let mut listening = site.connect().await;
    listening.request("GET", "/a/mcp", &headers, "").await;
    assert_eq!(listening.head().await.status, 200);
    let mut calling = site.connect().await;
    calling.request("POST", "/a/mcp", &headers, &call("1", "gate")).await;
    site.until("call gate").await;
    site.shutdown.cancel();
    assert_eq!(listening.event().await, None, "the stream ends at once");
    assert!(tokio::net::TcpStream::connect(site.address).await.is_err(), "nobody new is let in");
    site.shared.gate.add_permits(1);
    assert_eq!(calling.answer().await.json()["result"]["passed"], true);
    soon("the end of serving", &mut site.serving).await.expect("no panic");
    site.until("closed").await;
}

#[tokio::test]
async fn shutdown_waits_no_longer_than_the_drain_time() {
    let mut site = Site::with(false, |config| config.limits.drain_seconds = 0).await;
    let id = site.initialize(&[]).await;
    let mut calling = site.connect().await;
    calling
        .request("POST", "/a/mcp", &[POST, &[("Mcp-Session-Id", id.as_str())]].concat(), &call("1", "gate"))
        .await;
    site.until("call gate").await;
    site.shutdown.cancel();
    soon("the end of serving", &mut site.serving).await.expect("no panic");
    site.until("closed").await;
}
