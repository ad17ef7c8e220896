//! Which filters a call would pass, and why: what `lockgate plugin explain` prints.

use std::sync::Arc;

use super::ItemKind;
use super::chain::{MethodKinds, Placed};
use crate::config::OnFailure;
use crate::protocol::methods::QUESTIONS;

/// Why a filter is or is not part of a call.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The filter's name.
    pub filter: Arc<str>,
    /// The phases in which it is called, in the order of a call; empty if it is not.
    pub phases: Vec<&'static str>,
    /// Why.
    pub reason: String,
}

/// For every filter, in order: the phases in which it sees a call, and why.
pub fn explain(
    filters: &[Arc<Placed>],
    server: &str,
    method: &str,
    name: Option<&str>,
    kinds: &[ItemKind],
    all: &[MethodKinds],
) -> Vec<Explanation> {
    filters
        .iter()
        .map(|placed| {
            let hooks = placed.hooks;
            let judges = !kinds.is_empty()
                && all
                    .iter()
                    .any(|(m, k)| k.iter().any(|kind| kinds.contains(kind)) && placed.sees_method(m));
            let sees = placed.sees_method(method);
            let named = placed.sees_name(name);
            let list = name.is_none() && judges;
            let mut phases = Vec::new();
            let mut add = |phase, has: bool, applies: bool| {
                if has && applies {
                    phases.push(phase);
                }
            };
            add("authenticate", hooks.authenticate, true);
            add("catalog", hooks.catalog, judges);
            add("access", hooks.access, judges && (named || list));
            let (asked, told) = (QUESTIONS.contains(&method), method.starts_with("notifications/"));
            add("request", hooks.request, sees && named && !asked && !told);
            add("upstream", hooks.upstream, sees && named && !asked);
            add("response", hooks.response, sees && named && !asked && !told);
            add("input", hooks.input, sees && named && asked);
            add("notification", hooks.notification, sees && named && told);
            let reason = if !placed.sees_server(server) {
                phases.clear();
                format!("match.servers {:?} does not include `{server}`", placed.matches.servers)
            } else if !phases.is_empty() {
                let because = match (&placed.matches.methods[..], &placed.matches.names[..]) {
                    ([], []) => "its match includes every message of this server".to_owned(),
                    _ => "its match includes this message".to_owned(),
                };
                match placed.on_failure {
                    OnFailure::Open if !hooks.authenticate && !hooks.access => {
                        format!("{because}; if it fails it is skipped (on_failure: open)")
                    }
                    _ => format!("{because}; if it fails the call fails (closed)"),
                }
            } else if !sees && !judges {
                format!("match.methods {:?} does not include `{method}`", placed.matches.methods)
            } else if !named {
                match name {
                    Some(name) => format!("match.names {:?} does not include `{name}`", placed.matches.names),
                    None => "match.names is given and this message has no name".to_owned(),
                }
            } else {
                "it has no hook that this message passes".to_owned()
            };
            Explanation { filter: placed.name.clone(), phases, reason }
        })
        .collect()
}
