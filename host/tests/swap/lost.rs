//! Versions and configurations that would open what the one before them kept shut.

use serde_json::{Value, json};

use super::support::{Gate, Setup, gate::put, paths};
use super::{KEY, guarded, hash, status};

fn reconfigure(gate: &Gate, change: impl Fn(&mut Value)) {
    let mut config: Value = serde_json::from_slice(&std::fs::read(gate.config()).unwrap()).unwrap();
    change(&mut config);
    put(config.to_string().as_bytes(), &gate.config());
}

#[test]
fn a_version_without_authenticate_opens_nothing() {
    let gate = guarded().start();
    let mark = gate.mark();
    gate.put_plugin("api-key-auth", &std::fs::read(paths::plugin("marker")).unwrap());
    let said = gate.said(mark, "line about the lost hook", |line| line.contains("`authenticate`"));
    assert!(said.contains("another `name`"), "{said}");
    assert_eq!((status(&gate, None), status(&gate, Some(KEY))), (401, 200));
}

#[test]
fn a_version_without_access_shows_nothing() {
    let hider = json!({ "plugin": "hider", "config": { "containing": "secret" } });
    let gate = Setup::fixture(&[]).with_filter(hider).start();
    let mark = gate.mark();
    gate.put_plugin("hider", &std::fs::read(paths::plugin("marker")).unwrap());
    gate.said(mark, "line about the lost hook", |line| line.contains("`access`"));
    assert!(!gate.client("fx").tools().contains(&"secret_canary".to_owned()));
}

/// A Lockgate that other machines can reach.
fn exposed(setup: Setup) -> Gate {
    let mut gate = setup.listening("0.0.0.0:0").start();
    gate.address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    gate
}

#[test]
fn a_reload_opens_no_listener_that_a_start_would_refuse() {
    let gate = exposed(guarded().with_fixture("other", &[]));
    assert_eq!((status(&gate, None), status(&gate, Some(KEY))), (401, 200));
    let keys = json!([{ "name": "ci", "sha256": hash(KEY) }]);
    let only =
        json!([{ "plugin": "api-key-auth", "config": { "keys": keys }, "match": { "servers": ["other"] } }]);
    for (filters, named) in
        [(json!([]), "no filter authenticates"), (only, "no filter authenticates for `fx`")]
    {
        let mark = gate.mark();
        reconfigure(&gate, |config| config["filters"] = filters.clone());
        let said = gate.said(mark, "refusal", |line| line.contains(named));
        assert!(said.contains("the filters stay as they were"), "{said}");
        assert_eq!((status(&gate, None), status(&gate, Some(KEY))), (401, 200), "{named}");
    }
}

#[test]
fn a_start_that_authenticates_some_servers_only_is_refused() {
    let keys = json!([{ "name": "ci", "sha256": hash(KEY) }]);
    let filter =
        json!({ "plugin": "api-key-auth", "config": { "keys": keys }, "match": { "servers": ["fx"] } });
    let setup = || Setup::fixture(&[]).with_fixture("open", &[]).with_filter(filter.clone());
    let exposed_setup = setup().listening("0.0.0.0:0");
    let refused = exposed_setup.start_badly();
    refused.line("refusal", |line| line.contains("no filter authenticates for `open`"));
    // On this machine it is nobody else's business, and with the key it is on purpose.
    drop(setup().start());
    drop(exposed(setup().with_top("http", json!({ "allow_unauthenticated": true }))));
}

#[test]
fn a_configuration_that_others_may_write_to_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::fixture(&[]);
    let path = setup.write();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
    // Written again in place, it keeps its mode.
    let gate = setup.start();
    gate.said(0, "warning", |line| line.contains("may be written by others") && line.contains("664"));
}
