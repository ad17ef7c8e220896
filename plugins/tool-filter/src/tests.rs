use lockgate_plugin::prelude::*;
use lockgate_plugin::testing::{self, DefinitionsBuilder, ItemsBuilder, PrincipalBuilder};
use serde_json::{Value, json};

use crate::{ToolFilter, config};

fn filter(config: Value) -> ToolFilter {
    testing::configure(config).unwrap()
}

fn refusal(config: Value) -> String {
    testing::configure::<ToolFilter>(config).err().unwrap().to_string()
}

/// Tools of a server of files, as `tools/list` asks for them.
fn tools() -> ItemsBuilder {
    ItemsBuilder::new(Kind::Tool)
        .item("read_file", json!({ "annotations": { "readOnlyHint": true } }))
        .item("write_file", json!({ "annotations": { "destructiveHint": false } }))
        .item("delete_file", json!({ "annotations": { "destructiveHint": true } }))
        .item("delete_all", json!({ "description": "says nothing of itself" }))
        .item("unlisted", json!(null))
}

fn visible(config: Value, items: ItemsBuilder) -> Vec<String> {
    let items = items.build();
    let decided = filter(config).decide(&items).unwrap();
    assert_eq!(decided.len(), items.len());
    let names = items.names().into_iter().zip(decided);
    names.filter(|(_, visibility)| *visibility == Visibility::Visible).map(|(name, _)| name).collect()
}

#[test]
fn nothing_configured_hides_nothing() {
    assert_eq!(visible(json!({}), tools()).len(), 5);
}

#[test]
fn deny_hides_and_wins_over_allow() {
    assert_eq!(visible(json!({ "deny": ["delete_*"] }), tools()), ["read_file", "write_file", "unlisted"]);
    assert_eq!(
        visible(json!({ "allow": ["*_file"], "deny": ["delete_*"] }), tools()),
        ["read_file", "write_file"]
    );
    assert!(visible(json!({ "allow": [] }), tools()).is_empty());
}

#[test]
fn the_first_rule_that_fits_decides_before_deny_and_allow() {
    let config = json!({
        "deny": ["delete_*"],
        "rules": [
            { "deny": ["delete_all"] },
            { "principals": ["admin-*"], "allow": ["delete_*"] },
        ],
    });
    assert_eq!(visible(config.clone(), tools()), ["read_file", "write_file", "unlisted"]);
    let admin = tools().principal(PrincipalBuilder::new("admin-ada"));
    assert_eq!(visible(config.clone(), admin), ["read_file", "write_file", "delete_file", "unlisted"]);
    let other = tools().principal(PrincipalBuilder::new("ada-admin-"));
    assert_eq!(visible(config, other), ["read_file", "write_file", "unlisted"]);
}

#[test]
fn annotations_have_the_defaults_of_the_specification() {
    let deny = |annotations: Value| json!({ "rules": [{ "annotations": annotations, "deny": ["*"] }] });
    // Who says nothing may destroy; who only reads does not.
    assert_eq!(visible(deny(json!({ "destructiveHint": true })), tools()), ["read_file", "write_file"]);
    assert_eq!(visible(deny(json!({ "readOnlyHint": false })), tools()), ["read_file"]);
    let both = json!({ "readOnlyHint": false, "destructiveHint": false });
    assert_eq!(visible(deny(both), tools()), ["read_file", "delete_file", "delete_all", "unlisted"]);
    let only_reading =
        json!({ "allow": [], "rules": [{ "annotations": { "readOnlyHint": true }, "allow": ["*"] }] });
    assert_eq!(visible(only_reading, tools()), ["read_file"]);
    assert_eq!(visible(deny(json!({ "title": "x" })), tools()).len(), 5);
}

#[test]
fn claims_choose_principals() {
    let config = json!({
        "deny": ["*"],
        "rules": [{ "claims": { "/roles": "ops", "/mfa": true }, "allow": ["delete_*"] }],
    });
    let with = |claims: Value| tools().principal(PrincipalBuilder::new("ada").claims(claims));
    assert_eq!(visible(config.clone(), with(json!({ "roles": ["dev", "ops"], "mfa": true }))).len(), 2);
    assert_eq!(visible(config.clone(), with(json!({ "roles": "ops", "mfa": true }))).len(), 2);
    assert!(visible(config.clone(), with(json!({ "roles": ["dev", "ops"] }))).is_empty());
    assert!(visible(config.clone(), with(json!({ "roles": ["opsec"], "mfa": true }))).is_empty());
    assert!(visible(config, tools()).is_empty());
}

#[test]
fn kinds_that_are_not_named_are_left_alone() {
    let items =
        |kind| ItemsBuilder::new(kind).item("delete_it", json!({})).item("file:///etc/passwd", json!({}));
    let config = json!({ "deny": ["delete_*"], "rules": [{ "kinds": ["resource", "resource-template"], "deny": ["file:///etc/*"] }] });
    assert_eq!(visible(config.clone(), items(Kind::Tool)), ["file:///etc/passwd"]);
    assert_eq!(visible(config.clone(), items(Kind::Prompt)).len(), 2);
    assert_eq!(visible(config.clone(), items(Kind::Resource)), ["delete_it"]);
    assert_eq!(visible(config, items(Kind::ResourceTemplate)), ["delete_it"]);
    let prompts = json!({ "kinds": ["prompt"], "deny": ["delete_*"] });
    assert_eq!(visible(prompts.clone(), items(Kind::Prompt)), ["file:///etc/passwd"]);
    assert_eq!(visible(prompts, items(Kind::Tool)).len(), 2);
}

#[test]
fn a_thousand_tools_cost_a_handful_of_crossings() {
    let items = || {
        (0..1_000).fold(ItemsBuilder::new(Kind::Tool), |items, n| {
            items.item(&format!("tool_{n}"), json!({ "annotations": { "readOnlyHint": n % 2 == 0 } }))
        })
    };
    let config = json!({ "rules": [
        { "principals": ["x"], "deny": ["*"] },
        { "annotations": { "readOnlyHint": false }, "deny": ["*"] },
    ] });
    let asked = items().build();
    let decided = filter(config).decide(&asked).unwrap();
    assert_eq!(decided.iter().filter(|visibility| **visibility == Visibility::Visible).count(), 500);
    assert!(testing::crossings(&asked) <= 4, "{}", testing::crossings(&asked));
    // Without a rule that is about principals, nobody asks who calls: the list stays cacheable.
    let asked = items().principal(PrincipalBuilder::new("x")).build();
    filter(json!({ "deny": ["tool_1"] })).decide(&asked).unwrap();
    assert_eq!(testing::crossings(&asked), 2);
}

#[test]
fn renaming_is_for_the_kinds_that_are_named() {
    let definitions = |kind| {
        DefinitionsBuilder::new(kind)
            .item("old", json!({ "name": "old" }))
            .item("b", json!({ "name": "b" }))
            .build()
    };
    let filter = filter(json!({ "rename": { "old": "new", "absent": "x" } }));
    let tools = definitions(Kind::Tool);
    filter.on_definitions(&tools).unwrap();
    assert_eq!(testing::visible_names(&tools), ["new", "b"]);
    let prompts = definitions(Kind::Prompt);
    filter.on_definitions(&prompts).unwrap();
    assert_eq!(testing::visible_names(&prompts), ["old", "b"]);
}

#[test]
fn a_name_that_is_taken_is_a_failure_that_says_so() {
    let definitions = DefinitionsBuilder::new(Kind::Tool).item("a", json!({})).item("b", json!({})).build();
    let failure = filter(json!({ "rename": { "a": "b" } })).on_definitions(&definitions).unwrap_err();
    assert!(failure.to_string().starts_with("rename: a of server cannot be called b"), "{failure}");
}

#[test]
fn bad_configuration_is_refused_with_its_key() {
    assert!(refusal(json!({ "denny": [] })).starts_with("denny: unknown field"));
    assert!(refusal(json!({ "deny": "x" })).starts_with("deny: invalid type"));
    assert!(refusal(json!({ "kinds": ["tools"] })).starts_with("kinds[0]: unknown variant `tools`"));
    let rule = |rule: Value| refusal(json!({ "rules": [{ "deny": ["a"] }, rule] }));
    assert!(rule(json!({})).starts_with("rules[1]: needs either"));
    assert!(rule(json!({ "allow": [], "deny": [] })).starts_with("rules[1]: needs either"));
    assert!(rule(json!({ "deny": [], "when": 1 })).starts_with("rules[1].when: unknown field"));
    assert!(rule(json!({ "deny": [], "claims": { "role": 1 } })).contains("did you mean `/role`?"));
    assert!(refusal(json!({ "rename": { "a": "x", "b": "x" } })).starts_with("rename.b: x is taken"));
    assert!(refusal(json!({ "rename": { "a": "" } })).starts_with("rename.a: "));
}

#[test]
fn the_schema_is_that_of_the_configuration() {
    let schema = schemars::schema_for!(config::Config);
    testing::assert_config_schema(
        concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json"),
        schema.as_value(),
    );
}
