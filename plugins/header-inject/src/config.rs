//! The configuration of `header-inject`, and what is refused in it.

use lockgate_plugin::{Failure, Glob};
use serde::Deserialize;

use crate::template::Template;
use crate::{Header, Value};

/// Which headers go to which servers.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The headers, set in this order; of two with one name the later wins.
    headers: Vec<HeaderConfig>,
    /// Servers that any header goes to, as globs; all that the filter's `match` lets through if empty.
    #[serde(default)]
    servers: Vec<String>,
}

/// One header: `secret` or `value`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderConfig {
    /// Its name.
    name: String,
    /// The name of a secret, to be granted in `grants.secrets`.
    #[serde(default)]
    secret: Option<String>,
    /// What is sent of a secret: its one `{}` is replaced by it, as in `Bearer {}`.
    #[serde(default)]
    format: Option<String>,
    /// A text with variables: `{principal.id}`, `{principal.issuer}`, `{claim:/email}`, `{server}`,
    /// `{method}`, `{name}`, `{purpose}`, `{header:x-request-id}`. Braces are written `{{` and `}}`.
    #[serde(default)]
    value: Option<String>,
    /// Servers that this header goes to, as globs, instead of those above.
    #[serde(default)]
    servers: Vec<String>,
    /// Refuse the exchange if a variable has no value, instead of leaving the header out.
    #[serde(default)]
    required: bool,
}

/// What Lockgate writes itself; the host would refuse it at every call, this refuses it once.
const RESERVED: [&str; 11] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checks and digests the headers.
pub(crate) fn headers(config: Config) -> Result<Vec<Header>, Failure> {
    let common = globs(config.servers);
    let mut headers = Vec::with_capacity(config.headers.len());
    for (index, header) in config.headers.into_iter().enumerate() {
        let at = |member: &str| format!("headers[{index}].{member}");
        check_name(&header.name).map_err(|why| Failure::config(at("name"), why))?;
        let value = match (header.secret, header.value) {
            (Some(name), None) => {
                let format = header.format.unwrap_or_else(|| "{}".to_owned());
                if format.matches("{}").count() != 1 {
                    return Err(Failure::config(at("format"), "write `{}` once, where the secret goes"));
                }
                Value::Secret { name, format }
            }
            (None, Some(_)) if header.format.is_some() => {
                return Err(Failure::config(
                    at("format"),
                    "belongs to `secret`; write the text into `value`",
                ));
            }
            (None, Some(text)) => {
                Value::Template(Template::parse(&text).map_err(|why| Failure::config(at("value"), why))?)
            }
            _ => {
                let why = format!("header {} needs either `secret` or `value`", header.name);
                return Err(Failure::config(format!("headers[{index}]"), why));
            }
        };
        let servers = if header.servers.is_empty() { common.clone() } else { globs(header.servers) };
        headers.push(Header { name: header.name, value, servers, required: header.required });
    }
    Ok(headers)
}

fn globs(patterns: Vec<String>) -> Vec<Glob> {
    patterns.into_iter().map(Glob::new).collect()
}

fn check_name(name: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("`{name}` is not the name of an HTTP header"));
    }
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || lower.starts_with("mcp-") || lower.starts_with("proxy-") {
        return Err(format!("{name} is written by Lockgate itself"));
    }
    Ok(())
}
