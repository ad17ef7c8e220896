//! What to do about a server that does not work.

use super::super::serve::missing_command;
use crate::config::Server;

/// One or two sentences on what to do, from the configuration and the error.
pub fn advice(name: &str, server: &Server, problem: &str) -> String {
    if server.url.is_some() {
        if problem.contains("401") || problem.contains("403") {
            return "send credentials: put them into `secrets:` and let the filter `header-inject` send them"
                .to_owned();
        }
        if problem.contains("404") || problem.contains("405") {
            return format!("check the path in `servers.{name}.url`; it usually ends with `/mcp`");
        }
        return format!("start the server, or correct `servers.{name}.url`");
    }
    if missing_command(server).is_some() {
        // The problem says what was looked for and where.
        return format!("correct `servers.{name}.command`, or set `servers.{name}.env.PATH`");
    }
    if problem.contains("did not answer") {
        return "wait longer with `--timeout`, or start it by hand: a server on stdio answers `initialize` on stdout"
            .to_owned();
    }
    format!(
        "start it by hand to see what it says; it gets only the variables of `servers.{name}.env` and a few more"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_the_problem() {
        let url = Server { url: Some("https://x.example/mcp".into()), ..Server::default() };
        assert!(advice("a", &url, "answered 401").contains("header-inject"));
        assert!(advice("a", &url, "answered 404").contains("servers.a.url"));
        let gone = Server { command: Some("no-such-command-7f3a".into()), ..Server::default() };
        assert!(advice("a", &gone, "could not be started").contains("servers.a.command"));
        let slow = Server { command: Some("sh".into()), ..Server::default() };
        assert!(advice("a", &slow, "did not answer within 5 s").contains("--timeout"));
    }
}
