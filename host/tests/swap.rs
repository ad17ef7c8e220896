//! Filters are replaced while traffic flows: no failed call, no call that saw two versions.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "swap/lost.rs"]
mod lost;
#[path = "support/support.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use support::gate::put;
use support::versions::marker;
use support::{Answer, Client, Gate, PATIENCE, Setup, paths};

const CLIENTS: usize = 64;

/// How often the big test swaps: 50 times, and a thousand in `cargo xtask soak`. `LOCKGATE_SWAPS` says otherwise.
fn swaps() -> u32 {
    std::env::var("LOCKGATE_SWAPS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(if support::processes::soak() { 1_000 } else { 50 })
}

fn shared() -> Setup {
    Setup::fixture(&[]).server_keys("fx", json!({ "isolation": "shared" }))
}

/// The one version that a call saw; fails the test if it failed or saw two.
fn seen(answer: &Answer) -> String {
    let content = &answer.result()["structuredContent"];
    let (up, down) = (&content["up"], &content["down"]);
    assert_eq!(up, down, "a call saw two versions");
    up.as_str().unwrap_or_else(|| panic!("no version: {}", answer.message)).to_owned()
}

/// Calls until the wanted version answers.
fn until_seen(client: &mut Client, version: &str) {
    let end = Instant::now() + PATIENCE;
    while seen(&client.call("echo", json!({}))) != version {
        assert!(Instant::now() < end, "{version} never answered");
    }
}

/// A line about the plugin `marker` that tells of a refused file.
fn refused(line: &str) -> bool {
    line.contains("marker.wasm")
        && ["refused", "keeps", "still serves"].iter().any(|word| line.contains(word))
}

#[test]
fn swaps_under_load_fail_no_call_and_mix_no_versions() {
    let (one, other) = (marker(1), marker(2));
    let setup = shared().with_bare_filter(json!({ "plugin": "marker" }));
    put(&one.0, &setup.plugins().join("marker.wasm"));
    let gate = setup.start();
    let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for who in 0..CLIENTS {
            let (gate, over, calls, versions) = (&gate, &over, &calls, [&one.1, &other.1]);
            scope.spawn(move || {
                let guard = StopAll(over);
                let mut client = gate.client("fx");
                let mut at = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    let answer = client.call("echo", json!({ "who": who, "at": at }));
                    assert!(versions.contains(&&seen(&answer)));
                    assert_eq!(answer.result()["structuredContent"]["who"], who);
                    assert_eq!(answer.result()["structuredContent"]["at"], at);
                    at += 1;
                }
                calls.fetch_add(at, Ordering::Relaxed);
                drop(guard);
            });
        }
        let guard = StopAll(&over);
        let mut client = gate.client("fx");
        for swap in 0..swaps() {
            let (wasm, version) = if swap % 2 == 0 { &other } else { &one };
            if swap % 250 == 100 {
                let before = seen(&client.call("echo", json!({})));
                let mark = gate.mark();
                gate.put_plugin("marker", &wasm[..wasm.len() / 2]);
                gate.said(mark, "line about the corrupt version", refused);
                assert_eq!(
                    seen(&client.call("echo", json!({}))),
                    before,
                    "a corrupt version changed something"
                );
            }
            gate.put_plugin("marker", wasm);
            until_seen(&mut client, version);
            assert!(!over.load(Ordering::Relaxed), "a client failed; see above");
        }
        drop(guard);
    });
    assert!(calls.load(Ordering::Relaxed) > u64::from(swaps()), "there was load: {calls:?} calls");
}

/// Ends the loops of all clients when one ends early by a failed assertion, or when the swaps are over.
struct StopAll<'a>(&'a AtomicBool);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_call_under_way_keeps_the_version_it_began_with() {
    let (one, other) = (marker(1), marker(2));
    let setup = shared().with_bare_filter(json!({ "plugin": "marker" }));
    put(&one.0, &setup.plugins().join("marker.wasm"));
    let gate = setup.start();
    let (mut client, mut prober) = (gate.client("fx"), gate.client("fx"));
    until_seen(&mut prober, &one.1);
    let mut pending = client.start("tools/call", json!({ "name": "wait", "arguments": { "key": "k" } }));
    // It has passed the first version on its way up once the server has it.
    client.call("echo", json!({}));
    gate.put_plugin("marker", &other.0);
    until_seen(&mut prober, &other.1);
    prober.call("release", json!({ "key": "k" }));
    let answer = pending.finish().unwrap();
    assert_eq!(answer["result"]["structuredContent"]["down"], one.1, "{answer}");
    let arrived = gate.arrived("fx");
    let wait = arrived.iter().find(|message| message["params"]["name"] == "wait").unwrap();
    assert_eq!(wait["params"]["arguments"]["up"], one.1);
}

#[test]
fn a_bad_version_never_replaces_a_good_one() {
    let (good, better) = (marker(1), marker(2));
    let setup = shared().with_bare_filter(json!({ "plugin": "marker" }));
    put(&good.0, &setup.plugins().join("marker.wasm"));
    let gate = setup.start();
    let mut client = gate.client("fx");
    let bad: [(&str, Vec<u8>); 5] = [
        ("truncated", good.0[..good.0.len() / 3].to_vec()),
        ("empty", Vec::new()),
        ("text", b"not at all".to_vec()),
        ("a core module", wat::parse_str("(module)").unwrap()),
        ("without hooks", wat::parse_str("(component)").unwrap()),
    ];
    for (what, wasm) in bad {
        let mark = gate.mark();
        gate.put_plugin("marker", &wasm);
        let line = gate.said(mark, &format!("line about a version that is {what}"), refused);
        assert!(!line.contains("panicked"), "{line}");
        assert_eq!(seen(&client.call("echo", json!({}))), good.1, "{what}");
    }
    gate.put_plugin("marker", &better.0);
    until_seen(&mut client, &better.1);
}

// ---- a filter that authenticates ---------------------------------------------------------------

/// The key whose hash is configured.
const KEY: &str = "key-canary-3c9d";

fn guarded() -> Setup {
    let keys = json!([{ "name": "ci", "sha256": hash(KEY) }]);
    shared().with_filter(json!({ "plugin": "api-key-auth", "config": { "keys": keys } }))
}

fn hash(key: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn status(gate: &Gate, key: Option<&str>) -> u16 {
    let headers = key.map(|key| ("authorization".to_owned(), format!("Bearer {key}")));
    let mut client = Client::unopened(gate.address, "fx", headers.into_iter().collect());
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "0" } });
    let answer = client.initialize(params);
    assert!(answer.status != 200 || answer.message.get("result").is_some(), "{answer:?}");
    client.close();
    answer.status
}

#[test]
fn only_the_right_key_opens() {
    let gate = guarded().start();
    assert_eq!(status(&gate, Some(KEY)), 200);
    let hash = hash(KEY);
    for wrong in [None, Some(""), Some("key-canary-3c9e"), Some("KEY-CANARY-3C9D"), Some(hash.as_str())] {
        assert_eq!(status(&gate, wrong), 401, "{wrong:?}");
    }
    assert!(!gate.stderr().contains(KEY), "a key in the log");
    assert!(!gate.arrived_text("fx").contains(KEY), "a key at the server");
}

#[test]
fn deleting_the_file_of_a_filter_that_authenticates_opens_nothing() {
    let gate = guarded().start();
    // Another file stays: an empty directory counts as a vanished mount, which is the second part.
    gate.put_plugin("redact", &std::fs::read(paths::plugin("redact")).unwrap());
    let mark = gate.mark();
    std::fs::remove_file(gate.plugins().join("api-key-auth.wasm")).unwrap();
    gate.said(mark, "line about the missing file", |line| line.contains("api-key-auth"));
    assert_eq!(
        (status(&gate, None), status(&gate, Some("wrong")), status(&gate, Some(KEY))),
        (401, 401, 200)
    );

    // Nor does anything that happens to the directory.
    std::fs::rename(gate.plugins(), gate.plugins().with_extension("away")).unwrap();
    assert_eq!((status(&gate, None), status(&gate, Some(KEY))), (401, 200));
}

#[test]
fn a_corrupt_file_of_a_filter_that_authenticates_opens_nothing() {
    let gate = guarded().start();
    let mark = gate.mark();
    gate.put_plugin("api-key-auth", b"not at all");
    gate.said(mark, "line about the bad file", |line| line.contains("api-key-auth"));
    assert_eq!((status(&gate, None), status(&gate, Some(KEY))), (401, 200));
    gate.put_plugin("api-key-auth", &std::fs::read(paths::plugin("api-key-auth")).unwrap());
    assert_eq!((status(&gate, None), status(&gate, Some(KEY))), (401, 200));
}

#[test]
fn a_key_that_was_kept_ends_with_the_version_of_the_filter_that_took_it() {
    let filter = |key: &str| {
        let keys = json!([{ "name": "ci", "sha256": hash(key) }]);
        json!({ "plugin": "api-key-auth", "config": { "keys": keys, "keep_seconds": 3600 } })
    };
    let gate = shared().with_filter(filter(KEY)).start();
    assert_eq!((status(&gate, Some(KEY)), status(&gate, Some(KEY)), status(&gate, None)), (200, 200, 401));
    let mut config: Value = serde_json::from_slice(&std::fs::read(gate.config()).unwrap()).unwrap();
    config["filters"] = json!([filter("another key")]);
    let mark = gate.mark();
    support::gate::put(config.to_string().as_bytes(), &gate.config());
    gate.said(mark, "line about the new filters", |line| line.contains("filters are in service"));
    assert_eq!((status(&gate, Some(KEY)), status(&gate, Some("another key"))), (401, 200));
}

#[test]
fn a_session_belongs_to_the_one_who_opened_it() {
    let keys: Value =
        ["ada", "eve"].iter().map(|name| json!({ "name": name, "sha256": hash(name) })).collect();
    let gate = shared().with_filter(json!({ "plugin": "api-key-auth", "config": { "keys": keys } })).start();
    let ada = gate.client_with("fx", &[("authorization", "Bearer ada")]);
    let headers = |key: &'static str| {
        [
            ("authorization", key),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-session-id", ada.session().unwrap()),
            ("mcp-protocol-version", "2025-11-25"),
        ]
    };
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let send =
        |key| support::Http::new(gate.address).send("POST", "/fx/mcp", &headers(key), body).unwrap().status;
    assert_eq!(send("Bearer ada"), 200);
    assert_eq!(send("Bearer eve"), 404, "as if it did not exist");
}
