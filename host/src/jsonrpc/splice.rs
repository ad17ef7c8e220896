//! Messages made anew, and messages that differ from another in one place: bytes are spliced, and
//! the spans move along.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::message::{Kind, Message};
use super::reserved::Section;
use super::shape::Shape;
use super::span::{Member, Span};
use super::strings::escape;
use super::walk::Children;

/// Values given as raw JSON must be lawful already (debug builds check it and panic); white space
/// around them is left out.
impl Message {
    /// `{"jsonrpc":"2.0","id":<id>,"method":..,"params":<params>}`; `id` and `params` are raw JSON.
    pub fn request(id: &[u8], method: &str, params: Option<&[u8]>) -> Message {
        compose(Kind::Request, Some(id), Some(method), params, None)
    }

    /// A notification; `params` is raw JSON.
    pub fn notification(method: &str, params: Option<&[u8]>) -> Message {
        compose(Kind::Notification, None, Some(method), params, None)
    }

    /// A result; `id` and `result` are raw JSON.
    pub fn response(id: &[u8], result: &[u8]) -> Message {
        compose(Kind::Result, Some(id), None, None, Some(result))
    }

    /// Without `id` the member is left out. `data` is raw JSON.
    pub fn error(id: Option<&[u8]>, code: i32, message: &str, data: Option<&[u8]>) -> Message {
        let mut error = format!("{{\"code\":{code},\"message\":").into_bytes();
        error.extend_from_slice(&escape(message));
        if let Some(data) = data {
            error.extend_from_slice(b",\"data\":");
            error.extend_from_slice(data);
        }
        error.push(b'}');
        compose(Kind::Error, id, None, None, Some(&error))
    }

    /// The same message with another id (raw JSON). Where it had none, it has one now: a
    /// notification becomes a request.
    pub fn with_id(&self, id: &[u8]) -> Message {
        let id = id.trim_ascii();
        if let Some(member) = self.shape.id {
            let (bytes, shape) = self.replaced(member.value.range(), &[id]);
            return finished(bytes, shape);
        }
        let (bytes, mut shape, member) =
            self.inserted(self.shape.jsonrpc.value.end, true, Section::Envelope, "id", id);
        shape.id = Some(member);
        if shape.kind == Kind::Notification {
            shape.kind = Kind::Request;
        }
        finished(bytes, shape)
    }

    /// The same message with another `params` value (raw JSON, already under the law). Responses,
    /// which have no `params`, stay as they are.
    pub fn with_params(&self, params: &[u8]) -> Message {
        let params = params.trim_ascii();
        let Some(method) = self.shape.method else { return self.clone() };
        let (bytes, mut shape) = match self.shape.params {
            Some(member) => self.replaced(member.value.range(), &[params]),
            None => {
                let (bytes, mut shape, member) =
                    self.inserted(method.value.end, true, Section::Envelope, "params", params);
                shape.params = Some(member);
                (bytes, shape)
            }
        };
        shape.collect(&bytes, Section::Params);
        finished(bytes, shape)
    }

    /// Replaces or adds a direct member of `params`; `params` is created where absent.
    pub fn with_param(&self, name: &str, value: &[u8]) -> Message {
        match self.shape.params {
            Some(params) => self.put(params.value, Section::Params, name, value),
            None => self.with_params(&object(name, value)),
        }
    }

    /// Replaces, adds or (none) removes a direct member of `params._meta`. `params` and `_meta` are
    /// created where absent, and a `_meta` that is no object is replaced by one.
    pub fn with_meta(&self, key: &str, value: Option<&[u8]>) -> Message {
        let Some(value) = value else { return self.without(Section::Meta, key) };
        match self.shape.find(&self.bytes, Section::Params, "_meta") {
            Some(meta) if meta.value.of(&self.bytes).starts_with(b"{") => {
                self.put(meta.value, Section::Meta, key, value)
            }
            _ => self.with_param("_meta", &object(key, value)),
        }
    }

    /// The same response with another `result` value. An error with an id becomes a result; other
    /// messages stay as they are.
    pub fn with_result(&self, result: &[u8]) -> Message {
        self.with_outcome(Section::Result, result)
    }

    /// The same response with another `error` value (an object). A result becomes an error; other
    /// messages stay as they are.
    pub fn with_error(&self, error: &[u8]) -> Message {
        self.with_outcome(Section::Error, error)
    }

    /// Replaces, adds or (none) removes a direct member of `result`. A message whose `result` is
    /// absent or no object stays as it is.
    pub fn with_result_member(&self, name: &str, value: Option<&[u8]>) -> Message {
        match (self.shape.result, value) {
            (Some(result), Some(value)) if result.value.of(&self.bytes).starts_with(b"{") => {
                self.put(result.value, Section::Result, name, value)
            }
            (Some(_), None) => self.without(Section::Result, name),
            _ => self.clone(),
        }
    }

    /// The same result with these items (raw JSON) as the array `result.<list>`; it stays as it is
    /// where there is no such array, or where they are its items already.
    pub fn with_items(&self, list: &str, items: &[Bytes]) -> Message {
        let found = self.shape.find(&self.bytes, Section::Result, list).map(|member| member.value);
        let Some(value) = found.filter(|value| value.of(&self.bytes).starts_with(b"[")) else {
            return self.clone();
        };
        let mut now = Children::at(&self.bytes, value.start as usize);
        let same = items.iter().all(|item| {
            now.next().is_some_and(|child| self.bytes.get(child.node.span).is_some_and(|now| now == item))
        });
        if same && now.next().is_none() {
            return self.clone();
        }
        let mut array = Vec::with_capacity(items.iter().map(|item| item.len() + 1).sum::<usize>() + 2);
        array.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                array.push(b',');
            }
            array.extend_from_slice(item);
        }
        array.push(b']');
        self.with_result_member(list, Some(&array))
    }

    fn with_outcome(&self, section: Section, value: &[u8]) -> Message {
        let value = value.trim_ascii();
        let (kind, name, old, other) = match section {
            Section::Result => (Kind::Result, "result", self.shape.result, self.shape.error),
            _ => (Kind::Error, "error", self.shape.error, self.shape.result),
        };
        let (bytes, mut shape) = match (old, other) {
            (Some(old), _) => self.replaced(old.value.range(), &[value]),
            (None, Some(other)) if self.id().is_some() => {
                let whole = other.name.start as usize..other.value.end as usize;
                let name = escape(name);
                let (bytes, mut shape) = self.replaced(whole.clone(), &[&name, b":", value]);
                let member = member(whole.start, Section::Envelope, &name, value);
                (shape.result, shape.error) = match section {
                    Section::Result => (Some(member), None),
                    _ => (None, Some(member)),
                };
                shape.kind = kind;
                shape.members.clear();
                (bytes, shape)
            }
            _ => return self.clone(),
        };
        shape.collect(&bytes, section);
        finished(bytes, shape)
    }

    /// Replaces or adds the member of the section whose object stands at `object`.
    fn put(&self, object: Span, section: Section, name: &str, value: &[u8]) -> Message {
        let value = value.trim_ascii();
        let (bytes, mut shape) = match self.shape.find(&self.bytes, section, name) {
            Some(member) => self.replaced(member.value.range(), &[value]),
            None => {
                let last = self.members(section).map(|member| member.value.end).max();
                let at = last.unwrap_or(object.start + 1);
                let (bytes, mut shape, member) = self.inserted(at, last.is_some(), section, name, value);
                shape.members.push(member);
                (bytes, shape)
            }
        };
        if section == Section::Params && name == "_meta" {
            shape.collect(&bytes, Section::Meta);
        }
        finished(bytes, shape)
    }

    /// Takes the member out with one of the commas beside it.
    fn without(&self, section: Section, name: &str) -> Message {
        let Some(&gone) = self.shape.find(&self.bytes, section, name) else { return self.clone() };
        let next = self
            .members(section)
            .map(|member| member.name.start)
            .filter(|&start| start > gone.name.start)
            .min();
        let previous =
            self.members(section).map(|member| member.value.end).filter(|&end| end < gone.name.start).max();
        let edit = match (next, previous) {
            (Some(next), _) => gone.name.start..next,
            (None, Some(previous)) => previous..gone.value.end,
            (None, None) => gone.name.start..gone.value.end,
        };
        let mut shape = Shape::clone(&self.shape);
        shape.members.retain(|member| *member != gone);
        let edit = edit.start as usize..edit.end as usize;
        shape.shift(&edit, 0);
        finished(spliced(&self.bytes, edit, &[]), shape)
    }

    fn members(&self, section: Section) -> impl Iterator<Item = &Member> {
        self.shape.members.iter().filter(move |member| member.section == section)
    }

    fn replaced(&self, edit: Range<usize>, pieces: &[&[u8]]) -> (Bytes, Shape) {
        let mut shape = Shape::clone(&self.shape);
        shape.shift(&edit, pieces.iter().map(|piece| piece.len()).sum());
        (spliced(&self.bytes, edit, pieces), shape)
    }

    fn inserted(
        &self,
        at: u32,
        comma: bool,
        section: Section,
        name: &str,
        value: &[u8],
    ) -> (Bytes, Shape, Member) {
        let comma: &[u8] = if comma { b"," } else { b"" };
        let (at, name) = (at as usize, escape(name));
        let (bytes, shape) = self.replaced(at..at, &[comma, &name, b":", value]);
        (bytes, shape, member(at + comma.len(), section, &name, value))
    }
}

/// The member that a raw name, a colon and a value make at `at`.
fn member(at: usize, section: Section, name: &[u8], value: &[u8]) -> Member {
    let start = at + name.len() + 1;
    Member {
        name: Span::new(at, at + name.len()),
        value: Span::new(start, start + value.len()),
        section,
        escaped: name.contains(&b'\\'),
    }
}

fn object(name: &str, value: &[u8]) -> Vec<u8> {
    [b"{", escape(name).as_slice(), b":", value.trim_ascii(), b"}"].concat()
}

/// `bytes` with `pieces` in the place of `edit`.
pub(super) fn spliced(bytes: &[u8], edit: Range<usize>, pieces: &[&[u8]]) -> Bytes {
    let before = bytes.get(..edit.start).unwrap_or_default();
    let after = bytes.get(edit.end..).unwrap_or_default();
    let len = before.len() + after.len() + pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(before);
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(after);
    out.into()
}

fn compose(
    kind: Kind,
    id: Option<&[u8]>,
    method: Option<&str>,
    params: Option<&[u8]>,
    outcome: Option<&[u8]>,
) -> Message {
    let mut bytes = Vec::with_capacity(64 + params.or(outcome).map_or(0, <[u8]>::len));
    let mut add = |name: &str, value: &[u8]| {
        let value = value.trim_ascii();
        bytes.push(if bytes.is_empty() { b'{' } else { b',' });
        let name = escape(name);
        let member = member(bytes.len(), Section::Envelope, &name, value);
        for piece in [&name, &b":"[..], value] {
            bytes.extend_from_slice(piece);
        }
        member
    };
    let jsonrpc = add("jsonrpc", b"\"2.0\"");
    let id = id.map(|id| add("id", id));
    let raw_method = method.map(escape);
    let escaped = raw_method.as_ref().is_some_and(|raw| raw.contains(&b'\\'));
    let mut shape = Shape {
        kind,
        object: Span::default(),
        jsonrpc,
        id,
        method: raw_method.as_ref().map(|raw| add("method", raw)),
        params: params.map(|params| add("params", params)),
        result: outcome.filter(|_| kind == Kind::Result).map(|result| add("result", result)),
        error: outcome.filter(|_| kind == Kind::Error).map(|error| add("error", error)),
        method_text: method.filter(|_| escaped).map(Into::into),
        members: Default::default(),
        replaced: 0,
    };
    bytes.push(b'}');
    shape.object = Span::new(0, bytes.len());
    for section in [Section::Params, Section::Result, Section::Error] {
        shape.collect(&bytes, section);
    }
    finished(bytes.into(), shape)
}

fn finished(bytes: Bytes, shape: Shape) -> Message {
    debug_assert!(
        is_lawful(&bytes, &shape),
        "a value that breaks the JSON law was put into {}",
        String::from_utf8_lossy(&bytes)
    );
    Message { bytes, shape: Arc::new(shape) }
}

/// Whether a scan finds the same message in the bytes.
fn is_lawful(bytes: &Bytes, shape: &Shape) -> bool {
    use super::message::{Limits, Source};
    let limits = Limits { bytes: usize::MAX, depth: u16::MAX, members: u32::MAX, number_bytes: usize::MAX };
    let sorted = |shape: &Shape| {
        let mut shape = Shape { replaced: 0, ..shape.clone() };
        shape.members.sort_by_key(|member| member.name.start);
        shape
    };
    match Message::parse(bytes.clone(), &limits, Source::Client) {
        Ok(message) => sorted(&message.shape) == sorted(shape),
        Err(_) => false,
    }
}
