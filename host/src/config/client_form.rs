//! The configuration of an MCP client, taken as it is: `mcpServers` or VS Code's `servers`, with the keys
//! that those programs write. What has a meaning here is translated; the rest is warned of by name.

use std::path::Path;

use super::locate::{Entry, Node, Value};
use super::mask;
use super::problem::{At, Problem, quoted};
use super::validate::bad_server_name;

/// Keys that say something to a client and nothing to a proxy.
const WITHOUT_MEANING: [&str; 27] = [
    "alwaysAllow",
    "autoApprove",
    "trust",
    "gallery",
    "version",
    "dev",
    "sandbox",
    "sandboxEnabled",
    "icon",
    "iconUrl",
    "source",
    "oauth",
    "auth",
    "authProviderType",
    "headersHelper",
    "enabled_tools",
    "disabled_tools",
    "includeTools",
    "excludeTools",
    "disabledTools",
    "tools",
    "envFile",
    "notes",
    "name",
    "timeout",
    "id",
    "title",
];

/// What of them hides tools: a proxy that ignored it would show more than was meant.
const HIDES_TOOLS: [&str; 6] =
    ["enabled_tools", "disabled_tools", "includeTools", "excludeTools", "disabledTools", "tools"];

/// Names that other programs have for a key of a server.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("httpUrl", "url"),
    ("serverUrl", "url"),
    ("http_headers", "headers"),
    ("requestInit", "headers"),
    ("environment", "env"),
    ("workingDirectory", "cwd"),
];

/// Where servers stand in the files of clients.
const ROOTS: [&str; 3] = ["mcpServers", "mcp_servers", "context_servers"];

/// What was found while the tree was translated.
#[derive(Debug, Default)]
pub struct Found {
    /// What cannot be used.
    pub errors: Vec<Problem>,
    /// What is left out, or means something else here.
    pub warnings: Vec<Problem>,
}

/// Translates the tree. `base` is what a relative `envFile` is relative to.
pub fn take(tree: &mut Node, base: &Path) -> Found {
    let mut found = Found::default();
    let has_servers = tree.entry("servers").is_some();
    let vscode = tree.entry("inputs").is_some();
    let Value::Map(entries) = &mut tree.value else { return found };
    let mut client = vscode;
    if let Some(entry) = entries.iter_mut().find(|e| ROOTS.contains(&e.key.as_str())) {
        if has_servers {
            let message = format!("`{}` is another name for `servers`, and both are given", entry.key);
            found.errors.push(Problem::at(entry.at, message).help("put all servers under `servers`"));
            entries.retain(|e| !ROOTS.contains(&e.key.as_str()));
            return found;
        }
        "servers".clone_into(&mut entry.key);
        client = true;
    }
    let Some(servers) = entries.iter_mut().find(|e| e.key == "servers") else { return found };
    let Value::Map(servers) = &mut servers.node.value else { return found };
    // VS Code says `servers` as Lockgate does; its entries have a `type`.
    client |= servers.iter().any(|server| server.node.entry("type").is_some());
    if !client {
        return found;
    }
    for server in servers.iter_mut() {
        one(server, base, &mut found);
    }
    rename(servers, &mut found);
    inputs(entries, &mut found);
    found
}

/// VS Code asks its user for `inputs`; here they are variables of the environment.
fn inputs(entries: &mut Vec<Entry>, found: &mut Found) {
    entries.retain(|entry| {
        if entry.key != "inputs" {
            return true;
        }
        let message = "`inputs` are asked by VS Code; Lockgate asks nobody";
        let help =
            "`${input:ID}` takes the variable `ID` of the environment, in capitals and with `_` for `-`";
        found.warnings.push(Problem::at(entry.at, message).help(help));
        false
    });
}

fn one(server: &mut Entry, base: &Path, found: &mut Found) {
    let name = server.key.clone();
    let Value::Map(keys) = &mut server.node.value else { return };
    for (other, own) in OTHER_NAMES {
        let given = keys.iter().any(|entry| entry.key == own);
        let Some(entry) = keys.iter_mut().find(|entry| entry.key == other) else { continue };
        if given {
            let message = format!("`servers.{name}.{other}` is another name for `{own}`, and both are given");
            found.errors.push(Problem::at(entry.at, message).help("keep one of them"));
            keys.retain(|entry| entry.key != other);
            continue;
        }
        own.clone_into(&mut entry.key);
        if other.ends_with("Url") && !keys.iter().any(|e| e.key == "type" || e.key == "transport") {
            keys.push(text_entry("transport", "http-first"));
        }
    }
    transport(&name, keys, found);
    enabled(keys);
    env(&name, keys, base, found);
    keys.retain(|entry| {
        if !WITHOUT_MEANING.contains(&entry.key.as_str()) {
            return true;
        }
        let key = &entry.key;
        let message = format!("`servers.{name}.{key}` has no meaning here and is left out");
        let help = match key.as_str() {
            "timeout" => "clients count milliseconds or seconds; Lockgate's key is `timeout_seconds`",
            "envFile" => return false,
            key if HIDES_TOOLS.contains(&key) => {
                "Lockgate hides tools with the filter `tool-filter`, or with `--ignore-tool` of `wrap` and `connect`"
            }
            "oauth" | "auth" | "headersHelper" | "authProviderType" => {
                "give credentials with `headers`, or with `secrets:` and the filter `header-inject`"
            }
            "alwaysAllow" | "autoApprove" | "trust" => "it is for the client, which still decides what it asks about",
            _ => "it is for the client",
        };
        // A list of all tools hides none.
        let every_tool = key == "tools" && all(&entry.node);
        if !every_tool && !nothing(&entry.node) {
            found.warnings.push(Problem::at(entry.at, message).help(help));
        }
        false
    });
}

fn all(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.iter().any(|item| item.value == Value::Text("*".into())))
}

fn nothing(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Null | Value::Bool(false) => true,
        _ => false,
    }
}

fn text_entry(key: &str, text: &str) -> Entry {
    let at = At::default();
    Entry { key: key.to_owned(), at, node: Node::new(at, Value::Text(text.to_owned())) }
}

fn transport(name: &str, keys: &mut [Entry], found: &mut Found) {
    let given = keys.iter().any(|entry| entry.key == "transport");
    let Some(kind) =
        keys.iter_mut().find(|e| e.key == "type" || (e.key == "transport" && e.node.at != At::default()))
    else {
        return;
    };
    if kind.key == "type" && given {
        return;
    }
    let transport = match &kind.node.value {
        Value::Text(t) => match t.as_str() {
            "stdio" | "local" => "stdio",
            "http" | "streamable-http" | "streamableHttp" | "streamable_http" => "http-only",
            "remote" => "http-first",
            // What such an entry names may have moved on since it was written.
            "sse" => "sse-first",
            "ws" | "websocket" => "websocket",
            _ if kind.key == "transport" => return,
            t => {
                let message = format!("`servers.{name}.type`: `{}` is not supported", mask::word(t));
                let known = quoted(["stdio", "http", "streamable-http", "sse", "ws"]);
                found.errors.push(Problem::at(kind.node.at, message).help(format!("allowed: {known}")));
                "auto"
            }
        },
        _ => return,
    };
    "transport".clone_into(&mut kind.key);
    kind.node.value = Value::Text(transport.to_owned());
}

/// `enabled: false` is `disabled: true`.
fn enabled(keys: &mut Vec<Entry>) {
    if keys.iter().any(|entry| entry.key == "disabled") {
        keys.retain(|entry| entry.key != "enabled");
    }
    for entry in keys.iter_mut().filter(|entry| entry.key == "enabled") {
        if let Value::Bool(enabled) = entry.node.value {
            "disabled".clone_into(&mut entry.key);
            entry.node.value = Value::Bool(!enabled);
        }
    }
}

/// Numbers and truth values in `env` are what they are written like, and `envFile` fills in what `env`
/// does not have.
fn env(name: &str, keys: &mut Vec<Entry>, base: &Path, found: &mut Found) {
    for map in keys.iter_mut().filter(|entry| entry.key == "env" || entry.key == "headers") {
        let Value::Map(entries) = &mut map.node.value else { continue };
        for entry in entries {
            let text = match &entry.node.value {
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                _ => continue,
            };
            entry.node.value = Value::Text(text);
        }
    }
    let Some((at, file)) =
        keys.iter().find(|entry| entry.key == "envFile").and_then(|entry| match &entry.node.value {
            Value::Text(file) => Some((entry.node.at, file.clone())),
            _ => None,
        })
    else {
        return;
    };
    let relative = file.strip_prefix("${workspaceFolder}/").unwrap_or(&file);
    let variables = match read_env_file(&base.join(relative)) {
        Ok(variables) => variables,
        Err(reason) => {
            let message = format!("`servers.{name}.envFile`: {} {reason}", mask::word(relative));
            found
                .errors
                .push(Problem::at(at, message).help("correct the path; it is relative to the configuration"));
            return;
        }
    };
    if !keys.iter().any(|entry| entry.key == "env") {
        keys.push(Entry { key: "env".to_owned(), at, node: Node::new(at, Value::Map(Vec::new())) });
    }
    for entry in keys.iter_mut().filter(|entry| entry.key == "env") {
        let Value::Map(env) = &mut entry.node.value else { continue };
        for (key, value) in &variables {
            if !env.iter().any(|entry| entry.key == *key) {
                // `$` is no reference in such a file.
                let node = Node::new(at, Value::Text(value.replace('$', "$$")));
                env.push(Entry { key: key.clone(), at, node });
            }
        }
    }
}

/// `KEY=VALUE` lines, with `#` comments, `export` and quotes, as dotenv has them.
fn read_env_file(path: &Path) -> Result<Vec<(String, String)>, String> {
    let about = |e: std::io::Error| format!("cannot be read: {}", super::expand::plain(&e));
    let meta = std::fs::metadata(path).map_err(about)?;
    if !meta.is_file() || meta.len() > super::expand::MAX_FILE_BYTES {
        return Err(format!("is no file of at most {} bytes", super::expand::MAX_FILE_BYTES));
    }
    let text = std::fs::read_to_string(path).map_err(about)?;
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((key, value)) = line.split_once('=').filter(|(key, _)| mask::is_variable(key.trim())) else {
            return Err(format!("has no `KEY=VALUE` on line {}", number + 1));
        };
        let value = value.trim();
        let quoted =
            ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.split_once(*q).map(|(inside, _)| inside));
        let value = quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim_end());
        variables.push((key.trim().to_owned(), value.to_owned()));
    }
    Ok(variables)
}

/// A client shows names to people; here they are parts of URLs and of tool names.
fn rename(servers: &mut [Entry], found: &mut Found) {
    for i in 0..servers.len() {
        let Some(server) = servers.get(i) else { continue };
        if bad_server_name(&server.key).is_none() || server.key.is_empty() {
            continue;
        }
        let mut name = String::new();
        for c in server.key.chars().take(64) {
            let c = if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
            // One `-` for several blanks, and no `__`, which separates servers from tools.
            if !(name.ends_with(c) && matches!(c, '-' | '_')) {
                name.push(c);
            }
        }
        let name = name.trim_matches(['-', '_']).to_owned();
        let taken = servers.iter().any(|other| other.key.eq_ignore_ascii_case(&name));
        let Some(server) = servers.get_mut(i) else { continue };
        if taken || bad_server_name(&name).is_some() {
            continue;
        }
        let message = format!("server `{}` is called `{name}` here", mask::word(&server.key));
        let help = format!("the name becomes part of a URL and of tool names: it is served at `/{name}/mcp`");
        found.warnings.push(Problem::at(server.at, message).help(help));
        server.key = name;
    }
}
