//! Which era a client's message belongs to. The body decides; headers are only checked against it.
//!
//! One adapter per era turns messages into calls: [`super::legacy`] is the one that exists. The
//! modern one plugs in where [`Era::Modern`] is matched.

use crate::jsonrpc::{Kind, Message};
use crate::protocol::{errors, meta, methods, versions};

/// An era of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Era {
    /// With `initialize`: 2024-11-05 to 2025-11-25.
    Legacy,
    /// The request says in its own envelope which revision it is written in.
    Modern {
        /// That revision (cut to a sane length by whoever repeats it).
        version: String,
    },
}

/// Classifies a message. `header` is the value of `MCP-Protocol-Version`, where there are headers.
/// The error is the JSON-RPC answer, to be sent with HTTP status 400.
pub fn classify(message: &Message, header: Option<&str>) -> Result<Era, Message> {
    if let Some(version) = message.meta(meta::PROTOCOL_VERSION) {
        let version = serde_json::from_slice(version)
            .map_err(|_| errors::invalid_request(message.id(), "the protocol version must be a string"))?;
        return Ok(Era::Modern { version });
    }
    // What a client sends with `initialize` was agreed on with nobody yet.
    let initialize = message.kind() == Kind::Request && message.method() == Some(methods::INITIALIZE);
    match header {
        Some(version) if !initialize && versions::legacy(version).is_none() => {
            Err(errors::unsupported_version(message.id(), version))
        }
        _ => Ok(Era::Legacy),
    }
}

/// Checks `MCP-Protocol-Version` where there is no message.
pub fn check_header(header: Option<&str>) -> Result<(), Message> {
    match header {
        Some(version) if versions::legacy(version).is_none() => {
            Err(errors::unsupported_version(None, version))
        }
        _ => Ok(()),
    }
}

/// The answer to a modern message, for as long as that era is not spoken here.
pub fn refuse_modern(message: &Message, version: &str) -> Message {
    errors::only_versions(message.id(), version, &versions::LEGACY)
}
