//! Sessions in large numbers: what they leave behind, and whether anything crosses between them.
//! `LOCKGATE_SOAK=1` runs the numbers that Lockgate promises; without it there are fewer.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::processes::{children_of, soak};
use support::{Gate, Http, Setup};

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
    let end = Instant::now() + within;
    while children(gate) > 0 {
        assert!(Instant::now() < end, "sessions are left after {within:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn sessions_that_nobody_ends_leave_nothing() {
    // Three rounds, each with all of its sessions at once: they idle for longer than it takes to open them.
    let (sessions, idle) = (many(30_000, 1_000), many(30, 6));
    let mut gate = Setup::fixture(&[])
        .server_keys("fx", json!({ "isolation": "shared" }))
        .with_limit("session_idle_seconds", idle)
        .with_limit("sessions", 100_000)
        .start();
    let mut round = || {
        abandon(&gate, sessions);
        let during = resident_kib(&mut gate);
        all_gone(&mut gate, Duration::from_secs(60 + idle as u64));
        (during, resident_kib(&mut gate))
    };
    // What a process takes once and keeps (arenas, tables, as large as so many sessions need them) is
    // not what a session leaves: that would be left by each, and so in the third round as well.
    let rounds = [round(), round(), round()];
    let [_, (_, before), (_, after)] = rounds;
    assert!(after <= before + before / 10, "KiB with all sessions, and without: {rounds:?}");
    assert_eq!(gate.client("fx").call("echo", json!({})).status, 200, "and it serves");
}

#[test]
fn a_hundred_clients_with_one_id_and_one_token_never_see_each_other() {
    let calls = many(1_000_000, 20_000) / 100;
    let gate = Setup::fixture(&[])
        .server_keys("fx", json!({ "isolation": "shared" }))
        .with_limit("queue_per_server", 256)
        .start();
    let foreign = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..100 {
            let (gate, foreign) = (&gate, &foreign);
            scope.spawn(move || {
                let opened = gate.client("fx");
                let session = opened.session().unwrap().to_owned();
                let headers = [
                    ("content-type", "application/json"),
                    ("accept", "application/json, text/event-stream"),
                    ("mcp-session-id", &session),
                ];
                let mut http = Http::new(gate.address);
                for call in 0..calls {
                    let canary = format!("canary-{client}-{call}");
                    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
                        "name": "tell", "arguments": { "text": canary }, "_meta": { "progressToken": "p" } } });
                    let body = body.to_string();
                    let mut response = http.send("POST", "/fx/mcp", &headers, body.as_bytes()).unwrap();
                    assert!(response.is_stream(), "progress comes before the answer");
                    let mut seen = Vec::new();
                    while let Some(event) = response.event().unwrap() {
                        seen.push(serde_json::from_str::<Value>(&event).unwrap());
                    }
                    http.reuse(response);
                    let own = seen.len() == 2
                        && seen[0]["params"] == json!({ "progressToken": "p", "progress": 1, "message": canary })
                        && seen[1]["id"] == 1
                        && seen[1]["result"]["content"][0]["text"] == canary;
                    if !own {
                        foreign.fetch_add(1, Ordering::Relaxed);
                        eprintln!("{canary} got {seen:?}");
                    }
                }
            });
        }
    });
    assert_eq!(foreign.load(Ordering::Relaxed), 0);
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
    let end = Instant::now() + Duration::from_secs(120);
    while gate.stderr().lines().filter(|line| line.contains("name=progress")).count() < 20 {
        assert!(Instant::now() < end, "calls of slow readers do not end:\n{}", gate.stderr());
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = peak_kib(&mut gate);
    drop(unread);
    // A buffer and a window of 1 MiB for each, and what an allocator takes for it.
    assert!(after < before + 80 * 1024, "{before} KiB before, {after} KiB with 20 slow readers");
}
