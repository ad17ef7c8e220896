//! Names of the HTTP headers that MCP defines, in lower case, and how their values are written.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The revision a message is written in.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// Names a legacy session.
pub const SESSION_ID: &str = "mcp-session-id";
/// The last event a client saw on a stream it wants to resume.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// Modern: the method of the body.
pub const METHOD: &str = "mcp-method";
/// Modern: the tool, prompt, resource or task that the body names.
pub const NAME: &str = "mcp-name";
/// Modern: what stands before the name of an argument that its tool wants as a header.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// Request headers that always carry credentials (the session id is one: who knows it can disturb
/// the session). No filter but `authenticate` ever sees them.
pub const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", SESSION_ID];

const BEGIN: &str = "=?base64?";
const END: &str = "?=";

/// A text as the value of `Mcp-Name` or `Mcp-Param-*` (2026-07-28, transports): as it is where that
/// is safe, else as base64 between markers.
pub fn encode_value(text: &str) -> Cow<'_, str> {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let trimmed = text.trim_matches([' ', '\t']).len() == text.len();
    if plain && trimmed && !(text.starts_with(BEGIN) && text.ends_with(END)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{BEGIN}{}{END}", STANDARD.encode(text)))
}

/// What such a value says; none if it is not written as [`encode_value`] could have written it.
pub fn decode_value(value: &str) -> Option<Cow<'_, str>> {
    match value.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)) {
        None => {
            let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
            plain.then(|| Cow::Borrowed(value.trim_matches([' ', '\t'])))
        }
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_is_a_header_value() {
        for text in
            ["", "plain", "two words", " led", "trailed\t", "grüße", "a\nb", "=?base64?eA==?=", "=?base64??="]
        {
            let value = encode_value(text);
            assert!(http::HeaderValue::from_str(&value).is_ok(), "{text:?}");
            assert_eq!(decode_value(&value).as_deref(), Some(text), "{value}");
        }
        assert_eq!(encode_value("two words"), "two words");
        assert_eq!(encode_value("ü"), "=?base64?w7w=?=");
    }

    #[test]
    fn what_nobody_could_have_encoded_is_refused() {
        for value in ["ü", "a\u{7f}", "=?base64?*?=", "=?base64?/w==?=", "=?base64?w7w?="] {
            assert_eq!(decode_value(value), None, "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back(text in "(=\\?base64\\?)?\\PC{0,12}(\\?=)?[\t\n\r ]?") {
            let value = encode_value(&text);
            proptest::prop_assert!(http::HeaderValue::from_str(&value).is_ok());
            let decoded = decode_value(&value);
            proptest::prop_assert_eq!(decoded.as_deref(), Some(&*text));
        }
    }
}
