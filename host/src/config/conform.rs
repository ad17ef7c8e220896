//! Holds a configuration against its JSON Schema, so that every mistake is found in one go.
//!
//! The schema comes from the types that the configuration is read into: there is nothing to keep
//! in step by hand. Only the parts of JSON Schema that those types produce are understood.

use serde_json::{Map, Value as Schema};

use super::locate::{Entry, KeyPath, Node, Step, Value};
use super::problem::{Problem, nearest, quoted};
use super::{Period, mask};

/// Checks the tree and returns every problem. Keys without a value are removed (they mean "not
/// given"), and what a variable gave for a number or a truth value becomes one.
pub fn conform(root: &mut Node, schema: &Schema) -> Vec<Problem> {
    let mut check = Check { root: schema, problems: Vec::new() };
    check.node(root, schema, &KeyPath::default());
    check.problems
}

struct Check<'a> {
    root: &'a Schema,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn resolve(&self, schema: &'a Schema) -> &'a Schema {
        let mut schema = schema;
        // A reference leads to a definition; more than a few hops would be a circle.
        for _ in 0..8 {
            let Some(target) = schema.get("$ref").and_then(Schema::as_str) else { break };
            let Some(found) = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else {
                break;
            };
            schema = found;
        }
        schema
    }

    fn node(&mut self, node: &mut Node, schema: &'a Schema, path: &KeyPath) {
        let schema = self.resolve(schema);
        let Some(object) = schema.as_object() else { return };
        if node.value == Value::Broken {
            return;
        }
        if let Some(choices) = constants(object) {
            return self.choice(node, &choices, path);
        }
        if let Some(branches) = object.get("anyOf").or(object.get("oneOf")).and_then(Schema::as_array) {
            return self.branches(node, branches, path);
        }
        let types = types(object);
        if types.is_empty() {
            return;
        }
        coerce(node, &types);
        if !types.iter().any(|t| is(&node.value, t)) {
            return self.wrong_type(node, &types, path);
        }
        match &mut node.value {
            Value::Map(entries) => self.map(entries, object, path),
            Value::List(items) => {
                if let Some(item) = object.get("items") {
                    for (i, node) in items.iter_mut().enumerate() {
                        self.node(node, item, &path.index(i));
                    }
                }
            }
            Value::Number(number) => {
                let (least, most) = bounds(object);
                let value = number.as_i128().unwrap_or(i128::MAX);
                if types.contains(&"integer") && (value < least || value > most) {
                    let said = if most == i128::from(u64::MAX) {
                        format!("at least {least}")
                    } else {
                        format!("{least} to {most}")
                    };
                    self.problems.push(
                        Problem::at(node.at, format!("`{path}`: {number} is out of range"))
                            .help(format!("allowed is {said}")),
                    );
                }
            }
            Value::Text(text)
                if object.get("format").is_some_and(|format| format == Period::FORMAT)
                    && Period::parse(text).is_none() =>
            {
                let shown = mask::word(node.written.as_deref().unwrap_or(text));
                self.problems.push(
                    Problem::at(node.at, format!("`{path}`: `{shown}` is not a time"))
                        .help("a number with its unit, such as `500ms`, `1s` or `10m`; a day at most"),
                );
            }
            _ => {}
        }
    }

    fn map(&mut self, entries: &mut Vec<Entry>, object: &'a Map<String, Schema>, path: &KeyPath) {
        let known = object.get("properties").and_then(Schema::as_object);
        let others = object.get("additionalProperties");
        if known.is_some() {
            entries.retain(|entry| entry.node.value != Value::Null);
        }
        for entry in entries {
            let here = path.key(&entry.key);
            if let Some(schema) = known.and_then(|known| known.get(&entry.key)) {
                self.node(&mut entry.node, schema, &here);
            } else if let Some(schema @ Schema::Object(_)) = others {
                self.node(&mut entry.node, schema, &here);
            } else if let (Some(known), Some(Schema::Bool(false))) = (known, others) {
                self.unknown(entry, known, path);
            }
        }
    }

    fn unknown(&mut self, entry: &Entry, known: &Map<String, Schema>, path: &KeyPath) {
        let names = known.keys().map(String::as_str);
        let place = if path.0.is_empty() { String::new() } else { format!(" in `{path}`") };
        let mut message = format!("unknown key `{}`{place}", mask::word(&entry.key));
        match nearest(&entry.key, names.clone()) {
            Some(name) => message.push_str(&format!("; did you mean `{name}`?")),
            None => {
                // The right key at the wrong level.
                let homes: Vec<String> = homes(self.root, &entry.key);
                if let Some(home) = homes.first() {
                    message.push_str(&format!("; it belongs {home}"));
                }
            }
        }
        self.problems.push(
            Problem::at(entry.at, message)
                .help(format!("allowed here: {}", names.collect::<Vec<_>>().join(", "))),
        );
    }

    fn choice(&mut self, node: &Node, choices: &[&str], path: &KeyPath) {
        match &node.value {
            Value::Text(text) if choices.contains(&text.as_str()) => {}
            Value::Text(text) => {
                let shown = mask::word(node.written.as_deref().unwrap_or(text));
                let mut message = format!("`{path}`: `{shown}` is not allowed");
                if let Some(choice) = nearest(text, choices.iter().copied()) {
                    message.push_str(&format!("; did you mean `{choice}`?"));
                }
                let help = format!("allowed: {}", quoted(choices.iter().copied()));
                self.problems.push(Problem::at(node.at, message).help(help));
            }
            other => {
                let message = format!(
                    "`{path}`: expected one of {}, found {}",
                    quoted(choices.iter().copied()),
                    name(other)
                );
                self.problems.push(Problem::at(node.at, message));
            }
        }
    }

    fn branches(&mut self, node: &mut Node, branches: &'a [Schema], path: &KeyPath) {
        let branches: Vec<&'a Schema> = branches.iter().map(|b| self.resolve(b)).collect();
        let of = |branch: &'a Schema| branch.as_object().map(types).unwrap_or_default();
        let all: Vec<&str> = branches.iter().flat_map(|b| of(b)).collect();
        coerce(node, &all);
        let fitting = branches.iter().find(|b| {
            let types = of(b);
            // An enumeration names no type of its own: it is one of texts.
            if types.is_empty() {
                matches!(node.value, Value::Text(_))
            } else {
                types.iter().any(|t| is(&node.value, t))
            }
        });
        match (fitting, branches.as_slice()) {
            (Some(branch), _) => self.node(node, branch, path),
            // Only one that is not null: its own message says more.
            (None, [only, null] | [null, only]) if of(null) == ["null"] => self.node(node, only, path),
            (None, _) => self.wrong_type(node, &all, path),
        }
    }

    fn wrong_type(&mut self, node: &Node, types: &[&str], path: &KeyPath) {
        let wanted: Vec<&str> = types.iter().filter(|t| **t != "null").map(|t| plain(t)).collect();
        let at_all = if path.0.is_empty() { "the configuration".to_owned() } else { format!("`{path}`") };
        let message = format!("{at_all}: expected {}, found {}", wanted.join(" or "), name(&node.value));
        let mut problem = Problem::at(node.at, message);
        match &node.value {
            Value::Number(_) | Value::Bool(_) if types.contains(&"string") => {
                problem = problem.help("put the value in quotes");
            }
            Value::List(_)
                if types.contains(&"string") && path.0.last() == Some(&Step::Key("command".into())) =>
            {
                problem = problem.help("only the program stands here; its arguments are `args: [...]`");
            }
            Value::Text(_) if types.contains(&"array") => {
                problem = problem.help("a list of one is written `[\"…\"]`");
            }
            Value::Text(text) if types.contains(&"boolean") && nearest_bool(text).is_some() => {
                let wanted = nearest_bool(text).unwrap_or(true);
                problem = problem.help(format!("write `{wanted}`"));
            }
            Value::Text(text) if types.contains(&"integer") && text.parse::<i64>().is_ok() => {
                problem = problem.help("write the number without quotes");
            }
            Value::List(_) if path.0.len() == 1 && types.contains(&"object") => {
                problem = problem.help("write `NAME:` and its keys below it, without `-`");
            }
            _ => {}
        }
        self.problems.push(problem);
    }
}

/// What a variable gave is text; where a number or a truth value is wanted, it is read as one.
fn coerce(node: &mut Node, types: &[&str]) {
    let (Some(_), Value::Text(text)) = (&node.written, &node.value) else { return };
    if types.contains(&"string") {
        return;
    }
    if types.contains(&"integer")
        && let Ok(number) = text.trim().parse::<u64>()
    {
        node.value = Value::Number(number.into());
    } else if types.contains(&"boolean")
        && let Ok(truth) = text.trim().parse::<bool>()
    {
        node.value = Value::Bool(truth);
    }
}

fn nearest_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" | "1" => Some(true),
        "no" | "off" | "n" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// The words of an enumeration, if the schema is one.
fn constants(object: &Map<String, Schema>) -> Option<Vec<&str>> {
    if let Some(words) = object.get("enum").and_then(Schema::as_array) {
        return words.iter().map(Schema::as_str).collect();
    }
    let branches = object.get("oneOf")?.as_array()?;
    let mut words = Vec::new();
    for branch in branches {
        if let Some(word) = branch.get("const").and_then(Schema::as_str) {
            words.push(word);
        } else {
            let more = branch.get("enum").and_then(Schema::as_array)?;
            words.extend(more.iter().filter_map(Schema::as_str));
        }
    }
    Some(words)
}

fn types(object: &Map<String, Schema>) -> Vec<&str> {
    match object.get("type") {
        Some(Schema::String(one)) => vec![one],
        Some(Schema::Array(many)) => many.iter().filter_map(Schema::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    match (value, wanted) {
        (Value::Null, "null")
        | (Value::Bool(_), "boolean")
        | (Value::Number(_), "number")
        | (Value::Text(_), "string")
        | (Value::List(_), "array")
        | (Value::Map(_), "object") => true,
        (Value::Number(n), "integer") => n.is_i64() || n.is_u64(),
        _ => false,
    }
}

fn bounds(object: &Map<String, Schema>) -> (i128, i128) {
    let number = |key: &str| object.get(key).and_then(Schema::as_i64).map(i128::from);
    let (least, most) = match object.get("format").and_then(Schema::as_str) {
        Some("uint8") => (0, i128::from(u8::MAX)),
        Some("uint16") => (0, i128::from(u16::MAX)),
        Some("uint32") => (0, i128::from(u32::MAX)),
        Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
        Some("int64") => (i128::from(i64::MIN), i128::from(i64::MAX)),
        _ => (0, i128::from(u64::MAX)),
    };
    (number("minimum").map_or(least, |n| n.max(least)), number("maximum").map_or(most, |n| n.min(most)))
}

fn plain(wanted: &str) -> &'static str {
    match wanted {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        "object" => "a map",
        _ => "nothing",
    }
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Broken => "something broken",
    }
}

/// Where in the configuration a key exists: "in `plugins`", "in each of `filters`".
fn homes(root: &Schema, key: &str) -> Vec<String> {
    let mut homes = Vec::new();
    let Some(top) = root.get("properties").and_then(Schema::as_object) else { return homes };
    if top.contains_key(key) {
        homes.push("at the top level".to_owned());
    }
    let has = |schema: &Schema| {
        let target =
            schema.get("$ref").and_then(Schema::as_str).and_then(|r| root.pointer(r.strip_prefix('#')?));
        target.unwrap_or(schema).pointer("/properties").is_some_and(|p| p.get(key).is_some())
    };
    for (name, schema) in top {
        if has(schema) {
            homes.push(format!("in `{name}`"));
        } else if schema.get("items").or(schema.get("additionalProperties")).is_some_and(has) {
            homes.push(format!("in an entry of `{name}`"));
        }
    }
    homes
}

#[cfg(test)]
mod tests {
    use super::super::locate::{Format, parse};
    use super::*;

    fn problems(yaml: &str) -> Vec<String> {
        let mut node = parse(yaml, Format::Yaml).unwrap();
        let schema = crate::config::json_schema();
        conform(&mut node, &schema)
            .into_iter()
            .map(|p| format!("{} | {}", p.message, p.help.join(" | ")))
            .collect()
    }

    #[test]
    fn all_mistakes_are_found_at_once() {
        let found = problems("servrs: {}\nfilters: [{ plugn: x, mode: off }]\nlimits: { sessions: -1 }\n");
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("unknown key `servrs`; did you mean `servers`?"), "{found:#?}");
        assert!(found[1].starts_with("unknown key `plugn` in `filters[0]`; did you mean `plugin`?"));
        assert!(found[2].starts_with("`filters[0].mode`: `off` is not allowed | allowed: `enforce`"));
        assert!(found[3].starts_with("`limits.sessions`: -1 is out of range | allowed is 0 to 4294967295"));
    }

    #[test]
    fn a_known_key_at_the_wrong_level_is_told_its_home() {
        let found = problems("dir: ./plugins\n");
        assert!(found[0].starts_with("unknown key `dir`; it belongs in `plugins`"), "{found:#?}");
        let found = problems("servers: { a: { command: x, grants: {} } }\n");
        assert!(found[0].contains("it belongs in an entry of `filters`"), "{found:#?}");
    }

    #[test]
    fn wrong_types_are_named_in_plain_words() {
        for (yaml, expected) in [
            ("servers: [a]", "`servers`: expected a map, found a list"),
            ("servers: { a: { args: x } }", "`servers.a.args`: expected a list, found a text"),
            (
                "servers: { a: { env: { P: 80 } } }",
                "`servers.a.env.P`: expected a text, found a number | put",
            ),
            ("servers: { a: { disabled: yes } }", "expected true or false, found a text | write `true`"),
            ("servers: { a: { timeout_seconds: '5' } }", "a whole number, found a text | write the number"),
            ("servers: { a: { timeout_seconds: 1.5 } }", "expected a whole number, found a number"),
            ("servers: { a: { isolation: 3 } }", "expected one of `session`, `principal`, `shared`"),
            ("plugins: { auto_attach: 3 }", "expected true or false or a map, found a number"),
            ("plugins: { auto_attach: { max_grant: {} } }", "did you mean `max_grants`?"),
            ("limits: { message_depth: 70000 }", "allowed is 0 to 65535"),
            ("just a text", "the configuration: expected a map, found a text"),
        ] {
            let found = problems(yaml);
            assert!(found.len() == 1 && found[0].contains(expected), "{yaml}: {found:#?}");
        }
    }

    #[test]
    fn what_is_right_passes() {
        let yaml = "servers: { a: { command: x, timeout_seconds: 5, isolation: shared } }\n\
                    filters:\nplugins: { auto_attach: true, max_mib: 3 }\nhttp:\n  allowed_hosts:\n";
        assert_eq!(problems(yaml), Vec::<String>::new());
        let yaml = "filters: [{ plugin: x, config: { anything: [1, { goes: here }] } }]\nplugins: { auto_attach: { enabled: false } }\n";
        assert_eq!(problems(yaml), Vec::<String>::new());
    }

    #[test]
    fn a_variable_may_stand_for_a_number_and_its_value_is_never_shown() {
        let schema = crate::config::json_schema();
        let mut node =
            parse("limits: { sessions: '5' }\nservers: { a: { isolation: hush } }", Format::Yaml).unwrap();
        for path in [["limits", "sessions"], ["servers", "a"]] {
            let Value::Map(entries) = &mut node.value else { unreachable!() };
            let outer = entries.iter_mut().find(|e| e.key == path[0]).unwrap();
            let Value::Map(entries) = &mut outer.node.value else { unreachable!() };
            let inner = entries.iter_mut().find(|e| e.key == path[1]).unwrap();
            match &mut inner.node.value {
                Value::Map(entries) => entries[0].node.written = Some("${X}".into()),
                _ => inner.node.written = Some("${N}".into()),
            }
        }
        let found = conform(&mut node, &schema);
        assert_eq!(node.to_json()["limits"]["sessions"], 5);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("`${X}` is not allowed") && !found[0].message.contains("hush"));
    }
}
