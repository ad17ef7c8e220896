//! Reads a filter's configuration and says which key is wrong.

use serde::de::DeserializeOwned;

use crate::Failure;

/// Parses the configuration; the failure starts with the path of the offending key.
pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| {
        let offset = offset(json, error.line(), error.column());
        let path = path_at(json.as_bytes(), offset);
        let text = error.to_string();
        // The position means nothing to somebody who wrote YAML.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        if path.is_empty() { Failure::InvalidConfig(text.to_owned()) } else { Failure::config(path, text) }
    })
}

/// Byte offset of a line and a column, both from 1 as serde_json counts them (columns in bytes).
fn offset(json: &str, line: usize, column: usize) -> usize {
    let start: usize = json.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    start + column
}

/// The path of the value that is being read at `end`, such as `keys[1].sha256`.
///
/// A scan of its own, because a Deserializer that tracks its path doubles the code of every type.
fn path_at(json: &[u8], end: usize) -> String {
    enum Level {
        Object { key: String },
        Array { index: usize },
    }
    let mut levels: Vec<Level> = Vec::new();
    let mut expects_key = false;
    let mut at = 0;
    while let Some(byte) = json.get(at).filter(|_| at < end) {
        match byte {
            b'{' => {
                levels.push(Level::Object { key: String::new() });
                expects_key = true;
            }
            b'[' => {
                levels.push(Level::Array { index: 0 });
                expects_key = false;
            }
            // A value that ends right at the error is the one that is incomplete or of a wrong kind.
            b'}' | b']' if at + 1 < end => {
                levels.pop();
            }
            b',' => match levels.last_mut() {
                Some(Level::Array { index }) => *index += 1,
                Some(Level::Object { .. }) => expects_key = true,
                None => {}
            },
            b'"' => {
                let start = at + 1;
                at = start;
                while json.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if json.get(at) == Some(&b'\\') { 2 } else { 1 };
                }
                if let (true, Some(Level::Object { key })) = (expects_key, levels.last_mut()) {
                    *key = String::from_utf8_lossy(json.get(start..at).unwrap_or_default()).into_owned();
                    expects_key = false;
                }
            }
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object { key } if key.is_empty() => {}
            Level::Object { key } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key);
            }
            Level::Array { index } => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Config {
        keys: Vec<Key>,
        #[serde(default)]
        strict: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Key {
        name: String,
        #[serde(default)]
        days: u32,
    }

    fn error(json: &str) -> String {
        parse::<Config>(json).unwrap_err().to_string()
    }

    #[test]
    fn the_failure_names_the_key() {
        let message = error(r#"{"keys":[{"name":"a"},{"name":"b","nmae":1}]}"#);
        assert!(message.starts_with("keys[1].nmae: unknown field `nmae`, expected"), "{message}");
        let message = error("{\n  \"keys\": [{\"name\": \"a\"}],\n  \"strict\": \"yes\"\n}");
        assert_eq!(message, "strict: invalid type: string \"yes\", expected a boolean");
        let message = error(r#"{"keys":[{"name":"a","days":-1}],"strict":true}"#);
        assert!(message.starts_with("keys[0].days: invalid value: integer `-1`"), "{message}");
    }

    #[test]
    fn a_missing_key_is_named() {
        assert_eq!(error("{}"), "missing field `keys`");
        let message = error(r#"{"keys":[{"name":"a"},{"days":3}]}"#);
        assert!(message.starts_with("keys[1]"), "{message}");
        assert!(message.ends_with("missing field `name`"), "{message}");
    }
}
