//! `lockgate connect`: one remote server for clients that start a program, or for several over HTTP.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use url::{Host, Url};

use super::logging::{self, Format};
use super::service::{Door, Service, parse_address};
use super::{report, single};
use crate::config::expand::{ProcessEnvironment, expand_text};
use crate::config::problem::{nearest, quoted};
use crate::config::{Config, Isolation, Loaded, Proxy, Server, Transport};

/// `lockgate connect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockgate connect https://mcp.example.com/mcp
  lockgate connect https://mcp.example.com/mcp --header 'Authorization: Bearer ${TOKEN}'
  lockgate connect https://mcp.example.com/mcp --listen :8080

In a client's configuration: \"command\": \"lockgate\", \"args\": [\"connect\", \"URL\"]")]
pub struct Arguments {
    /// Where the server is
    #[arg(value_name = "URL", value_parser = parse_url)]
    url: Url,
    /// Serve HTTP clients here, all over one connection to the server, instead of one on stdin
    #[arg(long, short, value_name = "ADDRESS:PORT", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// A header for the server; `${VAR}` in it is replaced. Repeatable
    #[arg(long, short = 'H', value_name = "KEY:VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// How the server is spoken to
    #[arg(long, value_name = "HOW", value_parser = parse_transport, default_value = "auto")]
    transport: Transport,
    /// Speak without encryption to a server on another machine
    #[arg(long)]
    allow_http: bool,
    /// Reach the server through the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name
    #[arg(long)]
    enable_proxy: bool,
    #[command(flatten)]
    common: single::Common,
}

/// Does it.
pub fn run(arguments: Arguments, logging: &logging::Options) -> anyhow::Result<ExitCode> {
    let Arguments { url, listen, header, transport, allow_http, enable_proxy, common } = arguments;
    if !allow_http && matches!(url.scheme(), "http" | "ws") && !is_loopback(&url) {
        let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
        report::usage(&format!(
            "`{scheme}://{host}` is not encrypted: everybody on the way can read and change what is said\n  \
             write `{scheme}s://`, or add `--allow-http` if the way there is safe"
        ));
        return Ok(ExitCode::from(2));
    }
    if let Some(wrong) = contradiction(&url, transport, enable_proxy) {
        report::usage(wrong);
        return Ok(ExitCode::from(2));
    }
    let name = single::name_of(url.host_str().unwrap_or_default());
    let server = Server {
        url: Some(url.into()),
        headers: header.into_iter().collect(),
        transport,
        proxy: if enable_proxy { Proxy::Environment } else { Proxy::None },
        in_flags: true,
        isolation: if listen.is_some() { Isolation::Shared } else { Isolation::Session },
        ..Server::default()
    };
    let mut config = Config { listen, servers: [(name.clone(), server)].into(), ..Config::default() };
    common.apply(&mut config);
    let loaded = Loaded::from_config(config, single::ORIGIN)?;
    let door = if listen.is_some() { Door::Bare(name) } else { Door::Stdio(name) };
    let built_in = common.filters(listen.is_none());
    let json = logging.log_format == Format::Json;
    Service { loaded, door, built_in, json, ignored: common.ignored() }.run()
}

/// Flags that do not go together.
fn contradiction(url: &Url, transport: Transport, enable_proxy: bool) -> Option<&'static str> {
    let socket = matches!(url.scheme(), "ws" | "wss");
    match transport {
        _ if socket && enable_proxy => {
            Some("a WebSocket is not reached through a proxy\n  remove `--enable-proxy`")
        }
        Transport::Websocket if !socket => {
            Some("`--transport websocket` needs a URL with ws:// or wss://\n  remove `--transport`")
        }
        Transport::Auto | Transport::Websocket => None,
        _ if socket => {
            Some("a URL with ws:// or wss:// is reached over a WebSocket only\n  remove `--transport`")
        }
        _ => None,
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    const EXAMPLE: &str = "write it like https://mcp.example.com/mcp";
    let url = Url::parse(text).map_err(|reason| format!("it is malformed ({reason}); {EXAMPLE}"))?;
    if !["http", "https", "ws", "wss"].contains(&url.scheme()) {
        return Err(format!("`{}` is not spoken; {EXAMPLE}", url.scheme()));
    }
    if url.fragment().is_some() {
        return Err("it has a fragment (`#…`), which is never sent; remove that".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds credentials, and URLs are written to logs; send them with --header".to_owned());
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// `KEY:VALUE` with variables replaced. What they stand for is never shown.
fn parse_header(text: &str) -> Result<(String, String), String> {
    const EXAMPLE: &str = "write it like `Authorization: Bearer ${TOKEN}`, in quotes";
    let Some((name, value)) = text.split_once(':') else {
        return Err(format!("there is no `:` between a name and a value; {EXAMPLE}"));
    };
    let (name, value) = (name.trim(), value.trim());
    // What stands there may be the credential itself.
    http::HeaderName::try_from(name)
        .map_err(|_| format!("what stands before the `:` is not the name of a header; {EXAMPLE}"))?;
    if value.is_empty() {
        return Err(format!("`{name}` has no value; {EXAMPLE}"));
    }
    let value = expand_text(value, name, &ProcessEnvironment)
        .map_err(|problem| [vec![problem.message], problem.help].concat().join("; "))?;
    http::HeaderValue::try_from(&value)
        .map_err(|_| format!("the value of `{name}` cannot be sent: it is not one line of text"))?;
    Ok((name.to_owned(), value))
}

/// The ways to speak to a `url` that the configuration knows.
fn parse_transport(text: &str) -> Result<Transport, String> {
    const KNOWN: [&str; 6] = ["auto", "http-first", "sse-first", "http-only", "sse-only", "websocket"];
    let read = |word: &str| serde_json::from_value::<Transport>(word.into());
    let known: Vec<&str> = KNOWN.into_iter().filter(|word| read(word).is_ok()).collect();
    match read(text) {
        Ok(transport) if known.contains(&text) => Ok(transport),
        _ => {
            let tip = nearest(text, known.iter().copied());
            let tip = tip.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            Err(format!("{tip}allowed: {}", quoted(known)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_of_a_server_is_called_so() {
        for good in ["https://a.example/mcp", "http://127.0.0.1:1", "wss://a.example/x?y"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for (bad, part) in [
            ("nonsense", "malformed"),
            ("./file", "malformed"),
            ("https://", "malformed"),
            ("ftp://a.example", "`ftp` is not spoken"),
            ("localhost:8080", "`localhost` is not spoken"),
            ("https://me:secret@a.example", "credentials"),
        ] {
            let error = parse_url(bad).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{bad}: {error}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for (url, loopback) in [
            ("http://localhost:1/", true),
            ("http://LOCALHOST./", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://0.0.0.0/", false),
            ("http://localhost.evil.test/", false),
            ("http://127.0.0.1.evil.test/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }

    #[test]
    fn headers_are_a_name_and_a_value() {
        assert_eq!(parse_header("X-A: b:c "), Ok(("X-A".into(), "b:c".into())));
        assert_eq!(parse_header("X-A:$$5"), Ok(("X-A".into(), "$5".into())));
        let path = std::env::var("PATH").unwrap();
        assert_eq!(parse_header("X-A:<${PATH}>"), Ok(("X-A".into(), format!("<{path}>"))));
        for (bad, part) in [
            ("Authorization", "write it like"),
            ("no name: x", "is not the name of a header"),
            (": x", "is not the name of a header"),
            ("X-A:", "has no value"),
            ("X-A: ${LOCKGATE_TEST_UNSET}", "`LOCKGATE_TEST_UNSET` is not set"),
            ("X-A: a\nb", "one line"),
        ] {
            assert!(parse_header(bad).unwrap_err().contains(part), "{bad}");
        }
    }

    #[test]
    fn ways_that_are_none_are_named_with_the_nearest() {
        assert_eq!(parse_transport("http-only"), Ok(Transport::HttpOnly));
        for bad in ["stdio", "http-onyl", ""] {
            assert!(parse_transport(bad).unwrap_err().contains("allowed: `auto`"), "{bad}");
        }
        assert!(parse_transport("http-onyl").unwrap_err().contains("did you mean `http-only`?"));
    }
}
