//! The keys of one server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One MCP server: either `command` or `url`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Program to start; it speaks MCP on stdin and stdout. Run without a shell.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment. It gets these variables and `PATH`, `HOME`, `USER`, `LANG`, `LC_ALL`,
    /// `TERM`, `TMPDIR`, `TZ`, and nothing else of Lockgate's own.
    pub env: BTreeMap<String, String>,
    /// Its working directory; Lockgate's own if absent.
    pub cwd: Option<PathBuf>,
    /// URL of a server: `http:` or `https:`, or `ws:` or `wss:` for one with a WebSocket.
    pub url: Option<String>,
    /// Fixed headers for requests to `url`. For credentials use a secret and `header-inject`.
    pub headers: BTreeMap<String, String>,
    /// How the server is reached. `auto` means stdio for a `command`, a WebSocket for a `ws:` or `wss:`
    /// URL, and `http-first` for any other.
    pub transport: Transport,
    /// Which era of the protocol clients use this server in. With one of the two nothing is translated:
    /// clients that speak both eras are told to speak that one, and others are refused.
    pub era: ServerEra,
    /// Whether `url` is reached through the proxies that Lockgate's environment names.
    pub proxy: Proxy,
    /// Who shares one connection (for a `command`: one process) to the server.
    pub isolation: Isolation,
    /// What the server is for; shown in listings.
    pub description: Option<String>,
    /// Fail to start if this server cannot be reached, instead of serving the others.
    pub required: bool,
    /// Keep the entry but do not serve it.
    pub disabled: bool,
    /// Longest wait for one call's answer, in seconds; `limits.call_seconds` if absent.
    pub timeout_seconds: Option<u64>,
    /// Tools and prompts, as globs, whose arguments may have members that differ only in case, in white
    /// space around or in invisible characters, such as `path` and `Path`. Where a filter judges
    /// requests such calls are refused otherwise, because some servers take these for the same.
    pub allow_similar_arguments: Vec<String>,
    /// For a server that `command_urls` made: the segment of a path where it is, and only there.
    #[serde(skip)]
    pub url_segment: Option<String>,
    /// Whether flags say all this (`wrap`, `connect`), so that errors name flags and no keys.
    #[serde(skip)]
    pub in_flags: bool,
}

impl Server {
    /// Which server it is, whatever its name: what is started or reached, and with whose credentials. What
    /// is sealed for one server does not open for another that got its name.
    pub fn identity(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |text: Option<&str>| {
            // With its length in front, so that no two lists of parts are the same bytes.
            hash.update(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
            hash.update(text.unwrap_or_default());
        };
        part(self.command.as_deref());
        self.args.iter().for_each(|arg| part(Some(arg)));
        part(None);
        part(self.cwd.as_deref().map(|cwd| cwd.to_string_lossy()).as_deref());
        part(self.url.as_deref());
        for values in [&self.env, &self.headers] {
            values.iter().for_each(|(name, value)| {
                part(Some(name));
                part(Some(value));
            });
            part(None);
        }
        hash.finalize().into()
    }
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Decide by `command` or `url`.
    #[default]
    Auto,
    /// Streamable HTTP; HTTP+SSE if the server answers that with 400, 404 or 405.
    HttpFirst,
    /// HTTP+SSE; Streamable HTTP if the server offers no such stream.
    SseFirst,
    /// Streamable HTTP only.
    HttpOnly,
    /// HTTP+SSE (2024-11-05) only.
    SseOnly,
    /// Child process.
    Stdio,
    /// A WebSocket, with the subprotocol `mcp`.
    Websocket,
}

/// The eras of the protocol in which a server is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerEra {
    /// Both: what the server speaks is found out, and the other one is translated.
    #[default]
    Auto,
    /// Revisions up to 2025-11-25, with `initialize` and sessions. For servers that ask their clients
    /// something outside of any call, as some do for the roots.
    Legacy,
    /// Revision 2026-07-28.
    Modern,
}

/// Through which proxy a server is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Proxy {
    /// Through none.
    #[default]
    None,
    /// Through the one that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` name for it.
    Environment,
}

/// Who shares one connection to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// One connection per client session: nothing a server remembers leaks to another client.
    #[default]
    Session,
    /// One connection per authenticated principal.
    Principal,
    /// One connection for all. Questions of the server reach a client only where it is certain whose they are.
    Shared,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_that_of_the_server_and_of_its_credentials() {
        let base = Server { command: Some("x".into()), args: vec!["a".into()], ..Server::default() };
        let same = Server { description: Some("other".into()), required: true, ..base.clone() };
        assert_eq!(base.identity(), same.identity());
        let pair = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let others = [
            Server { command: Some("y".into()), ..base.clone() },
            Server { args: vec!["b".into()], ..base.clone() },
            Server { args: vec!["a".into(), "a".into()], ..base.clone() },
            Server { cwd: Some("/x".into()), ..base.clone() },
            Server { env: pair("TOKEN", "of another"), ..base.clone() },
            Server { headers: pair("TOKEN", "of another"), ..base.clone() },
            Server { command: None, url: Some("x".into()), ..base.clone() },
        ];
        let all: std::collections::BTreeSet<_> = others.iter().chain([&base]).map(Server::identity).collect();
        assert_eq!(all.len(), others.len() + 1);
    }
}
