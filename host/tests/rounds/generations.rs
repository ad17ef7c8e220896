//! The rounds of one call and filters that are replaced between them.

use std::time::Instant;

use serde_json::json;

use super::accept;
use super::support::{Gate, Modern, PATIENCE, Setup, gate::put, versions::marker};

/// Puts that version into service.
fn swap(gate: &Gate, client: &Modern, version: u32) {
    let (wasm, text) = marker(version);
    gate.put_plugin("marker", &wasm);
    let end = Instant::now() + PATIENCE;
    while client.call("echo", json!({})).result()["structuredContent"]["up"] != text.as_str() {
        assert!(Instant::now() < end, "{text} never answered");
    }
}

fn start(flags: &[&str]) -> Gate {
    // It cannot stamp results without structured content, which are not looked at here.
    let setup = Setup::fixture(flags).with_bare_filter(json!({ "plugin": "marker", "on_failure": "open" }));
    put(&marker(1).0, &setup.plugins().join("marker.wasm"));
    setup.start()
}

#[test]
fn the_rounds_of_a_call_keep_the_filters_that_it_began_with() {
    for flags in [&["--modern"][..], &[]] {
        let gate = start(flags);
        let client = Modern::new(gate.address, "fx");
        let arguments = json!({ "text": "who" });
        let asked = client.call("ask_elicitation", arguments.clone());
        swap(&gate, &client, 2);
        let answer = client.again("ask_elicitation", arguments, &asked, accept("Ada"));
        assert!(answer.text().contains("Ada"), "{answer:?}");
        let one = marker(1).1;
        for call in gate.arrived("fx").iter().filter(|call| call["params"]["name"] == "ask_elicitation") {
            assert_eq!(call["params"]["arguments"]["up"], one, "{flags:?}");
        }
        let log = gate.stderr();
        let rounds: Vec<&str> = log.lines().filter(|line| line.contains("name=ask_elicitation")).collect();
        assert_eq!(rounds.len(), 2, "{log}");
        assert!(rounds.iter().all(|line| line.contains("generation=1")), "{rounds:?}");
    }
}

#[test]
fn a_call_whose_filters_are_gone_is_refused_and_says_why() {
    for flags in [&["--modern"][..], &[]] {
        let gate = start(flags);
        let client = Modern::new(gate.address, "fx");
        let arguments = json!({ "text": "who" });
        let asked = client.call("ask_elicitation", arguments.clone());
        // Four generations live.
        (2..6).for_each(|version| swap(&gate, &client, version));
        let before = super::calls(&gate, "ask_elicitation");
        let late = client.again("ask_elicitation", arguments, &asked, accept("Ada"));
        assert_eq!(late.code(), -32602, "{late:?}");
        assert!(late.message.to_string().contains("the filters were replaced"), "{late:?}");
        assert_eq!(super::calls(&gate, "ask_elicitation"), before);
    }
}
