//! Event streams over HTTP: what travels on them, and what does not end with them.

use serde_json::json;

use super::client::{POST, Site, Wire, call};
use super::fake::{progress, sampling};
use crate::jsonrpc::{Kind, Message};

struct Client {
    site: Site,
    id: String,
}

impl Client {
    async fn new() -> Client {
        let site = Site::new().await;
        let id = site.initialize(&[]).await;
        Client { site, id }
    }

    async fn open(&self, method: &str, body: &str) -> Wire {
        let mut wire = self.site.connect().await;
        let headers = [POST, &[("Mcp-Session-Id", self.id.as_str())]].concat();
        wire.request(method, "/a/mcp", &headers, body).await;
        wire
    }

    /// Opens the session's own stream.
    async fn listen(&self) -> Wire {
        let mut wire = self.open("GET", "").await;
        let head = wire.head().await;
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(head.header("x-accel-buffering"), Some("no"));
        assert!(head.header("cache-control").is_some_and(|value| value.contains("no-transform")));
        wire
    }

    async fn post(&self, body: &str) -> u16 {
        self.open("POST", body).await.answer().await.status
    }
}

fn list_changed() -> Message {
    Message::notification("notifications/tools/list_changed", None)
}

#[tokio::test]
async fn an_answer_that_comes_first_is_plain_json() {
    let client = Client::new().await;
    let answer = client.open("POST", &call("\"x\"", "echo")).await.answer().await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["id"], "x");
}

#[tokio::test]
async fn progress_comes_in_order_and_before_the_answer() {
    let client = Client::new().await;
    let mut wire = client.open("POST", &call("1", "progress")).await;
    let head = wire.head().await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    for step in 1..=3 {
        let event = wire.event().await.expect("progress");
        assert_eq!(
            (&event["method"], &event["params"]["progress"]),
            (&json!("notifications/progress"), &json!(step))
        );
    }
    assert_eq!(wire.event().await.expect("the answer"), json!({"jsonrpc":"2.0","id":1,"result":{"steps":3}}));
    assert_eq!(wire.event().await, None);
}

#[tokio::test]
async fn clients_that_take_only_one_kind_get_that() {
    let client = Client::new().await;
    let id = ("Mcp-Session-Id", client.id.as_str());
    let json_only = [("content-type", "application/json"), ("accept", "application/json"), id];
    let answer = client.site.send("POST", "/a/mcp", &json_only, &call("1", "progress")).await;
    assert_eq!(answer.json(), json!({"jsonrpc":"2.0","id":1,"result":{"steps":3}}));
    let events_only = [("content-type", "application/json"), ("accept", "text/event-stream"), id];
    for body in [call("2", "gone"), r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#.to_owned()] {
        let answer = client.site.send("POST", "/a/mcp", &events_only, &body).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.body, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n");
    }
}

#[tokio::test]
async fn a_question_travels_on_the_stream_of_its_call_and_the_answer_finds_back() {
    let client = Client::new().await;
    let mut wire = client.open("POST", &call("1", "ask")).await;
    wire.head().await;
    let question = wire.event().await.expect("the question");
    assert_eq!(question["method"], "sampling/createMessage");
    let id = question["id"].as_str().expect("an id of Lockgate's own").to_owned();
    // Neither another session nor another id answers it.
    let other = client.site.initialize(&[]).await;
    let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":"{id}","result":{{"role":"user"}}}}"#);
    let foreign = [POST, &[("Mcp-Session-Id", other.as_str())]].concat();
    assert_eq!(client.site.send("POST", "/a/mcp", &foreign, &answer(&id)).await.status, 202);
    assert_eq!(client.post(&answer("99")).await, 202);
    assert_eq!(client.post(&answer("lg-999")).await, 202);
    assert_eq!(client.post(&answer(&id).replace("user", "assistant")).await, 202);
    assert_eq!(wire.event().await.expect("the answer")["result"]["role"], "assistant");
    assert_eq!(client.post(&answer(&id)).await, 202, "answered twice: dropped");
}

#[tokio::test]
async fn a_question_that_is_void_is_withdrawn() {
    let client = Client::new().await;
    let mut wire = client.open("POST", &call("1", "ask and forget")).await;
    wire.head().await;
    let question = wire.event().await.expect("the question");
    client.site.shared.gate.add_permits(1);
    let withdrawn = wire.event().await.expect("its withdrawal");
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    assert_eq!(wire.event().await.expect("the answer")["id"], 1);
}

#[tokio::test]
async fn what_the_client_did_not_declare_is_not_asked() {
    let client = Client::new().await;
    let session = client.site.shared.session(0);
    let elicitation = Message::request(b"5", "elicitation/create", Some(br#"{"message":"?"}"#));
    let refusal = session.ask(elicitation).await;
    assert_eq!((refusal.kind(), refusal.id()), (Kind::Error, Some(&b"5"[..])));
    assert!(String::from_utf8_lossy(refusal.bytes()).contains("`elicitation`"));
}

#[tokio::test]
async fn cancelling_ends_that_call_in_that_session_only() {
    let client = Client::new().await;
    let mut wire = client.open("POST", &call("1", "gate")).await;
    client.site.until("call gate").await;
    let cancel = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
    };
    let other = client.site.initialize(&[]).await;
    let foreign = [POST, &[("Mcp-Session-Id", other.as_str())]].concat();
    assert_eq!(client.site.send("POST", "/a/mcp", &foreign, &cancel("1")).await.status, 202);
    for unmatched in ["\"1\"", "2", "null"] {
        assert_eq!(client.post(&cancel(unmatched)).await, 202, "{unmatched}");
    }
    assert_eq!(client.post(r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#).await, 202);
    assert_eq!(client.post(&call("3", "echo")).await, 200);
    client.site.until("done echo").await;
    client.site.events.none().await;
    assert_eq!(client.post(&cancel("1")).await, 202);
    client.site.until("cancelled gate").await;
    assert_eq!(wire.answer().await.body, "", "no answer");
}

#[tokio::test]
async fn a_client_that_disconnects_has_not_cancelled() {
    let client = Client::new().await;
    let mut listening = client.listen().await;
    let wire = client.open("POST", &call("1", "late")).await;
    client.site.until("call late").await;
    drop(wire);
    // Until the loss is noticed the call's own stream counts; a second call shows that it is.
    assert_eq!(client.post(&call("2", "echo")).await, 200);
    client.site.until("done echo").await;
    client.site.shared.gate.add_permits(1);
    client.site.until("done late").await;
    assert_eq!(listening.event().await.expect("progress")["params"]["progress"], 1);
    assert_eq!(client.post(&call("1", "echo")).await, 200, "the id is free again");
}

#[tokio::test]
async fn what_belongs_to_no_call_waits_for_the_stream() {
    let client = Client::new().await;
    let session = client.site.shared.session(0);
    session.notify(list_changed());
    session.notify(progress(1, 0));
    session.notify(list_changed());
    let mut wire = client.listen().await;
    assert_eq!(wire.event().await.expect("the older one")["method"], "notifications/progress");
    assert_eq!(wire.event().await.expect("once")["method"], "notifications/tools/list_changed");
    session.notify(progress(2, 0));
    assert_eq!(wire.event().await.expect("at once")["params"]["progress"], 2);
}

#[tokio::test]
async fn a_question_that_belongs_to_no_call_waits_for_the_stream() {
    let client = Client::new().await;
    let session = client.site.shared.session(0);
    let asking = tokio::spawn(async move { session.ask(sampling()).await });
    let mut wire = client.listen().await;
    let id = wire.event().await.expect("the question")["id"].as_str().expect("an id").to_owned();
    client.post(&format!(r#"{{"jsonrpc":"2.0","id":"{id}","error":{{"code":-1,"message":"no"}}}}"#)).await;
    assert_eq!(asking.await.expect("no panic").kind(), Kind::Error);
}

#[tokio::test]
async fn a_second_stream_is_refused_while_the_first_is_read() {
    let client = Client::new().await;
    let first = client.listen().await;
    assert_eq!(client.open("GET", "").await.answer().await.status, 409);
    drop(first);
    // As soon as the listener has noticed.
    while client.open("GET", "").await.head().await.status != 200 {}
}

#[tokio::test]
async fn a_stream_that_is_no_longer_young_gives_way_to_a_new_one() {
    let site = Site::with(false, |config| config.limits.ping_seconds = 0).await;
    let id = site.initialize(&[]).await;
    let client = Client { site, id };
    let mut old = client.listen().await;
    let mut new = client.listen().await;
    assert_eq!(old.event().await, None, "it ends in good order");
    client.site.shared.session(0).notify(list_changed());
    assert!(new.event().await.is_some());
}

#[tokio::test]
async fn a_slow_reader_is_cut_and_its_call_goes_on() {
    let client = Client::new().await;
    let wire = client.open("POST", &call("1", "flood")).await;
    // 64 MiB are on their way; nothing is read before all has been sent.
    client.site.until("done flood").await;
    let received = wire.closes().await;
    assert!(received.len() < 32 << 20 && !received.contains("\"id\":1"), "{} bytes", received.len());
    assert!(!received.ends_with("0\r\n\r\n"), "nobody takes it for complete");
    assert_eq!(client.post(&call("2", "echo")).await, 200, "the session is well");
}

#[tokio::test]
async fn a_panic_behind_the_endpoint_is_an_error_answer() {
    let client = Client::new().await;
    let answer = client.open("POST", &call("1", "panic")).await.answer().await;
    assert_eq!((answer.code(), answer.json()["id"].as_i64()), (-32603, Some(1)));
    assert_eq!(client.post(&call("1", "echo")).await, 200);
}
