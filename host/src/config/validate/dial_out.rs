//! Endpoints that are dialled: where to, what for, and how often.

use std::collections::BTreeSet;

use super::{Check, among};
use crate::config::DialOut;
use crate::config::locate::KeyPath;
use crate::config::mask;

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    let mut names = BTreeSet::new();
    for (i, entry) in config.dial_out.iter().enumerate() {
        let path = KeyPath::of(["dial_out"]).index(i);
        let shown = format!("endpoint `{}`", entry.name);
        if entry.name.is_empty() {
            check.error(&path, "an endpoint has no `name`", "give it one: it stands in the log");
        } else if entry.name.chars().any(|c| c.is_control() || c == '/') {
            check.error(&path.key("name"), format!("{shown}: the name cannot be used"), "no `/` in it");
        } else if !names.insert(entry.name.as_str()) {
            check.error(&path.key("name"), format!("{shown} is listed twice"), "give each its own name");
        }
        url(check, &path, &shown, &entry.url);
        servers(check, &path, &shown, entry);
        headers(check, &path, &shown, entry);
        waits(check, &path, &shown, entry);
        if entry.principal.as_ref().is_some_and(|principal| principal.id.is_empty()) {
            check.error(
                &path.key("principal"),
                format!("{shown}: the principal has no `id`"),
                "give it one, or remove `principal`",
            );
        }
    }
}

fn url(check: &mut Check<'_>, path: &KeyPath, shown: &str, url: &str) {
    let at = if url.is_empty() { path.clone() } else { path.key("url") };
    let example = "write it like `wss://agent.example.com/mcp`";
    // The value is not shown: a variable may have put a secret into it.
    let wrong = match url::Url::parse(url) {
        _ if url.is_empty() => "has no `url`".to_owned(),
        Err(reason) => format!("`url` is malformed: {reason}"),
        Ok(url) if !["ws", "wss"].contains(&url.scheme()) => {
            format!("`url` has the scheme `{}`; only ws and wss are dialled", url.scheme())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "`url` holds credentials before the host; send them in `headers`".to_owned()
        }
        Ok(url) if url.fragment().is_some() => "`url` has a fragment (`#…`), which is never sent".to_owned(),
        Ok(_) => return,
    };
    check.error(&at, format!("{shown}: {wrong}"), example);
}

fn servers(check: &mut Check<'_>, path: &KeyPath, shown: &str, entry: &DialOut) {
    let config = check.config;
    let mut listed = BTreeSet::new();
    for (i, name) in entry.servers.iter().enumerate() {
        let at = path.key("servers").index(i);
        if !config.servers.contains_key(name) {
            let help = among("configured servers", name, config.servers.keys());
            check.error(&at, format!("{shown}: there is no server `{name}`"), help);
        } else if !listed.insert(name) {
            check.error(&at, format!("{shown}: server `{name}` is listed twice"), "remove one");
        }
    }
    if entry.place(config).is_none() && listed.len() == entry.servers.len() {
        check.warn(
            &path.key("servers"),
            format!("{shown} is not dialled: all of its servers are disabled"),
            "enable one, or remove the endpoint",
        );
    }
}

fn headers(check: &mut Check<'_>, path: &KeyPath, shown: &str, entry: &DialOut) {
    for (name, value) in &entry.headers {
        let at = path.key("headers").key(name);
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::try_from(name.as_str()).is_err() {
            check.error(
                &at,
                format!("{shown}: `{}` is not a header name", mask::word(name)),
                "letters, digits and `-` only",
            );
        } else if http::HeaderValue::try_from(value.as_str()).is_err() {
            check.error(
                &at,
                format!("{shown}: the value of header `{name}` cannot be sent"),
                "a value is one line of text",
            );
        } else if ["host", "connection", "upgrade", "content-length"].contains(&lower.as_str())
            || lower.starts_with("sec-websocket-")
        {
            check.error(&at, format!("{shown}: the header `{name}` is set by Lockgate itself"), "remove it");
        }
    }
}

fn waits(check: &mut Check<'_>, path: &KeyPath, shown: &str, entry: &DialOut) {
    let (waits, path) = (&entry.reconnect, path.key("reconnect"));
    if waits.initial_backoff.0 > waits.max_backoff.0 {
        check.error(
            &path.key("initial_backoff"),
            format!("{shown}: `initial_backoff` is longer than `max_backoff` ({})", waits.max_backoff),
            "the wait begins with the one and grows up to the other",
        );
    }
    if !(1.0..=100.0).contains(&waits.multiplier) {
        check.error(
            &path.key("multiplier"),
            format!("{shown}: `multiplier` is {}", waits.multiplier),
            "1 to 100; 2 doubles the wait after every failure",
        );
    }
    if !(0.0..=1.0).contains(&waits.jitter) {
        check.error(
            &path.key("jitter"),
            format!("{shown}: `jitter` is {}", waits.jitter),
            "0 to 1: the part of every wait that is random",
        );
    }
}
