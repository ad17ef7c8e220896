//! The end of a Lockgate: what becomes of calls under way, and how long it takes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::others::{hello, peer, unopened};
use crate::support::{Client, Gate, Http, Modern, Pending, Setup};

/// What a call is told that was under way at the end of the drain.
fn may_have_run(answer: &Value) {
    assert_eq!(answer["error"]["data"]["reason"], "gone-may-have-run", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("`s`") && message.contains("may have run"), "{message}");
}

fn hang(token: bool) -> Value {
    let meta = if token { json!({ "progressToken": "p" }) } else { json!({}) };
    json!({ "name": "hang", "arguments": {}, "_meta": meta })
}

/// Ends it as soon as so many calls hang.
fn ended(mut gate: Gate, calls: usize) {
    crate::until("all calls hang", Duration::from_secs(30), || {
        gate.stderr().matches("now hanging").count() == calls
    });
    gate.process().terminate();
    assert_eq!(gate.process().wait().code(), Some(0), "{}", gate.stderr());
}

#[test]
fn calls_under_way_at_the_end_of_the_drain_are_told_that_they_may_have_run() {
    let gate = Setup::new().with_server("s", peer(&[])).with_limit("drain_seconds", 1);
    let gate =
        gate.server_keys("s", json!({ "isolation": "shared" })).with_env("LOCKGATE_LOG", "debug").start();
    let address = gate.address;
    let open = |version: &str| {
        let mut client = unopened(&gate, None);
        let mut params = hello("client");
        params["protocolVersion"] = json!(version);
        client.initialize(params).result();
        client
    };
    let (mut plain, mut streaming, mut batching) =
        (open("2025-11-25"), open("2025-11-25"), open("2025-03-26"));
    let mut stream = Stream::open(address);
    let mut streamed: Pending = streaming.start("tools/call", hang(true));
    streamed.expect("notifications/progress");
    std::thread::scope(|scope| {
        let answers = [
            scope.spawn(|| plain.request("tools/call", hang(false)).message),
            scope.spawn(|| Modern::new(address, "s").request("tools/call", hang(false)).message),
            scope.spawn(|| {
                let call =
                    |id| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": hang(false) });
                let batch = json!([call(7)]).to_string();
                batching.raw(batch.as_bytes(), "application/json").message[0].clone()
            }),
            scope.spawn(move || stream.call("tools/call", hang(false))),
            scope.spawn(move || {
                streamed.finish().unwrap_or_else(|| panic!("no answer, only the end of the stream"))
            }),
        ];
        ended(gate, answers.len());
        for answer in answers {
            may_have_run(&answer.join().unwrap());
        }
    });
}

/// A client of HTTP+SSE.
struct Stream {
    events: crate::support::Response,
    posts: Http,
    place: String,
}

impl Stream {
    fn open(address: std::net::SocketAddr) -> Stream {
        let accept = [("accept", "text/event-stream")];
        let mut events = Http::new(address).send("GET", "/s/sse", &accept, b"").unwrap();
        let place = events.event().unwrap().unwrap();
        let mut stream = Stream { events, posts: Http::new(address), place };
        stream.call("initialize", hello("sse"));
        stream
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let headers = [("content-type", "application/json"), ("accept", "application/json")];
        let mut taken = self.posts.send("POST", &self.place, &headers, body.as_bytes()).unwrap();
        assert_eq!(taken.status, 202);
        taken.bytes().unwrap();
        self.posts.reuse(taken);
        let answer =
            self.events.event().unwrap().unwrap_or_else(|| panic!("no answer, only the end of the stream"));
        serde_json::from_str(&answer).unwrap()
    }
}

/// A server that ignores the end of its stdin and SIGTERM.
fn stubborn() -> Setup {
    Setup::fixture(&["--ignore-sigterm", "--ignore-stdin-close"]).with_limit("drain_seconds", 1)
}

/// For a machine that has more to do than it can.
const SLACK: Duration = Duration::from_millis(1_500);

#[test]
fn without_a_call_under_way_a_stubborn_child_keeps_nobody_waiting() {
    let mut gate = stubborn().start();
    let mut client: Client = gate.client("fx");
    client.call("echo", json!({})).result();
    gate.process().terminate();
    let began = Instant::now();
    assert_eq!(gate.process().wait().code(), Some(0), "{}", gate.stderr());
    assert!(began.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", began.elapsed());
}

#[test]
fn with_a_call_under_way_the_end_takes_the_drain_and_the_grace_of_children() {
    let mut gate = stubborn().start();
    let mut client = gate.client("fx");
    let call = json!({ "name": "progress", "arguments": { "n": 1 }, "_meta": { "progressToken": "p" } });
    client.request("tools/call", call);
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| client.call("hang", json!({})));
        crate::until("the call has arrived", Duration::from_secs(20), || {
            gate.arrived_text("fx").contains("\"hang\"")
        });
        gate.process().terminate();
        let began = Instant::now();
        assert_eq!(gate.process().wait().code(), Some(0), "{}", gate.stderr());
        // The drain, the last answers, the grace of children: with 20 s for the first it is less than 30 s.
        assert!(began.elapsed() < Duration::from_secs(1 + 1 + 5) + SLACK, "{:?}", began.elapsed());
        assert_eq!(hanging.join().unwrap().error()["data"]["reason"], "gone-may-have-run");
    });
}
