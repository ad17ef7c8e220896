//! JSON strings: finding their ends a block at a time, escaping and unescaping them.

use std::borrow::Cow;

/// The JSON string literal of `text`, quotes included.
pub fn escape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 2);
    out.push(b'"');
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let run = run_end(rest, 0);
        out.extend_from_slice(rest.get(..run).unwrap_or_default());
        let Some(&special) = rest.get(run) else { break };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control & 15)]);
            }
        }
        at += run + 1;
    }
    out.push(b'"');
    out
}

/// The text of a raw JSON string literal (quotes included); borrowed where nothing is escaped.
///
/// None if `raw` is not exactly one lawful literal: lone surrogates are not.
pub fn unescape(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let run = run_end(inner, 0);
    if run == inner.len() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    let mut out = Vec::with_capacity(inner.len());
    (unescape_into(inner, &mut out)? == 0).then_some(())?;
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Whether the inside of a literal (no quotes) spells `text`. `inner` must be lawful.
pub(super) fn spells(inner: &[u8], escaped: bool, text: &str) -> bool {
    if !escaped {
        return inner == text.as_bytes();
    }
    let mut out = Vec::with_capacity(inner.len());
    unescape_into(inner, &mut out).is_some() && out == text.as_bytes()
}

/// Appends the text of the inside of a literal to `out`, U+FFFD for every lone surrogate, and
/// returns how many there were. None if it is not the inside of a literal; `out` then holds a part.
pub(super) fn unescape_into(inner: &[u8], out: &mut Vec<u8>) -> Option<u32> {
    let mut at = 0;
    let mut lone = 0;
    loop {
        let run = run_end(inner, at);
        out.extend_from_slice(inner.get(at..run)?);
        match inner.get(run) {
            None => return Some(lone),
            Some(b'\\') => {
                let escape = escape_at(inner, run)?;
                let decoded = escape.decoded.unwrap_or_else(|| {
                    lone += 1;
                    char::REPLACEMENT_CHARACTER
                });
                out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
                at = escape.end;
            }
            Some(_) => return None,
        }
    }
}

/// One escape sequence.
pub(super) struct Escape {
    /// The byte after it.
    pub end: usize,
    /// None for a lone surrogate.
    pub decoded: Option<char>,
}

/// Reads the escape whose backslash stands at `at`; a surrogate pair is one escape. None if it is
/// none of RFC 8259.
pub(super) fn escape_at(bytes: &[u8], at: usize) -> Option<Escape> {
    let decoded = match bytes.get(at + 1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(bytes, at),
        _ => return None,
    };
    Some(Escape { end: at + 2, decoded: Some(decoded) })
}

fn unicode_escape(bytes: &[u8], at: usize) -> Option<Escape> {
    let first = hex(bytes, at + 2)?;
    let end = at + 6;
    if (0xd800..0xdc00).contains(&first) && bytes.get(end..end + 2) == Some(b"\\u") {
        // A high surrogate followed by an escape that is not a low one stays alone; the other
        // escape is read on its own.
        if let Some(second) = hex(bytes, end + 2).filter(|second| (0xdc00..0xe000).contains(second)) {
            let scalar = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Some(Escape { end: end + 6, decoded: char::from_u32(scalar) });
        }
    }
    Some(Escape { end, decoded: char::from_u32(first) })
}

fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, &digit| Some((value << 4) | char::from(digit).to_digit(16)?))
}

/// The first byte at or after `from` that is a quote, a backslash or a control character, or the
/// length of `bytes`.
#[inline]
pub(super) fn run_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    // Most names and values are short: two words before the blocks.
    for _ in 0..2 {
        let Some(word) = word_at(bytes, at) else { return run_end_slow(bytes, at) };
        let hits = specials(word);
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    run_end_long(bytes, at)
}

#[inline(never)]
fn run_end_long(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    for block in bytes.get(at..).unwrap_or_default().as_chunks::<64>().0 {
        if block.iter().fold(0, |hits, &byte| hits | u8::from(is_special(byte))) != 0 {
            break;
        }
        at += 64;
    }
    while let Some(word) = word_at(bytes, at) {
        let hits = specials(word);
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    run_end_slow(bytes, at)
}

#[inline(never)]
fn run_end_slow(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}

/// Goes over text and escapes of two bytes, from within a string; stops at or before the first quote,
/// control character, other escape, or long run without any.
///
/// Text that holds JSON is full of short escapes: words are read at fixed strides here, so that one
/// escape need not be understood before the next is loaded.
pub(super) fn skip_short_escapes(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut quiet = 0;
    // Marks the first byte of a word whose backslash stands at the end of the word before.
    let mut escaped = 0;
    while let Some(word) = word_at(bytes, at) {
        let backslashes = equal_exactly(word, b'\\');
        let mut hits = (backslashes | equal_exactly(word, b'"') | controls_exactly(word)) & !escaped;
        quiet = if hits == 0 { quiet + 1 } else { 0 };
        if quiet > 4 {
            return at;
        }
        escaped = 0;
        while hits != 0 {
            let hit = hits & hits.wrapping_neg();
            let place = at + (hit.trailing_zeros() / 8) as usize;
            let short =
                matches!(bytes.get(place + 1), Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'));
            if backslashes & hit == 0 || !short {
                return place;
            }
            hits &= !(hit | hit << 8);
            escaped = hit >> 56;
        }
        at += 8;
    }
    at + usize::from(escaped != 0)
}

/// Marks the bytes of a word that equal `byte`, and no others.
#[inline]
fn equal_exactly(word: u64, byte: u8) -> u64 {
    let word = word ^ (ONES * u64::from(byte));
    !((word & (ONES * 0x7f)).wrapping_add(ONES * 0x7f) | word) & (ONES * 0x80)
}

/// Marks the bytes of a word below 0x20, and no others.
#[inline]
fn controls_exactly(word: u64) -> u64 {
    !((word & (ONES * 0x7f)).wrapping_add(ONES * 0x60) | word) & (ONES * 0x80)
}

#[inline]
fn is_special(byte: u8) -> bool {
    // Not short-circuiting, so that a block of these becomes a few vector compares.
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Eight bytes at `at`, the first one lowest.
#[inline]
pub(super) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|chunk| u64::from_le_bytes(*chunk))
}

const ONES: u64 = u64::MAX / 255;

/// Marks the special bytes of a word by their top bits. Bytes above the first hit may be marked
/// wrongly (borrows), the first is exact.
#[inline]
fn specials(word: u64) -> u64 {
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_the_short_ones_of_the_rfc() {
        assert_eq!(
            escape("a\"\\/\n\r\t\u{8}\u{c}\u{1}\u{1f}é"),
            "\"a\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\\u001fé\"".as_bytes()
        );
        assert_eq!(escape(""), b"\"\"");
    }

    #[test]
    fn literals_that_are_none_are_refused() {
        let refused: [&[u8]; 12] = [
            b"",
            b"\"",
            b"a",
            b"\"a",
            b"a\"",
            b"\"a\"b\"",
            b"\"\n\"",
            b"\"\\x\"",
            b"\"\\u12g4\"",
            b"\"\\u123\"",
            b"\"\\\"",
            b"\"\xff\"",
        ];
        for raw in refused {
            assert_eq!(unescape(raw), None, "{raw:?}");
        }
        for lone in ["\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud800x\"", "\"\\ud800\\ud800\""]
        {
            assert_eq!(unescape(lone.as_bytes()), None, "{lone}");
        }
    }

    #[test]
    fn lone_surrogates_are_counted_and_replaced() {
        let mut out = Vec::new();
        assert_eq!(unescape_into(br"a\ud800\udc00\ud800\u0041\udfff", &mut out), Some(2));
        assert_eq!(String::from_utf8(out).unwrap(), "a\u{10000}\u{fffd}A\u{fffd}");
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        assert!(matches!(unescape("\"grün\"".as_bytes()), Some(Cow::Borrowed("grün"))));
        assert!(matches!(unescape(b"\"\\u0067\""), Some(Cow::Owned(text)) if text == "g"));
    }

    proptest! {
        #[test]
        fn escape_then_unescape_is_identity(text in any::<String>()) {
            let raw = escape(&text);
            prop_assert_eq!(unescape(&raw).unwrap(), text.as_str());
            prop_assert_eq!(serde_json::from_slice::<String>(&raw).unwrap(), text);
        }

        #[test]
        fn run_end_is_the_first_special(bytes in proptest::collection::vec(prop_oneof![9 => 0x20u8..=0xff, 1 => any::<u8>()], 0..200), from in 0usize..40) {
            let from = from.min(bytes.len());
            let expected = (from..bytes.len()).find(|&at| matches!(bytes[at], b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
            prop_assert_eq!(run_end(&bytes, from), expected);
        }

        #[test]
        fn unescape_agrees_with_serde_json(inner in "([a-zé\"\\\\]|\\\\[\"\\\\/bfnrtu]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d\\\\ude00){0,12}") {
            let raw = format!("\"{inner}\"");
            let theirs = serde_json::from_str::<String>(&raw).ok();
            prop_assert_eq!(unescape(raw.as_bytes()).map(Cow::into_owned), theirs);
        }
    }
}
