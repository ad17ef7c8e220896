//! Requests that take several rounds (2026-07-28, multi round-trip requests): results that ask, and
//! requests that bring the answers.

use std::borrow::Cow;

use crate::jsonrpc::{Document, JsonKind, Limits, Message, pointer, unescape};

/// The methods that may be answered with a question.
pub const METHODS: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// The params of a question that needs none. There always are some: the specification allows a question
/// without, but clients of the Go SDK 1.8 fail the whole call then.
pub const NO_PARAMS: &[u8] = b"{}";

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

/// A result, with params in each of its questions (`inputRequests`).
pub fn with_params(reply: Message) -> Message {
    let Some(result) = reply.result().filter(|_| reply.result_member("inputRequests").is_some()) else {
        return reply;
    };
    let mut result = Document::new(result, Limits::default());
    for key in result.keys("/inputRequests").unwrap_or_default() {
        let question = pointer(&["inputRequests", &key]);
        let at = format!("{question}/params");
        if result.kind(&question) == Ok(Some(JsonKind::Object)) && matches!(result.kind(&at), Ok(None)) {
            // It fails only if the result becomes larger than any may be: then it goes on as it came.
            let _ = result.set(&at, NO_PARAMS);
        }
    }
    if result.edited() { reply.with_result(result.bytes()) } else { reply }
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
    fn every_question_has_params() {
        let asked = |questions: &str| {
            let text = format!(
                r#"{{"resultType":"input_required","inputRequests":{questions},"requestState":"s"}}"#
            );
            with_params(result(&text)).result_member("inputRequests").map(<[u8]>::to_vec).unwrap_or_default()
        };
        for (came, goes) in [
            (r#"{"r":{"method":"roots/list"}}"#, r#"{"r":{"method":"roots/list","params":{}}}"#),
            (r#"{"a/b~c":{"method":"roots/list"}}"#, r#"{"a/b~c":{"method":"roots/list","params":{}}}"#),
            (r#"{"r":{"method":"m","params":{"x":1}}}"#, r#"{"r":{"method":"m","params":{"x":1}}}"#),
            (r#"{"r":{"method":"m" , "params":{}}}"#, r#"{"r":{"method":"m" , "params":{}}}"#),
            (r#"{"r":7}"#, r#"{"r":7}"#),
            ("{}", "{}"),
            ("[]", "[]"),
        ] {
            assert_eq!(String::from_utf8(asked(came)).unwrap(), goes, "{came}");
        }
        let without = result(r#"{"resultType":"input_required","requestState":"s"}"#);
        assert_eq!(with_params(without.clone()).bytes(), without.bytes());
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
