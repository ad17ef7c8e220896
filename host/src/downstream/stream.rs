//! One event stream to a client: a byte-bounded queue, and the HTTP body that drains it.
//!
//! Every POSTed request has one from the start. It becomes a plain JSON answer if the answer is the
//! first thing in it, and an SSE stream otherwise.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::outlet::{Outlet, Undelivered, lock};
use crate::jsonrpc::Message;

/// The sending side. Shared by whoever has something to say on the stream.
pub struct EventStream {
    state: Mutex<State>,
    /// Bytes that may wait for the reader.
    limit: usize,
    /// Whether the client takes events at all; if not, only the answer reaches it.
    events: bool,
    /// Breaks the connection: a reader that does not read would never notice an ended body.
    cut: CancellationToken,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Message>,
    bytes: usize,
    answer: Option<Message>,
    phase: Phase,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Nothing is added any more; what is queued is still delivered.
    Ended,
    /// The reader went away.
    Gone,
    /// The reader was too slow.
    Cut,
}

/// What came first.
pub enum First {
    /// The answer; none if there is to be none.
    Answer(Option<Message>),
    /// A message that is not the answer.
    Event,
    /// The stream was cut.
    Cut,
}

/// The reading side. Dropping it tells the senders that nobody reads any more.
pub struct Reader(Arc<EventStream>);

impl EventStream {
    /// A stream that holds up to `limit` bytes for its reader (one message may always wait, however
    /// large) and breaks the connection behind `cut` when that is exceeded.
    pub fn new(limit: usize, events: bool, cut: CancellationToken) -> (Arc<EventStream>, Reader) {
        let stream = Arc::new(EventStream { state: Mutex::default(), limit, events, cut });
        (stream.clone(), Reader(stream))
    }

    /// The last message of the stream (none: there is no answer). The answer of a call is always
    /// taken, whatever waits before it: there is one per call, and calls are bounded. Returns whether
    /// somebody is there to read it.
    pub fn finish(&self, answer: Option<Message>) -> bool {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            return false;
        }
        state.answer = answer;
        state.phase = Phase::Ended;
        state.wake();
        true
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn close(&mut self, phase: Phase) {
        self.phase = phase;
        self.queue = VecDeque::new();
        self.bytes = 0;
        self.answer = None;
        self.wake();
    }
}

impl Outlet for EventStream {
    fn send(&self, message: &Message) -> Result<(), Undelivered> {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open || !self.events {
            return Err(Undelivered::Gone);
        }
        let length = message.bytes().len();
        if state.bytes > 0 && state.bytes + length > self.limit {
            tracing::debug!(
                waiting = state.bytes,
                limit = self.limit,
                "cut a stream whose reader is too slow"
            );
            state.close(Phase::Cut);
            self.cut.cancel();
            return Err(Undelivered::Full);
        }
        state.bytes += length;
        state.queue.push_back(message.clone());
        state.wake();
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.events && lock(&self.state).phase == Phase::Open
    }

    fn end(&self) {
        self.finish(None);
    }
}

impl Reader {
    /// Waits until it is known how to answer.
    pub async fn first(&self) -> First {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.0.state);
            if !state.queue.is_empty() {
                return Poll::Ready(First::Event);
            }
            match state.phase {
                Phase::Open => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                Phase::Ended => Poll::Ready(First::Answer(state.answer.take())),
                Phase::Gone | Phase::Cut => Poll::Ready(First::Cut),
            }
        })
        .await
    }

    /// The rest as an SSE body. Silence is broken by a comment every `ping` (with jitter); at
    /// `until` the stream ends.
    pub fn into_body(self, ping: Duration, until: Option<Instant>) -> EventBody {
        EventBody {
            reader: self,
            ping,
            silence: Box::pin(tokio::time::sleep(jittered(ping))),
            until: until.map(|at| Box::pin(tokio::time::sleep_until(at))),
        }
    }

    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        let mut state = lock(&self.0.state);
        if let Some(message) = state.queue.pop_front() {
            state.bytes = state.bytes.saturating_sub(message.bytes().len());
            return Poll::Ready(Some(Ok(event(&message))));
        }
        match state.phase {
            Phase::Open => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Phase::Ended => Poll::Ready(state.answer.take().map(|answer| Ok(event(&answer)))),
            Phase::Gone | Phase::Cut => Poll::Ready(Some(Err(Cut))),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if matches!(state.phase, Phase::Open | Phase::Ended) {
            state.close(Phase::Gone);
        }
    }
}

/// The stream as an HTTP body. Every event is one frame, so that it is one write.
pub struct EventBody {
    reader: Reader,
    ping: Duration,
    silence: Pin<Box<Sleep>>,
    until: Option<Pin<Box<Sleep>>>,
}

/// The stream was cut in the middle; the connection breaks, so that nobody takes it for complete.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the reader was too slow")]
pub struct Cut;

impl Body for EventBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let next = Instant::now() + jittered(self.ping);
        if let Poll::Ready(event) = self.reader.poll_event(cx) {
            self.silence.as_mut().reset(next);
            return Poll::Ready(event.map(|event| event.map(Frame::data)));
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

/// One SSE event. No id: events are not kept, so a client must not believe that it could resume.
fn event(message: &Message) -> Bytes {
    let frame = message.frame();
    let mut event = BytesMut::with_capacity(frame.len() + 24);
    event.put_slice(b"event: message\ndata: ");
    event.put_slice(&frame);
    event.put_slice(b"\n\n");
    event.freeze()
}

/// Between three quarters of it and all of it, so that many streams do not speak at once.
pub(super) fn jittered(period: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness there is no jitter, and nothing else is lost.
    let _ = getrandom::fill(&mut byte);
    period.mul_f64(1.0 - f64::from(byte[0]) / 1024.0)
}
