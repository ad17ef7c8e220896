//! JSON Pointers (RFC 6901): their tokens, and the values they lead to.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::index::Cursor;
use super::strings::spells;
use super::walk::{Child, Children, Node, View, skip_space};

/// No lawful document is that deep (`limits.message_depth` and `limits.result_depth` end at 512).
const LEVELS: usize = 1_024;

/// The unescaped tokens of a pointer; none for the whole document.
pub(super) type Tokens<'a> = SmallVec<[Cow<'a, str>; 8]>;

/// Raw JSON of the value at `pointer` in one lawful JSON value. None if nothing stands there or it
/// is no pointer. Costs a walk to the place; for several reads see [`super::Document`].
pub fn get<'a>(json: &'a [u8], pointer: &str) -> Option<&'a [u8]> {
    let tokens = tokens(pointer).ok()?;
    let node = locate(View::plain(json), root(View::plain(json)), &tokens)?;
    json.get(node.span)
}

/// The pointer that leads through these members.
pub fn pointer(tokens: &[&str]) -> String {
    let mut pointer = String::new();
    tokens.iter().for_each(|token| push_token(&mut pointer, token));
    pointer
}

/// Splits a pointer; the error says what is wrong with it.
pub(super) fn tokens(pointer: &str) -> Result<Tokens<'_>, String> {
    if pointer.is_empty() {
        return Ok(Tokens::new());
    }
    let Some(tokens) = pointer.strip_prefix('/') else {
        return Err(format!("{} must be empty or begin with a slash", shown(pointer)));
    };
    let unescaped = |token| match unescape_token(token) {
        Some(token) => Ok(token),
        None => Err(format!("{} has a ~ that is neither ~0 nor ~1", shown(pointer))),
    };
    if tokens.bytes().filter(|byte| *byte == b'/').count() >= LEVELS {
        return Err(format!("{} leads deeper than any document", shown(pointer)));
    }
    tokens.split('/').map(unescaped).collect()
}

/// A pointer for an error: a plugin may give one of megabytes, and would get it back.
pub(super) fn shown(pointer: &str) -> String {
    const LONGEST: usize = 200;
    match pointer.char_indices().nth(LONGEST) {
        None => format!("{pointer:?}"),
        Some((end, _)) => format!("{:?}… ({} bytes)", pointer.get(..end).unwrap_or_default(), pointer.len()),
    }
}

fn unescape_token(token: &str) -> Option<Cow<'_, str>> {
    let mut parts = token.split('~');
    let first = parts.next()?;
    if first.len() == token.len() {
        return Some(Cow::Borrowed(token));
    }
    let mut out = String::from(first);
    for part in parts {
        let (escaped, rest) = part.split_at_checked(1)?;
        out.push(match escaped {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(Cow::Owned(out))
}

/// Appends a slash and the escaped token.
pub(super) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// The number of an array item: digits without leading zeros.
fn item_number(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with('0');
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| token.parse().ok()).flatten()
}

/// The whole value.
pub(super) fn root(view: View<'_>) -> Node {
    let View { bytes, index, .. } = view;
    let start = skip_space(bytes, 0);
    if let Some((end, cursor, _)) = index.and_then(|index| index.jump(Cursor::default(), start)) {
        return Node { span: start..end, cursor };
    }
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
        .map_or(start, |last| last + 1);
    Node { span: start..end.max(start), cursor: Cursor::default() }
}

/// The value that the tokens lead to.
pub(super) fn locate(view: View<'_>, from: Node, tokens: &[Cow<'_, str>]) -> Option<Node> {
    tokens.iter().try_fold(from, |node, token| match place(view, &node, token) {
        Place::Present { child, .. } => Some(child.node),
        _ => None,
    })
}

/// Where a token leads in a container.
pub(super) enum Place {
    /// To this member or item.
    Present {
        child: Child,
        /// End of the value before it.
        previous: Option<usize>,
        /// Where the next member or item begins.
        next: Option<usize>,
    },
    /// To nothing; the last value ends here.
    Absent { last: Option<usize>, parent: Parent },
}

/// What kind of value was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    Object,
    Array,
    Scalar,
}

pub(super) fn place(view: View<'_>, node: &Node, token: &str) -> Place {
    let bytes = view.bytes;
    let parent = match bytes.get(node.span.start) {
        Some(b'{') => Parent::Object,
        Some(b'[') => Parent::Array,
        _ => return Place::Absent { last: None, parent: Parent::Scalar },
    };
    let number = item_number(token);
    let mut previous = None;
    let mut children = Children::of(view, node);
    let mut at = 0;
    while let Some(child) = children.next() {
        let found = match parent {
            Parent::Object => is_name(bytes, child.name.clone(), token),
            _ => number == Some(at),
        };
        if found {
            let next = children.next().map(|next| next.name.start);
            return Place::Present { child, previous, next };
        }
        previous = Some(child.node.span.end);
        at += 1;
    }
    Place::Absent { last: previous, parent }
}

fn is_name(bytes: &[u8], name: Range<usize>, token: &str) -> bool {
    let inner = bytes.get(name.start + 1..name.end.saturating_sub(1)).unwrap_or_default();
    // Only a longer literal can spell the token with escapes.
    inner == token.as_bytes()
        || (inner.len() > token.len() && inner.contains(&b'\\') && spells(inner, true, token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc() {
        let json = br#" {"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8} "#;
        let cases = [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", "\"bar\""),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ];
        for (pointer, expected) in cases {
            assert_eq!(get(json, pointer), Some(expected.as_bytes()), "{pointer}");
        }
        assert_eq!(get(json, ""), Some(json.trim_ascii()));
        for absent in [
            "/foo/2",
            "/foo/-",
            "/foo/00",
            "/foo/+1",
            "/foo/ 1",
            "/x",
            "/foo/0/x",
            "/foo/99999999999999999999",
            "//",
            "/foo/",
        ] {
            assert_eq!(get(json, absent), None, "{absent}");
        }
        for none in ["foo", "/m~n", "/m~", "/~2", "#/foo"] {
            assert!(tokens(none).is_err(), "{none}");
        }
    }

    #[test]
    fn names_are_compared_unescaped() {
        assert_eq!(get(br#"{"n\u0061me":1,"\u006eot":2}"#, "/name"), Some(&b"1"[..]));
        assert_eq!(get(br#"{"n\u0061me":1,"\u006eot":2}"#, "/not"), Some(&b"2"[..]));
        assert_eq!(get(br#"{"a":1}"#, "/\\u0061"), None);
    }

    proptest! {
        #[test]
        fn tokens_round_trip(tokens in proptest::collection::vec("[a~/01]{0,5}", 0..6)) {
            let mut pointer = String::new();
            for token in &tokens {
                push_token(&mut pointer, token);
            }
            prop_assert_eq!(super::tokens(&pointer).unwrap().into_iter().map(Cow::into_owned).collect::<Vec<_>>(), tokens);
        }
    }
}
