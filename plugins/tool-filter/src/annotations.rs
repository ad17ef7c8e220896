//! A tool's annotations, with the defaults that the MCP specification gives to hints.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Parsed when a rule first asks.
pub(crate) struct Annotations {
    json: Option<String>,
    parsed: Option<Map<String, Value>>,
}

impl Annotations {
    pub(crate) fn new(json: Option<String>) -> Annotations {
        Annotations { json, parsed: None }
    }

    /// Is each annotation as wanted?
    pub(crate) fn have(&mut self, wanted: &BTreeMap<String, Value>) -> bool {
        wanted.is_empty() || wanted.iter().all(|(name, value)| self.value(name) == *value)
    }

    fn value(&mut self, name: &str) -> Value {
        let json = &self.json;
        let parsed = self.parsed.get_or_insert_with(|| {
            json.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
        });
        match (name, parsed.get(name)) {
            // "Meaningful only when readOnlyHint is false": a tool that only reads destroys nothing.
            ("destructiveHint", _) if parsed.get("readOnlyHint") == Some(&Value::Bool(true)) => {
                Value::Bool(false)
            }
            (_, Some(value)) => value.clone(),
            // A tool that says nothing may destroy, and may reach anything.
            ("destructiveHint" | "openWorldHint", None) => Value::Bool(true),
            ("readOnlyHint" | "idempotentHint", None) => Value::Bool(false),
            _ => Value::Null,
        }
    }
}
