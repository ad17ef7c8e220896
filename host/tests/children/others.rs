//! What one caller does to its own process, or is told by it, is nobody else's matter.

use serde_json::{Value, json};
use sha2::Digest;

use crate::support::{Client, Gate, Modern, Setup};

/// The server of `peer.py`, told how to be bad.
pub fn peer(how: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/children/peer.py");
    let args: Vec<&str> = ["-u", script].iter().chain(how).copied().collect();
    json!({ "command": "python3", "args": args })
}

/// A filter that knows these principals.
pub fn known(names: &[&str]) -> Value {
    let key = |name: &&str| {
        let hash: String = sha2::Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "name": name, "sha256": hash })
    };
    json!({ "plugin": "api-key-auth", "config": { "keys": names.iter().map(key).collect::<Vec<_>>() } })
}

/// A client of that name that has said nothing yet.
pub fn unopened(gate: &Gate, who: Option<&str>) -> Client {
    let headers = who.map(|who| ("authorization".to_owned(), format!("Bearer {who}")));
    Client::unopened(gate.address, "s", headers.into_iter().collect())
}

pub fn hello(name: &str) -> Value {
    json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": name, "version": "0" } })
}

fn roomy(how: &[&str]) -> Setup {
    let setup = Setup::new().with_server("s", peer(how));
    setup.with_limit("children_per_server", 100).with_limit("children", 100)
}

/// A member of capabilities that is no object: the server refuses it.
fn bad(name: &str) -> Value {
    let mut params = hello(name);
    params["capabilities"]["roots"] = json!(5);
    params
}

#[test]
fn an_answer_that_refuses_is_for_who_asked_and_for_nobody_else() {
    for isolation in ["session", "shared"] {
        let gate = roomy(&[]).server_keys("s", json!({ "isolation": isolation })).start();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let gate = &gate;
                scope.spawn(move || {
                    let answer = unopened(gate, None).initialize(bad("attacker"));
                    let told = answer.message.to_string();
                    // Where all share a connection, whoever comes when it is there already takes it as it is.
                    let fine = told.contains("text of attacker")
                        || (isolation == "shared" && answer.message.get("result").is_some());
                    assert!(fine, "the asker itself is told: {told}");
                });
                scope.spawn(move || {
                    let mut client = unopened(gate, None);
                    let answer = client.initialize(hello("honest"));
                    assert!(
                        answer.message.get("result").is_some(),
                        "{isolation} {number}: {}",
                        answer.message
                    );
                    client.call("pid", json!({})).result();
                });
            }
        });
        let answer = unopened(&gate, None).initialize(hello("late"));
        assert!(answer.message.get("result").is_some(), "{isolation}: {}", answer.message);
    }
}

#[test]
fn who_crashes_its_own_process_makes_no_other_principal_wait() {
    let gate = roomy(&[]).with_filter(known(&["ada", "bob"])).start();
    for _ in 0..5 {
        // After it came up …
        let mut ada = unopened(&gate, Some("ada"));
        if ada.initialize(hello("ada")).message.get("result").is_some() {
            ada.call("die", json!({}));
        }
        // … and before.
        unopened(&gate, Some("ada")).initialize(hello("crash"));
    }
    let refused = unopened(&gate, Some("ada")).initialize(hello("ada"));
    assert!(refused.error()["message"].as_str().unwrap().contains("tried again in"), "{}", refused.message);
    for _ in 0..10 {
        let mut bob = unopened(&gate, Some("bob"));
        let answer = bob.initialize(hello("bob"));
        assert!(answer.message.get("result").is_some(), "{}", answer.message);
        bob.call("pid", json!({})).result();
    }
}

#[test]
fn where_nobody_is_known_a_session_that_crashes_its_process_waits_alone() {
    let gate = roomy(&[]).start();
    for _ in 0..9 {
        let mut one = unopened(&gate, None);
        let answer = one.initialize(hello("one"));
        assert!(answer.message.get("result").is_some(), "{}", answer.message);
        one.call("die", json!({}));
    }
}

#[test]
fn probes_at_a_server_that_answers_anything_shut_nobody_out() {
    for how in ["anything", "internal", "session"] {
        let gate = roomy(&[how]).start();
        for _ in 0..5 {
            let discovered = Modern::new(gate.address, "s").request("server/discover", json!({}));
            assert!(
                discovered.message.get("result").is_some(),
                "{how}: it is bridged: {}",
                discovered.message
            );
        }
        let called =
            Modern::new(gate.address, "s").request("tools/call", json!({ "name": "pid", "arguments": {} }));
        called.text();
        for _ in 0..5 {
            let answer = unopened(&gate, None).initialize(hello("legacy"));
            assert!(answer.message.get("result").is_some(), "{how}: {}", answer.message);
        }
    }
}
