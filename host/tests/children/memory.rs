//! Memory in flight: each principal has a share, and what its client does not read counts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;

use serde_json::json;

use crate::others::{hello, known, peer, unopened};
use crate::support::{Client, Gate, Setup};

/// More than the kernel takes for a client that does not read.
const BYTES: usize = 12 << 20;

fn open(gate: &Gate, who: &str) -> Client {
    let mut client = unopened(gate, Some(who));
    client.initialize(hello(who)).result();
    client
}

#[test]
fn slow_calls_of_one_principal_leave_room_for_others() {
    let setup = Setup::new().with_server("s", peer(&[])).with_filter(known(&["ada", "bob"]));
    let setup = setup.with_limit("client_message_bytes", 1 << 20);
    let gate = setup.with_limit("in_flight_bytes_per_principal", 3 << 20).start();
    let text = "x".repeat(900 << 10);
    let hang = json!({ "name": "hang", "arguments": { "text": text }, "_meta": { "progressToken": "p" } });
    let mut hers = open(&gate, "ada");
    let mut hanging = hers.start("tools/call", hang.clone());
    hanging.expect("notifications/progress");
    // Two copies of each: there is no room for a second.
    let refused = open(&gate, "ada").start("tools/call", hang.clone());
    assert_eq!(refused.status(), 503);
    let mut refused = refused;
    let told = refused.next().unwrap().to_string();
    assert!(told.contains("limits.in_flight_bytes_per_principal"), "{told}");
    let mut his = open(&gate, "bob").start("tools/call", hang);
    his.expect("notifications/progress");
}

#[test]
fn answers_that_nobody_reads_count_until_they_are_read() {
    let setup = Setup::new().with_fixture("s", &[]).with_filter(known(&["ada", "bob"]));
    let setup = setup.with_limit("client_message_bytes", 1 << 20);
    let gate = setup.with_limit("in_flight_bytes_per_principal", 8 << 20).start();
    let mut hers = open(&gate, "ada");
    let mut unread = TcpStream::connect(gate.address).unwrap();
    // Or the kernel takes all of the answer, in place of its client.
    setsockopt(&unread, RcvBuf, &(64 << 10)).unwrap();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "big", "arguments": { "bytes": BYTES } } })
    .to_string();
    let (session, length) = (hers.session().unwrap().to_owned(), call.len());
    write!(
        unread,
        "POST /s/mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ada\r\nmcp-session-id: {session}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{call}"
    )
    .unwrap();
    crate::until("its answer counts", Duration::from_secs(30), || hers.call("echo", json!({})).status == 503);
    open(&gate, "bob").call("echo", json!({})).result();
    let mut answer = Vec::new();
    unread.read_to_end(&mut answer).unwrap();
    assert!(answer.len() > BYTES);
    crate::until("its memory is given back", Duration::from_secs(10), || {
        hers.call("echo", json!({})).message.get("result").is_some()
    });
}
