//! Checks that no schema can express: names, references between sections, sane bounds.

use std::collections::BTreeSet;

use super::host::{wrong_host, wrong_origin};
use super::locate::{KeyPath, Node};
use super::problem::{Problem, nearest, quoted};
use super::{Config, FilterEntry, KEY_BYTES, mask};
use crate::filter::glob;

mod dial_out;
mod limits;
mod servers;

pub use servers::RESERVED;
pub(super) use servers::bad_server_name;

/// How a glob is written.
pub const GLOB_HELP: &str =
    "`*` stands for any text, `?` for one character, and every other character for itself";

/// Most keys: a rotation needs two, and whatever a client makes up is tried with all of them.
const MAX_KEYS: usize = 8;

/// Returns errors and warnings. `tree` gives them their places.
pub fn validate(config: &Config, tree: &Node) -> (Vec<Problem>, Vec<Problem>) {
    let mut check = Check { config, tree, errors: Vec::new(), warnings: Vec::new() };
    check.servers();
    check.secrets();
    check.keys();
    check.filters();
    check.http();
    dial_out::check(&mut check);
    limits::check(&mut check);
    (check.errors, check.warnings)
}

/// Refuses to serve everybody who can reach the machine. `open` are the servers that no filter
/// authenticates for; it is asked once the plugins are loaded, because only then they are known, and of
/// every generation.
///
/// # Errors
/// The listen address is not a loopback address, there are such servers, and
/// `http.allow_unauthenticated` is off. The text names the ways to proceed.
pub fn check_exposure(config: &Config, open: &[&str]) -> Result<(), Problem> {
    let address = config.listen_address();
    if address.ip().is_loopback() || open.is_empty() || config.http.allow_unauthenticated {
        return Ok(());
    }
    let served = config.servers.values().filter(|server| !server.disabled).count();
    if open.len() == served {
        return Err(Problem::general(format!(
            "refusing to listen on {address}: other machines can reach it, and no filter authenticates"
        ))
        .help("either add a filter that authenticates, such as api-key-auth:")
        .help("  filters: [{ plugin: api-key-auth, config: { keys: [{ name: me, sha256: \"…\" }] } }]")
        .help("or let everybody in on purpose:")
        .help("  http: { allow_unauthenticated: true }"));
    }
    let names: Vec<String> = open.iter().map(|name| format!("`{name}`")).collect();
    Err(Problem::general(format!(
        "refusing to listen on {address}: other machines can reach it, and no filter authenticates for {}",
        names.join(", ")
    ))
    .help(
        "either let a filter that authenticates see these servers too: extend its `match.servers`, or take \
           that key out",
    )
    .help("or let everybody in, at every server without such a filter, on purpose:")
    .help("  http: { allow_unauthenticated: true }"))
}

struct Check<'a> {
    config: &'a Config,
    tree: &'a Node,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Check<'_> {
    fn error(&mut self, path: &KeyPath, message: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::at(self.tree.place(path), message).help(help);
        self.errors.push(problem);
    }

    fn warn(&mut self, path: &KeyPath, message: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::at(self.tree.place(path), message).help(help);
        self.warnings.push(problem);
    }

    fn secrets(&mut self) {
        let config = self.config;
        for (name, secret) in &config.secrets {
            let path = KeyPath::of(["secrets", name]);
            if secret.value.is_empty() {
                self.error(
                    &path,
                    format!("secret `{name}` has no value"),
                    "give it one: `value: \"${VARIABLE}\"` or `value: \"${file:path}\"`",
                );
            }
            if secret.servers.is_empty() {
                self.warn(
                    &path,
                    format!("secret `{name}` may be sent nowhere: `for` is empty"),
                    "name the servers that may get it: `for: [SERVER]`",
                );
            }
            for (i, server) in secret.servers.iter().enumerate() {
                if !config.servers.contains_key(server) {
                    let message = format!("secret `{name}`: `for` names `{server}`, which is no server");
                    let help = among("configured servers", server, config.servers.keys());
                    self.error(&path.key("for").index(i), message, help);
                }
            }
        }
    }

    fn keys(&mut self) {
        let keys = &self.config.keys;
        for (i, key) in keys.iter().enumerate() {
            let here = KeyPath::of(["keys"]).index(i);
            let bytes = key.bytes().len();
            if bytes < KEY_BYTES {
                self.error(
                    &here,
                    format!("`{here}` has {bytes} bytes; a key has {KEY_BYTES} at least"),
                    "make one with `openssl rand -hex 32`, and give it as `${file:path}` or `${VAR}`",
                );
            } else if keys.iter().take(i).any(|earlier| earlier == key) {
                self.error(&here, format!("`{here}` is there twice"), "remove it");
            }
        }
        if keys.len() > MAX_KEYS {
            self.error(
                &KeyPath::of(["keys"]),
                format!("`keys` has {} keys; {MAX_KEYS} are tried at most", keys.len()),
                "remove the oldest: what they sealed is forgotten",
            );
        }
    }

    fn grants(&mut self, path: &KeyPath, secrets: &[String]) {
        let config = self.config;
        for (i, secret) in secrets.iter().enumerate() {
            if !config.secrets.contains_key(secret) {
                let here = path.key("secrets").index(i);
                let help = among("configured secrets", secret, config.secrets.keys());
                self.error(&here, format!("`{here}`: there is no secret `{secret}`"), help);
            }
        }
    }

    fn filters(&mut self) {
        let config = self.config;
        let filters = KeyPath::of(["filters"]);
        if !config.filters.is_empty() && config.plugins.dir.is_none() {
            self.error(
                &filters,
                "filters are listed, but `plugins.dir` is not set",
                "name the folder with their `.wasm` files: `plugins: { dir: ./plugins }`",
            );
        }
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for (i, filter) in config.filters.iter().enumerate() {
            let path = filters.index(i);
            self.filter(&path, filter);
            let name = filter.name.as_deref().unwrap_or(&filter.plugin);
            if !names.insert(name) {
                self.error(
                    &path,
                    format!("two filters are named `{name}`"),
                    "give one of them another `name`",
                );
            }
        }
        if config.plugins.auto_attach.enabled && config.plugins.dir.is_none() {
            self.error(
                &KeyPath::of(["plugins", "auto_attach"]),
                "`plugins.auto_attach` needs `plugins.dir`",
                "name the folder to watch: `plugins: { dir: ./plugins }`",
            );
        }
        self.grants(
            &KeyPath::of(["plugins", "auto_attach", "max_grants"]),
            &config.plugins.auto_attach.max_grants.secrets,
        );
    }

    fn filter(&mut self, path: &KeyPath, filter: &FilterEntry) {
        let config = self.config;
        let plugin = filter.plugin.as_str();
        if plugin.is_empty() {
            self.error(
                path,
                format!("`{path}` names no plugin"),
                "add `plugin: NAME`; the name is the file's, without a leading number and `.wasm`",
            );
        } else if let Some(stem) = plugin.strip_suffix(".wasm") {
            let bare = stem.rsplit('/').next().unwrap_or(stem);
            self.error(
                &path.key("plugin"),
                format!("`{path}.plugin`: `{plugin}` is a file, not a plugin's name"),
                format!("write `{bare}`"),
            );
        } else if !is_plain(plugin) {
            self.error(
                &path.key("plugin"),
                format!("`{path}.plugin`: `{plugin}` cannot be a plugin's name"),
                "letters, digits, `.`, `_` and `-`",
            );
        }
        if let Some(name) = filter.name.as_deref().filter(|n| !is_plain(n)) {
            self.error(
                &path.key("name"),
                format!("`{path}.name`: `{name}` cannot be a filter's name"),
                "letters, digits, `.`, `_` and `-`",
            );
        }
        self.grants(&path.key("grants"), &filter.grants.secrets);
        let matches = path.key("match");
        self.globs(
            &matches.key("servers"),
            &filter.matches.servers,
            config.servers.keys().map(String::as_str),
            "server",
        );
        // An unknown one is warned of, not refused: servers may have methods of their own.
        let methods = crate::proxy::method_kinds();
        let methods = methods.iter().map(|(method, _)| *method);
        self.globs(&matches.key("methods"), &filter.matches.methods, methods, "MCP method");
        self.globs(&matches.key("names"), &filter.matches.names, [], "");
    }

    /// Globs that can match nothing: of these names, where they are known.
    fn globs<'a>(
        &mut self,
        path: &KeyPath,
        globs: &[String],
        known: impl IntoIterator<Item = &'a str>,
        what: &str,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        for (i, text) in globs.iter().enumerate() {
            let here = path.index(i);
            if text.is_empty() {
                self.error(&here, format!("`{here}` is empty and matches nothing"), GLOB_HELP);
            } else if !what.is_empty() && !known.iter().any(|name| glob::matches(text, name)) {
                let help = match (nearest(text, known.iter().copied()), glob::literal(text)) {
                    (_, true) => format!("{GLOB_HELP}; as it stands, the filter sees nothing through it"),
                    (Some(name), _) => {
                        format!("did you mean `{name}`? As it stands, the filter sees nothing through it")
                    }
                    _ => "as it stands, the filter sees nothing through it".to_owned(),
                };
                self.warn(&here, format!("`{here}`: `{text}` matches no {what}"), help);
            } else if what.is_empty() && glob::literal(text) {
                let message = format!("`{here}`: `{text}` has characters that stand for themselves");
                self.warn(&here, message, GLOB_HELP);
            }
        }
    }

    fn http(&mut self) {
        let config = self.config;
        let path = KeyPath::of(["http", "allowed_origins"]);
        for (i, origin) in config.http.allowed_origins.iter().enumerate() {
            if let Some(help) = wrong_origin(origin) {
                let here = path.index(i);
                self.error(&here, format!("`{here}`: `{}` is not an origin", mask::word(origin)), help);
            }
        }
        let path = KeyPath::of(["http", "allowed_hosts"]);
        for (i, host) in config.http.allowed_hosts.iter().enumerate() {
            if let Some(help) = wrong_host(host) {
                let here = path.index(i);
                self.error(&here, format!("`{here}`: `{}` is not a host", mask::word(host)), help);
            }
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn among<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    if let Some(name) = nearest(word, known.clone().map(String::as_str)) {
        return format!("did you mean `{name}`?");
    }
    let names = quoted(known.map(String::as_str));
    if names.is_empty() { format!("there are no {what}") } else { format!("{what}: {names}") }
}
