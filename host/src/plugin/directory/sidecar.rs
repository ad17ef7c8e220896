//! The file beside a plugin (`10-redact.yaml`), which configures it where nothing lists it.

use serde::Deserialize;

use crate::config::{AutoAttach, FilterLimits, Grants, Instances, Match, Mode, OnFailure};

/// What the file says. The keys are those of an entry of `filters:`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Sidecar {
    /// What the plugin is configured with.
    pub config: Option<serde_json::Value>,
    /// Which messages the filter sees.
    #[serde(rename = "match")]
    pub matches: Match,
    /// What it may do besides deciding; at most `plugins.auto_attach.max_grants`.
    pub grants: Grants,
    /// Whether what it decides happens.
    pub mode: Mode,
    /// What happens to a call if it fails.
    pub on_failure: OnFailure,
    /// Fresh or warm instances.
    pub instances: Instances,
    /// Its bounds.
    pub limits: FilterLimits,
}

impl Sidecar {
    /// Reads the file within what the main configuration allows it.
    ///
    /// # Errors
    /// One sentence: what is wrong, with its key or line, and what to do.
    pub fn parse(text: &[u8], allowed: &AutoAttach) -> Result<Sidecar, String> {
        let text = std::str::from_utf8(text).map_err(|error| format!("it is not UTF-8: {error}"))?;
        let sidecar: Sidecar = if text.trim().is_empty() {
            Sidecar::default()
        } else {
            serde_saphyr::from_str(text).map_err(|error| one_line(&error.to_string()))?
        };
        if let Some(at) = sidecar.config.as_ref().and_then(variable_at) {
            return Err(format!(
                "variables are not replaced in the `config` of a filter (`config{at}`); a plugin never sees \
                 secrets: give it under `secrets:` of the main configuration, grant it, and let the plugin \
                 use it by name"
            ));
        }
        let most = &allowed.max_grants.secrets;
        if let Some(secret) = sidecar.grants.secrets.iter().find(|secret| !most.contains(secret)) {
            return Err(format!(
                "`grants.secrets` asks for `{secret}`, which `plugins.auto_attach.max_grants.secrets` of the \
                 main configuration does not allow; add it there, or list the plugin under `filters:`"
            ));
        }
        Ok(sidecar)
    }
}

/// The path of the first text (or member name) that looks like `${VAR}` or `${file:path}`.
fn variable_at(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => text.contains("${").then(String::new),
        serde_json::Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(n, item)| variable_at(item).map(|rest| format!("[{n}]{rest}"))),
        serde_json::Value::Object(members) => members.iter().find_map(|(key, member)| {
            if key.contains("${") {
                return Some(format!(".{key}"));
            }
            variable_at(member).map(|rest| format!(".{key}{rest}"))
        }),
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join(" ");
    text.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sidecar, String> {
        let max_grants = Grants { secrets: vec!["mail".into()] };
        Sidecar::parse(text.as_bytes(), &AutoAttach { enabled: true, max_grants })
    }

    #[test]
    fn the_keys_of_a_filter_are_read() {
        let sidecar = parse(
            "config: { fields: [/a] }\nmatch: { servers: [x] }\non_failure: open\nlimits: { cpu_ms: 5 }\n\
             grants: { secrets: [mail] }\n",
        )
        .unwrap();
        assert_eq!(sidecar.config, Some(serde_json::json!({"fields": ["/a"]})));
        assert_eq!((sidecar.matches.servers, sidecar.on_failure), (vec!["x".to_owned()], OnFailure::Open));
        assert_eq!((sidecar.limits.cpu_ms, sidecar.limits.wall_ms), (5, 1_000));
        assert_eq!(parse("\n").unwrap(), Sidecar::default());
        assert_eq!(parse("{}").unwrap(), Sidecar::default());
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place() {
        let error = parse("config: {}\nmatches: {}\n").unwrap_err();
        assert!(error.contains("matches") && error.contains('2') && !error.contains('\n'), "{error}");
        assert!(parse("plugin: other").is_err(), "the file's name tells the plugin");
        assert!(parse("config: [").is_err());
        assert!(Sidecar::parse(b"\xff", &AutoAttach::default()).unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn variables_in_the_config_point_to_secrets() {
        for text in ["config: { a: [x, 'Bearer ${TOKEN}'] }", "config: { a: [x, '${file:/run/t}'] }"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("`config.a[1]`") && error.contains("`secrets:`"), "{error}");
        }
        assert!(parse("config: { '${A}': 1 }").is_err());
        parse("config: { a: '$5' }").unwrap();
    }

    #[test]
    fn grants_are_bounded_by_the_main_configuration() {
        let error = parse("grants: { secrets: [mail, bank] }").unwrap_err();
        assert!(
            error.contains("`bank`") && error.contains("plugins.auto_attach.max_grants.secrets"),
            "{error}"
        );
    }
}
