//! One event stream to a client: a byte-bounded queue, and the HTTP body that drains it.
//!
//! Every POSTed request has one from the start. It becomes a plain JSON answer if the answer is the
//! first thing in it, and an SSE stream otherwise. Where its events are kept ([`super::replay`]), the
//! stream outlives its reader: it goes on without one until the client comes back for the rest.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::http::Share;
use super::names::EventIds;
use super::outlet::{Outlet, Undelivered, lock};
use super::replay::Replay;
use crate::jsonrpc::Message;
use crate::protocol::errors;

/// How long a client that lost its stream waits before it comes back for the rest.
const RETRY: Duration = Duration::from_secs(1);

/// The sending side. Shared by whoever has something to say on the stream.
pub struct EventStream {
    state: Mutex<State>,
    /// Bytes that may wait for the reader.
    limit: usize,
    /// Whether the client takes events at all; if not, only the answer reaches it.
    events: bool,
    kept: OnceLock<KeptIn>,
}

/// Where the events of a stream are kept.
struct KeptIn {
    replay: Arc<Replay>,
    stream: u32,
}

struct State {
    queue: VecDeque<Event>,
    bytes: usize,
    answer: Option<Event>,
    /// What the answer counts for, until it was read.
    share: Option<Share>,
    phase: Phase,
    waker: Option<Waker>,
    /// Number of the last event.
    last: u64,
    /// Number of the last one that a reader took.
    taken: u64,
    /// Counts readers: only the newest reads.
    reader: u32,
    /// Since when nobody reads a stream whose events are kept.
    alone: Option<Instant>,
    /// Breaks the connection: a reader that does not read would never notice an ended body.
    cut: CancellationToken,
}

/// One message and its number on the stream.
struct Event {
    number: u64,
    message: Message,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Nothing is added any more; what is queued is still delivered.
    Ended,
    /// The reader went away, and nobody comes back for the rest.
    Gone,
    /// The reader was too slow.
    Cut,
}

/// An event on its way to the client, and what it counts for.
type Taken = (Event, Option<Share>);

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
pub struct Reader {
    stream: Arc<EventStream>,
    number: u32,
    cut: CancellationToken,
}

impl EventStream {
    /// A stream that holds up to `limit` bytes for its reader (one message may always wait, however
    /// large) and breaks the connection behind `cut` when that is exceeded.
    pub fn new(limit: usize, events: bool, cut: CancellationToken) -> (Arc<EventStream>, Reader) {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            answer: None,
            share: None,
            phase: Phase::Open,
            waker: None,
            last: 0,
            taken: 0,
            reader: 0,
            alone: None,
            cut: cut.clone(),
        };
        let stream = Arc::new(EventStream { state: Mutex::new(state), limit, events, kept: OnceLock::new() });
        (stream.clone(), Reader { stream, number: 0, cut })
    }

    /// A stream that has ended, of which these events are left.
    pub(super) fn over(events: Vec<(u64, Message)>, cut: CancellationToken) -> Reader {
        let (stream, reader) = EventStream::new(0, true, cut);
        let mut state = lock(&stream.state);
        state.phase = Phase::Ended;
        state.queue = events.into_iter().map(|(number, message)| Event { number, message }).collect();
        drop(state);
        reader
    }

    /// The last message of the stream, which counts as in flight until it was read.
    pub fn answer(&self, answer: Option<Message>, mut share: Option<Share>) -> bool {
        if let (Some(answer), Some(share)) = (&answer, &mut share) {
            share.answered(answer.bytes().len());
        }
        {
            let mut state = lock(&self.state);
            if state.phase == Phase::Open {
                state.share = share.filter(|_| answer.is_some());
            }
        }
        self.finish(answer)
    }

    /// The last message of the stream (none: there is no answer). The answer of a call is always
    /// taken, whatever waits before it: there is one per call, and calls are bounded. Returns whether
    /// somebody is there to read it.
    pub fn finish(&self, answer: Option<Message>) -> bool {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            return false;
        }
        state.phase = Phase::Ended;
        match (answer, self.kept.get()) {
            (Some(answer), Some(kept)) => {
                let answer = if state.alone.is_some() { kept.small_enough(answer) } else { answer };
                state.answer = Some(kept.keep(state.next(answer)));
            }
            (Some(answer), None) => state.answer = Some(state.next(answer)),
            // There is nothing more to come back for.
            (None, Some(kept)) => kept.replay.forget(kept.stream),
            (None, None) => {}
        }
        let read = state.alone.is_none();
        if !read {
            (state.answer, state.share) = (None, None);
        }
        state.wake();
        read
    }

    /// A new reader, of everything after an event; whoever read before stops. None if nothing more
    /// comes and nothing is left.
    pub(super) fn attach(self: &Arc<Self>, after: u64, cut: CancellationToken) -> Option<Reader> {
        let kept = self.kept.get()?;
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Open | Phase::Ended) {
            return None;
        }
        let events = kept.replay.after(kept.stream, after);
        state.bytes = events.iter().map(|(_, message)| message.bytes().len()).sum();
        state.queue = events.into_iter().map(|(number, message)| Event { number, message }).collect();
        state.answer = None;
        state.reader = state.reader.wrapping_add(1);
        state.alone = None;
        state.cut = cut.clone();
        state.wake();
        let number = state.reader;
        drop(state);
        Some(Reader { stream: self.clone(), number, cut })
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn next(&mut self, message: Message) -> Event {
        self.last += 1;
        Event { number: self.last, message }
    }

    fn close(&mut self, phase: Phase) {
        self.phase = phase;
        self.empty();
    }

    /// Nobody reads for now.
    fn leave_alone(&mut self) {
        self.reader = self.reader.wrapping_add(1);
        self.alone = Some(Instant::now());
        self.empty();
    }

    fn empty(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
        (self.answer, self.share) = (None, None);
        self.wake();
    }
}

impl KeptIn {
    fn keep(&self, event: Event) -> Event {
        self.replay.keep(self.stream, event.number, &event.message);
        event
    }

    /// The answer, or an error in its place if it cannot wait for its client.
    fn small_enough(&self, answer: Message) -> Message {
        if answer.bytes().len() <= self.replay.most_bytes() {
            return answer;
        }
        let text = "the answer came while the client was away, and was too large to be kept \
                    (`limits.resume_bytes`)";
        Message::error(answer.id(), errors::INTERNAL, text, None)
    }
}

impl Outlet for EventStream {
    fn send(&self, message: &Message) -> Result<(), Undelivered> {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open || !self.events {
            return Err(Undelivered::Gone);
        }
        let kept = self.kept.get();
        if let (Some(since), Some(kept)) = (state.alone, kept) {
            if since.elapsed() >= kept.replay.window() {
                state.close(Phase::Gone);
                return Err(Undelivered::Gone);
            }
            kept.keep(state.next(message.clone()));
            return Ok(());
        }
        let length = message.bytes().len();
        let full = state.bytes > 0 && state.bytes + length > self.limit;
        let mut event = state.next(message.clone());
        if let Some(kept) = kept {
            event = kept.keep(event);
        }
        if full {
            tracing::debug!(
                waiting = state.bytes,
                limit = self.limit,
                "cut a stream whose reader is too slow"
            );
            state.cut.cancel();
            if kept.is_some() {
                state.leave_alone();
                return Ok(());
            }
            state.close(Phase::Cut);
            return Err(Undelivered::Full);
        }
        state.bytes += length;
        state.queue.push_back(event);
        state.wake();
        Ok(())
    }

    fn is_open(&self) -> bool {
        let state = lock(&self.state);
        self.events && state.phase == Phase::Open && state.alone.is_none()
    }

    fn end(&self) {
        self.finish(None);
    }

    fn unsent(&self) -> Option<Vec<Message>> {
        let kept = self.kept.get()?;
        let state = lock(&self.state);
        state.alone?;
        let unsent = kept.replay.after(kept.stream, state.taken);
        Some(unsent.into_iter().map(|(_, message)| message).collect())
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.get() {
            kept.replay.leave(kept.stream);
        }
    }
}

impl Reader {
    /// Waits until it is known how to answer.
    pub async fn first(&self) -> First {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.stream.state);
            if !state.queue.is_empty() {
                return Poll::Ready(First::Event);
            }
            match state.phase {
                Phase::Open => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                Phase::Ended => Poll::Ready(First::Answer(state.answer.take().map(|event| event.message))),
                Phase::Gone | Phase::Cut => Poll::Ready(First::Cut),
            }
        })
        .await
    }

    /// Keeps the events of the stream from the first one on.
    pub fn kept_in(self, replay: &Arc<Replay>) -> Reader {
        let state = lock(&self.stream.state);
        let stream = replay.enter(Arc::downgrade(&self.stream));
        let kept = KeptIn { replay: replay.clone(), stream };
        for event in state.queue.iter().chain(&state.answer) {
            replay.keep(stream, event.number, &event.message);
        }
        // Set once: there is one reader before it is kept.
        let _ = self.stream.kept.set(kept);
        drop(state);
        self
    }

    /// What the answer counts for, once that is taken.
    pub fn share(&self) -> Option<Share> {
        lock(&self.stream.state).share.take()
    }

    /// The stream that it reads.
    pub fn stream(&self) -> &Arc<EventStream> {
        &self.stream
    }

    /// Where the stream is kept, and under which number; none if it is not.
    pub fn kept_as(&self) -> Option<u32> {
        self.stream.kept.get().map(|kept| kept.stream)
    }

    /// The rest as an SSE body. Silence is broken by a comment every `ping` (with jitter); at
    /// `until` the stream ends.
    pub fn into_body(self, ping: Duration, until: Option<Instant>) -> EventBody {
        EventBody {
            reader: self,
            ping,
            silence: Box::pin(tokio::time::sleep(jittered(ping))),
            until: until.map(|at| Box::pin(tokio::time::sleep_until(at))),
            prime: None,
            ids: None,
        }
    }

    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Taken, Cut>>> {
        let mut state = lock(&self.stream.state);
        if state.reader != self.number {
            let cut = self.cut.is_cancelled();
            return Poll::Ready(cut.then_some(Err(Cut)));
        }
        if let Some(event) = state.queue.pop_front() {
            state.bytes = state.bytes.saturating_sub(event.message.bytes().len());
            state.taken = event.number;
            return Poll::Ready(Some(Ok((event, None))));
        }
        match state.phase {
            Phase::Open => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Phase::Ended => {
                let share = state.share.take();
                Poll::Ready(state.answer.take().map(|answer| Ok((answer, share))))
            }
            Phase::Gone | Phase::Cut => Poll::Ready(Some(Err(Cut))),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = lock(&self.stream.state);
        if state.reader != self.number {
            return;
        }
        match state.phase {
            Phase::Open | Phase::Ended if self.stream.kept.get().is_some() => state.leave_alone(),
            Phase::Open | Phase::Ended => state.close(Phase::Gone),
            Phase::Gone | Phase::Cut => {}
        }
    }
}

/// The stream as an HTTP body. Every event is one frame, so that it is one write.
pub struct EventBody {
    reader: Reader,
    ping: Duration,
    silence: Pin<Box<Sleep>>,
    until: Option<Pin<Box<Sleep>>>,
    /// The event whose id comes first, before there is anything to say.
    prime: Option<u64>,
    ids: Option<EventIds>,
}

impl EventBody {
    /// Gives every event an id that the client can come back with, and begins with one (after event
    /// `from`) and with the time to wait before.
    pub fn with_ids(mut self, ids: EventIds, from: u64) -> EventBody {
        (self.prime, self.ids) = (Some(from), Some(ids));
        self
    }
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
        if let Some(from) = self.prime.take()
            && let Some(id) = self.ids.as_ref().and_then(|ids| ids.id(from))
        {
            let wait = jittered(RETRY).as_millis();
            let prime = format!("id: {id}\nretry: {wait}\ndata: \n\n");
            return Poll::Ready(Some(Ok(Frame::data(prime.into()))));
        }
        if let Poll::Ready(event) = self.reader.poll_event(cx) {
            self.silence.as_mut().reset(next);
            let ids = self.ids.as_ref();
            let frame = |(event, share): Taken| {
                let text = written(&event, ids);
                Frame::data(match share {
                    Some(share) => share.with(text),
                    None => text,
                })
            };
            return Poll::Ready(event.map(|event| event.map(frame)));
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

/// One SSE event, with an id only where it is kept: otherwise a client must not believe that it
/// could come back for what follows.
fn written(event: &Event, ids: Option<&EventIds>) -> Bytes {
    let frame = event.message.frame();
    let id = ids.and_then(|ids| ids.id(event.number)).unwrap_or_default();
    let mut text = BytesMut::with_capacity(frame.len() + id.len() + 32);
    if !id.is_empty() {
        text.put_slice(b"id: ");
        text.put_slice(id.as_bytes());
        text.put_slice(b"\n");
    }
    text.put_slice(b"event: message\ndata: ");
    text.put_slice(&frame);
    text.put_slice(b"\n\n");
    text.freeze()
}

/// Between three quarters of it and all of it, so that many streams do not speak at once.
pub(super) fn jittered(period: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness there is no jitter, and nothing else is lost.
    let _ = getrandom::fill(&mut byte);
    period.mul_f64(1.0 - f64::from(byte[0]) / 1024.0)
}
