//! CORS: what a browser has to be told before a web page may talk to a server and read its answers.
//! Which pages may is decided in `guard.rs`.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::entrance::Door;
use super::{Reply, reply};

/// The headers of the protocol, and those that its clients set.
const ASKED: &str = "content-type, accept, authorization, mcp-session-id, mcp-protocol-version, last-event-id, mcp-method, mcp-name";
/// What a page may read of an answer.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("mcp-session-id, mcp-protocol-version, www-authenticate, retry-after");
/// How long a browser need not ask again. A page that is let in no longer is refused by its `Origin` at
/// once, whatever its browser remembers.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// A page from the network may reach a listener on the user's machine, if the browser asks.
const PRIVATE_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Whether a browser asks in advance.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What it is told: this page may send these methods and headers here. Which headers a page needs to prove
/// who it is depends on the filters, so those that are asked for are allowed as well: whoever let the
/// page in trusts it with them.
pub fn preflight(door: Door, asked: &HeaderMap) -> Result<Reply, Box<Reply>> {
    let method = asked.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| value.to_str().ok());
    if !door.methods().split(", ").any(|known| method == Some(known)) {
        return Err(reply::wrong_method(door.methods()).into());
    }
    let mut told = reply::empty(StatusCode::NO_CONTENT);
    let headers = told.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(door.methods()));
    let mut allowed = ASKED.to_owned();
    let named = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    for name in
        named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok())
    {
        if !ASKED.split(", ").any(|known| known == name.as_str()) {
            allowed.push_str(", ");
            allowed.push_str(name.as_str());
        }
    }
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static(ASKED)),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if asked.contains_key(PRIVATE_ASKED) {
        headers.insert(PRIVATE, HeaderValue::from_static("true"));
    }
    Ok(told)
}

/// Lets the page of this origin read an answer.
pub fn expose(reply: &mut Reply, origin: HeaderValue) {
    let headers = reply.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
