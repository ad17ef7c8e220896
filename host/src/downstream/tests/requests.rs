//! What is checked of a request before a message is acted upon.

use super::client::{INITIALIZE, POST, Site, call};

#[tokio::test]
async fn hosts_and_origins_are_checked_on_every_path() {
    let site = Site::new().await;
    for (method, path) in
        [("POST", "/a/mcp"), ("GET", "/a/mcp"), ("DELETE", "/a/mcp"), ("GET", "/health"), ("GET", "/x")]
    {
        for bad in [
            &[("Host", "evil.test")][..],
            &[("Host", "127.0.0.1.evil.test:80")],
            &[("Host", "localhost"), ("Origin", "http://evil.test")],
            &[("Host", "localhost"), ("Origin", "null")],
            &[("Host", "localhost"), ("Host", "localhost")],
        ] {
            let answer = site.send(method, path, bad, "").await;
            assert_eq!(answer.status, 403, "{method} {path} {bad:?}");
            assert!(answer.json().get("id").is_none());
        }
    }
    site.events.none().await;
    for good in [
        &[("Host", "LOCALHOST.:99")][..],
        &[("Host", "[::1]:8080")],
        &[("Host", "127.0.0.1"), ("Origin", "http://localhost:6274")],
    ] {
        assert_eq!(site.send("GET", "/health", good, "").await.status, 200, "{good:?}");
    }
    let mut wire = site.connect().await;
    wire.write("GET /health HTTP/1.1\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 403, "no Host");
}

#[tokio::test]
async fn paths_and_methods_that_are_not_served_say_so() {
    let site = Site::new().await;
    for path in ["/", "/c/mcp", "/off/mcp", "/a/mcp//", "/a/b/mcp", "//mcp", "/A/mcp", "/a%2fmcp", "/a"] {
        let answer = site.send("POST", path, POST, INITIALIZE).await;
        assert_eq!(answer.status, 404, "{path}");
        let text = answer.json()["error"]["message"].as_str().expect("a text").to_owned();
        assert!(!text.contains("`a`") && !text.contains("`b`"), "{text}");
    }
    for method in ["OPTIONS", "PUT", "PATCH", "HEAD", "FOO"] {
        let mut wire = site.connect().await;
        wire.request(method, "/a/mcp", &[("Origin", "http://localhost:1")], "").await;
        let answer = wire.head().await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, GET, DELETE")), "{method}");
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")));
    }
    assert_eq!(site.send("POST", "/healthz", &[], "").await.status, 405);
    for path in ["/health", "/healthz", "/livez", "/readyz"] {
        let answer = site.send("GET", path, &[], "").await;
        assert_eq!((answer.status, answer.json().is_object()), (200, true), "{path}");
    }
    site.events.none().await;
}

#[tokio::test]
async fn content_that_is_not_json_is_refused_before_anybody_is_asked() {
    let site = Site::new().await;
    for bad in [
        &[][..],
        &[("Content-Type", "text/plain")],
        &[("Content-Type", "application/json; charset=utf-16")],
        &[("Content-Type", "application/json"), ("Content-Type", "text/plain")],
        &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")],
        &[("Content-Type", "application/json"), ("Content-Encoding", "identity"), ("Content-Encoding", "br")],
    ] {
        assert_eq!(site.send("POST", "/a/mcp", bad, INITIALIZE).await.status, 415, "{bad:?}");
    }
    let html = [("Content-Type", "application/json"), ("Accept", "text/html")];
    assert_eq!(site.send("POST", "/a/mcp", &html, INITIALIZE).await.status, 406);
    assert_eq!(site.send("GET", "/a/mcp", &[("Accept", "application/json")], "").await.status, 406);
    site.events.none().await;
}

#[tokio::test]
async fn a_stranger_is_challenged_before_the_body_is_read() {
    let site = Site::with(true, |_| {}).await;
    let mut wire = site.connect().await;
    // The body is announced and never sent.
    wire.write("POST /a/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n")
        .await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"test\""));
    assert_eq!(answer.json()["error"]["message"], "who are you?");
    assert!(answer.json().get("id").is_none());
    assert_eq!(site.events.next().await, "authenticate POST");
    site.events.none().await;
}

#[tokio::test]
async fn messages_that_break_the_law_are_refused_with_their_id() {
    let site = Site::new().await;
    let session = site.initialize(&[]).await;
    let headers = [("Mcp-Session-Id", session.as_str())];
    site.until("open a 2025-06-18").await;
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("[]", -32600),
        (r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n{}", -32700),
    ] {
        let answer = site.post(&headers, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!([-32600, -32700].contains(&answer.code()), "{body}: {}", answer.body);
        // A batch is well-formed JSON, and refused as a message; the others may be judged as either.
        if body.contains('[') {
            assert_eq!(answer.code(), code, "{body}");
        }
    }
    assert_eq!(site.events.next().await, "authenticate POST");
    let pretty = "\r\n{\n  \"jsonrpc\": \"2.0\",\n  \"id\": 7,\n  \"method\": \"ping\"\n}\n";
    assert_eq!(site.post(&headers, pretty).await.json()["id"], 7);
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let site = Site::with(false, |config| {
        config.limits.client_message_bytes = 1000;
        config.limits.header_seconds = 1;
    })
    .await;
    let large = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "x".repeat(1000));
    assert_eq!(site.post(&[], &large).await.status, 413);
    let mut chunked = site.connect().await;
    chunked
        .write("POST /a/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    chunked.write(&format!("3e9\r\n{}\r\n", "x".repeat(1001))).await;
    assert_eq!(chunked.answer().await.status, 413, "not announced");
    let mut slow = site.connect().await;
    slow.write("POST /a/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .await;
    assert_eq!(slow.answer().await.status, 408);
    // A head that never ends is not answered; the connection closes.
    let mut endless = site.connect().await;
    endless.write("POST /a/mcp HTTP/1.1\r\nHost: loc").await;
    assert!(!endless.closes().await.contains("HTTP/1.1 2"));
}

#[tokio::test]
async fn more_in_flight_than_allowed_is_shed() {
    let site = Site::with(false, |config| config.limits.in_flight_bytes = 2 * (INITIALIZE.len() + 50)).await;
    let session = site.initialize(&[]).await;
    let headers = [POST, &[("Mcp-Session-Id", session.as_str())]].concat();
    let mut first = site.connect().await;
    first.request("POST", "/a/mcp", &headers, &call("1", "gate")).await;
    site.until("call gate").await;
    let padded = format!("{}{}", call("2", "echo"), " ".repeat(INITIALIZE.len() - 50));
    let answer = site.send("POST", "/a/mcp", &headers, &padded).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    site.shared.gate.add_permits(1);
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(site.send("POST", "/a/mcp", &headers, &padded).await.status, 200, "its share was given back");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let site = Site::with(false, |config| config.limits.header_bytes = 2000).await;
    let long = "x".repeat(3000);
    let mut wire = site.connect().await;
    wire.request("GET", "/health", &[("X-Long", &long)], "").await;
    assert_eq!(wire.head().await.status, 431);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let site = Site::new().await;
    let session = site.initialize(&[]).await;
    let id = ("Mcp-Session-Id", session.as_str());
    for answer in [
        site.send("GET", "/health", &[], "").await,
        site.send("GET", "/nothing", &[], "").await,
        site.send("GET", "/health", &[("Host", "evil.test")], "").await,
        site.post(&[id], &call("1", "echo")).await,
        site.post(&[id], &call("2", "progress")).await,
        site.post(&[id], r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await,
    ] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert!(answer.header("cache-control").is_some_and(|value| value.contains("no-store")));
        assert!(answer.header("server").is_none());
    }
}

#[tokio::test]
async fn protocol_versions_that_are_not_spoken_are_refused() {
    let site = Site::new().await;
    let session = site.initialize(&[]).await;
    let id = ("Mcp-Session-Id", session.as_str());
    for version in ["2024-11-04", "2026-07-29", "1", "2025-11-25 2"] {
        let headers = [id, ("MCP-Protocol-Version", version)];
        let answer = site.post(&headers, &call("1", "echo")).await;
        assert_eq!((answer.status, answer.code()), (400, -32022), "{version}");
        assert_eq!(answer.json()["error"]["data"]["supported"][1], "2025-11-25");
        let listening = [&headers[..], &[("Accept", "text/event-stream")]].concat();
        assert_eq!(site.send("GET", "/a/mcp", &listening, "").await.status, 400, "{version}");
    }
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let headers = [id, ("MCP-Protocol-Version", version)];
        assert_eq!(site.post(&headers, &call("1", "echo")).await.status, 200, "{version}");
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let site = Site::new().await;
    let session = site.initialize(&[]).await;
    let headers = [POST, &[("Mcp-Session-Id", session.as_str())]].concat();
    let mut wire = site.connect().await;
    for n in 1..=3 {
        wire.request("POST", "/a/mcp", &headers, &call(&n.to_string(), "echo")).await;
        assert_eq!(wire.answer().await.json()["id"], n);
        wire.request("POST", "/a/mcp", &headers, &call(&n.to_string(), "progress")).await;
        assert!(wire.answer().await.body.contains("\"steps\":3"));
    }
}
