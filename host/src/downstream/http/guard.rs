//! Which `Host`, `Origin` and `Sec-Fetch-Site` may talk to the listener: the guard against DNS rebinding
//! and against web pages that reach for services on the user's machine.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::config;
use crate::config::host::{Host, Name, Origin};

/// What a browser says of the page that a request comes from; a page cannot change it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Checks `Host` (and an absolute request target), `Origin` and, where there is no `Origin`,
/// `Sec-Fetch-Site`. `local` is the address that the connection was accepted on: a literal address cannot
/// be rebound, a name can. The error is for the client.
pub fn check(headers: &HeaderMap, uri: &Uri, local: IpAddr, allowed: &config::Http) -> Result<(), String> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err("exactly one Host header is needed".to_owned());
    };
    let authority = uri.authority().map(http::uri::Authority::as_str);
    for host in [host.to_str().ok(), authority.or(host.to_str().ok())] {
        let known = host.and_then(Host::parse).is_some_and(|host| is_own(&host, local, allowed));
        if !known {
            let remedy = if allowed.in_flags {
                "start Lockgate with `--allowed-host` and that name"
            } else {
                "the operator can add it to `http.allowed_hosts`"
            };
            return Err(format!("this Host is not served here; {remedy}"));
        }
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => without_origin(headers),
        (Some(origin), None) if origin.to_str().is_ok_and(|o| origin_allowed(o, local, allowed)) => Ok(()),
        _ => {
            let remedy = if allowed.in_flags {
                "start Lockgate with `--allowed-origin` and that origin"
            } else {
                "the operator can add it to `http.allowed_origins`"
            };
            Err(format!("this Origin is not allowed here; {remedy}"))
        }
    }
}

/// A browser sends no `Origin` with what a page only embeds or links to (`<img src=…>`). It says then
/// where the page is from: nothing but a user's own doing, or a page of this very address, may pass.
/// Programs that are no browsers send neither.
fn without_origin(headers: &HeaderMap) -> Result<(), String> {
    let own = |site: &HeaderValue| matches!(site.as_bytes(), b"none" | b"same-origin");
    let mut sites = headers.get_all(FETCH_SITE).iter();
    match (sites.next(), sites.next()) {
        (None, _) => Ok(()),
        (Some(site), None) if own(site) => Ok(()),
        _ => Err("a web page of another site may not reach this without an `Origin` (Sec-Fetch-Site)".into()),
    }
}

/// What a page is told that may not read answers, and so may not even ask.
pub fn no_reader(allowed: &config::Http) -> &'static str {
    if allowed.in_flags {
        "web pages of this Origin may not read answers; start Lockgate with `--allowed-origin` and that origin, or with \
         `--allow-loopback-origins`"
    } else {
        "web pages of this Origin may not read answers; the operator can add it to `http.allowed_origins`, or set \
         `http.allow_loopback_origins`"
    }
}

/// The `Origin` of a web page that may read the answer: one that the operator listed, or, where
/// `http.allow_loopback_origins` says so, one of this machine. None for what is no page. The request has
/// passed [`check`].
pub fn reader(headers: &HeaderMap, allowed: &config::Http) -> Option<HeaderValue> {
    let value = headers.get(ORIGIN)?;
    let origin = Origin::parse(value.to_str().ok()?)?;
    let loopback = match &origin.host.name {
        Name::Address(ip) => ip.is_loopback(),
        Name::Text(name) => name == "localhost",
    };
    let listed = allowed.allowed_origins.iter().filter_map(|entry| Origin::parse(entry));
    let may = (loopback && allowed.allow_loopback_origins) || listed.into_iter().any(|entry| entry == origin);
    may.then(|| value.clone())
}

fn is_own(host: &Host, local: IpAddr, allowed: &config::Http) -> bool {
    let builtin = match &host.name {
        Name::Address(ip) => ip.is_loopback() || *ip == local.to_canonical(),
        Name::Text(name) => name == "localhost",
    };
    builtin
        || allowed
            .allowed_hosts
            .iter()
            .filter_map(|entry| Host::parse(entry))
            .any(|entry| entry.name == host.name && (entry.port.is_none() || entry.port == host.port))
}

fn origin_allowed(origin: &str, local: IpAddr, allowed: &config::Http) -> bool {
    let Some(origin) = Origin::parse(origin) else {
        return false;
    };
    is_own(&origin.host, local, allowed)
        || allowed
            .allowed_origins
            .iter()
            .filter_map(|entry| Origin::parse(entry))
            .any(|entry| entry == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> config::Http {
        config::Http {
            allowed_hosts: vec![
                "mcp.example.com".into(),
                "ported.example.com:8443".into(),
                "10.0.0.9".into(),
            ],
            allowed_origins: vec!["https://app.example.com".into(), "http://dev.example.com:3000".into()],
            ..config::Http::default()
        }
    }

    fn verdict(hosts: &[&str], origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().expect("a header value"));
        }
        for origin in origins {
            headers.append(ORIGIN, origin.parse().expect("a header value"));
        }
        check(&headers, &Uri::from_static("/a/mcp"), IpAddr::from([192, 168, 1, 5]), &allowed()).is_ok()
    }

    #[test]
    fn hosts_that_are_this_listener_pass_in_every_spelling() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "localhost:8080",
            "localhost.:1",
            "127.0.0.1",
            "127.0.0.1:9",
            "127.9.9.9",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:80",
            "192.168.1.5",
            "192.168.1.5:8080",
            "mcp.example.com",
            "MCP.Example.com.",
            "mcp.example.com:99",
            "ported.example.com:8443",
            "10.0.0.9",
        ] {
            assert!(verdict(&[host], &[]), "{host}");
        }
    }

    #[test]
    fn other_hosts_are_refused_in_every_spelling() {
        for host in [
            "evil.test",
            "localhost.evil.test",
            "evil.localhost.test",
            "127.0.0.1.evil.test",
            "localhost..",
            ".",
            "",
            "192.168.1.6",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "[::2]",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::1]:x",
            "localhost:x",
            "localhost:-1",
            "localhost:99999",
            "user@localhost",
            "localhost/",
            "loc alhost",
            "ported.example.com",
            "ported.example.com:80",
            "example.com",
            "x.mcp.example.com",
            "localhost:80:80",
            "localhost,evil.test",
            "ⓛocalhost",
        ] {
            assert!(!verdict(&[host], &[]), "{host}");
        }
        assert!(!verdict(&[], &[]), "no host at all");
        assert!(!verdict(&["localhost", "localhost"], &[]), "two hosts");
    }

    #[test]
    fn origins_are_those_of_accepted_hosts_or_listed() {
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "HTTP://LocalHost:3000",
            "https://127.0.0.1:1",
            "http://[::1]:5",
            "https://app.example.com",
            "https://app.example.com:443",
            "https://APP.example.com.",
            "http://dev.example.com:3000",
            "https://mcp.example.com",
        ] {
            assert!(verdict(&["localhost"], &[origin]), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://evil.test",
            "http://app.example.com",
            "https://app.example.com:444",
            "http://dev.example.com",
            "file://localhost",
            "chrome-extension://abc",
            "http://localhost@evil.test",
            "http://localhost/",
            "localhost",
            "http://localhost.evil.test",
            "https://*.example.com",
        ] {
            assert!(!verdict(&["localhost"], &[origin]), "{origin}");
        }
        assert!(!verdict(&["localhost"], &["http://localhost", "http://evil.test"]), "two origins");
    }

    #[test]
    fn an_absolute_request_target_is_judged_as_well() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost".parse().expect("a header value"));
        let local = IpAddr::from([127, 0, 0, 1]);
        let verdict = |uri| check(&headers, &Uri::from_static(uri), local, &config::Http::default()).is_ok();
        assert!(verdict("http://localhost:1/a/mcp"));
        assert!(!verdict("http://evil.test/a/mcp"));
    }
}
