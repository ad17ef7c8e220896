//! HTTP+SSE: the stream is the session, and an id alone opens nothing.

use serde_json::{Value, json};

use super::client::{INITIALIZE, Site, Wire, call};
use super::patience::soon;

const GET: &[(&str, &str)] = &[("accept", "text/event-stream")];
/// As clients of this era post: they do not care what comes back.
const JSON: (&str, &str) = ("content-type", "application/json");

/// An open stream, and where to post to.
struct Stream {
    wire: Wire,
    endpoint: String,
}

impl Stream {
    async fn open(site: &Site, headers: &[(&str, &str)]) -> Stream {
        let mut wire = site.connect().await;
        wire.request("GET", "/a/sse", &[GET, headers].concat(), "").await;
        let head = wire.head().await;
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        let first = wire.chunk().await.expect("an event");
        let endpoint =
            first.strip_prefix("event: endpoint\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
        let endpoint = endpoint.unwrap_or_else(|| panic!("not the endpoint: {first:?}")).to_owned();
        let id = endpoint.strip_prefix("/a/message?sessionId=").expect("where to post to");
        assert!(id.len() >= 32 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        Stream { wire, endpoint }
    }

    async fn initialized(site: &Site, headers: &[(&str, &str)]) -> Stream {
        let mut stream = Stream::open(site, headers).await;
        stream.say(site, headers, INITIALIZE).await;
        assert_eq!(stream.hear().await["result"]["protocolVersion"], "2025-06-18");
        stream
    }

    async fn say(&self, site: &Site, headers: &[(&str, &str)], body: &str) {
        let answer = site.send("POST", &self.endpoint, &[&[JSON], headers].concat(), body).await;
        assert_eq!((answer.status, answer.body.as_str()), (202, "Accepted"));
    }

    async fn hear(&mut self) -> Value {
        self.wire.event().await.expect("a message")
    }
}

/// POSTs until the stream is no longer known.
async fn gone(site: &Site, endpoint: &str) {
    let posting = async {
        while site.send("POST", endpoint, &[JSON], &call("1", "echo")).await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the session", posting).await;
}

#[tokio::test]
async fn calls_progress_questions_and_cancellation_pass() {
    let site = Site::new().await;
    let mut stream = Stream::initialized(&site, &[]).await;
    stream.say(&site, &[], &call("1", "progress")).await;
    for step in 1..=3 {
        assert_eq!(stream.hear().await["params"]["progress"], step);
    }
    assert_eq!(stream.hear().await["result"]["steps"], 3);
    stream.say(&site, &[], &call("2", "ask")).await;
    let question = stream.hear().await;
    assert_eq!(question["method"], "sampling/createMessage");
    let answer = json!({"jsonrpc":"2.0","id":question["id"],"result":{"role":"assistant"}});
    stream.say(&site, &[], &answer.to_string()).await;
    assert_eq!(stream.hear().await, json!({"jsonrpc":"2.0","id":2,"result":{"role":"assistant"}}));
    stream.say(&site, &[], &call("3", "gate")).await;
    site.until("call gate").await;
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#;
    stream.say(&site, &[], cancelled).await;
    site.until("cancelled gate").await;
    let session = site.shared.session(0);
    session.notify(super::fake::progress(7, 0));
    assert_eq!(stream.hear().await["params"]["progress"], 7, "and no answer to 3");
    stream
        .say(&site, &[("MCP-Protocol-Version", "2025-06-18")], r#"{"jsonrpc":"2.0","id":4,"method":"ping"}"#)
        .await;
    assert_eq!(stream.hear().await, json!({"jsonrpc":"2.0","id":4,"result":{}}));
}

#[tokio::test]
async fn an_id_alone_opens_nothing() {
    let site = Site::with(true, |_| {}).await;
    let (alice, renewed, bob) = (
        ("authorization", "Bearer alice.1"),
        ("authorization", "Bearer alice.2"),
        ("authorization", "Bearer bob"),
    );
    let mut stream = Stream::initialized(&site, &[alice]).await;
    let unknown = site.send("POST", "/a/message?sessionId=nope", &[JSON, alice], &call("1", "echo")).await;
    assert_eq!((unknown.status, unknown.code()), (404, -32001));
    let foreign = site.send("POST", &stream.endpoint, &[JSON, bob], &call("1", "echo")).await;
    let elsewhere = stream.endpoint.replacen("/a/", "/b/", 1);
    let elsewhere = site.send("POST", &elsewhere, &[JSON, alice], &call("1", "echo")).await;
    for other in [foreign, elsewhere] {
        assert_eq!((other.status, &other.body), (404, &unknown.body), "foreign and unknown are alike");
    }
    let nobody = site.send("POST", &stream.endpoint, &[JSON], &call("1", "echo")).await;
    assert_eq!(nobody.status, 401);
    stream.say(&site, &[renewed, ("x-secret", "s"), ("x-own", "o")], &call("2", "who")).await;
    let who = stream.hear().await;
    assert_eq!((&who["id"], &who["result"]["principal"]), (&json!(2), &json!("alice")));
    let headers = who["result"]["headers"].to_string();
    assert!(headers.contains("x-own") && !headers.contains("x-secret") && !headers.contains("authorization"));
}

#[tokio::test]
async fn what_is_not_served_at_these_paths_says_so() {
    let site = Site::new().await;
    let stream = Stream::initialized(&site, &[]).await;
    let path = stream.endpoint.as_str();
    for (method, path, headers, body, status) in [
        ("POST", "/a/message", &[JSON][..], "{}", 400),
        ("POST", "/a/message?sessionId=", &[JSON], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, 400),
        ("POST", path, &[JSON], "noise", 400),
        ("POST", path, &[("content-type", "text/plain")], "{}", 415),
        ("POST", path, &[JSON, ("host", "evil.test")], "{}", 403),
        ("POST", path, &[JSON, ("origin", "http://evil.test")], "{}", 403),
        ("GET", path, GET, "", 405),
        ("POST", "/a/sse", &[JSON], INITIALIZE, 405),
        ("DELETE", "/a/sse", &[], "", 405),
        ("GET", "/a/sse", &[("accept", "application/json")], "", 406),
        ("GET", "/a/sse", &[GET[0], ("origin", "http://evil.test")], "", 403),
        ("GET", "/none/sse", GET, "", 404),
    ] {
        let answer = site.send(method, path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.body);
    }
}

/// The client waits for the answer on its stream, whatever it is: some take a status for the end of the
/// connection (Go SDK 1.8), others do not look at it and wait for as long as they can (Python SDK 2).
#[tokio::test]
async fn a_request_that_is_refused_is_answered_on_the_stream() {
    const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    let site = Site::new().await;
    let mut stream = Stream::open(&site, &[]).await;
    let modern = |id: u32, method: &str, version: &str| {
        json!({"jsonrpc":"2.0","id":id,"method":method,"params":{"_meta":{VERSION:version}}}).to_string()
    };
    let today: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
    let long_ago: (&str, &str) = ("mcp-protocol-version", "1900-01-01");
    for (id, headers, body, code) in [
        // As clients of both eras begin.
        (1, &[today][..], modern(1, "server/discover", "2026-07-28"), -32022),
        (2, &[], modern(2, "server/discover", "2026-07-28"), -32022),
        (3, &[], modern(3, "tools/list", "2027-01-01"), -32022),
        (4, &[], r#"{"jsonrpc":"2.0","id":4,"method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":1}}}"#.to_owned(), -32602),
        (5, &[today], r#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#.to_owned(), -32022),
        (6, &[long_ago], call("6", "echo"), -32022),
        (7, &[], r#"{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":1,"a":2}}"#.to_owned(), -32600),
    ] {
        stream.say(&site, headers, &body).await;
        let refused = stream.hear().await;
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(id), &json!(code)), "{refused}");
        if code == -32022 {
            let spoken = &refused["error"]["data"]["supported"];
            assert_eq!(*spoken, json!(["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]));
        }
    }
    // What nobody waits for is not answered, and what comes from a stranger neither.
    let meta = json!({ VERSION: "2026-07-28" });
    stream.say(&site, &[today], &json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"_meta":meta}}).to_string()).await;
    stream.say(&site, &[today], r#"{"jsonrpc":"2.0","id":"lg-1","result":{}}"#).await;
    for elsewhere in ["/a/message?sessionId=none", "/b/message?sessionId=none"] {
        let refused =
            site.send("POST", elsewhere, &[JSON], &modern(8, "server/discover", "2026-07-28")).await;
        assert_eq!(refused.status, 404, "{elsewhere}: {}", refused.body);
    }
    let unnamed = site.send("POST", "/a/message", &[JSON], &modern(9, "server/discover", "2026-07-28")).await;
    assert_eq!(unnamed.status, 400);
    stream.say(&site, &[], INITIALIZE).await;
    assert_eq!(stream.hear().await["result"]["protocolVersion"], "2025-06-18", "it begins all the same");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_session_and_its_calls() {
    let site = Site::with(false, |config| config.limits.sessions = 1).await;
    let stream = Stream::initialized(&site, &[]).await;
    stream.say(&site, &[], &call("1", "gate")).await;
    site.until("call gate").await;
    let full = site.send("GET", "/a/sse", GET, "").await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")), "it counts as a session");
    let elsewhere = site.post(&[], INITIALIZE).await;
    assert_eq!(elsewhere.status, 503, "and for other transports as well");
    let Stream { wire, endpoint } = stream;
    drop(wire);
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let event = site.events.next().await;
        if !event.starts_with("authenticate") {
            ended.push(event);
        }
    }
    ended.sort();
    assert_eq!(ended, ["cancelled gate", "closed"]);
    gone(&site, &endpoint).await;
    Stream::initialized(&site, &[]).await;
}

#[tokio::test]
async fn a_stream_on_which_nothing_is_begun_ends_and_makes_room() {
    let site = Site::with(false, |config| {
        config.limits.sessions = 1;
        config.limits.call_seconds = 1;
    })
    .await;
    let mut stream = Stream::open(&site, &[]).await;
    assert_eq!(stream.wire.chunk().await, None);
    gone(&site, &stream.endpoint).await;
    Stream::initialized(&site, &[]).await;
}

#[tokio::test]
async fn an_idle_session_ends_with_its_stream() {
    let site = Site::with(false, |config| {
        config.limits.session_idle_seconds = 1;
        // It is asked whether it is there, and says nothing.
        config.limits.ping_seconds = 3600;
    })
    .await;
    let mut stream = Stream::initialized(&site, &[]).await;
    while stream.wire.chunk().await.is_some() {}
    site.until("closed").await;
    gone(&site, &stream.endpoint).await;
}

#[tokio::test]
async fn a_slow_reader_is_cut_and_its_session_ends() {
    let site = Site::new().await;
    let stream = Stream::initialized(&site, &[]).await;
    stream.say(&site, &[], &call("1", "flood")).await;
    site.until("closed").await;
    gone(&site, &stream.endpoint).await;
    let read = stream.wire.closes().await.len();
    assert!(read < 40 << 20, "{read} bytes of 64 MiB: the buffers of the sockets and no more");
}

#[tokio::test]
async fn shutdown_lets_calls_finish_and_ends_the_stream() {
    let site = Site::new().await;
    let mut stream = Stream::initialized(&site, &[]).await;
    stream.say(&site, &[], &call("1", "gate")).await;
    site.until("call gate").await;
    site.shutdown.cancel();
    site.shared.gate.add_permits(1);
    assert_eq!(stream.hear().await["result"]["passed"], true);
    assert_eq!(stream.wire.chunk().await, None);
    soon("the end of serving", site.serving).await.expect("no panic");
    site.events.until("closed").await;
}
