//! What belongs to whom: ids, tokens, cancellation, questions and notices on one shared pipe.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::server::SERVER;
use super::support::*;
use crate::jsonrpc::{Kind, Message};
use crate::upstream::{Owner, UpstreamError};

#[tokio::test]
async fn calls_with_the_same_id_and_token_never_mix() {
    let (joined, _heard) = Client::new("c");
    let all = upstreams(config(python(SERVER)));
    let lease = soon(all.connect(hello(Owner::Shared, joined.clone()))).await.unwrap();
    let connection = &lease.connection;
    let (clients, mut ears): (Vec<_>, Vec<_>) = (0..100).map(|_| Client::new("c")).unzip();
    let calls = clients.into_iter().enumerate().map(|(n, client)| async move {
        let reply = run(connection, tool("hold", &format!("\"canary {n}\""), client)).await.unwrap();
        assert_eq!(reply.message.kind(), Kind::Result);
        let answer = text(&reply.message);
        assert!(answer.contains(&format!("\"canary {n}\"")), "{n}: {answer}");
    });
    let tick = |n: usize, tick: &str, progress: u32| {
        let own = tick.contains(r#""progressToken": "p""#) && tick.contains(&format!("\"canary {n}\""));
        assert!(own && tick.contains(&format!("\"progress\": {progress}")), "{n} {progress}: {tick}");
    };
    let releasing = async {
        for (n, ear) in ears.iter_mut().enumerate() {
            tick(n, &heard(ear).await, 0);
        }
        result(connection, tool("release", "1", joined.clone())).await
    };
    tokio::join!(join_all(calls), releasing);
    // A round trip more proves that everything before it has been read.
    result(connection, tool("echo", "1", joined.clone())).await;
    for (n, ear) in ears.iter_mut().enumerate() {
        for progress in 1..=3 {
            tick(n, &ear.try_recv().unwrap(), progress);
        }
        assert!(ear.try_recv().is_err(), "late progress was dropped");
    }
}

#[tokio::test]
async fn ids_on_the_wire_are_lockgates_own_and_tokens_only_where_the_caller_gave_one() {
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    let with = result(&lease.connection, tool("wire", "1", client.clone())).await;
    assert_eq!(with, r#"{"id": 2, "token": 2}"#);
    let mut call = tool("wire", "1", client);
    call.message = Message::request(b"\"1\"", "tools/call", Some(br#"{"name":"wire"}"#));
    assert_eq!(result(&lease.connection, call).await, r#"{"id": 3, "token": null}"#);
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server_and_no_other() {
    let (client, mut heard_by) = Client::new("c");
    let (other, mut other_heard) = Client::new("other");
    let (_all, lease) = connect(python(SERVER), other.clone()).await;
    let connection = &lease.connection;
    let call = tool("hold", "\"a\"", client.clone());
    let cancel = call.cancel.clone();
    let cancelled = async {
        assert!(heard(&mut heard_by).await.contains("\"a\""), "it is at the server");
        cancel.cancel();
    };
    let (reply, ()) = tokio::join!(run(connection, call), cancelled);
    assert!(matches!(reply, Err(UpstreamError::Cancelled)));
    // Nothing is under way: what the server says of it goes to the session.
    assert!(heard(&mut other_heard).await.contains(r#"["cancelled", 2]"#));

    // One that was only dropped is cancelled as well.
    let mut dropped = connection.call(tool("hold", "\"b\"", client.clone()));
    tokio::select! {
        _ = &mut dropped => panic!("it is never answered"),
        tick = heard(&mut heard_by) => assert!(tick.contains("\"b\"")),
    }
    drop(dropped);
    assert!(heard(&mut other_heard).await.contains(r#"["cancelled", 3]"#));

    // The late answers of both come with these.
    assert_eq!(result(connection, tool("release", "1", client.clone())).await, r#"{"cancelled": [2, 3]}"#);
    result(connection, tool("echo", "1", client)).await;
    assert!(heard_by.try_recv().is_err(), "late progress was dropped");
}

#[tokio::test]
async fn a_deadline_ends_a_call_and_progress_moves_it_up_to_the_hard_one() {
    let (client, mut told) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    let limited = |name, arguments, soft, hard| {
        let mut call = tool(name, arguments, Client::new("c").0);
        call.deadline = Instant::now() + Duration::from_millis(soft);
        call.hard_deadline = Instant::now() + Duration::from_millis(hard);
        call
    };
    let error = run(&lease.connection, limited("hold", "1", 300, 60_000)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout { seconds: 1, .. }), "{error}");
    assert!(heard(&mut told).await.contains(r#"["cancelled", 2]"#));

    let slow = r#"{"times":8,"pause":0.3}"#;
    assert_eq!(result(&lease.connection, limited("ticks", slow, 1500, 60_000)).await, r#"{"done": 8}"#);
    let endless = r#"{"times":100,"pause":0.1}"#;
    let before = Instant::now();
    let error = run(&lease.connection, limited("ticks", endless, 700, 1200)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout { seconds: 2, .. }), "{error}");
    assert!(before.elapsed() >= Duration::from_millis(1200));
}

fn asking(method: &str, id: &str) -> String {
    format!(r#"{{"method":"{method}","id":{}}}"#, serde_json::to_string(id).unwrap())
}

#[tokio::test]
async fn a_question_reaches_its_call_and_the_answer_the_server_under_its_own_id() {
    let (client, mut heard_by) = Client::new("me");
    let (other, mut other_heard) = Client::new("other");
    let (_all, lease) = connect(python(SERVER), other).await;
    for id in ["7", "\"7\"", "\"\\u00e9\\/\"", "\"1\"", "1"] {
        let call = tool("ask", &asking("sampling/createMessage", id), client.clone());
        let answer = result(&lease.connection, call).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"from":"me","n":1.50}}}}"#);
        assert_eq!(answer["answer"], expected);
        let asked = heard(&mut heard_by).await;
        assert!(
            asked.contains("sampling/createMessage") && asked.contains(r#""progressToken":7"#),
            "{asked}"
        );
    }
    let ping = result(&lease.connection, tool("ask", &asking("ping", "9"), client)).await;
    assert!(ping.contains(r#"\"id\":9,\"result\":{}"#), "{ping}");
    assert!(heard_by.try_recv().is_err() && other_heard.try_recv().is_err(), "nobody is asked for a ping");
}

#[tokio::test]
async fn with_several_calls_under_way_the_newest_of_one_session_is_asked_and_nobody_of_several() {
    for (owner, asked) in [(session("one"), true), (Owner::Shared, false)] {
        let (first, mut first_heard) = Client::new("first");
        let (second, _second_heard) = Client::new("second");
        let all = upstreams(config(python(SERVER)));
        let lease = soon(all.connect(hello(owner, first.clone()))).await.unwrap();
        let connection = &lease.connection;
        let held = run(connection, tool("hold", "1", first.clone()));
        let asking = async {
            heard(&mut first_heard).await;
            let call = tool("ask", &asking("roots/list", "\"q\""), second);
            let answer = result(connection, call).await;
            assert_eq!(answer.contains(r#"\"from\":\"second\""#), asked, "{answer}");
            assert_eq!(answer.contains(r#"\"error\":"#), !asked, "{answer}");
            result(connection, tool("release", "1", first.clone())).await;
        };
        let (held, ()) = tokio::join!(held, asking);
        held.unwrap();
    }
}

#[tokio::test]
async fn on_a_shared_connection_nobody_is_asked_in_the_place_of_who_left() {
    for (owner, asked) in [(session("one"), true), (Owner::Shared, false)] {
        let (gone, mut gone_heard) = Client::new("gone");
        let (here, mut here_heard) = Client::new("here");
        let all = upstreams(config(python(SERVER)));
        let lease = soon(all.connect(hello(owner, here.clone()))).await.unwrap();
        let connection = &lease.connection;
        let question = || tool("ask", &asking("elicitation/create", "\"q\""), here.clone());
        let answer = result(connection, question()).await;
        assert!(answer.contains(r#"\"from\":\"here\""#), "the only call there is: {answer}");

        let mut left = connection.call(tool("hold", "1", gone));
        tokio::select! {
            _ = &mut left => panic!("it is never answered"),
            _ = heard(&mut gone_heard) => {}
        }
        drop(left);
        // The question may well be for the call that was abandoned.
        let answer = result(connection, question()).await;
        assert_eq!(answer.contains(r#"\"from\":\"here\""#), asked, "{answer}");
        assert_eq!(answer.contains("not certain which client"), !asked, "{answer}");
        here_heard.close();
    }
}

#[tokio::test]
async fn a_question_outlives_a_call_that_was_answered_meanwhile() {
    let (client, mut told) = Client::new("session");
    let (silent, mut heard_by, ready) = Client::silent();
    let (_all, lease) = connect(python(SERVER), client).await;
    // As servers do that ask for the roots whenever they like: it only seems to belong to the call.
    assert_eq!(result(&lease.connection, tool("ask and go", "1", silent)).await, r#"{"gone": true}"#);
    assert!(heard(&mut heard_by).await.contains("roots/list"));
    ready.cancel();
    let answer = heard(&mut told).await;
    assert!(answer.contains(r#""id": "later", "result": {"from": "silent""#), "{answer}");
}

#[tokio::test]
async fn a_question_that_is_taken_back_or_outlives_its_call_is_dropped() {
    let (silent, mut heard_by, _never) = Client::silent();
    let (client, mut told) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    let connection = &lease.connection;
    let call = tool("ask", &asking("elicitation/create", "\"q\""), silent.clone());
    let cancel = call.cancel.clone();
    let asking_one = run(connection, call);
    let voiding = async {
        assert!(heard(&mut heard_by).await.contains("elicitation/create"));
        result(connection, tool("void", r#"{"id":"q"}"#, client.clone())).await;
        assert_eq!(heard(&mut heard_by).await, "question dropped");
        cancel.cancel();
    };
    let (reply, ()) = tokio::join!(asking_one, voiding);
    assert!(matches!(reply, Err(UpstreamError::Cancelled)));
    assert!(heard(&mut told).await.contains(r#"["cancelled", 2]"#));

    let mut call = tool("ask", &asking("elicitation/create", "\"r\""), silent);
    call.hard_deadline = Instant::now() + Duration::from_millis(300);
    assert!(matches!(run(connection, call).await, Err(UpstreamError::Timeout { .. })));
    assert!(heard(&mut heard_by).await.contains("elicitation/create"));
    assert_eq!(heard(&mut heard_by).await, "question dropped");
}

#[tokio::test]
async fn notices_reach_everybody_they_are_for() {
    let all = upstreams(config(python(SERVER)));
    let (one, mut one_heard) = Client::new("one");
    let (two, mut two_heard) = Client::new("two");
    let (caller, mut caller_heard) = Client::new("caller");
    let lease = soon(all.connect(hello(Owner::Shared, one))).await.unwrap();
    let second = soon(all.connect(hello(Owner::Shared, two))).await.unwrap();
    let notice = |method: &str| tool("notice", &format!(r#"{{"method":"{method}"}}"#), caller.clone());
    for method in ["notifications/tools/list_changed", "notifications/resources/updated"] {
        result(&lease.connection, notice(method)).await;
        assert!(heard(&mut one_heard).await.contains(method));
        assert!(heard(&mut two_heard).await.contains(method));
    }
    // A log message belongs to the only call there is; something unknown to nobody for certain.
    result(&lease.connection, notice("notifications/message")).await;
    assert!(heard(&mut caller_heard).await.contains("notifications/message"));
    result(&lease.connection, notice("notifications/unknown")).await;
    drop(second);
    result(&lease.connection, notice("notifications/tools/list_changed")).await;
    assert!(heard(&mut one_heard).await.contains("tools/list_changed"));
    assert!(two_heard.recv().await.is_none(), "who left hears nothing");
    assert!(one_heard.try_recv().is_err() && caller_heard.try_recv().is_err());
}

#[tokio::test]
async fn notifications_of_a_client_pass_but_progress_only_where_it_is_the_only_one() {
    for (owner, passes) in [(session("one"), true), (Owner::Shared, false)] {
        let (client, mut heard_by) = Client::new("c");
        let all = upstreams(config(python(SERVER)));
        let lease = soon(all.connect(hello(owner, client.clone()))).await.unwrap();
        for (method, params) in [
            ("notifications/progress", r#"{"progressToken":7,"progress":1}"#),
            ("notifications/cancelled", r#"{"requestId":1}"#),
            ("notifications/roots/list_changed", "{}"),
        ] {
            let notification = Message::notification(method, Some(params.as_bytes()));
            soon(lease.connection.notify(notification, outgoing())).await.unwrap();
        }
        // What arrived is told to the session where there is one.
        result(&lease.connection, tool("echo", "1", client.clone())).await;
        let mut told = String::new();
        while let Ok(one) = heard_by.try_recv() {
            told += &one;
        }
        assert_eq!(told.contains("progressToken"), passes, "{told}");
        assert!(!told.contains("requestId"), "{told}");
        assert!(!passes || told.contains("roots/list_changed"), "{told}");
    }
}

#[tokio::test]
async fn a_question_that_breaks_the_law_is_answered_and_ends_no_call() {
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    // The first is the id of the call itself on the wire: a server counts its own ids as it likes.
    for id in ["2", "\"own\""] {
        let told = result(&lease.connection, tool("ask badly", id, client.clone())).await;
        assert!(told.contains("-32600") && told.contains("`params` must be an object"), "{id}: {told}");
    }
}
