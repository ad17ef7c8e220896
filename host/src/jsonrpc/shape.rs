//! What a message is, and where its parts stand: the exact classification, and the spans that
//! reading and splicing need.

use std::ops::Range;

use smallvec::SmallVec;

use super::fault::{Fault, What};
use super::message::Kind;
use super::reserved::{ENVELOPE, Section};
use super::scan::Found;
use super::span::{Member, Span};
use super::strings::{spells, unescape};
use super::walk::Children;

/// The parts of one message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub kind: Kind,
    /// The whole message without the white space around it.
    pub object: Span,
    pub jsonrpc: Member,
    /// `id` may be `null` on an error.
    pub id: Option<Member>,
    pub method: Option<Member>,
    pub params: Option<Member>,
    pub result: Option<Member>,
    pub error: Option<Member>,
    /// The method, where its literal holds escapes.
    pub method_text: Option<Box<str>>,
    /// The direct members of `params`, `params._meta`, `result` and `error`.
    pub members: SmallVec<[Member; 8]>,
    /// Lone surrogates that became U+FFFD.
    pub replaced: u32,
}

impl Shape {
    /// Classifies what a scan found. Exactly these pass: `method` + `id`, `method`, `id` +
    /// `result`, `error` with or without `id`; `params` only beside `method`.
    pub(super) fn of(bytes: &[u8], found: &Found<'_>) -> Result<Shape, Fault> {
        let mut parts = [None; ENVELOPE.len()];
        for member in found.noted.iter().filter(|member| member.section == Section::Envelope) {
            for (part, name) in parts.iter_mut().zip(ENVELOPE) {
                if spells(member.name.inside(bytes), member.escaped, name) {
                    *part = Some(*member);
                }
            }
        }
        let [jsonrpc, id, method, params, result, error] = parts;
        let form = |what, at: Option<Member>| {
            What::Form(what).at(at.map_or(found.span.start, |at| at.value.start) as usize)
        };
        let first = |member: Member| bytes.get(member.value.start as usize).copied().unwrap_or(0);

        let jsonrpc = jsonrpc.ok_or(form("`jsonrpc` is missing; it must be \"2.0\"", None))?;
        if unescape(jsonrpc.value.of(bytes)).as_deref() != Some("2.0") {
            return Err(form("`jsonrpc` must be the string \"2.0\"", Some(jsonrpc)));
        }
        if let Some(method) = method {
            match unescape(method.value.of(bytes)) {
                Some(name) if !name.is_empty() => {}
                _ => return Err(form("`method` must be a string that is not empty", Some(method))),
            }
        }
        let absent = |params: Member| method.is_some() && params.value.of(bytes) == b"null";
        if params.is_some_and(|params| first(params) != b'{' && !absent(params)) {
            return Err(form("`params` must be an object", params));
        }
        if error.is_some_and(|error| first(error) != b'{') {
            return Err(form("`error` must be an object", error));
        }
        let null_id = id.is_some_and(|id| id.value.of(bytes) == b"null");
        if let Some(id) = id
            && !is_id(id.value.of(bytes))
            && !(null_id && error.is_some())
        {
            return Err(form("`id` must be a string or an integer", Some(id)));
        }
        let kind = match (id, method, result, error) {
            (Some(_), Some(_), None, None) => Kind::Request,
            (None, Some(_), None, None) => Kind::Notification,
            (Some(_), None, Some(_), None) if params.is_none() => Kind::Result,
            (_, None, None, Some(_)) if params.is_none() => Kind::Error,
            (_, None, None, None) => {
                return Err(form("neither `method` nor `result` nor `error` stands in the message", None));
            }
            (None, None, Some(_), None) => return Err(form("a result needs the `id` of its request", None)),
            (_, None, Some(_), Some(_)) => {
                return Err(form("`result` and `error` exclude each other", error));
            }
            (_, None, _, _) => return Err(form("`params` stand beside `method` only", params)),
            (_, Some(method), _, _) => {
                return Err(form("`method` excludes `result` and `error`", Some(method)));
            }
        };
        let method_text = method
            .map(|method| method.value.of(bytes))
            .filter(|raw| raw.contains(&b'\\'))
            .and_then(|raw| unescape(raw).map(|text| text.into_owned().into_boxed_str()));
        let inner = found.noted.iter().filter(|member| member.section != Section::Envelope).copied();
        Ok(Shape {
            kind,
            object: found.span,
            jsonrpc,
            id,
            method,
            params,
            result,
            error,
            method_text,
            members: inner.collect(),
            replaced: found.lone.len() as u32,
        })
    }

    /// The direct member `name` of a section.
    pub(super) fn find(&self, bytes: &[u8], section: Section, name: &str) -> Option<&Member> {
        let members = self.members.iter().filter(|member| member.section == section);
        members.into_iter().find(|member| spells(member.name.inside(bytes), member.escaped, name))
    }

    /// Moves all spans as the replacement of `edit` by `len` bytes demands.
    pub(super) fn shift(&mut self, edit: &Range<usize>, len: usize) {
        let envelope = [&mut self.id, &mut self.method, &mut self.params, &mut self.result, &mut self.error];
        for member in envelope.into_iter().flatten().chain([&mut self.jsonrpc]).chain(&mut self.members) {
            shift(&mut member.name, edit, len);
            shift(&mut member.value, edit, len);
        }
        shift(&mut self.object, edit, len);
    }

    /// Reads the members of a section anew, from a value that was put in.
    pub(super) fn collect(&mut self, bytes: &[u8], section: Section) {
        let value = match section {
            Section::Params => self.params.map(|member| member.value),
            Section::Result => self.result.map(|member| member.value),
            Section::Error => self.error.map(|member| member.value),
            Section::Meta => self.find(bytes, Section::Params, "_meta").map(|member| member.value),
            _ => return,
        };
        let below = if section == Section::Params { Section::Meta } else { section };
        self.members.retain(|member| member.section != section && member.section != below);
        let Some(value) = value.filter(|value| value.of(bytes).starts_with(b"{")) else { return };
        for child in Children::at(bytes, value.start as usize) {
            let name = Span::new(child.name.start, child.name.end);
            let value = Span::new(child.node.span.start, child.node.span.end);
            let escaped = name.of(bytes).contains(&b'\\');
            let member = Member { name, value, section, escaped };
            self.members.push(member);
            if section == Section::Params && spells(name.inside(bytes), escaped, "_meta") {
                self.collect(bytes, Section::Meta);
            }
        }
    }
}

fn shift(span: &mut Span, edit: &Range<usize>, len: usize) {
    let moved = |at: u32| (at as usize + len).saturating_sub(edit.len()) as u32;
    if span.end as usize <= edit.start && !(span.range() == *edit) {
        return;
    }
    if span.start as usize >= edit.end && !(span.range() == *edit) {
        span.start = moved(span.start);
    }
    span.end = moved(span.end);
}

/// A string, or a number without fraction and exponent. `raw` is a lawful value.
pub(super) fn is_id(raw: &[u8]) -> bool {
    match raw.first() {
        Some(b'"') => true,
        Some(b'-' | b'0'..=b'9') => raw.iter().all(|byte| !matches!(byte, b'.' | b'e' | b'E')),
        _ => false,
    }
}

/// Whether a message that is refused has a `method`.
pub(super) fn has_method(bytes: &[u8], found: &Found<'_>) -> bool {
    let envelope = found.noted.iter().filter(|member| member.section == Section::Envelope);
    envelope.into_iter().any(|member| spells(member.name.inside(bytes), member.escaped, "method"))
}

/// The id of a message that is refused, for the answer: the only top-level `id`, if it is one.
pub(super) fn readable_id(bytes: &[u8], found: &Found<'_>) -> Option<Range<usize>> {
    let is_id_member = |member: &&Member| {
        member.section == Section::Envelope && spells(member.name.inside(bytes), member.escaped, "id")
    };
    let mut ids = found.noted.iter().filter(is_id_member);
    let (id, another) = (ids.next()?, ids.next());
    let raw = id.value.of(bytes);
    // The answer must be lawful itself: no lone surrogate, and UTF-8 even where the message is not.
    let lawful = if raw.starts_with(b"\"") { unescape(raw).is_some() } else { is_id(raw) };
    (another.is_none() && lawful).then(|| id.value.range())
}
