//! Calls that take several rounds: a modern server that wants to know something says so in its result,
//! and is called again with the answers (2026-07-28, multi round-trip requests). To a legacy client that
//! is one call, during which it is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::calls::{Time, Way};
use super::questions::Questions;
use super::results::ended;
use super::told::Told;
use super::{made, shown};
use crate::jsonrpc::Message;
use crate::protocol::rounds::{METHODS, asks};
use crate::upstream::{Reply, UpstreamCall, UpstreamError};

/// Rounds after the first call, as in the official SDKs: a server that still asks then goes in circles.
pub(super) const MOST: usize = 10;
/// Between rounds that nobody was asked in: the server wants to be left alone for a moment.
const PAUSE: Duration = Duration::from_millis(250);

/// Makes a call, and asks the client what the server wants to know, until there is an answer.
///
/// A user who thinks is no server that hangs: every round has as much time as the first.
pub(super) async fn run(
    way: &Way,
    call: &UpstreamCall,
    time: &Time,
    told: &Arc<Told>,
) -> Result<Reply, UpstreamError> {
    let method = call.message.method().unwrap_or_default().to_owned();
    let mut message = call.message.clone();
    for round in 0..=MOST {
        let attempt = UpstreamCall {
            message: message.clone(),
            downlink: told.clone(),
            deadline: time.deadline(),
            ..call.clone()
        };
        let reply = way.connection.call(attempt).await?;
        if !asks(&reply.message) {
            return Ok(reply);
        }
        if !METHODS.contains(&&*method) {
            let why = format!("the server answered `{}` with a question, which it must not", shown(&method));
            return Ok(made(ended(&method, &why)));
        }
        if round == MOST {
            break;
        }
        let answered = answer(&reply.message, way, call, time);
        let (answers, state) = tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(UpstreamError::Cancelled),
            answered = answered => match answered {
                Ok(answered) => answered,
                Err(why) => return Ok(made(ended(&method, &why))),
            },
            () = time.over() => {
                let why = format!("it took longer than {} s in all, with questions open", time.spent());
                return Ok(made(ended(&method, &why)));
            }
        };
        // Every retry is the first call with the answers to the latest question, and no others.
        message = call.message.clone();
        if let Some(answers) = answers {
            message = message.with_param("inputResponses", &answers);
        }
        if let Some(state) = state {
            message = message.with_param("requestState", &state);
        }
        told.next_round();
    }
    let why = format!("the server still asks something after {MOST} rounds of questions; the call was ended");
    Ok(made(ended(&method, &why)))
}

/// What a retry carries: answers, and the server's state as it came.
async fn answer(
    asked: &Message,
    way: &Way,
    call: &UpstreamCall,
    time: &Time,
) -> Result<(Option<Bytes>, Option<Bytes>), String> {
    let questions = Questions::of(asked, &way.client)?;
    let state = match asked.result_member("requestState") {
        None => None,
        Some(raw) if raw.starts_with(b"\"") => Some(Bytes::copy_from_slice(raw)),
        Some(_) => return Err("the server gave a `requestState` that is no string".to_owned()),
    };
    if !questions.is_empty() {
        let answers = questions.put(&*call.downlink, time.question).await?;
        return Ok((Some(answers), state));
    }
    if state.is_none() {
        return Err("the server answered with a question and asked nothing".to_owned());
    }
    tokio::time::sleep(PAUSE).await;
    Ok((None, state))
}
