//! Notifications past slow filters: their order, their end, their bounds.

use tokio::sync::Semaphore;

use super::*;
use crate::config::{FilterLimits, Match, Mode, OnFailure};
use crate::filter::chain::{Placed, PlacedParts};
use crate::filter::*;

const BUDGET: Duration = Duration::from_secs(2);

/// Marks what it sees when it gets a turn, and drops what says so.
struct Slow {
    turns: Arc<Semaphore>,
    hooks: Hooks,
}

impl Filter for Slow {
    fn hooks(&self) -> Hooks {
        self.hooks
    }
    fn authenticate(&self, _: Arc<RequestHead>) -> BoxFuture<'_, Result<Decision, Failure>> {
        Box::pin(std::future::ready(Ok(Decision::Skip)))
    }
    fn definitions(&self, _: DefinitionsView) -> BoxFuture<'_, Result<DefinitionsEdit, Failure>> {
        Box::pin(std::future::ready(Ok(DefinitionsEdit::default())))
    }
    fn access(&self, _: Arc<ItemsView>) -> BoxFuture<'_, Result<Vec<Visibility>, Failure>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    fn request(&self, _: Arc<CallView>) -> BoxFuture<'_, Result<Effects, Failure>> {
        Box::pin(std::future::ready(Ok(Effects::verdict(Verdict::Proceed))))
    }
    fn upstream(&self, _: Arc<ExchangeView>) -> BoxFuture<'_, Result<ExchangeEffects, Failure>> {
        Box::pin(std::future::ready(Ok(ExchangeEffects::default())))
    }
    fn response(&self, _: Arc<CallView>) -> BoxFuture<'_, Result<Effects, Failure>> {
        Box::pin(std::future::ready(Ok(Effects::verdict(Verdict::Proceed))))
    }
    fn notification<'a>(&'a self, view: Arc<NotificationView>) -> BoxFuture<'a, Result<Delivery, Failure>> {
        Box::pin(async move {
            self.turns.acquire().await.expect("open").forget();
            match crate::jsonrpc::get(&view.params, "/data") {
                Some(b"\"panic\"") => panic!("a native filter's fault"),
                Some(b"\"drop\"") => Ok(Delivery::Drop),
                Some(data) => {
                    let data = String::from_utf8_lossy(data);
                    Ok(Delivery::Pass(Some(format!("{{\"data\":{data},\"seen\":true}}").into())))
                }
                None => Ok(Delivery::Pass(None)),
            }
        })
    }
}

/// A client that writes down what it is told.
#[derive(Default)]
struct Client(Mutex<Vec<String>>);

impl Client {
    fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Downlink for Client {
    fn notify(&self, notification: Message) {
        let data = notification.param("data").unwrap_or(b"-");
        let seen = if notification.param("seen").is_some() { "seen " } else { "" };
        self.0.lock().unwrap().push(format!("{seen}{}", String::from_utf8_lossy(data)));
    }
    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        self.0.lock().unwrap().push(request.method().unwrap().to_owned());
        Box::pin(std::future::ready(Message::response(b"1", b"{}")))
    }
}

struct Scene {
    turns: Arc<Semaphore>,
    client: Arc<Client>,
    screened: Arc<Screened>,
}

fn placed(turns: &Arc<Semaphore>, hooks: Hooks) -> Arc<Placed> {
    Arc::new(Placed::new(PlacedParts {
        name: "slow".into(),
        plugin: "slow".into(),
        version: None,
        sha256: [0; 32],
        file: "x.wasm".into(),
        listed: true,
        matches: Match {
            methods: vec!["notifications/message".into(), "roots/*".into()],
            ..Match::default()
        },
        on_failure: OnFailure::Closed,
        mode: Mode::Enforce,
        limits: FilterLimits::default(),
        hooks,
        filter: Arc::new(Slow { turns: turns.clone(), hooks }),
    }))
}

fn chain(filters: &[Arc<Placed>]) -> Arc<Chain> {
    Arc::new(Chain::new("s", filters, &crate::proxy::method_kinds(), BUDGET))
}

fn scene(limit: usize) -> Scene {
    let turns = Arc::new(Semaphore::new(0));
    let hooks = Hooks { notification: true, input: true, ..Hooks::default() };
    let client = Arc::new(Client::default());
    let downlink: Arc<dyn Downlink> = client.clone();
    let chain = chain(&[placed(&turns, hooks)]);
    let screened = Screened::of_call(&downlink, &"s".into(), &chain, limit).expect("a filter looks");
    Scene { turns, client, screened }
}

fn log(data: &str) -> Message {
    let params = format!("{{\"data\":\"{data}\"}}");
    Message::notification("notifications/message", Some(params.as_bytes()))
}

fn unseen(data: &str) -> Message {
    let params = format!("{{\"data\":\"{data}\"}}");
    Message::notification("notifications/progress", Some(params.as_bytes()))
}

#[tokio::test]
async fn order_is_kept_and_nothing_comes_after_the_end() {
    let Scene { turns, client, screened } = scene(1 << 20);
    screened.notify(unseen("0"));
    assert_eq!(client.told(), ["\"0\""], "no filter looks and nothing waits: at once");
    screened.notify(log("1"));
    screened.notify(unseen("2"));
    screened.notify(log("drop"));
    screened.notify(log("3"));
    tokio::task::yield_now().await;
    assert_eq!(client.told().len(), 1, "what no filter looks at waits for its turn, too");
    turns.add_permits(3);
    screened.finish(BUDGET).await;
    let told = ["\"0\"", "seen \"1\"", "\"2\"", "seen \"3\""];
    assert_eq!(client.told(), told);
    turns.add_permits(9);
    screened.notify(log("late"));
    screened.notify(unseen("late"));
    tokio::task::yield_now().await;
    assert_eq!(client.told(), told);
}

#[tokio::test(start_paused = true)]
async fn what_filters_are_not_through_with_in_time_is_dropped() {
    let Scene { turns, client, screened } = scene(1 << 20);
    screened.notify(log("1"));
    screened.notify(unseen("2"));
    let started = tokio::time::Instant::now();
    screened.finish(BUDGET / 2).await;
    assert_eq!(started.elapsed(), BUDGET / 2);
    turns.add_permits(9);
    tokio::time::sleep(BUDGET).await;
    assert_eq!(client.told(), Vec::<String>::new(), "the answer is out by now");
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_hangs_closes_on_its_own_message_only() {
    let Scene { turns, client, screened } = scene(1 << 20);
    screened.notify(log("1"));
    screened.notify(log("2"));
    tokio::time::sleep(BUDGET * 3 / 2).await;
    turns.add_permits(1);
    screened.finish(BUDGET).await;
    assert_eq!(client.told(), ["seen \"2\""], "the first one's filters used up limits.chain_ms");
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let Scene { turns, client, screened } = scene(10 * (OVERHEAD + 80));
    for at in 0..1_000 {
        screened.notify(log(&at.to_string()));
    }
    let lost = screened.queue.lock().lost;
    assert!((980..995).contains(&lost), "{lost} dropped and counted");
    turns.add_permits(1_000);
    screened.finish(BUDGET).await;
    let told = client.told();
    assert_eq!(told.len() as u64, 1_000 - lost);
    assert_eq!(told.first().map(String::as_str), Some("seen \"0\""), "the oldest are kept");
}

#[tokio::test]
async fn a_filter_that_panics_stops_nobody_else() {
    let Scene { turns, client, screened } = scene(1 << 20);
    turns.add_permits(9);
    screened.notify(log("panic"));
    while screened.queue.lock().running {
        tokio::task::yield_now().await;
    }
    screened.notify(log("2"));
    screened.finish(BUDGET).await;
    assert_eq!(client.told(), ["seen \"2\""]);
}

#[tokio::test]
async fn a_question_comes_after_what_was_told_before_it() {
    let Scene { turns, client, screened } = scene(1 << 20);
    screened.notify(log("1"));
    let question = Message::request(b"7", "roots/list", None);
    let ask = screened.ask(question);
    turns.add_permits(1);
    ask.await;
    assert_eq!(client.told(), ["seen \"1\"", "roots/list"]);
}

#[test]
fn nothing_is_put_in_between_where_no_filter_looks() {
    let turns = Arc::new(Semaphore::new(0));
    let client: Arc<dyn Downlink> = Arc::new(Client::default());
    let chain = chain(&[placed(&turns, Hooks { request: true, ..Hooks::default() })]);
    assert!(Screened::of_call(&client, &"s".into(), &chain, 1).is_none());
}

#[tokio::test]
async fn what_a_client_tells_passes_the_same_filters() {
    let turns = Arc::new(Semaphore::new(2));
    let chain = chain(&[placed(&turns, Hooks { notification: true, ..Hooks::default() })]);
    let server: Arc<str> = "s".into();
    assert!(up(&chain, &server, log("drop")).await.is_none());
    let passed = up(&chain, &server, log("1")).await.expect("passes");
    assert_eq!(passed.param("seen"), Some(&b"true"[..]));
    let untouched = up(&chain, &server, unseen("2")).await.expect("passes");
    assert_eq!(untouched.bytes(), unseen("2").bytes());
}
