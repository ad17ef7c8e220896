use lockgate_plugin::prelude::*;
use lockgate_plugin::testing::{self, HeadBuilder};
use serde_json::{Value, json};

use crate::{ApiKeyAuth, config};

/// `printf %s secret-1 | sha256sum`, and the same of `secret-2`.
const HASH_1: &str = "f7e7c36e458e80e6b6a2c67d0a9ec09bd718dadd7bfa8d6bf6e7ad526e46c2f7";
const HASH_2: &str = "f4b6bb6548129dacf11c1a9c4dffffefd4aa6b21fcf4e9754cc03b731cbe7c25";

fn filter(config: Value) -> ApiKeyAuth {
    testing::configure(config).unwrap()
}

fn refusal(config: Value) -> String {
    testing::configure::<ApiKeyAuth>(config).err().unwrap().to_string()
}

fn two_keys() -> Value {
    json!({ "keys": [
        { "name": "ci", "sha256": HASH_1, "claims": { "role": "build" } },
        { "name": "ada", "sha256": HASH_2.to_uppercase(), "expires": "2027-01-31" },
    ] })
}

fn ask(filter: &ApiKeyAuth, header: &str, value: &str) -> Decision {
    filter.authenticate(&HeadBuilder::new().header(header, value).build()).unwrap()
}

fn refused(decision: Decision) -> Refusal {
    let Decision::Refuse(refusal) = decision else { panic!("{decision:?}") };
    refusal
}

#[test]
fn a_known_key_becomes_its_principal() {
    let filter = filter(two_keys());
    let identity = Identity { claims: r#"{"role":"build"}"#.into(), ..Identity::new("ci") };
    assert_eq!(ask(&filter, "Authorization", "Bearer secret-1"), Decision::Accept(identity));
    let identity = Identity { expires_at: Some(1_801_353_600), ..Identity::new("ada") };
    assert_eq!(ask(&filter, "authorization", "bearer secret-2"), Decision::Accept(identity));
}

#[test]
fn an_unknown_key_is_refused_with_a_challenge() {
    let filter = filter(two_keys());
    for key in ["secret-3", "Secret-1", "secret-1x", HASH_1] {
        let refusal = refused(ask(&filter, "Authorization", &format!("Bearer {key}")));
        assert_eq!(
            (refusal.status, refusal.challenge.as_deref()),
            (401, Some("Bearer error=\"invalid_token\""))
        );
        assert!(!refusal.message.contains(key));
    }
}

#[test]
fn no_key_is_refused_or_left_to_others() {
    let head = HeadBuilder::new().build();
    let refusal = refused(filter(two_keys()).authenticate(&head).unwrap());
    assert_eq!((refusal.status, refusal.challenge.as_deref()), (401, Some("Bearer")));
    let mut config = two_keys();
    config["missing"] = json!("skip");
    let filter = filter(config);
    assert_eq!(filter.authenticate(&head), Ok(Decision::Skip));
    for other in ["Basic c2VjcmV0LTE=", "Bearer ", "Bearer", "secret-1"] {
        assert_eq!(ask(&filter, "Authorization", other), Decision::Skip, "{other}");
    }
    // A key that is there and wrong is never left to others.
    assert!(matches!(ask(&filter, "Authorization", "Bearer nope"), Decision::Refuse(_)));
}

#[test]
fn another_header_carries_the_bare_key() {
    let mut config = two_keys();
    config["header"] = json!("X-API-Key");
    config["keep_seconds"] = json!(30);
    let filter = filter(config);
    let Decision::Accept(identity) = ask(&filter, "x-api-key", " secret-1 ") else { panic!() };
    assert_eq!((identity.id.as_str(), identity.keep_seconds), ("ci", 30));
    assert!(matches!(ask(&filter, "authorization", "Bearer secret-1"), Decision::Refuse(_)));
    let refusal = refused(ask(&filter, "x-api-key", "nope"));
    assert_eq!(refusal.challenge.as_deref(), Some("ApiKey header=\"x-api-key\""));
}

#[test]
fn an_expired_key_is_refused() {
    let filter = filter(two_keys());
    testing::set_unix_ms(1_801_353_600_000 - 1);
    assert!(matches!(ask(&filter, "Authorization", "Bearer secret-2"), Decision::Accept(_)));
    testing::set_unix_ms(1_801_353_600_000);
    assert!(refused(ask(&filter, "Authorization", "Bearer secret-2")).message.contains("expired"));
    assert!(matches!(ask(&filter, "Authorization", "Bearer secret-1"), Decision::Accept(_)));
}

#[test]
fn bad_configuration_is_refused_with_its_key() {
    let key = |key: Value| refusal(json!({ "keys": [{ "name": "ok", "sha256": HASH_1 }, key] }));
    assert!(refusal(json!({})).contains("missing field `keys`"));
    assert!(refusal(json!({ "keys": [] })).starts_with("keys: "));
    assert!(refusal(json!({ "keys": [], "misssing": "skip" })).starts_with("misssing: unknown field"));
    assert!(key(json!({ "name": "a", "sha": HASH_2 })).starts_with("keys[1].sha: unknown field"));
    assert!(key(json!({ "name": "", "sha256": HASH_2 })).starts_with("keys[1].name: "));
    assert!(key(json!({ "name": "a", "sha256": "secret" })).starts_with("keys[1].sha256: "));
    assert!(key(json!({ "name": "a", "sha256": &HASH_2[2..] })).starts_with("keys[1].sha256: "));
    assert!(key(json!({ "name": "ok", "sha256": HASH_2 })).contains("ok is there already"));
    let same = key(json!({ "name": "a", "sha256": HASH_1 }));
    assert!(same.starts_with("keys[1].sha256: ") && !same.contains(HASH_1), "{same}");
    assert!(key(json!({ "name": "a", "sha256": HASH_2, "expires": "tomorrow" })).contains("`tomorrow`"));
}

#[test]
fn dates_are_read_as_utc() {
    for (text, expected) in [
        ("1970-01-01", Some(0)),
        ("2000-02-29T23:59:59Z", Some(951_868_799)),
        ("2026-11-21T07:30:00Z", Some(1_795_246_200)),
        ("2027-02-29", None),
        ("2100-02-29", None),
        ("2026-13-01", None),
        ("2026-00-10", None),
        ("2026-11-21T07:30:00", None),
        ("2026-11-21T07:30:00+01:00", None),
        ("2026-1-2", None),
    ] {
        assert_eq!(config::unix_seconds(text), expected, "{text}");
    }
}

#[test]
fn the_schema_is_that_of_the_configuration() {
    let schema = schemars::schema_for!(config::Config);
    testing::assert_config_schema(
        concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json"),
        schema.as_value(),
    );
}
