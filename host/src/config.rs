//! The configuration: its schema, and how it is read, expanded and checked.
//!
//! A file becomes a tree whose every value knows its place ([`locate`]); variables are replaced in
//! it ([`expand`]); it is held against the JSON Schema of [`Config`] ([`conform`]); and only then it
//! is read into [`Config`] and checked for sense ([`validate`]). [`load`] does all of it.

mod client_form;
pub mod commands;
pub mod conform;
mod dial_out;
pub mod expand;
pub mod host;
mod key;
mod limits;
pub mod load;
pub mod locate;
pub mod mask;
pub mod problem;
pub mod schema;
pub mod validate;

pub use dial_out::{Configured, DialOut, KeepAlive, Period, Reconnect};
pub use key::{KEY_BYTES, Key};
pub use limits::Limits;
pub use load::{Loaded, load};
pub use problem::{ConfigError, Problem};
pub use schema::*;

/// Where clients are listened for unless `listen` says otherwise.
pub const DEFAULT_LISTEN: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// The configuration file that is read if none is named, in the current directory.
pub const DEFAULT_FILE: &str = "lockgate.yaml";

/// The entrance that merges all servers: `/mcp`, `/sse`, `/message`. No server can have this name.
pub const MERGED: &str = "mcp";

impl Config {
    /// The servers behind a name that is no server's: all behind [`MERGED`] that are not disabled
    /// and not started by their URL, in the order of their names, and those that an endpoint of
    /// `dial_out` lists.
    pub fn members(&self, name: &str) -> Option<Vec<&str>> {
        let all = || {
            self.servers
                .iter()
                .filter(|(_, s)| !s.disabled && s.url_segment.is_none())
                .map(|(n, _)| n.as_str())
        };
        if name == MERGED { Some(all().collect()) } else { dial_out::members(self, name) }
    }

    /// The address to listen on.
    pub fn listen_address(&self) -> std::net::SocketAddr {
        self.listen.unwrap_or(DEFAULT_LISTEN)
    }
}

/// The JSON Schema of [`Config`].
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}
