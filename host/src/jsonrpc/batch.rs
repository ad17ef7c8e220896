//! Arrays of messages, as revision 2025-03-26 has them: bounded as a whole, judged item by item.

use bytes::Bytes;

use super::fault::Fault;
use super::message::{Limits, Message, Source, Violation};
use super::scan::{Rules, scan};
use super::walk::{Children, skip_space};

/// Whether the text is an array, or nothing at all.
pub fn is_array(bytes: &[u8]) -> bool {
    bytes.get(skip_space(bytes, 0)) == Some(&b'[')
}

/// The items of an array of at most `most` messages, each under the JSON law as if it had come alone.
/// The bounds of a message (bytes, depth, members) hold for the whole array.
///
/// # Errors
/// The array itself is unacceptable: no JSON, too large, empty, or with too many items. An item that
/// is unacceptable (an array within the array, too) is an error in its own place.
pub fn split(
    bytes: &Bytes,
    limits: &Limits,
    source: Source,
    most: usize,
) -> Result<Vec<Result<Message, Violation>>, Violation> {
    // One level more than its messages may have, which is the array's own.
    let whole = Limits { depth: limits.depth.saturating_add(1), ..*limits };
    let rules = Rules { limits: whole, source, message: false, lenient: true };
    scan(bytes, rules, |result, _| result).map_err(|fault: Fault| Violation {
        code: fault.code(),
        what: fault.text(bytes),
        at: fault.at,
        id: None,
        has_method: false,
    })?;
    let start = skip_space(bytes, 0);
    let refused = |what: &'static str| Violation {
        code: -32600,
        what: what.into(),
        at: start,
        id: None,
        has_method: false,
    };
    let mut items = Vec::new();
    for child in Children::at(bytes, start) {
        if items.len() >= most {
            return Err(refused("the array holds more messages than `limits.batch_messages`"));
        }
        let span = child.node.span;
        let at = span.start;
        let item = Message::parse(bytes.slice(span), limits, source);
        items.push(item.map_err(|violation| Violation { at: violation.at + at, ..violation }));
    }
    if items.is_empty() {
        return Err(refused("the array is empty"));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn parts(text: &str, most: usize) -> Result<Vec<Result<Message, Violation>>, Violation> {
        split(&Bytes::copy_from_slice(text.as_bytes()), &Limits::default(), Source::Client, most)
    }

    #[test]
    fn items_are_judged_one_by_one() {
        let text = r#" [ {"jsonrpc":"2.0","id":1,"method":"a"} , [] ,{"jsonrpc":"2.0","method":"n"},
            {"jsonrpc":"2.0","id":2,"id":3,"method":"b"}, 7 ] "#;
        let parts = parts(text, 10).unwrap();
        let kinds: Vec<Option<Kind>> =
            parts.iter().map(|part| part.as_ref().ok().map(Message::kind)).collect();
        assert_eq!(kinds, [Some(Kind::Request), None, Some(Kind::Notification), None, None]);
        assert_eq!(parts[0].as_ref().unwrap().bytes(), r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#);
        for refused in [1, 3, 4] {
            let violation = parts[refused].as_ref().unwrap_err();
            assert_eq!(violation.code, -32600, "{violation}");
        }
        let twice = parts[3].as_ref().unwrap_err();
        assert!(twice.at > 90, "offsets are those of the whole: {twice}");
    }

    #[test]
    fn an_array_that_is_none_is_refused_as_a_whole() {
        let message = r#"{"jsonrpc":"2.0","method":"n"}"#;
        for (text, code) in [
            ("[]", -32600),
            (" [ ] ", -32600),
            ("[", -32700),
            ("[1,]", -32700),
            (&format!("[{message}"), -32700),
            (&format!("[{message}] x"), -32700),
            (&format!("[{message},{message},{message}]"), -32600),
        ] {
            assert_eq!(parts(text, 2).unwrap_err().code, code, "{text}");
        }
        assert!(is_array(b" \n[") && !is_array(b"{[") && !is_array(b""));
    }

    #[test]
    fn the_bounds_of_a_message_hold_for_the_whole() {
        let message = r#"{"jsonrpc":"2.0","method":"n"}"#;
        let text = Bytes::from(format!("[{message},{message}]"));
        let limits = Limits { members: 5, ..Limits::default() };
        assert!(split(&text, &limits, Source::Client, 9).is_err(), "two items and four members");
        let limits = Limits { members: 6, ..Limits::default() };
        assert_eq!(split(&text, &limits, Source::Client, 9).unwrap().len(), 2);
        let limits = Limits { bytes: text.len() - 1, ..Limits::default() };
        assert!(split(&text, &limits, Source::Client, 9).is_err());
        let deep = |levels: usize| {
            let value = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            Bytes::from(format!(r#"[{{"jsonrpc":"2.0","method":"n","params":{{"x":{value}}}}}]"#))
        };
        let limits = Limits { depth: 4, ..Limits::default() };
        let ok = |text: Bytes| split(&text, &limits, Source::Client, 9).is_ok_and(|items| items[0].is_ok());
        assert!(ok(deep(2)) && !ok(deep(3)), "as deep as alone, and no deeper");
    }
}
