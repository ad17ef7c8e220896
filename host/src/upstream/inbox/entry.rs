//! One request under way: who waits for its answer, and where what belongs to it goes.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::jsonrpc::Message;
use crate::proxy::Downlink;
use crate::upstream::wire::{Departure, lock};
use crate::upstream::{Outgoing, Reply, UpstreamError};

pub(in crate::upstream) type Answer = Result<Reply, UpstreamError>;

/// One request under way.
pub(in crate::upstream) struct Entry {
    /// On the wire.
    pub(in crate::upstream) id: u64,
    /// Cancelled when the call ends without an answer. One that is answered leaves what was asked
    /// meanwhile open: it may only seem to belong to the call, and the client has it already.
    pub(in crate::upstream) over: CancellationToken,
    pub(in crate::upstream) departure: Arc<Departure>,
    pub(in crate::upstream) outgoing: Arc<dyn Outgoing>,
    /// A client's, not one of Lockgate's own.
    pub(super) for_client: bool,
    /// The caller's own progress token, raw.
    token: Option<Bytes>,
    /// None for what Lockgate asks itself, and once the call is over.
    downlink: Mutex<Option<Arc<dyn Downlink>>>,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    life: watch::Sender<Instant>,
}

/// What the waiting side of an [`Entry`] holds.
pub(in crate::upstream) struct Waiter {
    pub(in crate::upstream) answer: oneshot::Receiver<Answer>,
    /// When the server last showed that it is at work on the request.
    pub(in crate::upstream) life: watch::Receiver<Instant>,
}

impl Entry {
    pub(in crate::upstream) fn new(
        id: u64,
        token: Option<Bytes>,
        downlink: Option<Arc<dyn Downlink>>,
        for_client: bool,
        outgoing: Arc<dyn Outgoing>,
    ) -> (Arc<Entry>, Waiter) {
        let (answer, answered) = oneshot::channel();
        let (life, lives) = watch::channel(Instant::now());
        let entry = Entry {
            id,
            over: CancellationToken::new(),
            departure: Arc::default(),
            outgoing,
            for_client,
            token,
            downlink: Mutex::new(downlink),
            answer: Mutex::new(Some(answer)),
            life,
        };
        (Arc::new(entry), Waiter { answer: answered, life: lives })
    }

    /// A sign of life: it moves the deadline.
    pub(super) fn touch(&self) {
        self.life.send_replace(Instant::now());
    }

    pub(super) fn downlink(&self) -> Option<Arc<dyn Downlink>> {
        lock(&self.downlink).clone()
    }

    /// Delivers what belongs to the call, unless it is over. The lock is held while the downlink
    /// takes it (which never waits), so that nothing arrives after the end.
    pub(super) fn notify(&self, message: Message) {
        if let Some(downlink) = lock(&self.downlink).as_ref() {
            downlink.notify(message);
        }
    }

    /// Progress, under the caller's own token. Nothing if the caller gave none.
    pub(super) fn progress(&self, message: &Message) {
        self.touch();
        if let Some(token) = &self.token {
            self.notify(message.with_param("progressToken", token));
        }
    }

    /// Ends the call for everybody but the one who waits for `answer`.
    pub(super) fn finish(&self, answer: Option<Answer>) {
        let downlink = lock(&self.downlink).take();
        drop(downlink);
        let answered = matches!(answer, Some(Ok(_)));
        let sender = lock(&self.answer).take();
        if let (Some(sender), Some(answer)) = (sender, answer) {
            // The one who waited may have left just now: then nobody wants it.
            let _ = sender.send(answer);
        }
        if !answered {
            self.over.cancel();
        }
    }
}
