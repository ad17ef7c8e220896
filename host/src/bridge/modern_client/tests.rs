//! The adapter over real connections: to a server of 2025-11-25 that is a Python program.

use super::*;
use crate::config::{Config, Server};
use crate::filter::{CallView, Principal, Rejection};
use crate::proxy::Downlink;
use crate::requester::Requester;
use crate::upstream::ExchangeDraft;

const LEGACY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/modern_client/legacy.py");
const LONG: Duration = Duration::from_secs(30);
const ASKED: &str = r#"{"elicitation":{}}"#;

struct Deaf;

impl Downlink for Deaf {
    fn notify(&self, _: Message) {}

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        Box::pin(std::future::ready(Message::error(request.id(), -32601, "deaf", None)))
    }
}

struct Of(Option<Arc<Principal>>);

impl Outgoing for Of {
    fn exchange(&self, _: ExchangeDraft) -> BoxFuture<'_, Result<::http::HeaderMap, Rejection>> {
        Box::pin(std::future::ready(Ok(::http::HeaderMap::new())))
    }

    fn call(&self) -> Option<Arc<CallView>> {
        None
    }

    fn principal(&self) -> Option<Arc<Principal>> {
        self.0.clone()
    }
}

fn of(id: &str) -> Arc<dyn Outgoing> {
    let principal = Principal {
        issuer: "i".to_owned(),
        id: id.to_owned(),
        claims: bytes::Bytes::from_static(b"{}"),
        expires_at: None,
    };
    Arc::new(Of(Some(Arc::new(principal))))
}

async fn adapter(change: impl FnOnce(&mut Config)) -> (Arc<Upstreams>, ModernClient) {
    let mut config = Config::default();
    let server = Server {
        command: Some("python3".to_owned()),
        args: vec!["-u".to_owned(), LEGACY.to_owned()],
        env: [("PATH".to_owned(), "/usr/bin:/bin:/usr/local/bin".to_owned())].into(),
        ..Server::default()
    };
    config.servers.insert("s".to_owned(), server);
    change(&mut config);
    let upstreams = Arc::new(Upstreams::new(Arc::new(config)));
    let hello = Hello {
        server: "s".into(),
        requester: Requester::Local,
        owner: Owner::Shared,
        params: None,
        downlink: Arc::new(Deaf),
        outgoing: of("opener"),
    };
    let (adapter, _) = open(&upstreams, hello).await.unwrap();
    (upstreams, adapter)
}

fn tool(name: &str, capabilities: &str, more: &str, outgoing: Arc<dyn Outgoing>) -> UpstreamCall {
    let params = format!(
        r#"{{"name":"{name}","_meta":{{"io.modelcontextprotocol/clientCapabilities":{capabilities},"progressToken":1}}{more}}}"#
    );
    let now = now();
    UpstreamCall {
        message: Message::request(b"1", "tools/call", Some(params.as_bytes())),
        downlink: Arc::new(Deaf),
        cancel: CancellationToken::new(),
        deadline: now + LONG,
        hard_deadline: now + LONG,
        outgoing,
        definition: None,
    }
}

/// By the clock that can be moved.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// The state of a question.
async fn asked(adapter: &ModernClient, outgoing: Arc<dyn Outgoing>) -> String {
    let reply = adapter.call(tool("ask", ASKED, "", outgoing)).await.unwrap();
    let state = reply.message.result_member("requestState").and_then(jsonrpc::unescape);
    state.unwrap_or_else(|| panic!("{:?}", reply.message.bytes())).into_owned()
}

fn answered(state: &str) -> String {
    format!(r#","requestState":"{state}","inputResponses":{{"r1":{{"action":"accept"}}}}"#)
}

#[tokio::test]
async fn one_principals_state_is_nothing_to_another() {
    let (_all, adapter) = adapter(|_| {}).await;
    let state = asked(&adapter, of("ada")).await;
    let stolen = adapter.call(tool("ask", ASKED, &answered(&state), of("bob"))).await.unwrap();
    assert_eq!(translate::code(&stolen.message), Some(errors::INVALID_PARAMS));
    let done = adapter.call(tool("ask", ASKED, &answered(&state), of("ada"))).await.unwrap();
    assert!(done.message.result_member("content").is_some(), "{:?}", done.message.bytes());
}

#[tokio::test]
async fn one_of_several_principals_does_not_take_all_places() {
    let (_all, adapter) = adapter(|config| config.limits.parked_calls = 2).await;
    asked(&adapter, of("ada")).await;
    let refused = adapter.call(tool("ask", ASKED, "", of("ada"))).await.unwrap();
    let text = String::from_utf8_lossy(refused.message.bytes()).into_owned();
    assert!(text.contains("limits.parked_calls"), "{text}");
    asked(&adapter, of("bob")).await;
}

#[tokio::test]
async fn the_time_of_a_call_does_not_run_while_its_user_thinks() {
    let (_all, adapter) = adapter(|_| {}).await;
    let short = |more: &str| {
        let call = tool("ask", ASKED, more, of("ada"));
        let deadline = now() + Duration::from_secs(3);
        UpstreamCall { deadline, hard_deadline: deadline, ..call }
    };
    let reply = adapter.call(short("")).await.unwrap();
    let state = reply.message.result_member("requestState").and_then(jsonrpc::unescape).unwrap().into_owned();
    // Its own clock: the process goes on, and nothing in it waits.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    let done = adapter.call(short(&answered(&state))).await.unwrap();
    assert!(done.message.result_member("content").is_some(), "{:?}", done.message.bytes());
}

#[tokio::test]
async fn a_call_that_takes_too_long_or_is_cancelled_costs_its_connection() {
    let (_all, adapter) = adapter(|_| {}).await;
    let kinds = || adapter.core.lines.kinds();
    let call = tool("hold", ASKED, "", of("ada"));
    let deadline = now() + Duration::from_millis(700);
    let late = adapter.call(UpstreamCall { deadline, hard_deadline: deadline, ..call }).await;
    assert!(
        matches!(late, Err(UpstreamError::Timeout { .. } | UpstreamError::Unreachable { .. })),
        "{late:?}"
    );
    let call = tool("hold", ASKED, "", of("ada"));
    let cancel = call.cancel.clone();
    let (cancelled, ()) = tokio::join!(adapter.call(call), async {
        while !kinds().contains_key(ASKED) {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert!(matches!(cancelled, Err(UpstreamError::Cancelled)), "{cancelled:?}");
    while kinds().contains_key(ASKED) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_nobody_needs_is_let_go_of_but_for_the_first_of_a_kind() {
    let (_all, adapter) = adapter(|_| {}).await;
    let states = [asked(&adapter, of("ada")).await, asked(&adapter, of("ada")).await];
    let kinds = || adapter.core.lines.kinds();
    let all = [(NOTHING.to_owned(), 1), (ASKED.to_owned(), 2)].into();
    assert_eq!(kinds(), all);
    for state in &states {
        adapter.call(tool("ask", ASKED, &answered(state), of("ada"))).await.unwrap();
    }
    adapter.core.lines.sweep();
    assert_eq!(kinds(), all, "not at once");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    adapter.core.lines.sweep();
    assert_eq!(kinds(), [(NOTHING.to_owned(), 1), (ASKED.to_owned(), 1)].into());
    adapter.close();
    assert!(kinds().is_empty() && adapter.core.parks.len() == 0);
    assert!(adapter.call(tool("count", "{}", "", of("ada"))).await.is_err());
}

#[tokio::test]
async fn a_kind_gives_way_to_another_where_there_is_no_room() {
    let (_all, adapter) = adapter(|config| config.limits.bridged_connections = 2).await;
    for capabilities in [ASKED, r#"{"roots":{}}"#, r#"{"sampling":{}}"#, "{}", ASKED] {
        let counted = adapter.call(tool("count", capabilities, "", of("ada"))).await.unwrap();
        assert!(counted.message.result_member("content").is_some(), "{capabilities}");
        assert!(adapter.core.lines.kinds().values().sum::<usize>() <= 2);
    }
}

#[tokio::test]
async fn a_task_keeps_the_adapter_and_ends_with_it() {
    const KNOWS: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    let (_all, adapter) = adapter(|_| {}).await;
    let list = UpstreamCall {
        message: Message::request(b"1", "tools/list", None),
        ..tool("endless_task", KNOWS, "", of("ada"))
    };
    adapter.call(list).await.unwrap();
    assert!(!adapter.has_parked());
    let created = adapter.call(tool("endless_task", KNOWS, "", of("ada"))).await.unwrap();
    assert_eq!(created.message.result_member("resultType"), Some(&b"\"task\""[..]));
    assert!(adapter.has_parked(), "it is not let go of while there is a task");
    adapter.close();
    assert!(!adapter.has_parked());
    assert!(adapter.call(tool("endless_task", KNOWS, "", of("ada"))).await.is_err());
}
