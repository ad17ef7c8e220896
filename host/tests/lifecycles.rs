//! Sessions in large numbers: what they leave behind, and whether anything crosses between them.
//! `LOCKGATE_SOAK=1` runs the numbers that Lockgate promises; without it there are fewer.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::processes::{children_of, soak, until};
use support::{Client, Gate, Http, Setup};

/// As many as are promised, or as a test of every day can afford.
fn many(promised: usize, everyday: usize) -> usize {
    if soak() { promised } else { everyday }
}

fn resident_kib(gate: &mut Gate) -> u64 {
    memory(gate, "VmRSS:")
}

fn peak_kib(gate: &mut Gate) -> u64 {
    memory(gate, "VmHWM:")
}

fn memory(gate: &mut Gate, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.process().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Servers that run.
fn children(gate: &mut Gate) -> usize {
    let is_server = |pid: &i32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("fixture-server")
    };
    children_of(gate.process().pid()).iter().filter(|pid| is_server(pid)).count()
}

/// Opens that many sessions and leaves them.
fn abandon(gate: &Gate, sessions: usize) {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "leaves", "version": "0" } } });
    let (body, left) = (body.to_string(), AtomicUsize::new(sessions));
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut http = Http::new(gate.address);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    let mut response = http.send("POST", "/fx/mcp", &headers, body.as_bytes()).unwrap();
                    assert_eq!(response.status, 200);
                    assert!(response.header("mcp-session-id").is_some());
                    response.bytes().unwrap();
                    http.reuse(response);
                }
            });
        }
    });
}

/// Waits until no session is left: they share one child, and it lives for as long as any of them.
fn all_gone(gate: &mut Gate, within: Duration) {
    until("no session is left", within, || children(gate) == 0);
}

/// Waits until it has no more memory than that; fails with what it has.
fn shrinks_to(gate: &mut Gate, most: u64, within: Duration, what: &str) {
    let end = Instant::now() + within;
    loop {
        let now = resident_kib(gate);
        if now <= most {
            return;
        }
        assert!(Instant::now() < end, "{what}: {now} KiB after {within:?}, and {most} KiB would do");
        support::processes::pause();
    }
}

#[test]
fn sessions_that_nobody_ends_leave_nothing() {
    // Each wave all at once: they idle for longer than it takes to open them.
    let (sessions, idle) = (many(30_000, 2_000), many(30, 6));
    let mut gate = Setup::fixture(&[])
        .server_keys("fx", json!({ "isolation": "shared" }))
        .with_limit("session_idle_seconds", idle)
        .with_limit("sessions", 100_000)
        .start();
    let within = Duration::from_secs(60 + idle as u64);
    // A process that has served nobody yet lacks what the first client brings once and for all: code that
    // was never run is not in memory, and threads and connections are made when they are needed.
    abandon(&gate, 100);
    all_gone(&mut gate, within);
    let began = resident_kib(&mut gate);
    for wave in 1..=2 {
        abandon(&gate, sessions);
        let during = resident_kib(&mut gate);
        all_gone(&mut gate, within);
        let what = format!("{sessions} sessions, wave {wave}: {began} KiB before, {during} KiB with them");
        // Lockgate gives memory back when it sees that a wave is over, which it looks for now and then.
        shrinks_to(&mut gate, began + began / 10, Duration::from_secs(20), &what);
        eprintln!("{what}, {} KiB after", resident_kib(&mut gate));
    }
    assert_eq!(gate.client("fx").call("echo", json!({})).status, 200, "and it serves");
}

#[test]
fn a_hundred_clients_with_one_id_and_one_token_never_see_each_other() {
    let calls = many(1_000_000, 20_000) / 100;
    let mut gate = Setup::fixture(&[])
        .server_keys("fx", json!({ "isolation": "shared" }))
        .with_limit("queue_per_server", 256)
        .start();
    let foul = Foul { lockgate: Pid::from_raw(gate.process().pid()), first: OnceLock::new() };
    let clients: Vec<Client> = (0..100).map(|_| gate.client("fx")).collect();
    std::thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            let (gate, foul) = (&gate, &foul);
            scope.spawn(move || {
                let (session, mut http) = (client.session().unwrap(), Http::new(gate.address));
                let own = |call| exchange(&mut http, session, &format!("canary-{number}-{call}"));
                if let Err(what) = (0..calls).try_for_each(own) {
                    foul.call(what);
                }
            });
        }
    });
    assert!(foul.first.get().is_none(), "{}", foul.first.get().unwrap());
}

/// What went wrong first. It ends Lockgate, and so all clients at once: most of them would wait until
/// their patience is over for an answer that somebody else got.
struct Foul {
    lockgate: Pid,
    first: OnceLock<String>,
}

impl Foul {
    fn call(&self, what: String) {
        if self.first.set(what).is_ok() {
            kill(self.lockgate, Signal::SIGKILL).unwrap();
        }
    }
}

/// Sends the canary under the id and the token that all use. The error says who got what instead.
fn exchange(http: &mut Http, session: &str, canary: &str) -> Result<(), String> {
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", session),
    ];
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "tell", "arguments": { "text": canary }, "_meta": { "progressToken": "p" } } });
    let lost = |error: std::io::Error| format!("the client that sent {canary} got no answer: {error}");
    let mut response = http.send("POST", "/fx/mcp", &headers, body.to_string().as_bytes()).map_err(lost)?;
    let mut seen = Vec::new();
    if response.is_stream() {
        while let Some(event) = response.event().map_err(lost)? {
            seen.push(serde_json::from_str::<Value>(&event).unwrap());
        }
    } else {
        // Its progress, which comes first and makes a stream of it, went elsewhere.
        seen.push(String::from_utf8_lossy(&response.bytes().map_err(lost)?).into());
    }
    let told = json!({ "progressToken": "p", "progress": 1, "message": canary });
    let own = matches!(seen.as_slice(), [progress, answer] if progress["params"] == told
        && answer["id"] == 1 && answer["result"]["content"][0]["text"] == canary);
    if !own {
        return Err(format!("a canary is in foreign hands: the client that sent {canary} got {seen:?}"));
    }
    http.reuse(response);
    Ok(())
}

#[test]
fn a_client_that_only_keeps_its_socket_open_is_no_client() {
    let mut gate =
        Setup::fixture(&[]).with_limit("session_idle_seconds", 3).with_limit("ping_seconds", 1).start();
    let client = gate.client("fx");
    // Open, acknowledged by the kernel, and never read: no question on it is ever answered.
    let _stream = client.listen();
    assert_eq!(children(&mut gate), 1);
    all_gone(&mut gate, Duration::from_secs(30));
}

#[test]
fn slow_readers_cost_a_bounded_amount_and_nobody_else() {
    let mut gate = Setup::fixture(&[]).server_keys("fx", json!({ "isolation": "shared" })).start();
    let mut healthy = gate.client("fx");
    healthy.call("echo", json!({}));
    let before = resident_kib(&mut gate);
    let mut slow: Vec<_> = (0..20).map(|_| gate.client("fx")).collect();
    // 6 MiB for each, of which nothing is read.
    let flood = json!({ "name": "progress", "arguments": { "n": 96, "bytes": 64 << 10 },
                        "_meta": { "progressToken": "p" } });
    let unread: Vec<_> = slow.iter_mut().map(|client| client.start("tools/call", flood.clone())).collect();
    for call in 0..50 {
        let answer = healthy.call("echo", json!({ "call": call }));
        assert_eq!(answer.result()["structuredContent"]["call"], call);
    }
    // Nobody reads, and still their calls end: one line of the log for each.
    until("calls of slow readers end", Duration::from_secs(120), || {
        gate.stderr().lines().filter(|line| line.contains("name=progress")).count() >= 20
    });
    let after = peak_kib(&mut gate);
    drop(unread);
    // A buffer and a window of 1 MiB for each, and what an allocator takes for it.
    assert!(after < before + 80 * 1024, "{before} KiB before, {after} KiB with 20 slow readers");
}
