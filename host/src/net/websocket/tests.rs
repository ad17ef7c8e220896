//! Against real sockets; the other side is the library's own server, or bytes by hand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]
#![allow(clippy::result_large_err, reason = "the signature that the library's callbacks have")]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::*;
use crate::net::connector;

const SECOND: Duration = Duration::from_secs(1);
/// Nothing in these tests takes this long unless it is broken.
const LONG: Duration = Duration::from_secs(20);

/// Fails the test instead of hanging it.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("waited {LONG:?}"))
}

fn options() -> Options {
    Options {
        connect: 5 * SECOND,
        message_bytes: 1000,
        ping: 5 * SECOND,
        patience: 10 * SECOND,
        protocol: Some("mcp"),
    }
}

async fn listen() -> (TcpListener, Uri) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ws://{}/mcp?key=1", listener.local_addr().unwrap()).parse().unwrap();
    (listener, uri)
}

async fn dial(uri: &Uri, options: Options) -> Result<(Sender, Receiver), Error> {
    let headers = HeaderMap::from_iter([
        (http::header::AUTHORIZATION, HeaderValue::from_static("Bearer x")),
        (http::header::HOST, HeaderValue::from_static("elsewhere.example")),
    ]);
    connect(uri, &headers, connector(SECOND).unwrap(), options).await
}

fn agree(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mcp"));
    Ok(response)
}

async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    accept_hdr_async(listener.accept().await.unwrap().0, agree).await.unwrap()
}

/// A connection and the raw socket at its other end, right after the handshake.
async fn raw(options: Options) -> (Sender, Receiver, TcpStream) {
    let (listener, uri) = listen().await;
    let (ours, theirs) = tokio::join!(dial(&uri, options), accept(&listener));
    let (sender, receiver) = ours.unwrap();
    (sender, receiver, theirs.into_inner())
}

#[tokio::test]
async fn messages_go_both_ways_under_the_headers_and_the_subprotocol_asked_for() {
    let (listener, uri) = listen().await;
    let server = tokio::spawn(async move {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
        let note = std::sync::Arc::clone(&seen);
        let callback = move |request: &Request, response: Response| {
            *note.lock().unwrap() = Some((request.uri().clone(), request.headers().clone()));
            agree(request, response)
        };
        let mut socket = accept_hdr_async(listener.accept().await.unwrap().0, callback).await.unwrap();
        socket.send(Message::Ping(Bytes::from_static(b"are you there"))).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(text) => socket.send(Message::Text(text)).await.unwrap(),
                Message::Pong(data) => assert_eq!(&data[..], b"are you there"),
                _ => {}
            }
        }
        seen.lock().unwrap().take().unwrap()
    });
    let (mut sender, mut receiver) = dial(&uri, options()).await.unwrap();
    for text in ["{\"é\":1}", "two"] {
        sender.send(Bytes::from_static(text.as_bytes())).await.unwrap();
        assert_eq!(receiver.next().await.unwrap(), text);
    }
    assert!(matches!(sender.send(Bytes::from_static(b"\xff")).await, Err(Error::Protocol(_))));
    sender.close("done").await;
    assert!(matches!(receiver.next().await, Err(Error::Closed(_))));
    drop(receiver);
    let (path, headers) = server.await.unwrap();
    assert_eq!(path, "/mcp?key=1");
    assert_eq!(headers["authorization"], "Bearer x");
    assert_eq!(headers["sec-websocket-protocol"], "mcp");
    assert_eq!(headers["host"], uri.authority().unwrap().as_str());
    assert!(!headers.contains_key("sec-websocket-extensions"), "compression was offered");
}

#[tokio::test]
async fn what_is_no_websocket_is_said_to_be_none_and_why() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    for (answer, expected) in [
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 5\r\n\r\nno :(",
            "answered HTTP 401 instead of opening a WebSocket; it said: no :(",
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n<html>", "answered HTTP 404 instead of opening a WebSocket"),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", "answered HTTP 302 instead of opening a WebSocket"),
        (
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "broke the WebSocket protocol: its answer to the handshake is no HTTP",
        ),
        ("", "broke the connection (it ended within the handshake)"),
        (
            &format!("{switching}Sec-WebSocket-Accept: x\r\n\r\n"),
            "broke the WebSocket protocol: Key mismatch in \"Sec-WebSocket-Accept\" header",
        ),
    ] {
        let (listener, uri) = listen().await;
        let serve = async {
            let mut socket = listener.accept().await.unwrap().0;
            let mut head = [0; 4096];
            let _ = socket.read(&mut head).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
            socket
        };
        let (dialed, _socket) = tokio::join!(dial(&uri, options()), serve);
        assert_eq!(dialed.err().unwrap().to_string(), expected);
    }
    let (listener, uri) = listen().await;
    let other = async {
        let accepted = listener.accept().await.unwrap().0;
        accept_hdr_async(accepted, |_: &Request, response: Response| Ok(response)).await.unwrap()
    };
    let (dialed, _socket) = tokio::join!(dial(&uri, options()), other);
    assert!(dialed.err().unwrap().to_string().contains("does not agree to the subprotocol"));
}

#[tokio::test]
async fn a_closed_port_and_a_silent_one_are_told_apart_from_each_other() {
    let (listener, uri) = listen().await;
    let silent = dial(&uri, Options { connect: Duration::from_millis(50), ..options() }).await;
    assert!(silent.err().unwrap().to_string().contains("no connection within"));
    drop(listener);
    let closed = dial(&uri, options()).await.err().unwrap();
    assert_eq!(closed.to_string(), "cannot be connected to: connection refused");
    for (url, why) in [("http://a/", "ws://"), ("ws://me:SECRET@a/", "credentials"), ("/mcp", "ws://")] {
        let error = dial(&url.parse().unwrap(), options()).await.err().unwrap().to_string();
        assert!(error.contains(why) && !error.contains("SECRET"), "{error}");
    }
}

#[tokio::test]
async fn too_long_and_binary_messages_end_the_connection_with_a_reason() {
    for (message, expected) in [
        (Message::text("x".repeat(1001)), Error::TooLong(1000)),
        (Message::binary(vec![1, 2]), Error::Binary),
        (
            Message::Close(Some(CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::from_static("bye") })),
            Error::Closed("1001 bye".to_owned()),
        ),
    ] {
        let (listener, uri) = listen().await;
        let serve = async {
            let mut socket = accept(&listener).await;
            socket.send(Message::text(" ")).await.unwrap();
            socket.send(Message::text("x".repeat(1000))).await.unwrap();
            socket.send(message).await.unwrap();
            socket
        };
        let (dialed, _socket) = tokio::join!(dial(&uri, options()), serve);
        let (_sender, mut receiver) = dialed.unwrap();
        assert_eq!(receiver.next().await.unwrap().len(), 1000);
        assert_eq!(receiver.next().await.unwrap_err(), expected);
    }
}

/// One text message in two frames, with a ping between them.
fn frames() -> Vec<u8> {
    let mut bytes = vec![0x01, 8];
    bytes.extend_from_slice("{\"a\":\"é".as_bytes());
    bytes.extend_from_slice(&[0x89, 1, b'p', 0x80, 2]);
    bytes.extend_from_slice(b"\"}");
    bytes
}

#[tokio::test]
async fn a_message_cut_at_any_byte_is_an_error_and_never_a_message() {
    let whole = frames();
    for cut in 0..whole.len() {
        let (_sender, mut receiver, mut socket) = raw(options()).await;
        socket.write_all(&whole[..cut]).await.unwrap();
        drop(socket);
        let error = soon(receiver.next()).await.unwrap_err();
        assert!(matches!(error, Error::Broken(_)), "cut at {cut}: {error}");
    }
    let (_sender, mut receiver, mut socket) = raw(options()).await;
    for byte in whole {
        socket.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(receiver.next().await.unwrap(), "{\"a\":\"é\"}");
}

#[tokio::test]
async fn a_peer_that_answers_pings_is_kept_and_a_half_open_one_is_found() {
    let quick =
        Options { ping: Duration::from_millis(100), patience: Duration::from_millis(200), ..options() };
    let (listener, uri) = listen().await;
    let serve = async {
        let mut socket = accept(&listener).await;
        let mut pings = 0;
        while pings < 5 {
            pings += i32::from(matches!(socket.next().await.unwrap().unwrap(), Message::Ping(_)));
        }
        socket.send(Message::text("five pings")).await.unwrap();
        socket
    };
    let talk = async {
        let (mut sender, mut receiver) = dial(&uri, quick).await.unwrap();
        tokio::select! {
            text = receiver.next() => assert_eq!(text.unwrap(), "five pings"),
            error = sender.keep_alive() => panic!("{error}"),
        }
    };
    let (_socket, ()) = soon(async { tokio::join!(serve, talk) }).await;

    // It takes in what is sent, but its end says nothing any more.
    let (mut sender, mut receiver, _socket) = raw(quick).await;
    let ended = async {
        tokio::select! { text = receiver.next() => text.unwrap_err(), error = sender.keep_alive() => error }
    };
    assert_eq!(soon(ended).await, Error::Silent(Duration::from_millis(200)));
}

#[tokio::test]
async fn a_peer_that_takes_nothing_in_ends_the_connection() {
    let (mut sender, _receiver, _socket) =
        raw(Options { ping: Duration::from_millis(50), patience: Duration::from_millis(100), ..options() })
            .await;
    let block = Bytes::from(vec![b'x'; 1 << 20]);
    let ended = async {
        loop {
            if let Err(error) = sender.send(block.clone()).await {
                break error;
            }
        }
    };
    assert_eq!(soon(ended).await, Error::Silent(Duration::from_millis(100)));
}
