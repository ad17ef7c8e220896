//! The strict scanner: one pass over the bytes that enforces the JSON law and notes the members
//! that matter. No recursion, and no allocation but the growth of an arena that is reused.

use std::cell::RefCell;

use super::duplicates::{Names, Seen};
use super::fault::{Fault, What};
use super::message::{Limits, Source};
use super::reserved::{self, Section, Standing};
use super::span::{Member, Span};
use super::strings::{escape_at, run_end, skip_short_escapes, unescape_into};
use super::walk::skip_space;

/// Longest text that offsets of 31 bits reach.
pub(super) const LONGEST: usize = (1 << 31) - 1;
/// Most protocol names that this version does not know in one `params._meta`.
const PROTOCOL_NAMES: usize = 64;
/// What an arena keeps between messages, in entries of each of its lists.
const KEEP: usize = 16 * 1024;

/// What a scan is to accept.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub limits: Limits,
    pub source: Source,
    /// Whether the text is a message (an object whose members are judged and noted) or any value.
    pub message: bool,
    /// Grammar and bounds only: for a message already refused, whose id is wanted for the answer.
    pub lenient: bool,
}

/// What a scan found.
pub(super) struct Found<'a> {
    /// Where the value stands.
    pub span: Span,
    /// Members and items in all.
    pub members: u32,
    /// The members of all sections in the order of their names.
    pub noted: &'a [Member],
    /// Where lone surrogates are escaped.
    pub lone: &'a [u32],
}

/// Scans one JSON text and hands what was found to `then`, faults included.
pub(super) fn scan<T>(bytes: &[u8], rules: Rules, then: impl FnOnce(Result<(), Fault>, Found<'_>) -> T) -> T {
    thread_local! {
        static ARENA: RefCell<Arena> = RefCell::new(Arena::new());
    }
    ARENA.with(|arena| match arena.try_borrow_mut() {
        Ok(mut arena) => arena.scan(bytes, rules, then),
        // `then` scans again: rare, so a fresh arena will do.
        Err(_) => Arena::new().scan(bytes, rules, then),
    })
}

/// The memory of a scan.
struct Arena {
    names: Names,
    frames: Vec<Frame>,
    noted: Vec<Member>,
    lone: Vec<u32>,
    text: Vec<u8>,
}

/// An open object or array.
#[derive(Clone, Copy)]
struct Frame {
    seen: Seen,
    /// The member of `noted` whose value is being scanned.
    pending: u32,
    section: Section,
    /// Section of the value being scanned, if it is an object.
    child: Section,
    within: Within,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Top,
    Array,
    Object,
}

impl Arena {
    fn new() -> Arena {
        Arena {
            names: Names::new(),
            frames: Vec::new(),
            noted: Vec::new(),
            lone: Vec::new(),
            text: Vec::new(),
        }
    }

    fn scan<T>(
        &mut self,
        bytes: &[u8],
        rules: Rules,
        then: impl FnOnce(Result<(), Fault>, Found<'_>) -> T,
    ) -> T {
        let mut scanner = Scanner { arena: self, bytes, rules, left: rules.limits.members };
        let result = scanner.text();
        let members = rules.limits.members - scanner.left;
        let (result, span) = match result {
            Ok(span) => (Ok(()), span),
            Err(fault) => (Err(fault), Span::default()),
        };
        let out = then(result, Found { span, members, noted: &self.noted, lone: &self.lone });
        self.clear();
        out
    }

    fn clear(&mut self) {
        self.names.clear(KEEP);
        self.frames.clear();
        self.frames.shrink_to(KEEP);
        self.noted.clear();
        self.noted.shrink_to(KEEP);
        self.lone.clear();
        self.lone.shrink_to(KEEP);
        self.text.clear();
        self.text.shrink_to(KEEP);
    }
}

struct Scanner<'a> {
    arena: &'a mut Arena,
    bytes: &'a [u8],
    rules: Rules,
    /// Members and items that may still come.
    left: u32,
}

impl Scanner<'_> {
    #[inline(always)]
    fn peek(&self, at: usize) -> u8 {
        // NUL begins nothing in JSON, so it may stand for the end.
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The whole text: white space, one value, white space.
    fn text(&mut self) -> Result<Span, Fault> {
        if self.bytes.len() > self.rules.limits.bytes.min(LONGEST) {
            return Err(What::TooLong.at(self.rules.limits.bytes.min(LONGEST)));
        }
        if self.bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(What::Bom.at(0));
        }
        if !self.rules.lenient
            && let Err(error) = simdutf8::compat::from_utf8(self.bytes)
        {
            return Err(What::NotUtf8.at(error.valid_up_to()));
        }
        let start = skip_space(self.bytes, 0);
        if self.rules.message && self.peek(start) == b'[' {
            return Err(What::Batch.at(start));
        }
        let end = self.value(start)?;
        let rest = skip_space(self.bytes, end);
        if rest < self.bytes.len() {
            return Err(What::Trailing.at(rest));
        }
        if self.rules.message && self.peek(start) != b'{' {
            return Err(What::NotAnObject.at(start));
        }
        Ok(Span::new(start, end))
    }

    /// The value at `at` with everything in it; returns the byte after it.
    fn value(&mut self, mut at: usize) -> Result<usize, Fault> {
        let first = if self.rules.message { Section::Envelope } else { Section::Other };
        let mut top = Frame {
            seen: Seen::default(),
            pending: 0,
            section: Section::Other,
            child: first,
            within: Within::Top,
        };
        loop {
            // A value begins at `at`.
            match self.peek(at) {
                b'"' => at = self.string(at)?.0,
                b'-' | b'0'..=b'9' => at = self.number(at)?,
                b'{' => {
                    self.push(top, at)?;
                    top = Frame {
                        seen: self.arena.names.open(),
                        pending: 0,
                        section: top.child,
                        child: Section::Other,
                        within: Within::Object,
                    };
                    at = self.space(at + 1);
                    if self.peek(at) != b'}' {
                        at = self.name(&mut top, at)?;
                        continue;
                    }
                    at += 1;
                    top = self.pop(top);
                }
                b'[' => {
                    self.push(top, at)?;
                    top = Frame {
                        section: Section::Other,
                        child: Section::Other,
                        within: Within::Array,
                        ..top
                    };
                    at = self.space(at + 1);
                    if self.peek(at) != b']' {
                        self.count(at)?;
                        continue;
                    }
                    at += 1;
                    top = self.pop(top);
                }
                b't' => at = self.literal(at, b"true")?,
                b'f' => at = self.literal(at, b"false")?,
                b'n' => at = self.literal(at, b"null")?,
                _ => return Err(What::Value.at(at)),
            }
            // A value ended before `at`.
            loop {
                if top.section != Section::Other
                    && let Some(member) = self.arena.noted.get_mut(top.pending as usize)
                {
                    member.value.end = at as u32;
                }
                if top.within == Within::Top {
                    return Ok(at);
                }
                at = self.space(at);
                match (self.peek(at), top.within) {
                    (b',', Within::Object) => {
                        at = self.space(at + 1);
                        at = self.name(&mut top, at)?;
                        break;
                    }
                    (b',', _) => {
                        at = self.space(at + 1);
                        self.count(at)?;
                        break;
                    }
                    (b'}', Within::Object) | (b']', Within::Array) => {
                        at += 1;
                        top = self.pop(top);
                    }
                    (_, Within::Object) => return Err(What::ObjectEnd.at(at)),
                    _ => return Err(What::ArrayEnd.at(at)),
                }
            }
        }
    }

    #[inline(always)]
    fn space(&self, at: usize) -> usize {
        if self.peek(at) > b' ' { at } else { skip_space(self.bytes, at) }
    }

    #[inline(always)]
    fn push(&mut self, frame: Frame, at: usize) -> Result<(), Fault> {
        if self.arena.frames.len() >= usize::from(self.rules.limits.depth) {
            return Err(What::TooDeep(self.rules.limits.depth).at(at));
        }
        self.arena.frames.push(frame);
        Ok(())
    }

    #[inline(always)]
    fn pop(&mut self, top: Frame) -> Frame {
        if top.within == Within::Object {
            self.arena.names.close(top.seen);
        }
        self.arena.frames.pop().unwrap_or(top)
    }

    #[inline(always)]
    fn count(&mut self, at: usize) -> Result<(), Fault> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(What::TooMany(self.rules.limits.members).at(at));
        };
        self.left = left;
        Ok(())
    }

    /// The member name at `at` and its colon; returns where the value begins.
    #[inline(always)]
    fn name(&mut self, top: &mut Frame, at: usize) -> Result<usize, Fault> {
        if self.peek(at) != b'"' {
            return Err(What::Name.at(at));
        }
        self.count(at)?;
        let (end, escaped) = self.string(at)?;
        if !self.rules.lenient {
            let new = if escaped {
                self.add_escaped(top, at, end)
            } else {
                self.arena.names.add(&mut top.seen, self.bytes, at + 1, end - 1)
            };
            if !new {
                return Err(What::Duplicate.at(at));
            }
        }
        let colon = self.space(end);
        if self.peek(colon) != b':' {
            return Err(What::Colon.at(colon));
        }
        let value = self.space(colon + 1);
        if top.section != Section::Other {
            self.note(top, Span::new(at, end), escaped, value)?;
        }
        Ok(value)
    }

    #[inline(never)]
    fn add_escaped(&mut self, top: &mut Frame, at: usize, end: usize) -> bool {
        let arena = &mut *self.arena;
        arena.text.clear();
        unescape_into(self.bytes.get(at + 1..end - 1).unwrap_or_default(), &mut arena.text);
        arena.names.add_text(&mut top.seen, self.bytes, &arena.text)
    }

    /// Judges and notes the member of a section.
    #[inline(never)]
    fn note(&mut self, top: &mut Frame, name: Span, escaped: bool, value: usize) -> Result<(), Fault> {
        let arena = &mut *self.arena;
        let inner = if escaped {
            arena.text.clear();
            unescape_into(name.inside(self.bytes), &mut arena.text);
            arena.text.as_slice()
        } else {
            name.inside(self.bytes)
        };
        // Results of clients are answers to questions; those of servers have members of all kinds.
        let judged = match (top.section, self.rules.source) {
            (Section::Result, Source::Client) => Section::Answer,
            (section, _) => section,
        };
        if !self.rules.lenient {
            match reserved::standing(judged, inner) {
                Standing::Fine => {}
                Standing::Confusable(meant) => return Err(What::Confusable(meant).at(name.start as usize)),
                Standing::Protocol => {
                    let prefix = reserved::PREFIX.as_bytes();
                    let others = arena.noted.iter().filter(|other| other.section == Section::Meta);
                    let mut count = 0;
                    for other in others {
                        let other_inner = other.name.inside(self.bytes);
                        if other.escaped || other_inner.starts_with(prefix) {
                            count += 1;
                            if count > PROTOCOL_NAMES {
                                return Err(What::ProtocolNames.at(name.start as usize));
                            }
                            if reserved::same_folded(other_inner, name.inside(self.bytes)) {
                                return Err(What::Confusable(reserved::PREFIX).at(name.start as usize));
                            }
                        }
                    }
                }
            }
        }
        top.child = top.section.child(inner);
        if !top.section.is_noted() {
            top.pending = u32::MAX;
            return Ok(());
        }
        top.pending = arena.noted.len() as u32;
        arena.noted.push(Member { name, value: Span::new(value, 0), section: top.section, escaped });
        Ok(())
    }

    /// The string at `at`; returns the byte after it, and whether it holds escapes.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Result<(usize, bool), Fault> {
        let end = run_end(self.bytes, at + 1);
        if self.peek(end) == b'"' {
            return Ok((end + 1, false));
        }
        self.string_rest(end).map(|end| (end, true))
    }

    /// The rest of a string from an escape on, or from what may not stand in it.
    #[inline(never)]
    fn string_rest(&mut self, mut at: usize) -> Result<usize, Fault> {
        loop {
            at = run_end(self.bytes, skip_short_escapes(self.bytes, at));
            match self.bytes.get(at) {
                Some(b'"') => return Ok(at + 1),
                Some(b'\\') => {
                    let escape = escape_at(self.bytes, at).ok_or(What::Escape.at(at))?;
                    if escape.decoded.is_none() {
                        match self.rules.source {
                            Source::Client if !self.rules.lenient => return Err(What::LoneSurrogate.at(at)),
                            _ => self.arena.lone.push(at as u32),
                        }
                    }
                    at = escape.end;
                }
                Some(_) => return Err(What::Control.at(at)),
                None => return Err(What::StringEnd.at(at)),
            }
        }
    }

    #[inline(always)]
    fn number(&self, start: usize) -> Result<usize, Fault> {
        let mut at = start;
        if self.peek(at) == b'-' {
            at += 1;
        }
        match self.peek(at) {
            b'0' => at += 1,
            b'1'..=b'9' => at = self.digits(at + 1),
            _ => return Err(What::Number.at(at)),
        }
        if self.peek(at) == b'.' {
            at = self.some_digits(at + 1)?;
        }
        if matches!(self.peek(at), b'e' | b'E') {
            at += 1;
            if matches!(self.peek(at), b'+' | b'-') {
                at += 1;
            }
            at = self.some_digits(at)?;
        }
        if at - start > self.rules.limits.number_bytes {
            return Err(What::NumberTooLong(self.rules.limits.number_bytes).at(start));
        }
        Ok(at)
    }

    #[inline(always)]
    fn digits(&self, mut at: usize) -> usize {
        while self.peek(at).is_ascii_digit() {
            at += 1;
        }
        at
    }

    #[inline(always)]
    fn some_digits(&self, at: usize) -> Result<usize, Fault> {
        let end = self.digits(at);
        if end == at { Err(What::Number.at(at)) } else { Ok(end) }
    }

    #[inline(always)]
    fn literal(&self, at: usize, literal: &[u8]) -> Result<usize, Fault> {
        match self.bytes.get(at..at + literal.len()) {
            Some(found) if found == literal => Ok(at + literal.len()),
            _ => Err(What::Value.at(at)),
        }
    }
}
