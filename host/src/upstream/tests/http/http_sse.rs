//! HTTP+SSE, and which of the two transports over HTTP is used when (row B5 of the feature list).

use std::sync::Arc;

use super::super::support::*;
use super::two_ways::{Get, Post, TwoWays};
use crate::config::{Config, Server, Transport};
use crate::upstream::{Hello, Lease, UpstreamError, Upstreams};

const ENDPOINT: Get = Get::Names("/message?sessionId=1");
const GONE: Get = Get::Says("404 Not Found");

fn at(web: &TwoWays, transport: Transport) -> Config {
    let mut config = config(Server { url: Some(web.url.clone()), transport, ..Server::default() });
    config.limits.probe_seconds = 1;
    config
}

async fn open(all: &Upstreams) -> Result<Lease, UpstreamError> {
    soon(all.connect(hello(session("one"), Client::new("c").0))).await
}

#[tokio::test]
async fn row_b5_what_a_server_does_and_the_strategy_decide_over_which_transport_it_is_reached() {
    use Transport::{Auto, HttpFirst, HttpOnly, SseFirst, SseOnly};
    const OK: &str = "ok";
    let old = Post::Says("404 Not Found");
    // What a POST and a GET get, the strategy, what comes of it, and the exchanges up to there.
    let matrix: &[(Post, Get, Transport, &str, &[&str])] = &[
        (Post::Speaks, GONE, Auto, "Streamable HTTP", &["POST"]),
        (old, ENDPOINT, Auto, "HTTP+SSE", &["POST", "GET", "message"]),
        (old, ENDPOINT, HttpFirst, "HTTP+SSE", &["POST", "GET", "message"]),
        (Post::Says("405 Method Not Allowed"), ENDPOINT, Auto, "HTTP+SSE", &["POST", "GET", "message"]),
        (Post::Says("400 Bad Request"), ENDPOINT, Auto, "HTTP+SSE", &["POST", "GET", "message"]),
        (old, ENDPOINT, HttpOnly, "HTTP 404: no Streamable HTTP server", &["POST"]),
        (old, ENDPOINT, SseOnly, "HTTP+SSE", &["GET", "message"]),
        (old, ENDPOINT, SseFirst, "HTTP+SSE", &["GET", "message"]),
        (Post::Speaks, ENDPOINT, SseFirst, "HTTP+SSE", &["GET", "message"]),
        (Post::Speaks, ENDPOINT, Auto, "Streamable HTTP", &["POST"]),
        (Post::Speaks, Get::Says("405 Method Not Allowed"), SseFirst, "Streamable HTTP", &["GET", "POST"]),
        (Post::Speaks, Get::Says("400 Bad Request"), SseFirst, "Streamable HTTP", &["GET", "POST"]),
        (Post::Speaks, Get::Streams, SseFirst, "Streamable HTTP", &["GET", "POST"]),
        (Post::Speaks, Get::Ends, SseFirst, "Streamable HTTP", &["GET", "POST"]),
        (Post::Speaks, Get::Waits, SseFirst, "Streamable HTTP", &["GET", "POST"]),
        (Post::Speaks, GONE, SseOnly, "HTTP 404: no HTTP+SSE server", &["GET"]),
        (Post::Speaks, Get::Waits, SseOnly, "did not name an `endpoint` within 1 s", &["GET"]),
        // A proper answer to `initialize`, whatever its status, is an answer.
        (Post::Errs("400 Bad Request"), ENDPOINT, Auto, "refused to initialize: not you", &["POST"]),
        // But one that says that nothing is there is none.
        (Post::Errs("404 Not Found"), ENDPOINT, Auto, "HTTP+SSE", &["POST", "GET", "message"]),
        // Neither credentials nor an outage are evidence of anything.
        (Post::Says("401 Unauthorized"), ENDPOINT, Auto, "HTTP 401", &["POST"]),
        (Post::Says("403 Forbidden"), ENDPOINT, Auto, "HTTP 403", &["POST"]),
        (Post::Says("500 Internal Server Error"), ENDPOINT, Auto, "HTTP 500", &["POST"]),
        (Post::Says("429 Too Many Requests"), ENDPOINT, Auto, "HTTP 429", &["POST"]),
        (Post::Says("200 OK"), ENDPOINT, Auto, "HTTP 200 with text/plain", &["POST"]),
        (Post::Breaks, ENDPOINT, Auto, "connection closed", &["POST"]),
        (Post::Speaks, Get::Says("401 Unauthorized"), SseFirst, "HTTP 401", &["GET"]),
        (Post::Speaks, Get::Says("503 Service Unavailable"), SseFirst, "HTTP 503", &["GET"]),
        // What was tried is said, both times.
        (old, GONE, Auto, "tried Streamable HTTP", &["POST", "GET"]),
        (old, GONE, Auto, "tried HTTP+SSE", &["POST", "GET"]),
        (old, Get::Says("401 Unauthorized"), Auto, "tried HTTP+SSE: http", &["POST", "GET"]),
    ];
    for (post, get, transport, expected, exchanges) in matrix {
        let case = format!("{post:?} {get:?} {transport:?}");
        let web = TwoWays::start(*post, *get).await;
        let all = upstreams(at(&web, *transport));
        let came = match open(&all).await {
            Ok(lease) => format!("{OK} {}", lease.transport),
            Err(error) => error.to_string(),
        };
        assert!(came.contains(expected), "{case}: {came}");
        assert_eq!(
            came.starts_with(OK),
            ["Streamable HTTP", "HTTP+SSE"].contains(expected),
            "{case}: {came}"
        );
        let seen: Vec<String> = web
            .exchanges()
            .iter()
            .filter(|one| !one.contains("notifications/"))
            .map(|one| match one.split_once(' ').unwrap() {
                (_, message) if message.starts_with("/message") => "message".to_owned(),
                (method, _) => method.to_owned(),
            })
            .take(exchanges.len())
            .collect();
        assert_eq!(seen, *exchanges, "{case}");
    }
}

#[tokio::test]
async fn row_b5_what_was_found_is_asked_first_and_found_again_when_it_is_wrong() {
    let web = TwoWays::start(Post::Says("404 Not Found"), ENDPOINT).await;
    let all = upstreams(at(&web, Transport::Auto));
    drop(open(&all).await.unwrap());
    assert_eq!(web.exchanges()[0], "POST /mcp initialize");
    assert_eq!(open(&all).await.unwrap().transport, "HTTP+SSE");
    assert_eq!(web.exchanges()[0], "GET /mcp", "it is remembered");
    // It is upgraded, and the old transport goes.
    web.now(Post::Speaks, Get::Says("405 Method Not Allowed"));
    assert_eq!(open(&all).await.unwrap().transport, "Streamable HTTP");
    // With both there, only what is asked first is taken.
    web.now(Post::Speaks, ENDPOINT);
    assert_eq!(open(&all).await.unwrap().transport, "Streamable HTTP");
}

#[tokio::test]
async fn row_b5_everything_goes_over_the_old_transport_and_filters_see_every_exchange() {
    let web = TwoWays::start(Post::Speaks, ENDPOINT).await;
    let (client, mut heard_by) = Client::new("c");
    let filters = Arc::new(Passing::default());
    let all = upstreams(at(&web, Transport::SseOnly));
    let hello = Hello { outgoing: filters.clone(), ..hello(session("one"), client.clone()) };
    let lease = soon(all.connect(hello)).await.unwrap();
    let answer = result(&lease.connection, tool("progress", "1", client.clone())).await;
    assert_eq!(answer, r#"{"n":1.50}"#);
    assert!(heard(&mut heard_by).await.contains(r#""progressToken":"p""#));
    assert!(heard(&mut heard_by).await.contains("notifications/tools/list_changed"));

    let mut call = tool("ask", "1", client.clone());
    call.outgoing = filters.clone();
    let cancel = call.cancel.clone();
    let asking = async {
        assert!(heard(&mut heard_by).await.contains(r#""progress":1"#));
        assert!(heard(&mut heard_by).await.contains("roots/list"));
        let answer = soon(web.until(|seen| seen.body.contains(r#""from":"c""#))).await;
        assert!(answer.path.starts_with("/message?sessionId=1") && answer.body.contains(r#""id":"q""#));
        cancel.cancel();
    };
    let (reply, ()) = tokio::join!(run(&lease.connection, call), asking);
    assert!(matches!(reply, Err(UpstreamError::Cancelled)));
    soon(web.until(|seen| seen.body.contains("notifications/cancelled"))).await;

    let seen = web.seen();
    for one in &seen {
        assert!(one.headers.contains(&("x-filter".into(), "filter".into())), "{one:?}");
        let refused = |name: &str| one.headers.iter().any(|(header, _)| header == name);
        assert!(!refused("mcp-session-id") && !refused("mcp-protocol-version"), "{one:?}");
    }
    let purposes: Vec<_> = filters.seen.lock().unwrap().clone();
    for expected in [("stream", "GET"), ("initialize", "POST"), ("notification", "POST"), ("answer", "POST")]
    {
        let expected = (expected.0.to_owned(), expected.1.to_owned());
        assert!(purposes.contains(&expected), "{expected:?} in {purposes:?}");
    }
}

#[tokio::test]
async fn row_b5_an_endpoint_elsewhere_gets_nothing() {
    let stranger = TwoWays::start(Post::Speaks, ENDPOINT).await;
    let elsewhere: &'static str = stranger.url.clone().leak();
    let web = TwoWays::start(Post::Speaks, Get::Names(elsewhere)).await;
    let all = upstreams(at(&web, Transport::SseOnly));
    let error = open(&all).await.err().unwrap().to_string();
    assert!(error.contains("lies elsewhere"), "{error}");
    assert_eq!(stranger.seen().len(), 0);
    assert_eq!(web.seen().len(), 1);
}

#[tokio::test]
async fn row_b5_the_end_of_the_stream_fails_everything_under_way_and_the_next_session_is_new() {
    let web = TwoWays::start(Post::Speaks, ENDPOINT).await;
    let (client, mut heard_by) = Client::new("c");
    let all = upstreams(at(&web, Transport::SseOnly));
    let lease = soon(all.connect(hello(session("one"), client.clone()))).await.unwrap();
    let ending = async {
        for _ in 0..2 {
            heard(&mut heard_by).await;
        }
        web.put("");
    };
    let (one, two, ()) = tokio::join!(
        run(&lease.connection, tool("never", "1", client.clone())),
        run(&lease.connection, tool("never", "2", client.clone())),
        ending
    );
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(matches!(error, UpstreamError::Gone { may_have_run: true, .. }), "{error}");
        assert!(error.to_string().contains("the stream"), "{error}");
    }
    assert!(lease.connection.closed().is_some());
    let again = soon(all.connect(hello(session("one"), client.clone()))).await.unwrap();
    result(&again.connection, tool("progress", "1", client)).await;
}

#[tokio::test]
async fn an_answer_on_the_stream_that_is_cut_at_any_byte_is_never_a_success() {
    let web = TwoWays::start(Post::Speaks, ENDPOINT).await;
    let all = upstreams(at(&web, Transport::SseOnly));
    let answer = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"a\":\"é\"}}\n\n";
    for cut in 0..=answer.len() {
        if !answer.is_char_boundary(cut) {
            continue;
        }
        let (client, mut heard_by) = Client::new("c");
        let lease = soon(all.connect(hello(session("one"), client.clone()))).await.unwrap();
        let cutting = async {
            heard(&mut heard_by).await;
            web.put(&answer[..cut]);
            web.put("");
        };
        let (reply, ()) = tokio::join!(run(&lease.connection, tool("never", "1", client)), cutting);
        if cut == answer.len() {
            reply.unwrap();
        } else {
            assert!(matches!(reply, Err(UpstreamError::Gone { may_have_run: true, .. })), "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn an_event_without_end_ends_the_session_within_its_bound() {
    let web = TwoWays::start(Post::Speaks, ENDPOINT).await;
    let mut config = at(&web, Transport::SseOnly);
    config.limits.server_message_bytes = 64 << 10;
    let (all, (client, mut heard_by)) = (upstreams(config), Client::new("c"));
    let lease = soon(all.connect(hello(session("one"), client.clone()))).await.unwrap();
    let flooding = async {
        heard(&mut heard_by).await;
        for _ in 0..8 {
            web.put(&format!("data: {}\n", "x".repeat(16 << 10)));
        }
    };
    let (reply, ()) = tokio::join!(run(&lease.connection, tool("never", "1", client)), flooding);
    assert!(reply.unwrap_err().to_string().contains("limits.server_message_bytes (65536)"));
}
