//! Servers that do not take `initialize`: what is evidence of the modern era, and what is remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::support::*;
use super::web::{Answer, Request, Site};
use crate::bridge;
use crate::config::Server;
use crate::jsonrpc::Message;
use crate::upstream::{Hello, Lease, UpstreamCall, UpstreamError, Upstreams};

fn method(request: &Request) -> &str {
    request.message["method"].as_str().unwrap_or_default()
}

fn at(site: &Site) -> Server {
    Server { url: Some(site.url()), transport: crate::config::Transport::HttpOnly, ..Server::default() }
}

fn error(request: &Request, status: u16, code: i32, data: Value) -> Answer {
    let error = json!({ "code": code, "message": "no", "data": data });
    Answer::Json(status, json!({ "jsonrpc": "2.0", "id": request.message["id"], "error": error }).to_string())
}

fn result(request: &Request, result: Value) -> Answer {
    Answer::Json(200, json!({ "jsonrpc": "2.0", "id": request.message["id"], "result": result }).to_string())
}

fn discovered(request: &Request) -> Answer {
    result(
        request,
        json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {} }),
    )
}

fn only_modern(request: &Request) -> Answer {
    match method(request) {
        "initialize" => error(request, 400, -32022, json!({ "supported": ["2026-07-28"] })),
        "server/discover" => discovered(request),
        _ => result(request, json!({ "resultType": "complete", "content": [] })),
    }
}

fn legacy(name: &str) -> Hello {
    hello(session(name), Client::new("c").0)
}

fn asked(site: &Site, what: &str) -> usize {
    site.seen().iter().filter(|request| method(request) == what).count()
}

fn text_of(lease: &Lease) -> String {
    String::from_utf8_lossy(&lease.connection.handshake().result).into_owned()
}

#[tokio::test]
async fn only_answers_that_a_modern_server_gives_are_evidence_of_one() {
    type Says = Box<dyn Fn(&Request) -> Answer + Send + Sync>;
    let said = |status, code| move |request: &Request| error(request, status, code, Value::Null);
    let cases: [(Says, bool); 13] = [
        (Box::new(|_| Answer::Text(400, "no".into())), true),
        (Box::new(|_| Answer::Text(404, "no".into())), true),
        (Box::new(|_| Answer::Text(405, "no".into())), true),
        (Box::new(|_| Answer::Text(401, "no".into())), false),
        (Box::new(|_| Answer::Text(403, "no".into())), false),
        (Box::new(|_| Answer::Text(429, "no".into())), false),
        (Box::new(|_| Answer::Text(500, "no".into())), false),
        (Box::new(|_| Answer::Text(200, "hello".into())), false),
        (Box::new(said(404, -32601)), true),
        (Box::new(said(400, -32020)), true),
        (Box::new(said(200, -32602)), true),
        (Box::new(said(200, -32603)), false),
        (Box::new(said(503, -32601)), false),
    ];
    for (at_case, (answer, evidence)) in cases.into_iter().enumerate() {
        let site = Site::start(answer).await;
        let all = upstreams(config(at(&site)));
        let Err(not) = soon(all.begin(legacy("a"))).await else { panic!("{at_case}") };
        assert_eq!(not.doubt.is_some(), evidence, "{at_case}: {}", not.error);
        let told = not.error.to_string();
        let Err(error) = soon(all.modern_instead(not, legacy("a"))).await else { panic!("{at_case}") };
        assert_eq!(error.to_string(), told, "{at_case}: the first error is the one that is reported");
        assert_eq!(asked(&site, "server/discover"), usize::from(evidence), "{at_case}");
    }
}

#[tokio::test]
async fn a_server_that_says_it_is_modern_is_not_asked_again_and_one_that_changed_is() {
    let downgraded = Arc::new(AtomicBool::new(false));
    let flag = downgraded.clone();
    let site = Site::start(move |request| match (flag.load(Ordering::Relaxed), method(request)) {
        (false, _) => only_modern(request),
        (true, "initialize") => result(
            request,
            json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "n", "version": "1" } }),
        ),
        (true, "server/discover") => Answer::Text(404, "no".into()),
        (true, _) => Answer::Json(202, String::new()),
    })
    .await;
    let all: Arc<Upstreams> = Arc::new(upstreams(config(at(&site))));
    for name in ["a", "b"] {
        let lease = soon(bridge::connect(&all, legacy(name))).await.unwrap();
        assert_eq!(lease.connection.handshake().protocol_version, "2025-11-25");
        assert_eq!(lease.transport, "Streamable HTTP");
        super::support::result(&lease.connection, tool("t", "{}", Client::new("c").0)).await;
    }
    assert_eq!((asked(&site, "initialize"), asked(&site, "server/discover")), (1, 2));
    downgraded.store(true, Ordering::Relaxed);
    // What is remembered is wrong now; nobody is turned away for it, and it is forgotten.
    for _ in 0..2 {
        let lease = soon(bridge::connect(&all, legacy("c"))).await.unwrap();
        assert!(text_of(&lease).contains(r#""serverInfo":{"name":"n""#), "its own words");
    }
    assert_eq!((asked(&site, "initialize"), asked(&site, "server/discover")), (3, 3));
}

#[tokio::test]
async fn a_legacy_client_is_called_for_with_the_headers_that_a_tool_wants() {
    const TOOL: &str = r#"{"name":"t","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}"#;
    let site = Site::start(|request| match method(request) {
        "tools/list" => {
            let tool: Value = serde_json::from_str(TOOL).unwrap();
            result(request, json!({ "resultType": "complete", "tools": [tool] }))
        }
        "tools/call" if request.header("mcp-param-region") != Some("eu") => {
            error(request, 400, -32020, Value::Null)
        }
        _ => only_modern(request),
    })
    .await;
    let all: Arc<Upstreams> = Arc::new(upstreams(config(at(&site))));
    let lease = soon(bridge::connect(&all, legacy("a"))).await.unwrap();
    let call = || tool("t", r#"{"region":"eu"}"#, Client::new("c").0);
    let list = UpstreamCall { message: Message::request(b"1", "tools/list", None), ..call() };
    super::support::result(&lease.connection, list).await;
    super::support::result(&lease.connection, call()).await;
    assert_eq!((asked(&site, "tools/list"), asked(&site, "tools/call")), (1, 1), "right at once");
    // Who lists nothing before is right at the second attempt.
    let lease = soon(bridge::connect(&all, legacy("b"))).await.unwrap();
    super::support::result(&lease.connection, call()).await;
    assert_eq!((asked(&site, "tools/list"), asked(&site, "tools/call")), (2, 3));
}

#[tokio::test]
async fn what_is_no_server_of_either_era_is_the_first_error() {
    let site = Site::start(|_| Answer::Text(404, "no".into())).await;
    let all: Arc<Upstreams> = Arc::new(upstreams(config(at(&site))));
    let Err(error) = soon(bridge::connect(&all, legacy("a"))).await else { panic!() };
    assert!(matches!(error, UpstreamError::NotServed { status: 404, .. }), "{error}");
}
