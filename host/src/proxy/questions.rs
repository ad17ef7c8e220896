//! A question of a server: down through the `input` filters to the client, and its answer up again.

use super::notices::with_params;
use super::{Downlink, rescue};
use crate::filter::chain::{Asked, Chain, Row, States};
use crate::filter::{Outcome, QuestionView};
use crate::jsonrpc::{self, Kind, Message};

/// Asks the client, unless a filter answers in its place. The answer has the question's own id.
/// Dropping the future tells the client that the question is void.
pub(super) async fn put(
    chain: &Chain,
    row: &Row,
    mut view: QuestionView,
    states: &States,
    question: Message,
    client: &dyn Downlink,
) -> Message {
    let id = question.id().unwrap_or(b"null").to_owned();
    let before = view.params.clone();
    let (reply, from) = match chain.ask(row, &mut view, states).await {
        Asked::Proceed => {
            let mut reply = client.ask(with_params(question, &before, &view.params)).await;
            // Filters and the server must read the same answer.
            if let Some((one, other)) = reply.result().as_deref().and_then(jsonrpc::alike)
                && let Outcome::Failure(error) = rescue::similar_members("result", &one, &other)
            {
                reply = rescue::message(Some(&id), &error);
            }
            view.answer = outcome(&reply);
            (Some(reply), 0)
        }
        Asked::Answered { outcome, from } => {
            view.answer = Some(outcome);
            (None, from)
        }
    };
    chain.answer(row, &mut view, states, from).await;
    match (reply, view.answer) {
        (Some(reply), None) => reply,
        (Some(reply), Some(answer)) => answered(reply, answer),
        (None, Some(answer)) => made(&id, answer),
        (None, None) => Message::response(&id, b"{}"),
    }
}

fn outcome(reply: &Message) -> Option<Outcome> {
    match reply.kind() {
        Kind::Result => reply.result().map(Outcome::Success),
        _ => reply.error_object().map(Outcome::Failure),
    }
}

/// The client's reply with the outcome that filters left; the rest of it stays as it came.
fn answered(reply: Message, answer: Outcome) -> Message {
    match answer {
        Outcome::Success(result) if reply.result().as_ref() == Some(&result) => reply,
        Outcome::Success(result) => reply.with_result(&result),
        Outcome::Failure(error) if reply.error_object().as_ref() == Some(&error) => reply,
        Outcome::Failure(error) => reply.with_error(&error),
    }
}

fn made(id: &[u8], answer: Outcome) -> Message {
    match answer {
        Outcome::Success(result) => Message::response(id, &result),
        Outcome::Failure(error) => rescue::message(Some(id), &error),
    }
}
