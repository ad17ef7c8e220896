//! A WebSocket that Lockgate opens: text messages out and in, kept alive, bounded, never compressed.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tower_service::Service;
use tungstenite::error::{CapacityError, Error as Wrong, ProtocolError};
use tungstenite::handshake::client::generate_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, Utf8Bytes};

use super::connector::{Connector, cause};

/// Read and write buffers of one connection. The default of 128 KiB each would be paid by every idle one.
const BUFFER: usize = 16 << 10;
/// Longest wait for the other side to take our goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// How much is shown of what an HTTP answer or a close frame says.
const SHOWN: usize = 200;

/// What the handshake itself sets: neither configuration nor filters speak for it.
const OWN: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "upgrade",
];

/// The bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Name lookup, TCP, TLS and the WebSocket handshake together.
    pub connect: Duration,
    /// Largest message (and frame) that is taken in, in bytes.
    pub message_bytes: usize,
    /// A ping is sent this often.
    pub ping: Duration,
    /// Nothing at all from the other side for so long, or a message that it does not take for so
    /// long, ends the connection: a half-open peer is found. Longer than `ping`.
    pub patience: Duration,
    /// The subprotocol asked for. The other side must agree to it (RFC 6455, 4.1 and WHATWG
    /// WebSockets); `mcp` is what MCP servers expect.
    pub protocol: Option<&'static str>,
}

/// Why there is no connection, or no more of one. Texts follow the name of the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("has a URL that cannot be used: {0}")]
    Address(&'static str),
    /// A header cannot be sent in a handshake: its name.
    #[error("is sent a header that no handshake can carry: {0}")]
    Header(String),
    /// No connection came about; in words.
    #[error("cannot be connected to: {0}")]
    Unreachable(String),
    /// It answered the handshake with an HTTP status.
    #[error("answered HTTP {status} instead of opening a WebSocket{}", said(.text))]
    Refused {
        /// The status.
        status: u16,
        /// The beginning of what it said, or nothing.
        text: String,
    },
    /// It answered the handshake, or sent frames, against the rules of RFC 6455; in words.
    #[error("broke the WebSocket protocol: {0}")]
    Protocol(String),
    /// A message above the cap, in bytes.
    #[error("sent a message of more than {0} bytes")]
    TooLong(usize),
    /// MCP has text messages only.
    #[error("sent a binary message; MCP messages are text")]
    Binary,
    /// It ended the connection; its close code and words, if it gave any.
    #[error("closed the connection{}", said(.0))]
    Closed(String),
    /// Neither messages nor answers to pings, or it takes nothing in.
    #[error("was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection broke; in words.
    #[error("broke the connection ({0})")]
    Broken(String),
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{}{text}", crate::upstream::SAID) }
}

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}
type Socket = WebSocketStream<Pin<Box<dyn Io>>>;

/// Opens a WebSocket to a `ws:` or `wss:` address. `headers` go with the handshake; those of the
/// handshake itself are left out. Redirects are not followed.
///
/// # Errors
/// Every variant up to [`Error::Protocol`], and [`Error::Broken`].
pub async fn connect(
    uri: &Uri,
    headers: &HeaderMap,
    connector: Connector,
    options: Options,
) -> Result<(Sender, Receiver), Error> {
    let opening = open(uri, headers, connector, options);
    let socket = tokio::time::timeout(options.connect, opening).await.unwrap_or_else(|_| {
        Err(Error::Unreachable(format!("no connection within {} s", options.connect.as_secs())))
    })?;
    let (sink, stream) = socket.split();
    let patience = options.patience;
    let sender = Sender { sink, ping: options.ping, next_ping: Instant::now() + options.ping, patience };
    let receiver = Receiver { stream, cap: options.message_bytes, patience, heard: Instant::now() };
    Ok((sender, receiver))
}

/// Whether this can be the address of a WebSocket. Makes no connection.
///
/// # Errors
/// [`Error::Address`].
pub fn check(uri: &Uri) -> Result<(), Error> {
    if !matches!(uri.scheme_str(), Some("ws" | "wss")) {
        return Err(Error::Address("it does not begin with ws:// or wss://"));
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(Error::Address("it has credentials in it; send them in a header"))
        }
        Some(authority) if !authority.host().is_empty() => Ok(()),
        _ => Err(Error::Address("it names no host")),
    }
}

async fn open(
    uri: &Uri,
    headers: &HeaderMap,
    mut connector: Connector,
    options: Options,
) -> Result<Socket, Error> {
    check(uri)?;
    let request = handshake(uri, headers, options.protocol)?;
    let unreachable = |error: &(dyn std::error::Error + 'static)| Error::Unreachable(cause(error));
    std::future::poll_fn(|context| connector.poll_ready(context)).await.map_err(|e| unreachable(&*e))?;
    let stream = connector.call(over_http(uri)?).await.map_err(|error| unreachable(&*error))?;
    let stream: Pin<Box<dyn Io>> = Box::pin(TokioIo::new(stream));
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(options.message_bytes))
        .max_frame_size(Some(options.message_bytes));
    let opened = client_async_with_config(request, stream, Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(|error| explain(error, options.message_bytes))
}

/// The same place under the scheme by which the connector knows it.
fn over_http(uri: &Uri) -> Result<Uri, Error> {
    let scheme = if uri.scheme_str() == Some("wss") { "https" } else { "http" };
    let mut parts = uri.clone().into_parts();
    parts.scheme = scheme.parse().ok();
    Uri::from_parts(parts).map_err(|_| Error::Address("it is no URL"))
}

fn handshake(uri: &Uri, more: &HeaderMap, protocol: Option<&'static str>) -> Result<Request<()>, Error> {
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let host = HeaderValue::from_str(host).map_err(|_| Error::Address("it names no host"))?;
    let key = HeaderValue::try_from(generate_key()).map_err(|e| Error::Protocol(e.to_string()))?;
    let mut headers = HeaderMap::new();
    for (name, value) in more {
        if !OWN.contains(&name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert("host", host);
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
    headers.insert("sec-websocket-key", key);
    if let Some(protocol) = protocol {
        headers.insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    Ok(request)
}

/// The sending half. Dropping it does not close the connection; dropping both halves does.
pub struct Sender {
    sink: SplitSink<Socket, Message>,
    ping: Duration,
    next_ping: Instant,
    patience: Duration,
}

impl Sender {
    /// Sends one text message, whole. Waits for as long as the other side may take for it.
    ///
    /// # Errors
    /// [`Error::Silent`] if it does not take it, [`Error::Broken`], [`Error::Closed`];
    /// [`Error::Protocol`] if `text` is no UTF-8.
    pub async fn send(&mut self, text: Bytes) -> Result<(), Error> {
        let text = Utf8Bytes::try_from(text).map_err(|_| Error::Protocol("a message is no UTF-8".into()))?;
        self.put(Message::Text(text)).await
    }

    /// Sends pings when they are due, for as long as it is awaited; ends only with an error. May be
    /// dropped and called again at any time: meant for a `select!` beside the queue of messages.
    pub async fn keep_alive(&mut self) -> Error {
        loop {
            tokio::time::sleep_until(self.next_ping).await;
            self.next_ping = Instant::now() + self.ping;
            if let Err(error) = self.put(Message::Ping(Bytes::new())).await {
                return error;
            }
        }
    }

    /// Says goodbye with a close frame (code 1000, `reason`) and waits a second at most for it to leave.
    pub async fn close(mut self, reason: &'static str) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static(reason) };
        let _ = tokio::time::timeout(GOODBYE, self.sink.send(Message::Close(Some(frame)))).await;
    }

    async fn put(&mut self, message: Message) -> Result<(), Error> {
        match tokio::time::timeout(self.patience, self.sink.send(message)).await {
            Ok(sent) => sent.map_err(|error| explain(error, 0)),
            Err(_) => Err(Error::Silent(self.patience)),
        }
    }
}

/// The receiving half. It has to be read for pings to be answered.
pub struct Receiver {
    stream: SplitStream<Socket>,
    cap: usize,
    patience: Duration,
    heard: Instant,
}

impl Receiver {
    /// The next text message; not empty, valid UTF-8. May be dropped and called again at any time.
    ///
    /// # Errors
    /// The end of the connection, whatever it was. Do not call it again after one.
    pub async fn next(&mut self) -> Result<Bytes, Error> {
        loop {
            let frame = tokio::time::timeout_at(self.heard + self.patience, self.stream.next()).await;
            let frame = frame.map_err(|_| Error::Silent(self.patience))?;
            self.heard = Instant::now();
            match frame {
                Some(Ok(Message::Text(text))) if text.trim().is_empty() => {}
                Some(Ok(Message::Text(text))) => return Ok(text.into()),
                Some(Ok(Message::Binary(_))) => return Err(Error::Binary),
                Some(Ok(Message::Close(frame))) => {
                    let said = frame.map(|frame| format!("{} {}", u16::from(frame.code), frame.reason));
                    return Err(Error::Closed(shown(said.unwrap_or_default().trim())));
                }
                // Answered by the library as it reads on.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(explain(error, self.cap)),
                None => return Err(Error::Closed(String::new())),
            }
        }
    }
}

fn explain(error: Wrong, cap: usize) -> Error {
    match error {
        Wrong::ConnectionClosed | Wrong::AlreadyClosed => Error::Closed(String::new()),
        Wrong::Io(error) => Error::Broken(cause(&error)),
        Wrong::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Error::Broken("it ended without a word".to_owned())
        }
        Wrong::Protocol(ProtocolError::HandshakeIncomplete) => {
            Error::Broken("it ended within the handshake".to_owned())
        }
        Wrong::Protocol(ProtocolError::HttparseError(_)) => {
            Error::Protocol("its answer to the handshake is no HTTP".to_owned())
        }
        Wrong::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            Error::Protocol("it does not agree to the subprotocol that it was asked for".to_owned())
        }
        // It was checked before, except for this.
        Wrong::Protocol(ProtocolError::InvalidHeader(name)) => Error::Header(name.to_string()),
        Wrong::Protocol(error) => Error::Protocol(error.to_string()),
        Wrong::Capacity(CapacityError::MessageTooLong { .. }) => Error::TooLong(cap),
        Wrong::Http(response) => Error::Refused {
            status: response.status().as_u16(),
            text: response.body().as_deref().map(text_of).unwrap_or_default(),
        },
        other => Error::Protocol(other.to_string()),
    }
}

/// What of a body may be shown; nothing of HTML.
fn text_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.starts_with('<') { String::new() } else { shown(text) }
}

fn shown(text: &str) -> String {
    text.escape_debug().take(SHOWN).collect()
}

#[cfg(test)]
mod tests;
