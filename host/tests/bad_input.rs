//! What goes wrong around Lockgate: each gets one clear error, and costs nobody else anything.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::net::TcpListener;
use std::process::Output;

use serde_json::{Value, json};
use support::gate::{lockgate, put};
use support::{Answer, Client, Setup, paths};

/// What no user should ever read.
const INTERNALS: [&str; 8] =
    ["panicked", "stack backtrace", "RUST_BACKTRACE", "Os {", "Error {", "src/", "anyhow", "unwrap"];

/// Checks that a program's last words are for its user, and returns them.
fn clear(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    clear_text(&text);
    text
}

fn clear_text(text: &str) {
    for internal in INTERNALS {
        assert!(!text.contains(internal), "`{internal}` in what a user reads:\n{text}");
    }
}

fn opened(gate: &support::Gate, server: &str) -> Answer {
    Client::unopened(gate.address, server, vec![]).initialize(json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "0" } }))
}

/// The message of the error that opening a session gets.
fn refusal(gate: &support::Gate, server: &str) -> String {
    let answer = opened(gate, server);
    let message = answer.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("`{server}`")), "names the server: {message}");
    clear_text(&message);
    message
}

// ---- servers -----------------------------------------------------------------------------------

#[test]
fn a_server_that_dies_fails_its_call_and_is_there_for_the_next() {
    let gate = Setup::fixture(&[]).with_fixture("other", &[]).start();
    let (mut client, mut other) = (gate.client("fx"), gate.client("other"));
    let mark = gate.mark();
    let message = client.call("crash", json!({})).error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`fx`") && message.contains("may have run"), "{message}");
    assert_eq!(client.call("echo", json!({ "again": 1 })).result()["structuredContent"]["again"], 1);
    assert_eq!(other.call("whoami", json!({})).text(), "other");
    gate.said(mark, "line about the death of `fx`", |line| line.contains("fx") && line.contains("status 3"));
    assert_eq!(gate.arrived_text("fx").matches("crash").count(), 1, "a call is never sent twice");
}

#[test]
fn a_server_that_hangs_costs_the_time_it_was_given() {
    let gate = Setup::fixture(&[]).server_keys("fx", json!({ "timeout_seconds": 1 })).start();
    let mut client = gate.client("fx");
    let message = client.call("hang", json!({})).error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`fx`") && message.contains("within 1 s"), "{message}");
    assert_eq!(client.call("whoami", json!({})).text(), "fx");
    let cancelled = |message: &Value| message["method"] == "notifications/cancelled";
    assert!(gate.arrived("fx").iter().any(cancelled), "the server is told that nobody waits");
}

#[test]
fn a_server_that_never_finishes_the_handshake_is_named() {
    let gate = Setup::fixture(&["--hang", "initialize"])
        .with_fixture("other", &[])
        .server_keys("fx", json!({ "timeout_seconds": 1 }))
        .with_limit("connect_seconds", 1)
        // A start may take as long as any call: some servers are downloaded first.
        .with_limit("call_seconds", 2)
        .start();
    refusal(&gate, "fx");
    assert_eq!(gate.client("other").call("whoami", json!({})).text(), "other");
}

#[test]
fn a_flood_on_stderr_blocks_nobody() {
    let gate = Setup::fixture(&["--flood-stderr", "1000000"]).start();
    let mut client = gate.client("fx");
    assert_eq!(client.call("flood_stderr", json!({ "bytes": 32 << 20 })).text(), "flooded");
    assert_eq!(client.call("whoami", json!({})).text(), "fx");
    let said = gate.stderr().len();
    assert!(said < 4 << 20, "{said} bytes of a server's flood went on to Lockgate's own stderr");
}

#[test]
fn noise_on_stdout_is_skipped_and_said() {
    let gate = Setup::fixture(&["--noise"]).start();
    let mut client = gate.client("fx");
    assert_eq!(client.call("noise", json!({ "lines": 50 })).text(), "noisy");
    gate.said(0, "line about the noise", |line| line.contains("fx") && line.contains("stdout"));
    assert_eq!(client.call("whoami", json!({})).text(), "fx");
}

#[test]
fn an_answer_to_no_call_reaches_nobody() {
    let gate = Setup::fixture(&[]).start();
    let answer = gate.client("fx").call("wrong_id", json!({}));
    assert_eq!((answer.text(), answer.before.len()), ("for you", 0));
}

#[test]
fn an_answer_that_breaks_the_json_law_fails_its_own_call() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    let message = client.call("duplicate_keys", json!({})).error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`fx`") && message.contains("content"), "{message}");
    assert_eq!(client.call("lone_surrogate", json!({})).text(), "cut \u{fffd}");
    assert_eq!(client.call("whoami", json!({})).text(), "fx");
}

#[test]
fn an_answer_is_as_deep_as_clients_take_and_has_as_many_items_as_its_bytes_allow() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    // What reads the answer here (serde_json) takes 127 levels.
    let answer = client.call("nested", json!({ "depth": 127, "items": 1 }));
    let mut value = &answer.result()["structuredContent"]["v"];
    for _ in 3..127 {
        value = &value[0];
    }
    assert_eq!(value, 0);
    let items = client.call("nested", json!({ "depth": 4, "items": 500_000 }));
    assert_eq!(items.result()["structuredContent"]["v"].as_array().unwrap().len(), 500_000);
    let message = client.call("nested", json!({ "depth": 129 })).error()["message"].to_string();
    assert!(message.contains("128 levels") && message.contains("`fx`"), "{message}");

    // Requests stay within their own bounds.
    let deep = (0..64).fold(json!(1), |inner, _| json!([inner]));
    let message = client.call("echo", json!({ "v": deep })).error()["message"].to_string();
    assert!(message.contains("deep"), "{message}");
}

#[test]
fn an_answer_that_is_too_large_fails_its_own_call() {
    let gate = Setup::fixture(&[]).with_limit("server_message_bytes", 1 << 20).start();
    let mut client = gate.client("fx");
    assert_eq!(client.call("big", json!({ "bytes": 1_000_000 })).text().len(), 1_000_000);
    let message =
        client.call("big", json!({ "bytes": 2 << 20 })).error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`fx`"), "{message}");
    assert_eq!(client.call("whoami", json!({})).text(), "fx");
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let gate = Setup::fixture(&[]).with_limit("client_message_bytes", 1 << 16).start();
    let mut client = gate.client("fx");
    let answer = client.call("echo", json!({ "text": "x".repeat(1 << 17) }));
    assert!(answer.status == 413 || answer.message.get("error").is_some(), "{answer:?}");
    assert_eq!(client.call("whoami", json!({})).text(), "fx");
    assert!(!gate.arrived_text("fx").contains("xxxx"));
}

#[test]
fn a_command_that_does_not_exist_is_named_with_the_path_that_was_searched() {
    let gate = Setup::fixture(&[]).with_server("ghost", json!({ "command": "no-such-command-7f3a" })).start();
    let message = refusal(&gate, "ghost");
    assert!(message.contains("no-such-command-7f3a") && message.contains("PATH"), "{message}");
    assert_eq!(gate.client("fx").call("whoami", json!({})).text(), "fx");
}

#[test]
fn a_server_that_exits_at_start_shows_its_last_words() {
    let gate = Setup::fixture(&["--stderr", "no licence found", "--exit", "7"]).start();
    let message = refusal(&gate, "fx");
    assert!(message.contains("status 7"), "{message}");
    gate.said(0, "the server's last words", |line| line.contains("no licence found"));
}

#[test]
fn an_unreachable_url_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = Setup::new().with_server("gone", json!({ "url": format!("http://{free}/mcp") })).start();
    let message = refusal(&gate, "gone");
    assert!(message.contains("refused"), "{message}");
}

#[test]
fn nothing_is_left_running_after_sigterm() {
    let setup = Setup::new();
    let pidfile = setup.folder().join("grandchild");
    let flags = ["--ignore-sigterm", "--ignore-stdin-close", "--grandchild", pidfile.to_str().unwrap()];
    let mut gate = setup.with_fixture("fx", &flags).with_limit("drain_seconds", 1).start();
    let server =
        gate.client("fx").call("whoami", json!({})).result()["structuredContent"]["pid"].as_i64().unwrap();
    let grandchild: i64 = std::fs::read_to_string(&pidfile).unwrap().parse().unwrap();
    gate.process().terminate();
    assert_eq!(gate.process().wait().code(), Some(0), "{}", gate.stderr());
    for pid in [server, grandchild] {
        assert!(!alive(pid), "process {pid} outlived Lockgate");
    }
}

/// Whether a process is there and is no zombie.
fn alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

// ---- starting ----------------------------------------------------------------------------------

#[test]
fn a_port_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = Setup::fixture(&[]).command("serve").args(["--listen", &address]).output().unwrap();
    let text = clear(&output, 1);
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
    assert!(text.lines().count() <= 4, "{text}");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_right_one() {
    let setup = Setup::new();
    let path = setup.folder().join("typo.yaml");
    std::fs::write(&path, "servers:\n  fx:\n    comand: fixture-server\n").unwrap();
    let text = clear(&lockgate().arg("check").arg("--config").arg(&path).output().unwrap(), 1);
    assert!(text.contains("comand") && text.contains("`command`") && text.contains("typo.yaml"), "{text}");
}

#[test]
fn an_unknown_flag_is_wrong_usage() {
    let text = clear(&lockgate().args(["serve", "--lisen", "127.0.0.1:0"]).output().unwrap(), 2);
    assert!(text.contains("--lisen") && text.contains("--listen"), "{text}");
}

#[test]
fn without_arguments_there_is_help_and_nothing_else_happens() {
    let empty = tempfile::tempdir().unwrap();
    let output = lockgate().current_dir(empty.path()).env("HOME", empty.path()).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("Usage") && text.contains("serve"), "{text}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn serving_beyond_loopback_without_authentication_is_refused() {
    let output = Setup::fixture(&[]).command("serve").args(["--listen", "0.0.0.0:0"]).output().unwrap();
    let text = clear(&output, 1);
    assert!(text.contains("0.0.0.0") && text.contains("allow_unauthenticated"), "{text}");
}

// ---- plugins -----------------------------------------------------------------------------------

/// `lockgate check` with these bytes as the plugin `bad`.
fn check_plugin(wasm: &[u8]) -> String {
    let setup = Setup::fixture(&[]).with_bare_filter(json!({ "plugin": "bad" }));
    put(wasm, &setup.plugins().join("bad.wasm"));
    let output = setup.command("check").output().unwrap();
    let both = Output { stderr: [output.stdout.clone(), output.stderr.clone()].concat(), ..output };
    let text = clear(&both, 1);
    assert!(text.contains("bad.wasm"), "names the file: {text}");
    text
}

#[test]
fn a_file_that_is_no_plugin_is_refused_with_what_it_is() {
    let whole = std::fs::read(paths::plugin("marker")).unwrap();
    for (what, bytes, word) in [
        ("empty", Vec::new(), "empty"),
        ("text", b"#!/bin/sh\necho hello\n".to_vec(), "WebAssembly"),
        ("truncated", whole[..whole.len() / 2].to_vec(), ""),
        ("cut in its header", whole[..6].to_vec(), ""),
        ("a core module", wat::parse_str("(module)").unwrap(), "component"),
        ("exports nothing", wat::parse_str("(component)").unwrap(), "export"),
    ] {
        let text = check_plugin(&bytes);
        assert!(text.contains(word), "{what}: no `{word}` in {text}");
    }
}

/// The guest `marker` with one text replaced by another of the same length, wherever it stands.
fn marker_with(old: &str, new: &str) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut wasm = std::fs::read(paths::plugin("marker")).unwrap();
    let places: Vec<usize> = (0..wasm.len()).filter(|at| wasm[*at..].starts_with(old.as_bytes())).collect();
    assert!(!places.is_empty(), "the marker does not mention {old}");
    for at in places {
        wasm[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    wasm
}

#[test]
fn a_plugin_for_another_version_of_the_contract_is_refused_with_both_versions() {
    let text = check_plugin(&marker_with("@0.1.0", "@9.1.0"));
    assert!(text.contains("9.1") && text.contains("0.1"), "{text}");
}

#[test]
fn a_plugin_that_imports_something_strange_is_refused_with_its_name() {
    let text = check_plugin(&marker_with("lockgate:plugin/context", "somebody:plugin/context"));
    assert!(text.contains("somebody:plugin/context"), "{text}");
}

#[test]
fn a_plugin_that_is_too_large_is_refused_with_the_key() {
    let setup = Setup::fixture(&[]).with_bare_filter(json!({ "plugin": "bad" }));
    let file = std::fs::File::create(setup.plugins().join("bad.wasm")).unwrap();
    file.set_len(64 << 20).unwrap();
    let output = setup.command("check").output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!output.status.success() && text.contains("max_mib") && text.contains("bad.wasm"), "{text}");
}

#[test]
fn a_filter_without_a_plugin_names_the_directory() {
    let setup = Setup::fixture(&[]).with_bare_filter(json!({ "plugin": "redcat" }));
    let output = setup.command("check").output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!output.status.success() && text.contains("redcat") && text.contains("plugins"), "{text}");
}

#[test]
fn a_configuration_that_the_plugin_refuses_is_named_by_its_key() {
    let filter = json!({ "plugin": "tool-filter", "config": { "denny": ["x"] } });
    let output = Setup::fixture(&[]).with_filter(filter).command("check").output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!output.status.success() && text.contains("denny") && text.contains("tool-filter"), "{text}");
}

#[test]
fn a_secret_that_is_not_granted_is_a_load_error_that_names_the_key() {
    let peer = support::peer::Peer::start();
    let filter = json!({ "plugin": "header-inject",
        "config": { "headers": [{ "name": "Authorization", "secret": "token", "format": "Bearer {}" }] } });
    let setup = Setup::new()
        .with_server("web", json!({ "url": peer.url() }))
        .with_secret("token", json!({ "value": "canary-secret-5b1c", "for": ["web"] }))
        .with_filter(filter);
    let output = setup.command("check").output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!output.status.success() && text.contains("grants.secrets"), "{text}");
    assert!(!text.contains("canary-secret-5b1c"));
}

#[test]
fn a_secret_never_goes_where_it_may_not() {
    let peer = support::peer::Peer::start();
    let filter = json!({ "plugin": "header-inject", "grants": { "secrets": ["token"] },
        "config": { "headers": [{ "name": "Authorization", "secret": "token", "format": "Bearer {}" }] } });
    let setup = Setup::new()
        .with_server("web", json!({ "url": peer.url() }))
        .with_secret("token", json!({ "value": "canary-secret-5b1c", "for": ["another"] }))
        .with_filter(filter);
    // Refused when it is loaded or when it is used: either way the secret stays here.
    let output = setup.command("check").output().unwrap();
    if output.status.success() {
        let gate = setup.start();
        let answer = opened(&gate, "web");
        assert!(answer.message.get("result").is_none(), "{answer:?}");
        assert!(!gate.stderr().contains("canary-secret-5b1c"));
    }
    assert!(!format!("{:?}", peer.arrived()).contains("canary-secret-5b1c"));
}

#[test]
fn a_secret_reaches_the_server_it_is_for_and_nobody_else() {
    let peer = support::peer::Peer::start();
    let filter = json!({ "plugin": "header-inject", "grants": { "secrets": ["token"] },
        "config": { "headers": [{ "name": "Authorization", "secret": "token", "format": "Bearer {}" }] } });
    let gate = Setup::new()
        .with_server("web", json!({ "url": peer.url() }))
        .with_secret("token", json!({ "value": "canary-secret-5b1c", "for": ["web"] }))
        .with_filter(filter)
        .start();
    let answer = gate.client("web").call("echo", json!({ "a": 1 }));
    assert!(!answer.message.to_string().contains("canary-secret-5b1c"));
    let arrived = peer.arrived();
    assert!(arrived.len() >= 3);
    assert!(
        arrived.iter().all(|request| request.header("authorization") == Some("Bearer canary-secret-5b1c"))
    );
    assert!(!gate.stderr().contains("canary-secret-5b1c"), "a secret in the log");
}
