//! Configured once, fresh every time; and what happens where a snapshot is not possible.

use std::sync::Arc;

use super::super::*;
use super::support::*;
use crate::filter::Filter;

#[tokio::test]
async fn every_instance_starts_from_the_snapshot() {
    let setup = Setup { config: r#"{"some":"thing"}"#, ..Setup::default() };
    let prepared = prepared(&wat("configured"), &setup).expect("prepared");
    assert_eq!(prepared.start, Start::Snapshot);
    let filter = load_prepared(prepared, setup).await.expect("loaded");
    filter.self_test().await.expect("it works");
    for _ in 0..10 {
        // The guest traps unless `configure` ran exactly once, without clock and chance.
        filter.request(Arc::new(call())).await.expect("configured");
    }
}

#[tokio::test]
async fn without_a_snapshot_every_instance_is_configured() {
    let setup = Setup::default();
    let mut prepared = prepared(&wat("hungry"), &setup).expect("prepared");
    let Start::Configure { reason } = &prepared.start else { panic!("a snapshot of 40 MiB was taken") };
    assert!(reason.contains("limits.memory_mib"), "{reason}");
    let filter = load_prepared(prepared.clone(), Setup::default()).await.expect("loaded");
    filter.self_test().await.expect("it works");
    filter.request(Arc::new(call())).await.expect("configured");
    // Were the host to forget it, the guest would notice.
    prepared.start = Start::Plain;
    let forgotten = load_prepared(prepared, setup).await.expect("loaded");
    forgotten.request(Arc::new(call())).await.expect_err("not configured");
}

#[test]
fn a_configuration_that_the_plugin_refuses_is_told_in_its_words() {
    let setup = Setup { config: "no", ..Setup::default() };
    match prepared(&wat("configured"), &setup) {
        Err(PrepareError::Refused(words)) => assert!(words.contains("no is not a configuration"), "{words}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_memory_than_allowed_is_told_as_such() {
    let mut setup = Setup::default();
    setup.limits.memory_mib = 8;
    match prepared(&wat("hungry"), &setup) {
        Err(PrepareError::TooLarge(text)) => assert!(text.contains("limits.memory_mib: 8"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plugin_without_lifecycle_starts_plain() {
    assert_eq!(prepared(&wat("proceed"), &Setup::default()).expect("prepared").start, Start::Plain);
}

#[test]
fn what_is_not_a_component_is_not_prepared() {
    for wasm in [&b""[..], b"\0asm", b"no wasm at all"] {
        let error = prepared(wasm, &Setup::default()).expect_err("refused");
        assert!(matches!(error, PrepareError::Invalid(_)), "{error}");
    }
}
