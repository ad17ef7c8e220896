//! Which era a client's message belongs to. The body decides; headers are only checked against it.
//!
//! One adapter per era turns messages into calls: [`super::legacy`] and [`super::modern`].

use std::borrow::Cow;

use crate::jsonrpc::{Kind, Message, unescape};
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
///
/// Without an envelope, a modern header makes a notification (or an answer, which is refused) modern;
/// a request must have one.
pub fn classify(message: &Message, header: Option<&str>) -> Result<Era, Message> {
    let invalid = |text| Message::error(message.id(), errors::INVALID_PARAMS, text, None);
    if let Some(version) = message.meta(meta::PROTOCOL_VERSION) {
        let version = unescape(version).map(Cow::into_owned).ok_or_else(|| {
            invalid("`_meta` key `io.modelcontextprotocol/protocolVersion` must be a string")
        })?;
        return Ok(Era::Modern { version });
    }
    // What a client sends with `initialize` was agreed on with nobody yet.
    let initialize = message.kind() == Kind::Request && message.method() == Some(methods::INITIALIZE);
    match header {
        Some(version) if !initialize && versions::modern(version).is_some() => {
            if message.kind() == Kind::Request {
                return Err(invalid(
                    "requests of this revision need `params._meta` with the keys \
                     `io.modelcontextprotocol/protocolVersion` and \
                     `io.modelcontextprotocol/clientCapabilities`",
                ));
            }
            Ok(Era::Modern { version: version.to_owned() })
        }
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

/// Checks a message where the modern era is not spoken: it has no HTTP+SSE. The error names the
/// revisions that are spoken there, so that a client of both eras falls back to `initialize`.
pub fn legacy_only(message: &Message, header: Option<&str>) -> Result<(), Message> {
    let version = match classify(message, header) {
        Ok(Era::Legacy) => return Ok(()),
        Ok(Era::Modern { version }) => version,
        Err(error) => match header {
            Some(version) => version.to_owned(),
            None => return Err(error),
        },
    };
    Err(refuse_modern(message, &version))
}

/// The answer to a modern message where that era is not spoken.
pub fn refuse_modern(message: &Message, version: &str) -> Message {
    errors::only_versions(message.id(), version, &versions::LEGACY)
}
