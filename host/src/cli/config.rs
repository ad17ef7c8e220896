//! `lockgate config`: the schema, and the configuration as it takes effect.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{ConfigFile, Output, print, report};
use crate::config::locate::{KeyPath, Step};
use crate::config::{Loaded, json_schema, load, mask};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = "Example: lockgate config schema > lockgate.schema.json\n  \
        and on the first line of lockgate.yaml: # yaml-language-server: $schema=lockgate.schema.json")]
    Schema,
    /// Print every value that is in effect, and where it came from
    Show(ShowArguments),
}

/// `lockgate config show`
#[derive(Debug, Args)]
#[command(after_help = "Example: lockgate config show --config lockgate.yaml\n\
    Values from variables are shown as they are written, secrets not at all.")]
pub struct ShowArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Does it.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Schema => print(&format!("{:#}\n", json_schema()))?,
        Command::Show(arguments) => {
            let loaded = load(&arguments.file.config)?;
            report::warnings(&loaded);
            print(&show(&loaded, arguments.output)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(loaded: &Loaded, output: Output) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    let mut config = loaded.config.clone();
    config.listen = Some(config.listen_address());
    let config = serde_json::to_value(config)?;
    walk(loaded, &config, &KeyPath::default(), &mut rows);
    if output == Output::Text {
        let table: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(path, value, origin)| vec![path.to_string(), value.to_string(), format!("# {origin}")])
            .collect();
        return Ok(super::table::layout(&table));
    }
    let values: Vec<Value> = rows
        .into_iter()
        .map(|(path, value, origin)| serde_json::json!({ "key": path.to_string(), "value": value, "from": origin }))
        .collect();
    Ok(format!("{:#}\n", Value::Array(values)))
}

/// A value as it may be shown: where credentials usually stand, whatever stands there is masked.
fn masked(path: &KeyPath, value: Value) -> Value {
    let keys: Vec<&str> = path
        .0
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.as_str(),
            Step::Index(_) => "#",
        })
        .collect();
    match keys.as_slice() {
        ["servers", _, "env" | "headers", ..] | ["dial_out", "#", "headers", ..] => {
            texts(value, &mask::value)
        }
        ["servers", _, "url"] | ["dial_out", "#", "url"] => texts(value, &mask::url_with_mark),
        ["servers", _, "args"] | ["command_urls", "allow", "#"] => arguments(value),
        ["servers", _, "command" | "description"] | ["command_urls", "allow"] => texts(value, &mask::word),
        ["filters", "#", "config", inner @ ..] | ["dial_out", "#", "principal", "claims", inner @ ..] => {
            let secret = inner.iter().any(|key| mask::names_a_secret(key));
            match inner.last() {
                _ if secret => mask::MASK.into(),
                // What identifies a key without being one.
                Some(&"sha256") => value,
                _ => texts(value, &mask::word),
            }
        }
        _ => value,
    }
}

fn texts(value: Value, show: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => show(&text).into(),
        Value::Array(items) => items.into_iter().map(|item| texts(item, show)).collect(),
        other => other,
    }
}

fn arguments(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            mask::arguments(&words).into()
        }
        other => texts(other, &mask::word),
    }
}

fn walk(loaded: &Loaded, value: &Value, path: &KeyPath, rows: &mut Vec<(KeyPath, Value, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                walk(loaded, value, &path.key(key), rows);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (i, item) in items.iter().enumerate() {
                walk(loaded, item, &path.index(i), rows);
            }
        }
        // Options that nobody gave have no value worth a line.
        Value::Null => {}
        value => {
            let origin = match loaded.gives(path) {
                Some(at) => format!("{}:{}", loaded.path.display(), at.line),
                None => "default".to_owned(),
            };
            let value = masked(path, loaded.written(path).unwrap_or_else(|| value.clone()));
            let empty = value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(|m| m.is_empty());
            if !(empty && origin == "default") {
                rows.push((path.clone(), value, origin));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::expand::Variables;
    use crate::config::load::load_text;
    use crate::config::locate::Format;

    struct Hush;

    impl Variables for Hush {
        fn get(&self, _: &str) -> Result<Option<String>, String> {
            Ok(Some("hush".into()))
        }
    }

    #[test]
    fn every_value_tells_where_it_came_from_and_no_secret_is_shown() {
        let text = "servers:\n  a:\n    command: x\n    args: ['${WHO}']\n    env: { K: plainhush }\n\
                    secrets:\n  s: { value: '${S}', for: [a] }\nlimits: { sessions: 7 }\n";
        let loaded = load_text(text, Format::Yaml, Path::new("c.yaml"), Path::new("/"), &Hush).unwrap();
        let shown = show(&loaded, Output::Text).unwrap();
        assert!(!shown.contains("hush"), "{shown}");
        let has = |line: &str| {
            let wanted: Vec<&str> = line.split_whitespace().collect();
            assert!(
                shown.lines().any(|l| l.split_whitespace().collect::<Vec<_>>() == wanted),
                "{line}:\n{shown}"
            );
        };
        has("servers.a.command \"x\" # c.yaml:3");
        has("servers.a.args [\"${WHO}\"] # c.yaml:4");
        has("servers.a.env.K \"***\" # c.yaml:5");
        has("limits.sessions 7 # c.yaml:8");
        has("limits.call_seconds 60 # default");
        has("listen \"127.0.0.1:8080\" # default");
    }
}
