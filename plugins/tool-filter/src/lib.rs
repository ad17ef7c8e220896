//! Hides tools, prompts and resources by name, annotation and principal, and renames them.
//!
//! What is hidden is absent from lists and cannot be called either: `access` answers for both.

use std::collections::BTreeMap;

use lockgate_plugin::prelude::*;
use lockgate_plugin::{any_matches, log};

mod annotations;
mod config;
#[cfg(test)]
mod tests;

use annotations::Annotations;
use config::Config;
use serde_json::Value;

/// So many items at most are those of a single call: the one, and its readings.
const FEW: usize = 16;

struct ToolFilter {
    kinds: Vec<Kind>,
    rules: Vec<Rule>,
    deny: Vec<Glob>,
    /// None: everything that is not denied.
    allow: Option<Vec<Glob>>,
    /// Old name to new name.
    rename: BTreeMap<String, String>,
}

/// An exception to `deny` and `allow`. All of its conditions must hold.
struct Rule {
    kinds: Vec<Kind>,
    /// Anybody if empty, even nobody in particular.
    principals: Vec<Glob>,
    claims: BTreeMap<String, Value>,
    annotations: BTreeMap<String, Value>,
    names: Vec<Glob>,
    visibility: Visibility,
    /// Where it stands in the configuration: `rules[0]`.
    at: String,
}

impl Filter for ToolFilter {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Failure> {
        config.digest()
    }
}

impl Access for ToolFilter {
    fn decide(&self, items: &Items) -> Result<Vec<Visibility>, Failure> {
        let kind = items.kind();
        let rules = self.rules_for(kind, items);
        let listed = self.kinds.contains(&kind);
        if rules.is_empty() && !listed {
            return Ok(vec![Visibility::Visible; items.len()]);
        }
        let names = items.names();
        // One crossing for all items, and none if no rule asks.
        let annotations = match rules.iter().any(|rule| !rule.annotations.is_empty()) {
            true => items.pluck("/annotations")?,
            false => vec![None; names.len()],
        };
        // Lists are long; who refused a single call is what people ask.
        let explains = names.len() <= FEW && !items.method().ends_with("/list");
        let mut named: Option<(Visibility, String)> = None;
        let decide = |(name, annotations): (&String, Option<String>)| {
            let mut annotations = Annotations::new(annotations);
            let rule = rules
                .iter()
                .find(|rule| any_matches(&rule.names, name) && annotations.have(&rule.annotations));
            let visibility = match rule {
                Some(rule) => rule.visibility,
                None if listed => self.by_lists(name),
                None => Visibility::Visible,
            };
            // Of several readings of one name, the one that hides it decides.
            if explains && named.as_ref().is_none_or(|(before, _)| *before == Visibility::Visible) {
                let text = rule.map_or_else(|| self.list_rule(name, listed), |rule| rule.text(name));
                named = Some((visibility, text));
            }
            visibility
        };
        let decided = names.iter().zip(annotations).map(decide).collect();
        if let Some((_, rule)) = named {
            log::rule(&rule);
        }
        Ok(decided)
    }
}

impl ToolFilter {
    /// The rules that can concern this kind and this principal. The principal is not asked for if no
    /// rule needs it, so that lists stay the same, and cacheable, for everybody.
    fn rules_for(&self, kind: Kind, items: &Items) -> Vec<&Rule> {
        let mut rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.kinds.contains(&kind)).collect();
        if rules.iter().any(|rule| rule.is_personal()) {
            let principal = items.principal();
            rules.retain(|rule| {
                !rule.is_personal() || principal.as_ref().is_some_and(|who| rule.concerns(who))
            });
        }
        rules
    }

    /// What `by_lists` decides by, as it stands in the configuration.
    fn list_rule(&self, name: &str, listed: bool) -> String {
        if !listed {
            return "kinds: does not name this kind".to_owned();
        }
        if let Some(glob) = self.deny.iter().find(|glob| glob.matches(name)) {
            return format!("deny: {}", glob.pattern());
        }
        match &self.allow {
            None => "not in deny".to_owned(),
            Some(allow) => match allow.iter().find(|glob| glob.matches(name)) {
                Some(glob) => format!("allow: {}", glob.pattern()),
                None => "not in allow".to_owned(),
            },
        }
    }

    fn by_lists(&self, name: &str) -> Visibility {
        let allowed = self.allow.as_ref().is_none_or(|allow| any_matches(allow, name));
        Visibility::from(allowed && !any_matches(&self.deny, name))
    }
}

impl Rule {
    fn text(&self, name: &str) -> String {
        let list = if self.visibility == Visibility::Visible { "allow" } else { "deny" };
        let glob = self.names.iter().find(|glob| glob.matches(name)).map(Glob::pattern).unwrap_or_default();
        format!("{}.{list}: {glob}", self.at)
    }

    fn is_personal(&self) -> bool {
        !self.principals.is_empty() || !self.claims.is_empty()
    }

    fn concerns(&self, principal: &Principal) -> bool {
        let claim = |at: &str| principal.claim(at).and_then(|json| serde_json::from_str::<Value>(&json).ok());
        (self.principals.is_empty() || any_matches(&self.principals, &principal.id()))
            && self.claims.iter().all(|(at, wanted)| match claim(at) {
                // One of several roles or groups is enough.
                Some(Value::Array(several)) if !wanted.is_array() => several.contains(wanted),
                found => found.as_ref() == Some(wanted),
            })
    }
}

impl Catalog for ToolFilter {
    fn on_definitions(&self, definitions: &Definitions) -> Result<(), Failure> {
        if self.rename.is_empty() || !self.kinds.contains(&definitions.kind()) {
            return Ok(());
        }
        for (index, name) in (0_u32..).zip(definitions.names()) {
            let Some(new) = self.rename.get(&name) else { continue };
            definitions.rename(index, new).map_err(|error| {
                let server = definitions.server();
                Failure::Internal(format!("rename: {name} of {server} cannot be called {new}: {error}"))
            })?;
        }
        Ok(())
    }
}

lockgate_plugin::export! {
    ToolFilter: Access, Catalog;
    config_schema: "config.schema.json",
}
