//! Members that a server may take for others, in the objects of the protocol and in arguments.

use serde_json::{Value, json};

use super::support::{Gate, Modern, Setup};
use super::{fence, hiding};

fn completions(gate: &Gate) -> Vec<Value> {
    let arrived = fence(gate).into_iter();
    arrived.filter(|message| message["method"] == "completion/complete").collect()
}

#[test]
fn a_hidden_prompt_is_not_completed_by_a_member_that_only_looks_like_its_name() {
    let gate = hiding().start();
    let mut client = gate.client("fx");
    let argument = r#""argument":{"name":"who","value":"A"}"#;
    for reference in [
        r#"{"type":"ref/prompt","name":"greet","Name":"secret_prompt"}"#,
        r#"{"type":"ref/prompt","NAME":"secret_prompt","name":"greet"}"#,
        r#"{"type":"ref/prompt","name":"greet","na\u200bme":"secret_prompt"}"#,
        r#"{"type":"ref/prompt","Type":"ref/resource","name":"greet","uri":"fixture://secret/{id}"}"#,
        r#"{"type":"ref/resource","uri":"fixture://open/{id}","URI":"fixture://secret/{id}"}"#,
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"completion/complete","params":{{"ref":{reference},{argument}}}}}"#
        );
        let answer = client.raw(body.as_bytes(), "application/json");
        assert_eq!(answer.error()["code"], -32600, "{reference}");
    }
    assert_eq!(completions(&gate), [json!(null); 0]);
    let reference = json!({ "type": "ref/prompt", "name": "greet" });
    let argument = json!({ "name": "who", "value": "A" });
    client.request("completion/complete", json!({ "ref": reference, "argument": argument })).result();
    assert_eq!(completions(&gate).len(), 1);
}

const ALIKE: [&str; 4] = [
    r#"{"path":"/ok","Path":"/etc/shadow"}"#,
    r#"{"path":"/ok","pa\u200bth":"/etc/shadow"}"#,
    r#"{"files":[{"path":"/ok"},{"path":"/ok","PATH":"/etc/shadow"}]}"#,
    r#"{"path":"/ok","path\u0000x":"/etc/shadow"}"#,
];

fn called(gate: &Gate) -> usize {
    fence(gate).iter().filter(|message| message["method"] == "tools/call").count()
}

fn body(tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

#[test]
fn arguments_that_a_filter_judges_have_no_members_alike() {
    let gate = Setup::fixture(&[])
        .server_keys("fx", json!({ "allow_similar_arguments": ["who*"] }))
        .with_filter(json!({ "plugin": "marker", "match": { "names": ["echo", "who*"] } }))
        .start();
    let mut client = gate.client("fx");
    for arguments in ALIKE {
        let answer = client.raw(body("echo", arguments).as_bytes(), "application/json");
        let said = answer.error()["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.error()["code"], -32602, "{arguments}");
        assert!(said.contains("allow_similar_arguments") && said.to_lowercase().contains("\"path"), "{said}");
    }
    assert_eq!(called(&gate), 0);
    // Where no filter judges the call, and where the tool means it, they pass.
    for tool in ["count", "whoami"] {
        client.raw(body(tool, ALIKE[0]).as_bytes(), "application/json").result();
    }
    assert_eq!(called(&gate), 2);
}

#[test]
fn the_same_holds_for_modern_clients_and_prompts() {
    let gate = Setup::fixture(&["--modern"]).with_filter(json!({ "plugin": "marker" })).start();
    let client = Modern::new(gate.address, "fx");
    assert_eq!(client.call("echo", json!({ "path": "/ok", "Path": "/etc/shadow" })).code(), -32602);
    let arguments = json!({ "who": "a", "WHO": "b" });
    let prompt = client.request("prompts/get", json!({ "name": "greet", "arguments": arguments }));
    assert_eq!(prompt.code(), -32602);
    let reference = json!({ "type": "ref/prompt", "name": "greet" });
    let params = json!({ "ref": reference, "argument": { "name": "who", "value": "A" },
        "context": { "arguments": { "who": "a", "Who": "b" } } });
    assert_eq!(client.request("completion/complete", params).code(), -32602);
    assert!(!gate.arrived_text("fx").contains("Who"));
    client.call("echo", json!({ "path": "/ok" })).result();
}
