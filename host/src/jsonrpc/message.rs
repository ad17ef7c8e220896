//! One JSON-RPC message: its bytes, and where in them its parts stand.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::fault::Fault;
use super::reserved::Section;
use super::scan::{Rules, scan};
use super::shape::{Shape, has_method, readable_id};
use super::span::Member;
use super::strings::unescape;
use super::walk::Children;

/// Bounds of the JSON law. Exceeding one is a [`Violation`], never a truncation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message in bytes. Nothing of 2 GiB or more passes, whatever stands here.
    pub bytes: usize,
    /// Deepest nesting of arrays and objects.
    pub depth: u16,
    /// Most members and items in all.
    pub members: u32,
    /// Longest number token in bytes.
    pub number_bytes: usize,
}

impl Default for Limits {
    /// 16 MiB, 64 levels, 100,000 members and items, numbers of 1,024 bytes.
    fn default() -> Limits {
        Limits { bytes: 16 << 20, depth: 64, members: 100_000, number_bytes: 1024 }
    }
}

/// Which side a message came from: requests are held to the law to the letter, while lone
/// surrogates in what a server sends become U+FFFD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client, or a configuration.
    Client,
    /// A server.
    Server,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has `method` and `id`.
    Request,
    /// Has `method` and no `id`.
    Notification,
    /// Has `result`.
    Result,
    /// Has `error`.
    Error,
}

/// How a message breaks the JSON law.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at byte {at})")]
pub struct Violation {
    /// JSON-RPC code to answer with: -32700 (not JSON) or -32600 (not an acceptable message).
    pub code: i32,
    /// What is wrong, in words.
    pub what: Cow<'static, str>,
    /// Byte offset.
    pub at: usize,
    /// The raw id, where it could be read before the violation.
    pub id: Option<Bytes>,
    /// Whether it has a `method`: a request or notification, and no answer.
    pub has_method: bool,
}

/// One item of a list result.
#[derive(Clone, Debug)]
pub struct ListItem {
    /// Where the item stands in the message.
    pub span: Range<usize>,
    /// Its identifying member (`name`, `uri`, `uriTemplate`), unescaped; empty if it has none.
    pub name: Box<str>,
}

/// One JSON-RPC message as it arrived. Cheap to clone: two reference counts.
///
/// What `with_*` returns differs from it in the named place only; all other bytes are the same.
#[derive(Clone, Debug)]
pub struct Message {
    pub(super) bytes: Bytes,
    pub(super) shape: Arc<Shape>,
}

impl Message {
    /// Scans the bytes under the JSON law.
    ///
    /// From [`Source::Server`], escapes of lone surrogates are overwritten with the escape of
    /// U+FFFD (see [`Message::replaced_surrogates`]); otherwise the bytes stay as they came.
    pub fn parse(bytes: Bytes, limits: &Limits, source: Source) -> Result<Message, Violation> {
        let rules = Rules { limits: *limits, source, message: true, lenient: false };
        let scanned = scan(&bytes, rules, |result, found| {
            result?;
            Shape::of(&bytes, &found).map(|shape| (shape, found.lone.to_vec()))
        });
        match scanned {
            Ok((shape, lone)) => {
                let message = Message { bytes: without_lone(bytes, &lone), shape: Arc::new(shape) };
                // Absent params, as several clients and servers write them.
                let absent = message.params().is_some_and(|params| params == "null");
                Ok(if absent { message.with_params(b"{}") } else { message })
            }
            Err(fault) => Err(violation(&bytes, rules, fault)),
        }
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the message is.
    pub fn kind(&self) -> Kind {
        self.shape.kind
    }

    /// How many lone surrogates became U+FFFD when this message was parsed.
    pub fn replaced_surrogates(&self) -> u32 {
        self.shape.replaced
    }

    /// The raw JSON text of the id: a string or an integer. None where there is none, or where an
    /// error says `null`.
    pub fn id(&self) -> Option<&[u8]> {
        let id = self.shape.id?.value.range();
        self.bytes.get(id).filter(|id| *id != b"null")
    }

    /// The method, unescaped.
    pub fn method(&self) -> Option<&str> {
        if let Some(text) = &self.shape.method_text {
            return Some(text);
        }
        let method = self.shape.method?.value.inside(&self.bytes);
        std::str::from_utf8(method).ok()
    }

    /// Zero-copy slice of the `params` value.
    pub fn params(&self) -> Option<Bytes> {
        self.slice(self.shape.params)
    }

    /// Zero-copy slice of the `result` value.
    pub fn result(&self) -> Option<Bytes> {
        self.slice(self.shape.result)
    }

    /// Zero-copy slice of the `error` value.
    pub fn error_object(&self) -> Option<Bytes> {
        self.slice(self.shape.error)
    }

    /// Raw JSON of a direct member of `params`.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.member(Section::Params, name)
    }

    /// A direct string member of `params`, unescaped; none if absent or no string.
    pub fn param_text(&self, name: &str) -> Option<Cow<'_, str>> {
        unescape(self.param(name)?)
    }

    /// Raw JSON of a direct member of `params._meta`.
    pub fn meta(&self, key: &str) -> Option<&[u8]> {
        self.member(Section::Meta, key)
    }

    /// Raw JSON of a direct member of `result`.
    pub fn result_member(&self, name: &str) -> Option<&[u8]> {
        self.member(Section::Result, name)
    }

    /// Raw JSON of a direct member of `error` (`code`, `message`, `data`).
    pub fn error_member(&self, name: &str) -> Option<&[u8]> {
        self.member(Section::Error, name)
    }

    /// The items of the array `result.<list>`, each with its member `name_key`. None if it is absent or no array.
    pub fn items(&self, list: &str, name_key: &str) -> Option<Vec<ListItem>> {
        let member = self.shape.find(&self.bytes, Section::Result, list)?;
        let array = self.bytes.get(..member.value.end as usize)?;
        let start = member.value.start as usize;
        if array.get(start) != Some(&b'[') {
            return None;
        }
        let item = |span: Range<usize>| {
            let found = Children::at(array, span.start).find(|child| {
                array.get(child.name.clone()).and_then(unescape).is_some_and(|name| name == name_key)
            });
            let name = found.and_then(|child| unescape(array.get(child.node.span)?));
            ListItem { span, name: name.unwrap_or_default().into() }
        };
        Some(Children::at(array, start).map(|child| item(child.node.span)).collect())
    }

    /// The message on one line: white space between tokens that holds a line break is dropped, so
    /// that it is one frame on stdio and one `data:` line on SSE. Same bytes (no copy) if there is none.
    pub fn frame(&self) -> Bytes {
        // Under the law no string holds a raw line break, so the white space around one never
        // belongs to a string either.
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let mut rest: &[u8] = &self.bytes;
        let Some(mut next) = memchr::memchr2(b'\n', b'\r', rest) else { return self.bytes.clone() };
        let mut out = Vec::with_capacity(rest.len());
        loop {
            let (before, from) = rest.split_at_checked(next).unwrap_or((rest, &[]));
            let kept = before.iter().rposition(|byte| !is_space(byte)).map_or(0, |last| last + 1);
            out.extend_from_slice(before.get(..kept).unwrap_or_default());
            let dropped = from.iter().position(|byte| !is_space(byte)).unwrap_or(from.len());
            rest = from.get(dropped..).unwrap_or_default();
            match memchr::memchr2(b'\n', b'\r', rest) {
                Some(at) => next = at,
                None => break,
            }
        }
        out.extend_from_slice(rest);
        out.into()
    }

    fn slice(&self, member: Option<Member>) -> Option<Bytes> {
        let value = member?.value.range();
        (value.start <= value.end && value.end <= self.bytes.len()).then(|| self.bytes.slice(value))
    }

    fn member(&self, section: Section, name: &str) -> Option<&[u8]> {
        let value = self.shape.find(&self.bytes, section, name)?.value;
        self.bytes.get(value.range())
    }
}

/// Overwrites the escapes of lone surrogates: all are six bytes long, as is that of U+FFFD.
fn without_lone(bytes: Bytes, lone: &[u32]) -> Bytes {
    if lone.is_empty() {
        return bytes;
    }
    let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    for &at in lone {
        if let Some(escape) = bytes.get_mut(at as usize..at as usize + 6) {
            escape.copy_from_slice(br"\ufffd");
        }
    }
    bytes.freeze()
}

#[cold]
fn violation(bytes: &Bytes, rules: Rules, fault: Fault) -> Violation {
    let lenient = Rules { lenient: true, ..rules };
    let (id, has_method) =
        scan(bytes, lenient, |_, found| (readable_id(bytes, &found), has_method(bytes, &found)));
    let id = id.map(|id| bytes.slice(id));
    Violation { code: fault.code(), what: fault.text(bytes), at: fault.at, id, has_method }
}
