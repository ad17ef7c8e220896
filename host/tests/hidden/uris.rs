//! A resource is hidden under every spelling of its URI that some server takes for the same.

use serde_json::{Value, json};

use super::support::{Gate, Modern, Setup};
use super::{error_about, fence};

fn rules(config: Value) -> Value {
    let mut config = config;
    config["kinds"] = json!(["resource", "resource-template"]);
    json!({ "plugin": "tool-filter", "config": config })
}

/// What arrived at the server about a resource.
fn asked_for(gate: &Gate) -> Vec<String> {
    let about = ["resources/read", "resources/subscribe", "completion/complete"];
    let arrived =
        fence(gate).into_iter().filter(|m| about.contains(&m["method"].as_str().unwrap_or_default()));
    arrived.map(|message| message.to_string()).collect()
}

const SECRETS: [&str; 30] = [
    "FILE:///secret/key",
    " file:///secret/key",
    "file:///secret/key\u{1f}",
    "fi\tle:///sec\nret/key",
    "file:///open/../secret/key",
    "file:///open/%2e%2e/secret/key",
    "file:///open/..%2Fsecret/key",
    "file:///open/..%5csecret/key",
    "file:///open/..;x/secret/key",
    "file:\\\\\\secret\\key",
    "file:/secret/key",
    "file:////secret/key",
    "file:///secret//key",
    "file://localhost/secret/key",
    "file://elsewhere/secret/key",
    "file:///%73ecret/key",
    "file:///secret%2Fkey",
    "file:///secret/key#",
    "file:///secret/key?x",
    "file:///open/a%00",
    "https://INTERNAL.example/a",
    "https://INTERNAL.example:443/a",
    "https://internal.example./a",
    "https://me@internal.example/a",
    "http://0x7f000001/a",
    "FIXTURE://secret/1",
    "fixture://SECRET/1",
    "fixture://%73ecret/1",
    "fixture://open/../secret/1",
    "fixture://open/x/%2E%2e/%2e%2e/secret/1",
];

#[test]
fn no_spelling_of_a_hidden_resource_reaches_a_server() {
    let deny = ["file:///secret/*", "https://internal.example/*", "http://127.0.0.1/*", "fixture://secret/*"];
    for config in [json!({ "deny": deny }), json!({ "allow": ["file:///open/*", "fixture://open/*"] })] {
        let gate = Setup::fixture(&[]).with_filter(rules(config.clone())).start();
        let mut client = gate.client("fx");
        let unknown = client.request("resources/subscribe", json!({ "uri": "fixture://nothing/1" }));
        for uri in SECRETS {
            if config["allow"].is_null() && uri.starts_with("file:///open/a") {
                continue;
            }
            for method in ["resources/read", "resources/subscribe"] {
                let answer = client.request(method, json!({ "uri": uri }));
                let shown = serde_json::to_string(uri).unwrap().trim_matches('"').to_owned();
                assert_eq!(
                    error_about(&answer, &shown),
                    error_about(&unknown, "fixture://nothing/1"),
                    "{method} {uri:?}"
                );
            }
            let reference = json!({ "type": "ref/resource", "uri": uri });
            let params = json!({ "ref": reference, "argument": { "name": "id", "value": "" } });
            assert_eq!(client.request("completion/complete", params).error()["code"], -32002, "{uri:?}");
        }
        assert_eq!(asked_for(&gate), [""; 0]);
        // What is neither hidden nor spelled oddly goes on.
        client.request("resources/read", json!({ "uri": "fixture://open/77" })).result();
        client.request("resources/subscribe", json!({ "uri": "fixture://open/77" })).result();
        assert_eq!(asked_for(&gate).len(), 2);
    }
}

#[test]
fn a_listed_resource_is_found_and_judged_by_its_normal_form() {
    let listed = [
        "fixture://open/my notes",
        "FIXTURE://open/2",
        "FIXTURE://secret/1",
        "fixture://open/a%28b%29",
        "docs://README",
    ];
    let resources: Vec<Value> = listed.iter().map(|uri| json!({ "uri": uri, "name": "n" })).collect();
    let list = format!("resources/list={}", json!({ "resources": resources }));
    let templates = json!({ "resourceTemplates": [
        { "uriTemplate": "FIXTURE://secret/{id}", "name": "hidden" },
        { "uriTemplate": "fixture://open/{+id}", "name": "open" },
    ] });
    let templates = format!("resources/templates/list={templates}");
    let gate = Setup::fixture(&["--answer", &list, "--answer", &templates])
        .with_filter(rules(json!({ "deny": ["fixture://secret/*", "fixture://open/a%28b%29"] })))
        .start();
    let mut client = gate.client("fx");
    let shown: Vec<_> = client.list("resources/list", "resources").iter().map(|r| r["uri"].clone()).collect();
    assert_eq!(shown, ["fixture://open/my notes", "FIXTURE://open/2", "docs://README"]);
    let templates = client.list("resources/templates/list", "resourceTemplates");
    assert_eq!(templates.iter().map(|t| &t["uriTemplate"]).collect::<Vec<_>>(), ["fixture://open/{+id}"]);

    for uri in ["fixture://open/my notes", "fixture://open/my%20notes", "Fixture://open/x/../my%20notes"] {
        let read = client.request("resources/read", json!({ "uri": uri }));
        assert_eq!(read.result()["contents"][0]["uri"], "fixture://open/my notes", "{uri}");
    }
    client.request("resources/subscribe", json!({ "uri": "fixture://open/my%20notes" })).result();
    // Hidden under one spelling is hidden under the other that a server may take for it.
    for uri in ["fixture://open/a(b)", "fixture://open/A%28b%29", "FIXTURE://secret/1"] {
        let read = client.request("resources/read", json!({ "uri": uri }));
        assert_eq!(read.error()["code"], -32002, "{uri}");
    }
    let asked = asked_for(&gate);
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked.iter().all(|message| message.contains("fixture://open/my notes")), "{asked:?}");
}

#[test]
fn who_listens_to_a_spelling_of_a_hidden_resource_hears_nothing_of_it() {
    let gate = Setup::fixture(&["--modern"])
        .with_filter(rules(json!({ "deny": ["fixture://secret/*", "file:///secret/*"] })))
        .start();
    let client = Modern::new(gate.address, "fx");
    let mut uris: Vec<&str> =
        SECRETS.into_iter().filter(|uri| uri.contains("fixture:") || uri.contains("file:")).collect();
    uris.retain(|uri| *uri != "file:///open/a%00");
    uris.push("fixture://open/1");
    let wanted = json!({ "notifications": { "resourceSubscriptions": uris } });
    let mut stream = client.open("subscriptions/listen", wanted);
    let acknowledged: Value = loop {
        let event = stream.event().unwrap().unwrap();
        if event.contains("acknowledged") {
            break serde_json::from_str(&event).unwrap();
        }
    };
    assert_eq!(acknowledged["params"]["notifications"]["resourceSubscriptions"], json!(["fixture://open/1"]));
    let arrived = gate.arrived_text("fx");
    assert!(!arrived.contains("ecret/") && !arrived.contains("key"), "{arrived}");
    client.request("resources/read", json!({ "uri": "FIXTURE://secret/1" })).error();
    let arrived = gate.arrived_text("fx");
    assert!(!arrived.contains("FIXTURE"), "{arrived}");
}
