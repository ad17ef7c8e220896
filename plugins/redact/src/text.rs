//! Patterns in strings, and in the JSON that strings may hold.

use std::borrow::Cow;

use regex_lite::Regex;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::path::splice;

/// A regular expression and what takes the place of its matches.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    pub(crate) replace: String,
}

/// The text with all matches replaced, or none if there are none.
///
/// JSON in the text is searched string by string first, so that escapes hide nothing, and then as a
/// whole, so that a number is found as well. Secrecy goes before validity: a pattern that replaces
/// half of a member leaves text that is no JSON.
pub(crate) fn redact(text: &str, patterns: &[Pattern]) -> Option<String> {
    let inner = redact_json(text, patterns);
    let current = inner.as_deref().unwrap_or(text);
    replace_all(current, patterns).or(inner)
}

/// Whether any pattern matches.
pub(crate) fn is_found(text: &str, patterns: &[Pattern]) -> bool {
    patterns.iter().any(|pattern| pattern.regex.is_match(text))
}

/// The JSON with all member names redacted, or none if there is nothing to redact. Names that would be the same
/// then are told apart by a number, `count` of them so far.
pub(crate) fn redact_names(json: &str, patterns: &[Pattern], count: &mut usize) -> Option<String> {
    let bytes = json.as_bytes();
    let (mut edits, mut at) = (Vec::new(), 0);
    while let Some(start) = bytes.get(at..)?.iter().position(|byte| *byte == b'"').map(|next| at + next) {
        let mut end = start + 1;
        while *bytes.get(end)? != b'"' {
            end += if bytes.get(end) == Some(&b'\\') { 2 } else { 1 };
        }
        at = end + 1;
        let is_name = bytes.get(at..)?.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if !is_name {
            continue;
        }
        let name: String = serde_json::from_str(json.get(start..at)?).ok()?;
        if let Some(mut changed) = replace_all(&name, patterns) {
            *count += 1;
            if *count > 1 {
                changed = format!("{changed} {count}");
            }
            edits.push((start..at, serde_json::to_string(&changed).ok()?));
        }
    }
    if edits.is_empty() { None } else { Some(splice(json, edits.into_iter())) }
}

fn replace_all(text: &str, patterns: &[Pattern]) -> Option<String> {
    let mut changed: Option<String> = None;
    for Pattern { regex, replace } in patterns {
        let current = changed.as_deref().unwrap_or(text);
        // Borrowed if nothing matched: to ask first would search twice.
        if let Cow::Owned(replaced) = regex.replace_all(current, replace.as_str()) {
            changed = Some(replaced);
        }
    }
    changed.filter(|changed| changed != text)
}

fn redact_json(text: &str, patterns: &[Pattern]) -> Option<String> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let mut strings = Vec::new();
    collect_strings(raw, &mut strings);
    let start = text.as_ptr().addr();
    let mut edits = Vec::new();
    for string in strings {
        let Ok(value) = serde_json::from_str::<String>(string) else { continue };
        let changed = replace_all(&value, patterns).and_then(|changed| serde_json::to_string(&changed).ok());
        if let Some(changed) = changed {
            let at = string.as_ptr().addr() - start;
            edits.push((at..at + string.len(), changed));
        }
    }
    if edits.is_empty() { None } else { Some(splice(text, edits.into_iter())) }
}

fn collect_strings<'a>(raw: &'a RawValue, strings: &mut Vec<&'a str>) {
    match raw.get().as_bytes().first() {
        Some(b'"') => strings.push(raw.get()),
        Some(b'{' | b'[') => members(raw).into_iter().for_each(|(_, value)| collect_strings(value, strings)),
        _ => {}
    }
}

/// Members of an object by name, or items of a list by number; every one of a name that is repeated.
pub(crate) fn members(raw: &RawValue) -> Vec<(String, &RawValue)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object or a list")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut items: Vec<(String, &RawValue)> = Vec::new();
            while let Some(item) = list.next_element()? {
                items.push((items.len().to_string(), item));
            }
            Ok(items)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_any(Members).unwrap_or_default()
}
