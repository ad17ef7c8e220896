//! Sets HTTP headers on the way to servers: fixed, templated, or from secrets.

use lockgate_plugin::log;
use lockgate_plugin::prelude::*;

mod config;
mod template;
#[cfg(test)]
mod tests;

use config::Config;
use template::Template;

struct HeaderInject {
    headers: Vec<Header>,
}

struct Header {
    name: String,
    value: Value,
    /// All servers if empty.
    servers: Vec<Glob>,
    required: bool,
}

enum Value {
    Template(Template),
    Secret { name: String, format: String },
}

impl Filter for HeaderInject {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Failure> {
        Ok(HeaderInject { headers: config::headers(config)? })
    }
}

impl OnUpstream for HeaderInject {
    fn on_upstream(&self, exchange: &Exchange) -> Result<ExchangeVerdict, Failure> {
        let server = exchange.server();
        for header in &self.headers {
            if !header.servers.is_empty() && !lockgate_plugin::any_matches(&header.servers, &server) {
                continue;
            }
            let name = &header.name;
            let explain =
                |error: AccessError| Failure::Internal(format!("header {name} for {server}: {error}"));
            match &header.value {
                Value::Secret { name: secret, format } => {
                    exchange.set_secret_header(name, secret, format).map_err(explain)?;
                }
                Value::Template(template) => match template.fill(exchange) {
                    Ok(value) => exchange.set_header(name, &value).map_err(explain)?,
                    Err(unknown) if header.required => {
                        let message =
                            format!("{server} needs the header {name}, and there is no {{{unknown}}}");
                        log::rule(&format!("headers: {name} is required"));
                        return Ok(ExchangeVerdict::Reject(Rejection::new(message)));
                    }
                    Err(_) => {}
                },
            }
        }
        Ok(ExchangeVerdict::Proceed)
    }
}

lockgate_plugin::export! {
    HeaderInject: OnUpstream;
    config_schema: "config.schema.json",
    reasons: { "secrets": "puts the secrets that the configuration names into headers" },
}
