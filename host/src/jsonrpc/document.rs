//! One JSON document read and edited by JSON Pointer (RFC 6901), over spliced bytes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::fault::{Fault, What};
use super::index::Index;
use super::message::{Limits, Source};
use super::meter::Meter;
use super::pointer::{Parent, Place, Tokens, locate, place, root, shown, tokens};
use super::replacements::Replacements;
use super::scan::{Rules, scan};
use super::span::Span;
use super::splice::spliced;
use super::strings::{escape, unescape};
use super::walk::{Children, Node, View, each_string};

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
    /// The answer has more bytes than the meter allows; at least so many.
    #[error("the answer has {0} bytes or more")]
    TooLarge(usize),
    /// The meter's time was over before the work was done.
    #[error("it took too long")]
    OutOfTime,
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
    /// It would be too large.
    unindexed: bool,
    /// Members and items in all, once counted.
    members: Option<u32>,
    /// What reads and edits may cost.
    meter: Meter,
}

impl Document {
    /// `bytes` must be one JSON value that passed [`super::Message::parse`] (or a part of it).
    pub fn new(bytes: Bytes, limits: Limits) -> Document {
        Document {
            bytes,
            limits,
            edited: false,
            index: None,
            unindexed: false,
            members: None,
            meter: Meter::default(),
        }
    }

    /// Scans a JSON value from elsewhere under the law first.
    pub fn parse(bytes: Bytes, limits: Limits) -> Result<Document, EditError> {
        let (_, members) = judged(&bytes, limits)?;
        Ok(Document { members: Some(members), ..Document::new(bytes, limits) })
    }

    /// Whatever is read and edited from now on costs no more than the meter allows; what it stops is refused
    /// with [`EditError::OutOfTime`] or [`EditError::TooLarge`].
    pub fn metered(self, meter: Meter) -> Document {
        Document { meter, ..self }
    }

    /// Bytes that this document takes beside its text.
    pub fn index_bytes(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.bytes())
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
        let raw = self.bytes.get(node.span).unwrap_or_default();
        self.fits_room(raw)?;
        let Some(text) = unescape(raw) else {
            return Err(EditError::WrongKind(format!("what stands at {} is not a string", shown(at))));
        };
        self.meter.take(text.len())?;
        Ok(Some(text.into_owned()))
    }

    /// The member names of the object, unescaped, in their order; empty if nothing stands there.
    /// [`EditError::WrongKind`] if another value does.
    pub fn keys(&mut self, at: &str) -> Result<Vec<String>, EditError> {
        let Some(node) = self.node(at)? else { return Ok(Vec::new()) };
        if self.kind_of(&node) != Some(JsonKind::Object) {
            return Err(EditError::WrongKind(format!("what stands at {} is not an object", shown(at))));
        }
        let mut names = Vec::new();
        for child in Children::of(self.view(), &node) {
            let raw = self.bytes.get(child.name).unwrap_or_default();
            self.fits_room(raw)?;
            if let Some(name) = unescape(raw) {
                self.meter.take(name.len())?;
                names.push(name.into_owned());
            }
        }
        self.in_time()?;
        Ok(names)
    }

    /// The number of members or items; none if nothing stands there. [`EditError::WrongKind`] if it
    /// is neither object nor array.
    pub fn length(&mut self, at: &str) -> Result<Option<u32>, EditError> {
        let Some(node) = self.node(at)? else { return Ok(None) };
        match self.kind_of(&node) {
            Some(JsonKind::Object | JsonKind::Array) => {
                let count = Children::of(self.view(), &node).count();
                self.in_time()?;
                Ok(Some(u32::try_from(count).unwrap_or(u32::MAX)))
            }
            _ => {
                Err(EditError::WrongKind(format!("what stands at {} is neither object nor array", shown(at))))
            }
        }
    }

    /// Every string value at or below the pointer with its own pointer, unescaped, in document order.
    pub fn strings(&mut self, at: &str) -> Result<Vec<(String, String)>, EditError> {
        let Some(node) = self.node(at)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        each_string(self.view(), node, at, |pointer, span| {
            let raw = self.bytes.get(span).unwrap_or_default();
            self.fits_room(raw)?;
            if let Some(text) = unescape(raw) {
                self.meter.take(pointer.len() + text.len())?;
                found.push((pointer.to_owned(), text.into_owned()));
            }
            Ok(())
        })?;
        self.in_time()?;
        Ok(found)
    }

    /// Replaces the value at the pointer, adds it to an object, or appends it to an array (`/-`).
    /// Its parent must exist.
    pub fn set(&mut self, at: &str, json: &[u8]) -> Result<(), EditError> {
        let tokens = parsed(at)?;
        self.spend(json.len())?;
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
            let whole = root(View::plain(&self.bytes)).span;
            return self.replace(whole, &[value], 0, added);
        };
        let view = self.view();
        let parent_node = locate(view, root(view), parent);
        self.in_time()?;
        let Some(parent_node) = parent_node else {
            return Err(EditError::InvalidPointer(format!(
                "nothing stands above {}; set the parent first",
                shown(at)
            )));
        };
        let token: &str = last;
        let place = place(self.view(), &parent_node, token);
        self.in_time()?;
        match place {
            Place::Present { child, .. } => self.replace(child.node.span, &[value], 0, added),
            Place::Absent { last, parent } => {
                let comma: &[u8] = if last.is_some() { b"," } else { b"" };
                let end = last.unwrap_or(parent_node.span.start + 1);
                match parent {
                    Parent::Object => self.replace(end..end, &[comma, &escape(token), b":", value], 1, added),
                    Parent::Array if token == "-" => self.replace(end..end, &[comma, value], 1, added),
                    Parent::Array => Err(EditError::InvalidPointer(format!(
                        "{} names no item of the array; use a number below its length, or - to append",
                        shown(at)
                    ))),
                    Parent::Scalar => Err(EditError::WrongKind(format!(
                        "what stands above {} is neither object nor array",
                        shown(at)
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
        let view = self.view();
        let place = locate(view, root(view), parent).map(|parent| place(view, &parent, last));
        self.in_time()?;
        let Some(Place::Present { child, previous, next }) = place else { return Ok(()) };
        let edit = match (next, previous) {
            (Some(next), _) => child.name.start..next,
            (None, Some(previous)) => previous..child.node.span.end,
            (None, None) => child.name.start..child.node.span.end,
        };
        self.spend(self.bytes.len())?;
        let gone = self.count(child.node.span) + 1;
        self.members = self.members.map(|members| members.saturating_sub(gone));
        self.put(edit, &[]);
        Ok(())
    }

    /// Replaces the strings at the pointers by other strings, all or nothing, in one pass over the
    /// document. Where a pointer is given twice the last text stands.
    pub fn replace_strings(&mut self, edits: &[(String, String)]) -> Result<(), EditError> {
        let mut wanted = Replacements::new(edits)?;
        let Some(node) = self.node("")? else { return Ok(()) };
        let found = wanted.find(self.view(), node);
        self.in_time()?;
        if let Some(pointer) = wanted.missing(edits) {
            return Err(match self.kind(pointer)? {
                None => EditError::InvalidPointer(format!("nothing stands at {}", shown(pointer))),
                Some(_) => EditError::WrongKind(format!("what stands at {} is not a string", shown(pointer))),
            });
        }
        self.spend(self.bytes.len())?;
        let mut out = Vec::with_capacity(self.bytes.len());
        let mut done = 0;
        for (span, text) in found {
            out.extend_from_slice(self.bytes.get(done..span.start).unwrap_or_default());
            let raw = self.bytes.get(span.clone()).unwrap_or_default();
            if unescape(raw).is_some_and(|now| now == text) {
                out.extend_from_slice(raw);
            } else {
                out.extend_from_slice(&escape(text));
                self.fits(out.len())?;
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
        if self.index.is_none() && !self.unindexed && self.bytes.len() > INDEXED {
            self.spend(self.bytes.len())?;
            self.index = Index::build(&self.bytes).map(Arc::new);
            self.unindexed = self.index.is_none();
        }
        let view = self.view();
        let node = locate(view, root(view), &tokens).filter(|node| !node.span.is_empty());
        self.in_time()?;
        Ok(node)
    }

    fn view(&self) -> View<'_> {
        View { bytes: &self.bytes, index: self.index.as_deref(), meter: &self.meter }
    }

    /// Counts work over so many bytes before it is done.
    fn spend(&self, bytes: usize) -> Result<(), EditError> {
        if self.meter.goes_on(bytes) { Ok(()) } else { Err(EditError::OutOfTime) }
    }

    /// Whether what was found is the whole truth: a walk ends early when its time is over.
    fn in_time(&self) -> Result<(), EditError> {
        self.spend(0)
    }

    /// Whether a string may fit into the answer: it is not unescaped only to find that it does not.
    fn fits_room(&self, raw: &[u8]) -> Result<(), EditError> {
        /// The longest escape of one byte: `\u0041`.
        const ESCAPE: usize = 6;
        self.spend(raw.len())?;
        let least = raw.len().saturating_sub(2) / ESCAPE;
        if least > self.meter.room() { Err(EditError::TooLarge(least)) } else { Ok(()) }
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
        self.spend(self.bytes.len())?;
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
        self.unindexed = false;
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
