//! What may not run is refused at load, with the interface and what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::link::{Contract, Need};
use super::super::*;
use super::support::*;
use crate::filter::{Failure, Filter};

fn secret(server: &str) -> BTreeMap<String, GrantedSecret> {
    let granted = GrantedSecret { value: "s3cret".into(), servers: vec![server.into()] };
    BTreeMap::from([("token".to_owned(), granted)])
}

#[test]
fn a_contract_is_read_without_running_anything() {
    let contract = Contract::read(&wat("configured")).expect("a contract");
    assert!(contract.lifecycle && contract.hooks.request && !contract.hooks.access);
    assert!(contract.imports.iter().any(|import| import.name == "lockgate:plugin/clock@0.1.0"));
    assert!(contract.imports.iter().all(|import| import.need == Need::Nothing));
    contract.check("guest", false).expect("nothing to object to");
}

#[test]
fn what_is_no_component_is_named_as_such() {
    let error = Contract::read(&::wat::parse_str("(module)").expect("a module")).expect_err("refused");
    assert!(error.contains("core module"), "{error}");
    let whole = wat("proceed");
    for cut in [0, 4, 7, whole.len() / 2, whole.len() - 1] {
        let error = Contract::read(&whole[..cut]).expect_err("refused");
        assert!(error.contains("not a whole"), "{cut}: {error}");
    }
    assert!(Contract::read(b"#!/bin/sh\necho no").is_err());
}

#[test]
fn what_is_not_carried_out_yet_is_refused_by_name() {
    for (name, interface) in
        [("kv", "lockgate:plugin/kv@0.1.0"), ("observe", "lockgate:plugin/observe@0.1.0")]
    {
        let contract = Contract::read(&wat(name)).expect("a contract");
        let error = contract.check("guest", false).expect_err("refused").to_string();
        assert!(error.contains(interface) && error.contains("guest"), "{error}");
        let error = prepared(&wat(name), &Setup::default()).expect_err("refused");
        assert!(matches!(&error, PrepareError::Invalid(text) if text.contains(interface)), "{error}");
    }
}

#[test]
fn another_version_of_the_contract_is_refused() {
    let wasm = component_of(
        "package lockgate:plugin@0.2.0; interface request { go: func(); }",
        "export lockgate:plugin/request@0.2.0;",
        r#"(module (func (export "lockgate:plugin/request@0.2.0#go")))"#,
    );
    let error = Contract::read(&wasm).expect("a contract").check("guest", false).expect_err("refused");
    assert!(error.to_string().contains("0.2.0") && error.to_string().contains("0.1"), "{error}");
}

#[test]
fn foreign_imports_and_the_network_are_refused() {
    for package in ["wasi:http@0.2.0", "acme:tools@1.0.0"] {
        let (name, version) = package.split_once('@').expect("a version");
        let wasm = component_of(
            &format!("package {package}; interface things {{ go: func(); }}"),
            &format!("import {name}/things@{version};"),
            &format!(r#"(module (import "{name}/things@{version}" "go" (func)))"#),
        );
        let error = Contract::read(&wasm).expect("a contract").check("guest", true).expect_err("refused");
        assert!(error.to_string().contains(&format!("{name}/things@{version}")), "{error}");
    }
}

#[test]
fn a_component_without_any_hook_is_refused() {
    let wasm = component_of(
        "package acme:tools@1.0.0; interface things { go: func(); }",
        "export acme:tools/things@1.0.0;",
        r#"(module (func (export "acme:tools/things@1.0.0#go")))"#,
    );
    let error = Contract::read(&wasm).expect("a contract").check("guest", true).expect_err("refused");
    assert!(error.to_string().contains("no hook") && error.to_string().contains("`request`"), "{error}");
}

#[tokio::test]
async fn an_interface_without_all_its_functions_is_an_error() {
    let wasm = component_of(
        "package lockgate:plugin@0.1.0; interface request { other: func(); }",
        "export lockgate:plugin/request@0.1.0;",
        r#"(module (func (export "lockgate:plugin/request@0.1.0#other")))"#,
    );
    let error = load(&wasm, Setup::default()).await.err().expect("refused").to_string();
    assert!(error.contains("request") && error.contains("on-request"), "{error}");
}

#[tokio::test]
async fn a_function_of_another_type_is_an_error() {
    let wasm = component_of(
        "package lockgate:plugin@0.1.0; interface request { on-request: func(call: u32) -> u32; }",
        "export lockgate:plugin/request@0.1.0;",
        r#"(module (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32) i32.const 0))"#,
    );
    let error = load(&wasm, Setup::default()).await.err().expect("refused").to_string();
    assert!(error.contains("`request`") && error.contains("another type"), "{error}");
}

#[tokio::test]
async fn an_import_that_lies_about_its_type_is_an_error() {
    let wasm = component_of(
        "package lockgate:plugin@0.1.0; interface clock { unix-ms: func() -> string; } interface request { on-request: func(); }",
        "import lockgate:plugin/clock@0.1.0; export lockgate:plugin/request@0.1.0;",
        r#"(module
            (import "lockgate:plugin/clock@0.1.0" "unix-ms" (func (param i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "lockgate:plugin/request@0.1.0#on-request")))"#,
    );
    let error = load(&wasm, Setup::default()).await.err().expect("refused").to_string();
    assert!(error.contains("clock"), "{error}");
}

#[tokio::test]
async fn secrets_are_linked_only_when_granted() {
    let error = load(&wat("secrets"), Setup::default()).await.err().expect("refused").to_string();
    assert!(error.contains("lockgate:plugin/secrets@0.1.0") && error.contains("grants.secrets"), "{error}");
    let setup = Setup { secrets: secret("files"), ..Setup::default() };
    let filter = load(&wat("secrets"), setup).await.expect("loaded");
    let effects = filter.upstream(Arc::new(exchange("files"))).await.expect("effects");
    let placed = effects.set.get("authorization").expect("placed");
    assert_eq!(placed, "Bearer s3cret");
    assert!(placed.is_sensitive());
}

#[tokio::test]
async fn a_secret_goes_only_where_it_may() {
    let setup = Setup { secrets: secret("elsewhere"), ..Setup::default() };
    let filter = load(&wat("secrets"), setup).await.expect("loaded");
    let Failure { message, .. } = filter.upstream(Arc::new(exchange("files"))).await.expect_err("refused");
    for word in ["`token`", "`files`", "`for`"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(!message.contains("s3cret"));
}

#[tokio::test]
async fn an_artifact_of_another_making_is_refused() {
    let mut prepared = prepared(&wat("proceed"), &Setup::default()).expect("prepared");
    prepared.artifact.truncate(prepared.artifact.len() / 2);
    let error = load_prepared(prepared, Setup::default()).await.err().expect("refused");
    assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
}

#[tokio::test]
async fn what_does_not_start_is_refused() {
    let mut setup = Setup::default();
    setup.limits.cpu_ms = 20;
    let error = load(&wat("loop-start"), setup).await.err().expect("refused");
    assert!(error.to_string().contains("limits.cpu_ms"), "{error}");
}
