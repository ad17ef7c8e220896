//! Every way to misbehave ends in a fault of that one call, of the right kind, within its budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Counters;
use super::support::*;
use crate::config::{FilterLimits, Instances};
use crate::filter::{Failure, FailureKind, Filter, Verdict};

async fn failure(name: &str, setup: Setup) -> (Failure, Counters) {
    let filter = load(&wat(name), setup).await.expect("loaded");
    let failure = filter.request(Arc::new(call())).await.expect_err("a fault");
    (failure, filter.counters())
}

fn limits(change: impl FnOnce(&mut FilterLimits)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.limits);
    setup
}

#[tokio::test]
async fn an_endless_loop_ends_with_its_cpu_time() {
    let begun = Instant::now();
    let (failure, counters) = failure("loop", limits(|limits| limits.cpu_ms = 20)).await;
    assert_eq!(failure.kind, FailureKind::Cpu, "{failure}");
    assert!(failure.message.contains("request") && failure.message.contains("limits.cpu_ms"), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(15), "the wall-clock limit ended it, not the CPU limit");
    assert_eq!((counters.calls, counters.faults), (1, vec![(FailureKind::Cpu, 1)]));
}

#[tokio::test]
async fn others_go_on_while_one_loops() {
    let hostile = Arc::new(load(&wat("loop"), limits(|limits| limits.cpu_ms = 300)).await.expect("loaded"));
    let good = filter("proceed").await;
    let looping = tokio::spawn(async move { hostile.request(Arc::new(call())).await });
    // On this one thread, the good filter gets on only where the looping one yields.
    let others = tokio::spawn(async move {
        let mut during = 0;
        while !looping.is_finished() {
            good.request(Arc::new(call())).await.expect("a verdict");
            during += 1;
            tokio::task::yield_now().await;
        }
        (during, looping.await.expect("no panic").expect_err("a fault"))
    });
    let (during, failure) = others.await.expect("no panic");
    assert_eq!(failure.kind, FailureKind::Cpu, "{failure}");
    assert!(during > 100, "{during} calls got through in 300 ms");
}

#[tokio::test]
async fn wall_time_ends_what_cpu_time_does_not() {
    let setup = limits(|limits| {
        limits.cpu_ms = 1_000_000;
        limits.wall_ms = 300;
    });
    let (failure, _) = failure("loop", setup).await;
    assert_eq!(failure.kind, FailureKind::Wall, "{failure}");
}

#[tokio::test]
async fn memory_and_tables_end_at_their_limits() {
    for name in ["grow", "grow-table"] {
        let (failure, _) = failure(name, Setup::default()).await;
        assert_eq!(failure.kind, FailureKind::Memory, "{name}: {failure}");
        assert!(failure.message.contains("limits.memory_mib: 64"), "{failure}");
    }
}

#[tokio::test]
async fn recursion_traps_and_returns_what_it_took() {
    let (failure, _) = failure("recurse", Setup::default()).await;
    assert_eq!(failure.kind, FailureKind::Trap, "{failure}");
    assert!(failure.message.contains("stack"), "{failure}");
}

#[tokio::test]
async fn a_trap_is_a_fault_of_one_call() {
    let filter = filter("trap").await;
    for _ in 0..200 {
        let failure = filter.request(Arc::new(call())).await.expect_err("a fault");
        assert_eq!(failure.kind, FailureKind::Trap, "{failure}");
    }
    assert_eq!(filter.counters().faults, [(FailureKind::Trap, 200)]);
}

#[tokio::test]
async fn what_is_returned_is_not_taken_on_trust() {
    for name in ["garbage", "respond"] {
        let (failure, _) = failure(name, Setup::default()).await;
        assert_eq!(failure.kind, FailureKind::BadOutput, "{name}: {failure}");
    }
}

#[tokio::test]
async fn too_much_output_is_refused_before_it_is_copied() {
    for name in ["output", "alias"] {
        let (failure, _) = failure(name, Setup::default()).await;
        assert_eq!(failure.kind, FailureKind::Limit, "{name}: {failure}");
        assert!(failure.message.contains("limits.output_bytes"), "{failure}");
    }
}

#[tokio::test]
async fn a_flood_of_host_calls_ends_at_its_limit() {
    let (failure, counters) = failure("flood", limits(|limits| limits.host_calls = 1_000)).await;
    assert_eq!(failure.kind, FailureKind::Limit, "{failure}");
    assert!(failure.message.contains("limits.host_calls"), "{failure}");
    assert_eq!(counters.host_calls, 1_001);
}

#[tokio::test]
async fn a_flood_of_log_is_dropped_and_counted() {
    let filter = filter("log").await;
    filter.request(Arc::new(call())).await.expect("a verdict");
    assert_eq!(filter.counters().log_bytes_dropped, 512 * 1_024 - 64 * 1_024);
}

#[tokio::test]
async fn a_list_answered_with_another_length_is_a_fault() {
    let filter = filter("length").await;
    let failure = filter.access(Arc::new(items(&["a", "b", "c"]))).await.expect_err("a fault");
    assert_eq!(failure.kind, FailureKind::BadOutput);
    assert!(failure.message.contains("2 answers for 3 items"), "{failure}");
    assert_eq!(filter.access(Arc::new(items(&["a", "b"]))).await.expect("answers").len(), 2);
}

#[tokio::test]
async fn nothing_of_one_call_is_left_for_the_next() {
    let filter = filter("canary").await;
    for _ in 0..1_000 {
        filter.request(Arc::new(call())).await.expect("no mark");
    }
}

#[tokio::test]
async fn a_warm_instance_is_used_again_but_not_after_a_trap() {
    let filter = load(&wat("canary"), Setup { instances: Instances::Warm, ..Setup::default() }).await;
    let filter = filter.expect("loaded");
    for _ in 0..3 {
        filter.request(Arc::new(call())).await.expect("a new instance finds no mark");
        let failure = filter.request(Arc::new(call())).await.expect_err("a warm one finds its own");
        assert_eq!(failure.kind, FailureKind::Trap);
    }
}

#[tokio::test]
async fn more_calls_than_instances_wait_their_turn() {
    let filter =
        Arc::new(load(&wat("proceed"), limits(|limits| limits.concurrent = 2)).await.expect("loaded"));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let filter = filter.clone();
            tokio::spawn(async move { filter.request(Arc::new(call())).await })
        })
        .collect();
    for call in calls {
        assert!(matches!(call.await.expect("no panic").expect("a verdict").verdict, Verdict::Proceed));
    }
}

#[tokio::test]
async fn whoever_waits_too_long_for_an_instance_is_told() {
    let setup = limits(|limits| {
        limits.concurrent = 1;
        limits.cpu_ms = 1_000_000;
        limits.wall_ms = 200;
    });
    let filter = Arc::new(load(&wat("loop"), setup).await.expect("loaded"));
    let (first, second) = tokio::join!(filter.request(Arc::new(call())), filter.request(Arc::new(call())));
    assert_eq!(first.expect_err("a fault").kind, FailureKind::Wall);
    let second = second.expect_err("a fault");
    assert!(second.kind == FailureKind::Limit || second.kind == FailureKind::Wall, "{second}");
    assert!(second.message.contains("limits."), "{second}");
}
