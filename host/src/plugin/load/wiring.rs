//! What a plugin wants, against what there is and what it was granted.

use super::{Candidate, LoadError};
use crate::plugin::inspect::{Access, Inspection};

/// Refuses hooks and imports that are not wired up, not granted, or not for filters of its kind.
pub fn check_wiring(candidate: &Candidate, inspection: &Inspection) -> Result<(), LoadError> {
    if let Some(export) = inspection.exports.iter().find(|export| !export.wired) {
        return Err(LoadError::HookNotWired(export.hook));
    }
    if !candidate.listed {
        let hooks = inspection.hooks;
        let needs = [(hooks.authenticate, "authenticate"), (hooks.upstream, "upstream")];
        if let Some((_, hook)) = needs.into_iter().find(|(has, _)| *has) {
            return Err(LoadError::NeedsListing { hook, plugin: candidate.plugin.to_string() });
        }
    }
    for import in &inspection.imports {
        match import.access {
            Access::NotWired => return Err(LoadError::ServiceNotWired(import.interface.clone())),
            Access::Granted if candidate.grants.secrets.is_empty() => {
                let reason = import.reason.as_ref().map(|reason| format!(" (its author: {reason})"));
                return Err(LoadError::NotGranted {
                    import: import.interface.clone(),
                    reason: reason.unwrap_or_default(),
                    todo: what_to_grant(candidate),
                });
            }
            Access::Granted | Access::Contract | Access::Free | Access::Empty => {}
        }
    }
    let known = |secret: &String| candidate.secrets.iter().any(|(name, _)| name == secret);
    match candidate.grants.secrets.iter().find(|secret| !known(secret)) {
        Some(unknown) => Err(LoadError::UnknownSecret(unknown.clone())),
        None => Ok(()),
    }
}

fn what_to_grant(candidate: &Candidate) -> String {
    let name = &candidate.name;
    if candidate.listed {
        format!("name the secrets it may use in `grants.secrets` of filter `{name}`")
    } else {
        format!(
            "name the secrets it may use in `grants.secrets` of the file beside it and in \
             `plugins.auto_attach.max_grants.secrets`, or list it under `filters:` as `{name}`"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::config::{FilterLimits, Grants, Instances, Secret};
    use crate::plugin::inspect::inspect;
    use crate::plugin::samples::{component, component_with};

    fn check(wasm: &[u8], listed: bool, grants: &[&str]) -> Result<(), LoadError> {
        let inspection = inspect(wasm, 1 << 20).unwrap();
        let candidate = Candidate {
            name: "n".into(),
            plugin: "p".into(),
            file: PathBuf::from("p.wasm"),
            bytes: wasm.to_vec().into(),
            sha256: inspection.sha256,
            inspection: None,
            max_bytes: 1 << 20,
            listed,
            config: "{}".into(),
            grants: Grants { secrets: grants.iter().map(ToString::to_string).collect() },
            secrets: vec![("mail".into(), Secret::default())],
            instances: Instances::Fresh,
            limits: FilterLimits::default(),
        };
        check_wiring(&candidate, &Arc::new(inspection))
    }

    #[test]
    fn what_is_not_wired_up_is_never_silence() {
        let error = check(&component(&["access", "observe"], &[]), true, &[]).unwrap_err();
        assert!(matches!(error, LoadError::HookNotWired("observe")), "{error}");
        for service in ["kv", "http", "calls", "metrics"] {
            let error = check(&component(&["access"], &[service]), true, &["mail"]).unwrap_err();
            assert!(error.to_string().contains(&format!("lockgate:plugin/{service}@0.1.0")), "{error}");
        }
        check(&component(&["access"], &["log", "clock", "random", "types"]), false, &[]).unwrap();
    }

    #[test]
    fn secrets_need_a_grant_and_the_message_says_where() {
        let wasm = component_with(
            &["upstream"],
            &["secrets"],
            r#"(@custom "lockgate:import-reasons" "{\"secrets\":\"to sign in\"}")"#,
        );
        let error = check(&wasm, true, &[]).unwrap_err().to_string();
        for part in
            ["lockgate:plugin/secrets@0.1.0", "`grants.secrets` of filter `n`", "(its author: to sign in)"]
        {
            assert!(error.contains(part), "{error}");
        }
        check(&wasm, true, &["mail"]).unwrap();
        let error = check(&wasm, true, &["mail", "bank"]).unwrap_err();
        assert!(matches!(error, LoadError::UnknownSecret(ref name) if name == "bank"), "{error}");
        let dropped = check(&component(&["request"], &["secrets"]), false, &[]).unwrap_err().to_string();
        assert!(dropped.contains("max_grants"), "{dropped}");
    }

    #[test]
    fn only_listed_filters_authenticate_or_touch_the_upstream() {
        for hook in ["authenticate", "upstream"] {
            let wasm = component(&["access", hook], &[]);
            check(&wasm, true, &[]).unwrap();
            let error = check(&wasm, false, &[]).unwrap_err();
            assert!(matches!(error, LoadError::NeedsListing { hook: told, .. } if told == hook), "{error}");
        }
        let others = ["catalog", "access", "request", "response", "input", "notification"];
        check(&component(&others, &[]), false, &[]).unwrap();
    }
}
