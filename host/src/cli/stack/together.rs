//! Servers, filters and secrets of one file change together or not at all.
//!
//! Servers are started with the process. So what belongs to a server that the file changes has to wait for the
//! next start as well: else the server that runs would get a credential that is meant for its successor, or
//! lose a filter that only its successor does without.

use serde_json::Value;

use crate::config::{Config, FilterEntry, Server};
use crate::filter::glob;

/// The servers that the new file changes although something depends on them that it changes too. `started`
/// is what the servers were started with, `serving` the filters and secrets of now. Servers that are new do not
/// run: nothing can reach them.
pub fn held_by<'a>(started: &'a Config, serving: &Config, now: &Config) -> Vec<&'a str> {
    let filters = changed_filters(&serving.filters, &now.filters);
    let depends = |server: &str| {
        filters.iter().any(|filter| glob::any(&filter.matches.servers, server))
            || secrets_changed(serving, now, server)
    };
    started
        .servers
        .iter()
        .filter(|(_, server)| !server.disabled)
        .filter(|(name, server)| now.servers.get(*name).is_none_or(|now| differ(server, now)))
        .map(|(name, _)| name.as_str())
        .filter(|name| depends(name))
        .collect()
}

/// Whether it is another server, or reached or shared in another way. What people read does not count.
fn differ(one: &Server, other: &Server) -> bool {
    let relevant = |server: &Server| json(&Server { description: None, required: false, ..server.clone() });
    relevant(one) != relevant(other)
}

/// The entries that are in one list only; all of them if only their order differs.
fn changed_filters<'a>(before: &'a [FilterEntry], now: &'a [FilterEntry]) -> Vec<&'a FilterEntry> {
    let (old, new): (Vec<Value>, Vec<Value>) =
        (before.iter().map(json).collect(), now.iter().map(json).collect());
    if old == new {
        return Vec::new();
    }
    let gone = before.iter().zip(&old).filter(|(_, entry)| !new.contains(entry)).map(|(filter, _)| filter);
    let come = now.iter().zip(&new).filter(|(_, entry)| !old.contains(entry)).map(|(filter, _)| filter);
    let changed: Vec<_> = gone.chain(come).collect();
    if changed.is_empty() { now.iter().collect() } else { changed }
}

fn secrets_changed(before: &Config, now: &Config, server: &str) -> bool {
    let of = |config: &Config| -> Vec<(String, String)> {
        let for_it =
            config.secrets.iter().filter(|(_, secret)| secret.servers.iter().any(|name| name == server));
        for_it.map(|(name, secret)| (name.clone(), secret.value.clone())).collect()
    };
    of(before) != of(now)
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Match, Secret};

    fn config(url: &str, secret: &str) -> Config {
        let mut config = Config::default();
        for (name, url) in [("a", url), ("b", "https://b.example")] {
            config.servers.insert(name.into(), Server { url: Some(url.into()), ..Server::default() });
        }
        config.secrets.insert("t".into(), Secret { value: secret.into(), servers: vec!["a".into()] });
        config
    }

    fn filter(plugin: &str, servers: &[&str]) -> FilterEntry {
        let matches =
            Match { servers: servers.iter().map(|s| (*s).to_owned()).collect(), ..Match::default() };
        FilterEntry { plugin: plugin.into(), matches, ..FilterEntry::default() }
    }

    #[test]
    fn a_secret_waits_with_its_server_and_for_no_other() {
        let old = config("https://old.example", "old");
        let mut now = config("https://new.example", "new");
        assert_eq!(held_by(&old, &old, &now), ["a"], "the old server must not get the new credential");
        now.servers.remove("a");
        assert_eq!(held_by(&old, &old, &now), ["a"], "it still runs");
        assert!(held_by(&old, &old, &config("https://old.example", "new")).is_empty(), "a rotation");
        assert!(held_by(&old, &old, &config("https://new.example", "old")).is_empty(), "nothing depends");
        let mut other = config("https://old.example", "new");
        other.servers.get_mut("b").unwrap().url = Some("https://c.example".into());
        other.servers.insert("new".into(), Server::default());
        assert!(held_by(&old, &old, &other).is_empty(), "the secret is not for `b`");
        other.secrets.get_mut("t").unwrap().servers.push("b".into());
        assert_eq!(held_by(&old, &old, &other), ["b"], "now it is");
    }

    #[test]
    fn filters_wait_with_the_servers_that_they_see() {
        let with =
            |url: &str, filters: &[FilterEntry]| Config { filters: filters.to_vec(), ..config(url, "s") };
        let (for_a, for_b, for_all) = (filter("x", &["a"]), filter("x", &["b"]), filter("x", &[]));
        let old = with("https://old.example", &[for_a.clone(), for_b.clone()]);
        let held = |filters: &[FilterEntry]| held_by(&old, &old, &with("https://new.example", filters)).len();
        assert_eq!(held(&[for_a.clone(), for_b.clone()]), 0);
        assert_eq!(held(std::slice::from_ref(&for_b)), 1, "one that is taken out");
        assert_eq!(held(std::slice::from_ref(&for_a)), 0, "one of another server");
        assert_eq!(held(&[for_a.clone(), for_b.clone(), for_all]), 1, "one that comes");
        assert_eq!(held(&[for_b, for_a]), 1, "another order");
    }
}
