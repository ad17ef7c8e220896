//! Which `Host`, `Origin` and `Sec-Fetch-Site` may talk to the listener: the guard against DNS rebinding
//! and against web pages that reach for services on the user's machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::config;

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
        let known = host.and_then(Place::parse).is_some_and(|host| is_own(&host, local, allowed));
        if !known {
            return Err(
                "this Host is not served here; the operator can add it to `http.allowed_hosts`".into()
            );
        }
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => without_origin(headers),
        (Some(origin), None) if origin.to_str().is_ok_and(|o| origin_allowed(o, local, allowed)) => Ok(()),
        _ => Err("this Origin is not allowed here; the operator can add it to `http.allowed_origins`".into()),
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

/// The `Origin` of a web page that may read the answer: one that the operator listed, or, where
/// `http.allow_loopback_origins` says so, one of this machine. None for what is no page. The request has
/// passed [`check`].
pub fn reader(headers: &HeaderMap, allowed: &config::Http) -> Option<HeaderValue> {
    let value = headers.get(ORIGIN)?;
    let origin = Origin::parse(value.to_str().ok()?)?;
    let loopback = match &origin.place.name {
        Name::Address(ip) => ip.is_loopback(),
        Name::Text(name) => name == "localhost",
    };
    let listed = allowed.allowed_origins.iter().filter_map(|entry| Origin::parse(entry));
    let may = (loopback && allowed.allow_loopback_origins) || listed.into_iter().any(|entry| entry == origin);
    may.then(|| value.clone())
}

fn is_own(host: &Place, local: IpAddr, allowed: &config::Http) -> bool {
    let builtin = match &host.name {
        Name::Address(ip) => ip.is_loopback() || *ip == local.to_canonical(),
        Name::Text(name) => name == "localhost",
    };
    builtin
        || allowed
            .allowed_hosts
            .iter()
            .filter_map(|entry| Place::parse(entry))
            .any(|entry| entry.name == host.name && (entry.port.is_none() || entry.port == host.port))
}

fn origin_allowed(origin: &str, local: IpAddr, allowed: &config::Http) -> bool {
    let Some(origin) = Origin::parse(origin) else {
        return false;
    };
    is_own(&origin.place, local, allowed)
        || allowed
            .allowed_origins
            .iter()
            .filter_map(|entry| Origin::parse(entry))
            .any(|entry| entry == origin)
}

#[derive(PartialEq, Eq)]
struct Origin {
    https: bool,
    place: Place,
}

impl Origin {
    fn parse(text: &str) -> Option<Origin> {
        let (scheme, rest) = text.split_once("://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let mut place = Place::parse(rest)?;
        place.port = place.port.or(Some(if https { 443 } else { 80 }));
        Some(Origin { https, place })
    }
}

/// `host[:port]` in one normal form.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    name: Name,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    Address(IpAddr),
    Text(String),
}

impl Place {
    fn parse(text: &str) -> Option<Place> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                (Name::Address(IpAddr::V6(address).to_canonical()), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Name::parse(name)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            _ => return None,
        };
        Some(Place { name: host, port })
    }
}

impl Name {
    fn parse(text: &str) -> Option<Name> {
        // The final dot of a fully qualified name changes nothing.
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Name::Address(IpAddr::V4(address)));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fits = !text.is_empty() && !text.ends_with('.') && text.bytes().all(plain);
        fits.then(|| Name::Text(text.to_ascii_lowercase()))
    }
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
