//! `${VAR}` in the values of a configuration: one pass, nothing inside a replacement is looked at.
//!
//! `${VAR}`, `${VAR:-default}` (also if it is set but empty), `${file:path}` (without the newline
//! at its end), `$$` for a `$`. Not in keys, and not in the `config` of a filter: a plugin is
//! somebody else's code, and what it may use of a secret is a grant.

use std::path::Path;

use super::locate::{KeyPath, Node, Step, Value};
use super::{mask, problem::Problem};

/// Largest file that `${file:}` reads: 64 KiB.
pub const MAX_FILE_BYTES: u64 = 64 << 10;

/// What variables stand for.
pub trait Variables {
    /// The value of an environment variable. The error is a reason ("is not valid UTF-8").
    fn get(&self, name: &str) -> Result<Option<String>, String>;
}

/// The environment of this process.
pub struct ProcessEnvironment;

impl Variables for ProcessEnvironment {
    fn get(&self, name: &str) -> Result<Option<String>, String> {
        match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err("is not valid UTF-8".to_owned()),
        }
    }
}

/// Replaces variables in the whole tree. Values that cannot be replaced become [`Value::Broken`].
///
/// `base` is what relative `${file:}` paths are relative to. Returns the errors and the warnings.
pub fn expand(root: &mut Node, variables: &dyn Variables, base: &Path) -> (Vec<Problem>, Vec<Problem>) {
    let mut walk = Walk { variables, base, errors: Vec::new(), warnings: Vec::new() };
    walk.node(root, &KeyPath::default());
    (walk.errors, walk.warnings)
}

/// Replaces variables in one text that stands in no file. `what` is how problems call it.
///
/// # Errors
/// A variable that is not set, or none at all.
pub fn expand_text(text: &str, what: &str, variables: &dyn Variables) -> Result<String, Problem> {
    let walk = Walk { variables, base: Path::new(""), errors: Vec::new(), warnings: Vec::new() };
    walk.text(text, &KeyPath::of([what]))
}

struct Walk<'a> {
    variables: &'a dyn Variables,
    base: &'a Path,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, path: &KeyPath) {
        let in_plugin_config = is_plugin_config(path);
        match &mut node.value {
            Value::Map(entries) => {
                for entry in entries {
                    self.node(&mut entry.node, &path.key(&entry.key));
                }
            }
            Value::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.node(item, &path.index(i));
                }
            }
            Value::Text(text) if in_plugin_config && text.contains("${") => {
                self.errors.push(
                    Problem::at(
                        node.at,
                        format!("`{path}`: variables are not replaced in the `config` of a filter"),
                    )
                    .help("a plugin never sees secrets: give it under `secrets:`, grant it with the filter's")
                    .help("`grants: { secrets: [NAME] }`, and let the plugin use it by name"),
                );
                node.value = Value::Broken;
            }
            Value::Text(_) if in_plugin_config => {}
            Value::Text(text) if text.contains('$') => {
                let written = text.clone();
                match self.text(&written, path) {
                    Ok(replaced) => {
                        if replaced != written {
                            node.written = Some(written);
                        }
                        node.value = Value::Text(replaced);
                    }
                    Err(problem) => {
                        self.errors.push(Problem { at: Some(node.at), ..problem });
                        node.value = Value::Broken;
                    }
                }
                self.warn_if_exposed(node, path);
            }
            _ => {}
        }
    }

    fn text(&self, text: &str, path: &KeyPath) -> Result<String, Problem> {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, from) = rest.split_at(dollar);
            replaced.push_str(before);
            if let Some(after) = from.strip_prefix("$$") {
                replaced.push('$');
                rest = after;
            } else if let Some(after) = from.strip_prefix("${") {
                let Some((inside, after)) = after.split_once('}') else {
                    return Err(Problem::general(format!("`{path}`: `${{` without `}}`"))
                        .help("write `$$` for a `$` that is meant as such"));
                };
                replaced.push_str(&self.variable(inside, path)?);
                rest = after;
            } else {
                replaced.push('$');
                rest = from.get(1..).unwrap_or_default();
            }
        }
        replaced.push_str(rest);
        Ok(replaced)
    }

    fn variable(&self, inside: &str, path: &KeyPath) -> Result<String, Problem> {
        if let Some(file) = inside.strip_prefix("file:") {
            return self.file(file, path);
        }
        // As the configurations of clients have it: `${env:NAME}`, and `${input:ID}` for a variable `ID`.
        let input = inside.strip_prefix("input:").map(|id| id.to_ascii_uppercase().replace('-', "_"));
        let inside = input.as_deref().or_else(|| inside.strip_prefix("env:")).unwrap_or(inside);
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if default.is_some_and(|d| d.contains("${")) {
            return Err(Problem::general(format!("`{path}`: variables inside the default of `${{{name}}}`"))
                .help("a default is taken as it stands; nesting is not supported"));
        }
        if !is_name(name) {
            return Err(Problem::general(format!(
                "`{path}`: `${{{}}}` names no variable",
                mask::word(inside)
            ))
            .help("allowed are `${NAME}`, `${NAME:-default}` and `${file:path}`; write `$$` for a `$`"));
        }
        match (self.variables.get(name), default) {
            (Ok(Some(value)), Some(default)) if value.is_empty() => Ok(default.to_owned()),
            (Ok(Some(value)), _) => Ok(value),
            (Ok(None), Some(default)) => Ok(default.to_owned()),
            (Ok(None), None) => Err(Problem::general(format!("`{path}`: the variable `{name}` is not set"))
                .help(format!("set it before you start Lockgate, or write `${{{name}:-default}}`"))),
            (Err(reason), _) => Err(Problem::general(format!("`{path}`: the variable `{name}` {reason}"))),
        }
    }

    fn file(&self, file: &str, path: &KeyPath) -> Result<String, Problem> {
        let problem = |reason: String| Problem::general(format!("`{path}`: `${{file:{file}}}`: {reason}"));
        if path.0.iter().any(|step| matches!(step, Step::Key(key) if key == "args" || key == "url")) {
            return Err(problem(
                "not allowed here: files hold secrets, and this value is visible to others".to_owned(),
            )
            .help("arguments show in the process list and URLs in logs; use `env` or `secrets:`"));
        }
        let full = self.base.join(file);
        let about = |e: std::io::Error| problem(format!("{} cannot be read: {}", full.display(), plain(&e)));
        let meta = std::fs::metadata(&full).map_err(about)?;
        if !meta.is_file() {
            return Err(problem(format!("{} is no file", full.display())));
        }
        if meta.len() > MAX_FILE_BYTES {
            return Err(problem(format!(
                "{} has {} bytes; at most {MAX_FILE_BYTES} are read",
                full.display(),
                meta.len()
            )));
        }
        let bytes = std::fs::read(&full).map_err(about)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| problem(format!("{} is not valid UTF-8", full.display())))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }

    /// Arguments are in the process list for everybody to read, and URLs in logs.
    fn warn_if_exposed(&mut self, node: &Node, path: &KeyPath) {
        let server_value = |name: &str| {
            matches!((path.0.first(), path.0.get(2)), (Some(Step::Key(a)), Some(Step::Key(b)))
                if a == "servers" && b == name)
        };
        let Some(written) = &node.written else { return };
        let place = if server_value("args") {
            "arguments are visible in the process list; put it into the server's `env`"
        } else if server_value("url") {
            "URLs are written to logs; put it into `secrets:` and let `header-inject` send it"
        } else {
            return;
        };
        let upper = written.to_ascii_uppercase();
        if ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "APIKEY", "CREDENTIAL", "PRIVATE"]
            .iter()
            .any(|word| upper.contains(word))
        {
            self.warnings.push(Problem::at(node.at, format!("`{path}` seems to hold a secret")).help(place));
        }
    }
}

/// What an operating-system error says, without its number.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.find(" (os error").and_then(|end| text.get(..end)).unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_plugin_config(path: &KeyPath) -> bool {
    matches!(path.0.as_slice(), [Step::Key(filters), Step::Index(_), Step::Key(config), ..]
        if filters == "filters" && config == "config")
}

#[cfg(test)]
mod tests {
    use super::super::locate::{Format, parse};
    use super::*;

    struct Fixed;

    impl Variables for Fixed {
        fn get(&self, name: &str) -> Result<Option<String>, String> {
            match name {
                "A" => Ok(Some("alpha".into())),
                "EMPTY" => Ok(Some(String::new())),
                "NESTED" => Ok(Some("${A} $$ ${file:/etc/passwd}".into())),
                "BAD" => Err("is not valid UTF-8".into()),
                _ => Ok(None),
            }
        }
    }

    fn one(text: &str) -> Result<String, String> {
        let quoted = serde_json::to_string(text).unwrap();
        let mut node = parse(&format!("{{\"listen\": {quoted}}}"), Format::Json).unwrap();
        let (errors, _) = expand(&mut node, &Fixed, Path::new("/nowhere"));
        match errors.into_iter().next() {
            Some(problem) => Err(problem.message),
            None => Ok(node.to_json()["listen"].as_str().unwrap().to_owned()),
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expected) in [
            ("${A}", "alpha"),
            ("x${A}y${A}z", "xalphayalphaz"),
            ("${NOPE:-d e:-f}", "d e:-f"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${A:-d}", "alpha"),
            ("${NOPE:-}", ""),
            ("$${A}", "${A}"),
            ("$$$${A}", "$${A}"),
            ("$$${A}", "$alpha"),
            ("a$b$", "a$b$"),
            ("${NESTED}", "${A} $$ ${file:/etc/passwd}"),
            ("ü${A}ü", "üalphaü"),
        ] {
            assert_eq!(one(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for (text, part) in [
            ("${NOPE}", "variable `NOPE` is not set"),
            ("${A", "without `}`"),
            ("${}", "names no variable"),
            ("${A-B}", "names no variable"),
            ("${NOPE:-${A}}", "inside the default"),
            ("${BAD}", "is not valid UTF-8"),
            ("${file:none}", "/nowhere/none cannot be read: no such file or directory"),
        ] {
            let error = one(text).unwrap_err();
            assert!(error.contains(part) && error.contains("`listen`"), "{text}: {error}");
        }
    }

    #[test]
    fn files_are_read_relative_to_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "s3cret\r\n").unwrap();
        std::fs::write(dir.path().join("big"), vec![b'x'; (MAX_FILE_BYTES + 1) as usize]).unwrap();
        std::fs::write(dir.path().join("binary"), [0xff, 0xfe]).unwrap();
        let run = |text: &str| {
            let mut node = parse(text, Format::Yaml).unwrap();
            let (errors, _) = expand(&mut node, &Fixed, dir.path());
            (node.to_json(), errors)
        };
        let (json, errors) = run("secrets: { s: { value: \"${file:key}\" } }");
        assert_eq!((json["secrets"]["s"]["value"].as_str(), errors.len()), (Some("s3cret"), 0));
        for (name, part) in [("big", "at most 65536"), ("binary", "not valid UTF-8"), (".", "is no file")] {
            let (_, errors) = run(&format!("listen: \"${{file:{name}}}\""));
            assert!(errors[0].message.contains(part), "{errors:?}");
        }
        let (_, errors) = run("servers: { a: { command: x, args: [\"${file:key}\"] } }");
        assert!(errors[0].message.contains("not allowed here"), "{errors:?}");
    }

    #[test]
    fn the_config_of_a_filter_is_left_alone_or_refused() {
        let mut node = parse(
            "filters:\n- plugin: x\n  config: { regex: 'a$$b$', key: '${A}' }\n  grants: { secrets: ['${A}'] }\n",
            Format::Yaml,
        )
        .unwrap();
        let (errors, _) = expand(&mut node, &Fixed, Path::new("/"));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].message.contains("`filters[0].config.key`"));
        assert!(errors[0].help[0].contains("secrets:"));
        let json = node.to_json();
        assert_eq!(json["filters"][0]["config"]["regex"], "a$$b$");
        assert_eq!(json["filters"][0]["grants"]["secrets"][0], "alpha");
    }

    #[test]
    fn a_secret_in_an_argument_is_warned_of_without_showing_it() {
        let mut node =
            parse("servers: { a: { command: x, args: ['${MY_TOKEN:-hush}', '${A}'] } }", Format::Yaml)
                .unwrap();
        let (errors, warnings) = expand(&mut node, &Fixed, Path::new("/"));
        assert!(errors.is_empty());
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].message.contains("`servers.a.args[0]`"), "{warnings:?}");
        assert!(!format!("{warnings:?}").contains("hush"));
    }
}
