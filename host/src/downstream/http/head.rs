//! What the head of a POST or GET must say about its content and about the answer it takes.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, TRANSFER_ENCODING, USER_AGENT};

/// The kinds of answer a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// `application/json`.
    pub json: bool,
    /// `text/event-stream`.
    pub events: bool,
}

/// Whether the body is plain JSON in UTF-8. Anything a web page can send without asking first
/// (`text/plain`, forms, no type at all) is refused here. The error is for the client.
pub fn check_content(headers: &HeaderMap) -> Result<(), &'static str> {
    const TYPE: &str = "the body must be `Content-Type: application/json`, in UTF-8";
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(content_type), None) = (types.next(), types.next()) else {
        return Err(TYPE);
    };
    if !content_type.to_str().is_ok_and(is_utf8_json) {
        return Err(TYPE);
    }
    let identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        Ok(())
    } else {
        Err("the body must not be compressed (Content-Encoding)")
    }
}

/// Whether the body is framed in a way that everybody on the way reads the same: by its length, or by the
/// one transfer coding `chunked`. The library reads any list of codings that ends with it, and
/// undoes the last one only. The error is for the client.
pub fn check_framing(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err("`Transfer-Encoding` must be `chunked` and nothing else"),
    }
}

/// Whether the client asks for an event stream by its name. A wildcard is what browsers send for
/// everything that a page embeds, and says nothing of what is wanted. From other programs it counts: some
/// clients (supergateway 4) lose the header on the way, and no page can change what a browser calls itself.
pub fn asks_for_events(headers: &HeaderMap) -> bool {
    ranges(headers).any(|range| range == "text/event-stream")
        || (!is_browser(headers) && ranges(headers).all(|range| matches!(&*range, "*/*" | "text/*")))
}

/// Every browser calls itself `Mozilla/5.0`, and few programs do.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.get_all(USER_AGENT).iter().any(|value| value.as_bytes().starts_with(b"Mozilla/"))
}

/// What the client takes, or none if it takes neither JSON nor events. Lenient: clients that list
/// only one of them, or none, are common.
pub fn accepts(headers: &HeaderMap) -> Option<Accepts> {
    if !headers.contains_key(ACCEPT) {
        return Some(Accepts { json: true, events: true });
    }
    let mut accepts = Accepts { json: false, events: false };
    for range in ranges(headers) {
        accepts.json |= matches!(&*range, "application/json" | "application/*" | "*/*" | "*");
        accepts.events |= matches!(&*range, "text/event-stream" | "text/*" | "*/*" | "*");
    }
    (accepts.json || accepts.events).then_some(accepts)
}

/// The media ranges of `Accept` that are wanted, in lower case.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let listed = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default().to_ascii_lowercase();
        let unwanted = |parameter: &str| {
            let weight = parameter.strip_prefix("q=").or(parameter.strip_prefix("Q="));
            weight.and_then(|weight| weight.trim().parse().ok()).is_some_and(|weight: f32| weight <= 0.0)
        };
        (!parts.any(unwanted)).then_some(range)
    })
}

fn is_utf8_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';');
    if !parts.next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        return false;
    }
    let mut charsets = 0;
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else {
            // `application/json;` is what some clients write; anything else is no parameter.
            if parameter.trim().is_empty() {
                continue;
            }
            return false;
        };
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        if name.trim().eq_ignore_ascii_case("charset") {
            charsets += 1;
            if !value.eq_ignore_ascii_case("utf-8") && !value.eq_ignore_ascii_case("utf8") {
                return false;
            }
        }
    }
    charsets <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_taken() {
        let taken = [
            "application/json",
            "Application/JSON",
            " application/json ",
            "application/json;",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/json; charset=\"utf-8\"",
            "application/json; charset=utf8",
            "application/json; profile=x; charset=utf-8",
        ];
        for value in taken {
            assert!(is_utf8_json(value), "{value}");
        }
        let refused = [
            "",
            "text/plain",
            "text/plain;charset=utf-8",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "application/json-rpc",
            "application/problem+json",
            "application/json5",
            "application/ndjson",
            "application/javascript",
            "*/*",
            "application/*",
            "json",
            "application",
            "application/json, text/plain",
            "text/plain, application/json",
            "text/plain; application/json",
            "application/json; charset=utf-16",
            "application/json; charset=utf-7",
            "application/json; charset=iso-8859-1",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; charset=utf-8; charset=utf-8",
            "application/json; charset=",
            "application/json; charset",
            "application/json; charset=\"utf-8",
            "application/json charset=utf-8",
            "application /json",
        ];
        for value in refused {
            assert!(!is_utf8_json(value), "{value}");
        }
    }

    #[test]
    fn two_content_types_and_compressed_bodies_are_refused() {
        let mut headers = HeaderMap::new();
        assert!(check_content(&headers).is_err(), "no type");
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        assert!(check_content(&headers).is_ok());
        headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static("Identity"));
        assert!(check_content(&headers).is_ok());
        for coding in ["gzip", "br", "zstd", "deflate", "identity, gzip", "aes128gcm", ""] {
            headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static(coding));
            assert!(check_content(&headers).is_err(), "{coding}");
        }
        headers.remove(CONTENT_ENCODING);
        headers.append(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        assert!(check_content(&headers).is_err(), "two types");
    }

    #[test]
    fn accept_is_read_leniently() {
        for (value, json, events) in [
            ("application/json, text/event-stream", true, true),
            ("APPLICATION/JSON", true, false),
            ("text/event-stream;q=0.5", false, true),
            ("*/*", true, true),
            ("text/html, application/*;q=0.8", true, false),
            ("text/event-stream, application/json;q=0", false, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, http::HeaderValue::from_static(value));
            assert_eq!(accepts(&headers), Some(Accepts { json, events }), "{value}");
        }
        for value in ["text/html", "application/xml, image/*", "application/json;q=0", ""] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, http::HeaderValue::from_static(value));
            assert_eq!(accepts(&headers), None, "{value}");
        }
        assert_eq!(accepts(&HeaderMap::new()), Some(Accepts { json: true, events: true }));
    }
}
