//! JSON-RPC error codes, and the errors that more than one module answers with.

use super::versions;
use crate::jsonrpc::Message;

/// Not JSON.
pub const PARSE: i32 = -32700;
/// JSON, but no acceptable message.
pub const INVALID_REQUEST: i32 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// Parameters that do not fit the method, or a name that does not exist.
pub const INVALID_PARAMS: i32 = -32602;
/// The fault is on this side.
pub const INTERNAL: i32 = -32603;
/// No such session: what the legacy SDKs say, with HTTP status 404.
pub const SESSION_NOT_FOUND: i32 = -32001;
/// No such resource, as legacy servers say it.
pub const RESOURCE_NOT_FOUND: i32 = -32002;
/// Modern: a header contradicts the body.
pub const HEADER_MISMATCH: i32 = -32020;
/// Modern: the client lacks a capability that the request needs.
pub const MISSING_CAPABILITY: i32 = -32021;
/// A protocol revision that is not spoken here; `data.supported` lists those that are.
pub const UNSUPPORTED_VERSION: i32 = -32022;
/// Legacy: the user has to visit a URL first.
pub const URL_ELICITATION_REQUIRED: i32 = -32042;

/// Code of an error that an HTTP status says best: `-31000` minus the status, which is outside of
/// the range that JSON-RPC and MCP reserve.
pub const fn by_status(status: u16) -> i32 {
    -31_000 - status as i32
}

/// Too much at once; trying again later may work.
pub const BUSY: i32 = by_status(503);

/// The revision `requested` is not spoken here; all that are spoken are listed.
pub fn unsupported_version(id: Option<&[u8]>, requested: &str) -> Message {
    let supported = [&versions::MODERN[..], &versions::LEGACY[..]].concat();
    only_versions(id, requested, &supported)
}

/// Only these revisions are spoken here (2026-07-28, versioning: -32022 with `data.supported`).
pub fn only_versions(id: Option<&[u8]>, requested: &str, supported: &[&str]) -> Message {
    // What is echoed comes from the client and is no longer than a real revision could be.
    let requested: String = requested.chars().take(32).collect();
    let data = serde_json::json!({ "supported": supported, "requested": requested }).to_string();
    let text = format!("unsupported protocol version; supported: {}", supported.join(", "));
    Message::error(id, UNSUPPORTED_VERSION, &text, Some(data.as_bytes()))
}

/// Not an acceptable message, in words.
pub fn invalid_request(id: Option<&[u8]>, text: &str) -> Message {
    Message::error(id, INVALID_REQUEST, text, None)
}

/// A fault of Lockgate's own. Nothing of the inside is told.
pub fn internal(id: Option<&[u8]>) -> Message {
    Message::error(id, INTERNAL, "internal error in the proxy; its log says more", None)
}

/// A limit is reached; `limit` is the configuration key.
pub fn busy(id: Option<&[u8]>, limit: &str) -> Message {
    Message::error(id, BUSY, &format!("busy: `{limit}` is reached; try again later"), None)
}
