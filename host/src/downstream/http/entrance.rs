//! From the path of a request to the server that is served there, and the door it is spoken to at.

use std::sync::Arc;

use crate::config::{Config, MERGED};

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The server; it is configured and not disabled. [`MERGED`] is all of them.
    pub server: Arc<str>,
    /// How it is spoken to there.
    pub door: Door,
}

/// What is spoken at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Streamable HTTP, all revisions: `/{server}/mcp`, or `/{server}/stream` for those used to that.
    Mcp,
    /// The stream of HTTP+SSE (2024-11-05): `/{server}/sse`.
    Sse,
    /// Where clients of HTTP+SSE post to: `/{server}/message`.
    Message,
}

impl Door {
    fn named(name: &str) -> Option<Door> {
        match name {
            "mcp" | "stream" => Some(Door::Mcp),
            "sse" => Some(Door::Sse),
            "message" => Some(Door::Message),
            _ => None,
        }
    }

    /// The HTTP methods that it takes, as `Allow` lists them.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Door::Mcp => "POST, GET, DELETE",
            Door::Sse => "GET",
            Door::Message => "POST",
        }
    }
}

/// The entrance that a path is. `bare` is the one server of a process that has no other: its doors
/// are at `/mcp` and so on as well, and under its own name. Where there is none, all servers are merged
/// there. The error is for the client.
pub(super) fn find(path: &str, config: &Config, bare: Option<&Arc<str>>) -> Result<Entrance, &'static str> {
    let segments: Vec<&str> = without_slash(path).strip_prefix('/').unwrap_or_default().split('/').collect();
    let found = match (segments.as_slice(), bare) {
        ([door], bare) => Some(bare.map_or(MERGED, |bare| &**bare)).zip(Door::named(door)),
        ([name, door], _) if !name.is_empty() => Some(*name).zip(Door::named(door)),
        _ => None,
    };
    let Some((name, door)) = found else {
        return Err(match bare {
            Some(_) => "nothing is served here; the MCP server is at `/mcp` and `/sse`",
            None => "nothing is served here; MCP servers are at `/{server}/mcp` and `/{server}/sse`",
        });
    };
    if name == MERGED && segments.len() == 1 {
        return Ok(Entrance { server: MERGED.into(), door });
    }
    let served = |name: &str| {
        let (name, server) = config.servers.get_key_value(name).filter(|(_, server)| !server.disabled)?;
        Some((Arc::from(name.as_str()), server.url_segment.is_some()))
    };
    // A server that was made of a command is at its command's URL only.
    let named = served(name).filter(|(_, by_url)| !by_url);
    let found = named.or_else(|| served(&config.command_urls.server(name)?));
    match found {
        Some((server, _)) => Ok(Entrance { server, door }),
        None => Err("no server of that name is served here"),
    }
}

/// The path without the slash that users and clients put at its end.
pub(super) fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;

    #[test]
    fn paths_lead_to_servers_that_are_served() {
        let mut config = Config::default();
        config.servers.insert("notes".into(), Server::default());
        config.servers.insert("off".into(), Server { disabled: true, ..Server::default() });
        let bare: Arc<str> = "notes".into();
        for (path, alone, found) in [
            ("/notes/mcp", false, Some(Door::Mcp)),
            ("/notes/mcp", true, Some(Door::Mcp)),
            ("/notes/stream", false, Some(Door::Mcp)),
            ("/notes/sse", false, Some(Door::Sse)),
            ("/notes/message", false, Some(Door::Message)),
            ("/sse", true, Some(Door::Sse)),
            ("/message", true, Some(Door::Message)),
            ("/mcp", true, Some(Door::Mcp)),
            ("/stream", true, Some(Door::Mcp)),
            ("/off/mcp", false, None),
            ("/nots/mcp", true, None),
            ("//mcp", true, None),
            ("/mcp/", true, Some(Door::Mcp)),
            ("/notes/mcp/", false, Some(Door::Mcp)),
            ("/sse/", true, Some(Door::Sse)),
            ("/notes/message/", false, Some(Door::Message)),
            ("/mcp//", true, None),
            ("/notes/mcp//", false, None),
            ("/notes/", false, None),
            ("//", true, None),
            ("/notes/MCP", false, None),
            ("/notes", false, None),
            ("/notes", true, None),
            ("mcp", true, None),
            ("/", true, None),
            ("", true, None),
            ("*", true, None),
        ] {
            let entrance = find(path, &config, Some(&bare).filter(|_| alone));
            let expected = found.map(|door| Entrance { server: bare.clone(), door });
            assert_eq!(entrance.ok(), expected, "{path}");
        }
        let all = Entrance { server: MERGED.into(), door: Door::Mcp };
        assert_eq!(find("/mcp", &config, None), Ok(all.clone()));
        for (path, door) in [("/sse", Door::Sse), ("/message", Door::Message)] {
            assert_eq!(find(path, &config, None), Ok(Entrance { door, ..all.clone() }), "{path}");
        }
    }
}
