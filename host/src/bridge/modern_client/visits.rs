//! Calls that a legacy server refuses until its user has visited a page (-32042): the user is sent there,
//! and the call is made anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::parks::{Parked, Parks, Place, Whose};
use super::translate::{Request, answer_to, input_required, pages};
use super::unguessable;
use crate::jsonrpc::{self, Message};
use crate::protocol::errors;

/// A call that waits for its user to visit pages.
#[derive(Default)]
pub(super) struct Visit {
    /// Params of the elicitations that are not answered yet.
    open: BTreeMap<u32, Bytes>,
    /// Given back with it.
    _place: Option<Place>,
}

/// How it goes on with such a call.
pub(super) enum Then {
    /// The client has this for an answer.
    Answer(Message),
    /// It consented to all of it.
    CallAgain,
}

/// The answer for a client whose call was refused with this error.
pub(super) fn send(
    parks: &Arc<Parks>,
    request: &Request,
    whose: &Whose,
    error: &Message,
    patience: Duration,
) -> Message {
    let id = error.id();
    if !request.may_be_asked() {
        let text = "the server wants the user to visit a page first, which this request cannot ask for";
        return Message::error(id, errors::INTERNAL, text, None);
    }
    if !request.capabilities.visits() {
        let text = "the server wants the user to visit a page first: declare `elicitation.url`";
        let data = br#"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#;
        return Message::error(id, errors::MISSING_CAPABILITY, text, Some(data));
    }
    let Some(pages) = pages(error) else {
        let text = "the server wants the user to visit a page first, and does not say which";
        return Message::error(id, errors::INTERNAL, text, None);
    };
    let place = match parks.place(whose) {
        Ok(place) => place,
        Err(limit) => return errors::busy(id, limit),
    };
    let open = (1..).zip(pages).collect();
    ask(parks, Visit { open, _place: Some(place) }, whose, patience)
}

/// The client came back.
pub(super) fn resume(
    parks: &Arc<Parks>,
    mut visit: Visit,
    request: &Request,
    whose: &Whose,
    patience: Duration,
) -> Then {
    let keys: Vec<u32> = visit.open.keys().copied().collect();
    for key in keys {
        let Some(answer) = answer_to(request.answers.as_ref(), key) else { continue };
        if jsonrpc::get(&answer, "/action") != Some(b"\"accept\"") {
            return Then::Answer(declined(request));
        }
        visit.open.remove(&key);
    }
    if visit.open.is_empty() { Then::CallAgain } else { Then::Answer(ask(parks, visit, whose, patience)) }
}

fn ask(parks: &Arc<Parks>, visit: Visit, whose: &Whose, patience: Duration) -> Message {
    let Some(id) = unguessable() else { return errors::internal(Some(b"0")) };
    let questions = visit.open.iter().map(|(key, params)| (*key, "elicitation/create", Some(&params[..])));
    let message = input_required(questions, &id);
    parks.park(id, Parked::Visit(visit), whose.clone(), Instant::now() + patience);
    message
}

fn declined(request: &Request) -> Message {
    let text = "the server wants the user to visit a page first, and the user did not agree to it";
    if &*request.method != "tools/call" {
        return Message::error(Some(b"0"), errors::INTERNAL, text, None);
    }
    let text = String::from_utf8_lossy(&jsonrpc::escape(text)).into_owned();
    let result =
        format!(r#"{{"resultType":"complete","content":[{{"type":"text","text":{text}}}],"isError":true}}"#);
    Message::response(b"0", result.as_bytes())
}
