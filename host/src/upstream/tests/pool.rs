//! One connection per server and owner, its bounds, and its end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::server::SERVER;
use super::support::*;
use crate::upstream::{Connection, Owner, UpstreamError};

async fn pid(connection: &std::sync::Arc<dyn Connection>) -> i64 {
    let said = result(connection, tool("environment", "1", Client::new("c").0)).await;
    serde_json::from_str::<serde_json::Value>(&said).unwrap()["pid"].as_i64().unwrap()
}

#[tokio::test]
async fn one_owner_has_one_connection_and_another_another() {
    let all = upstreams(config(python(SERVER)));
    let connect = |owner: Owner| soon(all.connect(hello(owner, Client::new("c").0)));
    let leases = join_all((0..10).map(|_| connect(Owner::Principal("i".into(), "p".into())))).await;
    let leases: Vec<_> = leases.into_iter().map(Result::unwrap).collect();
    let first = pid(&leases[0].connection).await;
    for lease in &leases {
        assert_eq!(pid(&lease.connection).await, first);
    }
    let other = connect(Owner::Principal("other".into(), "p".into())).await.unwrap();
    assert_ne!(pid(&other.connection).await, first);

    // It lives as long as anybody holds it.
    let mut leases = leases;
    let last = leases.pop().unwrap();
    drop(leases);
    assert_eq!(pid(&last.connection).await, first);
    assert_eq!(
        pid(&connect(Owner::Principal("i".into(), "p".into())).await.unwrap().connection).await,
        first
    );
    drop(last);
    assert_ne!(
        pid(&connect(Owner::Principal("i".into(), "p".into())).await.unwrap().connection).await,
        first
    );
}

#[tokio::test]
async fn giving_up_one_connect_leaves_the_others_theirs() {
    let all = upstreams(config(python(&format!("import time; time.sleep(0.3)\n{SERVER}"))));
    let connect = || all.connect(hello(Owner::Shared, Client::new("c").0));
    let mut first = Box::pin(connect());
    assert!(futures_util::poll!(&mut first).is_pending());
    let second = soon(async {
        let mut second = Box::pin(connect());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        second.await
    });
    pid(&second.await.unwrap().connection).await;
}

#[tokio::test]
async fn children_are_bounded_per_server_and_in_all_and_places_come_free() {
    for total in [false, true] {
        let mut config = config(python(SERVER));
        let (limit, name) = if total {
            (&mut config.limits.children, "limits.children")
        } else {
            (&mut config.limits.children_per_server, "limits.children_per_server")
        };
        *limit = 2;
        let all = upstreams(config);
        let connect = |n: &str| soon(all.connect(hello(session(n), Client::new("c").0)));
        let one = connect("one").await.unwrap();
        let _two = connect("two").await.unwrap();
        match connect("three").await.err() {
            Some(UpstreamError::Busy { limit, .. }) => assert_eq!(limit, name),
            other => panic!("{other:?}"),
        }
        drop(one);
        // The place is free once the child has been waited for; until then it is refused, and not
        // taken for a failed start.
        let end = Instant::now() + LONG;
        while let Err(error) = connect("four").await {
            assert!(matches!(error, UpstreamError::Busy { .. }) && Instant::now() < end, "{error}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn calls_beyond_the_bounds_of_a_server_are_refused_at_once() {
    let mut config = config(python(SERVER));
    config.limits.calls_per_server = 2;
    config.limits.queue_per_server = 1;
    let all = upstreams(config);
    let (client, mut heard_by) = Client::new("c");
    let lease = soon(all.connect(hello(session("a"), client.clone()))).await.unwrap();
    let connection = &lease.connection;
    let hold = || {
        let call = tool("hold", "1", client.clone());
        (call.cancel.clone(), connection.call(call))
    };
    let ((cancel_one, one), (cancel_two, two), (cancel_three, three)) = (hold(), hold(), hold());
    let filled = async {
        heard(&mut heard_by).await;
        heard(&mut heard_by).await;
        let (_, four) = hold();
        let refused = four.await.unwrap_err();
        assert!(matches!(refused, UpstreamError::Busy { limit: "limits.queue_per_server", .. }), "{refused}");
        cancel_three.cancel();
        cancel_one.cancel();
        cancel_two.cancel();
    };
    let (one, two, three, ()) = soon(async { tokio::join!(one, two, three, filled) }).await;
    for reply in [one, two, three] {
        assert!(matches!(reply, Err(UpstreamError::Cancelled)), "{reply:?}");
    }
    for _ in 0..2 {
        assert!(heard(&mut heard_by).await.contains("cancelled"));
    }
    // The one that waited never left.
    let released = result(connection, tool("release", "1", client)).await;
    assert_eq!(released, r#"{"cancelled": [2, 3]}"#);
}

#[tokio::test]
async fn a_server_that_died_is_started_again() {
    let all = upstreams(config(python(SERVER)));
    let (client, _heard) = Client::new("c");
    let lease = soon(all.connect(hello(session("a"), client.clone()))).await.unwrap();
    run(&lease.connection, tool("die", "1", client.clone())).await.unwrap_err();
    let again = soon(all.connect(hello(session("a"), client.clone()))).await.unwrap();
    assert!(result(&again.connection, tool("echo", "1", client.clone())).await.contains("echo"));
    // Letting go of the dead one does not take the new one along.
    drop(lease);
    assert!(result(&again.connection, tool("echo", "1", client)).await.contains("echo"));
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_left_alone_for_a_while() {
    let all = upstreams(config(shell("echo broken >&2; exit 1")));
    let mut errors = Vec::new();
    let began = Instant::now();
    // With waits drawn at random it takes a number of failures until one is long.
    while !errors.last().is_some_and(|e: &String| e.contains("it failed before")) {
        assert!(began.elapsed() < Duration::from_secs(60), "{errors:?}");
        let error = all.connect(hello(session("a"), Client::new("c").0)).await.err().unwrap();
        assert!(matches!(error, UpstreamError::NotStarted { .. }), "{error}");
        errors.push(error.to_string());
    }
    let refused = errors.last().unwrap();
    assert!(refused.contains("is tried again in") && refused.contains("its last words: broken"), "{refused}");
    assert_eq!(refused.matches("could not be started").count(), 1, "{refused}");
    let before = Instant::now();
    all.connect(hello(session("b"), Client::new("c").0)).await.err().unwrap();
    assert!(before.elapsed() < Duration::from_millis(900), "at once");
}

#[tokio::test]
async fn shutdown_ends_everything_and_refuses_more() {
    let all = upstreams(config(python(SERVER)));
    let (client, mut heard_by) = Client::new("c");
    let lease = soon(all.connect(hello(session("a"), client.clone()))).await.unwrap();
    let child = pid(&lease.connection).await;
    let pending = run(&lease.connection, tool("hold", "1", client.clone()));
    let (reply, ()) = tokio::join!(pending, async {
        heard(&mut heard_by).await;
        soon(all.shutdown()).await;
    });
    assert!(matches!(reply, Err(UpstreamError::Gone { may_have_run: true, .. })), "{reply:?}");
    assert!(!std::path::Path::new(&format!("/proc/{child}")).exists());
    let refused = all.connect(hello(session("b"), client)).await.err().unwrap();
    assert!(refused.to_string().contains("shutting down"), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_not_configured_is_named() {
    let all = upstreams(config(python(SERVER)));
    let mut unknown = hello(session("a"), Client::new("c").0);
    unknown.server = "other".into();
    let error = all.connect(unknown).await.err().unwrap();
    assert_eq!(error.to_string(), "server `other` is not reachable: it is not configured");
}
