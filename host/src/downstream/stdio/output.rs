//! Standard output: one writer task behind a byte-bounded queue.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::downstream::outlet::{Outlet, Undelivered};
use crate::jsonrpc::Message;

/// Most messages that wait; what bounds them first is their size.
const MESSAGES: usize = 1024;

/// The sending side.
pub struct Output {
    queue: mpsc::Sender<(Bytes, OwnedSemaphorePermit)>,
    /// One permit per byte that may wait.
    room: Arc<Semaphore>,
    limit: usize,
    closing: CancellationToken,
    broken: CancellationToken,
}

impl Output {
    /// The sending side, and the task that writes. It ends when it is closed and all is written, or
    /// when the writer breaks.
    pub fn new(
        writer: impl AsyncWrite + Send + Unpin + 'static,
        limit: usize,
    ) -> (Arc<Output>, impl Future<Output = ()> + Send) {
        let limit = limit.clamp(1, u32::MAX as usize >> 1);
        let (queue, waiting) = mpsc::channel(MESSAGES);
        let (closing, broken) = (CancellationToken::new(), CancellationToken::new());
        let writing = write(BufWriter::new(writer), waiting, closing.clone(), broken.clone());
        let room = Arc::new(Semaphore::new(limit));
        (Arc::new(Output { queue, room, limit, closing, broken }), writing)
    }

    /// Cancelled when nobody reads any more.
    pub fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    /// Queues an answer, waiting for room: answers are never dropped while somebody reads.
    pub async fn deliver(&self, message: &Message) {
        let frame = message.frame();
        let queued = async {
            let permit = self.room.clone().acquire_many_owned(self.share(&frame)).await;
            if let Ok(permit) = permit {
                // Fails only if the writer is gone, and its client with it.
                let _ = self.queue.send((frame, permit)).await;
            }
        };
        tokio::select! {
            () = queued => {}
            () = self.broken.cancelled() => {}
        }
    }

    /// Takes nothing more; what is queued is still written.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// A message larger than all the room there is takes all of it.
    fn share(&self, frame: &Bytes) -> u32 {
        u32::try_from(frame.len().min(self.limit)).unwrap_or(u32::MAX)
    }
}

impl Outlet for Output {
    fn send(&self, message: &Message) -> Result<(), Undelivered> {
        if !self.is_open() {
            return Err(Undelivered::Gone);
        }
        let frame = message.frame();
        let queued = self.room.clone().try_acquire_many_owned(self.share(&frame));
        let queued = queued.ok().and_then(|permit| self.queue.try_send((frame, permit)).ok());
        queued.ok_or_else(|| {
            tracing::debug!("dropped a message: the client reads standard output too slowly");
            Undelivered::Full
        })
    }

    fn is_open(&self) -> bool {
        !self.closing.is_cancelled() && !self.broken.is_cancelled()
    }

    fn end(&self) {
        // It belongs to the process, not to a session that ends.
    }
}

async fn write(
    mut writer: BufWriter<impl AsyncWrite + Send + Unpin>,
    mut waiting: mpsc::Receiver<(Bytes, OwnedSemaphorePermit)>,
    closing: CancellationToken,
    broken: CancellationToken,
) {
    let all = async {
        loop {
            let next = tokio::select! {
                biased;
                next = waiting.recv() => next,
                () = closing.cancelled(), if !waiting.is_closed() => {
                    waiting.close();
                    continue;
                }
            };
            let Some((frame, permit)) = next else { break };
            writer.write_all(&frame).await?;
            writer.write_all(b"\n").await?;
            // Held until it is written: what waits in the pipe still waits.
            if waiting.is_empty() {
                writer.flush().await?;
            }
            drop(permit);
        }
        writer.flush().await
    };
    if let Err(error) = all.await {
        tracing::debug!(%error, "standard output broke");
    }
    broken.cancel();
}
