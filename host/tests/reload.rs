//! Dropping, editing and deleting files in the watched directory, as an operator would.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::time::Instant;

use serde_json::{Value, json};
use support::gate::put;
use support::versions::marker;
use support::{Client, PATIENCE, Setup, paths};

/// Asks until the answer is right. What is measured elsewhere is how long that takes.
fn until<T: PartialEq + std::fmt::Debug>(wanted: &T, mut ask: impl FnMut() -> T) {
    let end = Instant::now() + PATIENCE;
    loop {
        let got = ask();
        if got == *wanted {
            return;
        }
        assert!(Instant::now() < end, "still {got:?}, not {wanted:?}");
    }
}

fn stamp(client: &mut Client) -> Value {
    let answer = client.call("echo", json!({}));
    answer.result()["structuredContent"].get("down").cloned().unwrap_or_default()
}

#[test]
fn a_plugin_dropped_into_the_directory_joins_the_chain_and_leaves_it() {
    let gate = Setup::fixture(&[]).auto_attach(true).start();
    let mut client = gate.client("fx");
    assert_eq!(stamp(&mut client), Value::Null);

    let (wasm, version) = marker(1);
    put(&wasm, &gate.plugins().join("10-marker.wasm"));
    until(&json!(version), || stamp(&mut client));

    // The directory must not be empty, or it counts as a vanished mount.
    put(&std::fs::read(paths::plugin("hider")).unwrap(), &gate.plugins().join("20-hider.wasm"));
    std::fs::write(gate.plugins().join("20-hider.yaml"), "config: { containing: secret }\n").unwrap();
    until(&false, || client.tools().contains(&"secret_canary".to_owned()));
    std::fs::remove_file(gate.plugins().join("10-marker.wasm")).unwrap();
    until(&Value::Null, || stamp(&mut client));
}

#[test]
fn the_file_beside_a_dropped_plugin_configures_it() {
    let setup = Setup::fixture(&[]).auto_attach(true);
    let yaml = setup.plugins().join("hider.yaml");
    std::fs::write(&yaml, "config: { containing: secret }\n").unwrap();
    put(&std::fs::read(paths::plugin("hider")).unwrap(), &setup.plugins().join("hider.wasm"));
    let gate = setup.start();
    let mut client = gate.client("fx");
    let mut hidden = || {
        let tools = client.tools();
        ["secret_canary", "delete_everything"].map(|name| !tools.contains(&name.to_owned()))
    };
    assert_eq!(hidden(), [true, false]);
    put(b"config: { containing: delete_ }\n", &yaml);
    until(&[false, true], &mut hidden);

    // A configuration that the plugin refuses changes nothing and is said.
    let mark = gate.mark();
    put(b"config: { contains: secret }\n", &yaml);
    gate.said(mark, "line about the refused configuration", |line| {
        line.contains("hider") && line.contains("contains")
    });
    assert_eq!(hidden(), [false, true]);
}

#[test]
fn one_that_decides_access_never_leaves_by_deletion() {
    let setup =
        Setup::fixture(&[]).with_filter(json!({ "plugin": "hider", "config": { "containing": "secret" } }));
    let gate = setup.start();
    // Another file stays: an empty directory counts as a vanished mount.
    gate.put_plugin("redact", &std::fs::read(paths::plugin("redact")).unwrap());
    let mark = gate.mark();
    std::fs::remove_file(gate.plugins().join("hider.wasm")).unwrap();
    gate.said(mark, "line about the missing file", |line| line.contains("hider"));
    assert!(!gate.client("fx").tools().contains(&"secret_canary".to_owned()));
}

#[test]
fn a_file_written_slowly_is_taken_when_it_is_whole() {
    use std::io::Write;
    let gate = Setup::fixture(&[]).auto_attach(true).start();
    let mut client = gate.client("fx");
    let (wasm, version) = marker(7);
    let mut file = std::fs::File::create(gate.plugins().join("marker.wasm")).unwrap();
    for part in wasm.chunks(wasm.len() / 16 + 1) {
        file.write_all(part).unwrap();
        file.sync_all().unwrap();
        let seen = stamp(&mut client);
        assert!(seen == Value::Null || seen == version.as_str(), "{seen}");
    }
    until(&json!(version), || stamp(&mut client));
}

#[test]
fn clients_are_told_when_what_they_see_changes() {
    let gate = Setup::fixture(&[]).auto_attach(true).start();
    let client = gate.client("fx");
    let mut stream = client.listen();
    std::fs::write(gate.plugins().join("hider.yaml"), "config: { containing: secret }\n").unwrap();
    put(&std::fs::read(paths::plugin("hider")).unwrap(), &gate.plugins().join("hider.wasm"));
    stream.expect("notifications/tools/list_changed");
}

#[test]
fn sighup_reads_the_configuration_again() {
    let filter = |text: &str| json!({ "plugin": "hider", "config": { "containing": text } });
    let mut gate = Setup::fixture(&[]).with_filter(filter("secret")).start();
    let mut client = gate.client("fx");
    assert!(!client.tools().contains(&"secret_canary".to_owned()));
    let mut config: Value = serde_json::from_slice(&std::fs::read(gate.config()).unwrap()).unwrap();
    config["filters"] = json!([filter("delete_")]);
    std::fs::write(gate.config(), config.to_string()).unwrap();
    let pid = nix::unistd::Pid::from_raw(gate.process().pid());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGHUP).unwrap();
    until(&[true, false], || {
        let tools = client.tools();
        ["secret_canary", "delete_everything"].map(|name| tools.contains(&name.to_owned()))
    });
    // One that does not load changes nothing and is said.
    let mark = gate.mark();
    std::fs::write(gate.config(), config.to_string().replace("\"filters\"", "\"fliters\"")).unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::SIGHUP).unwrap();
    gate.said(mark, "line about the bad configuration", |line| line.contains("fliters"));
    assert!(client.tools().contains(&"secret_canary".to_owned()));
}

#[test]
fn looking_again_says_that_nothing_changed_or_what_waits_for_a_restart() {
    let mut gate = Setup::fixture(&[]).with_top("listen", json!("127.0.0.1:18081")).start();
    let pid = nix::unistd::Pid::from_raw(gate.process().pid());
    let look_again = || nix::sys::signal::kill(pid, nix::sys::signal::SIGHUP).unwrap();
    let mark = gate.mark();
    look_again();
    gate.said(mark, "that nothing changed", |line| line.contains("nothing changed"));

    let text = std::fs::read_to_string(gate.config()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["listen"] = json!("127.0.0.1:18082");
    let mark = gate.mark();
    std::fs::write(gate.config(), config.to_string()).unwrap();
    look_again();
    gate.said(mark, "that `listen` waits for the next start", |line| {
        line.contains("changes of listen take effect at the next start")
    });
}

#[test]
fn filters_of_a_changed_server_wait_with_it() {
    let filter = |text: &str| json!({ "plugin": "hider", "config": { "containing": text } });
    let gate = Setup::fixture(&[]).with_fixture("new", &[]).with_filter(filter("secret")).start();
    let mut client = gate.client("fx");
    let hidden = |client: &mut Client| {
        let tools = client.tools();
        ["secret_canary", "delete_everything"].map(|name| !tools.contains(&name.to_owned()))
    };
    let old: Value = serde_json::from_slice(&std::fs::read(gate.config()).unwrap()).unwrap();
    let mut config = old.clone();
    config["servers"]["fx"]["env"] = json!({ "TOKEN": "of another" });
    config["filters"] = json!([filter("delete_")]);
    let mark = gate.mark();
    put(config.to_string().as_bytes(), &gate.config());
    gate.said(mark, "line about what waits", |line| {
        line.contains("the filters and secrets stay as they were") && line.contains("`fx`")
    });
    assert_eq!(hidden(&mut client), [true, false]);
    // Without the change of the server the same filters are taken.
    config["servers"] = old["servers"].clone();
    put(config.to_string().as_bytes(), &gate.config());
    until(&[false, true], || hidden(&mut client));
}
