//! Requests that take several rounds (2026-07-28, multi round-trip requests): results that ask, and
//! requests that bring the answers.

use std::borrow::Cow;

use crate::jsonrpc::{Document, Limits, Message, unescape};

/// The methods that may be answered with a question.
pub const METHODS: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// What kind of result it says it is, however it spells that; empty for what is no string. None where it
/// says nothing, which means `complete`.
pub fn result_type(message: &Message) -> Option<Cow<'_, str>> {
    let raw = message.result_member("resultType")?;
    Some(unescape(raw).unwrap_or_default())
}

/// Whether a result is a question.
pub fn asks(message: &Message) -> bool {
    result_type(message).as_deref() == Some("input_required")
}

/// A request without what only a further round brings.
pub fn without_answers(request: &Message) -> Message {
    let members = ["inputResponses", "requestState"];
    let Some(params) = request.params().filter(|_| members.iter().any(|name| request.param(name).is_some()))
    else {
        return request.clone();
    };
    let mut params = Document::new(params, Limits::default());
    for name in members {
        // Removing makes nothing larger, so no limit is in its way.
        let _ = params.remove(&format!("/{name}"));
    }
    request.with_params(params.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::Source;

    fn result(result: &str) -> Message {
        Message::response(b"1", result.as_bytes())
    }

    #[test]
    fn a_type_is_known_in_every_spelling() {
        assert!(asks(&result(r#"{"resultType":"input_required"}"#)));
        assert!(asks(&result(r#"{"resultType":"input\u005frequired"}"#)));
        assert!(asks(&result(r#"{"result\u0054ype":"input_required"}"#)));
        assert_eq!(result_type(&result(r#"{"resultType":"comp\u006cete"}"#)).as_deref(), Some("complete"));
        assert_eq!(result_type(&result(r#"{"resultType":7}"#)).as_deref(), Some(""));
        assert_eq!(result_type(&result("{}")), None);
    }

    #[test]
    fn a_request_can_be_freed_of_its_round() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","inputResponses":{},"requestState":"x"}}"#;
        let request = Message::parse(text.into(), &Limits::default(), Source::Client).unwrap();
        assert_eq!(without_answers(&request).params().unwrap(), &br#"{"name":"t"}"#[..]);
        let plain = Message::request(b"1", "tools/call", Some(br#"{"name":"t"}"#));
        assert_eq!(without_answers(&plain).bytes(), plain.bytes());
    }
}
