//! Places for child processes: idle sessions give way to new ones, busy ones do not, and no principal
//! has them all.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::json;

use crate::others::{hello, known, peer, unopened};
use crate::support::child::Watched;
use crate::support::gate::lockgate;
use crate::support::{Client, Gate, Pending, Setup};

fn open(gate: &Gate, who: Option<&str>) -> Client {
    let mut client = unopened(gate, who);
    let answer = client.initialize(hello("client"));
    assert!(answer.message.get("result").is_some(), "{}", answer.message);
    client
}

fn three() -> Setup {
    Setup::new().with_server("s", peer(&[])).with_limit("children_per_server", 3)
}

#[test]
fn idle_sessions_give_way_to_new_ones_longest_silent_first_and_busy_ones_do_not() {
    let gate = three().start();
    let mut busy = open(&gate, None);
    let mark = gate.mark();
    let mut hanging = hang(&mut busy);
    let mut clients = vec![open(&gate, None), open(&gate, None)];
    clients[0].call("pid", json!({})).result();
    for _ in 0..4 {
        clients.push(open(&gate, None));
    }
    for gone in [1, 0, 2, 3] {
        assert_eq!(clients[gone].request("tools/list", json!({})).status, 404, "{gone} was silent for long");
    }
    for client in clients.iter_mut().skip(4) {
        client.call("pid", json!({})).result();
    }
    assert_eq!(hanging.expect("notifications/progress")["params"]["progress"], 1, "its call is under way");
    let first = gate.said(mark, "line about it", |line| line.contains("a session gave way"));
    assert!(!first.contains("failed"), "{first}");
    assert!(!gate.stderr().contains("a server ended"), "what gave way is no failure: {}", gate.stderr());
}

/// A call that never ends, and has begun.
fn hang(client: &mut Client) -> Pending {
    let call = json!({ "name": "hang", "arguments": {}, "_meta": { "progressToken": "p" } });
    client.start("tools/call", call)
}

#[test]
fn no_principal_has_all_places_however_busy_it_is() {
    let setup =
        three().with_limit("children_per_server_and_principal", 2).with_filter(known(&["ada", "bob"]));
    let gate = setup.start();
    let mut hers = [open(&gate, Some("ada")), open(&gate, Some("ada"))];
    let hanging: Vec<_> = hers.iter_mut().map(hang).collect();
    let refused = unopened(&gate, Some("ada")).initialize(hello("ada"));
    let message = refused.error()["message"].as_str().unwrap();
    assert!(message.contains("limits.children_per_server_and_principal"), "{message}");
    for _ in 0..3 {
        open(&gate, Some("bob")).call("pid", json!({})).result();
    }
    drop(hanging);
}

#[test]
fn wrap_serves_more_clients_than_it_has_places() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/children/peer.py");
    let mut command = lockgate();
    command.args(["wrap", "--listen", ":0", "--", "python3", "-u", script]);
    let wrapped = Watched::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
    wrapped.line("`ready` line", |line| line.trim() == "ready");
    let banner = wrapped.line("banner with an address", |line| line.contains(" on http://"));
    let address: SocketAddr = banner.split("http://").nth(1).unwrap().trim().parse().unwrap();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..10 {
        let mut client = Client::unopened(address, "", vec![]);
        let answer = client.initialize(hello("client"));
        assert!(answer.message.get("result").is_some(), "{}: {}", clients.len(), answer.message);
        client.call("pid", json!({})).result();
        clients.push(client);
    }
    assert_eq!(clients[0].request("tools/list", json!({})).status, 404, "it is told to begin anew");
    let mut again = Client::unopened(address, "", vec![]);
    again.initialize(hello("client")).result();
}
