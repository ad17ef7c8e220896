//! Names of servers, and keys that fit together.

use std::collections::BTreeMap;

use super::{Check, is_plain};
use crate::config::locate::KeyPath;
use crate::config::problem::quoted;
use crate::config::{Proxy, Server, Transport, mask};

/// Words that are paths of Lockgate's own and so cannot name a server.
pub const RESERVED: [&str; 9] =
    ["mcp", "sse", "message", "admin", "health", "healthz", "livez", "readyz", "stream"];

impl Check<'_> {
    pub(super) fn servers(&mut self) {
        let config = self.config;
        if config.servers.values().all(|server| server.disabled) {
            let message = if config.servers.is_empty() {
                "no server is configured"
            } else {
                "every server is disabled"
            };
            self.error(
                &KeyPath::of(["servers"]),
                message,
                "name at least one: `servers: { notes: { command: node, args: [server.js] } }`",
            );
        }
        let mut folded: BTreeMap<String, &str> = BTreeMap::new();
        for (name, server) in &config.servers {
            let path = KeyPath::of(["servers", name]);
            if let Some(reason) = bad_server_name(name) {
                self.error(
                    &path,
                    format!("server name `{name}` {reason}"),
                    "the name becomes part of a URL and of tool names; choose another",
                );
            }
            if let Some(other) = folded.insert(name.to_lowercase(), name) {
                self.error(
                    &path,
                    format!("server names `{other}` and `{name}` differ only in case"),
                    "URLs would be mistaken for each other; rename one",
                );
            }
            self.server(&path, name, server);
        }
    }

    fn server(&mut self, path: &KeyPath, name: &str, server: &Server) {
        let quoted_name = format!("server `{name}`");
        match (&server.command, &server.url) {
            (None, None) => self.error(
                path,
                format!("{quoted_name} has neither `command` nor `url`"),
                "give `command` for a program to start, or `url` for a server on the network",
            ),
            (Some(_), Some(_)) => self.error(
                &path.key("url"),
                format!("{quoted_name} has both `command` and `url`"),
                "keep the one that is meant; two servers need two names",
            ),
            (Some(command), None) => {
                if command.trim().is_empty() {
                    self.error(
                        &path.key("command"),
                        format!("{quoted_name}: `command` is empty"),
                        "name the program",
                    );
                } else if command.contains(char::is_whitespace)
                    && server.args.is_empty()
                    && !command.contains('/')
                {
                    self.error(
                        &path.key("command"),
                        format!("{quoted_name}: `command` has arguments in it"),
                        "there is no shell: put what follows the program into `args: [...]`",
                    );
                }
                if !server.headers.is_empty() {
                    self.error(
                        &path.key("headers"),
                        format!("{quoted_name}: `headers` need a `url`"),
                        "remove them",
                    );
                }
                if server.proxy != Proxy::None {
                    self.error(
                        &path.key("proxy"),
                        format!("{quoted_name}: `proxy` needs a `url`"),
                        "remove it; a program gets the variables that its `env` names",
                    );
                }
                if !matches!(server.transport, Transport::Auto | Transport::Stdio) {
                    self.error(
                        &path.key("transport"),
                        format!("{quoted_name}: this `transport` needs a `url`"),
                        "remove `transport`",
                    );
                }
            }
            (None, Some(url)) => self.url_server(path, &quoted_name, server, url),
        }
        for variable in server.env.keys().filter(|v| v.is_empty() || v.contains(['=', '\0'])) {
            self.error(
                &path.key("env"),
                format!("{quoted_name}: `{}` cannot be the name of a variable", mask::word(variable)),
                "a name is not empty and has no `=`",
            );
        }
        if server.allow_similar_arguments.iter().any(String::is_empty) {
            self.error(
                &path.key("allow_similar_arguments"),
                format!("{quoted_name}: an empty text in `allow_similar_arguments` names no tool"),
                "write names of tools, with `*` and `?` as in `match.names`",
            );
        }
        if server.timeout_seconds == Some(0) {
            self.error(
                &path.key("timeout_seconds"),
                format!("{quoted_name}: `timeout_seconds` is 0: every call would fail"),
                "remove it for the default, or give at least 1",
            );
        }
    }

    fn url_server(&mut self, path: &KeyPath, quoted_name: &str, server: &Server, url: &str) {
        let at = path.key("url");
        let example = "write it like `https://mcp.example.com/mcp`";
        // The value is not shown: a variable may have put a secret into it.
        match url::Url::parse(url) {
            Err(reason) => self.error(&at, format!("{quoted_name}: `url` is malformed: {reason}"), example),
            Ok(url) if !["http", "https", "ws", "wss"].contains(&url.scheme()) => {
                let scheme = url.scheme();
                self.error(
                    &at,
                    format!(
                        "{quoted_name}: `url` has the scheme `{scheme}`; http, https, ws and wss are spoken"
                    ),
                    example,
                );
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => self.error(
                &at,
                format!("{quoted_name}: `url` holds credentials, and URLs are written to logs"),
                "put them into `secrets:` and let the filter `header-inject` send them",
            ),
            Ok(url) if url.fragment().is_some() => {
                self.error(
                    &at,
                    format!("{quoted_name}: `url` has a fragment (`#…`), which is never sent"),
                    "remove it",
                );
            }
            Ok(_) => {}
        }
        for (given, key) in [
            (!server.args.is_empty(), "args"),
            (!server.env.is_empty(), "env"),
            (server.cwd.is_some(), "cwd"),
        ] {
            if given {
                self.error(&path.key(key), format!("{quoted_name}: `{key}` needs a `command`"), "remove it");
            }
        }
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        self.transport_of(path, quoted_name, server, &scheme);
        for (header, value) in &server.headers {
            let at = path.key("headers").key(header);
            if http::HeaderName::try_from(header.as_str()).is_err() {
                self.error(
                    &at,
                    format!("{quoted_name}: `{}` is not a header name", mask::word(header)),
                    "letters, digits and `-` only",
                );
            } else if http::HeaderValue::try_from(value.as_str()).is_err() {
                self.error(
                    &at,
                    format!("{quoted_name}: the value of header `{header}` cannot be sent"),
                    "a value is one line of text",
                );
            } else if is_transport_header(header) {
                self.error(
                    &at,
                    format!("{quoted_name}: the header `{header}` is set by Lockgate itself"),
                    "remove it",
                );
            }
        }
    }

    /// A transport and a scheme that do not go together.
    fn transport_of(&mut self, path: &KeyPath, quoted_name: &str, server: &Server, scheme: &str) {
        let socket = matches!(scheme, "ws" | "wss");
        if socket && server.proxy != Proxy::None {
            self.error(
                &path.key("proxy"),
                format!("{quoted_name}: a WebSocket is not reached through a proxy"),
                "remove `proxy`",
            );
        }
        let needs = match server.transport {
            Transport::Auto => return,
            Transport::Stdio => "`transport: stdio` needs a `command`",
            Transport::Websocket if socket => return,
            Transport::Websocket => "`transport: websocket` needs a `url` with ws:// or wss://",
            _ if socket => "a `url` with ws:// or wss:// is reached over a WebSocket only",
            _ => return,
        };
        self.error(&path.key("transport"), format!("{quoted_name}: {needs}"), "remove `transport`");
    }
}

/// Why a server cannot be called that.
pub fn bad_server_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.chars().count() > 64 {
        return Some("has more than 64 characters".to_owned());
    }
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        return Some(format!("is reserved ({})", quoted(RESERVED)));
    }
    if name.contains("__") {
        return Some("contains `__`, which separates servers from tools".to_owned());
    }
    if name.starts_with('_') || name.ends_with('_') {
        return Some(
            "begins or ends with `_`, which would blur the `__` between servers and tools".to_owned(),
        );
    }
    if !is_plain(name) {
        return Some("has other characters than letters, digits, `.`, `_` and `-`".to_owned());
    }
    name.chars().all(|c| c == '.').then(|| "has only dots".to_owned())
}

fn is_transport_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("mcp-")
        || [
            "host",
            "content-length",
            "content-type",
            "accept",
            "connection",
            "transfer-encoding",
            "te",
            "upgrade",
            "trailer",
            "last-event-id",
        ]
        .contains(&name.as_str())
        || name.starts_with("sec-websocket-")
}
