//! Streamable HTTP: sessions, streams, and servers that answer otherwise than they should.

mod http_sse;
mod server;
mod two_ways;

use std::time::{Duration, Instant};

use std::sync::Arc;

use super::support::*;
use crate::config::Server;
use crate::upstream::{Owner, UpstreamError, Upstreams};
use server::{Seen, Web};

fn at(url: String) -> Server {
    Server {
        url: Some(url),
        headers: [("X-Configured", "configured"), ("X-Both", "configured"), ("Accept", "text/html")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ..Server::default()
    }
}

async fn connected(web: &Web, client: Arc<Client>) -> (Upstreams, crate::upstream::Lease) {
    connect(at(web.url()), client).await
}

fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
}

#[tokio::test]
async fn a_session_is_opened_kept_and_ended() {
    let web = Web::start().await;
    let (client, _heard) = Client::new("c");
    let (all, lease) = connected(&web, client.clone()).await;
    assert_eq!(
        lease.connection.handshake().protocol_version,
        "2025-06-18",
        "the server offered another revision"
    );
    let reply = run(&lease.connection, tool("json", "\"é\"", client.clone())).await.unwrap();
    let (status, headers) = reply.head.unwrap();
    assert_eq!((status, headers.get("x-server").unwrap().to_str().unwrap()), (200, "yes"));
    assert!(text(&reply.message).contains(r#""name":"json","arguments":"é""#));
    drop(lease);
    soon(all.shutdown()).await;
    let seen = web.seen();
    let of = |method: &str, part: &str| {
        seen.iter()
            .find(|s| s.method == method && s.body.contains(part))
            .unwrap_or_else(|| panic!("{method} {part}: {seen:?}"))
    };
    let initialize = of("POST", r#""method":"initialize""#);
    assert_eq!((header(initialize, "mcp-session-id"), header(initialize, "mcp-protocol-version")), ("", ""));
    for one in
        [of("POST", "notifications/initialized"), of("POST", "tools/call"), of("GET", ""), of("DELETE", "")]
    {
        assert_eq!(header(one, "mcp-session-id"), "session-1", "{one:?}");
        assert_eq!(header(one, "mcp-protocol-version"), "2025-06-18", "{one:?}");
        assert_eq!((header(one, "x-configured"), header(one, "x-filter")), ("configured", "filter"));
        assert_eq!(header(one, "x-both"), "filter", "a filter's header wins");
        assert!(header(one, "accept").contains("text/event-stream"), "the transport's own cannot be set");
        assert_eq!(header(one, "accept-encoding"), "identity");
    }
    assert_eq!(header(of("POST", "tools/call"), "accept"), "application/json, text/event-stream");
}

#[tokio::test]
async fn an_event_stream_brings_progress_then_the_answer_and_its_connection_serves_again() {
    let web = Web::start().await;
    let (client, mut heard_by) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    for _ in 0..5 {
        let answer = result(&lease.connection, tool("sse", "1", client.clone())).await;
        assert_eq!(answer, r#"{"streamed":1.0}"#);
        for n in 1..=3 {
            let tick = heard_by.try_recv().unwrap();
            assert!(
                tick.contains(&format!("\"progress\":{n}")) && tick.contains(r#""progressToken":"p""#),
                "{tick}"
            );
        }
        let log = heard_by.try_recv().unwrap();
        assert!(
            log.contains("notifications/message"),
            "what is on the call's own stream belongs to it: {log}"
        );
        // Let the rest of the stream be read.
        soon(web.idle()).await;
    }
    assert!(web.connections() <= 4, "{} connections", web.connections());
}

#[tokio::test]
async fn a_question_on_a_calls_stream_is_answered_by_its_own_client() {
    let web = Web::start().await;
    let (joined, mut joined_heard) = Client::new("joined");
    let all = upstreams(config(at(web.url())));
    let lease = soon(all.connect(hello(Owner::Shared, joined))).await.unwrap();
    let connection = &lease.connection;
    let both = ["ann", "bob"].map(|name| async move {
        let (client, _heard) = Client::new(name);
        let answer = result(connection, tool("ask", &format!("\"q-{name}\""), client)).await;
        assert!(answer.contains(&format!(r#""from":"{name}""#)), "{answer}");
        assert!(answer.contains(&format!(r#""id":"q-{name}""#)), "{answer}");
    });
    futures_util::future::join_all(both).await;
    assert!(joined_heard.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_that_is_polled_for_is_taken_up_again_and_not_asked_for_again() {
    let web = Web::start().await;
    let (client, mut heard_by) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    let answer = result(&lease.connection, tool("poll", "1", client.clone())).await;
    assert_eq!(answer, r#"{"polled":true}"#);
    assert!(heard(&mut heard_by).await.contains(r#""progress":1"#));
    let seen = web.seen();
    assert_eq!(seen.iter().filter(|s| s.body.contains("tools/call")).count(), 1);
    let resumed: Vec<_> =
        seen.iter().map(|s| header(s, "last-event-id")).filter(|id| !id.is_empty()).collect();
    assert_eq!(resumed, ["a1", "a2"]);

    let error = run(&lease.connection, tool("poll-lost", "1", client)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Gone { may_have_run: true, .. }), "{error}");
    assert!(error.to_string().contains("HTTP 405"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_and_never_a_short_answer() {
    let web = Web::start().await;
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    for name in ["cut-json", "cut-sse", "cut-head", "closed-sse"] {
        let error = run(&lease.connection, tool(name, "1", client.clone())).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Gone { may_have_run: true, .. }), "{name}: {error:?}");
        assert!(!error.to_string().contains("hyper"), "{error}");
    }
    let executed =
        web.seen().iter().filter(|s| s.body.contains("\"cut-") || s.body.contains("\"closed-")).count();
    assert_eq!(executed, 4, "nothing was sent twice");
    assert!(lease.connection.closed().is_none());
    result(&lease.connection, tool("json", "1", client)).await;
}

#[tokio::test]
async fn a_chunked_answer_that_is_cut_at_any_byte_is_an_error_and_never_a_success() {
    let web = Web::start().await;
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    for at in 0.. {
        let answer = run(&lease.connection, tool("cut-at", &at.to_string(), client.clone())).await;
        let asked = web.seen().iter().rfind(|seen| seen.body.contains("cut-at")).unwrap().body.clone();
        let id = serde_json::from_str::<serde_json::Value>(&asked).unwrap()["id"].as_u64().unwrap();
        let whole = server::chunked(id).len();
        match answer {
            Ok(_) => {
                assert_eq!(at, whole, "a part of the answer passed for all of it");
                break;
            }
            Err(UpstreamError::Gone { may_have_run: true, .. }) => assert!(at < whole),
            Err(error) => panic!("cut at {at}: {error}"),
        }
    }
}

#[tokio::test]
async fn answers_that_are_none_are_named() {
    let web = Web::start().await;
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    for (name, parts) in [
        (
            "redirect",
            &["not reachable", "HTTP 307", "http://elsewhere.example/mcp", "redirects are not followed"][..],
        ),
        ("403", &["not reachable", "HTTP 403"]),
        ("500", &["HTTP 500", "it said: out of order", "the call may have run"]),
        ("html", &["text/html", "no MCP server", "may have run"]),
        ("202", &["HTTP 202", "instead of a message"]),
        ("other-id", &["something else than what it was asked"]),
        ("not-json", &["unacceptable message"]),
        ("huge", &["unacceptable message", "limits.server_message_bytes"]),
        ("huge-sse", &["unacceptable message", "limits.server_message_bytes"]),
    ] {
        let error = run(&lease.connection, tool(name, "1", client.clone())).await.unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{name}: {error}");
        }
        assert!(!error.contains("hidden"), "the query is not shown: {error}");
    }
    for (name, status) in [("refused", 400), ("401", 401)] {
        let refused = run(&lease.connection, tool(name, "1", client.clone())).await.unwrap();
        assert_eq!(refused.head.unwrap().0, status);
        assert!(
            refused.message.error_object().is_some(),
            "a JSON-RPC error is an answer, whatever its status"
        );
    }
    assert!(lease.connection.closed().is_none(), "none of these ends the session");
}

#[tokio::test]
async fn a_dead_session_closes_the_connection_and_the_next_one_is_new() {
    for name in ["dead-404", "dead-400"] {
        let web = Web::start().await;
        let (client, _heard) = Client::new("c");
        let (all, lease) = connected(&web, client.clone()).await;
        let error = run(&lease.connection, tool(name, "1", client.clone())).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Gone { may_have_run: false, .. }), "{name}: {error}");
        assert!(lease.connection.closed().is_some());
        let again = soon(all.connect(hello(session("one"), client.clone()))).await.unwrap();
        result(&again.connection, tool("json", "1", client)).await;
        let seen = web.seen();
        let last = seen.iter().rfind(|s| s.body.contains("tools/call")).unwrap();
        assert_eq!(header(last, "mcp-session-id"), "session-2");
        assert!(seen.iter().all(|s| s.method != "DELETE"), "what is dead needs no end");
    }
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_by_a_message_of_its_own() {
    let web = Web::start().await;
    let (client, mut heard_by) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    let call = tool("hang", "1", client);
    let cancel = call.cancel.clone();
    let (reply, ()) = tokio::join!(run(&lease.connection, call), async {
        assert!(heard(&mut heard_by).await.contains("\"progress\":1"));
        cancel.cancel();
    });
    assert!(matches!(reply, Err(UpstreamError::Cancelled)));
    let seen = soon(web.until(|s| s.body.contains("notifications/cancelled"))).await;
    assert!(seen.body.contains(r#""requestId":2"#), "{seen:?}");
    assert_eq!(header(&seen, "mcp-session-id"), "session-1");
}

#[tokio::test]
async fn the_stream_for_notifications_is_taken_up_again_where_it_broke_off() {
    let web = Web::start_streaming().await;
    let (client, mut heard_by) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    assert!(heard(&mut heard_by).await.contains("notifications/tools/list_changed"));
    assert!(heard(&mut heard_by).await.contains("notifications/message"));
    // Of the same stream after it was closed: a question that belongs to no call.
    assert!(heard(&mut heard_by).await.contains("roots/list"));
    let answer = soon(web.until(|s| s.body.contains("\"result\""))).await;
    assert!(answer.body.contains(r#""id":"free""#) && answer.body.contains(r#""from":"c""#), "{answer:?}");
    let gets = web.seen();
    let gets: Vec<_> =
        gets.iter().filter(|s| s.method == "GET").map(|s| header(s, "last-event-id")).collect();
    assert_eq!(gets, ["", "e2"]);
    // An answer does not count there, whatever its id.
    result(&lease.connection, tool("json", "1", client)).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_at_once() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let all = upstreams(config(at(format!("http://{address}/mcp?key=hidden"))));
    let error = soon(all.connect(hello(session("a"), Client::new("c").0))).await.err().unwrap();
    let said = error.to_string();
    assert_eq!(said, format!("server `s` is not reachable: http://{address}/mcp: connection refused"));
    let web = Web::start().await;
    let all = upstreams(config(at(format!("{}/nowhere", web.origin()))));
    let said = soon(all.connect(hello(session("a"), Client::new("c").0))).await.err().unwrap().to_string();
    assert!(said.contains("HTTP 404") && said.contains("check the path"), "{said}");
    let all = upstreams(config(at("ftp://x/".to_owned())));
    let said = soon(all.connect(hello(session("a"), Client::new("c").0))).await.err().unwrap().to_string();
    assert!(said.contains("does not begin with http"), "{said}");
}

#[tokio::test]
async fn a_filter_that_refuses_an_exchange_is_heard() {
    let web = Web::start().await;
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    let mut call = tool("json", "1", client);
    let filters = Arc::new(Passing { refuse: Some("call"), ..Passing::default() });
    call.outgoing = filters.clone();
    let error = run(&lease.connection, call).await.unwrap_err();
    assert_eq!(error.to_string(), "refused on the way to server `s`: not with me");
    assert_eq!(*filters.seen.lock().unwrap(), [("call".to_owned(), "POST".to_owned())]);
    assert!(!web.seen().iter().any(|s| s.body.contains("tools/call")));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let web = Web::start().await;
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connected(&web, client.clone()).await;
    let mut call = tool("hang", "1", client);
    call.hard_deadline = Instant::now() + Duration::from_millis(300);
    let error = run(&lease.connection, call).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout { .. }), "{error}");
    soon(web.until(|s| s.body.contains("notifications/cancelled"))).await;
}
