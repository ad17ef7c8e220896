//! Connects to one server as a client would, and lists its tools.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::jsonrpc::{Limits, Message, Source};
use crate::proxy::Downlink;
use crate::requester::Requester;
use crate::upstream::{Connection, Hello, Outgoing, Owner, UpstreamCall, Upstreams};

/// Most pages of a list that are read: a server that always has one more is not read for ever.
const PAGES: usize = 100;

/// What a server that asks something is told. One that says it to us sends back what it gets.
pub const NO_ANSWER: &str = "lockgate check answers no questions";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The MCP revision agreed on.
    pub protocol_version: String,
    /// The transport that the connection came about over.
    pub transport: &'static str,
    /// What the server calls itself.
    #[serde(rename = "server_name")]
    pub name: Option<String>,
    /// Its version.
    #[serde(rename = "server_version")]
    pub version: Option<String>,
    /// The names of its tools, in its order.
    pub tools: Vec<String>,
    /// How long all of it took.
    pub milliseconds: u64,
}

/// Connects, initializes, lists tools, and lets go again.
///
/// # Errors
/// A sentence that names the server, for people.
pub async fn probe(
    upstreams: &Upstreams,
    server: Arc<str>,
    outgoing: Arc<dyn Outgoing>,
    timeout: Duration,
) -> Result<Found, String> {
    let begun = Instant::now();
    let work = async {
        let hello = |params| Hello {
            server: Arc::clone(&server),
            requester: Requester::Local,
            owner: Owner::Session(Arc::from(format!("check-{server}"))),
            params,
            downlink: Arc::new(Nobody),
            outgoing: Arc::clone(&outgoing),
        };
        let lease = match upstreams.begin(hello(Some(initialize_params()))).await {
            Err(not) => upstreams.modern_instead(not, hello(None)).await,
            Ok(lease) => Ok(lease),
        };
        let lease = lease.map_err(|e| e.to_string())?;
        let deadline = begun + timeout;
        let found = list_tools(lease.connection.as_ref(), &server, &outgoing, deadline).await?;
        Ok(Found { transport: lease.transport, ..found })
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(found) => found.map(|found| Found { milliseconds: millis(begun.elapsed()), ..found }),
        Err(_) => Err(format!("server `{server}` did not answer within {timeout:?}")),
    }
}

async fn list_tools(
    connection: &dyn Connection,
    server: &Arc<str>,
    outgoing: &Arc<dyn Outgoing>,
    deadline: Instant,
) -> Result<Found, String> {
    let handshake = connection.handshake();
    let said: Value = serde_json::from_slice(&handshake.result).unwrap_or_default();
    let text = |pointer: &str| said.pointer(pointer).and_then(Value::as_str).map(shown);
    let mut found = Found {
        protocol_version: shown(&handshake.protocol_version),
        transport: "",
        name: text("/serverInfo/name"),
        version: text("/serverInfo/version"),
        tools: Vec::new(),
        milliseconds: 0,
    };
    if said.pointer("/capabilities/tools").is_none() {
        return Ok(found);
    }
    let mut cursor: Option<Value> = None;
    for _ in 0..PAGES {
        let params = cursor.take().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params });
        let message = message(&request)?;
        let call = UpstreamCall {
            message,
            downlink: Arc::new(Nobody),
            cancel: CancellationToken::new(),
            deadline,
            hard_deadline: deadline,
            outgoing: Arc::clone(outgoing),
            definition: None,
        };
        let reply = connection.call(call).await.map_err(|e| e.to_string())?;
        let Some(result) = reply.message.result() else {
            let error: Value = reply
                .message
                .error_object()
                .and_then(|error| serde_json::from_slice(&error).ok())
                .unwrap_or_default();
            let reason = error.pointer("/message").and_then(Value::as_str).map(shown).unwrap_or_default();
            return Err(format!(
                "server `{server}` is connected, but answers tools/list with an error: {reason}"
            ));
        };
        let result: Value = serde_json::from_slice(&result).unwrap_or_default();
        let Some(tools) = result.pointer("/tools").and_then(Value::as_array) else {
            return Err(format!("server `{server}` answers tools/list without `tools`"));
        };
        found.tools.extend(tools.iter().filter_map(|t| t.pointer("/name")?.as_str()).map(shown));
        match result.pointer("/nextCursor") {
            Some(Value::String(next)) if next.is_empty() => return Ok(found),
            Some(next @ Value::String(_)) if cursor.as_ref() == Some(next) => {
                return Err(format!("server `{server}` names the same page of tools again and again"));
            }
            Some(next @ Value::String(_)) => cursor = Some(next.clone()),
            _ => return Ok(found),
        }
    }
    Err(format!("server `{server}` has more than {PAGES} pages of tools"))
}

fn initialize_params() -> Bytes {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "lockgate check", "version": env!("CARGO_PKG_VERSION") },
    });
    Bytes::from(params.to_string())
}

fn message(value: &Value) -> Result<Message, String> {
    // What is built here is small and flat.
    let limits = Limits { bytes: 64 << 10, depth: 16, members: 1_000, number_bytes: 64 };
    Message::parse(Bytes::from(value.to_string()), &limits, Source::Client)
        .map_err(|violation| violation.to_string())
}

/// A text of a server, fit for a terminal: no control characters, and not without end.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A client that wants to know nothing and cannot be asked.
struct Nobody;

impl Downlink for Nobody {
    fn notify(&self, _: Message) {}

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let id =
            request.id().and_then(|id| serde_json::from_slice::<Value>(id).ok()).unwrap_or_else(|| json!(0));
        // A ping asks only whether anybody is there; everything else is beyond this client.
        let answer = if request.method() == Some("ping") {
            json!({ "jsonrpc": "2.0", "id": id, "result": {} })
        } else {
            let error = json!({ "code": -32601, "message": NO_ANSWER });
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        };
        // What is built here is a message: should it be none, the request itself goes back and is
        // refused as an answer.
        let answer = message(&answer).unwrap_or(request);
        Box::pin(async move { answer })
    }
}
