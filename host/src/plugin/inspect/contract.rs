//! What the contract `lockgate:plugin` names: its hooks with their functions, and its services.

use crate::filter::Hooks;

/// The package that plugins are built against.
pub const PACKAGE: &str = "lockgate:plugin";

/// The version track that this Lockgate speaks: any `0.1.x`.
pub const TRACK: &str = "0.1";

/// One exported interface of the contract.
pub(crate) struct HookInterface {
    pub(crate) name: &'static str,
    pub(crate) functions: &'static [&'static str],
    /// How a hook that this version calls is noted; none for `lifecycle` and for what is not wired up.
    pub(crate) set: Option<fn(&mut Hooks)>,
    pub(crate) wired: bool,
}

const fn wired(name: &'static str, functions: &'static [&'static str], set: fn(&mut Hooks)) -> HookInterface {
    HookInterface { name, functions, set: Some(set), wired: true }
}

const fn unwired(name: &'static str, functions: &'static [&'static str]) -> HookInterface {
    HookInterface { name, functions, set: None, wired: false }
}

/// Every interface that a plugin may export.
pub(crate) const HOOKS: &[HookInterface] = &[
    HookInterface { name: "lifecycle", functions: &["configure", "self-test"], set: None, wired: true },
    wired("authenticate", &["authenticate"], |hooks| hooks.authenticate = true),
    wired("catalog", &["on-definitions"], |hooks| hooks.catalog = true),
    wired("access", &["decide"], |hooks| hooks.access = true),
    wired("request", &["on-request"], |hooks| hooks.request = true),
    wired("upstream", &["on-exchange"], |hooks| hooks.upstream = true),
    wired("response", &["on-response"], |hooks| hooks.response = true),
    wired("input", &["on-ask", "on-answer"], |hooks| hooks.input = true),
    wired("notification", &["on-notification"], |hooks| hooks.notification = true),
    unwired("observe", &["on-done"]),
];

/// What an imported interface gives a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Types and documents of the contract: every plugin has them.
    Contract,
    /// A service that every plugin has.
    Free,
    /// A service that needs a grant.
    Granted,
    /// A service of the contract that this version of Lockgate does not have yet.
    NotWired,
    /// A WASI interface: there, with nothing behind it (no files, no network, no environment).
    Empty,
}

/// What importing the interface `name` of the contract gives; none if there is no such interface.
pub(crate) fn service(name: &str) -> Option<Access> {
    Some(match name {
        "types" | "documents" | "context" => Access::Contract,
        // Types of a hook's interface may be imported for their own sake.
        _ if HOOKS.iter().any(|hook| hook.name == name) => Access::Contract,
        "log" | "clock" | "random" => Access::Free,
        "secrets" => Access::Granted,
        "kv" | "http" | "calls" | "metrics" => Access::NotWired,
        _ => return None,
    })
}

/// The parts of `package/interface@version`; the version is empty if there is none.
pub(crate) fn split_name(name: &str) -> Option<(&str, &str, &str)> {
    let (package, rest) = name.split_once('/')?;
    let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
    Some((package, interface, version))
}

/// Whether a version belongs to the track. A later patch release may import more than there is; the
/// linker names what is missing.
pub(crate) fn on_track(version: &str) -> bool {
    semver::Version::parse(version).is_ok_and(|v| v.major == 0 && v.minor == 1 && v.pre.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_contract() {
        let wit = concat!(
            include_str!("../../../../wit/v0.1/hooks.wit"),
            include_str!("../../../../wit/v0.1/host.wit"),
            include_str!("../../../../wit/v0.1/worlds.wit"),
        );
        let exports: Vec<&str> =
            wit.lines().filter_map(|line| line.trim().strip_prefix("export ")?.strip_suffix(';')).collect();
        assert_eq!(exports, HOOKS.iter().map(|hook| hook.name).collect::<Vec<_>>());
        let imports = wit.lines().filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'));
        for import in imports {
            assert!(service(import).is_some(), "{import} is missing from the table");
        }
        for hook in HOOKS {
            for function in hook.functions {
                assert!(wit.contains(&format!("{function}: func(")), "{function}");
            }
        }
        assert!(wit.contains(&format!("package {PACKAGE}@{TRACK}.0;")));
    }

    #[test]
    fn names_are_split_and_versions_judged() {
        assert_eq!(split_name("lockgate:plugin/log@0.1.0"), Some(("lockgate:plugin", "log", "0.1.0")));
        assert_eq!(split_name("a:b/c"), Some(("a:b", "c", "")));
        assert_eq!(split_name("run"), None);
        assert!(on_track("0.1.0") && on_track("0.1.7"));
        assert!(!on_track("0.2.0") && !on_track("0.1.0-rc.1") && !on_track("") && !on_track("1.1.0"));
    }
}
