//! The first lines of `serve`: what is served, where, for which servers, with which filters.

use std::net::SocketAddr;

use super::stack::FilterReport;
use crate::config::locate::KeyPath;
use crate::config::{Loaded, Server, mask};

/// Longest description of a server's command, in characters.
const COMMAND_WIDTH: usize = 60;

/// Where clients come in.
#[derive(Clone, Copy, Debug)]
pub enum Entrance<'a> {
    /// Over HTTP.
    Http(SocketAddr),
    /// Over HTTP, to the one server there is, which needs no name in the path.
    Bare(SocketAddr, &'a str),
    /// Over stdin and stdout, to one server.
    Stdio(&'a str),
}

/// The lines, without `ready`.
pub fn banner(loaded: &Loaded, filters: &[FilterReport], entrance: Entrance<'_>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let served = loaded.config.servers.iter().filter(|(_, server)| !server.disabled);
    let mut text = match entrance {
        Entrance::Http(address) => {
            let mut text = format!("lockgate {version} on http://{address}\n");
            let rows: Vec<Vec<String>> = served
                .map(|(name, server)| {
                    let reach = reach(loaded, name, server);
                    let segment = segment(name, server);
                    vec![format!("  http://{address}/{segment}/mcp"), format!("{name} ({reach})")]
                })
                .collect();
            text.push_str(&super::table::layout(&rows));
            text.push_str(&dialled(loaded));
            text
        }
        Entrance::Bare(address, name) => {
            let server = described(loaded, name);
            let at = format!("http://{address}");
            format!(
                "lockgate {version} on {at}\n  {at}/mcp  {server}\n  {at}/sse  the same for clients of HTTP+SSE\n"
            )
        }
        Entrance::Stdio(name) => {
            format!("lockgate {version} on stdio\n  {}\n", described(loaded, name))
        }
    };
    let names = |serving: bool| -> Vec<&str> {
        filters.iter().filter(|filter| filter.serves == serving).map(|filter| filter.name.as_str()).collect()
    };
    let chain = if names(true).is_empty() { "none".to_owned() } else { names(true).join(" → ") };
    text.push_str(&format!("  filters: {chain}\n"));
    if !names(false).is_empty() {
        let broken = names(false).join(", ");
        text.push_str(&format!("  filters that do not serve: {broken} (the log says why)\n"));
    }
    text
}

/// The endpoints that are dialled, and what is served there.
fn dialled(loaded: &Loaded) -> String {
    let mut rows = Vec::new();
    for (i, entry) in loaded.config.dial_out.iter().enumerate() {
        let path = KeyPath::of(["dial_out"]).index(i).key("url");
        let written = loaded.written(&path).and_then(|w| w.as_str().map(str::to_owned));
        let url = written.unwrap_or_else(|| entry.url.clone());
        let servers = match (entry.place(&loaded.config), entry.servers.is_empty()) {
            (None, _) => "nothing: all of its servers are disabled".to_owned(),
            (Some(_), true) => "all servers".to_owned(),
            (Some(_), false) => entry.enabled(&loaded.config).join(", "),
        };
        rows.push(vec![format!("  dials {}", mask::url(&url)), format!("{} ({servers})", entry.name)]);
    }
    super::table::layout(&rows)
}

/// The first part of the path to a server. That of a command is the command, whose secrets are masked.
fn segment(name: &str, server: &Server) -> String {
    let Some(segment) = &server.url_segment else { return name.to_owned() };
    let masked = mask::arguments(&server.args);
    if masked == server.args {
        segment.clone()
    } else {
        format!("{}%20{}", server.command.as_deref().unwrap_or(name).replace('/', "%2F"), mask::MASK)
    }
}

fn described(loaded: &Loaded, name: &str) -> String {
    let reach = loaded.config.servers.get(name).map(|s| reach(loaded, name, s)).unwrap_or_default();
    format!("{name} ({reach})")
}

/// How a server is reached, without anything that a variable may have put there.
pub fn reach(loaded: &Loaded, name: &str, server: &Server) -> String {
    let path = KeyPath::of(["servers", name]);
    let written = |key: &str| loaded.written(&path.key(key));
    if let Some(url) = &server.url {
        let shown = written("url").and_then(|w| w.as_str().map(str::to_owned)).unwrap_or_else(|| url.clone());
        return mask::url(&shown);
    }
    let command = server.command.as_deref().unwrap_or_default();
    let program = mask::word(command.rsplit('/').next().unwrap_or(command));
    let args: Vec<String> = match written("args") {
        Some(args) => {
            args.as_array().into_iter().flatten().filter_map(|a| a.as_str().map(str::to_owned)).collect()
        }
        None => server.args.clone(),
    };
    let words = [vec![program], mask::arguments(&args)].concat();
    let line: String = words.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() > COMMAND_WIDTH {
        format!("stdio: {}…", line.chars().take(COMMAND_WIDTH).collect::<String>())
    } else {
        format!("stdio: {line}")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::expand::Variables;
    use crate::config::load::load_text;
    use crate::config::locate::Format;
    use crate::filter::Hooks;

    struct Hush;

    impl Variables for Hush {
        fn get(&self, _: &str) -> Result<Option<String>, String> {
            Ok(Some("hush".into()))
        }
    }

    fn filter(name: &str) -> FilterReport {
        FilterReport {
            name: name.into(),
            plugin: name.into(),
            version: None,
            file: None,
            hooks: Hooks::default(),
            serves: true,
            problem: None,
        }
    }

    #[test]
    fn it_says_what_is_served_where_and_with_which_filters() {
        let text = "servers:\n  notes: { command: ./bin/node, args: [server.js, '--user=${X}'] }\n\
                    \u{20} far: { url: 'https://mcp.example.com/mcp?key=${X}' }\n  off: { command: x, disabled: true }\n";
        let loaded = load_text(text, Format::Yaml, Path::new("c.yaml"), Path::new("/"), &Hush).unwrap();
        let entrance = Entrance::Http("127.0.0.1:8080".parse().unwrap());
        let said = banner(&loaded, &[filter("tool-filter"), filter("redact")], entrance);
        let expected = format!(
            "lockgate {} on http://127.0.0.1:8080\n\
             \u{20} http://127.0.0.1:8080/far/mcp    far (https://mcp.example.com/mcp)\n\
             \u{20} http://127.0.0.1:8080/notes/mcp  notes (stdio: node server.js --user=${{X}})\n\
             \u{20} filters: tool-filter → redact\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(said, expected);
        let broken = FilterReport { serves: false, ..filter("deny") };
        let said = banner(&loaded, &[filter("redact"), broken], entrance);
        assert!(
            said.ends_with("  filters: redact\n  filters that do not serve: deny (the log says why)\n"),
            "{said}"
        );
        let said = banner(&loaded, &[], Entrance::Stdio("notes"));
        assert!(
            said.contains("on stdio\n  notes (stdio: node") && said.ends_with("filters: none\n"),
            "{said}"
        );
    }
}
