//! The modern era on a pipe: requests that stand for themselves, beside whatever else is said there.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Conversation, Place, Said, count};
use crate::downstream::downlink::RequestDownlink;
use crate::downstream::drain;
use crate::downstream::in_flight::{InFlight, NotBegun, Ticket};
use crate::downstream::modern::envelope;
use crate::downstream::names;
use crate::filter::Caller;
use crate::jsonrpc::{Kind, Message};
use crate::protocol::{errors, methods};
use crate::proxy::{CallScope, Joining};

/// The requests of this era that are in flight on one pipe.
pub(super) struct Requests {
    /// Names the pipe towards the proxy.
    pipe: Option<Arc<str>>,
    calls: Arc<InFlight>,
    over: CancellationToken,
    /// Dropping this cancels what is still in flight.
    _end: DropGuard,
}

impl Requests {
    pub(super) fn new(place: &Place) -> Requests {
        let over = CancellationToken::new();
        let pipe = names::session_id(place.endpoint.keys(), &place.server, &None);
        Requests { pipe, calls: Arc::default(), _end: over.clone().drop_guard(), over }
    }

    /// Cancels the request that `notifications/cancelled` names, if it is in flight.
    pub(super) fn cancel(&self, cancelled: &Message) {
        if let Some(id) = cancelled.param("requestId") {
            self.calls.cancel(id);
        }
    }

    /// The error is the answer.
    fn begin(&self, id: &[u8], most: u32) -> Result<Ticket, Message> {
        self.calls.begin(id, most, &self.over).map_err(|not| match not {
            NotBegun::Duplicate => {
                errors::invalid_request(Some(id), "a request with this id is in flight already")
            }
            NotBegun::Busy => errors::busy(Some(id), "limits.calls_per_session"),
            NotBegun::Over => errors::invalid_request(Some(id), "the connection is about to end"),
        })
    }
}

impl Conversation {
    /// Takes in a message that says of itself that it is written in `version`.
    pub(super) async fn modern(&mut self, said: Said, version: &str) {
        let message = &said.message;
        match (message.kind(), message.method()) {
            (Kind::Request, _) => {
                if let Err(refusal) = self.request(said, version) {
                    self.pipe.deliver(&refusal).await;
                }
            }
            (Kind::Notification, Some(methods::CANCELLED)) => self.requests.cancel(message),
            // This era has no others for servers, and its clients answer nothing.
            (Kind::Notification | Kind::Result | Kind::Error, _) => {}
        }
    }

    /// The error is the answer.
    fn request(&self, said: Said, version: &str) -> Result<(), Message> {
        let Said { message, speaker, mut share } = said;
        let client = envelope::read(&message, version, self.place.transport, self.place.address)?;
        let id = message.id().map(Bytes::copy_from_slice).unwrap_or_default();
        let ticket = self.requests.begin(&id, self.limits.calls_per_session)?;
        let caller = Arc::new(Caller {
            principal: speaker.principal,
            client: Arc::new(client),
            headers: speaker.headers,
        });
        let joining = Joining {
            server: self.place.server.clone(),
            caller: caller.clone(),
            pipe: self.requests.pipe.clone(),
        };
        let scope = CallScope {
            caller,
            downlink: Arc::new(RequestDownlink::new(self.pipe.clone(), ticket.cancel.clone())),
            cancel: ticket.cancel.clone(),
            ending: self.pipe.ending().clone(),
        };
        let (endpoint, pipe) = (self.place.endpoint.clone(), self.pipe.clone());
        let listens = message.method() == Some(methods::LISTEN);
        let (over, server) = (self.over.clone(), self.place.server.clone());
        self.tasks.spawn(async move {
            let unjoined = id.clone();
            let cancelled = ticket.cancel.clone();
            let calling = async move {
                let standing = tokio::select! {
                    joined = endpoint.join(joining) => joined,
                    () = cancelled.cancelled() => return None,
                };
                match standing {
                    Ok(standing) => standing.call(message, scope).await,
                    Err(error) => Some(error.with_id(&unjoined)),
                }
            };
            // A task of its own, so that a panic in it still ends with an answer.
            let calling = tokio::spawn(calling);
            let answering = async { calling.await.unwrap_or_else(|_| Some(errors::internal(Some(&id)))) };
            let answer = drain::answered(answering, &over, &server, &id).await;
            if let Some(answer) = answer.filter(|_| ticket.end()) {
                count(&mut share, &answer);
                pipe.deliver(&answer).await;
                if listens && answer.kind() == Kind::Result {
                    pipe.deliver(&no_more_of(&id)).await;
                }
            }
        });
        Ok(())
    }
}

/// What follows the result of a subscription that ended on this side (2026-07-28, cancellation: the
/// server says so on pipes, where no stream ends with it).
fn no_more_of(listen: &[u8]) -> Message {
    let params = [br#"{"requestId":"#, listen, br#","reason":"the subscription has ended"}"#].concat();
    Message::notification(methods::CANCELLED, Some(&params))
}
