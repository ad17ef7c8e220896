//! From the path of a request to the server that is served there.

use std::sync::Arc;

use crate::config::Config;

/// The server behind a path. `bare` is the one server of a process that has no other: it is served
/// at `/mcp` as well, and under its own names. The error is for the client.
pub(super) fn find(path: &str, config: &Config, bare: Option<&Arc<str>>) -> Result<Arc<str>, &'static str> {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or_default().split('/').collect();
    let name = match (segments.as_slice(), bare) {
        (["mcp"], Some(bare)) => &**bare,
        ([name, "mcp"], _) if !name.is_empty() => name,
        (_, Some(_)) => return Err("nothing is served here; the MCP server is at `/mcp`"),
        _ => return Err("nothing is served here; MCP servers are at `/{server}/mcp`"),
    };
    match config.servers.get_key_value(name) {
        Some((name, server)) if !server.disabled => Ok(name.as_str().into()),
        _ => Err("no server of that name is served here"),
    }
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
            ("/notes/mcp", false, true),
            ("/notes/mcp", true, true),
            ("/mcp", true, true),
            ("/mcp", false, false),
            ("/off/mcp", false, false),
            ("/nots/mcp", true, false),
            ("//mcp", true, false),
            ("/mcp/", true, false),
            ("/notes/mcp/", false, false),
            ("/notes", false, false),
            ("mcp", true, false),
            ("/", true, false),
            ("", true, false),
            ("*", true, false),
        ] {
            let server = find(path, &config, Some(&bare).filter(|_| alone));
            assert_eq!(server.as_deref().ok(), Some("notes").filter(|_| found), "{path}");
        }
    }
}
