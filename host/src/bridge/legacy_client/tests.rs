//! Rounds of questions, with a server that says what the test wants and a client that takes its time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::calls::Way;
use super::handshake::Client;
use super::lock;
use super::results::Definitions;
use crate::filter::{CallView, Principal, Rejection};
use crate::jsonrpc::{Limits, Message, Source};
use crate::proxy::{Downlink, Wanted};
use crate::upstream::{
    Connection, ExchangeDraft, Handshake, Outgoing, Reply, Subscription, UpstreamCall, UpstreamError,
};

/// Answers one call after the other with the results it was given, and keeps the calls.
struct Server {
    results: Mutex<VecDeque<Value>>,
    /// The params of each call, and how long it was given.
    calls: Mutex<Vec<(Value, Duration)>>,
    handshake: Handshake,
}

impl Server {
    fn new(results: impl IntoIterator<Item = Value>) -> Arc<Server> {
        let handshake = Handshake { protocol_version: String::new(), result: Bytes::new() };
        let results = Mutex::new(results.into_iter().collect());
        Arc::new(Server { results, calls: Mutex::default(), handshake })
    }
}

impl Connection for Server {
    fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    fn call(&self, call: UpstreamCall) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        let params = serde_json::from_slice(&call.message.params().unwrap()).unwrap();
        let left = Instant::from_std(call.deadline).saturating_duration_since(Instant::now());
        lock(&self.calls).push((params, left));
        for progress in [1, 2] {
            let params = format!(r#"{{"progressToken":"p","progress":{progress}}}"#);
            call.downlink.notify(Message::notification("notifications/progress", Some(params.as_bytes())));
        }
        let result = lock(&self.results).pop_front().unwrap();
        let message = Message::response(b"7", result.to_string().as_bytes());
        Box::pin(async { Ok(Reply { message, head: None }) })
    }

    fn notify(&self, _: Message, _: Arc<dyn Outgoing>) -> BoxFuture<'_, Result<(), UpstreamError>> {
        Box::pin(async { Ok(()) })
    }

    fn subscribe(&self, _: Wanted) -> BoxFuture<'_, Result<Subscription, UpstreamError>> {
        Box::pin(async { Err(UpstreamError::Cancelled) })
    }

    fn closed(&self) -> Option<UpstreamError> {
        None
    }

    fn close(&self) {}
}

/// Answers every question after so long.
struct User {
    thinks: Duration,
    told: Mutex<Vec<Value>>,
    dropped: Mutex<usize>,
    answer: &'static str,
}

struct Dropped<'a>(&'a User);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        *lock(&self.0.dropped) += 1;
    }
}

impl Downlink for User {
    fn notify(&self, notification: Message) {
        lock(&self.told).push(serde_json::from_slice(notification.bytes()).unwrap());
    }

    fn ask(&self, _: Message) -> BoxFuture<'_, Message> {
        Box::pin(async {
            let _dropped = Dropped(self);
            tokio::time::sleep(self.thinks).await;
            let answer = Bytes::from_static(self.answer.as_bytes());
            Message::parse(answer, &Limits::default(), Source::Client).unwrap()
        })
    }
}

struct Unfiltered;

impl Outgoing for Unfiltered {
    fn exchange(&self, _: ExchangeDraft) -> BoxFuture<'_, Result<http::HeaderMap, Rejection>> {
        Box::pin(async { Ok(http::HeaderMap::new()) })
    }

    fn call(&self) -> Option<Arc<CallView>> {
        None
    }

    fn principal(&self) -> Option<Arc<Principal>> {
        None
    }
}

const SECOND: Duration = Duration::from_secs(1);
const ROOTS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}"#;
const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"not now"}}"#;

fn user(thinks: Duration, answer: &'static str) -> Arc<User> {
    Arc::new(User { thinks, told: Mutex::default(), dropped: Mutex::default(), answer })
}

/// A call with a second to spare, and a hundred in all.
fn call(method: &str, user: &Arc<User>) -> UpstreamCall {
    let now = Instant::now();
    UpstreamCall {
        message: Message::request(b"1", method, Some(br#"{"name":"n"}"#)),
        downlink: user.clone(),
        cancel: CancellationToken::new(),
        deadline: (now + SECOND).into_std(),
        hard_deadline: (now + 100 * SECOND).into_std(),
        outgoing: Arc::new(Unfiltered),
        definition: None,
    }
}

fn way(server: &Arc<Server>) -> Way {
    let params =
        br#"{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"sampling":{},"elicitation":{}}}"#;
    Way {
        server: "s".into(),
        client: Client::of(params, true),
        connection: server.clone(),
        has_tasks: true,
        lists_tasks: true,
        definitions: Definitions::default(),
    }
}

async fn made(server: &Arc<Server>, call: UpstreamCall) -> Value {
    let reply = way(server).call(call, 60 * SECOND).await.unwrap();
    serde_json::from_slice(reply.message.bytes()).unwrap()
}

fn asks(requests: Value) -> Value {
    json!({ "resultType": "input_required", "inputRequests": requests, "requestState": "s" })
}

fn roots() -> Value {
    asks(json!({ "r": { "method": "roots/list" } }))
}

fn done() -> Value {
    json!({ "resultType": "complete", "content": [] })
}

/// What a client of the legacy era gets of it.
fn translated() -> Value {
    json!({ "content": [] })
}

#[tokio::test(start_paused = true)]
async fn a_user_has_more_time_than_a_server_and_the_server_its_own_again() {
    let (server, user) = (Server::new([roots(), roots(), done()]), user(40 * SECOND, ROOTS));
    assert_eq!(made(&server, call("tools/call", &user)).await["result"], translated());
    let calls = lock(&server.calls).clone();
    assert_eq!(calls.iter().map(|(_, left)| *left).collect::<Vec<_>>(), [SECOND; 3]);
    assert_eq!(calls[0].0, json!({ "name": "n" }));
    let retry = json!({ "name": "n", "inputResponses": { "r": { "roots": [] } }, "requestState": "s" });
    assert_eq!((&calls[1].0, &calls[2].0), (&retry, &retry));
}

#[tokio::test(start_paused = true)]
async fn there_is_an_end_to_all_of_it() {
    let began = Instant::now();
    let (server, user) = (Server::new([roots(), roots(), roots(), done()]), user(40 * SECOND, ROOTS));
    let ended = made(&server, call("tools/call", &user)).await;
    assert_eq!(ended["result"]["isError"], true, "{ended}");
    assert_eq!(began.elapsed(), 100 * SECOND);
    assert_eq!(*lock(&user.dropped), 3, "the open question was taken back");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_answers_ends_the_call_but_for_an_elicitation() {
    let (server, silent) = (Server::new([roots()]), user(90 * SECOND, ROOTS));
    let ended = made(&server, call("prompts/get", &silent)).await;
    assert_eq!(ended["error"]["code"], -32603, "no result for it: {ended}");
    assert!(ended["error"]["message"].as_str().unwrap().contains("within 60 s"), "{ended}");
    let elicits = asks(json!({ "e": { "method": "elicitation/create", "params": { "message": "m" } } }));
    for user in [user(90 * SECOND, ROOTS), user(SECOND, ERROR)] {
        let server = Server::new([elicits.clone(), done()]);
        assert_eq!(made(&server, call("tools/call", &user)).await["result"], translated());
        assert_eq!(lock(&server.calls)[1].0["inputResponses"], json!({ "e": { "action": "cancel" } }));
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_of_a_state_alone_pause_and_forget_the_answers_before() {
    let state = |state: &str| json!({ "resultType": "input_required", "requestState": state });
    let server = Server::new([roots(), state("a"), state("b"), done()]);
    let began = Instant::now();
    made(&server, call("tools/call", &user(Duration::ZERO, ROOTS))).await;
    assert!(began.elapsed() >= Duration::from_millis(500) && began.elapsed() < Duration::from_millis(510));
    let calls = lock(&server.calls).clone();
    assert_eq!(calls[2].0, json!({ "name": "n", "requestState": "a" }));
    assert_eq!(calls[3].0, json!({ "name": "n", "requestState": "b" }));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_question_ends_the_call_and_nobody_is_asked() {
    let many: serde_json::Map<_, _> =
        (0..65).map(|n| (n.to_string(), json!({ "method": "roots/list" }))).collect();
    for (result, said) in [
        (json!({ "resultType": "input_required" }), "asked nothing"),
        (json!({ "resultType": "input_required", "requestState": 7 }), "no string"),
        (asks(json!([])), "not as an object"),
        (asks(json!({ "q": { "method": "ping" } })), "`ping`"),
        (asks(json!({ "q": 7 })), "no client answers"),
        (asks(json!({ "q": { "method": "sampling/createMessage" } })), "without saying what"),
        (asks(Value::Object(many)), "65 things"),
    ] {
        let (server, user) = (Server::new([result]), user(Duration::ZERO, ROOTS));
        let ended = made(&server, call("tools/call", &user)).await;
        let text = ended["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(said) && ended["result"]["isError"] == true, "{ended}");
        assert_eq!(*lock(&user.dropped), 0);
    }
    let server = Server::new([roots()]);
    let ended = made(&server, call("tools/list", &user(Duration::ZERO, ROOTS))).await;
    assert_eq!(ended["error"]["code"], -32603, "{ended}");
}

#[tokio::test(start_paused = true)]
async fn progress_goes_on_growing_from_round_to_round() {
    let (server, user) = (Server::new([roots(), done()]), user(Duration::ZERO, ROOTS));
    made(&server, call("tools/call", &user)).await;
    let told: Vec<_> = lock(&user.told).iter().map(|told| told["params"]["progress"].clone()).collect();
    assert_eq!(told, [json!(1), json!(2)], "and not the same again");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_ends_at_once() {
    let (server, user) = (Server::new([roots()]), user(40 * SECOND, ROOTS));
    let call = call("tools/call", &user);
    let (cancel, began) = (call.cancel.clone(), Instant::now());
    let way = way(&server);
    let (ended, ()) = tokio::join!(way.call(call, 60 * SECOND), async {
        tokio::time::sleep(SECOND).await;
        cancel.cancel();
    });
    assert!(matches!(ended, Err(UpstreamError::Cancelled)));
    assert_eq!((began.elapsed(), *lock(&user.dropped)), (SECOND, 1));
}
