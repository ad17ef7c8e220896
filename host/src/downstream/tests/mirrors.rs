//! The table of S03: headers that mirror a modern message, and those that only look like it.

use super::client::{POST, Site};

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");
const LIST: (&str, &str) = ("Mcp-Method", "tools/list");
const CALL: (&str, &str) = ("Mcp-Method", "tools/call");
const READ: (&str, &str) = ("Mcp-Method", "resources/read");
const GET: (&str, &str) = ("Mcp-Method", "prompts/get");

const ENVELOPE: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// What is answered.
type Wanted = (u16, Option<i64>);
const TAKEN: Wanted = (200, None);
const NOTED: Wanted = (202, None);
const MISMATCH: Wanted = (400, Some(-32020));

fn request(method: &str, member: &str) -> String {
    let comma = if member.is_empty() { "" } else { "," };
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{member}{comma}{ENVELOPE}}}}}"#)
}

fn named(tool: &str) -> String {
    request("tools/call", &format!(r#""name":"{tool}""#))
}

fn read(uri: &str) -> String {
    request("resources/read", &format!(r#""uri":"{uri}""#))
}

fn noted(envelope: bool) -> String {
    let params = if envelope { format!(r#","params":{{{ENVELOPE}}}"#) } else { String::new() };
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/x"{params}}}"#)
}

fn name(value: &str) -> (&str, &str) {
    ("Mcp-Name", value)
}

/// A body, the headers beside it, and what is answered.
type Row = (String, Vec<(&'static str, &'static str)>, Wanted);

fn rows() -> Vec<Row> {
    let list = || request("tools/list", "");
    let echo = || named("echo");
    let task = |method: &str| request(method, r#""taskId":"t1""#);
    // "hé" in UTF-8.
    let accented = "=?base64?aMOp?=";
    vec![
        // The revision.
        (list(), vec![VERSION, LIST], TAKEN),
        (list(), vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")], TAKEN),
        (list(), vec![("MCP-PROTOCOL-VERSION", "2026-07-28"), ("MCP-METHOD", "tools/list")], TAKEN),
        (list(), vec![("MCP-Protocol-Version", "  2026-07-28\t "), LIST], TAKEN),
        (list(), vec![LIST], MISMATCH),
        (list(), vec![("MCP-Protocol-Version", ""), LIST], MISMATCH),
        (list(), vec![("MCP-Protocol-Version", "2025-11-25"), LIST], MISMATCH),
        (list(), vec![("MCP-Protocol-Version", "2026-07-29"), LIST], MISMATCH),
        (list(), vec![("MCP-Protocol-Version", "2026-07-28,2026-07-28"), LIST], MISMATCH),
        (list(), vec![("MCP-Protocol-Version", "\"2026-07-28\""), LIST], MISMATCH),
        (list(), vec![("MCP-Protocol-Version", "=?base64?MjAyNi0wNy0yOA==?="), LIST], MISMATCH),
        (list(), vec![VERSION, VERSION, LIST], MISMATCH),
        (list(), vec![VERSION, ("mcp-protocol-version", "2025-11-25"), LIST], MISMATCH),
        (list(), vec![("MCP-Protocol-Version", "2026‐07‐28"), LIST], MISMATCH),
        // The method.
        (list(), vec![VERSION], MISMATCH),
        (list(), vec![VERSION, ("Mcp-Method", "")], MISMATCH),
        (list(), vec![VERSION, ("Mcp-Method", "prompts/list")], MISMATCH),
        (list(), vec![VERSION, ("Mcp-Method", "TOOLS/LIST")], MISMATCH),
        (list(), vec![VERSION, ("Mcp-Method", "tools/list/")], MISMATCH),
        (list(), vec![VERSION, ("Mcp-Method", "tools/list, tools/call")], MISMATCH),
        (list(), vec![VERSION, ("Mcp-Method", "=?base64?dG9vbHMvbGlzdA==?=")], MISMATCH),
        (list(), vec![VERSION, ("Mcp-Method", " tools/list\t")], TAKEN),
        (list(), vec![VERSION, LIST, LIST], MISMATCH),
        (list(), vec![VERSION, LIST, CALL], MISMATCH),
        (list(), vec![VERSION, ("Mcp_Method", "tools/list")], MISMATCH),
        (echo(), vec![VERSION, LIST, name("echo")], MISMATCH),
        // The name.
        (echo(), vec![VERSION, CALL, name("echo")], TAKEN),
        (echo(), vec![VERSION, CALL, ("MCP-NAME", "\t echo  ")], TAKEN),
        (echo(), vec![VERSION, CALL, name("=?base64?ZWNobw==?=")], TAKEN),
        (echo(), vec![VERSION, CALL], MISMATCH),
        (echo(), vec![VERSION, CALL, name("")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("Echo")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("gate")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("echo,gate")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("ec ho")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("echo"), name("echo")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("gate"), name("echo")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("=?base64?ZWNobw=?=")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("=?base64?ZWNobw?=")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("=?base64?ZWN!bw==?=")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("=?base64?Z2F0ZQ==?=")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("=?BASE64?ZWNobw==?=")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("=?base64?ZWNobw==")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("ZWNobw==")], MISMATCH),
        (echo(), vec![VERSION, CALL, name("=?base64?/w==?=")], MISMATCH),
        (named("hé"), vec![VERSION, CALL, name(accented)], TAKEN),
        (named("hé"), vec![VERSION, CALL, name("hé")], MISMATCH),
        (named(r"h\u00e9"), vec![VERSION, CALL, name(accented)], TAKEN),
        (named("ZWNobw=="), vec![VERSION, CALL, name("ZWNobw==")], TAKEN),
        (named("=?base64?ZWNobw=="), vec![VERSION, CALL, name("=?base64?ZWNobw==")], TAKEN),
        (named("=?base64?eA==?="), vec![VERSION, CALL, name("=?base64?eA==?=")], MISMATCH),
        (named("=?base64?eA==?="), vec![VERSION, CALL, name("=?base64?PT9iYXNlNjQ/ZUE9PT89?=")], TAKEN),
        (named(" echo"), vec![VERSION, CALL, name(" echo")], MISMATCH),
        (named(" echo"), vec![VERSION, CALL, name("=?base64?IGVjaG8=?=")], TAKEN),
        (named(""), vec![VERSION, CALL, name("")], TAKEN),
        (request("tools/call", r#""name":7"#), vec![VERSION, CALL, name("7")], MISMATCH),
        (request("tools/call", ""), vec![VERSION, CALL, name("echo")], MISMATCH),
        // What the name is depends on the method.
        (read("x://a b"), vec![VERSION, READ, name("x://a b")], TAKEN),
        (read("x://1"), vec![VERSION, READ, name("x://2")], MISMATCH),
        (read("x://1"), vec![VERSION, READ], MISMATCH),
        (request("prompts/get", r#""name":"p""#), vec![VERSION, GET, name("p")], TAKEN),
        (request("prompts/get", r#""name":"p""#), vec![VERSION, GET, name("q")], MISMATCH),
        (task("tasks/get"), vec![VERSION, ("Mcp-Method", "tasks/get"), name("t1")], TAKEN),
        (task("tasks/update"), vec![VERSION, ("Mcp-Method", "tasks/update"), name("t2")], MISMATCH),
        (task("tasks/cancel"), vec![VERSION, ("Mcp-Method", "tasks/cancel")], MISMATCH),
        (list(), vec![VERSION, LIST, name("stray")], TAKEN),
        (list(), vec![VERSION, LIST, name("stray"), name("stray")], MISMATCH),
        // Notifications need none of them, but must not lie.
        (noted(true), vec![VERSION], NOTED),
        (noted(true), vec![], NOTED),
        (noted(false), vec![VERSION], NOTED),
        (noted(true), vec![VERSION, ("Mcp-Method", "notifications/x")], NOTED),
        (noted(true), vec![VERSION, ("Mcp-Method", "notifications/y")], MISMATCH),
        (noted(true), vec![("MCP-Protocol-Version", "2025-11-25")], MISMATCH),
    ]
}

#[tokio::test]
async fn headers_repeat_the_body_or_nothing_is_done() {
    let site = Site::new().await;
    let rows = rows();
    assert!(rows.len() >= 60, "{}", rows.len());
    for (body, headers, wanted) in rows {
        let answer = site.post(&headers, &body).await;
        let code = (!answer.body.is_empty()).then(|| answer.json()["error"]["code"].as_i64()).flatten();
        assert_eq!((answer.status, code), wanted, "{headers:?} {body}: {}", answer.body);
        if wanted == TAKEN || body.contains("\"id\"") {
            assert_eq!(answer.json()["id"], 1, "{headers:?} {body}: the id comes back");
        } else if wanted == MISMATCH {
            assert!(answer.json().get("id").is_none(), "{headers:?} {body}: no null id");
        }
        assert_eq!(site.events.next().await, "authenticate POST");
        if wanted != MISMATCH {
            assert_eq!(site.events.next().await, "join a 2026-07-28", "{headers:?} {body}");
            while site.events.next_now().await.is_some() {}
        }
        site.events.none().await;
    }
}

#[tokio::test]
async fn filters_see_the_mirrors_and_no_credentials() {
    let site = Site::with(true, |_| {}).await;
    let headers = [VERSION, CALL, name("who"), ("Mcp-Param-Region", "eu"), ("Authorization", "Bearer alice")];
    let answer = site.send("POST", "/a/mcp", &[POST, &headers].concat(), &named("who")).await;
    let seen = answer.json()["result"]["headers"].to_string();
    for header in ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-region"] {
        assert!(seen.contains(header), "{header}: {seen}");
    }
    assert!(!seen.contains("authorization"), "{seen}");
    assert_eq!(answer.json()["result"]["principal"], "alice");
}
