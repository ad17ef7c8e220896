//! Everything a call can do, through the built binary in front of the fixture server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use serde_json::{Value, json};
use support::peer::Peer;
use support::{Client, Setup};

/// Methods that arrived at the fixture, in their order.
fn methods(arrived: &[Value]) -> Vec<&str> {
    arrived.iter().filter_map(|message| message["method"].as_str()).collect()
}

fn named<'a>(arrived: &'a [Value], tool: &str) -> &'a Value {
    let found = arrived.iter().find(|message| message["params"]["name"] == tool);
    found.unwrap_or_else(|| panic!("no call of {tool} arrived: {arrived:?}"))
}

#[test]
fn the_handshake_is_the_servers_own() {
    let gate = Setup::fixture(&[]).start();
    let client = gate.client("fx");
    assert_eq!(client.initialized["serverInfo"], json!({ "name": "fx", "version": "0" }));
    assert_eq!(client.initialized["protocolVersion"], "2025-11-25");
    assert_eq!(client.initialized["capabilities"]["resources"]["subscribe"], true);
    let arrived = gate.arrived("fx");
    assert_eq!(arrived[0]["params"]["clientInfo"]["name"], "raw", "the server learns who the client is");
    assert_eq!(arrived[0]["params"]["capabilities"]["roots"]["listChanged"], true);
}

#[test]
fn an_older_revision_is_spoken_where_the_client_asks_for_it() {
    let gate = Setup::fixture(&[]).start();
    let mut client = Client::unopened(gate.address, "fx", vec![]);
    let answer = client.initialize(json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "old", "version": "0" } }));
    assert_eq!(answer.result()["protocolVersion"], "2025-06-18");
    assert_eq!(client.call("echo", json!({ "a": 1 })).result()["structuredContent"]["a"], 1);
}

#[test]
fn lists_are_complete_whatever_the_page() {
    let gate = Setup::fixture(&["--tools", "1000", "--page", "64"]).start();
    let tools = gate.client("fx").tools();
    assert_eq!(tools.len(), 1034);
    assert_eq!((tools[0].as_str(), tools[1033].as_str()), ("echo", "tool_0999"));
}

#[test]
fn four_progress_notifications_sent_are_four_received_with_the_clients_own_token() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    for token in [json!("a \u{1F600} token"), json!(7), json!(9_007_199_254_740_993_u64)] {
        let params =
            json!({ "name": "progress", "arguments": { "n": 4 }, "_meta": { "progressToken": token } });
        let answer = client.request("tools/call", params);
        assert_eq!(answer.text(), "4 told");
        let told: Vec<&Value> = answer.before.iter().map(|message| &message["params"]["progress"]).collect();
        assert_eq!(told, [1, 2, 3, 4]);
        assert!(
            answer.before.iter().all(|message| message["params"]["progressToken"] == token),
            "{answer:?}"
        );
    }
}

#[test]
fn ids_come_back_byte_for_byte_and_never_reach_the_server() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    for id in ["1", "\"1\"", "\"\\u0031\"", "9007199254740993", "\"\"", "-5", "\"a/\\/\u{e9}\""] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{}}}}}}"#
        );
        let mut http = support::Http::new(gate.address);
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-session-id", client.session().unwrap()),
            ("mcp-protocol-version", "2025-11-25"),
        ];
        let mut response = http.send("POST", "/fx/mcp", &headers, body.as_bytes()).unwrap();
        let text = String::from_utf8(response.bytes().unwrap()).unwrap();
        assert!(
            text.contains(&format!("\"id\":{id},")) || text.contains(&format!("\"id\":{id}}}")),
            "{id}: {text}"
        );
    }
    // Unique on the way up, whatever the clients chose.
    client.call("echo", json!({}));
    gate.client("fx").call("echo", json!({}));
    let arrived = gate.arrived("fx");
    let mut ids: Vec<String> = arrived
        .iter()
        .filter(|message| message["method"] == "tools/call")
        .map(|m| m["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 9);
    ids.retain(|id| ["\"\"", "9007199254740993", "-5"].contains(&id.as_str()));
    assert_eq!(ids, Vec::<String>::new(), "a client's own id went up");
}

#[test]
fn what_no_filter_changes_arrives_byte_for_byte() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    let arguments = r#"{ "z":1.0,"a":12345678901234567890123,"e":1E+2,"s":"\u0041\/\ud83d\ude00", "":[ ] }"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"exact","arguments":{arguments}}}}}"#
    );
    client.raw(body.as_bytes(), "application/json");
    assert!(gate.arrived_text("fx").contains(arguments), "{}", gate.arrived_text("fx"));

    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", client.session().unwrap()),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let mut response =
        support::Http::new(gate.address).send("POST", "/fx/mcp", &headers, body.as_bytes()).unwrap();
    let text = String::from_utf8(response.bytes().unwrap()).unwrap();
    let content = r#"{ "content":[{"type":"text","text":"\u0041\/é\ud83d\ude00"}], "structuredContent":{"z":1.0,"a":12345678901234567890123,"e":1E+2,"n":-0.0, "unknown":[ ] } ,"x-later":null}"#;
    assert!(text.contains(content), "{text}");
}

#[test]
fn a_cancelled_call_ends_for_both_sides() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    let params =
        json!({ "name": "wait", "arguments": { "key": "never" }, "_meta": { "progressToken": "t" } });
    let mut pending = client.start("tools/call", params);
    // A call after it, so that it has certainly arrived.
    client.call("echo", json!({}));
    client.notify("notifications/cancelled", json!({ "requestId": pending.id, "reason": "enough" }));
    assert_eq!(pending.finish(), None, "a cancelled call gets no answer");
    client.call("echo", json!({}));
    let arrived = gate.arrived("fx");
    let cancelled = arrived.iter().find(|message| message["method"] == "notifications/cancelled").unwrap();
    assert_eq!(
        cancelled["params"]["requestId"],
        named(&arrived, "wait")["id"],
        "with the id the server knows"
    );
}

#[test]
fn a_client_cannot_cancel_the_call_of_another() {
    let gate = Setup::fixture(&[]).server_keys("fx", json!({ "isolation": "shared" })).start();
    let (mut one, mut other) = (gate.client("fx"), gate.client("fx"));
    let mut pending = one.start("tools/call", json!({ "name": "wait", "arguments": { "key": "k" } }));
    one.call("echo", json!({}));
    for id in 0..200 {
        other.notify("notifications/cancelled", json!({ "requestId": id }));
    }
    other.notify("notifications/cancelled", json!({ "requestId": pending.id }));
    other.call("release", json!({ "key": "k" }));
    assert_eq!(pending.finish().unwrap()["result"]["content"][0]["text"], "released");
}

#[test]
fn questions_of_the_server_reach_the_client_and_its_answers_the_server() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    for (tool, method, result) in [
        (
            "ask_sampling",
            "sampling/createMessage",
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "hé" } }),
        ),
        (
            "ask_elicitation",
            "elicitation/create",
            json!({ "action": "accept", "content": { "name": "Ada" } }),
        ),
        ("ask_roots", "roots/list", json!({ "roots": [{ "uri": "file:///a", "name": "a" }] })),
    ] {
        let mut pending =
            client.start("tools/call", json!({ "name": tool, "arguments": { "text": "What?" } }));
        let question = pending.expect(method);
        client.answer(&question, result.clone());
        let answer = pending.finish().unwrap();
        let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result);
    }
}

#[test]
fn an_error_as_the_answer_to_a_question_reaches_the_server() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    let mut pending =
        client.start("tools/call", json!({ "name": "ask_sampling", "arguments": { "text": "?" } }));
    let question = pending.expect("sampling/createMessage");
    let error = json!({ "code": -1, "message": "User rejected sampling request" });
    client.tell(&json!({ "jsonrpc": "2.0", "id": question["id"], "error": error }));
    let answer = pending.finish().unwrap();
    assert_eq!(answer["result"]["isError"], true);
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("User rejected"), "{answer}");
}

#[test]
fn nobody_else_can_answer_a_question() {
    let gate = Setup::fixture(&[]).start();
    let (mut client, mut stranger) = (gate.client("fx"), gate.client("fx"));
    let mut pending =
        client.start("tools/call", json!({ "name": "ask_elicitation", "arguments": { "text": "?" } }));
    let question = pending.expect("elicitation/create");
    let forged = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept", "content": { "name": "forged" } } });
    stranger.raw(forged.to_string().as_bytes(), "application/json");
    client.answer(&question, json!({ "action": "decline" }));
    let answer = pending.finish().unwrap();
    assert!(!answer.to_string().contains("forged"), "{answer}");
    assert!(!gate.arrived_text("fx").contains("forged"));
}

#[test]
fn what_belongs_to_no_call_comes_on_the_clients_own_stream() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    let mut stream = client.listen();
    client.request("resources/subscribe", json!({ "uri": "fixture://open/1" })).result();
    assert_eq!(client.call("update_resource", json!({ "uri": "fixture://open/1" })).text(), "told");
    let updated = stream.expect("notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], "fixture://open/1");
    client.request("resources/unsubscribe", json!({ "uri": "fixture://open/1" })).result();
    assert_eq!(
        client.call("update_resource", json!({ "uri": "fixture://open/1" })).text(),
        "nobody subscribed"
    );

    client.call("add_tool", json!({ "name": "fresh" }));
    stream.expect("notifications/tools/list_changed");
    assert!(client.tools().contains(&"fresh".to_owned()));
    assert_eq!(client.call("fresh", json!({})).text(), "fresh");
}

#[test]
fn log_messages_and_their_level_pass() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    let mut stream = client.listen();
    client.request("logging/setLevel", json!({ "level": "warning" })).result();
    // A log message names no call: it may come with the answer or on the client's own stream.
    let answer = client.call("log", json!({ "level": "error", "n": 1 }));
    let message = match answer.before.first() {
        Some(message) => message.clone(),
        None => stream.expect("notifications/message"),
    };
    assert_eq!(
        message["params"],
        json!({
        "level": "error", "logger": "fixture", "data": { "at": 1, "set": "warning" } })
    );
}

#[test]
fn prompts_resources_and_completion_pass() {
    let gate = Setup::fixture(&["--page", "2"]).start();
    let mut client = gate.client("fx");
    assert_eq!(client.list("prompts/list", "prompts").len(), 3);
    assert_eq!(client.list("resources/list", "resources").len(), 4);
    assert_eq!(client.list("resources/templates/list", "resourceTemplates").len(), 2);
    let prompt = client.request("prompts/get", json!({ "name": "greet", "arguments": { "who": "Ada" } }));
    assert_eq!(prompt.result()["messages"][0]["content"]["text"], "greet \"Ada\"");
    let read = client.request("resources/read", json!({ "uri": "fixture://open/77" }));
    assert_eq!(
        read.result()["contents"][0]["text"],
        "content of fixture://open/77",
        "of a template, so listed nowhere"
    );
    let complete = json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "who", "value": "A" } });
    assert_eq!(
        client.request("completion/complete", complete).result()["completion"]["values"],
        json!(["Ada", "Alan"])
    );
}

#[test]
fn the_servers_errors_arrive_as_they_are() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    let arguments = json!({ "code": -31999, "message": "out of \u{e9}clairs", "data": { "left": [0, 1.5] } });
    let answer = client.call("protocol_error", arguments.clone());
    assert_eq!(answer.error(), &arguments);
    assert_eq!(client.call("tool_error", json!({})).result()["isError"], true);
    assert_eq!(client.request("no/such/method", json!({})).error()["code"], -32601);
}

#[test]
fn sixty_four_clients_with_the_same_ids_each_get_their_own_answers() {
    let gate = Setup::fixture(&[]).server_keys("fx", json!({ "isolation": "shared" })).start();
    let address = gate.address;
    std::thread::scope(|scope| {
        for who in 0..64 {
            scope.spawn(move || {
                let mut client = Client::open(address, "fx");
                for at in 0..8 {
                    let answer = client.call("echo", json!({ "who": who, "at": at }));
                    assert_eq!(answer.result()["structuredContent"], json!({ "who": who, "at": at }));
                }
                client.close();
            });
        }
    });
    assert_eq!(methods(&gate.arrived("fx")).iter().filter(|method| **method == "initialize").count(), 1);
}

#[test]
fn sessions_are_kept_apart_by_default() {
    let gate = Setup::fixture(&[]).start();
    let (mut one, mut other) = (gate.client("fx"), gate.client("fx"));
    let pid =
        |client: &mut Client| client.call("whoami", json!({})).result()["structuredContent"]["pid"].clone();
    assert_ne!(pid(&mut one), pid(&mut other));
    assert_ne!(one.session(), other.session());
    assert_eq!(one.close() / 100, 2);
    assert_eq!(one.request("tools/list", json!({})).status, 404, "a session that ended");
    assert!(!other.tools().is_empty());
}

#[test]
fn a_server_gets_only_the_environment_it_is_given() {
    let gate = Setup::fixture(&[])
        .server_keys("fx", json!({ "env": { "GIVEN": "yes" } }))
        .with_env("LOCKGATE_CANARY", "canary-in-the-environment")
        .start();
    let who = gate.client("fx").call("whoami", json!({}));
    let env = &who.result()["structuredContent"]["env"];
    assert_eq!(env["GIVEN"], "yes");
    assert_eq!(env["LOCKGATE_CANARY"], Value::Null);
}

#[test]
fn several_servers_stand_side_by_side() {
    let gate = Setup::fixture(&[]).with_fixture("second", &["--tools", "1"]).start();
    assert_eq!(gate.client("fx").call("whoami", json!({})).text(), "fx");
    let mut second = gate.client("second");
    assert_eq!(second.call("whoami", json!({})).text(), "second");
    assert_eq!(second.tools().iter().filter(|tool| tool.starts_with("tool_0")).count(), 1);
    let mut nowhere = Client::unopened(gate.address, "third", vec![]);
    let answer = nowhere.initialize(json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "raw", "version": "0" } }));
    assert_eq!(answer.status, 404);
}

#[test]
fn a_session_of_one_server_is_none_of_another() {
    let gate = Setup::fixture(&[]).with_fixture("second", &[]).start();
    let client = gate.client("fx");
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", client.session().unwrap()),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let response = support::Http::new(gate.address).send("POST", "/second/mcp", &headers, body).unwrap();
    assert_eq!(response.status, 404);
}

#[test]
fn a_server_over_http_is_reached_with_headers_made_for_it() {
    let peer = Peer::start();
    let gate = Setup::new().with_server("web", json!({ "url": peer.url() })).start();
    let mut client = gate.client_with(
        "web",
        &[("authorization", "Bearer the-clients-own"), ("cookie", "a=b"), ("x-trace", "1")],
    );
    assert_eq!(client.call("echo", json!({ "a": 1 })).text(), r#"{"a":1}"#);
    let arrived = peer.arrived();
    let call = arrived.iter().find(|request| request.message["method"] == "tools/call").unwrap();
    assert_eq!(call.header("mcp-session-id"), Some("peer-session"));
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-11-25"));
    for request in &arrived {
        for name in ["authorization", "cookie", "x-trace"] {
            assert_eq!(request.header(name), None, "a client's header must not be copied through");
        }
    }
}

#[test]
fn params_that_are_null_are_absent() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    for body in [
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":null}"#,
        r#"{"jsonrpc":"2.0","params":null,"id":7,"method":"ping"}"#,
    ] {
        client.raw(body.as_bytes(), "application/json").result();
    }
    let body = br#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":null}"#;
    assert_eq!(client.raw(body, "application/json").status, 202);
    let call = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":null}"#;
    assert_eq!(client.raw(call, "application/json").error()["code"], -32602);
}
