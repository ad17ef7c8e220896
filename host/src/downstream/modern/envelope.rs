//! The envelope of a modern message (`params._meta`): what is checked of it, and what it says of its
//! client. No transport in here: HTTP and the pipes read the same one.

use std::borrow::Cow;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::filter::ClientInfo;
use crate::jsonrpc::{Kind, Message, unescape};
use crate::protocol::{errors, meta, methods, versions};

/// The levels that a client may ask for log messages from (2026-07-28, logging; RFC 5424).
pub const LOG_LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// What the envelope of a message that [`classify`](crate::downstream::era::classify) called modern
/// says of its client. `version` is what the classification found; `transport` (`streamable-http`,
/// `stdio`, …) and `address` (the socket peer, where there is one) are noted beside it.
///
/// Requests are held to the specification (2026-07-28, basic: `_meta`). Of a notification, which may
/// come without an envelope, only the version is checked; what it does not say is empty.
///
/// # Errors
/// The JSON-RPC answer, with the request's id: -32022 (a version that is not spoken; `data` lists
/// those that are), -32601 (a method that this era has not), -32602 (a member is missing or is not
/// what it must be), -32600 (an answer: nobody asks modern clients anything).
pub fn read(
    message: &Message,
    version: &str,
    transport: &'static str,
    address: Option<SocketAddr>,
) -> Result<ClientInfo, Message> {
    let id = message.id();
    let version =
        versions::modern(version).ok_or_else(|| errors::only_versions(id, version, &versions::MODERN))?;
    match message.kind() {
        Kind::Request => request(message)?,
        Kind::Notification => {}
        Kind::Result | Kind::Error => {
            // Not under its id: that is the id of a request of somebody else's.
            return Err(errors::invalid_request(None, "clients of this revision have nothing to answer"));
        }
    }
    let object = |key| message.meta(key).filter(|raw| is_object(raw)).map(Bytes::copy_from_slice);
    Ok(ClientInfo {
        info: object(meta::CLIENT_INFO),
        capabilities: object(meta::CLIENT_CAPABILITIES).unwrap_or(Bytes::from_static(b"{}")),
        protocol_version: version.to_owned(),
        transport,
        address,
    })
}

/// What a request must have. The method first: who asks for one that is gone has to learn that.
fn request(message: &Message) -> Result<(), Message> {
    let id = message.id();
    if let Some(method) = message.method().filter(|method| methods::LEGACY_ONLY.contains(method)) {
        let text = format!("Method not found: {method} (protocol revisions before 2026-07-28 have it)");
        return Err(Message::error(id, errors::METHOD_NOT_FOUND, &text, None));
    }
    let invalid = |text: &str| Message::error(id, errors::INVALID_PARAMS, text, None);
    match message.meta(meta::CLIENT_CAPABILITIES) {
        Some(raw) if is_object(raw) => {}
        Some(_) => {
            return Err(invalid(
                "`_meta` key `io.modelcontextprotocol/clientCapabilities` must be an object",
            ));
        }
        None => {
            return Err(invalid(
                "`_meta` key `io.modelcontextprotocol/clientCapabilities` is missing; `{}` says that there are none",
            ));
        }
    }
    if message.meta(meta::CLIENT_INFO).is_some_and(|raw| !is_object(raw)) {
        return Err(invalid("`_meta` key `io.modelcontextprotocol/clientInfo` must be an object"));
    }
    let level = message.meta(meta::LOG_LEVEL).map(|raw| unescape(raw).unwrap_or(Cow::Borrowed("")));
    if level.is_some_and(|level| !LOG_LEVELS.contains(&&*level)) {
        let text = format!(
            "`_meta` key `io.modelcontextprotocol/logLevel` must be one of {}",
            LOG_LEVELS.join(", ")
        );
        return Err(invalid(&text));
    }
    let token = message.meta(meta::PROGRESS_TOKEN);
    if token.is_some_and(|raw| !is_token(raw)) {
        return Err(invalid("`_meta` key `progressToken` must be a string or an integer"));
    }
    Ok(())
}

fn is_object(raw: &[u8]) -> bool {
    raw.first() == Some(&b'{')
}

/// Whether it is a string or an integer. The law has seen that it is JSON.
fn is_token(raw: &[u8]) -> bool {
    match raw {
        [b'"', ..] => true,
        [b'-' | b'0'..=b'9', ..] => !raw.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::era::{self, Era};
    use crate::jsonrpc::{Limits, Source};

    const VERSION: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    const CAPABLE: &str = r#""io.modelcontextprotocol/clientCapabilities":{"roots":{}}"#;

    fn parse(text: &str) -> Message {
        Message::parse(text.to_owned().into(), &Limits::default(), Source::Client).expect("lawful")
    }

    /// As a transport without headers does it.
    fn taken(text: &str) -> Result<ClientInfo, Message> {
        let message = parse(text);
        match era::classify(&message, None)? {
            Era::Modern { version } => read(&message, &version, "stdio", None),
            Era::Legacy => panic!("legacy: {text}"),
        }
    }

    fn request(method: &str, meta: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":"q","method":"{method}","params":{{"_meta":{{{meta}}}}}}}"#)
    }

    fn refused(text: &str) -> (i64, serde_json::Value) {
        let error = taken(text).expect_err(text);
        let error: serde_json::Value = serde_json::from_slice(error.bytes()).expect("JSON");
        assert_eq!(error["id"], "q", "{text}: the id comes back");
        (error["error"]["code"].as_i64().expect("a code"), error["error"].clone())
    }

    #[test]
    fn it_says_who_the_client_is() {
        let bare = taken(&request("server/discover", &format!("{VERSION},{CAPABLE}"))).expect("taken");
        assert_eq!((bare.info, &*bare.protocol_version, bare.transport), (None, "2026-07-28", "stdio"));
        assert_eq!(&bare.capabilities[..], br#"{"roots":{}}"#);
        let info = r#""io.modelcontextprotocol/clientInfo":{"name":"x","version":"1"}"#;
        let full = format!(r#"{VERSION},{CAPABLE},{info},"progressToken":-7,"com.example/own":[1]"#);
        let told = taken(&request("tools/list", &full)).expect("taken").info;
        assert_eq!(told.as_deref(), Some(&br#"{"name":"x","version":"1"}"#[..]));
    }

    #[test]
    fn what_a_request_must_say_is_demanded() {
        for meta in [
            VERSION.to_owned(),
            format!(r#"{VERSION},"io.modelcontextprotocol/clientCapabilities":null"#),
            format!(r#"{VERSION},"io.modelcontextprotocol/clientCapabilities":[]"#),
            format!(r#"{VERSION},{CAPABLE},"io.modelcontextprotocol/clientInfo":"curl""#),
            format!(r#"{VERSION},{CAPABLE},"io.modelcontextprotocol/clientInfo":null"#),
            format!(r#"{VERSION},{CAPABLE},"io.modelcontextprotocol/logLevel":"loud""#),
            format!(r#"{VERSION},{CAPABLE},"io.modelcontextprotocol/logLevel":"INFO""#),
            format!(r#"{VERSION},{CAPABLE},"io.modelcontextprotocol/logLevel":6"#),
            format!(r#"{VERSION},{CAPABLE},"progressToken":1.5"#),
            format!(r#"{VERSION},{CAPABLE},"progressToken":1e3"#),
            format!(r#"{VERSION},{CAPABLE},"progressToken":null"#),
            format!(r#"{VERSION},{CAPABLE},"progressToken":{{}}"#),
            format!(r#""io.modelcontextprotocol/protocolVersion":20260728,{CAPABLE}"#),
            format!(r#""io.modelcontextprotocol/protocolVersion":null,{CAPABLE}"#),
        ] {
            assert_eq!(refused(&request("tools/list", &meta)).0, -32602, "{meta}");
        }
        for level in LOG_LEVELS {
            let meta = format!(r#"{VERSION},{CAPABLE},"io.modelcontextprotocol/logLevel":"{level}""#);
            assert!(taken(&request("tools/list", &meta)).is_ok(), "{level}");
        }
    }

    #[test]
    fn a_version_that_is_not_spoken_is_told_those_that_are() {
        for asked in ["1900-01-01", "2025-11-25", "2026-07-29", "", "2026-07-28 "] {
            let meta = format!(r#""io.modelcontextprotocol/protocolVersion":"{asked}",{CAPABLE}"#);
            // Before anything else: the rest cannot be judged in a revision that nobody here knows.
            for method in ["tools/list", "ping"] {
                let (code, error) = refused(&request(method, &meta));
                assert_eq!(code, -32022, "{asked}");
                assert_eq!(error["data"], serde_json::json!({"supported":["2026-07-28"],"requested":asked}));
            }
        }
    }

    #[test]
    fn methods_of_the_other_era_do_not_exist() {
        for method in methods::LEGACY_ONLY {
            for meta in [format!("{VERSION},{CAPABLE}"), VERSION.to_owned()] {
                assert_eq!(refused(&request(method, &meta)).0, -32601, "{method}");
            }
        }
    }

    #[test]
    fn notifications_need_no_envelope_and_answers_are_none_of_theirs() {
        let note = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
        let client = read(&parse(note), "2026-07-28", "stdio", None).expect("taken");
        assert_eq!((client.info, &client.capabilities[..]), (None, &b"{}"[..]));
        assert!(read(&parse(note), "2025-11-25", "stdio", None).is_err(), "not a modern one");
        for answer in [
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#,
        ] {
            let refusal = read(&parse(answer), "2026-07-28", "stdio", None).expect_err("refused");
            assert!(String::from_utf8_lossy(refusal.bytes()).contains("-32600"), "{answer}");
        }
    }
}
