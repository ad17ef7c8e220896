//! What to do about a server that does not work.

use super::super::probe::NO_ANSWER;
use super::super::service::missing_command;
use crate::config::Server;

/// One or two sentences on what to do, from the configuration and the error.
pub fn advice(name: &str, server: &Server, problem: &str) -> String {
    if server.url.is_some() {
        if problem.contains("HTTP 401") || problem.contains("HTTP 403") {
            return "send credentials: put them into `secrets:` and let the filter `header-inject` send them"
                .to_owned();
        }
        if problem.contains("HTTP 404") || problem.contains("HTTP 405") {
            return format!(
                "check the path in `servers.{name}.url`; it usually ends with `/mcp`, or with `/sse`"
            );
        }
        if problem.contains("speaks no TLS") {
            return format!("write `http://` in `servers.{name}.url` if no encryption is meant");
        }
        if problem.contains(" answered HTTP 5") {
            return "the server itself failed, or what stands before it: look at its log".to_owned();
        }
        if problem.contains(" answered HTTP ") || problem.contains(" redirects (HTTP ") {
            return format!("something else answers there: correct `servers.{name}.url`");
        }
        return format!("start the server, or correct `servers.{name}.url`");
    }
    if missing_command(server).is_some() {
        // The problem says what was looked for and where.
        return format!("correct `servers.{name}.command`, or set `servers.{name}.env.PATH`");
    }
    if problem.contains(NO_ANSWER) {
        return "it sends back what it is sent, so it is no MCP server: correct its command and arguments"
            .to_owned();
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
        assert!(advice("a", &url, "answered HTTP 401").contains("header-inject"));
        assert!(advice("a", &url, "answered HTTP 404").contains("check the path in `servers.a.url`"));
        let html = advice("a", &url, "https://x.example/mcp answered HTTP 200 with text/html");
        assert!(html.starts_with("something else"), "{html}");
        assert!(advice("a", &url, "what answers there speaks no TLS").contains("`http://`"));
        assert!(advice("a", &url, "http://x:4040/401: connection refused").starts_with("start the server"));
        let echo = Server { command: Some("cat".into()), ..Server::default() };
        assert!(advice("a", &echo, &format!("it refused: {NO_ANSWER}")).contains("is no MCP server"));
        let gone = Server { command: Some("no-such-command-7f3a".into()), ..Server::default() };
        assert!(advice("a", &gone, "could not be started").contains("servers.a.command"));
        let slow = Server { command: Some("sh".into()), ..Server::default() };
        assert!(advice("a", &slow, "did not answer within 5 s").contains("--timeout"));
    }
}
