//! Which changes of a server somebody wants to be told of: the `notifications` of a
//! `subscriptions/listen` (2026-07-28, subscriptions).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::jsonrpc::{self, Message};

/// Kinds of changes, and resources and tasks by name. Kinds that are not known here are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wanted {
    /// The list of tools.
    #[serde(rename = "toolsListChanged", skip_serializing_if = "is_false")]
    pub tools: bool,
    /// The list of prompts.
    #[serde(rename = "promptsListChanged", skip_serializing_if = "is_false")]
    pub prompts: bool,
    /// The lists of resources and of their templates.
    #[serde(rename = "resourcesListChanged", skip_serializing_if = "is_false")]
    pub resources: bool,
    /// Resources by URI.
    #[serde(rename = "resourceSubscriptions", skip_serializing_if = "BTreeSet::is_empty")]
    pub uris: BTreeSet<String>,
    /// Tasks by id (the extension `io.modelcontextprotocol/tasks`).
    #[serde(rename = "taskIds", skip_serializing_if = "BTreeSet::is_empty")]
    pub tasks: BTreeSet<String>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Wanted {
    /// Reads it from raw JSON; what is no object is nothing.
    pub fn parse(raw: &[u8]) -> Wanted {
        serde_json::from_slice(raw).unwrap_or_default()
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// Nothing.
    pub fn is_empty(&self) -> bool {
        *self == Wanted::default()
    }

    /// What a server offers of this by what it said of itself (an `InitializeResult` or `DiscoverResult`).
    /// Tasks are no matter of capabilities there.
    pub fn offered(self, said: &[u8]) -> Wanted {
        let offers = |at: &str| jsonrpc::get(said, at) == Some(b"true");
        Wanted {
            tools: self.tools && offers("/capabilities/tools/listChanged"),
            prompts: self.prompts && offers("/capabilities/prompts/listChanged"),
            resources: self.resources && offers("/capabilities/resources/listChanged"),
            uris: if offers("/capabilities/resources/subscribe") { self.uris } else { BTreeSet::new() },
            tasks: self.tasks,
        }
    }

    /// The changes of all lists.
    pub fn lists() -> Wanted {
        Wanted { tools: true, prompts: true, resources: true, ..Wanted::default() }
    }

    /// What either wants.
    pub fn or(mut self, other: &Wanted) -> Wanted {
        self.tools |= other.tools;
        self.prompts |= other.prompts;
        self.resources |= other.resources;
        self.uris.extend(other.uris.iter().cloned());
        self.tasks.extend(other.tasks.iter().cloned());
        self
    }

    /// What both want.
    pub fn both(&self, other: &Wanted) -> Wanted {
        Wanted {
            tools: self.tools && other.tools,
            prompts: self.prompts && other.prompts,
            resources: self.resources && other.resources,
            uris: self.uris.intersection(&other.uris).cloned().collect(),
            tasks: self.tasks.intersection(&other.tasks).cloned().collect(),
        }
    }

    /// Whether `other` wants all of this.
    pub fn within(&self, other: &Wanted) -> bool {
        self.both(other) == *self
    }

    /// Whether this is news that was wanted. A server may also tell of what lies below a resource
    /// (2026-07-28, subscriptions).
    pub fn hears(&self, notification: &Message) -> bool {
        match notification.method().unwrap_or_default() {
            "notifications/tools/list_changed" => self.tools,
            "notifications/prompts/list_changed" => self.prompts,
            "notifications/resources/list_changed" => self.resources,
            "notifications/resources/updated" => {
                let uri = notification.param_text("uri");
                uri.is_some_and(|uri| self.uris.iter().any(|mine| is_at_or_below(&uri, mine)))
            }
            "notifications/tasks" => {
                notification.param_text("taskId").is_some_and(|task| self.tasks.contains(&*task))
            }
            _ => false,
        }
    }
}

/// Whether a URI is that one, or lies below it.
fn is_at_or_below(uri: &str, mine: &str) -> bool {
    let rest = if mine.is_empty() { None } else { uri.strip_prefix(mine) };
    rest.is_some_and(|rest| {
        rest.is_empty() || mine.ends_with(['/', '?', '#']) || rest.starts_with(['/', '?', '#'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_writes_and_leaves_out_what_it_does_not_know() {
        let raw = br#"{"toolsListChanged":true,"acmeChanged":true,"resourceSubscriptions":["b","a"]}"#;
        let wanted = Wanted::parse(raw);
        assert_eq!(wanted.json(), r#"{"toolsListChanged":true,"resourceSubscriptions":["a","b"]}"#);
        assert_eq!(Wanted::parse(wanted.json().as_bytes()), wanted);
        assert!(Wanted::parse(b"[]").is_empty() && Wanted::parse(br#"{"toolsListChanged":1}"#).is_empty());
    }

    #[test]
    fn unions_and_intersections() {
        let a = Wanted::parse(br#"{"toolsListChanged":true,"resourceSubscriptions":["x","y"]}"#);
        let b = Wanted::parse(br#"{"promptsListChanged":true,"resourceSubscriptions":["y"]}"#);
        assert!(a.within(&a.clone().or(&b)) && b.within(&a.clone().or(&b)) && !a.within(&b));
        assert_eq!(a.both(&b).json(), r#"{"resourceSubscriptions":["y"]}"#);
    }

    #[test]
    fn only_what_was_wanted_is_heard() {
        let wanted = Wanted::parse(br#"{"toolsListChanged":true,"resourceSubscriptions":["file:///a"]}"#);
        let updated = |uri: &str| {
            let params = format!(r#"{{"uri":"{uri}"}}"#);
            Message::notification("notifications/resources/updated", Some(params.as_bytes()))
        };
        assert!(wanted.hears(&Message::notification("notifications/tools/list_changed", None)));
        assert!(!wanted.hears(&Message::notification("notifications/prompts/list_changed", None)));
        assert!(wanted.hears(&updated("file:///a/b")) && !wanted.hears(&updated("file:///b")));
        assert!(!wanted.hears(&updated("file:///ab")), "a neighbour");
    }
}
