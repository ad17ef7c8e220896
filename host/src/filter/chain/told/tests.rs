//! Notifications and questions through native filters: order, early answers, failures, matching.

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::super::{Placed, PlacedParts};
use super::*;
use crate::config::{FilterLimits, Match, Mode, OnFailure};
use crate::filter::*;

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it sees, and does as it is told.
struct Fake {
    name: &'static str,
    log: Log,
    ask: fn() -> Result<AskEffects, Failure>,
    answer: fn() -> Result<AskEffects, Failure>,
    told: fn() -> Result<Delivery, Failure>,
}

impl Fake {
    fn note(&self, hook: &str, of: &[u8]) {
        let of = String::from_utf8_lossy(of);
        self.log.lock().unwrap().push(format!("{}.{hook} {of}", self.name));
    }
}

impl Filter for Fake {
    fn hooks(&self) -> Hooks {
        Hooks { input: true, notification: true, ..Hooks::default() }
    }
    fn authenticate(&self, _: Arc<RequestHead>) -> BoxFuture<'_, Result<Decision, Failure>> {
        Box::pin(std::future::pending())
    }
    fn definitions(&self, _: DefinitionsView) -> BoxFuture<'_, Result<DefinitionsEdit, Failure>> {
        Box::pin(std::future::pending())
    }
    fn access(&self, _: Arc<ItemsView>) -> BoxFuture<'_, Result<Vec<Visibility>, Failure>> {
        Box::pin(std::future::pending())
    }
    fn request(&self, _: Arc<CallView>) -> BoxFuture<'_, Result<Effects, Failure>> {
        Box::pin(std::future::pending())
    }
    fn upstream(&self, _: Arc<ExchangeView>) -> BoxFuture<'_, Result<ExchangeEffects, Failure>> {
        Box::pin(std::future::pending())
    }
    fn response(&self, _: Arc<CallView>) -> BoxFuture<'_, Result<Effects, Failure>> {
        Box::pin(std::future::pending())
    }
    fn input_ask<'a>(&'a self, view: Arc<QuestionView>) -> BoxFuture<'a, Result<AskEffects, Failure>> {
        assert!(view.answer.is_none());
        self.note("ask", &view.params);
        Box::pin(async { (self.ask)() })
    }
    fn input_answer<'a>(&'a self, view: Arc<QuestionView>) -> BoxFuture<'a, Result<AskEffects, Failure>> {
        match view.answer.as_ref().unwrap() {
            Outcome::Success(result) => self.note("answer", result),
            Outcome::Failure(error) => {
                self.note("answer", crate::jsonrpc::get(error, "/code").unwrap_or_default())
            }
        }
        Box::pin(async { (self.answer)() })
    }
    fn notification<'a>(&'a self, view: Arc<NotificationView>) -> BoxFuture<'a, Result<Delivery, Failure>> {
        self.note("told", &view.params);
        if let Some(call) = &view.call {
            let stored = call.state.get("k").cloned().unwrap_or_default();
            self.note("state", &stored);
        }
        Box::pin(async { (self.told)() })
    }
}

fn fake(name: &'static str, log: &Log) -> Fake {
    Fake {
        name,
        log: log.clone(),
        ask: || Ok(AskEffects::Pass(None)),
        answer: || Ok(AskEffects::Pass(None)),
        told: || Ok(Delivery::Pass(None)),
    }
}

fn trap<T>() -> Result<T, Failure> {
    Err(Failure { kind: FailureKind::Trap, message: "trap".into() })
}

fn placed(fake: Fake, change: impl FnOnce(&mut PlacedParts)) -> Arc<Placed> {
    let mut parts = PlacedParts {
        name: fake.name.into(),
        plugin: fake.name.into(),
        version: None,
        sha256: [0; 32],
        file: "x.wasm".into(),
        listed: true,
        matches: Match::default(),
        on_failure: OnFailure::Closed,
        mode: Mode::Enforce,
        limits: FilterLimits::default(),
        hooks: fake.hooks(),
        filter: Arc::new(fake),
    };
    change(&mut parts);
    Arc::new(Placed::new(parts))
}

fn chain(filters: Vec<Arc<Placed>>) -> Chain {
    Chain::new("s", &filters, &crate::proxy::method_kinds(), Duration::from_secs(2))
}

fn called(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

fn question() -> QuestionView {
    QuestionView {
        server: "s".into(),
        method: "elicitation/create".into(),
        params: Bytes::from_static(b"{}"),
        answer: None,
        call: None,
    }
}

fn notification(down: bool) -> NotificationView {
    NotificationView {
        server: "s".into(),
        method: "notifications/message".into(),
        down,
        params: Bytes::from_static(b"{}"),
        call: None,
    }
}

async fn told(chain: &Chain, view: &mut NotificationView) -> bool {
    chain.notification(&chain.row(&view.method), view, &States::none()).await
}

#[tokio::test]
async fn down_is_the_reverse_of_up_and_edits_are_seen_by_the_next() {
    let log = Log::default();
    let edits = |name, told| placed(Fake { told, ..fake(name, &log) }, |_| {});
    let chain = chain(vec![
        edits("a", || Ok(Delivery::Pass(Some(Bytes::from_static(b"{\"by\":\"a\"}"))))),
        edits("b", || Ok(Delivery::Pass(Some(Bytes::from_static(b"{\"by\":\"b\"}"))))),
    ]);
    let mut view = notification(true);
    assert!(told(&chain, &mut view).await);
    assert_eq!(called(&log), ["b.told {}", "a.told {\"by\":\"b\"}"]);
    assert_eq!(view.params, "{\"by\":\"a\"}");
    assert!(told(&chain, &mut notification(false)).await);
    assert_eq!(called(&log), ["a.told {}", "b.told {\"by\":\"a\"}"]);
}

#[tokio::test]
async fn a_dropped_notification_goes_no_further() {
    let log = Log::default();
    let drops = Fake { told: || Ok(Delivery::Drop), ..fake("drops", &log) };
    let chain = chain(vec![placed(fake("a", &log), |_| {}), placed(drops, |_| {})]);
    assert!(!told(&chain, &mut notification(true)).await);
    assert_eq!(called(&log), ["drops.told {}"]);
}

#[tokio::test]
async fn a_failing_filter_drops_the_notification_unless_it_may_be_open() {
    for (on_failure, passes) in [(OnFailure::Closed, false), (OnFailure::Open, true)] {
        let log = Log::default();
        let bad = Fake { told: trap, ..fake("bad", &log) };
        let chain = chain(vec![placed(bad, |parts| parts.on_failure = on_failure)]);
        assert_eq!(told(&chain, &mut notification(true)).await, passes, "{on_failure:?}");
    }
}

#[tokio::test]
async fn a_tripped_filter_is_not_asked_and_stays_closed() {
    let log = Log::default();
    let bad = Fake { told: trap, ..fake("bad", &log) };
    let chain = chain(vec![placed(bad, |parts| {
        parts.limits.breaker_faults = 2;
        parts.limits.breaker_seconds = 3_600;
    })]);
    for _ in 0..9 {
        assert!(!told(&chain, &mut notification(true)).await);
    }
    assert_eq!(called(&log).len(), 2);
}

#[tokio::test]
async fn match_decides_by_method_and_by_what_the_message_is_about() {
    let log = Log::default();
    let only = |name: &'static str, methods: &[&str], names: &[&str]| {
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        placed(fake(name, &log), |parts| {
            parts.matches.methods = owned(methods);
            parts.matches.names = owned(names);
        })
    };
    let chain = chain(vec![
        only("progress", &["notifications/progress"], &[]),
        only("acme", &["notifications/acme"], &[]),
        only("files", &[], &["file:///*"]),
    ]);
    assert!(chain.row("notifications/tools/list_changed").tells(), "`files` sees any method");
    assert!(told(&chain, &mut notification(true)).await);
    assert_eq!(called(&log), Vec::<String>::new(), "a log message has no name");
    let mut updated = NotificationView {
        method: "notifications/resources/updated".into(),
        params: Bytes::from_static(br#"{"uri":"file:\/\/\/a"}"#),
        ..notification(true)
    };
    assert!(told(&chain, &mut updated).await);
    assert_eq!(called(&log).len(), 1, "the URI is unescaped first");
    let mut of_an_extension = NotificationView { method: "notifications/acme".into(), ..notification(true) };
    assert!(told(&chain, &mut of_an_extension).await);
    assert_eq!(called(&log), ["acme.told {}"]);
}

#[tokio::test]
async fn a_filter_sees_what_itself_stored_in_the_call() {
    let log = Log::default();
    let chain = chain(vec![placed(fake("a", &log), |_| {}), placed(fake("b", &log), |_| {})]);
    let mut states = States::none();
    states.put(1, [("k".to_owned(), Bytes::from_static(b"of b"))].into());
    let client = ClientInfo {
        info: None,
        capabilities: Bytes::from_static(b"{}"),
        protocol_version: "2025-11-25".into(),
        transport: "stdio",
        address: None,
    };
    let call = CallView {
        id: 1,
        method: "tools/call".into(),
        server: "s".into(),
        name: Some("t".into()),
        visible_name: None,
        caller: Arc::new(Caller { principal: None, client: Arc::new(client), headers: Arc::default() }),
        round: 0,
        deadline: Instant::now(),
        params: Bytes::from_static(b"{}"),
        answers: Arc::default(),
        definition: None,
        outcome: None,
        upstream_status: None,
        upstream_headers: None,
        state: Arc::new([("k".to_owned(), Bytes::from_static(b"of whoever was last"))].into()),
        decisions: Arc::default(),
    };
    let mut view = NotificationView { call: Some(Arc::new(call)), ..notification(false) };
    assert!(chain.notification(&chain.row(&view.method), &mut view, &states).await);
    assert_eq!(called(&log), ["a.told {}", "a.state ", "b.told {}", "b.state of b"]);
}

#[tokio::test]
async fn questions_go_down_and_answers_up() {
    let log = Log::default();
    let edits = Fake {
        ask: || Ok(AskEffects::Pass(Some(Bytes::from_static(b"{\"message\":\"b\"}")))),
        answer: || Ok(AskEffects::Pass(Some(Bytes::from_static(b"{\"action\":\"b\"}")))),
        ..fake("b", &log)
    };
    let chain = chain(vec![placed(fake("a", &log), |_| {}), placed(edits, |_| {})]);
    let (row, mut view, states) = (chain.row("elicitation/create"), question(), States::none());
    assert!(matches!(chain.ask(&row, &mut view, &states).await, Asked::Proceed));
    assert_eq!(called(&log), ["b.ask {}", "a.ask {\"message\":\"b\"}"]);
    view.answer = Some(Outcome::Success(Bytes::from_static(b"{}")));
    chain.answer(&row, &mut view, &states, 0).await;
    assert_eq!(called(&log), ["a.answer {}", "b.answer {}"]);
    assert!(matches!(view.answer, Some(Outcome::Success(answer)) if answer == "{\"action\":\"b\"}"));
}

#[tokio::test]
async fn an_early_answer_walks_back_through_the_filters_that_saw_the_question() {
    for (ask, seen) in [
        ((|| Ok(AskEffects::Answer(Bytes::from_static(b"{\"x\":1}")))) as fn() -> _, "c.answer {\"x\":1}"),
        (
            || Ok(AskEffects::Refuse(Rejection { code: 403, message: "no".into(), data: None })),
            "c.answer 403",
        ),
        (trap, "c.answer -32603"),
    ] {
        let log = Log::default();
        let middle = Fake { ask, ..fake("b", &log) };
        let filters = [fake("a", &log), middle, fake("c", &log)];
        let chain = chain(filters.into_iter().map(|fake| placed(fake, |_| {})).collect());
        let (row, mut view, states) = (chain.row("elicitation/create"), question(), States::none());
        let Asked::Answered { outcome, from } = chain.ask(&row, &mut view, &states).await else {
            panic!("not answered");
        };
        view.answer = Some(outcome);
        chain.answer(&row, &mut view, &states, from).await;
        assert_eq!(called(&log), ["c.ask {}", "b.ask {}", seen]);
    }
}

#[tokio::test]
async fn an_answer_that_a_filter_fails_on_does_not_reach_the_server() {
    for (on_failure, passes) in [(OnFailure::Closed, false), (OnFailure::Open, true)] {
        let log = Log::default();
        let bad = Fake { answer: trap, ..fake("bad", &log) };
        let chain = chain(vec![placed(bad, |parts| parts.on_failure = on_failure)]);
        let mut view = QuestionView {
            answer: Some(Outcome::Success(Bytes::from_static(b"{\"secret\":1}"))),
            ..question()
        };
        chain.answer(&chain.row("elicitation/create"), &mut view, &States::none(), 0).await;
        assert_eq!(matches!(view.answer, Some(Outcome::Success(_))), passes, "{on_failure:?}");
    }
}
