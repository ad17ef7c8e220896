//! Clients that share one connection to a server: each has its own subscriptions and log level.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use serde_json::{Value, json};
use support::{Gate, Setup};

fn gate() -> Gate {
    Setup::fixture(&[]).server_keys("fx", json!({ "isolation": "shared" })).start()
}

fn called(gate: &Gate, method: &str) -> Vec<Value> {
    gate.arrived("fx").into_iter().filter(|message| message["method"] == method).collect()
}

#[test]
fn a_subscription_lasts_as_long_as_anybody_wants_it() {
    let gate = gate();
    let (mut one, mut other, mut third) = (gate.client("fx"), gate.client("fx"), gate.client("fx"));
    let (mut hears_one, mut hears_other, mut hears_third) = (one.listen(), other.listen(), third.listen());
    let uri = json!({ "uri": "fixture://open/1" });
    one.request("resources/subscribe", uri.clone()).result();
    other.request("resources/subscribe", uri.clone()).result();
    one.request("resources/unsubscribe", uri.clone()).result();
    assert!(called(&gate, "resources/unsubscribe").is_empty(), "the other still wants it");

    assert_eq!(third.call("update_resource", uri.clone()).text(), "told");
    assert_eq!(hears_other.expect("notifications/resources/updated")["params"], uri);
    // The next that these two hear is what all hear: they did not hear of the resource.
    third.call("add_tool", json!({ "name": "added" })).result();
    for hears in [&mut hears_one, &mut hears_third] {
        assert_eq!(hears.next().unwrap()["method"], "notifications/tools/list_changed");
    }
    // The last one to want it leaves without a word.
    other.close();
    support::processes::until("the server is told that nobody wants it", support::PATIENCE, || {
        !called(&gate, "resources/unsubscribe").is_empty()
    });
    assert_eq!(third.call("update_resource", uri).text(), "nobody subscribed");
}

#[test]
fn the_server_logs_for_all_and_each_gets_what_it_asked_for() {
    let gate = gate();
    let (mut one, mut other) = (gate.client("fx"), gate.client("fx"));
    other.request("logging/setLevel", json!({ "level": "info" })).result();
    one.request("logging/setLevel", json!({ "level": "error" })).result();
    let told: Vec<_> =
        called(&gate, "logging/setLevel").iter().map(|message| message["params"]["level"].clone()).collect();
    assert_eq!(told, ["info", "info"], "the lowest that anybody wants");
    let logged = |answer: support::Answer| answer.before.len();
    assert_eq!(logged(one.call("log", json!({ "level": "info", "n": 2 }))), 0);
    assert_eq!(logged(one.call("log", json!({ "level": "critical", "n": 2 }))), 2);
    assert_eq!(logged(other.call("log", json!({ "level": "info", "n": 2 }))), 2);
}
