//! The headers of the modern era that repeat what stands in the body (2026-07-28, transports), so that
//! something on the way can route by them: made from a body, and checked against one.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::headers::{METHOD, NAME, PARAM_PREFIX, decode_value, encode_value};
use crate::jsonrpc::{self, Kind, Message};

/// The keyword of a property's schema that names the header its value is repeated in.
const KEYWORD: &str = "x-mcp-header";
/// Integers beyond this are not the same number in every JSON implementation.
const EXACT: i64 = (1 << 53) - 1;
/// Properties of one tool that may have a header; more are a mistake, or an attack on somebody's
/// header limits.
const MOST: usize = 32;

/// An argument that its tool wants as a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// The header, `mcp-param-…`.
    pub header: HeaderName,
    /// Where in `arguments` its value stands, as a JSON Pointer.
    pub at: String,
}

/// The name of what a request is about, where the era wants it repeated in `Mcp-Name`.
pub fn name_of(message: &Message) -> Option<Cow<'_, str>> {
    match message.method()? {
        "tools/call" | "prompts/get" => message.param_text("name"),
        "resources/read" => message.param_text("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => message.param_text("taskId"),
        _ => None,
    }
}

/// The headers for a request. `definition` is the raw definition of the tool it calls, if it calls one.
pub fn of(message: &Message, definition: Option<&[u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if message.kind() != Kind::Request {
        return headers;
    }
    let method = message.method().and_then(|method| HeaderValue::from_str(&encode_value(method)).ok());
    headers.extend(method.map(|method| (HeaderName::from_static(METHOD), method)));
    let name = name_of(message).and_then(|name| HeaderValue::from_str(&encode_value(&name)).ok());
    headers.extend(name.map(|name| (HeaderName::from_static(NAME), name)));
    // A tool whose annotations are not valid is not offered; one that is called all the same has none.
    for param in definition.and_then(|raw| params(raw).ok()).unwrap_or_default() {
        let value = argument(message, &param).map(Argument::text);
        let value = value.and_then(|text| HeaderValue::from_str(&encode_value(&text)).ok());
        headers.extend(value.map(|value| (param.header, value)));
    }
    headers
}

/// Whether the `Mcp-Param-*` headers of a call say what its arguments say. The error is for the client.
pub fn check_params(headers: &HeaderMap, message: &Message, definition: &[u8]) -> Result<(), String> {
    for param in params(definition).unwrap_or_default() {
        let shown = param.header.as_str();
        let mut values = headers.get_all(&param.header).iter();
        let (given, more) = (values.next(), values.next());
        if more.is_some() {
            return Err(format!("the header `{shown}` is given more than once"));
        }
        let argument = argument(message, &param);
        let decoded = match given {
            None => None,
            Some(value) => match value.to_str().ok().and_then(decode_value) {
                Some(decoded) => Some(decoded.into_owned()),
                None => return Err(format!("the header `{shown}` is not encoded as it must be")),
            },
        };
        match (decoded, argument) {
            (None, None) => {}
            (Some(given), Some(argument)) if same(&given, &argument) => {}
            (None, Some(_)) => {
                return Err(format!("the header `{shown}` is missing; the argument `{}` is given", param.at));
            }
            (Some(_), _) => {
                return Err(format!(
                    "the header `{shown}` does not say what the argument `{}` says",
                    param.at
                ));
            }
        }
    }
    Ok(())
}

/// The arguments that a tool wants as headers. The error says why its annotations are not valid; such a
/// tool must not be offered over HTTP.
pub fn params(definition: &[u8]) -> Result<Vec<Param>, String> {
    // Nearly no tool has any: those are not parsed. A keyword that is written with escapes is one.
    let may_have = |needle: &[u8]| memchr::memmem::find(definition, needle).is_some();
    if !may_have(KEYWORD.as_bytes()) && !may_have(b"\\u") {
        return Ok(Vec::new());
    }
    let Some(schema) = jsonrpc::get(definition, "/inputSchema") else { return Ok(Vec::new()) };
    let Ok(schema) = serde_json::from_slice::<Value>(schema) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    walk(&schema, Some(String::new()), &mut found)?;
    Ok(found)
}

/// `at`: where the value stands that this schema describes; none where that depends on the value.
fn walk(schema: &Value, at: Option<String>, found: &mut Vec<Param>) -> Result<(), String> {
    match schema {
        Value::Array(schemas) => {
            for schema in schemas {
                walk(schema, None, found)?;
            }
        }
        Value::Object(members) => {
            if let Some(suffix) = members.get(KEYWORD) {
                // A property of that name is a property and no keyword: its value is a schema.
                if !suffix.is_object() {
                    note(members, suffix, at.as_deref(), found)?;
                }
            }
            for (keyword, value) in members {
                match (keyword.as_str(), value, &at) {
                    ("properties", Value::Object(properties), Some(at)) => {
                        for (name, schema) in properties {
                            walk(schema, Some(format!("{at}{}", jsonrpc::pointer(&[name]))), found)?;
                        }
                    }
                    ("properties", Value::Object(properties), None) => {
                        for schema in properties.values() {
                            walk(schema, None, found)?;
                        }
                    }
                    // Values and not schemas.
                    ("default" | "const" | "enum" | "examples", ..) => {}
                    (_, Value::Object(_) | Value::Array(_), _) => walk(value, None, found)?,
                    _ => {}
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn note(
    schema: &serde_json::Map<String, Value>,
    suffix: &Value,
    at: Option<&str>,
    found: &mut Vec<Param>,
) -> Result<(), String> {
    let suffix = suffix.as_str().unwrap_or_default();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if suffix.is_empty() || !suffix.bytes().all(token) {
        return Err(format!("`{KEYWORD}` {suffix:?} cannot be part of a header's name"));
    }
    let Some(at) = at.filter(|at| !at.is_empty()) else {
        return Err(format!("`{KEYWORD}` {suffix:?} stands elsewhere than at a property"));
    };
    if !matches!(schema.get("type").and_then(Value::as_str), Some("string" | "integer" | "boolean")) {
        return Err(format!("`{KEYWORD}` {suffix:?} is for strings, integers and booleans only"));
    }
    let header = HeaderName::from_bytes(format!("{PARAM_PREFIX}{suffix}").to_ascii_lowercase().as_bytes());
    let header = header.map_err(|_| format!("`{KEYWORD}` {suffix:?} cannot be part of a header's name"))?;
    if found.iter().any(|param| param.header == header) {
        return Err(format!("`{KEYWORD}` {suffix:?} stands at two properties"));
    }
    if found.len() >= MOST {
        return Err(format!("`{KEYWORD}` stands at more than {MOST} properties"));
    }
    found.push(Param { header, at: at.to_owned() });
    Ok(())
}

/// The value of an argument that a header repeats.
enum Argument {
    Text(String),
    Integer(i64),
}

impl Argument {
    fn text(self) -> String {
        match self {
            Argument::Text(text) => text,
            Argument::Integer(number) => number.to_string(),
        }
    }
}

/// None if it is absent, null, or of a kind that no header repeats.
fn argument(message: &Message, param: &Param) -> Option<Argument> {
    let raw = jsonrpc::get(message.param("arguments")?, &param.at)?;
    match raw.first()? {
        b'"' => jsonrpc::unescape(raw).map(Cow::into_owned).map(Argument::Text),
        b't' | b'f' => String::from_utf8(raw.to_vec()).ok().map(Argument::Text),
        b'-' | b'0'..=b'9' => integer(std::str::from_utf8(raw).ok()?).map(Argument::Integer),
        _ => None,
    }
}

/// `42` and `42.0` are the same integer.
fn integer(text: &str) -> Option<i64> {
    let number = match text.parse::<i64>() {
        Ok(number) => number,
        Err(_) => {
            let number = text.parse::<f64>().ok().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT as f64)?;
            number as i64
        }
    };
    (number.unsigned_abs() <= EXACT.unsigned_abs()).then_some(number)
}

/// Numbers are compared as such; a string that looks like one is a string.
fn same(given: &str, argument: &Argument) -> bool {
    match argument {
        Argument::Text(text) => given == text,
        Argument::Integer(number) => integer(given) == Some(*number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &str) -> Message {
        let params = format!(r#"{{"name":"größe","arguments":{arguments}}}"#);
        Message::request(b"1", "tools/call", Some(params.as_bytes()))
    }

    fn tool(properties: &str) -> String {
        format!(r#"{{"name":"t","inputSchema":{{"type":"object","properties":{properties}}}}}"#)
    }

    const REGION: &str = r#"{"region":{"type":"string","x-mcp-header":"Region"},"o":{"type":"object","properties":{"n/m":{"type":"integer","x-mcp-header":"N"}}}}"#;

    #[test]
    fn headers_are_made_from_the_body_and_its_schema() {
        let made = of(&call(r#"{"region":" eu","o":{"n/m":42.0}}"#), Some(tool(REGION).as_bytes()));
        let get = |name: &str| made.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(get("mcp-method"), Some("tools/call"));
        assert_eq!(get("mcp-name"), Some("=?base64?Z3LDtsOfZQ==?="));
        assert_eq!(get("mcp-param-region"), Some("=?base64?IGV1?="));
        assert_eq!(get("mcp-param-n"), Some("42"));
        let none = of(&call(r#"{"region":null}"#), Some(tool(REGION).as_bytes()));
        assert!(none.get("mcp-param-region").is_none());
        assert_eq!(of(&Message::request(b"1", "tools/list", None), None).len(), 1);
    }

    #[test]
    fn headers_must_say_what_the_arguments_say() {
        let table = [
            (r#"{"region":"eu"}"#, Some("eu"), true),
            (r#"{"region":"eu"}"#, Some("=?base64?ZXU=?="), true),
            (r#"{"region":"eu"}"#, None, false),
            (r#"{"region":"eu"}"#, Some("us"), false),
            (r#"{"region":"eu"}"#, Some("=?base64?*?="), false),
            (r#"{}"#, Some("eu"), false),
            (r#"{"region":null}"#, None, true),
            (r#"{"region":""}"#, Some(""), true),
        ];
        for (arguments, header, fits) in table {
            let mut headers = HeaderMap::new();
            headers.extend(
                header.map(|value| (HeaderName::from_static("mcp-param-region"), value.parse().unwrap())),
            );
            let checked = check_params(&headers, &call(arguments), tool(REGION).as_bytes());
            assert_eq!(checked.is_ok(), fits, "{arguments} {header:?}: {checked:?}");
        }
    }

    #[test]
    fn integers_are_compared_as_numbers() {
        let n = r#"{"n":{"type":"integer","x-mcp-header":"N"}}"#;
        for (argument, header, fits) in [
            ("42", "42.0", true),
            ("42.0", "42", true),
            ("42", "43", false),
            ("-0", "0", true),
            ("\"42\"", "42.0", false),
            ("-9223372036854775808", "-9223372036854775808", false),
        ] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static("mcp-param-n"), header.parse().unwrap())]);
            let message = call(&format!(r#"{{"n":{argument}}}"#));
            assert_eq!(
                check_params(&headers, &message, tool(n).as_bytes()).is_ok(),
                fits,
                "{argument} {header}"
            );
        }
    }

    #[test]
    fn annotations_that_are_not_valid_are_named() {
        for bad in [
            r#"{"a":{"type":"string","x-mcp-header":""}}"#,
            r#"{"a":{"type":"string","x-mcp-header":"a b"}}"#,
            r#"{"a":{"type":"string","x-mcp-header":"a:b"}}"#,
            r#"{"a":{"type":"string","x-mcp-header":"ü"}}"#,
            r#"{"a":{"type":"string","x-mcp-header":7}}"#,
            r#"{"a":{"type":"number","x-mcp-header":"A"}}"#,
            r#"{"a":{"type":"object","x-mcp-header":"A"}}"#,
            r#"{"a":{"x-mcp-header":"A"}}"#,
            r#"{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}"#,
            r#"{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}"#,
            r#"{"a":{"oneOf":[{"type":"string","x-mcp-header":"A"}]}}"#,
        ] {
            assert!(params(tool(bad).as_bytes()).is_err(), "{bad}");
        }
        for good in [
            r#"{"a":{"type":"string"}}"#,
            r#"{"x-mcp-header":{"type":"string"}}"#,
            r#"{"a":{"type":"string","default":{"x-mcp-header":""}}}"#,
        ] {
            assert_eq!(params(tool(good).as_bytes()), Ok(vec![]), "{good}");
        }
        assert_eq!(params(tool(REGION).as_bytes()).unwrap().len(), 2);
    }
}
