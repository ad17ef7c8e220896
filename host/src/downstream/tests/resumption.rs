//! Streams that were lost and are asked for again: what comes back, to whom, and what does not.

use serde_json::{Value, json};

use super::client::{INITIALIZE, POST, Site, Wire, call};
use super::fake::progress;
use crate::config::Config;
use crate::jsonrpc::Message;

struct Client<'a> {
    site: &'a Site,
    id: String,
}

impl<'a> Client<'a> {
    async fn new(site: &'a Site, headers: &[(&str, &str)]) -> Client<'a> {
        let answer = site.post(headers, &INITIALIZE.replace("2025-06-18", "2025-11-25")).await;
        let id = answer.header("mcp-session-id").expect("a session id").to_owned();
        Client { site, id }
    }

    async fn open(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Wire {
        let mut wire = self.site.connect().await;
        let headers = [POST, &[("Mcp-Session-Id", self.id.as_str())], headers].concat();
        wire.request(method, "/a/mcp", &headers, body).await;
        wire
    }

    async fn listen(&self) -> Wire {
        self.come_back(&[]).await
    }

    async fn come_back(&self, headers: &[(&str, &str)]) -> Wire {
        loop {
            let mut wire = self.open("GET", headers, "").await;
            match wire.head().await.status {
                200 => return wire,
                // The loss of the one before is not noticed yet.
                status => assert_eq!(status, 409),
            }
        }
    }

    async fn after(&self, id: &str) -> Wire {
        self.come_back(&[("Last-Event-ID", id)]).await
    }
}

async fn site(configure: impl FnOnce(&mut Config)) -> Site {
    Site::with(false, configure).await
}

/// The next event with its id; the data of the first one of a stream is null.
async fn next(wire: &mut Wire) -> (String, Value) {
    let (id, data) = wire.event_with_id().await.expect("an event");
    (id.expect("an id"), data)
}

fn step(event: &Value) -> i64 {
    event["params"]["progress"].as_i64().unwrap_or_else(|| panic!("no progress: {event}"))
}

#[tokio::test]
async fn a_lost_stream_goes_on_where_it_was() {
    let site = site(|_| {}).await;
    let client = Client::new(&site, &[]).await;
    let session = site.shared.session(0);
    let mut wire = client.listen().await;
    let (first, nothing) = next(&mut wire).await;
    assert_eq!(nothing, Value::Null, "an id before there is anything to say");
    session.notify(progress(1, 0));
    let (one, event) = next(&mut wire).await;
    assert_eq!(step(&event), 1);
    drop(wire);
    session.notify(progress(2, 0));
    session.notify(progress(3, 0));
    for (from, expected) in [(&one, 2..=4), (&first, 1..=4)] {
        let mut wire = client.after(from).await;
        assert_eq!(next(&mut wire).await.1, Value::Null);
        for wanted in expected.clone().take_while(|step| *step < 4) {
            assert_eq!(step(&next(&mut wire).await.1), wanted);
        }
        if from == &one {
            session.notify(progress(4, 0));
        }
        assert_eq!(step(&next(&mut wire).await.1), 4);
    }
}

#[tokio::test]
async fn the_answer_of_a_call_waits_for_its_client() {
    let site = site(|_| {}).await;
    let client = Client::new(&site, &[]).await;
    let mut wire = client.open("POST", &[], &call("7", "two steps")).await;
    wire.head().await;
    let (first, _) = next(&mut wire).await;
    let (one, event) = next(&mut wire).await;
    assert_eq!(step(&event), 1);
    drop(wire);
    let mut early = client.after(&one).await;
    assert_eq!(next(&mut early).await.1, Value::Null, "the call is under way, and read again");
    site.shared.gate.add_permits(1);
    site.until("done two steps").await;
    assert_eq!(step(&next(&mut early).await.1), 2);
    let answer = json!({ "jsonrpc": "2.0", "id": 7, "result": { "steps": 2 } });
    assert_eq!(next(&mut early).await.1, answer);
    assert_eq!(early.event_with_id().await, None, "nothing follows an answer");
    // Once more from the beginning: the end may have been lost as well.
    let mut late = client.after(&first).await;
    let mut events = Vec::new();
    while let Some((_, event)) = late.event_with_id().await {
        events.push(event);
    }
    assert_eq!(events.last(), Some(&answer));
    assert_eq!(events.iter().filter(|event| event.get("method").is_some()).count(), 2);
}

#[tokio::test]
async fn ids_of_others_forged_and_forgotten_ones_bring_back_nothing() {
    let site = site(|config| config.limits.resume_events = 2).await;
    let (client, other) = (Client::new(&site, &[]).await, Client::new(&site, &[]).await);
    let session = site.shared.session(0);
    let mut wire = client.listen().await;
    let (first, _) = next(&mut wire).await;
    session.notify(progress(1, 0));
    let (one, _) = next(&mut wire).await;
    let altered = format!("{}{}", &one[..one.len() - 1], if one.ends_with('A') { 'E' } else { 'A' });
    // `other` never gets a byte of `client`; it is told to look again.
    for id in [&*one, &*altered, "forged", "1", ""] {
        let mut wire = other.after(id).await;
        assert_eq!(next(&mut wire).await.1, Value::Null);
        assert_eq!(next(&mut wire).await.1["method"], "notifications/tools/list_changed", "{id}");
    }
    for number in 2..=4 {
        session.notify(progress(number, 0));
        assert_eq!(step(&next(&mut wire).await.1), i64::from(number));
    }
    drop(wire);
    // Of four events two are kept: after the first one there is a gap.
    let mut wire = client.after(&first).await;
    assert_eq!(next(&mut wire).await.1, Value::Null);
    session.notify(Message::notification("notifications/marker", None));
    let event = next(&mut wire).await.1;
    assert!(event["method"] != "notifications/progress", "no dump: {event}");
}

#[tokio::test]
async fn what_came_for_a_reader_that_never_returns_reaches_the_next_stream() {
    let site = site(|_| {}).await;
    let client = Client::new(&site, &[]).await;
    let session = site.shared.session(0);
    let mut wire = client.listen().await;
    let (id, _) = next(&mut wire).await;
    drop(wire);
    session.notify(progress(1, 0));
    // No `Last-Event-ID`: a client that knows nothing of resumption.
    let mut wire = client.listen().await;
    assert_eq!(next(&mut wire).await.1, Value::Null);
    // Whether the first stream had it is not known here, so the client is told to look again.
    let mut event = next(&mut wire).await.1;
    if event["method"] == "notifications/progress" {
        assert_eq!(step(&event), 1);
        event = next(&mut wire).await.1;
    }
    assert_eq!(event["method"], "notifications/tools/list_changed");
    drop(wire);
    let mut wire = client.after(&id).await;
    assert_eq!(next(&mut wire).await.1, Value::Null);
    assert_eq!(next(&mut wire).await.1["method"], "notifications/tools/list_changed", "not twice");
}

#[tokio::test]
async fn an_answer_that_is_too_large_to_wait_is_an_error_that_says_so() {
    let site = site(|config| config.limits.resume_bytes = 256).await;
    let client = Client::new(&site, &[]).await;
    let mut wire = client.open("POST", &[], &call("7", "two steps, large")).await;
    wire.head().await;
    let (first, _) = next(&mut wire).await;
    next(&mut wire).await;
    drop(wire);
    // The loss is noticed by the time that a second request is answered.
    while client.open("GET", &[], "").await.head().await.status != 200 {}
    site.shared.gate.add_permits(1);
    site.until("done two steps, large").await;
    let mut wire = client.after(&first).await;
    let mut last = Value::Null;
    while let Some((_, event)) = wire.event_with_id().await {
        last = event;
    }
    assert_eq!((last["id"].as_i64(), last["error"]["code"].as_i64()), (Some(7), Some(-32603)), "{last}");
    assert!(last["error"]["message"].as_str().is_some_and(|text| text.contains("limits.resume_bytes")));
}

#[tokio::test]
async fn a_reader_that_was_too_slow_can_come_back_for_the_answer() {
    let site = site(|_| {}).await;
    let client = Client::new(&site, &[]).await;
    let mut wire = client.open("POST", &[], &call("1", "flood")).await;
    wire.head().await;
    let (first, _) = next(&mut wire).await;
    site.until("done flood").await;
    wire.closes().await;
    let mut wire = client.after(&first).await;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some((_, event)) = wire.event_with_id().await {
        bytes += event.to_string().len();
        events.push(event);
    }
    assert_eq!(events.last().expect("the answer")["id"], 1);
    assert!(bytes < 2 << 20, "no more than is kept: {bytes}");
}
