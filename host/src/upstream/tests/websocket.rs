//! Servers over a WebSocket; the other side is the library's own.
#![allow(clippy::result_large_err, reason = "the signature that the library's callbacks have")]

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::support::*;
use crate::config::Server;
use crate::upstream::{Hello, UpstreamError};

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn accept(listener: &TcpListener) -> Socket {
        let accepted = listener.accept().await.unwrap().0;
        let agree = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.headers()["x-filter"], "filter");
            response.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
            Ok(response)
        };
        let mut socket = Socket(accept_hdr_async(accepted, agree).await.unwrap());
        let hello = socket.next().await;
        let id = hello["id"].as_u64().unwrap();
        let result =
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"w","version":"1"}}"#;
        socket.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).await;
        assert_eq!(socket.next().await["method"], "notifications/initialized");
        socket
    }

    async fn next(&mut self) -> serde_json::Value {
        loop {
            match soon(self.0.next()).await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(_) => panic!("closed"),
                _ => {}
            }
        }
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }
}

async fn listen() -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/mcp?key=hidden", listener.local_addr().unwrap());
    (listener, Server { url: Some(url), ..Server::default() })
}

#[tokio::test]
async fn calls_progress_questions_and_cancellations_go_over_one_socket() {
    let (listener, server) = listen().await;
    let (client, mut heard_by) = Client::new("c");
    let all = upstreams(config(server));
    let filters = Arc::new(Passing::default());
    let hello = Hello { outgoing: filters.clone(), ..hello(session("one"), client.clone()) };
    let (lease, mut socket) = tokio::join!(soon(all.connect(hello)), Socket::accept(&listener));
    let lease = lease.unwrap();
    assert_eq!(lease.transport, "WebSocket");
    let serve = async {
        let id = socket.next().await["id"].as_u64().unwrap();
        socket.0.send(Message::Ping(Bytes::new())).await.unwrap();
        socket.say(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1}}}}"#)).await;
        socket.say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).await;
        socket.say(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#).await;
        let answer = socket.next().await;
        assert_eq!((&answer["id"], &answer["result"]["from"]), (&"q".into(), &"c".into()));
        socket.say("{not json").await;
        socket.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"n":1.50}}}}"#)).await;
    };
    let (answer, ()) = tokio::join!(result(&lease.connection, tool("x", "1", client.clone())), serve);
    assert_eq!(answer, r#"{"n":1.50}"#);
    assert!(heard(&mut heard_by).await.contains(r#""progressToken":"p""#));
    assert!(heard(&mut heard_by).await.contains("notifications/tools/list_changed"));

    let call = tool("x", "1", client);
    let cancel = call.cancel.clone();
    let cancelling = async {
        let id = socket.next().await["id"].clone();
        cancel.cancel();
        let cancelled = socket.next().await;
        assert_eq!(cancelled["method"], "notifications/cancelled");
        assert_eq!(cancelled["params"]["requestId"], id);
    };
    let (reply, ()) = tokio::join!(run(&lease.connection, call), cancelling);
    assert!(matches!(reply, Err(UpstreamError::Cancelled)));
    assert_eq!(*filters.seen.lock().unwrap(), [("stream".to_owned(), "GET".to_owned())]);
    drop(lease);
    assert!(matches!(soon(socket.0.next()).await, Some(Ok(Message::Close(Some(_))))), "no goodbye");
}

#[tokio::test]
async fn every_call_under_way_fails_at_once_when_the_socket_breaks_and_the_next_one_is_new() {
    let (listener, server) = listen().await;
    let (client, _heard) = Client::new("c");
    let all = upstreams(config(server));
    let connecting = || soon(all.connect(hello(session("one"), client.clone())));
    let (lease, mut socket) = tokio::join!(connecting(), Socket::accept(&listener));
    let lease = lease.unwrap();
    let calls = (0..200).map(|_| run(&lease.connection, tool("x", "1", client.clone())));
    let breaking = async {
        for _ in 0..200 {
            socket.next().await;
        }
        drop(socket);
    };
    let (replies, ()) = tokio::join!(futures_util::future::join_all(calls), breaking);
    for error in replies {
        let error = error.unwrap_err();
        assert!(matches!(error, UpstreamError::Gone { may_have_run: true, .. }), "{error}");
        assert!(error.to_string().contains("broke the connection"), "{error}");
    }
    assert!(lease.connection.closed().is_some());
    let (again, _socket) = tokio::join!(connecting(), Socket::accept(&listener));
    again.unwrap();
}

#[tokio::test]
async fn a_server_that_is_no_websocket_is_named_without_its_key() {
    let (listener, server) = listen().await;
    drop(listener);
    let all = upstreams(config(server));
    let error = soon(all.connect(hello(session("a"), Client::new("c").0))).await.err().unwrap().to_string();
    assert!(error.contains("cannot be connected to: connection refused"), "{error}");
    assert!(error.contains("/mcp ") && !error.contains("hidden"), "{error}");
}
