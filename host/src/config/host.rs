//! `Host` and `Origin`: one grammar for what is configured and for what clients send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The value of an `Origin` header, in one normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether its scheme is `https`; `http` otherwise.
    pub https: bool,
    /// Always with a port.
    pub host: Host,
}

impl Origin {
    /// Reads one. `null` is none: every page can have it.
    pub fn parse(text: &str) -> Option<Origin> {
        let (scheme, rest) = text.split_once("://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let mut host = Host::parse(rest)?;
        host.port = host.port.or(Some(if https { 443 } else { 80 }));
        Some(Origin { https, host })
    }
}

/// The value of a `Host` header, `host[:port]`, in one normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name or the address.
    pub name: Name,
    /// The port, if one is given.
    pub port: Option<u16>,
}

/// What a host is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// An address; IPv4 in IPv6 is IPv4.
    Address(IpAddr),
    /// A name, in small letters and without a final dot.
    Text(String),
}

impl Host {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Host> {
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
        Some(Host { name: host, port })
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

/// Why an entry of `allowed_hosts` could match nothing that a client sends, and what to write.
pub fn wrong_host(entry: &str) -> Option<&'static str> {
    if Host::parse(entry).is_some() {
        return None;
    }
    Some(if entry.contains('*') {
        "there are no wildcards: list every host, such as `a.example.com`"
    } else if entry.contains("://") || entry.contains('/') {
        "a host has no scheme and no path: `lockgate.example.com`, with `:port` if only that one is meant"
    } else if !entry.is_ascii() {
        "write it as clients send it: `xn--…` for a name with other letters than a to z"
    } else if entry.parse::<Ipv6Addr>().is_ok() {
        "an IPv6 address stands in brackets: `[2001:db8::1]`"
    } else {
        "write it like `lockgate.example.com`, `lockgate.example.com:8443` or `10.0.0.9`"
    })
}

/// The same for an entry of `allowed_origins`.
pub fn wrong_origin(entry: &str) -> Option<&'static str> {
    if Origin::parse(entry).is_some() {
        return None;
    }
    Some(if entry == "null" {
        "`null` is sent for pages of no origin, which any site can make (files, sandboxed frames), and is never let in; \
         serve the page from an origin of its own"
    } else if entry.contains('*') {
        "there are no wildcards: list every origin, such as `https://app.example.com`"
    } else if entry.strip_suffix('/').is_some_and(|rest| Origin::parse(rest).is_some()) {
        "write it without the `/` at its end: browsers send none"
    } else {
        "an origin is http:// or https:// and a host, with a port if it has one: `https://app.example.com`"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_no_client_can_send_are_told_why() {
        for good in ["a.example", "A.example.:8443", "10.0.0.9", "[::1]:80", "localhost", "a_b-c.example"] {
            assert_eq!(wrong_host(good), None, "{good}");
        }
        for (bad, why) in [
            ("*.example.com", "wildcards"),
            ("*", "wildcards"),
            ("https://a.example", "no scheme"),
            ("a.example/", "no path"),
            ("::1", "brackets"),
            ("bücher.example", "xn--"),
            ("a.example:99999", "write it like"),
            ("a example", "write it like"),
            ("", "write it like"),
        ] {
            assert!(wrong_host(bad).is_some_and(|said| said.contains(why)), "{bad}");
        }
        for good in ["https://a.example", "http://a.example:3000", "HTTPS://A.example", "http://[::1]:5"] {
            assert_eq!(wrong_origin(good), None, "{good}");
        }
        for (bad, why) in [
            ("null", "never let in"),
            ("*", "wildcards"),
            ("https://*.example.com", "wildcards"),
            ("https://a.example/", "without the `/`"),
            ("a.example", "an origin is"),
            ("vscode-webview://abc", "an origin is"),
            ("https://a.example/x", "an origin is"),
            ("", "an origin is"),
        ] {
            assert!(wrong_origin(bad).is_some_and(|said| said.contains(why)), "{bad}");
        }
    }
}
