//! Which server a path of the listener leads to, and through which door.

use std::sync::Arc;

use crate::config::Config;

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The server; it is configured and not disabled.
    pub server: Arc<str>,
    /// How it is spoken to there.
    pub door: Door,
}

/// What is spoken at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Streamable HTTP, all revisions: `/{server}/mcp`, and `/{server}/stream` for those used to it.
    Mcp,
}

impl Door {
    fn named(name: &str) -> Option<Door> {
        match name {
            "mcp" | "stream" => Some(Door::Mcp),
            _ => None,
        }
    }
}

/// The entrance that a path is. The error is for the client, which gets it with status 404.
pub fn find(path: &str, config: &Config) -> Result<Entrance, &'static str> {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let (server, door) = parts
        .and_then(|(server, door)| Some((server, Door::named(door)?)))
        .filter(|(server, _)| !server.is_empty())
        .ok_or("nothing is served here; MCP servers are at `/{server}/mcp`")?;
    match config.servers.get_key_value(server) {
        Some((name, server)) if !server.disabled => Ok(Entrance { server: name.as_str().into(), door }),
        _ => Err("no server of that name is served here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;

    #[test]
    fn every_door_of_a_served_server_is_found_and_nothing_else() {
        let mut config = Config::default();
        config.servers.insert("a".into(), Server::default());
        config.servers.insert("off".into(), Server { disabled: true, ..Server::default() });
        for (path, door) in [("/a/mcp", Door::Mcp), ("/a/stream", Door::Mcp)] {
            assert_eq!(find(path, &config), Ok(Entrance { server: "a".into(), door }), "{path}");
        }
        for path in [
            "/",
            "",
            "/a",
            "/a/",
            "/a/mcp/",
            "/a/MCP",
            "/mcp",
            "//mcp",
            "/sse",
            "/a/b/mcp",
            "/off/sse",
            "/none/sse",
        ] {
            assert!(find(path, &config).is_err(), "{path}");
        }
    }
}
