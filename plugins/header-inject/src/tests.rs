use lockgate_plugin::prelude::*;
use lockgate_plugin::testing::{self, CallBuilder, ExchangeBuilder, PrincipalBuilder};
use serde_json::{Value, json};

use crate::{HeaderInject, config};

fn filter(headers: Value) -> HeaderInject {
    testing::configure(json!({ "headers": headers })).unwrap()
}

fn refusal(header: Value) -> String {
    let config = json!({ "headers": [{ "name": "X-Ok", "value": "ok" }, header] });
    testing::configure::<HeaderInject>(config).err().unwrap().to_string()
}

fn call() -> CallBuilder {
    let claims = json!({ "email": "ada@example.com", "level": 3, "nothing": null });
    CallBuilder::new("tools/call")
        .name("forecast")
        .header("X-Request-Id", "r-1")
        .header("Authorization", "Bearer mine")
        .principal(PrincipalBuilder::new("ada").claims(claims))
}

/// The value of the only header after one exchange.
fn value(template: &str) -> Option<String> {
    let exchange = ExchangeBuilder::new("weather").call(call()).build();
    let filter = filter(json!([{ "name": "X-Test", "value": template }]));
    assert_eq!(filter.on_upstream(&exchange), Ok(ExchangeVerdict::Proceed));
    testing::sent_headers(&exchange).remove("x-test")
}

#[test]
fn a_secret_is_placed_in_its_format_and_never_read() {
    let filter =
        filter(json!([{ "name": "Authorization", "secret": "weather-token", "format": "Bearer {}" }]));
    let exchange = ExchangeBuilder::new("weather").secret("weather-token", "s3cret", &["weather"]).build();
    assert_eq!(filter.on_upstream(&exchange), Ok(ExchangeVerdict::Proceed));
    assert_eq!(testing::sent_headers(&exchange)["authorization"], "Bearer s3cret");
    assert_eq!(exchange.header("authorization"), None);
}

#[test]
fn a_secret_that_may_not_go_there_fails_the_exchange() {
    let filter = filter(json!([{ "name": "X-Key", "secret": "weather-token" }]));
    let exchange = ExchangeBuilder::new("github").secret("weather-token", "s3cret", &["weather"]).build();
    let failure = filter.on_upstream(&exchange).unwrap_err().to_string();
    assert!(failure.contains("X-Key") && failure.contains("weather-token") && !failure.contains("s3cret"));
    assert!(testing::sent_headers(&exchange).is_empty());
}

#[test]
fn variables_are_filled_in() {
    for (template, expected) in [
        ("fixed", "fixed"),
        ("{principal.id}/{principal.issuer}", "ada/test"),
        ("<{claim:/email}>", "<ada@example.com>"),
        ("{claim:/level}", "3"),
        ("{server} {method} {name} {purpose}", "weather tools/call forecast call"),
        ("{header:x-request-id}", "r-1"),
        ("{{{server}}} }}{{", "{weather} }{"),
        ("", ""),
    ] {
        assert_eq!(value(template).as_deref(), Some(expected), "{template}");
    }
}

#[test]
fn a_header_without_its_value_is_left_out_or_required() {
    for template in ["{claim:/none}", "{claim:/nothing}", "{header:x-none}", "x {header:authorization}"] {
        assert_eq!(value(template), None, "{template}");
    }
    let anonymous = ExchangeBuilder::new("weather").purpose("probe").build();
    let filter = filter(json!([{ "name": "X-User", "value": "{principal.id}", "required": true }]));
    let Ok(ExchangeVerdict::Reject(rejection)) = filter.on_upstream(&anonymous) else { panic!() };
    assert!(rejection.message.contains("X-User") && rejection.message.contains("{principal.id}"));
    let known = ExchangeBuilder::new("weather").call(call()).build();
    assert_eq!(filter.on_upstream(&known), Ok(ExchangeVerdict::Proceed));
}

#[test]
fn headers_go_to_their_servers_only() {
    let config = json!({
        "servers": ["weather"],
        "headers": [
            { "name": "X-A", "value": "a" },
            { "name": "X-B", "value": "b", "servers": ["git*"] },
        ],
    });
    let filter: HeaderInject = testing::configure(config).unwrap();
    let sent = |server: &str| {
        let exchange = ExchangeBuilder::new(server).build();
        filter.on_upstream(&exchange).unwrap();
        testing::sent_headers(&exchange).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(sent("weather"), ["x-a"]);
    assert_eq!(sent("github"), ["x-b"]);
    assert!(sent("files").is_empty());
}

#[test]
fn a_value_that_would_split_the_header_fails_the_exchange() {
    let principal = PrincipalBuilder::new("ada\r\nX-Admin: 1");
    let exchange =
        ExchangeBuilder::new("weather").call(CallBuilder::new("ping").principal(principal)).build();
    let filter = filter(json!([{ "name": "X-User", "value": "{principal.id}" }]));
    assert!(filter.on_upstream(&exchange).is_err());
    assert!(testing::sent_headers(&exchange).is_empty());
}

#[test]
fn bad_configuration_is_refused_with_its_key() {
    assert!(refusal(json!({ "name": "X", "vaule": "" })).starts_with("headers[1].vaule: unknown field"));
    assert!(refusal(json!({ "name": "X" })).starts_with("headers[1]: "));
    assert!(refusal(json!({ "name": "X", "value": "", "secret": "s" })).starts_with("headers[1]: "));
    assert!(refusal(json!({ "name": "X Y", "value": "" })).starts_with("headers[1].name: `X Y`"));
    for reserved in ["Host", "content-length", "Mcp-Session-Id", "Transfer-Encoding", "proxy-authorization"] {
        assert!(refusal(json!({ "name": reserved, "value": "" })).contains("Lockgate itself"), "{reserved}");
    }
    for format in ["Bearer", "{} {}"] {
        let message = refusal(json!({ "name": "X", "secret": "s", "format": format }));
        assert!(message.starts_with("headers[1].format: "), "{message}");
    }
    assert!(refusal(json!({ "name": "X", "value": "a", "format": "{}" })).starts_with("headers[1].format: "));
    for value in ["{user}", "{claim:email}", "{header:}", "{", "a } b", "{}"] {
        let message = refusal(json!({ "name": "X", "value": value }));
        assert!(message.starts_with("headers[1].value: "), "{message}");
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
