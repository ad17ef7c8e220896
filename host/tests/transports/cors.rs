//! Web pages that the operator lets in: they may ask, and read what they are answered.

use serde_json::json;

use super::support::http::{Http, Response};
use super::support::{Gate, Setup};

const APP: &str = "https://app.example.com";
const LOCAL: &str = "http://localhost:6274";

fn setup(loopback: bool) -> Gate {
    let http = json!({ "allowed_origins": [APP], "allow_loopback_origins": loopback });
    Setup::fixture(&[]).with_top("http", http).start()
}

fn preflight(gate: &Gate, path: &str, origin: &str, method: &str, headers: &str) -> Response {
    let headers = [
        ("origin", origin),
        ("sec-fetch-site", "cross-site"),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    Http::new(gate.address).send("OPTIONS", path, &headers, b"").unwrap()
}

fn listed(response: &Response, header: &str, name: &str) -> bool {
    let value = response.header(header).unwrap_or_default().to_ascii_lowercase();
    value.split(',').any(|listed| listed.trim() == name.to_ascii_lowercase())
}

#[test]
fn a_page_that_is_let_in_may_ask_and_read_the_answer() {
    let gate = setup(false);
    for (path, method) in [
        ("/fx/mcp", "POST"),
        ("/fx/mcp", "GET"),
        ("/fx/mcp", "DELETE"),
        ("/mcp/", "POST"),
        ("/fx/sse", "GET"),
        ("/fx/message", "POST"),
    ] {
        let asked = "content-type,mcp-protocol-version,x-api-key,mcp-param-place";
        let answer = preflight(&gate, path, APP, method, asked);
        assert_eq!(answer.status, 204, "{path} {method}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        assert!(listed(&answer, "vary", "Origin"));
        assert!(listed(&answer, "access-control-allow-methods", method), "{path} {method}");
        for name in [
            "Content-Type",
            "Accept",
            "Authorization",
            "Mcp-Session-Id",
            "MCP-Protocol-Version",
            "Last-Event-ID",
            "Mcp-Method",
            "Mcp-Name",
            "mcp-param-place",
            "x-api-key",
        ] {
            assert!(listed(&answer, "access-control-allow-headers", name), "{path}: {name}");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), None, "cookies mean nothing here");
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": super::support::client::full() });
    let headers = [
        ("origin", APP),
        ("sec-fetch-site", "cross-site"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let mut http = Http::new(gate.address);
    let answer = http.send("POST", "/fx/mcp", &headers, body.to_string().as_bytes()).unwrap();
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(APP)));
    assert!(listed(&answer, "access-control-expose-headers", "Mcp-Session-Id"));
    // A refusal can be read as well, or the page could not say what is wrong.
    let refused = http.send("POST", "/fx/mcp", &headers, b"{").unwrap();
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (400, Some(APP)));
}

#[test]
fn other_pages_get_nothing() {
    let gate = setup(false);
    for origin in ["https://evil.test", "null", "http://app.example.com", "https://app.example.com:444"] {
        let answer = preflight(&gate, "/fx/mcp", origin, "POST", "content-type");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{origin}");
    }
    // Passed by the guard, as programs on this machine send it, but a page may not read the answer.
    let answer = preflight(&gate, "/fx/mcp", LOCAL, "POST", "content-type");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
    assert_eq!(preflight(&gate, "/nowhere", APP, "POST", "content-type").status, 404);
    assert_eq!(preflight(&gate, "/fx/sse", APP, "POST", "content-type").status, 405);
    let plain = Http::new(gate.address).send("OPTIONS", "/fx/mcp", &[], b"").unwrap();
    assert_eq!((plain.status, plain.header("access-control-allow-origin")), (405, None));
    let get = Http::new(gate.address).send("GET", "/livez", &[("origin", LOCAL)], b"").unwrap();
    assert_eq!((get.status, get.header("access-control-allow-origin")), (200, None));
}

#[test]
fn developer_tools_on_this_machine_are_let_in_by_one_key() {
    let gate = setup(true);
    for origin in [LOCAL, "http://127.0.0.1:6274", "http://[::1]:80", "https://localhost"] {
        let answer = preflight(&gate, "/fx/mcp", origin, "POST", "content-type");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(origin)));
    }
    for origin in ["http://localhost.evil.test", "http://192.168.0.1", "null"] {
        let answer = preflight(&gate, "/fx/mcp", origin, "POST", "content-type");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{origin}");
    }
}
