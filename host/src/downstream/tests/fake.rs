//! An endpoint whose server does what the name of the tool says.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, Semaphore, mpsc};

use super::patience::soon;
use crate::config::{Config, Server};
use crate::downstream::endpoint::{Endpoint, Joined, Opened, Standing};
use crate::filter::{Caller, Principal, RequestHead};
use crate::gateway::{Authenticated, Refusal};
use crate::jsonrpc::{Kind, Message};
use crate::keys::Keys;
use crate::proxy::{CallScope, Downlink, Joining, Opening};

/// What happened behind the endpoint, in order.
pub struct Events(Mutex<mpsc::UnboundedReceiver<String>>);

impl Events {
    /// The next one.
    pub async fn next(&self) -> String {
        soon("the next event", self.take()).await
    }

    /// Skips what happened until it is `awaited`.
    pub async fn until(&self, awaited: &str) {
        let skipped = async { while self.take().await != awaited {} };
        soon(&format!("the event `{awaited}`"), skipped).await;
    }

    async fn take(&self) -> String {
        self.0.lock().await.recv().await.expect("the endpoint is alive")
    }

    /// One that happened already.
    pub async fn next_now(&self) -> Option<String> {
        self.0.lock().await.try_recv().ok()
    }

    /// None may have happened that was not awaited.
    pub async fn none(&self) {
        if let Ok(event) = self.0.lock().await.try_recv() {
            panic!("unexpected: {event}");
        }
    }
}

pub struct Fake {
    config: Arc<Config>,
    keys: Keys,
    authenticates: bool,
    shared: Arc<Shared>,
}

pub struct Shared {
    events: mpsc::UnboundedSender<String>,
    /// `gate` calls pass one permit at a time.
    pub gate: Semaphore,
    /// The downlinks of the sessions, in the order of their opening.
    pub sessions: std::sync::Mutex<Vec<Arc<dyn Downlink>>>,
    /// The downlinks of the subscriptions, in the order of their acknowledgement.
    pub subscriptions: std::sync::Mutex<Vec<Arc<dyn Downlink>>>,
}

impl Shared {
    fn say(&self, event: impl Into<String>) {
        let _ = self.events.send(event.into());
    }

    pub fn session(&self, n: usize) -> Arc<dyn Downlink> {
        self.sessions.lock().expect("no panic in it")[n].clone()
    }

    pub fn subscription(&self, n: usize) -> Arc<dyn Downlink> {
        self.subscriptions.lock().expect("no panic in it")[n].clone()
    }
}

impl Fake {
    /// With servers `a` and `b` (and a disabled one), configured further by `configure`.
    pub fn new(authenticates: bool, configure: impl FnOnce(&mut Config)) -> (Fake, Arc<Shared>, Events) {
        let mut config = Config::default();
        config.servers.insert("a".into(), Server::default());
        config.servers.insert("b".into(), Server::default());
        config.servers.insert("off".into(), Server { disabled: true, ..Server::default() });
        configure(&mut config);
        let (events, happened) = mpsc::unbounded_channel();
        let gate = Semaphore::new(0);
        let shared = Arc::new(Shared {
            events,
            gate,
            sessions: Default::default(),
            subscriptions: Default::default(),
        });
        let keys = Keys::new(&config.keys);
        let fake = Fake { keys, config: Arc::new(config), authenticates, shared: shared.clone() };
        (fake, shared, Events(Mutex::new(happened)))
    }
}

impl Endpoint for Fake {
    fn config(&self) -> Arc<Config> {
        self.config.clone()
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn authenticate(&self, head: RequestHead) -> BoxFuture<'_, Result<Authenticated, Refusal>> {
        let outcome = if self.authenticates {
            let token = head.headers.get("authorization").and_then(|value| value.to_str().ok());
            match token.and_then(|token| token.strip_prefix("Bearer ")) {
                Some(token) => Ok(Authenticated {
                    // `alice.1` and `alice.2` are two tokens of one principal.
                    principal: Some(Arc::new(Principal {
                        id: token.split('.').next().unwrap_or_default().to_owned(),
                        issuer: "test".into(),
                        claims: Bytes::from_static(b"{}"),
                        // Tokens of `brief` hold for an hour.
                        expires_at: token.starts_with("brief").then(|| {
                            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                            now.expect("after 1970").as_secs() + 3_600
                        }),
                    })),
                    hidden_headers: vec!["x-secret".into()],
                }),
                None => Err(Refusal {
                    status: 401,
                    challenge: Some("Bearer realm=\"test\"".into()),
                    message: "who are you?".into(),
                }),
            }
        } else {
            Ok(Authenticated { principal: None, hidden_headers: Vec::new() })
        };
        self.shared.say(format!("authenticate {}", head.method));
        async move { outcome }.boxed()
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Opened> {
        let shared = self.shared.clone();
        async move {
            let params: serde_json::Value = serde_json::from_slice(&opening.params).expect("JSON");
            shared.say(format!("open {} {}", opening.server, params["protocolVersion"].as_str().unwrap_or("?")));
            if params["clientInfo"]["name"] == "unwelcome" {
                return Err(Message::error(None, -31000, "server `a` could not be started", None));
            }
            if params["clientInfo"]["name"] == "slow" {
                shared.gate.acquire().await.expect("open").forget();
            }
            shared.sessions.lock().expect("no panic in it").push(opening.downlink);
            let standing: Arc<dyn Standing> = Arc::new(FakeServer { shared });
            let result = r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}"#;
            Ok((standing, Bytes::from_static(result.as_bytes())))
        }
        .boxed()
    }

    fn join(&self, joining: Joining) -> BoxFuture<'_, Joined> {
        let shared = self.shared.clone();
        async move {
            shared.say(format!("join {} {}", joining.server, joining.caller.client.protocol_version));
            let standing: Arc<dyn Standing> = Arc::new(FakeServer { shared });
            Ok(standing)
        }
        .boxed()
    }
}

struct FakeServer {
    shared: Arc<Shared>,
}

impl Standing for FakeServer {
    fn call(&self, request: Message, scope: CallScope) -> BoxFuture<'_, Option<Message>> {
        let shared = self.shared.clone();
        let name = request.param_text("name").unwrap_or_default().into_owned();
        let id = request.id().expect("a request").to_vec();
        if request.method() == Some("subscriptions/listen") {
            return async move { listen(&shared, &id, &scope).await }.boxed();
        }
        async move {
            shared.say(format!("call {name}"));
            if let Some(code) = name.strip_prefix("error ") {
                let code = code.parse().expect("a code");
                return Some(Message::error(Some(&id), code, "as asked", Some(br#"{"kept":1}"#)));
            }
            let ran = act(&shared, &name, &request, &scope);
            let result = tokio::select! {
                result = ran => result,
                () = scope.cancel.cancelled() => {
                    shared.say(format!("cancelled {name}"));
                    return None;
                }
            };
            shared.say(format!("done {name}"));
            Some(Message::response(&id, &result))
        }
        .boxed()
    }

    fn notify(&self, notification: Message, _: Arc<Caller>) -> BoxFuture<'_, ()> {
        self.shared.say(format!("notified {}", notification.method().unwrap_or("?")));
        async {}.boxed()
    }

    fn lists_changed(&self) {
        self.shared.say("lists changed");
        if let Some(session) = self.shared.sessions.lock().expect("no panic in it").last() {
            session.notify(Message::notification("notifications/tools/list_changed", None));
        }
    }

    fn close(&self) {
        self.shared.say("closed");
    }
}

/// Acknowledges everything, and lasts until one of both ends has enough.
async fn listen(shared: &Shared, id: &[u8], scope: &CallScope) -> Option<Message> {
    let meta = format!(r#"{{"io.modelcontextprotocol/subscriptionId":{}}}"#, String::from_utf8_lossy(id));
    let params = format!(r#"{{"_meta":{meta},"notifications":{{"toolsListChanged":true}}}}"#);
    let acknowledged = "notifications/subscriptions/acknowledged";
    scope.downlink.notify(Message::notification(acknowledged, Some(params.as_bytes())));
    shared.subscriptions.lock().expect("no panic in it").push(scope.downlink.clone());
    shared.say("listen");
    tokio::select! {
        () = scope.cancel.cancelled() => {
            shared.say("cancelled listen");
            None
        }
        () = scope.ending.cancelled() => {
            shared.say("ended listen");
            let result = format!(r#"{{"resultType":"complete","_meta":{meta}}}"#);
            Some(Message::response(id, result.as_bytes()))
        }
    }
}

async fn act(shared: &Shared, name: &str, request: &Message, scope: &CallScope) -> Vec<u8> {
    match name {
        "echo" => request.params().expect("params").to_vec(),
        "who" => {
            let principal = scope.caller.principal.as_ref().map(|p| p.id.clone());
            let names: Vec<_> = scope.caller.headers.keys().map(|name| name.as_str()).collect();
            serde_json::json!({ "principal": principal, "headers": names }).to_string().into()
        }
        "gate" => {
            shared.gate.acquire().await.expect("open").forget();
            b"{\"passed\":true}".to_vec()
        }
        "progress" => {
            for step in 1..=3 {
                scope.downlink.notify(progress(step, 0));
            }
            b"{\"steps\":3}".to_vec()
        }
        "begun" => {
            scope.downlink.notify(progress(1, 0));
            shared.gate.acquire().await.expect("open").forget();
            b"{}".to_vec()
        }
        "two steps" | "two steps, large" => {
            scope.downlink.notify(progress(1, 0));
            shared.gate.acquire().await.expect("open").forget();
            scope.downlink.notify(progress(2, 0));
            let padding = "x".repeat(if name == "two steps" { 0 } else { 1 << 10 });
            if padding.is_empty() {
                b"{\"steps\":2}".to_vec()
            } else {
                format!("{{\"x\":\"{padding}\"}}").into()
            }
        }
        "late" => {
            shared.gate.acquire().await.expect("open").forget();
            scope.downlink.notify(progress(1, 0));
            b"{}".to_vec()
        }
        "flood" => {
            for step in 0.. {
                scope.downlink.notify(progress(step, 64 << 10));
                tokio::task::yield_now().await;
                if step >= 1000 {
                    break;
                }
            }
            b"{}".to_vec()
        }
        "ask" => {
            let answer = scope.downlink.ask(sampling()).await;
            let kind = if answer.kind() == Kind::Result { "result" } else { "error" };
            shared.say(format!("answered {kind}"));
            answer.result().or(answer.error_object()).expect("one of them").to_vec()
        }
        "ask and forget" => {
            {
                let asking = scope.downlink.ask(sampling());
                tokio::select! {
                    _ = asking => panic!("nobody answers this"),
                    permit = shared.gate.acquire() => permit.expect("open").forget(),
                }
            }
            b"{}".to_vec()
        }
        "panic" => panic!("as asked"),
        _ => b"{}".to_vec(),
    }
}

pub fn sampling() -> Message {
    Message::request(b"99", "sampling/createMessage", Some(br#"{"messages":[],"maxTokens":1}"#))
}

pub fn progress(step: u32, padding: usize) -> Message {
    let params = format!(r#"{{"progressToken":"p","progress":{step},"message":"{}"}}"#, "x".repeat(padding));
    Message::notification("notifications/progress", Some(params.as_bytes()))
}
