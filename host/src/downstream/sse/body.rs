//! The stream of one HTTP+SSE session as an HTTP body.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use crate::downstream::pipe::Drain;
use crate::downstream::stream::jittered;

/// Every event is one frame, so that it is one write.
pub struct StreamBody {
    endpoint: Option<Bytes>,
    drain: Drain,
    ping: Duration,
    silence: Pin<Box<Sleep>>,
    until: Option<Pin<Box<Sleep>>>,
}

impl StreamBody {
    /// Says `endpoint` first, and then what `drain` holds. Silence is broken by a comment every
    /// `ping` (with jitter); at `until` the stream ends.
    pub fn new(drain: Drain, endpoint: &str, ping: Duration, until: Option<Instant>) -> StreamBody {
        StreamBody {
            endpoint: Some(event("endpoint", endpoint.as_bytes())),
            drain,
            ping,
            silence: Box::pin(tokio::time::sleep(jittered(ping))),
            until: until.map(|at| Box::pin(tokio::time::sleep_until(at))),
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = Instant::now() + jittered(self.ping);
        if let Some(endpoint) = self.endpoint.take() {
            return Poll::Ready(Some(Ok(Frame::data(endpoint))));
        }
        if let Poll::Ready(queued) = self.drain.poll_next(cx) {
            self.silence.as_mut().reset(next);
            return Poll::Ready(queued.map(|queued| Ok(Frame::data(event("message", &queued.frame)))));
        }
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        if self.silence.as_mut().poll(cx).is_ready() {
            self.silence.as_mut().reset(next);
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b": still here\n\n")))));
        }
        Poll::Pending
    }
}

fn event(name: &str, data: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(name.len() + data.len() + 24);
    for part in [b"event: ", name.as_bytes(), b"\ndata: ", data, b"\n\n"] {
        event.put_slice(part);
    }
    event.freeze()
}
