//! What a server asks: whom it goes to, and the way of the answer back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Entry, Inbox};
use crate::jsonrpc::Message;
use crate::upstream::wire::{Origin, lock};

/// What a server may ask on one connection.
#[derive(Clone, Copy)]
pub(in crate::upstream) struct Patience {
    /// Longest wait for the client's answer.
    pub(in crate::upstream) time: Duration,
    /// Questions that wait for an answer; more are dropped, as a server that asks so much is broken.
    pub(in crate::upstream) open: usize,
}

impl Patience {
    /// Enough for one client.
    pub(in crate::upstream) const OPEN: usize = 64;
}

const INTERNAL_ERROR: i32 = -32603;

/// The questions of one server that are open.
pub(super) struct Questions {
    patience: Patience,
    room: Arc<Semaphore>,
    /// Refusals under way, so that a server that reads nothing does not fill the memory with them.
    refusing: Arc<Semaphore>,
    /// By raw id.
    open: Mutex<HashMap<Bytes, CancellationToken>>,
}

impl Questions {
    pub(super) fn new(patience: Patience) -> Questions {
        let room = || Arc::new(Semaphore::new(patience.open));
        Questions { patience, room: room(), refusing: room(), open: Mutex::default() }
    }

    /// Whether any is open.
    pub(super) fn any(&self) -> bool {
        !lock(&self.open).is_empty()
    }

    /// The server takes a question back.
    pub(super) fn void(&self, id: Option<&[u8]>) {
        let void = id.and_then(|id| lock(&self.open).remove(id));
        if let Some(void) = void {
            void.cancel();
        }
    }
}

/// Takes one question: answers `ping` itself and passes the rest to the client it belongs to.
pub(super) fn take(inbox: &Arc<Inbox>, origin: Origin, request: Message) {
    let Some(id) = request.id().map(Bytes::copy_from_slice) else { return };
    let Ok(permit) = Arc::clone(&inbox.questions.room).try_acquire_owned() else {
        let most = inbox.questions.patience.open;
        tracing::warn!(target: "server", server = &*inbox.server, "more than {most} open questions: one refused");
        let why =
            format!("more than {most} requests of this server wait for an answer: wait for some of them");
        return refuse(inbox, id, INTERNAL_ERROR, &why);
    };
    let void = CancellationToken::new();
    {
        let mut open = lock(&inbox.questions.open);
        if open.contains_key(&id) {
            drop(open);
            // An answer to the second would be taken for one to the first.
            tracing::warn!(target: "server", server = &*inbox.server, "two questions with one id: the second dropped");
            return;
        }
        open.insert(id.clone(), void.clone());
    }
    let asked = match request.method() {
        Some("ping") => None,
        _ => Some(inbox.asked(origin).map(|(downlink, entry)| {
            // A token of the server's means nothing where progress cannot be sent back to it alone.
            let request = match request.meta("progressToken") {
                Some(_) if !inbox.one_owner() => request.with_meta("progressToken", None),
                _ => request,
            };
            (downlink.ask_in_order(request), entry)
        })),
    };
    // Its open questions die with the connection, as `ended` is among what they wait for.
    let inbox = Arc::clone(inbox);
    tokio::spawn(async move {
        let (answer, entry) = match asked {
            None => (Some(Message::response(&id, b"{}")), None),
            Some(None) => {
                let why = "it is not certain which client this question is for, so none was asked";
                (Some(Message::error(Some(&id), INTERNAL_ERROR, why, None)), None)
            }
            Some(Some((answer, entry))) => {
                (answered(&inbox, &id, answer, entry.as_deref(), &void).await, entry)
            }
        };
        lock(&inbox.questions.open).remove(&id);
        if let Some(answer) = answer {
            let outgoing = entry.map_or_else(|| Arc::clone(&inbox.outgoing), |e| Arc::clone(&e.outgoing));
            let sent = tokio::select! {
                sent = inbox.wire.send(answer, "answer", outgoing) => sent,
                () = inbox.ended.cancelled() => Ok(()),
            };
            if let Err(error) = sent {
                tracing::debug!(target: "server", server = &*inbox.server, %error, "answer to a question not sent");
            }
        }
        drop(permit);
    });
}

/// Answers a request with an error, as nobody will be asked.
pub(super) fn refuse(inbox: &Arc<Inbox>, id: Bytes, code: i32, why: &str) {
    let Ok(permit) = Arc::clone(&inbox.questions.refusing).try_acquire_owned() else { return };
    let answer = Message::error(Some(&id), code, why, None);
    let inbox = Arc::clone(inbox);
    tokio::spawn(async move {
        let outgoing = Arc::clone(&inbox.outgoing);
        let sent = tokio::select! {
            sent = inbox.wire.send(answer, "answer", outgoing) => sent,
            () = inbox.ended.cancelled() => Ok(()),
        };
        if let Err(error) = sent {
            tracing::debug!(target: "server", server = &*inbox.server, %error, "refusal of a question not sent");
        }
        drop(permit);
    });
}

/// The answer under the server's own id; none if nobody waits for it any more.
async fn answered(
    inbox: &Inbox,
    id: &[u8],
    answer: BoxFuture<'static, Message>,
    entry: Option<&Entry>,
    void: &CancellationToken,
) -> Option<Message> {
    if let Some(entry) = entry {
        // A user who thinks is no server that hangs.
        entry.touch();
    }
    let over = async {
        match entry {
            Some(entry) => entry.over.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let refused = |why: &str| Some(Message::error(Some(id), INTERNAL_ERROR, why, None));
    tokio::select! {
        biased;
        () = void.cancelled() => None,
        () = inbox.ended.cancelled() => None,
        () = over => refused("the call that this question belongs to was given up"),
        answer = answer => {
            if let Some(entry) = entry {
                entry.touch();
            }
            Some(answer.with_id(id))
        }
        () = tokio::time::sleep(inbox.questions.patience.time) => refused("the client did not answer in time"),
    }
}
