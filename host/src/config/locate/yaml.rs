//! YAML 1.2 into the tree of places.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned, UserMessageFormatter};

use super::super::problem::{At, Problem};
use super::{Entry, Node, Value};

pub(super) fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    let options = serde_saphyr::options! {
        // YAML 1.2: `yes`, `no`, `on` are texts. A country code must not become `false`.
        strict_booleans: true,
        with_snippet: false,
        reject_unsupported_tags: true,
    };
    match serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(text, options) {
        Ok(Some(raw)) => Ok(raw.into_node()),
        Ok(None) => Ok(Node::new(At { line: 1, column: 1 }, Value::Null)),
        Err(error) => {
            let at = error.location().map(at);
            let text = error.render_with_formatter(&UserMessageFormatter);
            // The place is said in front; the library says it once more at the end.
            let text = text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(&text);
            let twice = text.strip_prefix("duplicate mapping key: ");
            let problem = match twice.and_then(|rest| rest.strip_suffix(" not allowed here")) {
                Some(key) => {
                    Problem::general(format!("the key `{}` is given twice", crate::config::mask::word(key)))
                        .help("keep one of them")
                }
                None => Problem::general(format!("not valid YAML: {text}"))
                    .help("check the indentation, and quotes around texts with `: `, `#`, `{` or `*`"),
            };
            Err(vec![Problem { at, ..problem }])
        }
    }
}

fn at(location: Location) -> At {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    At { line: number(location.line()), column: number(location.column()) }
}

enum Raw {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

trait IntoNode {
    fn into_node(self) -> Node;
}

impl IntoNode for Spanned<Raw> {
    fn into_node(self) -> Node {
        let value = match self.value {
            Raw::Null => Value::Null,
            Raw::Bool(b) => Value::Bool(b),
            Raw::Number(n) => Value::Number(n),
            Raw::Text(s) => Value::Text(s),
            Raw::List(items) => Value::List(items.into_iter().map(IntoNode::into_node).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| Entry {
                        at: at(key.referenced),
                        key: key.value,
                        node: node.into_node(),
                    })
                    .collect(),
            ),
        };
        Node::new(at(self.referenced), value)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Raw, E> {
        Ok(Raw::Number(n.into()))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Raw, E> {
        Ok(Raw::Number(n.into()))
    }
    fn visit_f64<E>(self, n: f64) -> Result<Raw, E> {
        // What is no JSON number (.inf, .nan) is kept as text, and refused where a number is wanted.
        Ok(serde_json::Number::from_f64(n).map_or_else(|| Raw::Text(n.to_string()), Raw::Number))
    }
    fn visit_str<E>(self, s: &str) -> Result<Raw, E> {
        Ok(Raw::Text(s.to_owned()))
    }
    fn visit_string<E>(self, s: String) -> Result<Raw, E> {
        Ok(Raw::Text(s))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
