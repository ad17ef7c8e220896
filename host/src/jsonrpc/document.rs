//! One JSON document read and edited by JSON Pointer (RFC 6901), over spliced bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::fault::{Fault, What};
use super::index::Index;
use super::message::{Limits, Source};
use super::pointer::{Parent, Place, Tokens, locate, place, root, tokens};
use super::scan::{Rules, scan};
use super::span::Span;
use super::splice::spliced;
use super::strings::{escape, unescape};
use super::walk::{Children, Node, each_string};

/// Documents above this many bytes are read through a skip index.
const INDEXED: usize = 4096;

/// What kind of value stands somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum JsonKind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

/// Why a read or an edit was refused; the document is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Not RFC 6901, or the parent does not exist.
    #[error("invalid pointer: {0}")]
    InvalidPointer(String),
    /// Not one JSON value under the law.
    #[error("invalid JSON: {0}")]
    InvalidJson(String),
    /// The value is of another kind than the operation needs.
    #[error("{0}")]
    WrongKind(String),
    /// A limit of the law is exceeded by the edit.
    #[error("{0}")]
    Limit(String),
}

/// One JSON value that already passed the law, with the edits made so far.
///
/// A clone is cheap and independent: edit a clone and keep it, or drop it and nothing happened.
/// The limits hold for the document on its own; whoever splices it into a message scans that again.
#[derive(Clone, Debug)]
pub struct Document {
    bytes: Bytes,
    limits: Limits,
    edited: bool,
    /// Of the bytes as they stand; built by the first read that is worth it.
    index: Option<Arc<Index>>,
    /// Members and items in all, once counted.
    members: Option<u32>,
}

impl Document {
    /// `bytes` must be one JSON value that passed [`super::Message::parse`] (or a part of it).
    pub fn new(bytes: Bytes, limits: Limits) -> Document {
        Document { bytes, limits, edited: false, index: None, members: None }
    }

    /// Scans a JSON value from elsewhere under the law first.
    pub fn parse(bytes: Bytes, limits: Limits) -> Result<Document, EditError> {
        let (_, members) = judged(&bytes, limits)?;
        Ok(Document { members: Some(members), ..Document::new(bytes, limits) })
    }

    /// Whether any edit changed a byte.
    pub fn edited(&self) -> bool {
        self.edited
    }

    /// The document as it stands now.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What kind of value stands at the pointer; none if nothing does.
    pub fn kind(&mut self, at: &str) -> Result<Option<JsonKind>, EditError> {
        Ok(self.node(at)?.and_then(|node| self.kind_of(&node)))
    }

    /// Zero-copy raw JSON of the value.
    pub fn get(&mut self, at: &str) -> Result<Option<Bytes>, EditError> {
        let span = self.node(at)?.map(|node| node.span).filter(|span| span.end <= self.bytes.len());
        Ok(span.map(|span| self.bytes.slice(span)))
    }

    /// The string at the pointer, unescaped. [`EditError::WrongKind`] if another value stands there.
    pub fn text(&mut self, at: &str) -> Result<Option<String>, EditError> {
        let Some(node) = self.node(at)? else { return Ok(None) };
        match self.bytes.get(node.span).and_then(unescape) {
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(EditError::WrongKind(format!("what stands at {at:?} is not a string"))),
        }
    }

    /// The member names of the object, unescaped, in their order; empty if nothing stands there.
    /// [`EditError::WrongKind`] if another value does.
    pub fn keys(&mut self, at: &str) -> Result<Vec<String>, EditError> {
        let Some(node) = self.node(at)? else { return Ok(Vec::new()) };
        if self.kind_of(&node) != Some(JsonKind::Object) {
            return Err(EditError::WrongKind(format!("what stands at {at:?} is not an object")));
        }
        let name = |name: Range<usize>| Some(unescape(self.bytes.get(name)?)?.into_owned());
        let children = Children::of(&self.bytes, self.index.as_deref(), &node);
        Ok(children.filter_map(|child| name(child.name)).collect())
    }

    /// The number of members or items; none if nothing stands there. [`EditError::WrongKind`] if it
    /// is neither object nor array.
    pub fn length(&mut self, at: &str) -> Result<Option<u32>, EditError> {
        let Some(node) = self.node(at)? else { return Ok(None) };
        match self.kind_of(&node) {
            Some(JsonKind::Object | JsonKind::Array) => {
                let count = Children::of(&self.bytes, self.index.as_deref(), &node).count();
                Ok(Some(u32::try_from(count).unwrap_or(u32::MAX)))
            }
            _ => Err(EditError::WrongKind(format!("what stands at {at:?} is neither object nor array"))),
        }
    }

    /// Every string value at or below the pointer with its own pointer, unescaped, in document order.
    pub fn strings(&mut self, at: &str) -> Result<Vec<(String, String)>, EditError> {
        let Some(node) = self.node(at)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        each_string(&self.bytes, self.index.as_deref(), node, at, |pointer, span| {
            if let Some(text) = self.bytes.get(span).and_then(unescape) {
                found.push((pointer.to_owned(), text.into_owned()));
            }
        });
        Ok(found)
    }

    /// Replaces the value at the pointer, adds it to an object, or appends it to an array (`/-`).
    /// Its parent must exist.
    pub fn set(&mut self, at: &str, json: &[u8]) -> Result<(), EditError> {
        let tokens = parsed(at)?;
        let depth = self.limits.depth.saturating_sub(u16::try_from(tokens.len()).unwrap_or(u16::MAX));
        let judgement = judged(json, Limits { depth, ..self.limits });
        let (span, added) = judgement.map_err(|error| match error {
            EditError::Limit(_) if depth < self.limits.depth => {
                EditError::Limit(format!("{error} (the whole document may have {})", self.limits.depth))
            }
            error => error,
        })?;
        let value = span.of(json);
        let Some((last, parent)) = tokens.split_last() else {
            let whole = root(&self.bytes, None).span;
            return self.replace(whole, &[value], 0, added);
        };
        let index = self.indexed();
        let Some(parent_node) =
            locate(&self.bytes, index.as_deref(), root(&self.bytes, index.as_deref()), parent)
        else {
            return Err(EditError::InvalidPointer(format!(
                "nothing stands above {at:?}; set the parent first"
            )));
        };
        let token: &str = last;
        match place(&self.bytes, index.as_deref(), &parent_node, token) {
            Place::Present { child, .. } => self.replace(child.node.span, &[value], 0, added),
            Place::Absent { last, parent } => {
                let comma: &[u8] = if last.is_some() { b"," } else { b"" };
                let end = last.unwrap_or(parent_node.span.start + 1);
                match parent {
                    Parent::Object => self.replace(end..end, &[comma, &escape(token), b":", value], 1, added),
                    Parent::Array if token == "-" => self.replace(end..end, &[comma, value], 1, added),
                    Parent::Array => Err(EditError::InvalidPointer(format!(
                        "{at:?} names no item of the array; use a number below its length, or - to append"
                    ))),
                    Parent::Scalar => Err(EditError::WrongKind(format!(
                        "what stands above {at:?} is neither object nor array"
                    ))),
                }
            }
        }
    }

    /// Like [`Document::set`] with a string.
    pub fn set_text(&mut self, at: &str, text: &str) -> Result<(), EditError> {
        self.set(at, &escape(text))
    }

    /// Removes the value; that nothing stands there is no error. The whole document cannot be removed.
    pub fn remove(&mut self, at: &str) -> Result<(), EditError> {
        let tokens = parsed(at)?;
        let Some((last, parent)) = tokens.split_last() else {
            return Err(EditError::InvalidPointer("the whole document cannot be removed; set it".to_owned()));
        };
        let index = self.indexed();
        let from = root(&self.bytes, index.as_deref());
        let Some(parent) = locate(&self.bytes, index.as_deref(), from, parent) else { return Ok(()) };
        let Place::Present { child, previous, next } = place(&self.bytes, index.as_deref(), &parent, last)
        else {
            return Ok(());
        };
        let edit = match (next, previous) {
            (Some(next), _) => child.name.start..next,
            (None, Some(previous)) => previous..child.node.span.end,
            (None, None) => child.name.start..child.node.span.end,
        };
        let gone = self.count(child.node.span) + 1;
        self.members = self.members.map(|members| members.saturating_sub(gone));
        self.put(edit, &[]);
        Ok(())
    }

    /// Replaces the strings at the pointers by other strings, all or nothing, in one pass over the
    /// document. Where a pointer is given twice the last text stands.
    pub fn replace_strings(&mut self, edits: &[(String, String)]) -> Result<(), EditError> {
        for (pointer, _) in edits {
            parsed(pointer)?;
        }
        let wanted: HashMap<&str, &str> =
            edits.iter().map(|(at, text)| (at.as_str(), text.as_str())).collect();
        let Some(node) = self.node("")? else { return Ok(()) };
        let mut found: Vec<(Range<usize>, &str)> = Vec::with_capacity(wanted.len());
        each_string(&self.bytes, self.index.as_deref(), node, "", |pointer, span| {
            if let Some(text) = wanted.get(pointer) {
                found.push((span, text));
            }
        });
        if found.len() < wanted.len() {
            for (pointer, _) in edits {
                match self.kind(pointer)? {
                    Some(JsonKind::Text) => {}
                    None => return Err(EditError::InvalidPointer(format!("nothing stands at {pointer:?}"))),
                    _ => {
                        return Err(EditError::WrongKind(format!(
                            "what stands at {pointer:?} is not a string"
                        )));
                    }
                }
            }
        }
        let mut out = Vec::with_capacity(self.bytes.len());
        let mut done = 0;
        for (span, text) in found {
            out.extend_from_slice(self.bytes.get(done..span.start).unwrap_or_default());
            let raw = self.bytes.get(span.clone()).unwrap_or_default();
            if unescape(raw).is_some_and(|now| now == text) {
                out.extend_from_slice(raw);
            } else {
                out.extend_from_slice(&escape(text));
            }
            done = span.end;
        }
        out.extend_from_slice(self.bytes.get(done..).unwrap_or_default());
        self.fits(out.len())?;
        if out != self.bytes {
            self.become_bytes(out.into());
        }
        Ok(())
    }

    /// The value at the pointer, through the index where it is worth one.
    fn node(&mut self, at: &str) -> Result<Option<Node>, EditError> {
        let tokens = parsed(at)?;
        if self.index.is_none() && self.bytes.len() > INDEXED {
            self.index = Index::build(&self.bytes).map(Arc::new);
        }
        let index = self.index.as_deref();
        Ok(locate(&self.bytes, index, root(&self.bytes, index), &tokens).filter(|node| !node.span.is_empty()))
    }

    /// The index if there is one: an edit drops it, so it does not pay to build one for an edit.
    fn indexed(&self) -> Option<Arc<Index>> {
        self.index.clone()
    }

    fn kind_of(&self, node: &Node) -> Option<JsonKind> {
        Some(match self.bytes.get(node.span.start)? {
            b'{' => JsonKind::Object,
            b'[' => JsonKind::Array,
            b'"' => JsonKind::Text,
            b't' | b'f' => JsonKind::Boolean,
            b'n' => JsonKind::Null,
            _ => JsonKind::Number,
        })
    }

    /// Puts `pieces` in the place of the value at `edit`, if the limits allow it: `new` members
    /// more, with `added` members inside.
    fn replace(
        &mut self,
        edit: Range<usize>,
        pieces: &[&[u8]],
        new: u32,
        added: u32,
    ) -> Result<(), EditError> {
        if let [value] = pieces
            && self.bytes.get(edit.clone()) == Some(*value)
        {
            return Ok(());
        }
        self.fits(self.bytes.len() - edit.len() + pieces.iter().map(|piece| piece.len()).sum::<usize>())?;
        let before = match self.members {
            Some(members) => members,
            None => self.count(0..self.bytes.len()),
        };
        let members =
            before.saturating_sub(self.count(edit.clone())).saturating_add(new).saturating_add(added);
        if members > self.limits.members {
            let limit = self.limits.members;
            return Err(EditError::Limit(format!(
                "the document would have {members} members and items; the limit is {limit}"
            )));
        }
        self.members = Some(members);
        self.put(edit, pieces);
        Ok(())
    }

    fn fits(&self, len: usize) -> Result<(), EditError> {
        if len <= self.limits.bytes {
            return Ok(());
        }
        let limit = self.limits.bytes;
        Err(EditError::Limit(format!("the document would be {len} bytes long; the limit is {limit}")))
    }

    fn put(&mut self, edit: Range<usize>, pieces: &[&[u8]]) {
        self.become_bytes(spliced(&self.bytes, edit, pieces));
    }

    fn become_bytes(&mut self, bytes: Bytes) {
        self.bytes = bytes;
        self.edited = true;
        self.index = None;
    }

    /// Members and items in a value of this document.
    fn count(&self, span: Range<usize>) -> u32 {
        let value = self.bytes.get(span).unwrap_or_default();
        if !matches!(value.trim_ascii_start().first(), Some(b'{' | b'[')) {
            return 0;
        }
        let limits =
            Limits { bytes: usize::MAX, depth: u16::MAX, members: u32::MAX, number_bytes: usize::MAX };
        let rules = Rules { limits, source: Source::Server, message: false, lenient: true };
        scan(value, rules, |_, found| found.members)
    }
}

fn parsed(pointer: &str) -> Result<Tokens<'_>, EditError> {
    tokens(pointer).map_err(EditError::InvalidPointer)
}

/// Where one JSON value stands in `json`, and how many members and items it has.
fn judged(json: &[u8], limits: Limits) -> Result<(Span, u32), EditError> {
    let rules = Rules { limits, source: Source::Client, message: false, lenient: false };
    scan(json, rules, |result, found| match result {
        Ok(()) => Ok((found.span, found.members)),
        Err(Fault { what: What::TooLong, .. }) => Err(EditError::Limit(format!(
            "the JSON is {} bytes long; the limit is {}",
            json.len(),
            limits.bytes
        ))),
        Err(fault) => match fault.what {
            What::TooDeep(_) | What::TooMany(_) | What::NumberTooLong(_) => {
                Err(EditError::Limit(fault.text(json).into_owned()))
            }
            _ => Err(EditError::InvalidJson(format!("{} at byte {}", fault.text(json), fault.at))),
        },
    })
}

#[cfg(test)]
impl Document {
    /// Whether the count of members, if there is one, is the one that a scan gave `other`.
    pub(super) fn limits_agree(&self, other: &Document) -> bool {
        self.members.is_none() || self.members == other.members
    }
}
