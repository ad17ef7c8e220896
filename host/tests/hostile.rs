//! Filters written by an enemy: each fails its own calls within its budget, and nobody else's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use serde_json::{Value, json};
use support::{Gate, Setup};

/// The fixture behind a filter that misbehaves in calls of `whoami`.
fn behind(how: &str, keys: Value) -> Setup {
    let mut filter = json!({ "plugin": "hostile", "config": { "how": how, "tool": "whoami" } });
    filter.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    Setup::fixture(&[]).server_keys("fx", json!({ "isolation": "shared" })).with_filter(filter)
}

/// What a client is told when a filter failed: by which one, and nothing of the host's inside.
fn failed(gate: &Gate) -> String {
    let answer = gate.client("fx").call("whoami", json!({}));
    let message = answer.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("hostile"), "names the filter: {message}");
    for internal in ["wasm", "trap", "0x", "epoch", "panicked", "fuel", ".rs"] {
        assert!(!message.contains(internal), "`{internal}` in what a client is told: {message}");
    }
    message
}

fn arrived_calls(gate: &Gate, tool: &str) -> usize {
    gate.arrived("fx").iter().filter(|message| message["params"]["name"] == tool).count()
}

#[test]
fn every_way_to_misbehave_fails_its_own_call_and_no_other() {
    // What the operator is told must name the limit, or the fault.
    for (how, word) in [
        ("loop", "cpu"),
        ("memory", "memory"),
        ("recurse", "trap"),
        ("trap", "trap"),
        ("output", "output"),
        ("host-calls", "host_calls"),
        ("fail", "on purpose"),
        ("bad-json", ""),
        ("bad-answer", ""),
        ("edit-then-trap", "trap"),
    ] {
        // So much time that it is the other limit that is met, also by an unoptimised host.
        let patient = json!({ "limits": { "cpu_ms": 5_000, "wall_ms": 10_000 } });
        let gate = behind(how, if how == "loop" { json!({}) } else { patient }).start();
        let mark = gate.mark();
        std::thread::scope(|scope| {
            for who in 0..8 {
                let gate = &gate;
                scope.spawn(move || drop(failed(gate)));
                scope.spawn(move || {
                    let mut client = gate.client("fx");
                    for at in 0..8 {
                        let answer = client.call("echo", json!({ "who": who, "at": at }));
                        assert_eq!(
                            answer.result()["structuredContent"],
                            json!({ "who": who, "at": at }),
                            "{how}"
                        );
                    }
                });
            }
        });
        assert_eq!(arrived_calls(&gate, "whoami"), 0, "{how}: a failed filter lets nothing pass");
        assert_eq!(arrived_calls(&gate, "echo"), 64, "{how}");
        let said = |line: &str| line.contains("hostile") && line.to_lowercase().contains(word);
        gate.said(mark, &format!("line about `{how}` with `{word}`"), said);
    }
}

#[test]
fn a_filter_that_may_fail_open_is_skipped_with_all_it_did() {
    for how in
        ["loop", "memory", "recurse", "trap", "output", "host-calls", "fail", "bad-answer", "edit-then-trap"]
    {
        let gate = behind(how, json!({ "on_failure": "open" })).start();
        assert_eq!(gate.client("fx").call("whoami", json!({ "a": 1 })).text(), "fx", "{how}");
        let arrived = gate.arrived("fx");
        let call = arrived.iter().find(|message| message["params"]["name"] == "whoami").unwrap();
        assert_eq!(call["params"]["arguments"], json!({ "a": 1 }), "{how}: an edit of a failed filter");
    }
}

#[test]
fn an_answer_of_the_wrong_length_shows_nothing_and_lets_nothing_pass() {
    for keys in [json!({}), json!({ "on_failure": "open" })] {
        let gate = behind("length", keys.clone()).start();
        let mut client = gate.client("fx");
        assert!(client.request("tools/list", json!({})).message.get("error").is_some(), "{keys}");
        failed(&gate);
        assert_eq!(arrived_calls(&gate, "whoami"), 0, "{keys}: access never fails open");
        assert!(!client.list("prompts/list", "prompts").is_empty(), "{keys}: other lists are as they were");
    }
}

#[test]
fn a_filter_that_logs_without_end_is_cut() {
    let gate = behind("log", json!({})).start();
    assert_eq!(gate.client("fx").call("whoami", json!({})).text(), "fx", "logging too much is no fault");
    let noise = gate.stderr().lines().filter(|line| line.contains("noise noise")).count();
    assert!(noise < 200, "{noise} of 1,000 lines of 600 bytes passed a limit of 64 KiB");
}

#[test]
fn limits_are_the_operators_to_set() {
    let gate = behind("host-calls", json!({ "limits": { "host_calls": 10 } })).start();
    failed(&gate);
    let gate = behind("output", json!({ "limits": { "output_bytes": 1000 } })).start();
    failed(&gate);
}

#[test]
fn after_enough_faults_a_filter_is_not_asked_any_more() {
    let keys = json!({ "limits": { "breaker_faults": 3, "breaker_seconds": 600 } });
    let gate = behind("trap", keys).start();
    let mark = gate.mark();
    for _ in 0..5 {
        failed(&gate);
    }
    gate.said(mark, "line about the breaker", |line| line.contains("hostile") && line.contains("breaker"));
    assert_eq!(arrived_calls(&gate, "whoami"), 0, "an open breaker of a closed filter lets nothing pass");
}

#[test]
fn results_that_are_too_large_for_a_filter_do_not_trip_its_breaker() {
    // Time enough for a build that is not optimised to see the size.
    let redact = json!({ "plugin": "redact", "config": { "patterns": [{ "regex": "secret" }] },
        "limits": { "cpu_ms": 2_000 } });
    let gate = Setup::fixture(&[]).with_filter(redact).start();
    let (mut client, mut other) = (gate.client("fx"), gate.client("fx"));
    let mark = gate.mark();
    for _ in 0..25 {
        assert_eq!(client.call("big", json!({ "bytes": 2 << 20 })).error()["code"], -32603);
    }
    gate.said(mark, "line with the limit", |line| {
        line.contains("too-large") && line.contains("limits.pull_bytes")
    });
    assert_eq!(
        other.call("echo", json!({ "text": "a secret" })).result()["structuredContent"]["text"],
        "a [redacted]"
    );
}

/// A result of 180 KB whose every string stands under a name of 100 KB: writing down where they stand takes
/// gigabytes.
#[test]
fn a_long_name_above_many_strings_costs_no_more_than_its_bytes() {
    let redact = json!({ "plugin": "redact", "config": { "patterns": [{ "regex": "secret" }] } });
    let mut gate = Setup::fixture(&[]).with_filter(redact).start();
    let mut client = gate.client("fx");
    client.call("echo", json!({ "text": "once" })).result();
    let pid = gate.process().pid();
    let before = support::processes::forget_peak(pid);
    let mut arguments = serde_json::Map::new();
    arguments.insert("n".repeat(100_000), json!(vec!["a"; 20_000]));
    let answer = client.call("echo", arguments.into());
    assert!(answer.message.get("error").is_some() || answer.message.get("result").is_some());
    let took = support::processes::peak_memory(pid) - before;
    assert!(took < 64 << 20, "{took} bytes");
}
