//! What can be told of a plugin without running it, and what is none.

use super::*;
use crate::plugin::samples::{component, component_with};

const LIMIT: u64 = 1 << 20;

fn refused(wasm: &[u8]) -> InspectError {
    inspect(wasm, LIMIT).unwrap_err()
}

#[test]
fn a_plugin_tells_hooks_imports_and_itself() {
    let wasm = component_with(
        &["response", "lifecycle", "access"],
        &["log", "secrets", "wasi:cli/environment@0.2.3"],
        r#"(@custom "version" "1.4.0")
           (@custom "description" "hides \1b[31mtools")
           (@custom "lockgate:config-schema" "{\"type\":\"object\"}")
           (@custom "lockgate:import-reasons" "{\"secrets\":\"signs ids\"}")"#,
    );
    let told = inspect(&wasm, LIMIT).unwrap();
    assert_eq!(told.hooks, Hooks { access: true, response: true, ..Hooks::default() });
    assert_eq!(told.exports.iter().map(|e| e.hook).collect::<Vec<_>>(), ["lifecycle", "access", "response"]);
    assert!(told.has_lifecycle() && told.imports_service("secrets") && !told.imports_service("kv"));
    let secrets = told.imports.iter().find(|i| i.service.as_deref() == Some("secrets")).unwrap();
    assert_eq!((secrets.access, secrets.reason.as_deref()), (Access::Granted, Some("signs ids")));
    assert_eq!(told.imports.iter().filter(|i| i.access == Access::Empty).count(), 1);
    assert_eq!(told.version.as_deref(), Some("1.4.0"));
    assert_eq!(told.description.as_deref(), Some("hides  [31mtools"), "no escape sequences");
    assert_eq!(told.config_schema.as_deref(), Some(&serde_json::json!({"type": "object"})));
    assert_eq!((told.size, told.sha256), (wasm.len() as u64, Sha256::digest(&wasm).into()));
    assert!(told.remarks.is_empty(), "{:?}", told.remarks);
}

#[test]
fn sections_on_the_core_module_inside_count_too() {
    let wasm = component_with(
        &["access"],
        &[],
        r#"(core module (@custom "version" "2.0.0") (@custom "lockgate:config-schema" "{}"))"#,
    );
    let told = inspect(&wasm, LIMIT).unwrap();
    assert_eq!(told.version.as_deref(), Some("2.0.0"));
    assert_eq!(told.config_schema.as_deref(), Some(&serde_json::json!({})));
}

#[test]
fn a_bad_section_is_a_remark_and_no_more() {
    let wasm = component_with(
        &["access"],
        &[],
        r#"(@custom "lockgate:config-schema" "{") (@custom "lockgate:import-reasons" "[]")"#,
    );
    let told = inspect(&wasm, LIMIT).unwrap();
    assert_eq!(told.config_schema, None);
    assert_eq!(told.remarks.len(), 2, "{:?}", told.remarks);
}

#[test]
fn every_prefix_of_a_plugin_is_refused_or_lacks_only_what_follows_its_exports() {
    let wasm = component(&["access"], &["log"]);
    for end in 0..wasm.len() {
        let error = match inspect(&wasm[..end], LIMIT) {
            Err(error) => error,
            // A file cut between sections after the exports is a whole, smaller plugin.
            Ok(told) => {
                assert!(told.hooks.access);
                continue;
            }
        };
        assert!(error.may_be_unfinished(), "{end}: {error}");
        match end {
            0 => assert_eq!(error, InspectError::Empty),
            1..8 => assert_eq!(error, InspectError::Truncated { size: end as u64 }),
            _ => assert!(
                matches!(error, InspectError::Truncated { .. } | InspectError::NoHook { .. }),
                "{end}: {error}"
            ),
        }
    }
}

#[test]
fn what_is_no_component_is_named() {
    assert_eq!(refused(&wat::parse_str("(module)").unwrap()), InspectError::CoreModule);
    assert!(refused(b"(component)").to_string().contains("text form"));
    assert!(refused(b"version https://git-lfs.github.com/spec/v1").to_string().contains("LFS"));
    assert!(refused(b"\x7fELF..............").to_string().contains("native"));
    assert!(refused(b"PK\x03\x04").to_string().contains("does not begin"));
    assert!(refused(&[0; 64]).to_string().contains("zeros"));
    assert_eq!(refused(b"\0asm\x07\0\0\0"), InspectError::UnknownFormat(7));
}

#[test]
fn size_is_checked_before_anything_is_read() {
    let error = inspect(b"no wasm at all", 13).unwrap_err();
    assert_eq!(error, InspectError::TooLarge { size: 14, limit: 13 });
    assert!(error.to_string().contains("plugins.max_mib"));
}

#[test]
fn damage_is_found_with_its_place() {
    let mut wasm = component(&["access"], &[]);
    let place = wasm.windows(6).position(|w| w == b"decide").unwrap();
    wasm[place] = 0xff;
    let InspectError::Invalid { offset, message } = refused(&wasm) else { panic!("not found") };
    assert!(offset > 8 && message.contains("UTF-8") && !message.contains("offset"), "{message}");
}

#[test]
fn another_version_of_the_contract_is_named() {
    for wasm in [
        component(&["lockgate:plugin/access@0.2.0"], &[]),
        component(&["lockgate:plugin/access@0.1.0-rc.1"], &[]),
        component(&["access"], &["lockgate:plugin/log@1.0.0"]),
    ] {
        let error = refused(&wasm);
        assert!(matches!(error, InspectError::WrongVersion { .. }), "{error}");
        assert!(error.to_string().contains("speaks `lockgate:plugin` 0.1"), "{error}");
    }
    inspect(&component(&["lockgate:plugin/access@0.1.3"], &[]), LIMIT).unwrap();
}

#[test]
fn unknown_interfaces_are_named_with_those_there_are() {
    let export = refused(&component(&["access", "lockgate:plugin/acess@0.1.0"], &[]));
    assert!(export.to_string().contains("exports `lockgate:plugin/acess@0.1.0`"), "{export}");
    assert!(export.to_string().contains("authenticate, catalog, access"), "{export}");
    let import = refused(&component(&["access"], &["lockgate:plugin/files@0.1.0"]));
    assert!(import.to_string().contains("imports `lockgate:plugin/files@0.1.0`"), "{import}");
    for foreign in ["wasi:http/outgoing-handler@0.2.3", "acme:db/store@1.0.0"] {
        let error = refused(&component(&["access"], &[foreign]));
        assert_eq!(error, InspectError::UnknownImport { interface: foreign.into() });
    }
}

#[test]
fn a_hook_with_a_function_missing_is_refused() {
    let wasm = wat::parse_str(
        r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
             (func $f (canon lift (core func $i "f")))
             (instance $l (export "configure" (func $f)))
             (export "lockgate:plugin/lifecycle@0.1.0" (instance $l)))"#,
    )
    .unwrap();
    assert_eq!(refused(&wasm), InspectError::PartialHook { hook: "lifecycle", function: "self-test" });
}

#[test]
fn without_a_hook_there_is_nothing_to_call() {
    assert!(refused(&component(&[], &[])).to_string().contains("exports no hook;"));
    assert!(refused(&component(&["lifecycle"], &[])).to_string().contains("besides `lifecycle`"));
    let command = refused(&component(&["wasi:cli/run@0.2.0"], &[]));
    assert!(command.to_string().contains("a command, not a plugin"), "{command}");
}

#[test]
fn what_is_not_wired_up_is_told_and_not_hidden() {
    let told = inspect(&component(&["observe"], &["kv"]), LIMIT).unwrap();
    assert_eq!(told.hooks, Hooks::default());
    assert_eq!(
        told.exports,
        [Export { hook: "observe", interface: "lockgate:plugin/observe@0.1.0".into(), wired: false }]
    );
    assert_eq!(told.imports[0].access, Access::NotWired);
}
