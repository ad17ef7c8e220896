//! What the scanner can object to, and how it is said.

use std::borrow::Cow;

/// JSON-RPC code for what is not JSON.
pub(super) const PARSE_ERROR: i32 = -32700;
/// JSON-RPC code for JSON that is no acceptable message.
pub(super) const INVALID_REQUEST: i32 = -32600;

/// How a text breaks the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    TooLong,
    Bom,
    NotUtf8,
    Batch,
    NotAnObject,
    Trailing,
    Value,
    Name,
    Colon,
    ObjectEnd,
    ArrayEnd,
    StringEnd,
    Control,
    Escape,
    LoneSurrogate,
    Number,
    NumberTooLong(usize),
    TooDeep(u16),
    TooMany(u32),
    Duplicate,
    Confusable(&'static str),
    ProtocolNames,
    /// JSON, but none of the forms of a JSON-RPC message.
    Form(&'static str),
}

/// One breach of the law, at a byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub what: What,
    pub at: usize,
}

impl What {
    #[cold]
    pub(super) fn at(self, at: usize) -> Fault {
        Fault { what: self, at }
    }
}

impl Fault {
    pub(super) fn code(&self) -> i32 {
        match self.what {
            What::TooLong
            | What::Batch
            | What::NotAnObject
            | What::LoneSurrogate
            | What::NumberTooLong(_) => INVALID_REQUEST,
            What::TooDeep(_)
            | What::TooMany(_)
            | What::Duplicate
            | What::Confusable(_)
            | What::ProtocolNames
            | What::Form(_) => INVALID_REQUEST,
            What::Bom | What::NotUtf8 | What::Trailing | What::Value | What::Name | What::Colon => {
                PARSE_ERROR
            }
            What::ObjectEnd
            | What::ArrayEnd
            | What::StringEnd
            | What::Control
            | What::Escape
            | What::Number => PARSE_ERROR,
        }
    }

    /// One sentence without the offset; `bytes` is the text that was scanned.
    pub(super) fn text(&self, bytes: &[u8]) -> Cow<'static, str> {
        let fixed = match self.what {
            What::TooLong => {
                return format!("the message is longer than the limit of {} bytes", self.at).into();
            }
            What::NumberTooLong(limit) => {
                return format!("a number is longer than the limit of {limit} bytes").into();
            }
            What::TooDeep(limit) => return format!("nested deeper than the limit of {limit} levels").into(),
            What::TooMany(limit) => {
                return format!("more members and items than the limit of {limit}").into();
            }
            What::Duplicate => {
                let name = shown(bytes, self.at);
                return format!("the member {name} stands twice in one object; send it once").into();
            }
            What::Confusable(meant) => {
                let name = shown(bytes, self.at);
                return format!(
                    "the member {name} could be taken for \"{meant}\"; spell it exactly or leave it out"
                )
                .into();
            }
            What::Form(text) => text,
            What::Bom => "a byte order mark stands before the JSON; send UTF-8 without one",
            What::NotUtf8 => "the bytes are not UTF-8",
            What::Batch => "a batch (a top-level array) is not accepted; send each message on its own",
            What::NotAnObject => "a message must be one JSON object",
            What::Trailing => "something follows the JSON value; send one message at a time",
            What::Value => "expected a JSON value",
            What::Name => "expected a member name in quotes",
            What::Colon => "expected a colon after the member name",
            What::ObjectEnd => "expected a comma or the end of the object",
            What::ArrayEnd => "expected a comma or the end of the array",
            What::StringEnd => "a string does not end",
            What::Control => "a raw control character stands in a string; escape it",
            What::Escape => "an escape sequence is none of JSON's",
            What::LoneSurrogate => {
                "half of a surrogate pair is escaped alone; escape both halves or send UTF-8"
            }
            What::Number => "a number is not written as JSON demands",
            What::ProtocolNames => "too many unknown io.modelcontextprotocol/ members in _meta",
        };
        fixed.into()
    }
}

/// The string literal at `at`, shortened, with what is not printable escaped.
fn shown(bytes: &[u8], at: usize) -> String {
    const SHOWN: usize = 48;
    let end = super::walk::string_end(bytes, at).unwrap_or(bytes.len());
    let raw = String::from_utf8_lossy(bytes.get(at + 1..end.saturating_sub(1)).unwrap_or_default());
    let mut out = String::from("\"");
    for c in raw.chars().take(SHOWN) {
        if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out.push_str(if raw.chars().nth(SHOWN).is_some() { "…\"" } else { "\"" });
    out
}
