//! A client's session on one server: everything that belongs to it has this one owner.
//!
//! Transports and eras differ in how they open one and how messages reach it; calls in flight,
//! questions to the client and what ends them are the same.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::downlink::SessionDownlink;
use super::endpoint::{Endpoint, Standing};
use super::in_flight::{InFlight, NotBegun, Ticket};
use super::names;
use super::outlet::lock;
use super::questions::Questions;
use super::registry::owner;
use super::replay::Replay;
use super::unsolicited::Unsolicited;
use crate::filter::{Caller, ClientInfo, Principal};
use crate::jsonrpc::Message;
use crate::protocol::{errors, versions};
use crate::proxy::Opening;

/// Who wants a session, and where.
pub struct Applicant {
    /// The server.
    pub server: Arc<str>,
    /// `streamable-http`, `sse`, `stdio` or `websocket`.
    pub transport: &'static str,
    /// None on stdio and where nothing authenticates.
    pub principal: Option<Arc<Principal>>,
    /// The socket peer.
    pub address: Option<SocketAddr>,
    /// Headers without credentials.
    pub headers: Arc<http::HeaderMap>,
}

/// One session.
pub struct Session {
    id: Arc<str>,
    server: Arc<str>,
    client: Arc<ClientInfo>,
    /// What belongs to no call.
    pub unsolicited: Unsolicited,
    replay: OnceLock<Arc<Replay>>,
    /// What servers asked the client.
    pub questions: Arc<Questions>,
    /// Longest wait for the client's answer to a question.
    pub answer_within: Duration,
    calls: Arc<InFlight>,
    standing: OnceLock<Arc<dyn Standing>>,
    over: CancellationToken,
    closed: AtomicBool,
    opened: Instant,
    seen: Mutex<Instant>,
}

impl Session {
    /// Opens a session for an `initialize` request. Returns it with the answer for the client. The
    /// error is the answer as well.
    pub async fn open(
        endpoint: &dyn Endpoint,
        initialize: &Message,
        applicant: Applicant,
    ) -> Result<(Arc<Session>, Message), Message> {
        let id = initialize.id();
        let invalid = |text| Message::error(id, errors::INVALID_PARAMS, text, None);
        let asked = initialize.param_text("protocolVersion").ok_or_else(|| {
            invalid("initialize needs `params.protocolVersion`, a string such as \"2025-11-25\"")
        })?;
        let version = versions::negotiate(&asked);
        let told = |name| initialize.param(name).filter(|raw| raw.first() == Some(&b'{'));
        let client = Arc::new(ClientInfo {
            info: told("clientInfo").map(Bytes::copy_from_slice),
            capabilities: told("capabilities").map_or(Bytes::from_static(b"{}"), Bytes::copy_from_slice),
            protocol_version: version.to_owned(),
            transport: applicant.transport,
            address: applicant.address,
        });
        let limits = endpoint.config().limits;
        let now = Instant::now();
        let session = Arc::new(Session {
            id: names::session_id(endpoint.keys(), &applicant.server, &owner(applicant.principal.as_deref()))
                .ok_or_else(|| errors::internal(id))?,
            server: applicant.server,
            client: client.clone(),
            unsolicited: Unsolicited::default(),
            replay: OnceLock::new(),
            questions: Arc::default(),
            answer_within: Duration::from_secs(limits.call_seconds),
            calls: Arc::default(),
            standing: OnceLock::new(),
            over: CancellationToken::new(),
            closed: AtomicBool::new(false),
            opened: now,
            seen: Mutex::new(now),
        });
        let caller = Caller { principal: applicant.principal, client, headers: applicant.headers };
        // The server must not answer in a revision that was not agreed on with the client.
        let params = initialize.with_param("protocolVersion", quoted(version).as_bytes()).params();
        let opening = Opening {
            server: session.server.clone(),
            session: session.id.clone(),
            caller: Arc::new(caller),
            params: params.unwrap_or(Bytes::from_static(b"{}")),
            downlink: Arc::new(SessionDownlink::new(&session)),
        };
        let answered = |error: Message| match id {
            Some(id) => error.with_id(id),
            None => error,
        };
        let (standing, result) = endpoint.open(opening).await.map_err(answered)?;
        // Set once, here.
        let _ = session.standing.set(standing);
        if session.over.is_cancelled() {
            session.close();
        }
        let result = Message::response(id.unwrap_or(b"null"), &result);
        Ok((session, result.with_result_member("protocolVersion", Some(quoted(version).as_bytes()))))
    }

    /// Names it; unguessable, visible ASCII.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The server it leads to.
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// The program at the other end.
    pub fn client(&self) -> &Arc<ClientInfo> {
        &self.client
    }

    /// The way to the server. None before it is open; the session is not handed out before.
    pub fn standing(&self) -> Option<&Arc<dyn Standing>> {
        self.standing.get()
    }

    /// Keeps what its streams say from now on, for a client that comes back for it.
    pub fn keep_events(&self, replay: Arc<Replay>) {
        // Set once, when it opens.
        let _ = self.replay.set(replay);
    }

    /// What its streams said lately; none where nothing is kept.
    pub fn replay(&self) -> Option<&Arc<Replay>> {
        self.replay.get()
    }

    /// Cancelled when it ends.
    pub fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// When it was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Notes a call under the client's raw id.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub fn begin(&self, id: &[u8], most: u32) -> Result<Ticket, NotBegun> {
        self.calls.begin(id, most, &self.over)
    }

    /// Cancels the call that `notifications/cancelled` names.
    pub fn cancel(&self, cancelled: &Message) {
        if let Some(id) = cancelled.param("requestId") {
            self.calls.cancel(id);
        }
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> usize {
        self.calls.count()
    }

    /// Notes a sign of the client.
    pub fn touch(&self) {
        *lock(&self.seen) = Instant::now();
    }

    /// How long there has been no sign of the client.
    pub fn silence(&self) -> Duration {
        lock(&self.seen).elapsed()
    }

    /// How long it has been silent; none while it opens or a call is in flight. One whose client has a single pipe for
    /// all it ever says (stdio, a WebSocket) has no other to begin a session on.
    pub fn idle(&self) -> Option<Duration> {
        let begins_again = matches!(self.client.transport, "streamable-http" | "sse");
        let idle = self.standing.get().is_some() && self.in_flight() == 0;
        (begins_again && idle).then(|| self.silence())
    }

    /// Ends it because others need its room. False if a call has begun meanwhile.
    pub fn give_way(&self) -> bool {
        if !self.calls.end_if_idle(&self.over) {
            return false;
        }
        tracing::info!(
            server = &*self.server,
            silence = self.silence().as_secs(),
            "a session gave way: all places for child processes were taken"
        );
        self.end();
        true
    }

    /// Ends it: cancels its calls, voids its questions, ends its streams and closes the link.
    pub fn end(&self) {
        self.over.cancel();
        self.unsolicited.end();
        self.close();
    }

    fn close(&self) {
        if let Some(standing) = self.standing.get()
            && !self.closed.swap(true, Ordering::AcqRel)
        {
            standing.close();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// A protocol revision as JSON; there is nothing in one to escape.
fn quoted(version: &str) -> String {
    format!("\"{version}\"")
}
