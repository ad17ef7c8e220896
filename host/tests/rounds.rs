//! The rounds of a modern call past filters: what is sealed, who may answer, and once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "rounds/generations.rs"]
mod generations;
#[path = "support/support.rs"]
mod support;

use serde_json::{Value, json};
use sha2::Digest;
use support::{Gate, Modern, Setup};

fn hash(key: &str) -> String {
    hex::encode(sha2::Sha256::digest(key))
}

fn accept(name: &str) -> impl Fn(&str, &Value) -> Value {
    let content = json!({ "action": "accept", "content": { "name": name } });
    move |_, _| content.clone()
}

/// How many calls of a tool reached the server.
fn calls(gate: &Gate, tool: &str) -> usize {
    gate.arrived("fx").iter().filter(|message| message["params"]["name"] == tool).count()
}

#[test]
fn a_modern_servers_state_is_sealed_and_comes_back_to_it_whether_or_not_a_filter_looks() {
    let gate = Setup::fixture(&["--modern"]).start();
    let client = Modern::new(gate.address, "fx");
    let arguments = json!({ "text": "who" });
    let asked = client.call("ask_elicitation", arguments.clone());
    assert_ne!(asked.result()["requestState"], "asked \u{e9} / once");
    let answer = client.again("ask_elicitation", arguments.clone(), &asked, accept("Ada"));
    assert!(answer.text().contains("Ada"), "{answer:?}");
    let last = gate.arrived("fx").pop().unwrap();
    assert_eq!(last["params"]["requestState"], "asked \u{e9} / once", "the server has its own again");
    assert_eq!(client.again("ask_elicitation", arguments, &asked, accept("Ada")).code(), -32602, "used");
    assert_eq!(calls(&gate, "ask_elicitation"), 2);
}

/// A replica that shares the key, or the same process after a restart: neither knows what was used.
#[test]
fn a_state_of_another_process_executes_nothing() {
    let state = tempfile::tempdir().unwrap();
    for flags in [&["--modern"][..], &[]] {
        let mut args = vec!["--name", "fx"];
        args.extend(flags);
        let server = json!({ "command": support::paths::server("fixture-server"), "args": args });
        let start = || {
            let setup = Setup::new().with_server("fx", server.clone());
            setup.with_top("state_dir", json!(state.path())).start()
        };
        let arguments = json!({ "text": "who" });
        let first = start();
        let asked = Modern::new(first.address, "fx").call("ask_elicitation", arguments.clone());
        drop(first);
        let again = start();
        let client = Modern::new(again.address, "fx");
        let late = client.again("ask_elicitation", arguments, &asked, accept("Ada"));
        assert_eq!(late.code(), -32602, "{late:?}");
    }
}

#[test]
fn a_filter_sees_questions_and_answers_of_a_modern_server() {
    let gate = Setup::fixture(&["--modern"]).with_filter(json!({ "plugin": "usher" })).start();
    let client = Modern::new(gate.address, "fx");
    let arguments = json!({ "text": "who" });
    let asked = client.call("ask_elicitation", arguments.clone());
    assert_eq!(asked.result()["inputRequests"]["q"]["params"]["message"], "edited", "{asked:?}");
    assert_ne!(asked.result()["requestState"], "asked \u{e9} / once", "it is sealed");
    let answer = client.again("ask_elicitation", arguments, &asked, accept("Ada"));
    assert!(answer.text().contains(r#""name":"edited""#), "{answer:?}");
}

#[test]
fn a_filter_answers_in_the_clients_place_and_the_client_is_not_asked() {
    let gate = Setup::fixture(&["--modern"]).with_filter(json!({ "plugin": "usher" })).start();
    let client = Modern::new(gate.address, "fx");
    let answer = client.call("ask_elicitation", json!({ "text": "answer" }));
    assert!(answer.text().contains(r#""name":"usher""#), "{answer:?}");
    assert_eq!(calls(&gate, "ask_elicitation"), 2, "the server got its answer in a round of its own");
    let refused = client.call("ask_elicitation", json!({ "text": "refuse" }));
    assert!(refused.text().contains("decline"), "{refused:?}");
}

#[test]
fn a_request_state_that_is_altered_used_foreign_or_of_other_arguments_executes_nothing() {
    // Of a modern server, which gets the call again, and of a legacy one, whose call waits.
    // Whether or not a filter looks at more than who calls.
    for usher in [true, false] {
        only_its_own_executes(&["--modern"], 1, usher);
        only_its_own_executes(&[], 0, usher);
    }
}

fn only_its_own_executes(flags: &[&str], calls_of_a_round: usize, usher: bool) {
    let keys = json!({ "keys": [
        { "name": "ada", "sha256": hash("ada's") }, { "name": "bob", "sha256": hash("bob's") } ] });
    let setup = Setup::fixture(flags).with_filter(json!({ "plugin": "api-key-auth", "config": keys }));
    let gate = if usher { setup.with_filter(json!({ "plugin": "usher" })) } else { setup }.start();
    let client =
        |key: &str| Modern::new(gate.address, "fx").with_header("authorization", &format!("Bearer {key}"));
    let (ada, bob) = (client("ada's"), client("bob's"));
    let arguments = json!({ "text": "who" });
    let asked = ada.call("ask_elicitation", arguments.clone());
    let state = asked.result()["requestState"].as_str().unwrap().to_owned();
    let key = asked.result()["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    let before = calls(&gate, "ask_elicitation");
    let again = |client: &Modern, state: Value, arguments: Value| {
        client.request(
            "tools/call",
            json!({ "name": "ask_elicitation", "arguments": arguments,
            "requestState": state, "inputResponses": { key.as_str(): { "action": "accept", "content": {} } } }),
        )
    };
    for at in (0..state.len()).step_by(7) {
        let mut altered = state.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(again(&ada, json!(altered), arguments.clone()).code(), -32602, "at {at}");
    }
    for (what, state) in [
        ("cut", json!(&state[..state.len() - 1])),
        ("the server's own", json!("asked \u{e9} / once")),
        ("empty", json!("")),
        ("no text", json!(1)),
    ] {
        assert_eq!(again(&ada, state, arguments.clone()).code(), -32602, "{what}");
    }
    assert_eq!(again(&bob, json!(state), arguments.clone()).code(), -32602, "foreign");
    assert_eq!(again(&ada, json!(state), json!({ "text": "other" })).code(), -32602);
    assert_eq!(calls(&gate, "ask_elicitation"), before, "nothing of it reached the server");
    assert!(again(&ada, json!(state), arguments.clone()).text().contains("accept"));
    assert_eq!(again(&ada, json!(state), arguments).code(), -32602, "used");
    assert_eq!(calls(&gate, "ask_elicitation"), before + calls_of_a_round);
}

#[test]
fn answers_to_what_nobody_asked_are_left_out() {
    let gate = Setup::fixture(&["--modern"]).with_filter(json!({ "plugin": "usher" })).start();
    let client = Modern::new(gate.address, "fx");
    let params = json!({ "name": "ask_elicitation", "arguments": { "text": "who" },
        "inputResponses": { "q": { "action": "accept", "content": { "name": "smuggled" } } } });
    let answer = client.request("tools/call", params);
    assert_eq!(answer.result()["resultType"], "input_required", "{answer:?}");
    assert!(!gate.arrived_text("fx").contains("smuggled"), "it reached the server");
}

#[test]
fn an_expired_request_state_executes_nothing() {
    expires(&["--modern"]);
    expires(&[]);
}

fn expires(flags: &[&str]) {
    let gate = Setup::fixture(flags)
        .with_limit("parked_seconds", 1)
        .with_filter(json!({ "plugin": "usher" }))
        .start();
    let client = Modern::new(gate.address, "fx");
    let arguments = json!({ "text": "who" });
    let asked = client.call("ask_elicitation", arguments.clone());
    let began = std::time::Instant::now();
    while began.elapsed().as_millis() < 1_100 {
        client.request("server/discover", json!({}));
    }
    let late = client.again("ask_elicitation", arguments, &asked, accept("Ada"));
    assert_eq!(late.code(), -32602, "{late:?}");
    assert_eq!(calls(&gate, "ask_elicitation"), 1);
}

/// Two users at a time, each with a principal of its own, and a thousand questions.
#[test]
fn two_users_who_are_asked_at_once_never_get_each_others_answers() {
    let keys = json!({ "keys": [{ "name": "ada", "sha256": hash("ada's") }, { "name": "bob", "sha256": hash("bob's") }] });
    for isolation in ["session", "shared"] {
        let gate = Setup::fixture(&[])
            .server_keys("fx", json!({ "isolation": isolation }))
            .with_filter(json!({ "plugin": "api-key-auth", "config": keys }))
            .start();
        std::thread::scope(|scope| {
            for user in ["ada", "bob"] {
                let client =
                    Modern::new(gate.address, "fx").with_header("authorization", &format!("Bearer {user}'s"));
                scope.spawn(move || {
                    for round in 0..250 {
                        let canary = format!("{user}-{round}");
                        let arguments = json!({ "text": canary });
                        let asked = client.call("ask_elicitation", arguments.clone());
                        let told = asked.message.to_string();
                        assert!(told.contains(&canary), "not {user}'s own question: {told}");
                        let answer = client.again("ask_elicitation", arguments, &asked, accept(&canary));
                        assert!(answer.text().contains(&canary), "not {user}'s own answer: {answer:?}");
                    }
                });
            }
        });
    }
}

/// One that looks at some questions must not eat the answers to others.
#[test]
fn an_input_filter_for_other_questions_lets_answers_pass() {
    for flags in [&["--modern"][..], &[]] {
        let filter = json!({ "plugin": "usher", "match": { "methods": ["sampling/createMessage"] } });
        let gate = Setup::fixture(flags).with_filter(filter).start();
        let client = Modern::new(gate.address, "fx");
        let arguments = json!({ "text": "who" });
        let asked = client.call("ask_elicitation", arguments.clone());
        let answer = client.again("ask_elicitation", arguments, &asked, accept("Ada"));
        assert!(answer.text().contains("Ada"), "{answer:?}");
    }
}

/// The arguments are compared as they are written, whatever a float makes of them: of the first
/// pair it can hold neither, of the second it makes one and the same.
#[test]
fn a_yes_to_one_call_is_none_to_another_with_numbers_that_no_float_holds() {
    let config = json!({ "tools": ["*"], "destructive": false });
    let gate = Setup::fixture(&[]).with_filter(json!({ "plugin": "approve", "config": config })).start();
    let client = |number: &str| Modern::new(gate.address, "fx").spelling("\"@\"", number);
    let arguments = json!({ "n": "@" });
    let yes = |_: &str, _: &Value| json!({ "action": "accept" });
    for (number, near) in [("1e999", "1e998"), ("0.1", "0.10000000000000000001")] {
        let asked = client(number).call("echo", arguments.clone());
        for (what, number, tool) in [("another tool", number, "tool_error"), ("another number", near, "echo")]
        {
            let other = client(number).again(tool, arguments.clone(), &asked, yes);
            assert_eq!(other.code(), -32602, "{what}: {other:?}");
        }
        // The fixture, as most servers, cannot read the first number at all.
        if number == "0.1" {
            let same = client(number).again("echo", arguments.clone(), &asked, yes);
            assert!(same.message.get("result").is_some(), "{same:?}");
        }
    }
}
