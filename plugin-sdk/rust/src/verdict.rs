//! What hooks answer with: verdicts, refusals, failures, and why the host refused a read or an edit.

use std::fmt;

/// What a hook decides about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Go on. Edits made through the call are committed now.
    Proceed,
    /// Answer the client with this result (JSON), instead of the upstream's in `response`.
    Respond(String),
    /// Refuse. This is a decision and counts as one, not as a fault.
    Reject(Rejection),
    /// Ask the user first, 1 to 8 questions; only in `request`. The hook is called again, and
    /// [`Call::answers`](crate::Call::answers) has what they said.
    Ask(Vec<Question>),
}

/// One thing to ask the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the user reads, at most 4 KiB.
    pub message: String,
    /// JSON Schema of the answer: an object with flat properties (MCP `requestedSchema`).
    pub schema: String,
}

impl Question {
    /// A question that is answered with yes or no.
    pub fn consent(message: impl Into<String>) -> Question {
        Question { message: message.into(), schema: r#"{"type":"object","properties":{}}"#.to_owned() }
    }
}

/// What the user said to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Yes, and what was filled in: a JSON object.
    Accepted(String),
    /// No.
    Declined,
    /// Nothing: the question was closed, or nobody answered in time.
    Cancelled,
}

impl Answer {
    /// From an MCP `ElicitResult`. What is none is a cancellation.
    pub(crate) fn read(json: &str) -> Answer {
        let answer: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        match answer.get("action").and_then(|action| action.as_str()) {
            Some("accept") => {
                let content = answer.get("content").map_or_else(|| "{}".to_owned(), ToString::to_string);
                Answer::Accepted(content)
            }
            Some("decline") => Answer::Declined,
            _ => Answer::Cancelled,
        }
    }
}

impl Verdict {
    /// Refuses with one sentence that a person or a model can act on.
    pub fn reject(message: impl Into<String>) -> Verdict {
        Verdict::Reject(Rejection::new(message))
    }

    /// Asks the user for a yes.
    pub fn ask_consent(message: impl Into<String>) -> Verdict {
        Verdict::Ask(vec![Question::consent(message)])
    }

    /// Answers with a `tools/call` result of one text.
    pub fn respond_text(text: &str) -> Verdict {
        let text = serde_json::Value::from(text);
        Verdict::Respond(format!(r#"{{"content":[{{"type":"text","text":{text}}}]}}"#))
    }

    /// True for [`Verdict::Proceed`].
    pub fn is_proceed(&self) -> bool {
        matches!(self, Verdict::Proceed)
    }

    /// True for [`Verdict::Reject`].
    pub fn is_reject(&self) -> bool {
        matches!(self, Verdict::Reject(_))
    }
}

/// A refusal, as the client will see it: a JSON-RPC error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// JSON-RPC error code. -32768 to -32000 are reserved by the specification: use -32602 (invalid
    /// params) or a code outside of that range.
    pub code: i32,
    /// One sentence, at most 4 KiB.
    pub message: String,
    /// The `data` member of the error, as JSON.
    pub data: Option<String>,
}

impl Rejection {
    /// The code of [`Rejection::new`], after the HTTP status of the same meaning.
    pub const FORBIDDEN: i32 = 403;

    /// A refusal with the code [`Rejection::FORBIDDEN`] and no data.
    pub fn new(message: impl Into<String>) -> Rejection {
        Rejection { code: Rejection::FORBIDDEN, message: message.into(), data: None }
    }
}

/// What an `upstream` hook decides about an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeVerdict {
    /// Send it, with the headers that were set.
    Proceed,
    /// Do not send it.
    Reject(Rejection),
}

/// A hook could not do its work. A fault, not a decision: the filter's `on_failure` says what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The configuration is not acceptable; the text names the key.
    InvalidConfig(String),
    /// Something the filter needs is not there right now.
    Unavailable(String),
    /// Anything else.
    Internal(String),
}

impl Failure {
    /// The configuration is not acceptable: `key` is where, `why` what to do about it.
    pub fn config(key: impl fmt::Display, why: impl fmt::Display) -> Failure {
        Failure::InvalidConfig(format!("{key}: {why}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::InvalidConfig(text) | Failure::Unavailable(text) | Failure::Internal(text) => {
                f.write_str(text)
            }
        }
    }
}

impl std::error::Error for Failure {}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Failure {
        Failure::Internal(error.to_string())
    }
}

/// Why the host refused a read or an edit. The document is unchanged and the hook may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The pointer is not valid RFC 6901, or its parent does not exist.
    InvalidPointer(String),
    /// The text is not one JSON value under Lockgate's JSON law.
    InvalidJson(String),
    /// The value is of another kind than the operation needs.
    WrongKind(String),
    /// The answer is larger than the filter may pull (its size in bytes).
    TooLarge(u64),
    /// This may not be edited here.
    ReadOnly(String),
    /// A limit of the filter is used up; the text names its configuration key.
    Limit(String),
    /// Not granted, or not in this phase.
    Denied(String),
    /// A reason that this version of the SDK does not know.
    Other,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, text) = match self {
            AccessError::InvalidPointer(text) => ("invalid pointer", text.as_str()),
            AccessError::InvalidJson(text) => ("invalid JSON", text.as_str()),
            AccessError::WrongKind(text) => ("wrong kind", text.as_str()),
            AccessError::TooLarge(size) => {
                return write!(f, "too large to pull: {size} bytes (the filter's `limits.pull_bytes`)");
            }
            AccessError::ReadOnly(text) => ("read only", text.as_str()),
            AccessError::Limit(text) => ("limit used up", text.as_str()),
            AccessError::Denied(text) => ("denied", text.as_str()),
            AccessError::Other => return f.write_str("refused for a reason this SDK does not know"),
        };
        write!(f, "{what}: {text}")
    }
}

impl std::error::Error for AccessError {}

#[cfg(target_arch = "wasm32")]
impl From<crate::raw::types::AccessError> for AccessError {
    fn from(error: crate::raw::types::AccessError) -> AccessError {
        use crate::raw::types::AccessError as Raw;
        match error {
            Raw::InvalidPointer(text) => AccessError::InvalidPointer(text),
            Raw::InvalidJson(text) => AccessError::InvalidJson(text),
            Raw::WrongKind(text) => AccessError::WrongKind(text),
            Raw::TooLarge(size) => AccessError::TooLarge(size),
            Raw::ReadOnly(text) => AccessError::ReadOnly(text),
            Raw::Limit(text) => AccessError::Limit(text),
            Raw::Denied(text) => AccessError::Denied(text),
            Raw::Extra(_) => AccessError::Other,
        }
    }
}
