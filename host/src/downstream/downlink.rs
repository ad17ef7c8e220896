//! The ways back to a client, as the proxy sees them: of one call, and of a session.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::outlet::{Outlet, Undelivered};
use super::questions::Question;
use super::session::Session;
use crate::jsonrpc::Message;
use crate::protocol::{errors, methods};
use crate::proxy::Downlink;

/// How long a question waits for the client to listen. Servers ask (for roots, mostly) right after
/// `initialized`, which is when clients begin to open their stream.
const LISTEN_WITHIN: Duration = Duration::from_secs(10);

/// The way back for one call: its own stream, and the session's when the client has left that one.
pub struct CallDownlink {
    session: Arc<Session>,
    outlet: Arc<dyn Outlet>,
    cancelled: CancellationToken,
}

impl CallDownlink {
    /// `outlet` is the call's own. Of a call that is `cancelled` nothing more is told: its client may have
    /// another one under the same id, and under the same progress token.
    pub fn new(session: Arc<Session>, outlet: Arc<dyn Outlet>, cancelled: CancellationToken) -> CallDownlink {
        CallDownlink { session, outlet, cancelled }
    }
}

impl Downlink for CallDownlink {
    fn notify(&self, notification: Message) {
        if !self.cancelled.is_cancelled()
            && self.outlet.send(&notification) == Err(Undelivered::Gone)
            && let Some(outlet) = self.session.unsolicited.current()
        {
            // Nowhere left to go if this fails as well: the client reads neither stream.
            let _ = outlet.send(&notification);
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        ask(self.session.clone(), Some(self.outlet.clone()), request).boxed()
    }
}

/// The way back for one request of the modern era: its own stream, or the pipe it came on. Its client
/// is not asked anything; a server that wants to know answers `input_required`.
pub struct RequestDownlink {
    outlet: Arc<dyn Outlet>,
    cancelled: CancellationToken,
}

impl RequestDownlink {
    /// Of a request that is `cancelled` nothing more is told, as of a legacy call.
    pub fn new(outlet: Arc<dyn Outlet>, cancelled: CancellationToken) -> RequestDownlink {
        RequestDownlink { outlet, cancelled }
    }
}

impl Downlink for RequestDownlink {
    fn notify(&self, notification: Message) {
        if !self.cancelled.is_cancelled() {
            // Nowhere left to go: a client of this era that does not read its stream has cancelled.
            let _ = self.outlet.send(&notification);
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let text = "clients of this protocol revision are not asked; the server must answer `input_required`";
        futures_util::future::ready(unanswered(&request, text)).boxed()
    }
}

/// The way back for what belongs to no call. The link that holds it belongs to the session, so it
/// must not keep the session alive.
pub struct SessionDownlink(Weak<Session>);

impl SessionDownlink {
    /// Of that session.
    pub fn new(session: &Arc<Session>) -> SessionDownlink {
        SessionDownlink(Arc::downgrade(session))
    }
}

impl Downlink for SessionDownlink {
    fn notify(&self, notification: Message) {
        if let Some(session) = self.0.upgrade() {
            session.unsolicited.notify(notification);
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let session = self.0.upgrade();
        async move {
            match session {
                Some(session) => ask(session, None, request).await,
                None => unanswered(&request, "the client's session is over"),
            }
        }
        .boxed()
    }

    fn silence(&self) -> Option<Duration> {
        self.0.upgrade().map_or(Some(Duration::MAX), |session| session.idle())
    }

    fn give_way(&self) -> bool {
        self.0.upgrade().is_none_or(|session| session.give_way())
    }
}

/// Asks the client, on `own` if that is still read and else on the session's stream.
pub async fn ask(session: Arc<Session>, own: Option<Arc<dyn Outlet>>, request: Message) -> Message {
    if let Some(refusal) = undeclared(&session, &request) {
        return refusal;
    }
    let answer = async {
        let outlet = match own.filter(|own| own.is_open()) {
            Some(own) => own,
            None => match session.unsolicited.outlet(LISTEN_WITHIN).await {
                Some(outlet) => outlet,
                None => return unanswered(&request, "the client does not listen for questions"),
            },
        };
        let Some(question) = session.questions.pose() else {
            return unanswered(&request, "the client has too many open questions");
        };
        let mut asked = Asked { session: session.clone(), outlet, question, sent: false };
        if asked.outlet.send(&request.with_id(asked.question.id().as_bytes())).is_err() {
            return unanswered(&request, "the client stopped listening");
        }
        asked.sent = true;
        let answer = asked.question.answered().await;
        answer.unwrap_or_else(|| unanswered(&request, "the client's session is over"))
    };
    tokio::select! {
        answer = answer => answer,
        () = session.over().cancelled() => unanswered(&request, "the client's session is over"),
        () = tokio::time::sleep(session.answer_within) => {
            let text = format!("the client did not answer within {} s", session.answer_within.as_secs());
            Message::error(request.id(), errors::by_status(504), &text, None)
        }
    }
}

/// A question on its way. Dropped without an answer, it tells the client that it is void.
struct Asked {
    session: Arc<Session>,
    outlet: Arc<dyn Outlet>,
    question: Question,
    sent: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.sent || !self.question.is_open() {
            return;
        }
        let params = format!(r#"{{"requestId":{},"reason":"no longer needed"}}"#, self.question.id());
        let cancelled = Message::notification(methods::CANCELLED, Some(params.as_bytes()));
        if self.outlet.send(&cancelled).is_err()
            && let Some(outlet) = self.session.unsolicited.current()
        {
            // A client that reads nothing any more forgets the question with the session.
            let _ = outlet.send(&cancelled);
        }
    }
}

/// The refusal of a question that the client did not say it could answer.
fn undeclared(session: &Session, request: &Message) -> Option<Message> {
    let needed = match request.method()? {
        "sampling/createMessage" => "sampling",
        "elicitation/create" => "elicitation",
        "roots/list" => "roots",
        _ => return None,
    };
    let declared: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&session.client().capabilities).unwrap_or_default();
    if declared.get(needed).is_some_and(serde_json::Value::is_object) {
        return None;
    }
    let text = format!("the client did not declare the capability `{needed}`");
    Some(Message::error(request.id(), errors::METHOD_NOT_FOUND, &text, None))
}

fn unanswered(request: &Message, why: &str) -> Message {
    Message::error(request.id(), errors::by_status(503), why, None)
}
