//! JSON Pointers in which `*` stands for every item or member, in documents of the host and in text.

use std::ops::Range;

use lockgate_plugin::{AccessError, Doc, JsonKind, pointer};
use serde_json::value::RawValue;

use crate::text::members;

/// A parsed pointer; never empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    segments: Vec<Segment>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Every,
    /// Unescaped.
    Name(String),
}

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Path, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("`{text}` is not a JSON Pointer: it has to begin with `/`"));
        };
        let segments = rest
            .split('/')
            .map(|segment| match segment {
                "*" => Segment::Every,
                name => Segment::Name(name.replace("~1", "/").replace("~0", "~")),
            })
            .collect();
        Ok(Path { segments })
    }

    /// The pointers of all values that it means in the document, in document order.
    pub(crate) fn find(&self, doc: &Doc) -> Result<Vec<String>, AccessError> {
        let mut found = vec![String::new()];
        for segment in &self.segments {
            let mut deeper = Vec::new();
            for at in found {
                match segment {
                    Segment::Name(name) => deeper.push(at + &pointer([name.as_str()])),
                    Segment::Every => match doc.kind(&at)? {
                        Some(JsonKind::Array) => {
                            let length = doc.length(&at)?.unwrap_or(0);
                            deeper.extend((0..length).map(|index| format!("{at}/{index}")));
                        }
                        Some(JsonKind::Object) => {
                            let keys = doc.keys(&at)?;
                            deeper.extend(keys.iter().map(|key| format!("{at}{}", pointer([key.as_str()]))));
                        }
                        _ => {}
                    },
                }
            }
            found = deeper;
        }
        let mut present = Vec::with_capacity(found.len());
        for at in found {
            if doc.kind(&at)?.is_some() {
                present.push(at);
            }
        }
        Ok(present)
    }

    /// The text with the values replaced, if it is JSON that has any. Everything else keeps its bytes.
    pub(crate) fn replace_in(&self, text: &str, replacement: &str) -> Option<String> {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        let mut spans = Vec::new();
        collect(raw, &self.segments, &mut spans);
        if spans.is_empty() {
            return None;
        }
        let start = text.as_ptr().addr();
        let spans: Vec<Range<usize>> =
            spans.into_iter().map(|span| span.start - start..span.end - start).collect();
        Some(splice(text, spans.into_iter().map(|span| (span, replacement.to_owned()))))
    }
}

/// Puts texts in place of spans, which are in order and do not overlap.
pub(crate) fn splice(text: &str, edits: impl Iterator<Item = (Range<usize>, String)>) -> String {
    let mut spliced = String::with_capacity(text.len());
    let mut kept = 0;
    for (span, replacement) in edits {
        spliced.push_str(text.get(kept..span.start).unwrap_or_default());
        spliced.push_str(&replacement);
        kept = span.end;
    }
    spliced.push_str(text.get(kept..).unwrap_or_default());
    spliced
}

/// Addresses of the values in the text that the segments mean.
fn collect(raw: &RawValue, segments: &[Segment], spans: &mut Vec<Range<usize>>) {
    let Some((segment, deeper)) = segments.split_first() else {
        let start = raw.get().as_ptr().addr();
        spans.push(start..start + raw.get().len());
        return;
    };
    for (name, value) in members(raw) {
        let meant = match segment {
            Segment::Every => true,
            Segment::Name(wanted) => name == *wanted,
        };
        if meant {
            collect(value, deeper, spans);
        }
    }
}
