//! Filters: what a call passes on its way up and down. Native and WebAssembly filters look alike.
//!
//! No transport, no era and no wasm in here. A filter gets a cheap, immutable view of the call and
//! returns a verdict with its edits; the chain commits them, so a filter that fails leaves no trace.

pub mod breaker;
pub mod chain;
pub mod decisions;
pub mod explain;
pub mod glob;
pub mod identities;
pub mod ignore;
pub mod placed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use decisions::Decisions;
use futures_util::future::BoxFuture;

use crate::requester::Requester;

/// Which hooks a filter implements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the hooks of the contract")]
pub struct Hooks {
    pub authenticate: bool,
    pub catalog: bool,
    pub access: bool,
    pub request: bool,
    pub upstream: bool,
    pub response: bool,
    pub input: bool,
    pub notification: bool,
}

/// One filter, ready to be called. Every method is only called if [`Filter::hooks`] names it.
pub trait Filter: Send + Sync + 'static {
    /// Which hooks it implements.
    fn hooks(&self) -> Hooks;
    /// Whether [`request`](Filter::request) may look at [`CallView::definition`].
    fn reads_definitions(&self) -> bool {
        false
    }
    /// Who is calling?
    fn authenticate<'a>(&'a self, head: Arc<RequestHead>) -> BoxFuture<'a, Result<Decision, Failure>>;
    /// Edits, renames and reorders what a server offers.
    fn definitions<'a>(
        &'a self,
        definitions: DefinitionsView,
    ) -> BoxFuture<'a, Result<DefinitionsEdit, Failure>>;
    /// One answer per item. The chain checks the length.
    fn access<'a>(&'a self, items: Arc<ItemsView>) -> BoxFuture<'a, Result<Vec<Visibility>, Failure>>;
    /// On the way up.
    fn request<'a>(&'a self, call: Arc<CallView>) -> BoxFuture<'a, Result<Effects, Failure>>;
    /// One outgoing HTTP exchange.
    fn upstream<'a>(&'a self, exchange: Arc<ExchangeView>)
    -> BoxFuture<'a, Result<ExchangeEffects, Failure>>;
    /// On the way down.
    fn response<'a>(&'a self, call: Arc<CallView>) -> BoxFuture<'a, Result<Effects, Failure>>;
    /// A question of a server, on its way to the client.
    fn input_ask<'a>(&'a self, question: Arc<QuestionView>) -> BoxFuture<'a, Result<AskEffects, Failure>> {
        let _ = question;
        Box::pin(std::future::ready(Ok(AskEffects::Pass(None))))
    }
    /// The answer to it, on its way to the server.
    fn input_answer<'a>(&'a self, question: Arc<QuestionView>) -> BoxFuture<'a, Result<AskEffects, Failure>> {
        let _ = question;
        Box::pin(std::future::ready(Ok(AskEffects::Pass(None))))
    }
    /// A notification, in either direction.
    fn notification<'a>(
        &'a self,
        notification: Arc<NotificationView>,
    ) -> BoxFuture<'a, Result<Delivery, Failure>> {
        let _ = notification;
        Box::pin(std::future::ready(Ok(Delivery::Pass(None))))
    }
}

/// Who calls, as established by an `authenticate` filter or the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Unique within the issuer.
    pub id: String,
    /// Who vouches.
    pub issuer: String,
    /// One JSON object.
    pub claims: Bytes,
    /// Unix seconds after which it is void.
    pub expires_at: Option<u64>,
}

/// The program that calls. Constant for a session (legacy) or one request (modern).
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Raw `clientInfo` object, if told.
    pub info: Option<Bytes>,
    /// Raw capabilities object; `{}` if none.
    pub capabilities: Bytes,
    /// Negotiated MCP revision.
    pub protocol_version: String,
    /// `stdio`, `streamable-http`, …
    pub transport: &'static str,
    /// The socket peer.
    pub address: Option<SocketAddr>,
}

/// Everything about the caller that filters may see.
#[derive(Clone, Debug)]
pub struct Caller {
    /// None where nothing authenticates.
    pub principal: Option<Arc<Principal>>,
    /// The program.
    pub client: Arc<ClientInfo>,
    /// Downstream headers with credentials already removed; names lower case.
    pub headers: Arc<http::HeaderMap>,
}

impl Caller {
    /// Who that is, as far as shares are counted by it.
    pub fn requester(&self) -> Requester {
        Requester::of(self.principal.as_deref(), self.client.address.map(|peer| peer.ip()))
    }
}

/// The head of a downstream HTTP request; credentials included.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Upper case.
    pub method: String,
    /// Without query.
    pub path: String,
    /// Where the path leads.
    pub server: Option<Arc<str>>,
    /// All headers.
    pub headers: http::HeaderMap,
    /// The socket peer.
    pub address: Option<SocketAddr>,
}

/// What an `authenticate` hook looked at: what its answer may depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadReads {
    /// Headers (lower case), absent ones included. They count as credentials: hidden from all later hooks.
    pub headers: BTreeSet<String>,
    /// Which headers there are.
    pub header_names: bool,
    /// The HTTP method.
    pub method: bool,
    /// The path.
    pub path: bool,
    /// The peer.
    pub address: bool,
}

/// What an `authenticate` hook decides.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Not mine.
    Skip,
    /// This is who calls; the answer may be kept for that many seconds.
    Accept {
        /// Who.
        principal: Arc<Principal>,
        /// 0: ask each time.
        keep_seconds: u32,
        /// What the filter looked at.
        reads: HeadReads,
    },
    /// Go away.
    Refuse {
        /// 401, 403 or 429.
        status: u16,
        /// `WWW-Authenticate`.
        challenge: Option<String>,
        /// What the client is told.
        message: String,
    },
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ItemKind {
    Tool,
    Prompt,
    Resource,
    ResourceTemplate,
    Task,
}

/// All definitions of one kind of one server.
#[derive(Clone, Debug)]
pub struct DefinitionsView {
    /// The server.
    pub server: Arc<str>,
    /// Which kind.
    pub kind: ItemKind,
    /// Name (as the server knows it) and raw JSON of each, in order.
    pub items: Vec<(Arc<str>, Bytes)>,
}

/// What a `catalog` hook changed. Indices refer to the view.
#[derive(Clone, Debug, Default)]
pub struct DefinitionsEdit {
    /// New raw JSON (its name untouched) by index.
    pub edited: BTreeMap<usize, Bytes>,
    /// New visible names by index.
    pub renamed: BTreeMap<usize, String>,
    /// New order: a permutation of all indices.
    pub order: Option<Vec<usize>>,
}

/// Whether an item exists for this principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Visibility {
    Hidden,
    Visible,
}

/// The items whose visibility is asked.
#[derive(Clone, Debug)]
pub struct ItemsView {
    /// The server.
    pub server: Arc<str>,
    /// Which kind.
    pub kind: ItemKind,
    /// The MCP method that asks.
    pub method: Arc<str>,
    /// The items.
    pub items: Vec<Item>,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// What was decided about the call that asks; none where no call does.
    pub decisions: Option<Arc<Decisions>>,
}

/// One item.
#[derive(Clone, Debug)]
pub struct Item {
    /// As the server knows it.
    pub name: Arc<str>,
    /// As the client knows it.
    pub visible_name: Arc<str>,
    /// Raw JSON; none if the server does not list it.
    pub definition: Option<Bytes>,
}

/// What a filter sees of a call.
#[derive(Clone, Debug)]
pub struct CallView {
    /// Lockgate's own number of the call.
    pub id: u64,
    /// The MCP method.
    pub method: Arc<str>,
    /// The server.
    pub server: Arc<str>,
    /// Name or URI as the server knows it.
    pub name: Option<Arc<str>>,
    /// As the client knows it.
    pub visible_name: Option<Arc<str>>,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// `input_required` rounds so far.
    pub round: u32,
    /// When the call is cut.
    pub deadline: Instant,
    /// Raw JSON object; `{}` if the request has none.
    pub params: Bytes,
    /// What the user said to what this filter asked: raw JSON objects, in the order of its questions.
    pub answers: Arc<[Bytes]>,
    /// The raw definition of what is called, where it is listed and a filter may want it.
    pub definition: Option<Bytes>,
    /// What came back so far.
    pub outcome: Option<Outcome>,
    /// HTTP status of the upstream's answer.
    pub upstream_status: Option<u16>,
    /// Headers of the upstream's answer, credentials removed.
    pub upstream_headers: Option<Arc<http::HeaderMap>>,
    /// What this filter stored earlier in this call.
    pub state: Arc<BTreeMap<String, Bytes>>,
    /// What filters decided about it so far; no filter sees that.
    pub decisions: Arc<Decisions>,
}

/// What came back: the raw `result` or `error` member.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// `result`.
    Success(Bytes),
    /// `error`.
    Failure(Bytes),
}

/// What a `request` or `response` hook decided and changed.
#[derive(Clone, Debug)]
pub struct Effects {
    /// The decision.
    pub verdict: Verdict,
    /// New `params`, if edited (request).
    pub params: Option<Bytes>,
    /// New content of the outcome, if edited (response); same variant as before.
    pub outcome: Option<Bytes>,
    /// The filter's new state, if it stored anything.
    pub state: Option<BTreeMap<String, Bytes>>,
    /// New name on the same server (request).
    pub reroute: Option<String>,
}

impl Effects {
    /// A verdict that changes nothing.
    pub fn verdict(verdict: Verdict) -> Effects {
        Effects { verdict, params: None, outcome: None, state: None, reroute: None }
    }
}

/// What a hook decides about a call.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// Answer with this result (raw JSON, already under the law).
    Respond(Bytes),
    /// Refuse.
    Reject(Rejection),
    /// Ask the user, then call the hook again with what they said.
    Ask(Vec<Question>),
}

/// One thing that a filter asks the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the user reads.
    pub message: String,
    /// JSON Schema of the answer, a raw JSON object.
    pub schema: Bytes,
}

/// A refusal, as the client will see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// JSON-RPC code.
    pub code: i32,
    /// What the client is told.
    pub message: String,
    /// Raw JSON.
    pub data: Option<Bytes>,
}

impl Rejection {
    /// The `error` member of a JSON-RPC response.
    pub fn error(&self) -> Bytes {
        let mut error = format!("{{\"code\":{},\"message\":", self.code).into_bytes();
        error.extend_from_slice(&crate::jsonrpc::escape(&self.message));
        if let Some(data) = &self.data {
            error.extend_from_slice(b",\"data\":");
            error.extend_from_slice(data);
        }
        error.push(b'}');
        error.into()
    }
}

/// One outgoing HTTP exchange.
#[derive(Clone, Debug)]
pub struct ExchangeView {
    /// The server.
    pub server: Arc<str>,
    /// `call`, `initialize`, `notification`, `answer`, `stream`, `close`, `probe`.
    pub purpose: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Full URL.
    pub url: Arc<str>,
    /// The final body.
    pub message: Option<Bytes>,
    /// The call it is made for.
    pub call: Option<Arc<CallView>>,
    /// For whom.
    pub principal: Option<Arc<Principal>>,
    /// Headers set by earlier filters. Values of secrets are marked sensitive.
    pub headers: http::HeaderMap,
}

/// What an `upstream` hook decided and set.
#[derive(Clone, Debug, Default)]
pub struct ExchangeEffects {
    /// Refuse the exchange.
    pub reject: Option<Rejection>,
    /// Headers to set; secrets marked sensitive.
    pub set: http::HeaderMap,
    /// Headers to remove.
    pub remove: Vec<http::HeaderName>,
}

/// Something that a server asks the user or the model behind a client.
#[derive(Clone, Debug)]
pub struct QuestionView {
    /// The server that asks.
    pub server: Arc<str>,
    /// `elicitation/create`, `sampling/createMessage`, `roots/list`, or what else servers ask.
    pub method: Arc<str>,
    /// Raw JSON object; `{}` if the question has none.
    pub params: Bytes,
    /// None until it is answered, by the client or by a filter.
    pub answer: Option<Outcome>,
    /// The call it belongs to, if that is known.
    pub call: Option<Arc<CallView>>,
}

/// What an `input` hook decided and changed.
#[derive(Clone, Debug)]
pub enum AskEffects {
    /// Go on: with new `params` (on the way to the client) or a new content of the answer (on the way
    /// back; same variant as before), if edited.
    Pass(Option<Bytes>),
    /// Answer the server with this result (raw JSON object) instead.
    Answer(Bytes),
    /// Answer the server with this error instead.
    Refuse(Rejection),
}

/// A message that nobody answers.
#[derive(Clone, Debug)]
pub struct NotificationView {
    /// The server it comes from or goes to.
    pub server: Arc<str>,
    /// The MCP method.
    pub method: Arc<str>,
    /// From the server to the client.
    pub down: bool,
    /// Raw JSON object; `{}` if it has none.
    pub params: Bytes,
    /// The call it belongs to, if that is known.
    pub call: Option<Arc<CallView>>,
}

/// What a `notification` hook decided and changed.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Go on, with new `params` if edited.
    Pass(Option<Bytes>),
    /// It ends here.
    Drop,
}

/// A filter could not do its work. The message names hook and cause and is for the operator only.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of fault, for metrics.
    pub kind: FailureKind,
    /// Hook and cause.
    pub message: String,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The plugin returned its own error.
    Returned,
    /// It trapped.
    Trap,
    /// It used up its CPU time.
    Cpu,
    /// It used up its wall time.
    Wall,
    /// It used up its memory.
    Memory,
    /// It used up another limit (host calls, output).
    Limit,
    /// What it returned is not acceptable (length, JSON, names).
    BadOutput,
    /// What it was asked about is larger than it may pull. That is no fault of the filter: its breaker does not count it.
    TooLarge,
    /// The host could not run it.
    Host,
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FailureKind::Returned => "error-returned",
            FailureKind::Trap => "crashed",
            FailureKind::Cpu => "cpu-limit",
            FailureKind::Wall => "time-limit",
            FailureKind::Memory => "memory-limit",
            FailureKind::Limit => "limit",
            FailureKind::BadOutput => "bad-output",
            FailureKind::TooLarge => "too-large",
            FailureKind::Host => "not-run",
        })
    }
}
