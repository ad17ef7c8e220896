//! The configuration of `tool-filter`, and what is refused in it.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_plugin::{Failure, Glob, Kind, Visibility};
use serde::Deserialize;
use serde_json::Value;

use crate::{Rule, ToolFilter};

/// What is visible, and under which name.
///
/// The first rule that fits an item decides. If none does, `deny` hides; then, if there is `allow`,
/// what it does not name is hidden; everything else is visible. Names are those that the server
/// gives, before `rename`. In patterns `*` stands for any characters and `?` for one.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Names that are hidden, as globs. Wins over `allow`.
    #[serde(default)]
    deny: Vec<String>,
    /// If given, the only names that are visible, as globs. An empty list hides everything.
    #[serde(default)]
    allow: Option<Vec<String>>,
    /// What `deny`, `allow` and `rename` are about, and rules that do not say otherwise.
    #[serde(default = "tools")]
    kinds: Vec<KindName>,
    /// Exceptions from `deny` and `allow`, tried in this order.
    #[serde(default)]
    rules: Vec<RuleConfig>,
    /// New names by old name. Clients see and use only the new one.
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

/// One exception: `allow` or `deny`, for the principals and annotations that it names.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleConfig {
    /// Only for principals whose id matches one of these globs.
    #[serde(default)]
    principals: Vec<String>,
    /// Only for principals with these claims: JSON Pointer and value. Of a claim that is a list, one
    /// item must equal the value.
    #[serde(default)]
    claims: BTreeMap<String, Value>,
    /// Only items with these annotations. Hints that a tool does not give have the values of the MCP
    /// specification: destructive and open-world, neither read-only nor idempotent.
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
    /// What the rule is about, instead of the `kinds` beside `rules`.
    #[serde(default)]
    kinds: Option<Vec<KindName>>,
    /// Names that it makes visible, as globs.
    #[serde(default)]
    allow: Option<Vec<String>>,
    /// Names that it hides, as globs.
    #[serde(default)]
    deny: Option<Vec<String>>,
}

/// A kind of item.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum KindName {
    Tool,
    Prompt,
    /// Named by its URI.
    Resource,
    /// Named by its URI template.
    ResourceTemplate,
    /// Named by its task id.
    Task,
}

fn tools() -> Vec<KindName> {
    vec![KindName::Tool]
}

impl Config {
    pub(crate) fn digest(self) -> Result<ToolFilter, Failure> {
        let kinds = kinds(&self.kinds);
        let mut rules = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.into_iter().enumerate() {
            let at = format!("rules[{index}]");
            let (names, visibility) = match (rule.allow, rule.deny) {
                (Some(names), None) => (names, Visibility::Visible),
                (None, Some(names)) => (names, Visibility::Hidden),
                _ => {
                    return Err(Failure::config(
                        at,
                        "needs either `allow` or `deny`; `[\"*\"]` is everything",
                    ));
                }
            };
            if let Some(pointer) = rule.claims.keys().find(|pointer| !pointer.starts_with('/')) {
                let why = format!("`{pointer}` is not a JSON Pointer; did you mean `/{pointer}`?");
                return Err(Failure::config(format!("{at}.claims"), why));
            }
            rules.push(Rule {
                kinds: rule.kinds.as_deref().map_or_else(|| kinds.clone(), self::kinds),
                principals: globs(rule.principals),
                claims: rule.claims,
                annotations: rule.annotations,
                names: globs(names),
                visibility,
                at,
            });
        }
        let mut taken = BTreeSet::new();
        for (old, new) in &self.rename {
            if new.is_empty() {
                return Err(Failure::config(format!("rename.{old}"), "a name cannot be empty"));
            }
            if !taken.insert(new) {
                return Err(Failure::config(
                    format!("rename.{old}"),
                    format!("{new} is taken by another entry"),
                ));
            }
        }
        let allow = self.allow.map(globs);
        Ok(ToolFilter { kinds, rules, deny: globs(self.deny), allow, rename: self.rename })
    }
}

fn globs(patterns: Vec<String>) -> Vec<Glob> {
    patterns.into_iter().map(Glob::new).collect()
}

fn kinds(names: &[KindName]) -> Vec<Kind> {
    names
        .iter()
        .map(|name| match name {
            KindName::Tool => Kind::Tool,
            KindName::Prompt => Kind::Prompt,
            KindName::Resource => Kind::Resource,
            KindName::ResourceTemplate => Kind::ResourceTemplate,
            KindName::Task => Kind::Task,
        })
        .collect()
}
