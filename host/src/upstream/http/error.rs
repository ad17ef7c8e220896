//! What is said of a server that answers otherwise than it should.

use std::sync::Arc;

use http::StatusCode;
use http::header::{HeaderMap, LOCATION};

use super::Inner;
use crate::jsonrpc::Violation;
use crate::upstream::wire::lock;
use crate::upstream::{SAID, UpstreamError};

/// Media types that are named to clients; what else a server writes there is for the log.
const KNOWN_TYPES: [&str; 7] = [
    "nothing",
    "text/html",
    "text/plain",
    "text/event-stream",
    "application/json",
    "application/problem+json",
    "application/octet-stream",
];

impl Inner {
    pub(super) fn unreachable(&self, reason: String) -> UpstreamError {
        UpstreamError::Unreachable { server: Arc::clone(&self.server), reason }
    }

    pub(super) fn gone(&self, reason: String, may_have_run: bool) -> UpstreamError {
        UpstreamError::Gone { server: Arc::clone(&self.server), reason, may_have_run }
    }

    pub(super) fn too_long(&self) -> UpstreamError {
        let cap = self.limits.bytes;
        let what = format!("a message of more than limits.server_message_bytes ({cap})");
        let violation = Violation { code: -32600, what: what.into(), at: cap, id: None, has_method: false };
        UpstreamError::Malformed { server: Arc::clone(&self.server), violation }
    }

    /// Whether this answer means that the session is over. Many servers say so with 400.
    pub(super) fn is_dead(&self, status: StatusCode, text: &str) -> bool {
        if lock(&self.session).id.is_none() || names_a_request(text) {
            return false;
        }
        let text = text.to_ascii_lowercase();
        match status {
            StatusCode::NOT_FOUND => true,
            StatusCode::BAD_REQUEST => text.contains("session") || text.contains("not initialized"),
            _ => false,
        }
    }

    /// The error for an answer that is no message. If it means that the session is over, everybody
    /// on it is told; the `call` that was answered so has certainly not run.
    pub(super) fn refusal(
        &self,
        purpose: &'static str,
        call: Option<u64>,
        status: StatusCode,
        headers: &HeaderMap,
        text: &str,
    ) -> UpstreamError {
        let code = status.as_u16();
        if self.is_dead(status, text) {
            let reason = format!("ended the session (HTTP {code})");
            lock(&self.session).id = None;
            if let Some(inbox) = self.inbox.get().and_then(std::sync::Weak::upgrade) {
                if let Some(call) = call {
                    inbox.fail_call(call, self.gone(reason.clone(), false));
                }
                inbox.fail(&reason);
            }
            return self.gone(reason, false);
        }
        let error = self.refused_with(purpose, status, headers, text);
        match error {
            // Before anything is agreed on, an answer is evidence of what is there.
            UpstreamError::Unreachable { server, reason }
                if matches!(purpose, "initialize" | "probe")
                    && !status.is_server_error()
                    && !matches!(
                        status,
                        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
                    ) =>
            {
                UpstreamError::NotServed { server, status: code, reason }
            }
            error => error,
        }
    }

    pub(super) fn refused_with(
        &self,
        purpose: &'static str,
        status: StatusCode,
        headers: &HeaderMap,
        text: &str,
    ) -> UpstreamError {
        let code = status.as_u16();
        let said = said(text);
        let url = &self.shown;
        if status.is_redirection() {
            let target =
                headers.get(LOCATION).map_or("nowhere".into(), |to| String::from_utf8_lossy(to.as_bytes()));
            let target = target.split('?').next().unwrap_or_default();
            let target: String = target.escape_debug().take(300).collect();
            return self.unreachable(format!(
                "{url} redirects (HTTP {code}), and redirects are not followed: {} where it is{SAID}look at {target}",
                if self.in_flags { "give the URL" } else { "configure as `url`" }
            ));
        }
        match status {
            StatusCode::UNAUTHORIZED => self.unreachable(format!(
                "{url} answered HTTP 401: it wants credentials, or others; {}{said}",
                credentials(self.in_flags)
            )),
            StatusCode::FORBIDDEN => self.unreachable(format!(
                "{url} answered HTTP 403: these credentials, or this origin, may not use it{said}"
            )),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => self.unreachable(format!(
                "{url} answered HTTP {code}: no {} server is there; check the path{said}",
                self.kind
            )),
            _ if status.is_success() => {
                let kind = headers.get(http::header::CONTENT_TYPE);
                let kind = kind.map_or("nothing".into(), |kind| String::from_utf8_lossy(kind.as_bytes()));
                let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                let known =
                    KNOWN_TYPES.into_iter().find(|known| **known == *kind).unwrap_or("something else");
                let kind: String = kind.escape_debug().take(100).collect();
                let reason = format!(
                    "{url} answered HTTP {code} with {known} instead of a message; it is no MCP server, or something \
                     in front of it answered{SAID}{kind}: {}",
                    shown(text)
                );
                if purpose == "call" {
                    self.gone(format!("at {reason}"), true)
                } else {
                    self.unreachable(reason)
                }
            }
            _ if status.is_server_error() && purpose == "call" => {
                self.gone(format!("answered HTTP {code}{said}"), true)
            }
            _ => self.unreachable(format!("{url} answered HTTP {code}{said}")),
        }
    }
}

/// How a server is given credentials.
pub(in crate::upstream) fn credentials(in_flags: bool) -> &'static str {
    if in_flags {
        "give it some with `--header 'Authorization: Bearer ${TOKEN}'`"
    } else {
        "give it some with a secret and the filter `header-inject`, or with `headers`"
    }
}

/// The beginning of an error's text, if it is one that a person can read. It is for the log: a server,
/// or something in front of it, says there what it likes, and to whom is not known.
pub(super) fn said(text: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: Inside,
    }
    #[derive(serde::Deserialize)]
    struct Inside {
        message: String,
    }
    let answer = serde_json::from_str::<Answer>(text);
    let text = answer.as_ref().map_or(text, |answer| answer.error.message.as_str()).trim();
    if text.is_empty() || text.starts_with('<') {
        return String::new();
    }
    format!("{SAID}{}", shown(text))
}

/// The beginning of it, on one line.
fn shown(text: &str) -> String {
    const CHARS: usize = 1000;
    text.escape_debug().take(CHARS).collect()
}

/// Whether a text is a message that says whose answer it is.
fn names_a_request(text: &str) -> bool {
    let message = serde_json::from_str::<serde_json::Value>(text);
    message.is_ok_and(|message| message.is_array() || message.get("id").is_some_and(|id| !id.is_null()))
}
