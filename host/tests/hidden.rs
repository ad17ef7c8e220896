//! What a filter hides does not exist: not in lists, not in calls, not in any spelling of a call.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "hidden/alike.rs"]
mod alike;
#[path = "hidden/refused.rs"]
mod refused;
#[path = "support/spellings.rs"]
mod spellings;
#[path = "support/support.rs"]
mod support;
#[path = "hidden/uris.rs"]
mod uris;

use serde_json::{Value, json};
use spellings::Class;
use support::{Answer, Gate, Setup};

/// The tool that must never be called.
const FORBIDDEN: &str = "delete_everything";

fn tool_filter() -> Value {
    json!({ "plugin": "tool-filter", "config": { "deny": ["delete_*", "secret_*"] } })
}

/// Hides tools, prompts, resources and templates with `secret` or `delete_e` in their names.
fn hiding() -> Setup {
    Setup::fixture(&[])
        .with_filter(json!({ "plugin": "hider", "config": { "containing": "secret" } }))
        .with_bare_filter(
            json!({ "plugin": "hider", "name": "second", "config": { "containing": "delete_e" } }),
        )
}

/// An error with the name it is about replaced, so that two of them can be compared.
fn error_about(answer: &Answer, name: &str) -> (u16, String) {
    (answer.status, answer.error().to_string().replace(name, "<name>"))
}

/// Waits until everything sent before has certainly been dealt with.
fn fence(gate: &Gate) -> Vec<Value> {
    gate.client("fx").call("echo", json!({ "fence": true })).result();
    let arrived = gate.arrived("fx");
    arrived.into_iter().filter(|message| message["params"]["arguments"]["fence"] != true).collect()
}

#[test]
fn a_hidden_tool_is_absent_and_as_unknown_as_any() {
    let gate = Setup::fixture(&["--page", "5"]).with_filter(tool_filter()).start();
    let mut client = gate.client("fx");
    let tools = client.tools();
    assert!(tools.contains(&"echo".to_owned()) && tools.contains(&"whoami".to_owned()), "{tools:?}");
    assert!(
        !tools.iter().any(|tool| tool.starts_with("delete_") || tool.starts_with("secret_")),
        "{tools:?}"
    );
    assert_eq!(tools.len(), 32, "nothing else is missing");

    let unknown = client.call("no_such_tool", json!({ "a": 1 }));
    for hidden in [FORBIDDEN, "secret_canary"] {
        let answer = client.call(hidden, json!({ "a": 1 }));
        assert_eq!(error_about(&answer, hidden), error_about(&unknown, "no_such_tool"));
    }
    let arrived = fence(&gate);
    assert!(!arrived.iter().any(|message| message.to_string().contains("delete_e")), "{arrived:?}");
    assert!(!arrived.iter().any(|message| message.to_string().contains("canary")), "{arrived:?}");
}

#[test]
fn nothing_hidden_can_be_read_completed_or_subscribed_to() {
    let gate = hiding().start();
    let mut client = gate.client("fx");
    for (method, member, key) in [
        ("tools/list", "tools", "name"),
        ("prompts/list", "prompts", "name"),
        ("resources/list", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate"),
    ] {
        let items = client.list(method, member);
        assert!(!items.is_empty(), "{method}: what is not hidden stays");
        assert!(
            !items.iter().any(|item| item[key].as_str().unwrap().contains("secret")),
            "{method}: {items:?}"
        );
    }
    let argument = json!({ "name": "who", "value": "A" });
    let about: [(&str, Value, Value, &str, &str); 6] = [
        (
            "tools/call",
            json!({ "name": "secret_canary" }),
            json!({ "name": "nothing_here" }),
            "secret_canary",
            "nothing_here",
        ),
        (
            "prompts/get",
            json!({ "name": "secret_prompt" }),
            json!({ "name": "nothing_here" }),
            "secret_prompt",
            "nothing_here",
        ),
        (
            "resources/read",
            json!({ "uri": "fixture://secret/1" }),
            json!({ "uri": "fixture://nothing/1" }),
            "fixture://secret/1",
            "fixture://nothing/1",
        ),
        (
            "resources/subscribe",
            json!({ "uri": "fixture://secret/1" }),
            json!({ "uri": "fixture://nothing/1" }),
            "fixture://secret/1",
            "fixture://nothing/1",
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "secret_prompt" }, "argument": argument }),
            json!({ "ref": { "type": "ref/prompt", "name": "nothing_here" }, "argument": argument }),
            "secret_prompt",
            "nothing_here",
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/resource", "uri": "fixture://secret/{id}" }, "argument": argument }),
            json!({ "ref": { "type": "ref/resource", "uri": "fixture://nothing/{id}" }, "argument": argument }),
            "fixture://secret/{id}",
            "fixture://nothing/{id}",
        ),
    ];
    for (method, hidden, unknown, hidden_name, unknown_name) in about {
        let (hidden, unknown) = (client.request(method, hidden), client.request(method, unknown));
        assert_eq!(error_about(&hidden, hidden_name), error_about(&unknown, unknown_name), "{method}");
    }
    // A resource of a hidden template is hidden too, though no list holds it.
    assert!(
        client
            .request("resources/read", json!({ "uri": "fixture://secret/77" }))
            .message
            .get("error")
            .is_some()
    );
    client.request("resources/read", json!({ "uri": "fixture://open/77" })).result();
    let arrived = fence(&gate);
    assert!(!arrived.iter().any(|message| message.to_string().contains("secret")), "{arrived:?}");
}

#[test]
fn what_the_server_says_about_a_hidden_resource_stays_with_the_server() {
    // Subscribed to before it was hidden, as it were: the fixture tells whoever subscribed.
    let gate = hiding().start();
    let mut client = gate.client("fx");
    assert!(
        client
            .request("resources/subscribe", json!({ "uri": "fixture://secret/1" }))
            .message
            .get("error")
            .is_some()
    );
    assert_eq!(
        client.call("update_resource", json!({ "uri": "fixture://secret/1" })).text(),
        "nobody subscribed"
    );
}

#[test]
fn spellings_of_a_forbidden_call_all_come_to_nothing() {
    let gate = Setup::fixture(&[]).with_filter(tool_filter()).start();
    let mut client = gate.client("fx");
    let plain = client.raw(&spellings::plain(FORBIDDEN), "application/json");
    let expected = error_about(&plain, FORBIDDEN);
    let all = spellings::all(FORBIDDEN);
    assert!(all.len() >= 200, "{} spellings", all.len());
    let mut wrong = Vec::new();
    for spelling in &all {
        let answer = client.raw(&spelling.body, &spelling.content_type);
        let right = match spelling.class {
            Class::Same => {
                answer.message.get("error").is_some() && error_about(&answer, FORBIDDEN) == expected
            }
            Class::Refused => {
                let error = answer.status >= 400 || answer.message.get("error").is_some();
                error && answer.message.get("result").is_none()
            }
        };
        if !right {
            let body = String::from_utf8_lossy(&spelling.body);
            wrong.push(format!(
                "{:?}, {}: {body}\n  {} {}",
                spelling.class, spelling.what, answer.status, answer.message
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    let arrived = fence(&gate);
    let calls: Vec<_> = arrived
        .iter()
        .filter(|message| {
            message["method"] != "initialize"
                && message["method"] != "notifications/initialized"
                && message["method"] != "tools/list"
        })
        .collect();
    assert!(calls.is_empty(), "{} messages got through, the first: {:?}", calls.len(), calls.first());
}

#[test]
fn a_call_without_an_id_reaches_nobody() {
    let gate = Setup::fixture(&[]).with_filter(tool_filter()).start();
    let mut client = gate.client("fx");
    for tool in [FORBIDDEN, "echo"] {
        let message = json!({ "jsonrpc": "2.0", "method": "tools/call", "params": { "name": tool } });
        let answer = client.raw(message.to_string().as_bytes(), "application/json");
        assert!(answer.message.get("result").is_none(), "{answer:?}");
    }
    let arrived = fence(&gate);
    assert!(!arrived.iter().any(|message| message["method"] == "tools/call"), "{arrived:?}");
}

#[test]
fn names_that_only_look_alike_are_unknown() {
    let gate = Setup::fixture(&[]).with_filter(tool_filter()).start();
    let mut client = gate.client("fx");
    for name in [
        "Delete_Everything",
        "DELETE_EVERYTHING",
        " delete_everything",
        "delete_everything ",
        "delete_everything\n",
        "delete_everything\0",
        "\u{feff}delete_everything",
        "delete\u{200b}_everything",
        "d\u{435}lete_everything",
        "\u{ff44}elete_everything",
        "fx__delete_everything",
        "fx/delete_everything",
        "delete_everything#",
        "./delete_everything",
    ] {
        let answer = client.call(name, json!({}));
        assert!(
            answer.message.get("result").is_none_or(|result| result["isError"] == true),
            "{name:?}: {answer:?}"
        );
    }
    let arrived = fence(&gate);
    assert!(!arrived.iter().any(|message| message["params"]["name"] == FORBIDDEN), "{arrived:?}");
}

#[test]
fn headers_and_paths_decide_nothing_that_the_body_does_not() {
    let gate = Setup::fixture(&[]).with_filter(tool_filter()).start();
    let client = gate.client("fx");
    let body = spellings::plain(FORBIDDEN);
    let base = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", client.session().unwrap()),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    for (name, value) in [
        ("mcp-name", "echo"),
        ("mcp-method", "tools/list"),
        ("x-http-method-override", "GET"),
        ("x-original-url", "/other/mcp"),
        ("x-rewrite-url", "/other/mcp"),
        ("x-forwarded-for", "127.0.0.1"),
        ("content-encoding", "identity"),
        ("mcp-param-name", "echo"),
    ] {
        let headers: Vec<_> = base.iter().copied().chain([(name, value)]).collect();
        let mut response = support::Http::new(gate.address).send("POST", "/fx/mcp", &headers, &body).unwrap();
        let text = String::from_utf8(response.bytes().unwrap()).unwrap();
        assert!(!text.contains("\"result\""), "{name}: {text}");
    }
    for path in [
        "/fx/mcp?name=echo",
        "/fx/mcp/",
        "//fx/mcp",
        "/fx//mcp",
        "/%66x/mcp",
        "/FX/mcp",
        "/fx/./mcp",
        "/fx/../fx/mcp",
        "/fx/mcp#x",
    ] {
        let mut response = support::Http::new(gate.address).send("POST", path, &base, &body).unwrap();
        let text = String::from_utf8_lossy(&response.bytes().unwrap()).into_owned();
        assert!(!text.contains("\"result\""), "{path}: {text}");
    }
    for method in ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE"] {
        let response = support::Http::new(gate.address).send(method, "/fx/mcp", &base, &body).unwrap();
        assert!(response.status >= 400 || method == "OPTIONS", "{method}: {}", response.status);
    }
    let arrived = fence(&gate);
    assert!(!arrived.iter().any(|message| message.to_string().contains(FORBIDDEN)), "{arrived:?}");
}

#[test]
fn what_is_no_list_cannot_be_judged_and_shows_nothing() {
    let deny = json!({ "plugin": "tool-filter", "config": { "deny": ["echo"] } });
    let gate = Setup::fixture(&["--lists", "object"]).with_filter(deny).start();
    let answer = gate.client("fx").request("tools/list", json!({}));
    assert_eq!(answer.error()["data"]["reason"], "malformed", "{answer:?}");
}
