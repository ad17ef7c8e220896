//! What may happen on a pipe: every call is answered or failed with a clear error, byte for byte, in
//! bounded memory. Issue 3, "It must hold"; F07, F08, F09.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::process::{ChildStdin, Stdio};

use serde_json::{Value, json};
use support::child::Watched;
use support::processes::{forget_peak, peak_memory, soak};
use support::{Client, Gate, Setup};

/// Largest message from a server in these tests.
const CAP: usize = 4 << 20;

/// What a process of this kind has more or less of at any moment, whatever it is told.
const NOISE: usize = 1 << 20;

/// A Lockgate with that cap whose memory has settled, a client, and what memory it may have at most:
/// twice the cap above what it has when nothing happens (a message, and its copy with the client's id).
fn settled(server: Value) -> (Gate, Client, u64) {
    let setup = Setup::fixture(&[]).server_keys("fx", server);
    let mut gate = setup.with_limit("server_message_bytes", CAP).start();
    let mut client = gate.client("fx");
    for at in 0..50 {
        client.call("echo", json!({ "at": at })).result();
    }
    let most = forget_peak(gate.process().pid()) + u64::try_from(2 * CAP + NOISE).unwrap();
    (gate, client, most)
}

fn check_memory(gate: &mut Gate, most: u64, what: &str) {
    let peak = peak_memory(gate.process().pid());
    eprintln!("{what}: peak {} KiB, allowed {} KiB", peak >> 10, most >> 10);
    assert!(peak <= most, "{what}: {} KiB, more than {} KiB", peak >> 10, most >> 10);
}

fn works(client: &mut Client, what: &str) {
    assert_eq!(client.call("echo", json!({ "é": 1 })).result()["structuredContent"]["é"], 1, "{what}");
}

fn post(gate: &Gate, client: &Client, body: &str) -> String {
    String::from_utf8(support::post(gate.address, "fx", client.session().unwrap(), body)).unwrap()
}

#[test]
fn an_answer_cut_anywhere_arrives_byte_for_byte() {
    let gate = Setup::fixture(&[]).start();
    let client = gate.client("fx");
    let expected = r#"{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"aé€😀\\"}]}}"#;
    // Its id on that side may be shorter or longer by some digits.
    for at in 0..=expected.len() + 8 {
        let call = json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/call",
            "params": { "name": "cut", "arguments": { "at": at } } });
        assert_eq!(post(&gate, &client, &call.to_string()), expected, "cut after {at} bytes");
    }
}

#[test]
fn a_request_cut_anywhere_arrives_byte_for_byte() {
    let setup = Setup::fixture(&[]);
    let log = setup.folder().join("fx.log");
    let mut command = setup.command("serve");
    command.args(["--stdio", "fx"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut lockgate = Watched::start(&mut command);
    let mut input = lockgate.process().stdin.take().unwrap();
    let mut output = BufReader::new(lockgate.process().stdout.take().unwrap());
    let mut answer = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    };
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "0" } } });
    writeln!(input, "{initialize}").unwrap();
    assert_eq!(answer()["id"], 0);
    writeln!(input, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#).unwrap();

    let arguments = r#"{ "text":"aé€😀\u00e9\\" , "n":1.0E+2 }"#;
    let frame = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{arguments}}}}}\n"
    );
    for at in 0..=frame.len() {
        let (first, second) = frame.as_bytes().split_at(at);
        input.write_all(first).unwrap();
        // Only once it has been read can the second part not be taken for one with it.
        while unread(&input) > 0 {
            support::processes::pause();
        }
        input.write_all(second).unwrap();
        let answer = answer();
        assert_eq!(answer["id"], 7, "cut after {at} bytes: {answer}");
        assert_eq!(answer["result"]["structuredContent"]["text"], "aé€😀é\\", "cut after {at} bytes");
    }
    let arrived = std::fs::read_to_string(log).unwrap();
    assert_eq!(arrived.matches(arguments).count(), frame.len() + 1, "the bytes of the arguments");
}

fn unread(pipe: &ChildStdin) -> i32 {
    let mut bytes = 0;
    // SAFETY: the descriptor is open, and the call writes one integer.
    assert_eq!(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) }, 0);
    bytes
}

#[test]
fn noise_drowns_no_call() {
    let seconds = if soak() { 120 } else { 3 };
    let (mut gate, mut client, most) = settled(json!({}));
    client.call("keep_up_noise", json!({ "per_second": 10_000, "seconds": seconds })).result();
    let began = std::time::Instant::now();
    let mut calls = 0;
    while began.elapsed().as_secs() < seconds {
        let answer = client.call("echo", json!({ "at": calls }));
        assert_eq!(answer.result()["structuredContent"]["at"], calls);
        assert!(answer.before.is_empty(), "noise is not passed on: {:?}", answer.before);
        calls += 1;
    }
    assert!(calls > 20, "{calls}");
    works(&mut client, "after the noise");
    check_memory(&mut gate, most, "noise");
    let skipped = gate.stderr().matches("skipped a line on stdout").count();
    assert!((1..500).contains(&skipped), "a sample of it is logged: {skipped}");
}

#[test]
fn a_line_without_an_end_takes_no_memory_and_no_call_with_it() {
    let bytes: u64 = if soak() { 4 << 30 } else { 256 << 20 };
    let (mut gate, mut client, most) = settled(json!({ "timeout_seconds": 600 }));
    std::thread::scope(|scope| {
        let meanwhile = scope.spawn(|| post(&gate, &client, &echo(1_000)));
        assert!(post(&gate, &client, &endless(bytes, 0)).contains("it ended"));
        assert!(meanwhile.join().unwrap().contains("structuredContent"), "it waited for its turn");
    });
    works(&mut client, "after the line");
    check_memory(&mut gate, most, "a line without an end");
}

#[test]
fn calls_behind_a_line_without_an_end_fail_clearly_and_the_next_ones_work() {
    let (mut gate, mut client, most) = settled(json!({ "timeout_seconds": 1 }));
    std::thread::scope(|scope| {
        let line = scope.spawn(|| post(&gate, &client, &endless(0, 4_000)));
        let (gate, client) = (&gate, &client);
        let call = |id| scope.spawn(move || post(gate, client, &echo(id)));
        let meanwhile: Vec<_> = (0..20).map(|at| call(1_000 + at)).collect();
        for answer in [line].into_iter().chain(meanwhile) {
            let answer = answer.join().unwrap();
            // Those that came before the line began are answered, of course.
            let clear =
                answer.contains("`fx` did not answer within 1 s") || answer.contains("structuredContent");
            assert!(clear, "{answer}");
        }
    });
    // It takes as long as the line does.
    while client.call("echo", json!({})).message.get("result").is_none() {}
    works(&mut client, "after the line");
    check_memory(&mut gate, most, "calls behind a line without an end");
}

fn echo(id: u32) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "echo", "arguments": {} } })
        .to_string()
}

fn endless(bytes: u64, ms: u64) -> String {
    json!({ "jsonrpc": "2.0", "id": "endless", "method": "tools/call",
        "params": { "name": "endless", "arguments": { "bytes": bytes, "ms": ms } } })
    .to_string()
}

#[test]
fn messages_around_the_cap_pass_or_fail_clearly() {
    let (mut gate, mut client, most) = settled(json!({}));
    for _ in 0..if soak() { 50 } else { 2 } {
        for bytes in [CAP - 1, CAP] {
            let answer = client.call("sized", json!({ "bytes": bytes }));
            let text = answer.text();
            assert!(text.len() > bytes - 200 && text.bytes().all(|byte| byte == b'x'), "{bytes}");
            works(&mut client, "after a message within the cap");
        }
        for bytes in [CAP + 1, CAP + 20_000, 4 * CAP] {
            let answer = client.call("sized", json!({ "bytes": bytes }));
            let message = answer.error()["message"].as_str().unwrap();
            let clear = message.contains("`fx`") && message.contains("limits.server_message_bytes");
            assert!(clear && message.contains(&bytes.to_string()), "{message}");
            works(&mut client, "after a message beyond the cap");
        }
    }
    check_memory(&mut gate, most, "messages around the cap");
}
