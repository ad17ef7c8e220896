//! Which servers the bridge stands in front of, and how often they are asked for it.

use serde_json::{Value, json};

use super::support::{Client, Setup, client};

/// A modern server over stdio that does with `initialize` what `then` says; it counts its starts.
fn server(starts: &std::path::Path, then: &str) -> Value {
    let script = format!(
        r#"
import sys, json, time
open({starts:?}, "a").write("x")
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    def answer(**members):
        print(json.dumps({{"jsonrpc": "2.0", "id": id, **members}}), flush=True)
    if method == "initialize":
        {then}
    elif method == "server/discover":
        answer(result={{"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {{"tools": {{}}}}}})
    elif id is not None:
        answer(result={{"resultType": "complete", "content": [], "tools": []}})
"#
    );
    json!({ "command": "python3", "args": ["-u", "-c", script] })
}

#[test]
fn who_does_not_take_initialize_is_asked_for_the_other_era_once() {
    for (then, first) in [
        (r#"answer(error={"code": -32601, "message": "Method not found"})"#, 2),
        (r#"answer(error={"code": -32600, "message": "Invalid"})"#, 2),
        (r#"answer(error={"code": -32602, "message": "`_meta` is missing"})"#, 2),
        (r#"answer(error={"code": -32022, "message": "?", "data": {"supported": ["2026-07-28"]}})"#, 2),
        ("sys.exit(3)", 2),
        ("pass", 2),
    ] {
        let setup = Setup::new().with_limit("call_seconds", 2);
        let starts = setup.folder().join("starts");
        // One place: the child that refused has to leave it first.
        let setup = setup.with_server("fx", server(&starts, then)).with_limit("children_per_server", 2);
        let gate = setup.start();
        let count = || std::fs::read(&starts).unwrap().len();
        let mut one = gate.client("fx");
        assert_eq!(one.tools(), Vec::<String>::new(), "{then}");
        assert_eq!(count(), first, "{then}");
        one.close();
        let mut two = gate.client("fx");
        two.call("x", json!({})).result();
        assert_eq!(count(), first + 1, "{then}: not asked again, and not held back");
    }
}

#[test]
fn a_server_with_room_for_one_child_is_bridged_as_well() {
    let setup = Setup::new().with_limit("children_per_server", 1);
    let starts = setup.folder().join("starts");
    let refuses = r#"answer(error={"code": -32601, "message": "Method not found"})"#;
    let gate = setup.with_server("fx", server(&starts, refuses)).start();
    assert_eq!(gate.client("fx").tools(), Vec::<String>::new());
}

#[test]
fn a_server_that_speaks_neither_era_is_reported_for_its_first_answer_and_held_back() {
    let setup = Setup::new();
    let starts = setup.folder().join("starts");
    let script = format!("echo x >> {}; exit 3", starts.display());
    let gate = setup.with_server("fx", json!({ "command": "sh", "args": ["-c", script] })).start();
    let mut opened = Vec::new();
    loop {
        let mut client = Client::unopened(gate.address, "fx", Vec::new());
        let text = client.initialize(client::full()).error()["message"].as_str().unwrap().to_owned();
        assert!(text.contains("could not be started") && text.contains("exited with status 3"), "{text}");
        opened.push(text);
        if opened.last().unwrap().contains("is tried again in") {
            break;
        }
        assert!(opened.len() < 20, "{opened:?}");
    }
    let starts = std::fs::read_to_string(&starts).unwrap().lines().count();
    // Two for the first session, and one for every other until it is left alone.
    assert!(starts <= opened.len() + 1, "{starts} starts for {} sessions", opened.len());
}
