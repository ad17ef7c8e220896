//! Several servers behind one entrance, `/mcp`: names say whose they are, and every call reaches one.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use serde_json::{Value, json};
use sha2::Digest;
use support::client::full;
use support::{Client, Gate, Setup};

fn two() -> Setup {
    Setup::new().with_fixture("a", &[]).with_fixture("b", &["--tools", "3", "--page", "5"])
}

fn names(list: &Value, member: &str, key: &str) -> Vec<String> {
    list[member].as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
}

fn called(gate: &Gate, server: &str, method: &str) -> usize {
    gate.arrived(server).iter().filter(|message| message["method"] == method).count()
}

#[test]
fn lists_are_merged_in_order_and_whole() {
    let gate = two().start();
    let mut client = gate.client("");
    assert_eq!(client.initialized["serverInfo"]["name"], "lockgate");
    assert_eq!(client.initialized["capabilities"]["tools"]["listChanged"], true);
    let tools = client.request("tools/list", json!({})).result().clone();
    assert!(tools.get("nextCursor").is_none());
    let tools = names(&tools, "tools", "name");
    let (of_a, of_b): (Vec<_>, Vec<_>) = tools.iter().partition(|name| name.starts_with("a__"));
    assert_eq!(of_b.len(), of_a.len() + 3, "all pages of b: {tools:?}");
    assert!(of_b.iter().all(|name| name.starts_with("b__")));
    assert!(
        tools.iter().position(|name| name == "a__secret_canary")
            < tools.iter().position(|name| name == "b__echo")
    );
    assert_eq!(tools, names(client.request("tools/list", json!({})).result(), "tools", "name"), "stable");
    let refused = client.request("tools/list", json!({ "cursor": "5" }));
    assert_eq!(refused.error()["code"], -32602);
}

#[test]
fn a_call_reaches_the_server_its_name_says_and_no_other() {
    let gate = two().start();
    let mut client = gate.client("");
    for (tool, whose) in [("a__whoami", "a"), ("b__whoami", "b")] {
        assert_eq!(client.call(tool, json!({})).text(), whose);
    }
    assert_eq!((called(&gate, "a", "tools/call"), called(&gate, "b", "tools/call")), (1, 1));
    for unknown in ["whoami", "c__whoami", "A__whoami", "__whoami", "a_whoami"] {
        assert_eq!(client.call(unknown, json!({})).error()["code"], -32602, "{unknown}");
    }
    assert_eq!((called(&gate, "a", "tools/call"), called(&gate, "b", "tools/call")), (1, 1));

    let prompt = client.request("prompts/get", json!({ "name": "b__greet", "arguments": { "who": "Ada" } }));
    assert!(prompt.result()["messages"][0]["content"]["text"].as_str().unwrap().starts_with("greet"));
    let reference = json!({ "type": "ref/prompt", "name": "a__greet" });
    let completed = client.request(
        "completion/complete",
        json!({ "ref": reference, "argument": { "name": "who", "value": "Gr" } }),
    );
    assert_eq!(completed.result()["completion"]["values"], json!(["Grace"]));
    assert_eq!(
        (called(&gate, "a", "completion/complete"), called(&gate, "b", "completion/complete")),
        (1, 0)
    );
    let tasks = client.request("tasks/get", json!({ "taskId": "a__1" }));
    assert_eq!(tasks.error()["code"], -32601);
}

#[test]
fn resources_keep_their_uris_and_go_to_whom_they_belong() {
    let gate = two().start();
    let mut client = gate.client("");
    let read = client.request("resources/read", json!({ "uri": "fixture://open/2" }));
    assert_eq!(read.result()["contents"][0]["text"], "content of fixture://open/2");
    assert_eq!((called(&gate, "a", "resources/read"), called(&gate, "b", "resources/read")), (1, 0));
    client.request("resources/subscribe", json!({ "uri": "fixture://open/2" })).result();
    assert_eq!(called(&gate, "b", "resources/subscribe"), 0);
    let unknown = client.request("resources/read", json!({ "uri": "nowhere://1" }));
    assert_eq!(unknown.error()["code"], -32002);
    client.request("logging/setLevel", json!({ "level": "warning" })).result();
    assert_eq!((called(&gate, "a", "logging/setLevel"), called(&gate, "b", "logging/setLevel")), (1, 1));
}

#[test]
fn a_broken_server_is_left_out_and_the_others_work() {
    let gate = two().with_server("broken", json!({ "command": "false" })).start();
    let mut client = gate.client("");
    assert_eq!(client.call("b__whoami", json!({})).text(), "b");
    let tools = names(client.request("tools/list", json!({})).result(), "tools", "name");
    assert!(tools.iter().all(|name| !name.starts_with("broken__")) && tools.len() > 50, "{tools:?}");
    let error = client.call("broken__x", json!({}));
    assert!(error.error()["message"].as_str().unwrap().contains("`broken`"), "{}", error.message);
}

/// The tools at the common entrance, and how often each server was asked for its list.
fn merged_tools(gate: &Gate, servers: &[&str]) -> (Vec<String>, Vec<usize>) {
    let tools = names(gate.client("").request("tools/list", json!({})).result(), "tools", "name");
    (tools, servers.iter().map(|server| called(gate, server, "tools/list")).collect())
}

#[test]
fn a_list_that_is_none_is_left_out_wherever_it_stands() {
    for kind in ["null", "object"] {
        for order in [["a", "bad"], ["bad", "z"]] {
            let [good] = order.iter().filter(|name| **name != "bad").collect::<Vec<_>>()[..] else {
                panic!()
            };
            let gate = Setup::new().with_fixture("bad", &["--lists", kind]).with_fixture(good, &[]).start();
            let mark = gate.mark();
            let (tools, _) = merged_tools(&gate, &[]);
            assert!(tools.contains(&format!("{good}__echo")), "{kind} {order:?}: {tools:?}");
            assert!(tools.iter().all(|name| name.starts_with(good)), "{kind} {order:?}: {tools:?}");
            gate.said(mark, "line about the list", |line| {
                line.contains("left out") && line.contains("`bad`")
            });
        }
    }
}

#[test]
fn a_cursor_that_never_changes_ends_the_list_and_an_empty_one_is_the_end() {
    let gate = Setup::new()
        .with_fixture("same", &["--lists", "same-cursor"])
        .with_fixture("empty", &["--lists", "empty-cursor"])
        .start();
    let (tools, asked) = merged_tools(&gate, &["same", "empty"]);
    assert_eq!(asked, [2, 1]);
    for server in ["same", "empty"] {
        let echoes = tools.iter().filter(|name| **name == format!("{server}__echo")).count();
        assert_eq!(echoes, 1, "{tools:?}");
    }
}

#[test]
fn filters_of_each_server_hold_behind_the_common_entrance() {
    let deny =
        json!({ "plugin": "tool-filter", "match": { "servers": ["b"] }, "config": { "deny": ["secret_*"] } });
    let gate = two().with_filter(deny).start();
    let mut client = gate.client("");
    let tools = names(client.request("tools/list", json!({})).result(), "tools", "name");
    assert!(
        tools.contains(&"a__secret_canary".to_owned()) && !tools.contains(&"b__secret_canary".to_owned())
    );
    assert_eq!(client.call("b__secret_canary", json!({})).error()["code"], -32602);
    assert!(!gate.arrived_text("b").contains("secret_canary"));
    assert_eq!(client.call("a__secret_canary", json!({})).text(), "canary-7f3a9c");
}

/// A filter that knows these clients of these servers by a key in that header: name and key.
fn keys(name: &str, servers: &[&str], header: &str, known: &[(&str, &str)]) -> Value {
    let key = |(name, key): &(&str, &str)| {
        let hash: String = sha2::Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "name": name, "sha256": hash })
    };
    let known: Vec<Value> = known.iter().map(key).collect();
    let config = json!({ "header": header, "missing": "skip", "keys": known });
    json!({ "name": name, "plugin": "api-key-auth", "match": { "servers": servers }, "config": config })
}

/// The statuses that a client gets which comes to a server, in both eras.
fn enter(gate: &Gate, server: &str, header: (&str, &str)) -> (u16, u16, String) {
    let header = (header.0.to_owned(), header.1.to_owned());
    let legacy = Client::unopened(gate.address, server, vec![header.clone()]).initialize(full());
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers =
        vec![header, own("mcp-protocol-version", "2026-07-28"), own("mcp-method", "server/discover")];
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {} });
    let mut modern = Client::unopened(gate.address, server, headers);
    let modern = modern.request("server/discover", json!({ "_meta": meta }));
    (legacy.status, modern.status, legacy.message.to_string())
}

#[test]
fn whoever_enters_where_servers_are_merged_is_known_to_each_as_the_same() {
    let two = || Setup::new().with_fixture("a", &[]).with_fixture("b", &["--modern"]);
    let gate = two()
        .with_filter(keys("common", &["a", "b"], "Authorization", &[("ada", "for both")]))
        .with_filter(keys("of-a", &["a"], "X-Key", &[("bob", "of a"), ("eve", "of each")]))
        .with_filter(keys("of-b", &["b"], "X-Key", &[("cid", "of b"), ("mallory", "of each")]))
        .start();
    for (header, at_a, at_b, at_both) in [
        (("authorization", "Bearer for both"), 200, 200, 200),
        (("x-key", "of a"), 200, 401, 401),
        (("x-key", "of b"), 401, 200, 401),
        (("x-key", "of each"), 200, 200, 403),
        (("x-key", "of none"), 401, 401, 401),
        (("x-none", ""), 401, 401, 401),
    ] {
        for (server, expected) in [("a", at_a), ("b", at_b), ("", at_both)] {
            let (legacy, modern, said) = enter(&gate, server, header);
            // Each server speaks one era; that a client of the other is refused is not for who it is.
            let of = |status: u16| if matches!(status, 401 | 403) { status } else { 200 };
            assert_eq!((of(legacy), of(modern)), (expected, expected), "{header:?} at /{server}: {said}");
        }
    }
    let (.., said) = enter(&gate, "", ("x-key", "of each"));
    assert!(said.contains("different names") && said.contains("entrance of one of them"), "{said}");
}

#[test]
fn where_only_one_of_the_merged_servers_asks_who_it_is_nobody_enters_both() {
    let gate = two().with_filter(keys("of-b", &["b"], "X-Key", &[("ada", "of b")])).start();
    for (server, key, status) in
        [("a", "", 200), ("b", "", 401), ("", "", 401), ("b", "of b", 200), ("", "of b", 403)]
    {
        let (legacy, _, said) = enter(&gate, server, (if key.is_empty() { "x-none" } else { "x-key" }, key));
        assert_eq!(legacy, status, "/{server} with {key:?}: {said}");
    }
}
