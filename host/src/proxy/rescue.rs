//! The one place where errors become JSON-RPC errors for a client.
//!
//! Codes: -32602 for names that do not exist (for this caller), -32002 for resources that do not
//! (2025-11-25 "resource not found"), -32601 for methods, -32603 for everything that is not the
//! client's doing. `data.reason` is a stable word that programs can act on.

use bytes::Bytes;

use crate::filter::{ItemKind, Outcome, Rejection};
use crate::jsonrpc::{self, Message};
use crate::protocol::errors;
use crate::upstream::{UpstreamError, for_clients};

/// The answer for a name that does not exist, or is hidden from this caller: the same bytes.
pub fn unknown(kind: ItemKind, name: &str) -> Outcome {
    let (code, what) = match kind {
        ItemKind::Tool => (-32602, "Unknown tool"),
        ItemKind::Prompt => (-32602, "Unknown prompt"),
        ItemKind::Resource => (-32002, "Resource not found"),
        ItemKind::ResourceTemplate => (-32602, "Unknown resource template"),
        ItemKind::Task => (-32602, "Unknown task"),
    };
    let data = (kind == ItemKind::Resource).then(|| {
        let mut data = b"{\"uri\":".to_vec();
        data.extend_from_slice(&jsonrpc::escape(name));
        data.push(b'}');
        Bytes::from(data)
    });
    failure(code, format!("{what}: {name}"), data)
}

/// The same for a client of the modern era: whatever is named, it is a wrong parameter.
pub fn unknown_modern(kind: ItemKind, name: &str) -> Outcome {
    match unknown(kind, name) {
        Outcome::Failure(error) if kind == ItemKind::Resource => {
            let data = jsonrpc::get(&error, "/data").map(Bytes::copy_from_slice);
            failure(errors::INVALID_PARAMS, format!("Resource not found: {name}"), data)
        }
        outcome => outcome,
    }
}

/// The answer for a modern request whose headers contradict its body.
pub fn header_mismatch(what: &str) -> Outcome {
    failure(errors::HEADER_MISMATCH, format!("Header mismatch: {what}"), None)
}

/// The answer for a method that is not served here.
pub fn unknown_method(method: &str) -> Outcome {
    failure(-32601, format!("Method not found: {method}"), None)
}

/// The answer for params that do not say what they must.
pub fn invalid_params(what: &str) -> Outcome {
    failure(-32602, format!("Invalid params: {what}"), None)
}

/// The answer for members that some server takes for one another, where a filter judges them.
pub fn similar_members(place: &str, one: &str, other: &str) -> Outcome {
    let name = |name: &str| name.chars().take(64).collect::<String>();
    invalid_params(&format!(
        "`{place}` has the members {:?} and {:?} in one object, and some servers take these for the same: send only \
         one of them (an operator can allow this for a tool: `allow_similar_arguments` of the server)",
        name(one),
        name(other)
    ))
}

/// The answer for a `requestState` that does not open: nobody learns why.
pub fn expired() -> Outcome {
    failure(
        errors::INVALID_PARAMS,
        "Invalid or expired requestState; call again without it, and answer what is asked then".into(),
        None,
    )
}

/// The answer for a call that began under filters that are gone: those of now have not seen its beginning.
pub fn outlived() -> Outcome {
    failure(
        errors::INVALID_PARAMS,
        "the filters were replaced after this question was asked; call again without requestState, and answer \
         what is asked then"
            .into(),
        None,
    )
}

/// The answer where a filter has to ask the user, and the client has no way to.
pub fn cannot_ask(modern: bool) -> Outcome {
    let text = "this call needs the user's word, and the client cannot ask for it: use one with the capability `elicitation`";
    let data = Bytes::from_static(br#"{"requiredCapabilities":{"elicitation":{}},"reason":"cannot-ask"}"#);
    let code = if modern { errors::MISSING_CAPABILITY } else { errors::INTERNAL };
    failure(code, text.into(), Some(data))
}

/// The answer where filters or a server ask without end.
pub fn too_many_rounds() -> Outcome {
    let text = "the user was asked too many times for one call, and it was ended: call again; if it goes on like this, \
                the server or a filter asks without end";
    reason(text.into(), "too-many-rounds")
}

/// The answer when a limit of Lockgate's is reached. `key` is its configuration key.
pub fn limited(key: &str) -> Outcome {
    reason(format!("Lockgate is busy: {key} is reached; try again later"), "busy")
}

/// The answer for what a server sent and Lockgate cannot pass on.
pub fn malformed(server: &str, what: &str) -> Outcome {
    reason(format!("server `{server}` sent {what}"), "malformed")
}

/// An outcome that refuses, as an answer whose id is not known here.
pub fn refusal(outcome: Outcome) -> Message {
    match outcome {
        Outcome::Failure(error) => message(None, &error),
        Outcome::Success(_) => message(None, b"{}"),
    }
}

/// The answer for whatever went wrong towards a server.
pub fn upstream(error: &UpstreamError) -> Outcome {
    let word = match error {
        UpstreamError::Refused { rejection, .. } => return Outcome::Failure(rejection.error()),
        UpstreamError::NotStarted { .. } => "not-started",
        UpstreamError::Gone { may_have_run: true, .. } => "gone-may-have-run",
        UpstreamError::Gone { may_have_run: false, .. } => "gone",
        UpstreamError::Unreachable { .. } | UpstreamError::NotServed { .. } => "unreachable",
        UpstreamError::OtherEra { speaks, .. } => return other_era(error, speaks),
        UpstreamError::Timeout { .. } => "timeout",
        UpstreamError::Malformed { .. } => "malformed",
        UpstreamError::Busy { .. } => "busy",
        UpstreamError::Cancelled => "cancelled",
    };
    reason(for_client(error.clone()).to_string(), word)
}

/// The server cannot be spoken to in the revision of the client. Said with the code that makes modern
/// clients choose another of the listed revisions (2026-07-28, versioning).
fn other_era(error: &UpstreamError, speaks: &[String]) -> Outcome {
    let data = serde_json::json!({ "supported": speaks, "reason": "other-era" }).to_string();
    failure(errors::UNSUPPORTED_VERSION, error.to_string(), Some(data.into()))
}

/// The error without what the server wrote to stderr, or said outside of the protocol: that went to no
/// filter, and may be about other clients.
fn for_client(mut error: UpstreamError) -> UpstreamError {
    if let UpstreamError::NotStarted { reason, .. }
    | UpstreamError::Gone { reason, .. }
    | UpstreamError::Unreachable { reason, .. }
    | UpstreamError::NotServed { reason, .. } = &mut error
        && let Some(part) = for_clients(reason)
    {
        *reason = format!("{part}; what it said is in Lockgate's log");
    }
    error
}

/// The answer for a call that was still under way when Lockgate ended.
pub fn ended(server: &str) -> Outcome {
    let text = format!(
        "Lockgate ended before server `{server}` answered (limits.drain_seconds); the call may have run"
    );
    reason(text, "gone-may-have-run")
}

/// The answer for a filter that closed the call by failing.
pub fn closed(closed: &crate::filter::chain::Closed) -> Outcome {
    Outcome::Failure(closed.rejection().error())
}

/// The answer when the generation a call runs on is cut after a reload.
pub fn cut() -> Outcome {
    reason("cut: the configuration was replaced and limits.drain_seconds passed; call again".into(), "cut")
}

/// The error response of an outcome's raw `error` member. Without an id the member is left out.
pub fn message(id: Option<&[u8]>, error: &[u8]) -> Message {
    Message::error(id, -32603, "", None).with_error(error)
}

fn reason(message: String, word: &str) -> Outcome {
    failure(-32603, message, Some(Bytes::from(format!("{{\"reason\":\"{word}\"}}"))))
}

fn failure(code: i32, message: String, data: Option<Bytes>) -> Outcome {
    Outcome::Failure(Rejection { code, message, data }.error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{LAST_WORDS, SAID};

    #[test]
    fn a_servers_stderr_is_not_for_clients() {
        let said = format!("exited with status 3{LAST_WORDS}KEY=hunter2 | ; the call did not reach it");
        let server: std::sync::Arc<str> = "s".into();
        for error in [
            UpstreamError::Gone { server: server.clone(), reason: said.clone(), may_have_run: true },
            UpstreamError::NotStarted {
                server: server.clone(),
                reason: format!("it failed before: it {said}"),
            },
            UpstreamError::Unreachable {
                server,
                reason: format!("it answered HTTP 403, status 3{SAID}hunter2"),
            },
        ] {
            let Outcome::Failure(told) = upstream(&error) else { unreachable!() };
            let told = String::from_utf8_lossy(&told).into_owned();
            assert!(told.contains("status 3") && !told.contains("hunter2"), "{told}");
            assert_eq!(told.contains("the call may have run"), error.to_string().contains("may have run"));
            assert!(error.to_string().contains("hunter2"), "the operator reads it in the log");
        }
    }
}
