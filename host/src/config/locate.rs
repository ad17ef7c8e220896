//! Where things stand in a configuration file: its text as a tree whose every node has a place.
//!
//! YAML, JSON and TOML become the same tree, so that everything after it (variables, the schema,
//! the checks) is written once and can say line and column.

use std::fmt;

use super::problem::{At, Problem};

mod json;
mod toml;
mod yaml;

/// The formats, told by the file's extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.yaml`, `.yml`
    Yaml,
    /// `.json`
    Json,
    /// `.toml`
    Toml,
}

/// One value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub at: At,
    /// What it is.
    pub value: Value,
    /// The text as written, where variables in it were replaced. Error messages show this and
    /// never the replacement, which may be a secret.
    pub written: Option<String>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something that was reported already: nothing more is said of it.
    Broken,
}

/// One key of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: At,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// A value at a place.
    pub fn new(at: At, value: Value) -> Node {
        Node { at, value, written: None }
    }

    /// The entry of a key, if this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// The value at a key path, if there is one.
    pub fn find(&self, path: &KeyPath) -> Option<&Node> {
        path.0.iter().try_fold(self, |node, step| match (step, &node.value) {
            (Step::Key(key), _) => node.entry(key).map(|entry| &entry.node),
            (Step::Index(i), Value::List(items)) => items.get(*i),
            _ => None,
        })
    }

    /// The place of a key path; of the nearest part of it that exists otherwise. Keys count where
    /// the key stands, list items where the item begins.
    pub fn place(&self, path: &KeyPath) -> At {
        let mut node = self;
        let mut at = self.at;
        for step in &path.0 {
            match (step, &node.value) {
                (Step::Key(key), _) => match node.entry(key) {
                    Some(entry) => (at, node) = (entry.at, &entry.node),
                    None => break,
                },
                (Step::Index(i), Value::List(items)) => match items.get(*i) {
                    Some(item) => (at, node) = (item.at, item),
                    None => break,
                },
                _ => break,
            }
        }
        at
    }

    /// The same value without places.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::Broken => serde_json::Value::Null,
            Value::Bool(b) => serde_json::Value::Bool(*b),
            Value::Number(n) => serde_json::Value::Number(n.clone()),
            Value::Text(s) => serde_json::Value::String(s.clone()),
            Value::List(items) => serde_json::Value::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect())
            }
        }
    }
}

/// The way to a value, such as `filters[2].grants.secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(pub Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl KeyPath {
    /// A path of keys only.
    pub fn of<const N: usize>(keys: [&str; N]) -> KeyPath {
        KeyPath(keys.iter().map(|k| Step::Key((*k).to_owned())).collect())
    }

    /// One step deeper, into a map.
    pub fn key(&self, key: &str) -> KeyPath {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        KeyPath(steps)
    }

    /// One step deeper, into a list.
    pub fn index(&self, index: usize) -> KeyPath {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        KeyPath(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if i > 0 {
                        f.write_str(".")?;
                    }
                    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
                    if !key.is_empty() && key.chars().all(plain) {
                        f.write_str(key)?;
                    } else {
                        // A value in the place of a key, such as `TOKEN=abc`.
                        write!(f, "\"{}\"", super::mask::word(key))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads a text into a tree. A text that is empty or has only comments is an empty map.
///
/// # Errors
/// What is not the format, where; and every key that stands twice in one map.
pub fn parse(text: &str, format: Format) -> Result<Node, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut node = match format {
        Format::Yaml => yaml::parse(text),
        Format::Json => json::parse(text),
        Format::Toml => toml::parse(text),
    }?;
    if node.value == Value::Null {
        node.value = Value::Map(Vec::new());
    }
    let mut twice = Vec::new();
    find_duplicates(&node, &KeyPath::default(), &mut twice);
    if twice.is_empty() { Ok(node) } else { Err(twice) }
}

fn find_duplicates(node: &Node, path: &KeyPath, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Map(entries) => {
            let mut seen: std::collections::HashMap<&str, At> = std::collections::HashMap::new();
            for entry in entries {
                let here = path.key(&entry.key);
                if let Some(first) = seen.insert(&entry.key, entry.at) {
                    problems.push(
                        Problem::at(entry.at, format!("`{here}` is given twice"))
                            .help(format!("it stands on line {} already; keep one of them", first.line)),
                    );
                }
                find_duplicates(&entry.node, &here, problems);
            }
        }
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                find_duplicates(item, &path.index(i), problems);
            }
        }
        _ => {}
    }
}

/// Turns byte offsets into places.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Lines {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Lines { starts: std::iter::once(0).chain(newlines).collect() }
    }

    fn at(&self, text: &str, offset: usize) -> At {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|i| self.starts.get(i)).copied().unwrap_or(0);
        let column = text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        At { line: line.max(1), column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "servers:\n  näme:\n    args: [a, \"b\"]\nn: 5\nb: true\nf: 1.5\nt: yes\n";
    const JSON: &str = "{\"servers\": {\n  \"näme\": {\n    \"args\": [\"a\", \"b\"]}},\n\"n\": 5, \"b\": true, \"f\": 1.5,\"t\": \"yes\"}";
    const TOML: &str = "n = 5\nb = true\nf = 1.5\nt = 'yes'\n[servers.'näme']\n  args = [\"a\", \"b\"]\n";

    #[test]
    fn the_three_formats_make_the_same_tree() {
        let trees: Vec<serde_json::Value> =
            [(YAML, Format::Yaml), (JSON, Format::Json), (TOML, Format::Toml)]
                .into_iter()
                .map(|(text, format)| parse(text, format).unwrap().to_json())
                .collect();
        assert_eq!(trees[0]["servers"]["näme"]["args"][1], "b");
        assert_eq!(trees[0]["t"], "yes", "yes is a text in YAML 1.2");
        assert_eq!(trees[0], trees[1]);
        assert_eq!(trees[0], trees[2]);
    }

    #[test]
    fn every_format_knows_where_things_stand() {
        let path = KeyPath::of(["servers", "näme", "args"]);
        let item = path.index(1);
        for (text, format, key, value) in [
            (YAML, Format::Yaml, (3, 5), (3, 15)),
            (JSON, Format::Json, (3, 5), (3, 19)),
            (TOML, Format::Toml, (6, 3), (6, 16)),
        ] {
            let node = parse(text, format).unwrap();
            let place = |p| {
                let at = node.place(p);
                (at.line, at.column)
            };
            assert_eq!(place(&path), key, "{format:?}");
            assert_eq!(place(&item), value, "{format:?}");
            let missing = item.key("nothing");
            assert_eq!(place(&missing), value, "{format:?}: the nearest part that exists");
        }
        assert_eq!(item.to_string(), "servers.näme.args[1]");
    }

    #[test]
    fn broken_text_is_refused_with_its_place() {
        for (text, format, line) in [
            ("a:\n  - b\n c: d\n", Format::Yaml, 3),
            ("{\"a\": 1,\n \"b\" 2}", Format::Json, 2),
            ("a = 1\nb = = 2\n", Format::Toml, 2),
            ("a: 1\n---\nb: 2\n", Format::Yaml, 3),
        ] {
            let problems = parse(text, format).unwrap_err();
            assert_eq!(problems[0].at.map(|at| at.line), Some(line), "{format:?} {problems:?}");
        }
    }

    #[test]
    fn a_key_given_twice_is_refused_in_every_format() {
        for (text, format) in [
            ("a: 1\nb: 2\na: 3\n", Format::Yaml),
            ("{\"a\": 1,\n\"b\": 2,\n\"\\u0061\": 3}", Format::Json),
            ("a = 1\nb = 2\na = 3\n", Format::Toml),
        ] {
            let problems = parse(text, format).unwrap_err();
            assert_eq!(problems[0].at.map(|at| at.line), Some(3), "{format:?} {problems:?}");
        }
    }

    #[test]
    fn nothing_but_comments_is_an_empty_map() {
        for (text, format) in [("# hm\n", Format::Yaml), ("", Format::Yaml), ("# hm\n", Format::Toml)] {
            assert_eq!(parse(text, format).unwrap().value, Value::Map(Vec::new()));
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..10 {
            text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
        }
        assert!(parse(&text, Format::Yaml).is_err());
    }
}
