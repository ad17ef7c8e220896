//! The chain with native filters: order, early answers, failures, matching.

use std::sync::Mutex;

use super::*;
use crate::config::{FilterLimits, Match, Mode, OnFailure};
use crate::filter::{
    ClientInfo, Decision, Effects, ExchangeEffects, Filter, Hooks, Item, RequestHead, explain::explain,
};

type Log = Arc<Mutex<Vec<String>>>;
type Hook<T> = Box<dyn Fn() -> Result<T, Failure> + Send + Sync>;

/// A filter that does as it is told and writes down that it was called.
struct Fake {
    name: &'static str,
    log: Log,
    request: Option<Hook<Effects>>,
    response: Option<Hook<Effects>>,
    access: Option<Hook<Vec<Visibility>>>,
    authenticate: Option<Hook<Decision>>,
}

use futures_util::future::BoxFuture;

impl Fake {
    fn note(&self, hook: &str) {
        self.log.lock().unwrap().push(format!("{}.{hook}", self.name));
    }
}

impl Filter for Fake {
    fn hooks(&self) -> Hooks {
        Hooks {
            request: self.request.is_some(),
            response: self.response.is_some(),
            access: self.access.is_some(),
            authenticate: self.authenticate.is_some(),
            ..Hooks::default()
        }
    }
    fn authenticate(&self, _: Arc<RequestHead>) -> BoxFuture<'_, Result<Decision, Failure>> {
        self.note("authenticate");
        Box::pin(async { (self.authenticate.as_ref().unwrap())() })
    }
    fn definitions(&self, _: DefinitionsView) -> BoxFuture<'_, Result<DefinitionsEdit, Failure>> {
        Box::pin(async { Ok(DefinitionsEdit::default()) })
    }
    fn access(&self, _: Arc<ItemsView>) -> BoxFuture<'_, Result<Vec<Visibility>, Failure>> {
        self.note("access");
        Box::pin(async { (self.access.as_ref().unwrap())() })
    }
    fn request(&self, _: Arc<CallView>) -> BoxFuture<'_, Result<Effects, Failure>> {
        self.note("request");
        Box::pin(async { (self.request.as_ref().unwrap())() })
    }
    fn upstream(&self, _: Arc<ExchangeView>) -> BoxFuture<'_, Result<ExchangeEffects, Failure>> {
        Box::pin(async { Ok(ExchangeEffects::default()) })
    }
    fn response(&self, _: Arc<CallView>) -> BoxFuture<'_, Result<Effects, Failure>> {
        self.note("response");
        Box::pin(async { (self.response.as_ref().unwrap())() })
    }
}

fn fake(name: &'static str, log: &Log) -> Fake {
    Fake { name, log: log.clone(), request: None, response: None, access: None, authenticate: None }
}

fn both(name: &'static str, log: &Log) -> Fake {
    Fake { request: Some(Box::new(proceed)), response: Some(Box::new(proceed)), ..fake(name, log) }
}

fn proceed() -> Result<Effects, Failure> {
    Ok(Effects::verdict(Verdict::Proceed))
}

fn fail<T>() -> Result<T, Failure> {
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

fn view(name: &str) -> CallView {
    CallView {
        id: 1,
        method: "tools/call".into(),
        server: "s".into(),
        name: Some(name.into()),
        visible_name: Some(name.into()),
        caller: caller(),
        round: 0,
        deadline: Instant::now() + Duration::from_secs(9),
        params: Bytes::from_static(b"{}"),
        answers: Arc::default(),
        definition: None,
        outcome: None,
        upstream_status: None,
        upstream_headers: None,
        state: Arc::default(),
        decisions: Arc::default(),
    }
}

fn caller() -> Arc<crate::filter::Caller> {
    let client = ClientInfo {
        info: None,
        capabilities: Bytes::from_static(b"{}"),
        protocol_version: "2025-11-25".into(),
        transport: "stdio",
        address: None,
    };
    Arc::new(crate::filter::Caller { principal: None, client: Arc::new(client), headers: Arc::default() })
}

fn items(names: &[&str]) -> ItemsView {
    let item = |n: &&str| Item { name: Arc::from(*n), visible_name: Arc::from(*n), definition: None };
    ItemsView {
        server: "s".into(),
        kind: ItemKind::Tool,
        method: "tools/list".into(),
        items: names.iter().map(item).collect(),
        caller: caller(),
        decisions: None,
    }
}

fn called(log: &Log) -> Vec<String> {
    log.lock().unwrap().clone()
}

#[tokio::test]
async fn the_size_of_one_call_does_not_trip_the_breaker() {
    for (kind, asked) in [(FailureKind::TooLarge, 10), (FailureKind::Returned, 3)] {
        let log = Log::default();
        let fails = move || Err(Failure { kind, message: "no".into() });
        let fake = Fake { request: Some(Box::new(fails)), ..fake("f", &log) };
        let filter = placed(fake, |parts| parts.limits.breaker_faults = 3);
        let head = view("t");
        for _ in 0..10 {
            let end = Instant::now() + Duration::from_secs(9);
            let hook = async || filter.filter.request(Arc::new(head.clone())).await;
            assert!(ask(&filter, "request", end, None, hook).await.is_err());
        }
        assert_eq!(log.lock().unwrap().len(), asked, "{kind}");
    }
}

#[tokio::test]
async fn a_credential_that_was_taken_is_not_asked_about_again_for_as_long_as_the_filter_says() {
    let log = Log::default();
    let accept = |keep_seconds| {
        move || {
            let principal = crate::filter::Principal {
                id: "ada".into(),
                issuer: "keys".into(),
                claims: Bytes::from_static(b"{}"),
                expires_at: None,
            };
            Ok(Decision::Accept { principal: Arc::new(principal), keep_seconds, reads: Default::default() })
        }
    };
    let filter = |name, answer: Hook<Decision>, most| {
        let fake = Fake { authenticate: Some(answer), ..fake(name, &log) };
        placed(fake, |parts| parts.limits.kept_identities = most)
    };
    let skips = filter("skips", Box::new(|| Ok(Decision::Skip)), 10);
    let head = |key: &'static str| {
        let headers = [(http::header::AUTHORIZATION, http::HeaderValue::from_static(key))];
        Arc::new(RequestHead {
            method: "POST".into(),
            path: "/mcp".into(),
            server: None,
            headers: headers.into_iter().collect(),
            address: None,
        })
    };
    for (name, keep_seconds, most, asked) in [("keeps", 60, 10, 2), ("never", 0, 10, 4), ("none", 60, 0, 4)] {
        let filters = [Arc::clone(&skips), filter(name, Box::new(accept(keep_seconds)), most)];
        for key in ["ada", "ada", "bob", "ada"] {
            let decision = authenticate(&filters, head(key), Duration::from_secs(9)).await.unwrap();
            assert!(matches!(decision, Some(Decision::Accept { .. })), "{name}");
        }
        let log = std::mem::take(&mut *log.lock().unwrap());
        let times = |hook: String| log.iter().filter(|line| **line == hook).count();
        assert_eq!((times(format!("{name}.authenticate")), times("skips.authenticate".into())), (asked, 4));
    }
}

#[tokio::test]
async fn requests_go_forward_and_responses_backward() {
    let log = Log::default();
    let chain = chain(vec![placed(both("a", &log), |_| {}), placed(both("b", &log), |_| {})]);
    let (row, mut view, mut states) = (chain.row("tools/call"), view("t"), States::default());
    assert!(matches!(chain.request(&row, &mut view, &mut states, 0).await, Up::Proceed));
    view.outcome = Some(Outcome::Success(Bytes::from_static(b"{}")));
    chain.response(&row, &mut view, &mut states, usize::MAX).await;
    assert_eq!(called(&log), ["a.request", "b.request", "b.response", "a.response"]);
}

#[tokio::test]
async fn an_early_answer_walks_back_through_the_filters_before_it() {
    let log = Log::default();
    let mut middle = both("b", &log);
    middle.request =
        Some(Box::new(|| Ok(Effects::verdict(Verdict::Respond(Bytes::from_static(b"{\"x\":1}"))))));
    let filters =
        vec![placed(both("a", &log), |_| {}), placed(middle, |_| {}), placed(both("c", &log), |_| {})];
    let chain = chain(filters);
    let (row, mut view, mut states) = (chain.row("tools/call"), view("t"), States::default());
    let Up::Answered { outcome, below } = chain.request(&row, &mut view, &mut states, 0).await else {
        panic!("not answered")
    };
    assert!(matches!(&outcome, Outcome::Success(b) if b == "{\"x\":1}"));
    view.outcome = Some(outcome);
    chain.response(&row, &mut view, &mut states, below).await;
    assert_eq!(called(&log), ["a.request", "b.request", "a.response"]);
}

#[tokio::test]
async fn a_failing_filter_closes_the_call_unless_it_may_be_open() {
    for (on_failure, passes) in [(OnFailure::Closed, false), (OnFailure::Open, true)] {
        let log = Log::default();
        let mut bad = fake("bad", &log);
        bad.request = Some(Box::new(fail));
        let chain = chain(vec![placed(bad, |p| p.on_failure = on_failure)]);
        let mut view = view("t");
        let up = chain.request(&chain.row("tools/call"), &mut view, &mut States::default(), 0).await;
        assert_eq!(matches!(up, Up::Proceed), passes, "{on_failure:?}: {up:?}");
    }
}

#[tokio::test]
async fn access_never_fails_open_and_its_length_is_checked() {
    for answer in [fail, || Ok(vec![Visibility::Visible])] as [fn() -> Result<Vec<Visibility>, Failure>; 2] {
        let log = Log::default();
        let bad = Fake { access: Some(Box::new(answer)), ..fake("bad", &log) };
        let chain = chain(vec![placed(bad, |p| p.on_failure = OnFailure::Open)]);
        assert!(chain.access(items(&["x", "y"])).await.is_err());
    }
}

#[tokio::test]
async fn a_filter_judges_only_the_names_it_matches() {
    let log = Log::default();
    let hide = Fake { access: Some(Box::new(|| Ok(vec![Visibility::Hidden]))), ..fake("hide", &log) };
    let chain = chain(vec![placed(hide, |p| p.matches.names = vec!["delete_*".into()])]);
    let visible = chain.access(items(&["read", "delete_x", "list"])).await.unwrap();
    assert_eq!(visible, [true, false, true]);
}

#[tokio::test]
async fn a_filter_that_sees_one_method_of_a_kind_judges_the_kind() {
    let log = Log::default();
    let hide = Fake { access: Some(Box::new(|| Ok(vec![Visibility::Hidden]))), ..fake("hide", &log) };
    let chain = chain(vec![placed(hide, |p| p.matches.methods = vec!["tools/list".into()])]);
    assert!(chain.judges(ItemKind::Tool), "or a hidden tool could be called");
    assert!(!chain.judges(ItemKind::Prompt));
}

#[tokio::test]
async fn what_match_excludes_is_not_called() {
    let log = Log::default();
    let excluded = [
        placed(both("server", &log), |p| p.matches.servers = vec!["other".into()]),
        placed(both("method", &log), |p| p.matches.methods = vec!["prompts/*".into()]),
        placed(both("name", &log), |p| p.matches.names = vec!["other".into()]),
    ];
    let chain = chain(excluded.to_vec());
    let mut view = view("t");
    let up = chain.request(&chain.row("tools/call"), &mut view, &mut States::default(), 0).await;
    assert!(matches!(up, Up::Proceed));
    assert!(called(&log).is_empty());

    let kinds: &[ItemKind] = &[ItemKind::Tool];
    let why = explain(&excluded, "s", "tools/call", Some("t"), kinds, &crate::proxy::method_kinds());
    assert!(why.iter().all(|e| e.phases.is_empty()), "{why:?}");
    assert!(why[0].reason.contains("match.servers"), "{why:?}");
    assert!(why[1].reason.contains("match.methods"), "{why:?}");
    assert!(why[2].reason.contains("match.names"), "{why:?}");
}

#[tokio::test]
async fn a_tripped_filter_is_not_asked_any_more() {
    let log = Log::default();
    let bad = Fake { request: Some(Box::new(fail)), ..fake("bad", &log) };
    let chain = chain(vec![placed(bad, |p| {
        p.limits.breaker_faults = 3;
        p.limits.breaker_seconds = 3_600;
    })]);
    for _ in 0..10 {
        let mut view = view("t");
        let up = chain.request(&chain.row("tools/call"), &mut view, &mut States::default(), 0).await;
        assert!(matches!(up, Up::Answered { .. }), "closed all the time");
    }
    assert_eq!(called(&log).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_hangs_uses_up_the_phase_and_no_more() {
    struct Hangs;
    impl Filter for Hangs {
        fn hooks(&self) -> Hooks {
            Hooks { request: true, ..Hooks::default() }
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
    }
    let log = Log::default();
    let hangs = placed(fake("hangs", &log), |p| {
        p.filter = Arc::new(Hangs);
        p.hooks = Hooks { request: true, ..Hooks::default() };
    });
    let chain = chain(vec![hangs]);
    let mut view = view("t");
    let up = chain.request(&chain.row("tools/call"), &mut view, &mut States::default(), 0).await;
    assert!(matches!(up, Up::Answered { outcome: Outcome::Failure(_), .. }));
}

#[tokio::test]
async fn a_method_of_the_servers_own_meets_the_filters_that_name_it() {
    let log = Log::default();
    let only = |pattern: &str| {
        let methods = vec![pattern.to_owned()];
        move |parts: &mut PlacedParts| parts.matches.methods = methods
    };
    let chain = chain(vec![
        placed(both("acme", &log), only("acme/*")),
        placed(both("tools", &log), only("tools/*")),
        placed(both("all", &log), |_| {}),
    ]);
    let mut view = view("t");
    let up = chain.request(&chain.row("acme/do"), &mut view, &mut States::default(), 0).await;
    assert!(matches!(up, Up::Proceed));
    assert_eq!(*log.lock().unwrap(), ["acme.request", "all.request"]);
}

#[test]
fn a_task_is_followed_only_by_filters_that_see_its_result() {
    let log = Log::default();
    let follows = |methods: &[&str], names: &[&str]| {
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        let filter = placed(both("a", &log), |parts| {
            parts.matches.methods = owned(methods);
            parts.matches.names = owned(names);
        });
        chain(vec![filter]).follows_task(Some("export_all"), "tasks/result")
    };
    assert!(follows(&[], &[]));
    assert!(follows(&["tools/call", "tasks/*"], &[]));
    assert!(follows(&["prompts/*"], &[]), "it does not look at tools");
    assert!(follows(&[], &["other_*"]), "it does not look at this tool");
    assert!(!follows(&["tools/call"], &[]));
    assert!(!follows(&[], &["export_*"]), "the result of a task has no tool's name");
}
