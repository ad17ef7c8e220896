//! Not tests but measurements on the built binary, for `docs/performance.md`: `cargo xtask bench` runs them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a measurement")]

#[path = "support/support.rs"]
mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::gate::put;
use support::versions::marker;
use support::{Client, PATIENCE, Setup};

/// From the rename of a file to the first answer of the new version.
#[test]
#[ignore = "a measurement; run by cargo xtask bench"]
fn rename_to_new_behaviour() {
    const TIMES: u32 = 20;
    let gate = Setup::fixture(&[]).auto_attach(true).start();
    let mut client = gate.client("fx");
    let mut took = Vec::new();
    for version in 1..=TIMES {
        let (wasm, version) = marker(version);
        let start = Instant::now();
        put(&wasm, &gate.plugins().join("marker.wasm"));
        while stamp(&mut client) != json!(version) {
            assert!(start.elapsed() < PATIENCE, "never");
        }
        took.push(start.elapsed());
    }
    let (median, slowest) = summary(took);
    println!(
        "rename to new behaviour, {TIMES} versions never seen before: median {median:?}, slowest {slowest:?}"
    );
}

/// The same list of 1,000 tools from two servers, one of them behind an `access` filter, in turn.
#[test]
#[ignore = "a measurement; run by cargo xtask bench"]
fn a_thousand_tools_through_one_access_filter() {
    const TIMES: u32 = 300;
    let flags = ["--tools", "1000"];
    let filter = json!({
        "plugin": "tool-filter", "match": { "servers": ["judged"] }, "config": { "deny": ["no_such_*"] },
    });
    let gate =
        Setup::new().with_fixture("plain", &flags).with_fixture("judged", &flags).with_filter(filter).start();
    let (mut plain, mut judged) = (gate.client("plain"), gate.client("judged"));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        for (client, took) in [(&mut plain, &mut without), (&mut judged, &mut with)] {
            let start = Instant::now();
            let answer = client.request("tools/list", json!({}));
            took.push(start.elapsed());
            assert!(answer.result()["tools"].as_array().unwrap().len() >= 1_000);
        }
    }
    let (without, _) = summary(without);
    let (with, _) = summary(with);
    println!(
        "tools/list of 1,000 tools, {TIMES} each in turn: median {without:?} without a filter, {with:?} through one"
    );
}

fn stamp(client: &mut Client) -> Value {
    let answer = client.call("echo", json!({}));
    answer.result()["structuredContent"].get("down").cloned().unwrap_or_default()
}

/// Median and maximum.
fn summary(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}
