//! JSON into the tree of places.

use super::super::problem::{At, Problem};
use super::{Entry, Lines, Node, Value};

pub(super) fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    // serde_json decides what is JSON (and how deep it may nest); the walk below only finds places
    // in a text that is known to be good.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let message = error.to_string();
        let message = message.rfind(" at line ").and_then(|end| message.get(..end)).unwrap_or(&message);
        let at = At { line: error.line().max(1), column: error.column().max(1) };
        return Err(vec![
            Problem::at(at, format!("not valid JSON: {message}"))
                .help("JSON has no comments, and no comma after the last item"),
        ]);
    }
    let mut walk = Walk { text, lines: Lines::of(text), position: 0 };
    walk.value().ok_or_else(|| vec![Problem::general("not valid JSON")])
}

/// A walk over valid JSON. `None` stands for "that was not valid after all".
struct Walk<'a> {
    text: &'a str,
    lines: Lines,
    position: usize,
}

impl Walk<'_> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.position..)?;
        self.position += rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.position).copied()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.position += 1)
    }

    fn value(&mut self) -> Option<Node> {
        let first = self.peek()?;
        let at = self.lines.at(self.text, self.position);
        let value = match first {
            b'{' => self.map()?,
            b'[' => self.list()?,
            b'"' => Value::Text(self.string()?),
            _ => {
                let rest = self.text.get(self.position..)?;
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
                let word = rest.get(..end.unwrap_or(rest.len()))?;
                self.position += word.len();
                match word {
                    "null" => Value::Null,
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    number => Value::Number(serde_json::from_str(number).ok()?),
                }
            }
        };
        Some(Node::new(at, value))
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.text.get(self.position..)?;
        let mut escaped = false;
        let end = rest.bytes().enumerate().skip(1).find_map(|(i, b)| {
            let end = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            end.then_some(i + 1)
        })?;
        self.position += end;
        serde_json::from_str(rest.get(..end)?).ok()
    }

    fn list(&mut self) -> Option<Value> {
        self.take(b'[')?;
        let mut items = Vec::new();
        while self.peek()? != b']' {
            if !items.is_empty() {
                self.take(b',')?;
            }
            items.push(self.value()?);
        }
        self.take(b']')?;
        Some(Value::List(items))
    }

    fn map(&mut self) -> Option<Value> {
        self.take(b'{')?;
        let mut entries = Vec::new();
        while self.peek()? != b'}' {
            if !entries.is_empty() {
                self.take(b',')?;
                self.peek()?;
            }
            let at = self.lines.at(self.text, self.position);
            let key = self.string()?;
            self.take(b':')?;
            entries.push(Entry { key, at, node: self.value()? });
        }
        self.take(b'}')?;
        Some(Value::Map(entries))
    }
}
