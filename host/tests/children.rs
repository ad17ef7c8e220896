//! Child processes of a running Lockgate: whose they are, how many there are, and what happens to calls
//! when one dies. Issue 3, items 6 and "It must hold"; F01, F03, F14, F19.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "children/ending.rs"]
mod ending;
#[path = "children/memory.rs"]
mod memory;
#[path = "children/others.rs"]
mod others;
#[path = "children/places.rs"]
mod places;
#[path = "support/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sha2::Digest;
use support::processes::{children_of, command_line, runs, soak, until};
use support::{Client, Gate, Setup, post};

fn pid(client: &mut Client) -> i32 {
    let who = client.call("whoami", json!({}));
    i32::try_from(who.result()["structuredContent"]["pid"].as_i64().unwrap()).unwrap()
}

// ---- death -------------------------------------------------------------------------------------

#[test]
fn two_hundred_pending_calls_fail_within_a_second_and_the_next_works() {
    const CALLS: usize = 200;
    let gate = Setup::fixture(&[]).with_limit("calls_per_session", 256).start();
    let mut client = gate.client("fx");
    let server = pid(&mut client);
    let session = client.session().unwrap().to_owned();
    let answers: Vec<(Value, Instant)> = std::thread::scope(|scope| {
        let pending: Vec<_> = (0..CALLS)
            .map(|id| {
                let call = json!({ "jsonrpc": "2.0", "id": format!("call {id}"), "method": "tools/call",
                    "params": { "name": "hang", "arguments": {} } });
                let (address, session) = (gate.address, &session);
                scope.spawn(move || {
                    let answer = post(address, "fx", session, &call.to_string());
                    (serde_json::from_slice::<Value>(&answer).unwrap(), Instant::now())
                })
            })
            .collect();
        let arrived = || gate.arrived_text("fx").matches("\"hang\"").count() == CALLS;
        until("all calls have arrived", Duration::from_secs(30), arrived);
        let killed = Instant::now();
        kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
        let answers: Vec<_> = pending.into_iter().map(|call| call.join().unwrap()).collect();
        let last = answers.iter().map(|(_, at)| *at).max().unwrap();
        assert!(last - killed < Duration::from_secs(1), "{:?}", last - killed);
        answers
    });
    let ids: BTreeSet<&str> = answers.iter().map(|(answer, _)| answer["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), CALLS, "each its own");
    for (answer, _) in &answers {
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {answer}"));
        for part in ["`fx`", "signal 9", "the call may have run"] {
            assert!(message.contains(part), "{message}");
        }
    }
    let again = pid(&mut client);
    assert_ne!(again, server, "it was started again");
    assert_eq!(gate.arrived_text("fx").matches("\"hang\"").count(), CALLS, "nothing is sent twice");
}

#[test]
fn servers_killed_from_outside_leave_no_zombies() {
    let mut gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    // No more of them: each makes the wait for the next one longer.
    for _ in 0..5 {
        let server = pid(&mut client);
        kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
        until("it is gone", Duration::from_secs(5), || !runs(server));
        // Until Lockgate has noticed, a call may still be lost to it.
        until("the next one serves", Duration::from_secs(60), || {
            client.call("echo", json!({})).message.get("result").is_some()
        });
    }
    let lockgate = gate.process().pid();
    let zombies = || children_of(lockgate).into_iter().filter(|pid| !runs(*pid)).count();
    until("no zombies", Duration::from_secs(2), || zombies() == 0);
}

#[test]
fn servers_killed_all_at_once_leave_no_zombies() {
    let number: usize = if soak() { 500 } else { 30 };
    let setup = Setup::fixture(&[]).with_limit("children_per_server", number);
    let mut gate = setup.with_limit("children", number).start();
    let lockgate = gate.process().pid();
    let mut clients: Vec<Client> = (0..number).map(|_| gate.client("fx")).collect();
    let servers: BTreeSet<i32> = clients.iter_mut().map(pid).collect();
    assert_eq!(servers.len(), number, "each client has its own");
    for server in &servers {
        kill(Pid::from_raw(*server), Signal::SIGKILL).unwrap();
    }
    let left = || children_of(lockgate).iter().filter(|pid| servers.contains(pid)).count();
    until("none of them is left, no zombie either", Duration::from_secs(2), || left() == 0);
}

#[test]
fn a_server_that_exits_at_once_is_not_started_in_a_loop_and_recovers() {
    let setup = Setup::new();
    let (starts, repaired) = (setup.folder().join("starts"), setup.folder().join("repaired"));
    let script = format!(
        "echo started >>{}; test -e {} && exec {}; echo no token >&2; exit 1",
        starts.display(),
        repaired.display(),
        support::paths::server("fixture-server").display()
    );
    let gate = setup.with_server("fx", json!({ "command": "sh", "args": ["-c", script] })).start();
    let open = || {
        let mut client = Client::unopened(gate.address, "fx", vec![]);
        client.initialize(json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "raw", "version": "0" } }))
    };
    let began = Instant::now();
    let mut refused = 0;
    while began.elapsed() < Duration::from_secs(4) {
        let answer = open();
        let message = answer.error()["message"].as_str().unwrap();
        assert!(message.contains("`fx` could not be started"), "{message}");
        refused += u32::from(message.contains("it failed before and is tried again in"));
    }
    let started = std::fs::read_to_string(&starts).unwrap().lines().count();
    // After 0, 0.2, 0.6, 1.4 and 3 s at most.
    assert!((2..=6).contains(&started) && refused > 0, "{started} starts, {refused} refused at once");
    std::fs::write(&repaired, "").unwrap();
    until("it serves again", Duration::from_secs(15), || open().message.get("result").is_some());
}

// ---- isolation ---------------------------------------------------------------------------------

/// A Lockgate with that isolation and a filter that tells two principals apart.
fn isolated(isolation: &str) -> Gate {
    let key = |name: &str| {
        let hash: String = sha2::Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "name": name, "sha256": hash })
    };
    let filter = json!({ "plugin": "api-key-auth", "config": { "keys": [key("ada"), key("bob")] } });
    Setup::fixture(&[]).server_keys("fx", json!({ "isolation": isolation })).with_filter(filter).start()
}

fn as_(gate: &Gate, who: &str) -> Client {
    gate.client_with("fx", &[("authorization", &format!("Bearer {who}"))])
}

fn counted(client: &mut Client) -> String {
    client.call("count", json!({})).text().to_owned()
}

fn servers(gate: &mut Gate) -> usize {
    let lockgate = gate.process().pid();
    children_of(lockgate).into_iter().filter(|pid| command_line(*pid).contains("fixture-server")).count()
}

#[test]
fn isolated_by_session_nobody_sees_the_state_of_another() {
    let mut gate = isolated("session");
    let mut clients = [as_(&gate, "ada"), as_(&gate, "ada"), as_(&gate, "bob")];
    let pids: BTreeSet<i32> = clients.iter_mut().map(pid).collect();
    assert_eq!((pids.len(), servers(&mut gate)), (3, 3));
    for expected in ["1", "2", "3"] {
        for client in &mut clients {
            assert_eq!(counted(client), expected, "each counts for itself");
        }
    }
}

#[test]
fn isolated_by_principal_each_has_one_child_for_all_sessions() {
    let mut gate = isolated("principal");
    let (mut ada, mut ada_again) = (as_(&gate, "ada"), as_(&gate, "ada"));
    let (mut bob, mut bob_again) = (as_(&gate, "bob"), as_(&gate, "bob"));
    assert_eq!(pid(&mut ada), pid(&mut ada_again));
    assert_eq!(pid(&mut bob), pid(&mut bob_again));
    assert_ne!(pid(&mut ada), pid(&mut bob));
    assert_eq!(servers(&mut gate), 2);
    assert_eq!([counted(&mut ada), counted(&mut ada_again)], ["1", "2"], "hers");
    assert_eq!([counted(&mut bob), counted(&mut bob_again)], ["1", "2"], "and his");

    // The child of one outlives a session of theirs, and goes with the last.
    ada.close();
    assert_eq!(counted(&mut ada_again), "3");
    ada_again.close();
    until("hers is gone", Duration::from_secs(10), || servers(&mut gate) == 1);
    assert_eq!(counted(&mut bob), "3");
}

#[test]
fn shared_there_is_one_child_for_all() {
    let mut gate = isolated("shared");
    let mut clients = [as_(&gate, "ada"), as_(&gate, "ada"), as_(&gate, "bob")];
    let pids: BTreeSet<i32> = clients.iter_mut().map(pid).collect();
    assert_eq!((pids.len(), servers(&mut gate)), (1, 1));
    let counted: Vec<String> = clients.iter_mut().map(counted).collect();
    assert_eq!(counted, ["1", "2", "3"], "one count for all");
}

// ---- number ------------------------------------------------------------------------------------

#[test]
fn clients_that_come_and_never_say_goodbye_leave_no_children() {
    const CAP: usize = 24;
    const IDLE: u64 = 1;
    let posts: usize = if soak() { 1_000 } else { 300 };
    let setup = Setup::fixture(&[]).with_server("bad", json!({ "command": "sh", "args": ["-c", "exit 3"] }));
    let setup = setup.with_limit("children_per_server", CAP).with_limit("session_idle_seconds", IDLE);
    let mut gate = setup.start();
    let (address, lockgate) = (gate.address, gate.process().pid());
    let count = move || {
        let children = children_of(lockgate);
        children.into_iter().filter(|pid| command_line(*pid).contains("fixture-server")).count()
    };
    let (over, most, opened) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // However this ends, or whoever counts would hang the test that fails.
        let _over = Over(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(count(), Ordering::Relaxed);
            }
        });
        for number in 0..posts {
            let (server, cut) = match number % 10 {
                0 => ("bad", false),
                1..=3 => ("fx", true),
                _ => ("fx", false),
            };
            // Where all places are taken the next client is refused; so wait for one that is free.
            until("a place comes free", Duration::from_secs(30), || server == "bad" || count() < CAP);
            if initialize(address, server, cut).contains("200 OK") {
                opened.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert!(opened.load(Ordering::Relaxed) > posts / 2, "{opened:?} sessions were opened");
    let most = most.load(Ordering::Relaxed);
    assert!(most > 3 && most <= CAP, "at most {most} at a time");
    // The idle limit, the look for idle sessions, and the end of a child.
    until("all are gone", Duration::from_secs(IDLE + 1 + 6), || count() == 0);
    let only_guard = || children_of(lockgate).iter().all(|pid| command_line(*pid).contains("guard-children"));
    until("nothing is left but the guard, no zombie either", Duration::from_secs(2), only_guard);
}

/// Says that something is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Opens a session and lets go of it; `cut`: in the middle of the answer. Returns what was read.
fn initialize(address: SocketAddr, server: &str, cut: bool) -> String {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "0" } } })
    .to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    write!(
        stream,
        "POST /{server}/mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut read = vec![0; if cut { 30 } else { 4096 }];
    let mut got = 0;
    while let Some(room) = read.get_mut(got..).filter(|room| !room.is_empty()) {
        match stream.read(room).unwrap() {
            0 => break,
            bytes => got += bytes,
        }
    }
    String::from_utf8_lossy(&read[..got]).into_owned()
}
