//! Servers of the modern era: how their era is found out, what they are told, and their subscriptions.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::support::*;
use super::web::{Answer, Site};
use crate::config::Server;
use crate::jsonrpc::Message;
use crate::proxy::{Downlink, Wanted};
use crate::upstream::{Hello, Lease, Owner, UpstreamCall, UpstreamError};

/// A modern server over stdio. Tells what it got with `seen`.
const SERVER: &str = r#"
import sys, json
out = sys.stdout
seen = []
listening = {}
META = "io.modelcontextprotocol/"
def send(message):
    out.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n"); out.flush()
def answer(id, result):
    send({"id": id, "result": {"resultType": "complete", **result}})
for line in sys.stdin:
    message = json.loads(line)
    seen.append(message)
    method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method == "server/discover":
        answer(id, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": True}, "prompts": {"listChanged": True}, "resources": {"subscribe": True}}})
    elif method == "subscriptions/listen":
        listening[id] = params["notifications"]
        send({"method": "notifications/subscriptions/acknowledged", "params": {"_meta": {META + "subscriptionId": id}, "notifications": {k: v for k, v in params["notifications"].items() if k != "promptsListChanged"}}})
    elif method == "notifications/cancelled":
        listening.pop(params["requestId"], None)
    elif method == "tools/call" and params["name"] == "seen":
        answer(id, {"seen": seen[:-1], "listening": list(listening.values())})
    elif method == "tools/call" and params["name"] == "change":
        for i in listening:
            send({"method": "notifications/tools/list_changed", "params": {"_meta": {META + "subscriptionId": i}}})
        answer(id, {})
    elif method == "tools/call" and params["name"] == "end":
        for i in list(listening):
            send({"id": i, "result": {"resultType": "complete"}})
        listening.clear()
        answer(id, {})
    elif method == "tools/call" and params["name"] == "progress":
        send({"method": "notifications/progress", "params": {"progressToken": params["_meta"]["progressToken"], "progress": 1}})
        answer(id, {})
"#;

fn modern(owner: Owner, downlink: Arc<dyn Downlink>) -> Hello {
    Hello { params: None, ..hello(owner, downlink) }
}

async fn told(lease: &Lease, client: Arc<Client>) -> Value {
    serde_json::from_str(&result(&lease.connection, tool("seen", "{}", client)).await).unwrap()
}

#[tokio::test]
async fn a_modern_server_is_asked_what_it_is_and_then_called() {
    let (client, mut heard) = Client::new("c");
    let all = upstreams(config(python(SERVER)));
    let lease = soon(all.connect(modern(Owner::Shared, client.clone()))).await.unwrap();
    assert_eq!(lease.connection.handshake().protocol_version, "2026-07-28");
    result(&lease.connection, tool("progress", "{}", client.clone())).await;
    assert!(heard.recv().await.unwrap().contains(r#""progressToken": "p""#), "under the caller's own token");
    let seen = told(&lease, client).await;
    let methods: Vec<_> =
        seen["seen"].as_array().unwrap().iter().map(|m| m["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["server/discover", "tools/call"], "and nothing of the legacy era");
    for message in seen["seen"].as_array().unwrap() {
        let meta = &message["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
        assert!(message["id"].is_u64());
    }
    assert_ne!(seen["seen"][1]["params"]["_meta"]["progressToken"], "p", "minted for this connection");
}

#[tokio::test]
async fn servers_of_the_legacy_era_are_told_apart_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let script = |then: &str| format!("echo x >> {}; {then}", starts.display());
    let count = || std::fs::read_to_string(&starts).map_or(0, |text| text.lines().count());
    let refuses =
        r#"read line; echo '{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"?"}}'; cat >/dev/null"#;
    let lists = r#"read line; echo '{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"?","data":{"supported":["2025-06-18"]}}}'; cat >/dev/null"#;
    for (then, speaks) in [
        (refuses, "2025-11-25"),
        (lists, "2025-06-18"),
        ("cat >/dev/null", "2025-11-25"),
        ("read line; exit 3", "2025-11-25"),
    ] {
        let _ = std::fs::remove_file(&starts);
        let mut config = config(shell(&script(then)));
        config.limits.probe_seconds = 1;
        let all = upstreams(config);
        for _ in 1..=2 {
            let (client, _heard) = Client::new("c");
            let Err(error) = soon(all.connect(modern(Owner::Shared, client))).await else { panic!("{then}") };
            let UpstreamError::OtherEra { speaks: found, .. } = &error else { panic!("{then}: {error}") };
            assert_eq!(found[0], speaks, "{then}");
            assert_eq!(count(), 1, "{then}: asked once");
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_what_it_says_it_speaks_is_asked_once_more() {
    let refusal = r#"{"jsonrpc":"2.0","id":%d,"error":{"code":-32022,"message":"?","data":{"supported":["2026-07-28"]}}}\n"#;
    let result = r#"{"jsonrpc":"2.0","id":%d,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}}}\n"#;
    let answers = |second: &str| {
        shell(&format!("read line; printf '{refusal}' 1; read line; printf '{second}' 2; cat >/dev/null"))
    };
    let (client, _heard) = Client::new("c");
    let all = upstreams(config(answers(result)));
    let lease = soon(all.connect(modern(Owner::Shared, client.clone()))).await.unwrap();
    assert_eq!(lease.connection.handshake().protocol_version, "2026-07-28");
    let all = upstreams(config(answers(refusal)));
    let error = soon(all.connect(modern(Owner::Shared, client))).await.err().unwrap();
    assert!(matches!(error, UpstreamError::Unreachable { .. }), "but not for ever: {error}");
}

#[tokio::test]
async fn what_all_want_is_one_subscription_and_a_gap_is_told() {
    let (client, mut heard) = Client::new("c");
    let all = upstreams(config(python(SERVER)));
    let lease = soon(all.connect(modern(Owner::Shared, client.clone()))).await.unwrap();
    let tools = Wanted { tools: true, ..Wanted::default() };
    let more = Wanted { prompts: true, uris: ["u".to_owned()].into(), ..tools.clone() };
    let first = soon(lease.connection.subscribe(tools.clone())).await.unwrap();
    assert_eq!(first.honoured, tools);
    let second = soon(lease.connection.subscribe(more.clone())).await.unwrap();
    assert_eq!(second.honoured, Wanted { prompts: false, ..more }, "as far as the server honours it");
    let seen = told(&lease, client.clone()).await;
    assert_eq!(seen["listening"].as_array().unwrap().len(), 1, "{seen}");
    result(&lease.connection, tool("change", "{}", client.clone())).await;
    assert!(heard.recv().await.unwrap().contains("tools/list_changed"));
    let third = soon(lease.connection.subscribe(tools)).await.unwrap();
    assert_eq!(
        told(&lease, client.clone()).await["listening"].as_array().unwrap().len(),
        1,
        "no new one for less"
    );
    // The server ends it: it is made anew, and what may have been missed is told.
    result(&lease.connection, tool("end", "{}", client.clone())).await;
    assert!(soon(heard.recv()).await.unwrap().contains("tools/list_changed"));
    assert!(soon(heard.recv()).await.unwrap().contains("resources/updated"));
    drop((first, second, third));
    loop {
        if told(&lease, client.clone()).await["listening"] == json!([]) {
            break;
        }
    }
}

fn named(message: &Value) -> &str {
    message["method"].as_str().unwrap_or_default()
}

fn complete(message: &Value, result: Value) -> Answer {
    let mut result = result;
    result["resultType"] = json!("complete");
    Answer::Json(200, json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string())
}

fn discovered(message: &Value) -> Answer {
    complete(message, json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } }))
}

fn at(site: &Site) -> Server {
    Server { url: Some(site.url()), ..Server::default() }
}

const TOOL: &str = r#"{"name":"t","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}"#;

#[tokio::test]
async fn over_http_headers_mirror_the_body_and_nobody_else_sets_them() {
    let site = Site::start(|request| match named(&request.message) {
        "server/discover" => discovered(&request.message),
        _ => {
            let headers: serde_json::Map<String, Value> =
                request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            complete(&request.message, Value::Object(headers))
        }
    })
    .await;
    let mut server = at(&site);
    server.headers.insert("Mcp-Name".into(), "forged".into());
    server.headers.insert("Mcp-Param-Region".into(), "forged".into());
    let (client, _heard) = Client::new("c");
    let all = upstreams(config(server));
    let lease = soon(all.connect(modern(Owner::Shared, client.clone()))).await.unwrap();
    let call = UpstreamCall {
        definition: Some(Bytes::from_static(TOOL.as_bytes())),
        ..tool("t", r#"{"region":" eu"}"#, client.clone())
    };
    let got: Value = serde_json::from_str(&result(&lease.connection, call).await).unwrap();
    assert_eq!(got["mcp-protocol-version"], "2026-07-28");
    assert_eq!(got["mcp-method"], "tools/call");
    assert_eq!(got["mcp-name"], "t");
    assert_eq!(got["mcp-param-region"], "=?base64?IGV1?=");
    assert!(got.get("mcp-session-id").is_none());
    let got: Value = serde_json::from_str(&result(&lease.connection, tool("t", "{}", client)).await).unwrap();
    assert!(got.get("mcp-param-region").is_none(), "{got}");
}

#[tokio::test]
async fn over_http_a_cancelled_call_is_let_go_of_and_nothing_is_said() {
    let site = Site::start(|request| match named(&request.message) {
        "server/discover" => discovered(&request.message),
        _ => Answer::Never,
    })
    .await;
    let (client, _heard) = Client::new("c");
    let all = upstreams(config(at(&site)));
    let lease = soon(all.connect(modern(Owner::Shared, client.clone()))).await.unwrap();
    let cancel = CancellationToken::new();
    let call = UpstreamCall { cancel: cancel.clone(), ..tool("t", "{}", client) };
    let connection = lease.connection.clone();
    let calling = tokio::spawn(async move { connection.call(call).await });
    soon(site.until(|request| named(&request.message) == "tools/call")).await;
    cancel.cancel();
    assert!(matches!(soon(calling).await.unwrap(), Err(UpstreamError::Cancelled)));
    soon(site.left()).await;
    assert!(site.seen().iter().all(|request| named(&request.message) != "notifications/cancelled"));
}

#[tokio::test]
async fn over_http_what_broke_off_is_asked_again_only_if_it_changes_nothing() {
    let site = Site::start(|request| {
        let again = request.number_of_its_method > 1;
        match named(&request.message) {
            "server/discover" => discovered(&request.message),
            "tools/list" if again => complete(&request.message, json!({ "tools": [] })),
            _ => Answer::BrokenStream,
        }
    })
    .await;
    let (client, _heard) = Client::new("c");
    let all = upstreams(config(at(&site)));
    let lease = soon(all.connect(modern(Owner::Shared, client.clone()))).await.unwrap();
    let list = UpstreamCall {
        message: Message::request(b"1", "tools/list", None),
        ..tool("t", "{}", client.clone())
    };
    assert!(result(&lease.connection, list).await.contains(r#""tools":[]"#));
    let error = run(&lease.connection, tool("t", "{}", client)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Gone { may_have_run: true, .. }), "{error}");
    let calls = site.seen().iter().filter(|request| named(&request.message) == "tools/call").count();
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn over_http_headers_from_an_old_schema_are_made_anew_once() {
    let site = Site::start(|request| match named(&request.message) {
        "server/discover" => discovered(&request.message),
        "tools/list" => {
            let tool: Value = serde_json::from_str(TOOL).unwrap();
            complete(&request.message, json!({ "tools": [tool] }))
        }
        _ if request.header("mcp-param-region") == Some("eu") => {
            complete(&request.message, json!({ "ok": true }))
        }
        _ => {
            let error = json!({ "code": -32020, "message": "Header mismatch" });
            let body = json!({ "jsonrpc": "2.0", "id": request.message["id"], "error": error });
            Answer::Json(400, body.to_string())
        }
    })
    .await;
    let (client, _heard) = Client::new("c");
    let all = upstreams(config(at(&site)));
    let lease = soon(all.connect(modern(Owner::Shared, client.clone()))).await.unwrap();
    let old = Some(Bytes::from_static(br#"{"name":"t","inputSchema":{"type":"object"}}"#));
    let call = UpstreamCall { definition: old, ..tool("t", r#"{"region":"eu"}"#, client) };
    assert!(result(&lease.connection, call).await.contains(r#""ok":true"#));
}

#[tokio::test]
async fn over_http_silence_and_missing_credentials_say_nothing_of_the_era() {
    for (status, legacy) in [(401, false), (403, false), (500, false), (404, true), (400, true), (405, true)]
    {
        let site = Site::start(move |_| Answer::Text(status, "no".into())).await;
        let (client, _heard) = Client::new("c");
        let all = upstreams(config(at(&site)));
        let Err(error) = soon(all.connect(modern(Owner::Shared, client))).await else { panic!("{status}") };
        assert_eq!(matches!(error, UpstreamError::OtherEra { .. }), legacy, "{status}: {error}");
    }
    let site = Site::start(|_| Answer::Never).await;
    let mut config = config(at(&site));
    config.limits.call_seconds = 1;
    let (client, _heard) = Client::new("c");
    let Err(error) = soon(upstreams(config).connect(modern(Owner::Shared, client))).await else { panic!() };
    assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn over_http_an_outage_is_no_verdict_on_the_era() {
    for status in [429, 500, 502, 503, 504] {
        let site = Site::start(move |request| {
            // As a gateway in front of it would say it, and in words that would be a verdict otherwise.
            let error = json!({ "code": -32601, "message": "overloaded" });
            let body = json!({ "jsonrpc": "2.0", "id": request.message["id"], "error": error });
            match request.number_of_its_method {
                1 => Answer::Json(status, body.to_string()),
                2 => Answer::Text(status, "overloaded".into()),
                _ => discovered(&request.message),
            }
        })
        .await;
        let all = upstreams(config(at(&site)));
        for _ in 1..=2 {
            let (client, _heard) = Client::new("c");
            let Err(error) = soon(all.connect(modern(Owner::Shared, client))).await else {
                panic!("{status}")
            };
            assert!(matches!(error, UpstreamError::Unreachable { .. }), "{status}: {error}");
            let said = error.to_string();
            assert!(said.contains(&format!("HTTP {status}")) && said.contains("overloaded"), "{said}");
        }
        let (client, _heard) = Client::new("c");
        let lease = soon(all.connect(modern(Owner::Shared, client))).await;
        let lease =
            lease.unwrap_or_else(|error| panic!("{status}: taken for one of the legacy era: {error}"));
        assert_eq!(lease.connection.handshake().protocol_version, "2026-07-28");
    }
}
