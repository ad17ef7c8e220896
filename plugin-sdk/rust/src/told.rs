//! What passes beside calls: notifications, and what servers ask of clients.

use crate::call::outcome;
use crate::raw::context as raw;
use crate::{Call, Doc, Outcome, Rejection};

/// A notification on its way up or down. Lent to `notification`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Notification(pub(crate) raw::Notification);

impl Notification {
    /// The call that it belongs to; none where that is not known for certain, and on the way up.
    pub fn call(&self) -> Option<Call> {
        self.0.call().map(Call)
    }

    /// The server that it comes from or goes to.
    pub fn server(&self) -> String {
        self.0.server()
    }

    /// Such as `notifications/message`.
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// True from the server to the client.
    pub fn is_down(&self) -> bool {
        self.0.down()
    }

    /// Editable, but for what says what it belongs to (`progressToken`, `uri`, `requestId`, `taskId`,
    /// `elicitationId`, the protocol's own `_meta`).
    pub fn params(&self) -> Doc {
        Doc(self.0.params())
    }
}

/// What a `notification` hook decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Pass it on. Edits are committed now.
    Pass,
    /// It ends here; nobody is told.
    Drop,
}

/// A question of a server (elicitation, sampling, roots), and its answer once there is one. Lent to
/// `input`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Ask(pub(crate) raw::Ask);

impl Ask {
    /// The call that it belongs to; none where that is not known for certain.
    pub fn call(&self) -> Option<Call> {
        self.0.call().map(Call)
    }

    /// The server that asks.
    pub fn server(&self) -> String {
        self.0.server()
    }

    /// `elicitation/create`, `sampling/createMessage`, `roots/list`, or what extensions ask.
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// Editable in `on_ask`, but for `taskId`, `elicitationId` and the protocol's own `_meta`.
    pub fn params(&self) -> Doc {
        Doc(self.0.params())
    }

    /// None until it is answered. Editable in `on_answer`. A client's error is as visible as its
    /// result.
    pub fn answer(&self) -> Option<Outcome> {
        outcome(self.0.answer()?)
    }
}

/// What an `input` hook decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskVerdict {
    /// Pass it on. Edits are committed now.
    Pass,
    /// Answer the server with this result (one JSON object), in the client's place.
    Answer(String),
    /// Answer the server with this error. Many servers read it as the user's refusal.
    Refuse(Rejection),
}

impl AskVerdict {
    /// Refuses with one sentence that a person or a model can act on.
    pub fn refuse(message: impl Into<String>) -> AskVerdict {
        AskVerdict::Refuse(Rejection::new(message))
    }
}
