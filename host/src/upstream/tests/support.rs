//! What the tests of connections share: a client to answer questions, and servers to ask.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Server};
use crate::filter::{CallView, Principal, Rejection};
use crate::jsonrpc::Message;
use crate::proxy::Downlink;
use crate::requester::Requester;
use crate::upstream::{
    Connection, ExchangeDraft, Hello, Lease, Outgoing, Owner, Reply, UpstreamCall, UpstreamError, Upstreams,
};

pub(super) const INIT: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"roots":{}},"clientInfo":{"name":"test","version":"1"}}"#;

/// Nothing in these tests takes this long unless it is broken.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// A client: keeps what it is told, and answers questions with its name.
pub(super) struct Client {
    name: String,
    told: mpsc::UnboundedSender<String>,
    /// Questions stay open until then.
    ready: CancellationToken,
}

impl Client {
    pub(super) fn new(name: &str) -> (Arc<Client>, mpsc::UnboundedReceiver<String>) {
        let (told, heard) = mpsc::unbounded_channel();
        let ready = CancellationToken::new();
        ready.cancel();
        (Arc::new(Client { name: name.to_owned(), told, ready }), heard)
    }

    /// One that answers no question before it is made ready.
    pub(super) fn silent() -> (Arc<Client>, mpsc::UnboundedReceiver<String>, CancellationToken) {
        let (told, heard) = mpsc::unbounded_channel();
        let ready = CancellationToken::new();
        (Arc::new(Client { name: "silent".to_owned(), told, ready: ready.clone() }), heard, ready)
    }
}

/// Says that a question was dropped.
struct Dropped<'a>(&'a Client);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if !self.0.ready.is_cancelled() {
            let _ = self.0.told.send("question dropped".to_owned());
        }
    }
}

impl Downlink for Client {
    fn notify(&self, notification: Message) {
        let _ = self.told.send(text(&notification));
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let _ = self.told.send(text(&request));
        Box::pin(async move {
            let _dropped = Dropped(self);
            self.ready.cancelled().await;
            let result = format!(r#"{{"from":"{}","n":1.50}}"#, self.name);
            Message::response(b"\"downstream's own id\"", result.as_bytes())
        })
    }

    fn silence(&self) -> Option<Duration> {
        // These clients always want something.
        None
    }
}

/// Filters that set one header and keep what they saw.
#[derive(Default)]
pub(super) struct Passing {
    pub(super) seen: Mutex<Vec<(String, String)>>,
    pub(super) refuse: Option<&'static str>,
}

impl Outgoing for Passing {
    fn exchange(&self, draft: ExchangeDraft) -> BoxFuture<'_, Result<::http::HeaderMap, Rejection>> {
        self.seen.lock().unwrap().push((draft.purpose.to_owned(), draft.method.to_owned()));
        let refused = self.refuse == Some(draft.purpose);
        Box::pin(async move {
            if refused {
                return Err(Rejection { code: -32003, message: "not with me".to_owned(), data: None });
            }
            let mut headers = ::http::HeaderMap::new();
            headers.insert("x-filter", ::http::HeaderValue::from_static("filter"));
            headers.insert("x-both", ::http::HeaderValue::from_static("filter"));
            headers.insert("mcp-session-id", ::http::HeaderValue::from_static("forged"));
            Ok(headers)
        })
    }

    fn call(&self) -> Option<Arc<CallView>> {
        None
    }

    fn principal(&self) -> Option<Arc<Principal>> {
        None
    }
}

pub(super) fn outgoing() -> Arc<dyn Outgoing> {
    Arc::new(Passing::default())
}

pub(super) fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

/// A configuration with one server, named `s`.
pub(super) fn config(server: Server) -> Config {
    let mut config = Config::default();
    config.servers.insert("s".to_owned(), server);
    config
}

/// A server that is this program text.
pub(super) fn python(script: &str) -> Server {
    Server {
        command: Some("python3".to_owned()),
        args: vec!["-u".to_owned(), "-c".to_owned(), script.to_owned()],
        env: [("PATH".to_owned(), "/usr/bin:/bin:/usr/local/bin".to_owned())].into(),
        ..Server::default()
    }
}

pub(super) fn shell(script: &str) -> Server {
    Server {
        command: Some("sh".to_owned()),
        args: vec!["-c".to_owned(), script.to_owned()],
        ..Server::default()
    }
}

pub(super) fn upstreams(config: Config) -> Upstreams {
    Upstreams::new(Arc::new(config))
}

pub(super) fn hello(owner: Owner, downlink: Arc<dyn Downlink>) -> Hello {
    Hello {
        server: "s".into(),
        requester: Requester::Local,
        owner,
        params: Some(Bytes::from_static(INIT.as_bytes())),
        downlink,
        outgoing: outgoing(),
    }
}

pub(super) fn session(name: &str) -> Owner {
    Owner::Session(name.into())
}

/// A connection to `server` for one session, whose client is `client`.
pub(super) async fn connect(server: Server, client: Arc<Client>) -> (Upstreams, Lease) {
    let all = upstreams(config(server));
    let lease = soon(all.connect(hello(session("one"), client))).await.unwrap();
    (all, lease)
}

/// Fails the test instead of hanging it.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("in time")
}

/// A `tools/call` as some client would send it: always id 1, always token "p".
pub(super) fn tool(name: &str, arguments: &str, downlink: Arc<dyn Downlink>) -> UpstreamCall {
    let params = format!(r#"{{"name":"{name}","arguments":{arguments},"_meta":{{"progressToken":"p"}}}}"#);
    let now = Instant::now();
    UpstreamCall {
        message: Message::request(b"1", "tools/call", Some(params.as_bytes())),
        downlink,
        cancel: CancellationToken::new(),
        deadline: now + LONG,
        hard_deadline: now + LONG,
        outgoing: outgoing(),
        definition: None,
    }
}

pub(super) async fn run(
    connection: &Arc<dyn Connection>,
    call: UpstreamCall,
) -> Result<Reply, UpstreamError> {
    soon(connection.call(call)).await
}

/// The raw `result` of a call that must succeed.
pub(super) async fn result(connection: &Arc<dyn Connection>, call: UpstreamCall) -> String {
    let reply = run(connection, call).await.unwrap();
    let result = reply.message.result().unwrap_or_else(|| panic!("{}", text(&reply.message)));
    String::from_utf8(result.to_vec()).unwrap()
}

pub(super) async fn heard(from: &mut mpsc::UnboundedReceiver<String>) -> String {
    soon(from.recv()).await.unwrap()
}
