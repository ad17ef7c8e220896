//! One resource, many spellings: the normal form of a URI, and what else a server may read in it.
//!
//! Servers normalise: the official TypeScript server makes `new URL(uri)` of what it is asked for, others
//! decode percent escapes or lower the case of hosts. A rule about `file:///secret/*` must therefore hold
//! for `FILE:///open/../secret/key` as well.

use percent_encoding::percent_decode_str;
use url::Url;

/// Schemes whose host names are domain names, and whose user part changes nothing about the resource.
const WEB: [&str; 5] = ["http", "https", "ws", "wss", "ftp"];

/// The normal form of a URI: that of WHATWG (scheme and domain in lower case, no dot segments, no default
/// port, no white space around, no tabs and line ends within) and that of RFC 3986 (hosts of all schemes
/// in lower case, escapes in upper case and none for unreserved characters). The fragment, which no
/// server needs, is left out; so is what says nothing: an empty query, a user of a web address, the host
/// and query of a file. None for what is no URI.
pub(super) fn normal(uri: &str) -> Option<String> {
    normal_with(uri, true)
}

/// Whether a URI that no list holds may be asked for: it is its own normal form, and its escapes hide
/// neither dot segments nor control characters.
pub(super) fn is_plain(uri: &str) -> bool {
    let decoded = decode(uri);
    normal(uri).as_deref() == Some(uri)
        && !decoded.chars().any(char::is_control)
        && !segments(path_of(uri)).any(|segment| is_dots(&segment))
}

/// The other texts that a server may understand by this URI: `access` is asked about each of them. A URI
/// template is treated like the URI that it would be.
pub(super) fn readings(uri: &str) -> Vec<String> {
    let (plain, expressions) = without_expressions(uri);
    // A host in capitals that a server lists itself is the name of a thing, and what rules are written for.
    let normal = normal_with(&plain, false);
    let decoded = decoded(normal.as_deref().unwrap_or(&plain));
    let mut readings = Vec::new();
    for reading in normal.into_iter().chain([decoded]) {
        let reading = with_expressions(reading, &expressions);
        if reading != uri && !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    readings
}

/// Equal for URIs that some server might take for the same resource. Not for showing.
pub(super) fn key(uri: &str) -> String {
    let decoded = decoded(normal(uri).as_deref().unwrap_or(uri));
    decoded.trim_end_matches('/').to_lowercase()
}

fn normal_with(uri: &str, lower_hosts: bool) -> Option<String> {
    let mut text = uri.to_owned();
    // Unescaping may show what is to be removed; each turn makes the text shorter or is the last.
    for _ in 0..4 {
        let next = plain_escapes(&one_pass(&text, lower_hosts)?)?;
        if next == text {
            return Some(next);
        }
        text = next;
    }
    None
}

fn one_pass(text: &str, lower_hosts: bool) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    url.set_fragment(None);
    if url.query() == Some("") {
        url.set_query(None);
    }
    let scheme = url.scheme().to_owned();
    if scheme == "file" {
        url.set_query(None);
        url.set_host(None).ok()?;
        let mut path = url.path().to_owned();
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        url.set_path(&path);
    } else if WEB.contains(&&*scheme) {
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        let host = url.host_str()?.trim_end_matches('.').to_owned();
        url.set_host(Some(&host)).ok()?;
    } else if lower_hosts && let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
        let host = host.to_ascii_lowercase();
        url.set_host(Some(&host)).ok()?;
    }
    Some(url.into())
}

/// With escapes in upper case, and none for unreserved characters. None where a `%` escapes nothing.
fn plain_escapes(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let digits = after.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&digits.to_ascii_uppercase());
        }
        rest = after.get(2..)?;
    }
    out.push_str(rest);
    Some(out)
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Without escapes, and with the path that is left then.
fn decoded(uri: &str) -> String {
    let path = path_of(uri);
    let start = uri.len() - uri.split_once(['?', '#']).map_or(0, |(_, after)| after.len() + 1) - path.len();
    let (before, after) = (uri.get(..start).unwrap_or_default(), uri.get(start + path.len()..));
    let mut kept: Vec<String> = Vec::new();
    let rooted = path.starts_with('/') || path.starts_with('\\');
    let mut all: Vec<String> = segments(path).collect();
    let last = all.pop().unwrap_or_default();
    for segment in all {
        if is_dots(&segment) {
            if segment.starts_with("..") {
                kept.pop();
            }
        } else if !segment.is_empty() || !rooted {
            kept.push(segment);
        }
    }
    if last.starts_with("..") && is_dots(&last) {
        kept.pop();
    }
    kept.push(if is_dots(&last) { String::new() } else { last });
    let root = if rooted { "/" } else { "" };
    format!("{}{root}{}{}", decode(before), kept.join("/"), decode(after.unwrap_or_default()))
}

/// What stands behind the authority, or behind the scheme, up to the query.
fn path_of(uri: &str) -> &str {
    let hierarchical = uri.split(['?', '#']).next().unwrap_or(uri);
    let Some((_, rest)) = hierarchical.split_once(':') else { return hierarchical };
    match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
        None => rest,
    }
}

/// The parts of a path as a server sees them that decodes it, also one that takes `\` for `/`.
fn segments(path: &str) -> impl Iterator<Item = String> {
    decode(path).split(['/', '\\']).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// `.` and `..`, also with the parameters that some servers cut off (`..;x`).
fn is_dots(segment: &str) -> bool {
    matches!(segment.split(';').next(), Some("." | ".."))
}

/// The URI with a word in place of every `{expression}`, and what these were.
fn without_expressions(template: &str) -> (String, Vec<String>) {
    let (mut plain, mut expressions, mut rest) = (String::new(), Vec::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((inside, after)) = after.split_once('}') else { break };
        plain.push_str(before);
        plain.push_str(&word(expressions.len()));
        expressions.push(format!("{{{inside}}}"));
        rest = after;
    }
    plain.push_str(rest);
    (plain, expressions)
}

fn with_expressions(mut text: String, expressions: &[String]) -> String {
    for (at, expression) in expressions.iter().enumerate() {
        text = text.replace(&word(at), expression);
    }
    text
}

/// Passes through every normalisation as it is.
fn word(at: usize) -> String {
    format!("zq{at}expression{at}qz")
}

#[cfg(test)]
mod tests;
