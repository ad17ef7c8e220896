//! The headers that mirror a modern message (2026-07-28, transports: standard request headers). What
//! anybody on the way decided by them must be about the message that is executed.
//!
//! `Mcp-Param-*` is not checked here: it takes the schema of the tool.

use http::{HeaderMap, HeaderValue};

use crate::jsonrpc::{Kind, Message};
use crate::protocol::headers::{METHOD, NAME, PROTOCOL_VERSION, decode_value};
use crate::protocol::{errors, versions};

/// Holds the headers against the message, whose own envelope says `version`. Of a notification, for
/// which the specification defines no headers, none is demanded, but what is there must be true.
///
/// # Errors
/// The JSON-RPC answer (-32020), to be sent with status 400.
pub fn check(message: &Message, version: &str, headers: &HeaderMap) -> Result<(), Message> {
    agree(message, version, headers).map_err(|text| {
        // An answer gets none under its id: that is the id of a request of somebody else's.
        let id = message.id().filter(|_| message.method().is_some());
        Message::error(id, errors::HEADER_MISMATCH, &text, None)
    })
}

fn agree(message: &Message, version: &str, headers: &HeaderMap) -> Result<(), String> {
    let demanded = message.kind() == Kind::Request;
    same(PROTOCOL_VERSION, one(headers, PROTOCOL_VERSION)?, Some(version), demanded)?;
    if versions::modern(version).is_none() {
        // Refused for that, with those that are spoken; what else it mirrors is not known here.
        return Ok(());
    }
    same(METHOD, one(headers, METHOD)?, message.method(), demanded)?;
    let given = one(headers, NAME)?;
    let Some(member) = message.method().and_then(named_by) else { return Ok(()) };
    let given = given.map(|value| {
        decode_value(value).ok_or_else(|| format!("the header `{NAME}` is not encoded as it must be"))
    });
    same(NAME, given.transpose()?.as_deref(), message.param_text(member).as_deref(), demanded)
}

/// The member of `params` that `Mcp-Name` repeats.
fn named_by(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn same(header: &str, given: Option<&str>, said: Option<&str>, demanded: bool) -> Result<(), String> {
    match (given, said) {
        (None, Some(_)) if demanded => {
            Err(format!("the header `{header}` is missing; it must repeat what the body says"))
        }
        (None, _) => Ok(()),
        (Some(given), Some(said)) if given == said => Ok(()),
        (Some(_), _) => Err(format!("the header `{header}` does not repeat what the body says")),
    }
}

/// The one value of a header; two of them are read differently by different programs.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        _ => Err(format!("the header `{name}` must be given once, in visible ASCII")),
    }
}
