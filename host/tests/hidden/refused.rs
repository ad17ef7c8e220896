//! The log says who refused a call and by which rule; the client is told no more than before.

use serde_json::json;

use super::{FORBIDDEN, tool_filter};
use crate::support::{Gate, Setup};

/// The line that the log has of a call.
fn line_of(gate: &Gate, name: &str) -> String {
    gate.said(0, "the call's line", |line| {
        line.contains("method=") && line.contains(&format!("name={name} "))
    })
}

#[test]
fn a_denied_tool_and_an_unknown_one_differ_in_the_log_only() {
    let gate = Setup::fixture(&[]).with_filter(tool_filter()).start();
    let mut client = gate.client("fx");
    let denied = client.call(FORBIDDEN, json!({})).error().to_string();
    let unknown = client.call("no_such_tool", json!({})).error().to_string();
    client.call("echo", json!({})).result();
    assert_eq!(denied.replace(FORBIDDEN, "x"), unknown.replace("no_such_tool", "x"));
    let denied = line_of(&gate, FORBIDDEN);
    for part in ["refused_by=\"tool-filter\"", "hook=\"access\"", "rule=\"deny: delete_*\"", "call="] {
        assert!(denied.contains(part), "{part}: {denied}");
    }
    let unknown = line_of(&gate, "no_such_tool");
    for part in ["refused_by=\"lockgate\"", "rule=\"the server lists no tool of this name\""] {
        assert!(unknown.contains(part), "{part}: {unknown}");
    }
    let answered = line_of(&gate, "echo");
    assert!(!answered.contains("refused_by"), "{answered}");
}

#[test]
fn a_name_that_is_not_allowed_and_a_rule_for_some_are_told_apart() {
    let config = json!({ "allow": ["echo"], "rules": [{ "deny": ["whoami"] }] });
    let gate = Setup::fixture(&[]).with_filter(json!({ "plugin": "tool-filter", "config": config })).start();
    let mut client = gate.client("fx");
    client.call("whoami", json!({})).error();
    client.call(FORBIDDEN, json!({})).error();
    let by_rule = line_of(&gate, "whoami");
    assert!(by_rule.contains("rule=\"rules[0].deny: whoami\""), "{by_rule}");
    let by_list = line_of(&gate, FORBIDDEN);
    assert!(by_list.contains("rule=\"not in allow\""), "{by_list}");
}

#[test]
fn lines_of_a_filter_carry_the_id_of_the_call() {
    let gate = Setup::fixture(&[]).with_filter(tool_filter()).with_env("LOCKGATE_LOG", "debug").start();
    gate.client("fx").call(FORBIDDEN, json!({})).error();
    let call = line_of(&gate, FORBIDDEN);
    let id = call.split(" call=").nth(1).unwrap().split(' ').next().unwrap();
    gate.said(0, "the filter's line with the call's id", |line| {
        line.contains("filter=\"tool-filter\"")
            && line.contains(&format!("call={id} "))
            && line.contains("rule=")
    });
}
