//! Steps through JSON that is known to be lawful: where values end, and what stands in them.
//!
//! Nothing here judges. On bytes that are no JSON every step still ends, with none.

use std::ops::Range;

use super::document::EditError;
use super::index::{Cursor, Index};
use super::meter::{Meter, UNLIMITED};
use super::pointer::push_token;
use super::strings::{run_end, skip_short_escapes, unescape};

/// The first byte at or after `at` that is no white space.
#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The byte after the string whose opening quote stands at `at`.
pub(super) fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at = run_end(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            // Of `\u` only the first two bytes: the digits that follow are plain.
            b'\\' => at = skip_short_escapes(bytes, at + 2),
            _ => return None,
        }
    }
}

/// The byte after the value that begins at `at`.
pub(super) fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => container_end(bytes, at),
        _ => {
            let rest = bytes.get(at..)?;
            let is_end =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':' | b'"');
            let len = rest.iter().position(is_end).unwrap_or(rest.len());
            (len > 0).then_some(at + len)
        }
    }
}

fn container_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = at;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// A value, and where its insides begin in the skip index.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub cursor: Cursor,
}

/// One member of an object, or one item of an array (with an empty name).
#[derive(Clone, Debug)]
pub(super) struct Child {
    /// The raw name, quotes included.
    pub name: Range<usize>,
    pub node: Node,
}

/// What a walk reads by: the bytes, the index where there is one, and what the walk may cost.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub bytes: &'a [u8],
    pub index: Option<&'a Index>,
    pub meter: &'a Meter,
}

impl<'a> View<'a> {
    /// Of a document of the host's own: without an index, and at any cost.
    pub(super) fn plain(bytes: &'a [u8]) -> View<'a> {
        View { bytes, index: None, meter: &UNLIMITED }
    }
}

/// The members or items of one container in their order. Ends early when the meter says so.
pub(super) struct Children<'a> {
    view: View<'a>,
    at: usize,
    cursor: Cursor,
    object: bool,
}

impl<'a> Children<'a> {
    /// Of the object or array `node`; of nothing if it is neither.
    pub(super) fn of(view: View<'a>, node: &Node) -> Children<'a> {
        let open = view.bytes.get(node.span.start).copied();
        let at = match open {
            Some(b'{' | b'[') => node.span.start + 1,
            _ => view.bytes.len(),
        };
        Children { view, at, cursor: node.cursor, object: open == Some(b'{') }
    }

    /// Without an index, of the container that begins at `at`.
    pub(super) fn at(bytes: &'a [u8], at: usize) -> Children<'a> {
        Children::of(View::plain(bytes), &Node { span: at..bytes.len(), cursor: Cursor::default() })
    }

    /// Where the value at `at` ends, where its insides begin in the index, and how many bytes were read for that.
    fn end_of(&mut self, at: usize) -> Option<(usize, Cursor, usize)> {
        if let Some((end, inside, after)) = self.view.index.and_then(|index| index.jump(self.cursor, at)) {
            self.cursor = after;
            return Some((end, inside, 0));
        }
        let end = value_end(self.view.bytes, at)?;
        Some((end, self.cursor, end - at))
    }
}

impl Iterator for Children<'_> {
    type Item = Child;

    fn next(&mut self) -> Option<Child> {
        /// What a step costs beside the bytes that it reads.
        const STEP: usize = 16;
        let bytes = self.view.bytes;
        let begin = self.at;
        let mut at = skip_space(bytes, begin);
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
        if matches!(bytes.get(at)?, b'}' | b']') {
            return None;
        }
        let mut name = at..at;
        let mut read = 0;
        if self.object {
            let (end, _, of_name) = self.end_of(at)?;
            (name.end, read) = (end, of_name);
            at = skip_space(bytes, name.end);
            if bytes.get(at) != Some(&b':') {
                return None;
            }
            at = skip_space(bytes, at + 1);
        }
        let space = (at - begin).saturating_sub(name.len());
        let (end, cursor, of_value) = self.end_of(at)?;
        self.at = end;
        if !self.view.meter.goes_on(STEP + space + read + of_value) {
            return None;
        }
        Some(Child { name, node: Node { span: at..end, cursor } })
    }
}

/// Calls `then` with the pointer and the place of every string at or below `node`, in their order, until
/// one of them fails.
pub(super) fn each_string(
    view: View<'_>,
    node: Node,
    at: &str,
    mut then: impl FnMut(&str, Range<usize>) -> Result<(), EditError>,
) -> Result<(), EditError> {
    let mut pointer = at.to_owned();
    let is_text = |span: &Range<usize>| view.bytes.get(span.start) == Some(&b'"');
    if is_text(&node.span) {
        return then(&pointer, node.span);
    }
    // One entry for every open container: its children, their number so far, its pointer's length.
    let mut open = vec![(Children::of(view, &node), 0usize, pointer.len())];
    while let Some((children, number, len)) = open.last_mut() {
        let Some(child) = children.next() else {
            open.pop();
            continue;
        };
        pointer.truncate(*len);
        match view.bytes.get(child.name).filter(|name| !name.is_empty()) {
            Some(name) => push_token(&mut pointer, &unescape(name).unwrap_or_default()),
            None => push_token(&mut pointer, &number.to_string()),
        }
        *number += 1;
        match view.bytes.get(child.node.span.start) {
            Some(b'"') => then(&pointer, child.node.span)?,
            Some(b'{' | b'[') => open.push((Children::of(view, &child.node), 0, pointer.len())),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_over_values() {
        for value in
            ["1", "-1.5e9", "true", "null", "\"a\\\"b\\\\\"", "{\"a\":[1,{\"b\":\"}]\"}]}", "[]", "{ }"]
        {
            for rest in ["", ",1", "]", " "] {
                let text = format!("{value}{rest}");
                assert_eq!(value_end(text.as_bytes(), 0), Some(value.len()), "{text}");
            }
        }
    }

    #[test]
    fn lists_children() {
        let text = br#" { "a" : 1 , "b\"" : [ 2, {"c":3} ] ,"d":"x"}"#;
        let names: Vec<_> = Children::at(text, 1).map(|child| &text[child.name]).collect();
        assert_eq!(names, [&b"\"a\""[..], b"\"b\\\"\"", b"\"d\""]);
        let values: Vec<_> = Children::at(text, 1).map(|child| &text[child.node.span]).collect();
        assert_eq!(values, [&b"1"[..], br#"[ 2, {"c":3} ]"#, b"\"x\""]);
        assert_eq!(Children::at(b"[ ]", 0).count(), 0);
        assert_eq!(Children::at(b"17", 0).count(), 0);
    }

    proptest! {
        #[test]
        fn ends_on_any_bytes(bytes in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'"'), Just(b':'), Just(b','), Just(b'}'), Just(b'['), any::<u8>()], 0..60)) {
            let _ = value_end(&bytes, 0);
            prop_assert!(Children::at(&bytes, 0).count() <= bytes.len());
        }
    }
}
