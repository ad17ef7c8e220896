//! What is configured about the place of a server: its URL, and the headers that go there.

use std::collections::BTreeMap;

use http::Uri;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::mask;

/// Checks a URL of one of these schemes; its second form is the one that may be shown.
pub(super) fn parse(url: &str, schemes: &[&str; 2]) -> Result<(Uri, String), String> {
    let shown = mask::url(url);
    let bad = |what: &str| Err(format!("its `url` ({shown}) {what}"));
    let without_fragment = url.split('#').next().unwrap_or_default();
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !scheme.is_some_and(|scheme| schemes.contains(&scheme.as_str())) {
        let [plain, tls] = schemes;
        return bad(&format!("does not begin with {plain}:// or {tls}://"));
    }
    let Ok(uri) = without_fragment.parse::<Uri>() else { return bad("is no URL") };
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            bad("has credentials in it; use a secret and the filter `header-inject`, or `headers`")
        }
        Some(authority) if !authority.host().is_empty() => Ok((uri, shown)),
        _ => bad("names no host"),
    }
}

/// The configured headers.
pub(super) fn headers(configured: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let Some((name, mut value)) = parsed else {
            return Err(format!("its `headers` has an entry that cannot be sent: `{}`", mask::word(name)));
        };
        // Nobody can tell which of them are credentials.
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_used_are_named_without_their_secrets() {
        let (uri, shown) = parse("https://a.example/mcp?key=SECRET#f", &["http", "https"]).unwrap();
        assert_eq!(
            (uri.to_string().as_str(), shown.as_str()),
            ("https://a.example/mcp?key=SECRET", "https://a.example/mcp")
        );
        for (url, what) in [
            ("ftp://a.example/", "does not begin"),
            ("unix:///run/x", "does not begin"),
            ("/mcp", "does not begin"),
            ("http://", "is no URL"),
            ("http://me:SECRET@a.example/mcp", "credentials"),
            ("http://a b/", "is no URL"),
        ] {
            let error = parse(url, &["http", "https"]).unwrap_err();
            assert!(error.contains(what) && !error.contains("SECRET"), "{url}: {error}");
        }
    }

    #[test]
    fn headers_that_cannot_be_sent_are_named_without_their_value() {
        let one = |name: &str, value: &str| headers(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        let good = one("Authorization", "Bearer x").unwrap();
        assert!(good["authorization"].is_sensitive());
        for (name, value) in [("a b", "SECRET"), ("ok", "SECRET\r\nx: y")] {
            let error = one(name, value).unwrap_err();
            assert!(error.contains(name) && !error.contains("SECRET"), "{error}");
        }
    }
}
