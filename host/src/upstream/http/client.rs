//! The HTTP client: connections, the bytes of a request, and what an error is called.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::CaptureConnection;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::decoded::Decoded;
use crate::net::{Connector, Sent, cause};
use crate::upstream::wire::Departure;

/// Shorter than the keep-alive of common servers (Node.js: 5 s), so that a request seldom meets a
/// connection that is just being closed: it could not be sent again.
const IDLE: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS: usize = 64;

/// Connections to all servers. Cheap to clone. Follows no redirects.
pub(in crate::upstream) type HttpClient = Client<Connector, Tracked>;

/// Takes no more than `header_bytes` of an answer's head.
pub(in crate::upstream) fn client(connector: Connector, header_bytes: usize) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        // hyper refuses less than 8 KiB.
        .http1_max_buf_size(header_bytes.max(8 << 10))
        .build(connector)
}

/// The body of a request. Notes when its first byte leaves, and does not leave if withdrawn.
pub(in crate::upstream) struct Tracked {
    bytes: Option<Bytes>,
    departure: Option<Arc<Departure>>,
    /// The connection that it goes out on, once there is one.
    on: Option<CaptureConnection>,
}

impl Tracked {
    pub(super) fn new(bytes: Bytes, departure: Option<Arc<Departure>>) -> Tracked {
        Tracked { bytes: Some(bytes).filter(|b| !b.is_empty()), departure, on: None }
    }

    /// Counts from here on what leaves on its connection.
    pub(super) fn count(&mut self, on: CaptureConnection) {
        self.on = Some(on);
    }
}

/// What has left on the connection that a request was given.
pub(super) fn sent(on: &CaptureConnection) -> Option<Sent> {
    let mut extras = http::Extensions::new();
    on.connection_metadata().as_ref()?.get_extras(&mut extras);
    extras.remove()
}

/// The request was withdrawn before it left.
#[derive(Debug, thiserror::Error)]
#[error("withdrawn")]
pub(in crate::upstream) struct Withdrawn;

impl Body for Tracked {
    type Data = Bytes;
    type Error = Withdrawn;

    // hyper asks for the body after it took a connection and before it flushes the head.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Withdrawn>>> {
        if self.departure.take().is_some_and(|departure| !departure.leave()) {
            return Poll::Ready(Some(Err(Withdrawn)));
        }
        if let Some(sent) = self.on.take().as_ref().and_then(sent) {
            sent.begin();
        }
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |b| b.len() as u64))
    }
}

/// Why a body was not read whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incomplete {
    /// More than the cap.
    TooLong,
    /// It broke off; in words.
    Broken(String),
}

/// Reads a body to its proven end.
pub(super) async fn whole(mut body: Decoded, cap: usize) -> Result<Bytes, Incomplete> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Incomplete::Broken(cause(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > cap {
            return Err(Incomplete::TooLong);
        }
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(before) => {
                all.reserve(before.len() + data.len());
                all.extend_from_slice(&before);
                all.extend_from_slice(&data);
            }
        }
    }
    // Most bodies are one chunk: those are not copied.
    Ok(first.unwrap_or_else(|| all.freeze()))
}

/// The start of a body that is only shown in an error, as text.
pub(super) async fn excerpt(mut body: Decoded) -> String {
    const CAP: usize = 4 << 10;
    let mut text = Vec::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if text.len() >= CAP {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), reading).await;
    text.truncate(CAP);
    String::from_utf8_lossy(&text).into_owned()
}

/// For requests without a body.
pub(super) fn empty() -> Tracked {
    Tracked { bytes: None, departure: None, on: None }
}
