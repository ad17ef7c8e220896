//! Reads a configuration file: the one way from a path to a [`Config`] that can be served.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::commands::add_servers;
use super::conform::conform;
use super::expand::{ProcessEnvironment, Variables, expand, plain};
use super::locate::{Format, KeyPath, Node, Value, parse};
use super::problem::{At, ConfigError, Problem};
use super::validate::validate;
use super::{Config, client_form, json_schema, mask};

/// Largest configuration file: 4 MiB.
pub const MAX_BYTES: u64 = 4 << 20;

/// A configuration that can be served.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Variables replaced, relative paths made absolute, checked.
    pub config: Config,
    /// The file it came from, as it was asked for.
    pub path: PathBuf,
    /// What is probably not meant, in the file's order.
    pub warnings: Vec<Problem>,
    tree: Node,
}

impl Loaded {
    /// A configuration that was put together from something else than a file, checked like one.
    /// `origin` is how problems call that.
    ///
    /// # Errors
    /// What no schema can express and is wrong with it.
    pub fn from_config(config: Config, origin: &str) -> Result<Loaded, ConfigError> {
        let path = PathBuf::from(origin);
        let text = serde_json::to_string(&config).unwrap_or_default();
        let mut tree = match parse(&text, Format::Json) {
            Ok(tree) => tree,
            Err(problems) => return Err(ConfigError::new(&path, problems)),
        };
        let (errors, mut warnings) = validate(&config, &tree);
        // Lines and columns of a text that nobody wrote say nothing.
        let nowhere = |problem: Problem| Problem { at: None, ..problem };
        if !errors.is_empty() {
            return Err(ConfigError::new(&path, errors.into_iter().map(nowhere).collect()));
        }
        warnings = warnings.into_iter().map(nowhere).collect();
        tree.at = At::default();
        Ok(Loaded { config, path, warnings, tree })
    }

    /// `file:line:column` of a key, for problems that show later, such as a plugin that refuses
    /// the `config` of its filter.
    pub fn place(&self, path: &KeyPath) -> String {
        let at = self.tree.place(path);
        format!("{}:{}:{}", self.path.display(), at.line, at.column)
    }

    /// Where the file itself gives a value for the key, if it does. A short form counts for all
    /// that it stands for: `auto_attach: true` gives `auto_attach.enabled`.
    pub fn gives(&self, path: &KeyPath) -> Option<At> {
        let mut path = path.clone();
        let mut whole = true;
        loop {
            match self.tree.find(&path).map(|node| &node.value) {
                None if path.0.pop().is_none() => return None,
                None => whole = false,
                Some(Value::Map(_) | Value::List(_)) if !whole => return None,
                Some(_) => return Some(self.tree.place(&path)),
            }
        }
    }

    /// The value of a key as the file gives it, variables replaced, if the file gives one.
    pub fn stated(&self, path: &KeyPath) -> Option<serde_json::Value> {
        self.tree.find(path).map(Node::to_json)
    }

    /// The value of a key as JSON with its variables still in it, if it has any. This may be shown.
    pub fn written(&self, path: &KeyPath) -> Option<serde_json::Value> {
        let node = self.tree.find(path)?;
        let written = |node: &Node| node.written.clone().map(serde_json::Value::String);
        match &node.value {
            Value::List(items) if items.iter().any(|item| item.written.is_some()) => {
                Some(items.iter().map(|item| written(item).unwrap_or_else(|| item.to_json())).collect())
            }
            _ => written(node),
        }
    }
}

/// Reads a file (`-`: standard input, as JSON if it begins with `{`, else as YAML), replaces
/// variables from the environment of this process, and checks it.
///
/// # Errors
/// Everything that is wrong with it, with places.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let (text, format) = read(path).map_err(|problem| ConfigError::new(path, vec![problem]))?;
    // The folder of the file, not of what a link points to: that is where its neighbours are seen.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let base = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut loaded = load_text(&text, format, path, &base, &ProcessEnvironment)?;
    loaded.warnings.extend(check_mode(path));
    Ok(loaded)
}

/// Whoever may write the configuration decides which programs run. A warning and no refusal: mounts from
/// other systems and accounts with a group of their own show such modes where nobody else can write.
fn check_mode(path: &Path) -> Option<Problem> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let read_only = nix::sys::statvfs::statvfs(path)
        .is_ok_and(|found| found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
    (path.is_file() && mode & 0o022 != 0 && !read_only).then(|| {
        Problem::general(format!(
            "may be written by others (mode {mode:03o}), who could then decide what Lockgate runs"
        ))
        .help(format!("`chmod go-w {}`", path.display()))
    })
}

/// The same for a text that was read already. `file` is how errors call it, `base` what relative
/// paths are relative to.
///
/// # Errors
/// As [`load`].
pub fn load_text(
    text: &str,
    format: Format,
    file: &Path,
    base: &Path,
    variables: &dyn Variables,
) -> Result<Loaded, ConfigError> {
    let fail = |problems| Err(ConfigError::new(file, problems));
    let mut tree = match parse(text, format) {
        Ok(tree) => tree,
        Err(problems) => return fail(problems),
    };
    let client_form::Found { errors: mut problems, warnings: translated } =
        client_form::take(&mut tree, base);
    take_camel_case(&mut tree);
    let (errors, mut warnings) = expand(&mut tree, variables, base);
    warnings.extend(translated);
    problems.extend(errors);
    problems.extend(conform(&mut tree, &json_schema()));
    problems.extend(check_listen(&tree));
    if !problems.is_empty() {
        return fail(problems);
    }
    let mut config: Config = match serde_json::from_value(tree.to_json()) {
        Ok(config) => config,
        // The schema lets nothing through that the types refuse; should it, the reason still shows.
        Err(error) => return fail(vec![Problem::general(error.to_string())]),
    };
    let mut errors = add_servers(&mut config, &tree);
    let (further, more) = validate(&config, &tree);
    errors.extend(further);
    if !errors.is_empty() {
        return fail(errors);
    }
    warnings.extend(more);
    warnings.sort_by_key(|w| w.at);
    make_absolute(&mut config, base);
    Ok(Loaded { config, path: file.to_owned(), warnings, tree })
}

fn read(path: &Path) -> Result<(String, Format), Problem> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(|e| Problem::general(format!("cannot be read: {}", plain(&e))))?;
        let format = if text.trim_start().starts_with('{') { Format::Json } else { Format::Yaml };
        return Ok((text, format));
    }
    let shown = path.to_string_lossy();
    if shown.starts_with("http://") || shown.starts_with("https://") {
        return Err(Problem::general("a configuration cannot be read from a URL")
            .help("download it and pass the file with `--config FILE`"));
    }
    let format = match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("yaml" | "yml") => Format::Yaml,
        Some("json") => Format::Json,
        Some("toml") => Format::Toml,
        _ => {
            return Err(Problem::general("the format cannot be told from the file's name")
                .help("name it `.yaml`, `.json` or `.toml`"));
        }
    };
    let about = |e: std::io::Error| {
        let problem = Problem::general(format!("cannot be read: {}", plain(&e)));
        if e.kind() == std::io::ErrorKind::NotFound {
            problem.help("name the file with `--config FILE`; `lockgate --help` has an example of one")
        } else {
            problem
        }
    };
    let meta = std::fs::metadata(path).map_err(about)?;
    if meta.is_dir() {
        return Err(Problem::general("is a folder, not a file").help("name the file in it"));
    }
    if meta.len() > MAX_BYTES {
        return Err(Problem::general(format!("has {} bytes; at most {MAX_BYTES} are read", meta.len())));
    }
    let bytes = std::fs::read(path).map_err(about)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        Problem::general(format!("line {line} is not valid UTF-8"))
    })?;
    Ok((text, format))
}

/// The endpoints of `dial_out` may be written with the names that other gateways have for them.
fn take_camel_case(tree: &mut Node) {
    let Value::Map(entries) = &mut tree.value else { return };
    let Some(endpoints) = entries.iter_mut().find(|entry| entry.key == "dial_out") else { return };
    let Value::List(endpoints) = &mut endpoints.node.value else { return };
    for endpoint in endpoints {
        let Value::Map(keys) = &mut endpoint.value else { continue };
        let Some(reconnect) = keys.iter_mut().find(|entry| entry.key == "reconnect") else { continue };
        for (other, own) in [("initialBackoff", "initial_backoff"), ("maxBackoff", "max_backoff")] {
            let given = reconnect.node.entry(own).is_some();
            let Value::Map(keys) = &mut reconnect.node.value else { continue };
            // Given twice, the other one stays and is refused as an unknown key.
            if let Some(entry) = keys.iter_mut().find(|entry| entry.key == other).filter(|_| !given) {
                own.clone_into(&mut entry.key);
            }
        }
    }
}

fn check_listen(tree: &Node) -> Option<Problem> {
    let node = &tree.entry("listen")?.node;
    let Value::Text(text) = &node.value else { return None };
    if text.parse::<std::net::SocketAddr>().is_ok() {
        return None;
    }
    let shown = mask::word(node.written.as_deref().unwrap_or(text));
    Some(
        Problem::at(node.at, format!("`listen`: `{shown}` is not an address with a port"))
            .help("write it like `127.0.0.1:8080`, `0.0.0.0:8080` or `[::1]:8080`"),
    )
}

/// Relative paths are relative to the configuration file. A command without a `/` is looked up in
/// the PATH and stays as it is.
fn make_absolute(config: &mut Config, base: &Path) {
    let absolute = |path: &mut PathBuf| {
        if path.is_relative() {
            // A plain join would keep `configs/../target`; the shorter form is what people read.
            *path = tidy(&base.join(&*path));
        }
    };
    if let Some(dir) = &mut config.plugins.dir {
        absolute(dir);
    }
    if let Some(dir) = &mut config.plugins.cache_dir {
        absolute(dir);
    }
    if let Some(dir) = &mut config.state_dir {
        absolute(dir);
    }
    for server in config.servers.values_mut() {
        if let Some(cwd) = &mut server.cwd {
            absolute(cwd);
        }
        if let Some(command) = server.command.as_mut().filter(|c| c.contains('/') && !c.starts_with('/')) {
            *command = tidy(&base.join(&*command)).to_string_lossy().into_owned();
        }
    }
}

/// Takes `.` out, and `x/..` where `x` is no link (then the two are the same place).
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir
                if tidy.file_name().is_some() && !tidy.is_symlink() && tidy.is_dir() =>
            {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Variables for Nothing {
        fn get(&self, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }
    }

    fn yaml(text: &str) -> Result<Loaded, ConfigError> {
        load_text(text, Format::Yaml, Path::new("lockgate.yaml"), Path::new("/etc/lockgate"), &Nothing)
    }

    #[test]
    fn the_configuration_of_a_client_works_as_it_is() {
        let text = r#"{ "mcpServers": {
            "notes": { "type": "stdio", "command": "node", "args": ["server.js"] },
            "far": { "type": "http", "url": "https://mcp.example.com/mcp" } } }"#;
        let loaded = load_text(text, Format::Json, Path::new("mcp.json"), Path::new("/x"), &Nothing).unwrap();
        assert_eq!(loaded.config.servers["notes"].command.as_deref(), Some("node"));
        assert_eq!(loaded.config.servers["notes"].transport, crate::config::Transport::Stdio);
        assert_eq!(loaded.config.servers["far"].transport, crate::config::Transport::HttpOnly);
    }

    /// What clients write, with all of their keys at once: see docs/configuration.md.
    #[test]
    fn configurations_of_clients_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "# c\nexport A=1\nB='two words' # c\nKEPT=file\n")
            .unwrap();
        let text = r#"{ "inputs": [{ "id": "a-tok", "type": "promptString" }],
          "servers": {
            "My Notes": { "type": "local", "command": "node", "env": { "PORT": 8080, "DEBUG": true, "KEPT": "own" },
                          "envFile": "${workspaceFolder}/.env", "alwaysAllow": ["a"], "autoApprove": [], "timeout": 60000 },
            "a": { "httpUrl": "https://a.example/mcp", "headers": { "X": "${input:a-tok}", "Y": "${env:E}" } },
            "b": { "serverUrl": "https://b.example/mcp", "disabledTools": ["x"] },
            "c": { "type": "streamableHttp", "url": "https://c.example/mcp", "enabled": false, "tools": ["*"] } } }"#;
        struct Some1;
        impl Variables for Some1 {
            fn get(&self, name: &str) -> Result<Option<String>, String> {
                Ok(["A_TOK", "E"].contains(&name).then(|| format!("<{name}>")))
            }
        }
        let loaded = load_text(text, Format::Json, Path::new("mcp.json"), folder.path(), &Some1).unwrap();
        let servers = &loaded.config.servers;
        let env = &servers["My-Notes"].env;
        assert_eq!((&*env["PORT"], &*env["DEBUG"], &*env["KEPT"]), ("8080", "true", "own"));
        assert_eq!((&*env["A"], &*env["B"]), ("1", "two words"));
        assert_eq!(servers["a"].url.as_deref(), Some("https://a.example/mcp"));
        assert_eq!((&*servers["a"].headers["X"], &*servers["a"].headers["Y"]), ("<A_TOK>", "<E>"));
        assert_eq!(servers["b"].url.as_deref(), Some("https://b.example/mcp"));
        assert!(servers["c"].disabled);
        assert_eq!(servers["c"].transport, crate::config::Transport::HttpOnly);
        let said: Vec<&str> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
        for key in
            ["`inputs`", "My Notes.alwaysAllow", "My Notes.timeout", "b.disabledTools", "server `My Notes`"]
        {
            assert!(said.iter().any(|warning| warning.contains(key)), "{key}: {said:?}");
        }
        assert_eq!(said.len(), 5, "{said:?}");
        let strict = yaml("servers: { a: { command: x, alwaysAllow: [] } }\n").unwrap_err().to_string();
        assert!(strict.contains("unknown key `alwaysAllow`"), "Lockgate's own form stays strict: {strict}");
    }

    #[test]
    fn both_names_for_servers_are_refused() {
        let error = yaml("mcpServers: {}\nservers: { a: { command: x } }\n").unwrap_err().to_string();
        assert!(error.starts_with("lockgate.yaml:1:1: `mcpServers` is another name"), "{error}");
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let loaded = yaml(
            "servers: { a: { command: ./bin/x, cwd: data }, b: { command: npx }, c: { command: /bin/c } }\n\
             plugins: { dir: ../plugins, cache_dir: /var/cache }\n",
        )
        .unwrap();
        let config = loaded.config;
        assert_eq!(config.servers["a"].command.as_deref(), Some("/etc/lockgate/bin/x"));
        assert_eq!(config.servers["a"].cwd.as_deref(), Some(Path::new("/etc/lockgate/data")));
        assert_eq!(config.servers["b"].command.as_deref(), Some("npx"));
        assert_eq!(config.servers["c"].command.as_deref(), Some("/bin/c"));
        // /etc/lockgate does not exist here, so `..` might cross a link and is kept.
        assert_eq!(config.plugins.dir.as_deref(), Some(Path::new("/etc/lockgate/../plugins")));
        assert_eq!(config.plugins.cache_dir.as_deref(), Some(Path::new("/var/cache")));
    }

    #[test]
    fn an_address_must_have_a_port() {
        for bad in ["localhost:8080", "8080", "127.0.0.1"] {
            let error = yaml(&format!("listen: '{bad}'\nservers: {{ a: {{ command: x }} }}\n")).unwrap_err();
            assert!(error.to_string().contains("`listen`"), "{error}");
        }
    }

    #[test]
    fn the_place_of_a_key_can_be_asked_later() {
        let loaded = yaml("servers:\n  a:\n    command: x\n").unwrap();
        assert_eq!(loaded.place(&KeyPath::of(["servers", "a", "command"])), "lockgate.yaml:3:5");
        assert!(loaded.gives(&KeyPath::of(["servers", "a", "url"])).is_none());
        let loaded = yaml("plugins: { dir: /p, auto_attach: true }\nservers: { a: { command: x } }").unwrap();
        let enabled = KeyPath::of(["plugins", "auto_attach", "enabled"]);
        assert_eq!(loaded.gives(&enabled).map(|at| at.column), Some(21));
    }

    #[test]
    fn files_that_cannot_be_read_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let text = |name: &str| load(&dir.path().join(name)).unwrap_err().to_string();
        assert!(text("none.yaml").contains("cannot be read: no such file or directory"));
        assert!(text("none.ini").contains("format cannot be told"));
        std::fs::create_dir(dir.path().join("d.yaml")).unwrap();
        assert!(text("d.yaml").contains("is a folder"));
        std::fs::write(dir.path().join("bad.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
        assert!(text("bad.toml").contains("line 2 is not valid UTF-8"));
        let error = load(Path::new("https://example.com/lockgate.yaml")).unwrap_err().to_string();
        assert!(error.contains("cannot be read from a URL"));
    }
}
