//! The way out to a client that has one pipe for everything: a byte-bounded queue, drained into a
//! writer, a socket or an event stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::outlet::{Outlet, Undelivered};
use crate::jsonrpc::Message;

/// Most messages that wait; what bounds them first is their size.
const MESSAGES: usize = 1024;

/// What becomes of a message that nobody waits to send when the buffer is full.
pub enum WhenFull {
    /// It is dropped. For pipes that cannot be replaced: their client would be lost with them.
    Drop,
    /// The connection behind this token is broken, so that its client knows that it missed something.
    Cut(CancellationToken),
}

/// The sending side.
pub struct Pipe {
    queue: mpsc::Sender<Queued>,
    /// For what is sent without waiting.
    news: Room,
    /// For answers. Of their own, so that one that waits for room costs no notification its room.
    answers: Room,
    when_full: WhenFull,
    ending: CancellationToken,
    closing: CancellationToken,
    broken: CancellationToken,
}

/// The reading side. Dropping it tells the senders that nobody reads any more.
pub struct Drain {
    waiting: mpsc::Receiver<Queued>,
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    broken: CancellationToken,
}

/// A message that waits. It takes its room until it is dropped.
pub struct Queued {
    /// The message, on one line.
    pub frame: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Pipe {
    /// A pipe on which up to `limit` bytes of answers, and as many of anything else, wait for their
    /// reader; one message may always wait, however large.
    pub fn new(limit: usize, when_full: WhenFull) -> (Arc<Pipe>, Drain) {
        let (queue, waiting) = mpsc::channel(MESSAGES);
        let (closing, broken) = (CancellationToken::new(), CancellationToken::new());
        let closed = closing.clone().cancelled_owned();
        let drain = Drain { waiting, closing: Some(Box::pin(closed)), broken: broken.clone() };
        let pipe = Pipe {
            queue,
            news: Room::new(limit),
            answers: Room::new(limit),
            when_full,
            ending: CancellationToken::new(),
            closing,
            broken,
        };
        (Arc::new(pipe), drain)
    }

    /// Queues an answer, waiting for room: answers are never dropped while somebody reads.
    pub async fn deliver(&self, message: &Message) {
        let frame = message.frame();
        let queued = async {
            if let Ok(room) = self.answers.wait(frame.len()).await {
                // Fails only if the reader is gone, and its client with it.
                let _ = self.queue.send(Queued { frame, _room: room }).await;
            }
        };
        tokio::select! {
            () = queued => {}
            () = self.broken.cancelled() => {}
        }
    }

    /// Cancelled when nobody reads any more.
    pub fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    /// Cancelled when whoever uses the pipe shall finish: the session on it ended, or is to end.
    pub fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Takes nothing more; what is queued is still read.
    pub fn close(&self) {
        self.closing.cancel();
    }
}

impl Outlet for Pipe {
    fn send(&self, message: &Message) -> Result<(), Undelivered> {
        if !self.is_open() {
            return Err(Undelivered::Gone);
        }
        let frame = message.frame();
        let room = self.news.now(frame.len());
        let queued = room.and_then(|room| self.queue.try_send(Queued { frame, _room: room }).ok());
        queued.ok_or_else(|| {
            if let WhenFull::Cut(connection) = &self.when_full {
                tracing::debug!("cut a client that reads too slowly");
                self.broken.cancel();
                connection.cancel();
            } else {
                tracing::debug!("dropped a message: the client reads too slowly");
            }
            Undelivered::Full
        })
    }

    fn is_open(&self) -> bool {
        !self.closing.is_cancelled() && !self.broken.is_cancelled()
    }

    fn end(&self) {
        self.ending.cancel();
    }
}

impl Drain {
    /// The next message; none when the pipe is closed and everything was read.
    pub async fn next(&mut self) -> Option<Queued> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`Drain::next`], for those who poll.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Queued>> {
        if let Some(closing) = &mut self.closing
            && closing.as_mut().poll(cx).is_ready()
        {
            self.closing = None;
            self.waiting.close();
        }
        self.waiting.poll_recv(cx)
    }

    /// Whether nothing waits now.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.broken.cancel();
    }
}

/// Bytes that may wait: a permit each.
struct Room {
    permits: Arc<Semaphore>,
    all: usize,
}

impl Room {
    fn new(bytes: usize) -> Room {
        let all = bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Room { permits: Arc::new(Semaphore::new(all)), all }
    }

    async fn wait(&self, bytes: usize) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        self.permits.clone().acquire_many_owned(self.share(bytes)).await
    }

    fn now(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_many_owned(self.share(bytes)).ok()
    }

    /// A message larger than all the room there is takes all of it.
    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.all)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(bytes: usize) -> Message {
        Message::notification("n", Some(format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes)).as_bytes()))
    }

    #[tokio::test]
    async fn an_answer_that_waits_for_room_takes_none_from_notifications() {
        let (pipe, mut drain) = Pipe::new(1000, WhenFull::Drop);
        let large = Message::response(b"1", format!("{{\"x\":\"{}\"}}", "x".repeat(900)).as_bytes());
        pipe.deliver(&large).await;
        let second = tokio::spawn({
            let (pipe, large) = (pipe.clone(), large.clone());
            async move { pipe.deliver(&large).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(pipe.send(&news(500)), Ok(()));
        assert_eq!(pipe.send(&news(500)), Err(Undelivered::Full));
        for _ in 0..3 {
            drain.next().await.expect("two answers and one notification");
        }
        second.await.expect("delivered");
        assert_eq!(pipe.send(&news(500)), Ok(()), "the room is given back");
        pipe.close();
        assert!(drain.next().await.is_some() && drain.next().await.is_none(), "what was queued is read");
    }

    #[tokio::test]
    async fn a_cut_breaks_the_connection_and_wakes_who_waits() {
        let connection = CancellationToken::new();
        let (pipe, _drain) = Pipe::new(100, WhenFull::Cut(connection.clone()));
        assert_eq!(pipe.send(&news(500)), Ok(()), "one message always fits");
        pipe.deliver(&news(500)).await;
        let waiting = tokio::spawn({
            let pipe = pipe.clone();
            async move { pipe.deliver(&news(1)).await }
        });
        assert_eq!(pipe.send(&news(1)), Err(Undelivered::Full));
        assert!(connection.is_cancelled() && !pipe.is_open());
        waiting.await.expect("it does not wait for ever");
        assert_eq!(pipe.send(&news(1)), Err(Undelivered::Gone));
    }
}
