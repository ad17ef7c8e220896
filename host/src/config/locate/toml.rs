//! TOML into the tree of places.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::problem::{At, Problem};
use super::{Entry, Lines, Node, Value};

pub(super) fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors
            .iter()
            .map(|error| Problem {
                at: error.span().map(|span| lines.at(text, span.start)),
                message: format!("not valid TOML: {}", error.message().replace('\n', ", ")),
                help: vec!["texts stand in quotes: `key = \"value\"`".to_owned()],
            })
            .collect());
    }
    let at = At { line: 1, column: 1 };
    Ok(Node::new(at, entries(text, &lines, table.into_inner())))
}

fn entries(text: &str, lines: &Lines, table: DeTable<'_>) -> Value {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            at: lines.at(text, key.span().start),
            key: key.into_inner().into_owned(),
            node: node(text, lines, value),
        })
        .collect();
    // The library sorts by name; the file's order is what people see.
    entries.sort_by_key(|entry| entry.at);
    Value::Map(entries)
}

fn node(text: &str, lines: &Lines, value: Spanned<DeValue<'_>>) -> Node {
    let at = lines.at(text, value.span().start);
    let value = match value.into_inner() {
        DeValue::String(s) => Value::Text(s.into_owned()),
        DeValue::Boolean(b) => Value::Bool(b),
        DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Value::Number(n.into()),
            Err(_) => match u64::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Value::Number(n.into()),
                Err(_) => Value::Text(n.as_str().to_owned()),
            },
        },
        DeValue::Float(n) => n
            .as_str()
            .parse()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map_or_else(|| Value::Text(n.as_str().to_owned()), Value::Number),
        DeValue::Datetime(d) => Value::Text(d.to_string()),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(text, lines, item)).collect()),
        DeValue::Table(table) => entries(text, lines, table),
    };
    Node::new(at, value)
}
