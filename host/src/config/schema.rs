//! The keys of the configuration. One schema for YAML, JSON and TOML.
//!
//! Field documentation is what `lockgate config schema` prints, so it speaks to the operator.

mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dial_out::DialOut;
use super::key::Key;
use super::limits::Limits;
pub use server::{Isolation, Proxy, Server, ServerEra, Transport};

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen for clients. `127.0.0.1:8080` unless told; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// The MCP servers, by name. `mcpServers` is accepted for it.
    #[serde(alias = "mcpServers")]
    pub servers: BTreeMap<String, Server>,
    /// Endpoints that Lockgate connects to and serves MCP on: WebSockets with the client at the other end.
    pub dial_out: Vec<DialOut>,
    /// The chain: filters in this order. Plugins dropped into `plugins.dir` follow.
    pub filters: Vec<FilterEntry>,
    /// Where plugins come from.
    pub plugins: Plugins,
    /// Secrets, by name. Filters use them by name and never read them.
    pub secrets: BTreeMap<String, Secret>,
    /// The keys that session ids, event ids and list cursors are sealed with: texts of at least 32
    /// bytes, each as `${file:path}` or `${VAR}`. The first seals, all open; replicas share them. If
    /// absent, one is made and kept in `state_dir`.
    #[serde(skip_serializing)]
    pub keys: Vec<Key>,
    /// What has to outlive a restart is kept here (mode 0700); `$STATE_DIRECTORY`, or a folder
    /// `lockgate` in the user's state folder (`$XDG_STATE_HOME`, else `~/.local/state`), if absent.
    pub state_dir: Option<PathBuf>,
    /// Commands that are started by their URL: `/URL-ENCODED-COMMAND/mcp`. None unless listed.
    pub command_urls: CommandUrls,
    /// Who may talk to the HTTP listener at all.
    pub http: Http,
    /// Bounds on everything.
    pub limits: Limits,
}

/// Commands that are started by their URL.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandUrls {
    /// The commands that may be started, and no others.
    pub allow: Vec<AllowedCommand>,
    /// Who shares one process of such a command.
    pub isolation: Isolation,
}

/// One command that may be started by its URL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AllowedCommand {
    /// The decoded text of the URL must be exactly this. It is split at spaces, without a shell.
    Line(String),
    /// The text of the URL must split into exactly these words.
    Words(Vec<String>),
}

/// One filter: a plugin placed in the chain.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilterEntry {
    /// Name of the plugin: `redact` for `redact.wasm` or `10-redact.wasm` in `plugins.dir`.
    pub plugin: String,
    /// Name of this filter in logs, errors and metrics; the plugin's name unless told. Must be unique.
    pub name: Option<String>,
    /// What the plugin is configured with; see `lockgate plugin inspect`.
    pub config: Option<serde_json::Value>,
    /// Which messages the filter sees; all of them if absent.
    #[serde(rename = "match")]
    pub matches: Match,
    /// What it may do besides deciding.
    pub grants: Grants,
    /// Whether what it decides happens.
    pub mode: Mode,
    /// What happens to a call if the filter fails. `authenticate` and `access` are always `closed`.
    pub on_failure: OnFailure,
    /// Fresh instance per call, or a pool of warm ones.
    pub instances: Instances,
    /// Bounds of this filter.
    pub limits: FilterLimits,
}

/// Which messages a filter sees. Every list given must contain the message's value; entries are
/// globs (`*`, `?`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Server names.
    pub servers: Vec<String>,
    /// MCP methods, such as `tools/call`.
    pub methods: Vec<String>,
    /// Tool and prompt names and resource URIs, as the server knows them. Messages without a name
    /// (lists, for example) do not match when this is given.
    pub names: Vec<String>,
}

/// What a filter is allowed besides deciding. Nothing unless granted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Secrets it may use by name.
    pub secrets: Vec<String>,
}

/// Whether what a filter decides happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
}

/// What happens to a call if a filter fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The call fails.
    #[default]
    Closed,
    /// The filter is skipped.
    Open,
}

/// How instances of a filter live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Instances {
    /// A fresh copy of the configured instance for every hook call.
    #[default]
    Fresh,
    /// A pool of instances that are used again. Only for plugins you trust to keep calls apart.
    Warm,
}

/// Bounds of one filter. Every one has a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilterLimits {
    /// CPU time of one hook in milliseconds. Grows by 200 ms per MiB that the hook pulls.
    pub cpu_ms: u32,
    /// Wall time of one hook in milliseconds, host calls included.
    pub wall_ms: u32,
    /// Memory of one instance in MiB.
    pub memory_mib: u32,
    /// Largest single answer to a plugin in bytes; beyond it the plugin gets `too-large`.
    pub pull_bytes: u64,
    /// Most that one hook may hand to the host in bytes, edits and answers together.
    pub output_bytes: u64,
    /// Most log text of one hook call in bytes; the rest is dropped and counted.
    pub log_bytes: u32,
    /// Most calls of one hook into the host.
    pub host_calls: u32,
    /// Most instances at work at once; more calls wait.
    pub concurrent: u32,
    /// Faults within `breaker_seconds` that open the breaker. 0: no breaker.
    pub breaker_faults: u32,
    /// The window of `breaker_faults`, and how long the breaker stays open before a probe.
    pub breaker_seconds: u32,
    /// Most answers of `authenticate` that are kept for the `keep-seconds` that the filter names. 0: none.
    pub kept_identities: u32,
}

impl Default for FilterLimits {
    fn default() -> Self {
        FilterLimits {
            cpu_ms: 20,
            wall_ms: 1_000,
            memory_mib: 64,
            pull_bytes: 1 << 20,
            output_bytes: 4 << 20,
            log_bytes: 64 << 10,
            // One crossing costs about 0.1 µs at best: this is some 20 ms of nothing but crossing.
            host_calls: 100_000,
            concurrent: 64,
            breaker_faults: 20,
            breaker_seconds: 10,
            // As many as there are sessions; each takes about 1 KiB.
            kept_identities: 10_000,
        }
    }
}

/// Where plugins come from.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// The watched directory: every `*.wasm` in it is a plugin. Relative to the configuration file.
    pub dir: Option<PathBuf>,
    /// Put plugins that no filter names at the end of the chain, in file-name order.
    pub auto_attach: AutoAttach,
    /// How changes are noticed.
    pub watch: Watch,
    /// Compiled plugins are kept here; a folder `lockgate/plugins` in the user's cache folder if absent.
    pub cache_dir: Option<PathBuf>,
    /// Largest plugin file in MiB; 32 if absent.
    pub max_mib: Option<u32>,
    /// Longest preparation (compile, configure, snapshot) of one plugin in seconds; 30 if absent.
    pub prepare_seconds: Option<u32>,
}

/// Whether plugins that no filter names join the chain, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AutoAttach {
    /// Whether they do.
    pub enabled: bool,
    /// The most that such a plugin is granted, whatever its own file asks for.
    pub max_grants: Grants,
}

impl JsonSchema for AutoAttach {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AutoAttach".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let grants = generator.subschema_for::<Grants>();
        schemars::json_schema!({
            "description": "Whether plugins that no filter names join the chain (true or false), or a map that also says what they may do.",
            "anyOf": [
                { "type": "boolean" },
                {
                    "type": "object",
                    "properties": {
                        "enabled": { "type": "boolean", "default": true, "description": "Whether they do." },
                        "max_grants": grants,
                    },
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl<'de> Deserialize<'de> for AutoAttach {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(default = "yes")]
            enabled: bool,
            #[serde(default)]
            max_grants: Grants,
        }
        fn yes() -> bool {
            true
        }
        struct V;
        impl<'de> serde::de::Visitor<'de> for V {
            type Value = AutoAttach;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false, or a map with `enabled` and `max_grants`")
            }
            fn visit_bool<E>(self, enabled: bool) -> Result<AutoAttach, E> {
                Ok(AutoAttach { enabled, max_grants: Grants::default() })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<AutoAttach, A::Error> {
                let full = Full::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(AutoAttach { enabled: full.enabled, max_grants: full.max_grants })
            }
        }
        d.deserialize_any(V)
    }
}

/// How changes in the watched directory are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// By the operating system's events, with a slow poll behind them for those that get lost.
    #[default]
    Notify,
    /// By looking every second (network filesystems).
    Poll,
    /// Only on SIGHUP.
    Off,
}

/// One secret.
#[derive(Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secret {
    /// Its value; write `${VAR}` or `${file:path}`.
    #[serde(skip_serializing)]
    pub value: String,
    /// The servers it may be sent to. Nowhere if empty.
    #[serde(rename = "for")]
    pub servers: Vec<String>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("value", &"***").field("for", &self.servers).finish()
    }
}

/// Who may talk to the HTTP listener at all.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `Host` values accepted besides the loopback names and the listen address. Guards against DNS rebinding.
    pub allowed_hosts: Vec<String>,
    /// `Origin` values accepted besides those of the accepted hosts. Web pages of these origins may read
    /// the answers as well (CORS).
    pub allowed_origins: Vec<String>,
    /// Let web pages of this machine (`http://localhost:6274`), such as MCP Inspector, read the answers
    /// (CORS). Any page that a program on this machine serves can then use the servers as the user does.
    pub allow_loopback_origins: bool,
    /// Serve without any `authenticate` filter on an address that is not loopback. Off unless told.
    pub allow_unauthenticated: bool,
    /// Whether flags say all this (`wrap`, `connect`), so that errors name flags and no keys.
    #[serde(skip)]
    pub in_flags: bool,
}
