//! One question of a server, until it is answered.

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::jsonrpc::Message;

/// The client refuses (2025-11-25, sampling).
const REFUSED: i32 = -1;

/// A raw result, or the code and text of an error.
pub(super) type Answer = Result<Bytes, (i32, &'static str)>;

pub(super) struct Question {
    pub(super) method: Box<str>,
    pub(super) params: Option<Bytes>,
    /// How long it waits.
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Question {
    pub(super) fn message(&self) -> Message {
        Message::request(b"0", &self.method, self.params.as_deref())
    }

    /// Its user did not decide.
    pub(super) fn cancel(self) {
        let answer = match &*self.method {
            "elicitation/create" => Ok(Bytes::from_static(b"{\"action\":\"cancel\"}")),
            _ => Err((REFUSED, "the client did not answer in time")),
        };
        let _ = self.answer.send(answer);
    }
}
