//! What passes the chain beside calls: notifications in both directions, and what servers ask.
//!
//! Up is the order of the chain, down its reverse, as with requests and responses: a question goes
//! down and its answer up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Chain, Row, States, ask};
use crate::filter::decisions::Decisions;
use crate::filter::{AskEffects, CallView, Delivery, NotificationView, Outcome, QuestionView};

pub(super) const NOTIFICATION: &str = "notification";
pub(super) const ON_ASK: &str = "input.on-ask";
pub(super) const ON_ANSWER: &str = "input.on-answer";

/// How a question leaves the filters on its way down.
#[derive(Debug)]
pub enum Asked {
    /// Towards the client; every filter sees the answer.
    Proceed,
    /// Answered here. Only filters at or after `from` have seen the question and see the answer.
    Answered {
        /// The answer.
        outcome: Outcome,
        /// Where the answer goes on.
        from: usize,
    },
}

impl Chain {
    /// Wall time of all filters of one phase together (`limits.chain_ms`).
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// When the filters of a phase that begins now have used up their time. By the runtime's clock,
    /// which is the one that ends them.
    fn end(&self) -> Instant {
        (tokio::time::Instant::now() + self.budget).into_std()
    }

    /// Whether any filter looks at notifications, of whatever method.
    pub fn looks_at_notifications(&self) -> bool {
        self.filters.iter().any(|placed| placed.hooks.notification)
    }

    /// Whether any filter looks at questions of servers, of whatever method.
    pub fn looks_at_questions(&self) -> bool {
        self.filters.iter().any(|placed| placed.hooks.input)
    }

    /// Passes a notification through its filters. False: it ends here, because one dropped it or
    /// failed closed. `states` are those of the call it belongs to.
    pub async fn notification(&self, row: &Row, view: &mut NotificationView, states: &States) -> bool {
        let end = self.end();
        let name = name_of(view);
        let mut filters: Vec<_> = row.notification.iter().collect();
        if view.down {
            filters.reverse();
        }
        for (position, placed) in filters {
            if !placed.sees_name(name.as_deref()) {
                continue;
            }
            let seen = NotificationView { call: of(view.call.as_ref(), states, *position), ..view.clone() };
            let hook = async || placed.filter.notification(Arc::new(seen)).await;
            match ask(placed, NOTIFICATION, end, decisions(view.call.as_ref()), hook).await.map(answer) {
                Ok(Some(Delivery::Pass(None)) | None) => {}
                Ok(Some(Delivery::Pass(Some(edited)))) => view.params = edited,
                Ok(Some(Delivery::Drop)) => {
                    tracing::debug!(filter = %placed.name, method = %view.method, "notification dropped");
                    return false;
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Passes a question of a server down through its filters.
    pub async fn ask(&self, row: &Row, view: &mut QuestionView, states: &States) -> Asked {
        let end = self.end();
        for (position, placed) in row.input.iter().rev() {
            if !placed.sees_name(view.call.as_ref().and_then(|call| call.name.as_deref())) {
                continue;
            }
            let seen = QuestionView { call: of(view.call.as_ref(), states, *position), ..view.clone() };
            let hook = async || placed.filter.input_ask(Arc::new(seen)).await;
            let answered = |outcome| Asked::Answered { outcome, from: position + 1 };
            match ask(placed, ON_ASK, end, decisions(view.call.as_ref()), hook).await.map(answer) {
                Ok(Some(AskEffects::Pass(None)) | None) => {}
                Ok(Some(AskEffects::Pass(Some(edited)))) => view.params = edited,
                Ok(Some(AskEffects::Answer(result))) => return answered(Outcome::Success(result)),
                Ok(Some(AskEffects::Refuse(rejection))) => {
                    tracing::debug!(filter = %placed.name, method = %view.method, "question refused");
                    return answered(Outcome::Failure(rejection.error()));
                }
                Err(closed) => return answered(Outcome::Failure(closed.error())),
            }
        }
        Asked::Proceed
    }

    /// Passes `view.answer` up through the filters at or after `from`.
    pub async fn answer(&self, row: &Row, view: &mut QuestionView, states: &States, from: usize) {
        let end = self.end();
        for (position, placed) in row.input.iter().filter(|(position, _)| *position >= from) {
            if !placed.sees_name(view.call.as_ref().and_then(|call| call.name.as_deref())) {
                continue;
            }
            let seen = QuestionView { call: of(view.call.as_ref(), states, *position), ..view.clone() };
            let hook = async || placed.filter.input_answer(Arc::new(seen)).await;
            match ask(placed, ON_ANSWER, end, decisions(view.call.as_ref()), hook).await.map(answer) {
                Ok(Some(AskEffects::Pass(None)) | None) => {}
                Ok(Some(AskEffects::Pass(Some(edited)))) => {
                    view.answer = view.answer.take().map(|answer| match answer {
                        Outcome::Success(_) => Outcome::Success(edited),
                        Outcome::Failure(_) => Outcome::Failure(edited),
                    });
                }
                Ok(Some(AskEffects::Answer(result))) => view.answer = Some(Outcome::Success(result)),
                Ok(Some(AskEffects::Refuse(rejection))) => {
                    view.answer = Some(Outcome::Failure(rejection.error()));
                }
                // The filter may be the one that keeps something from the server: nothing of what
                // the client answered passes.
                Err(closed) => view.answer = Some(Outcome::Failure(closed.error())),
            }
        }
    }
}

impl Row {
    /// Whether any filter looks at notifications of this method.
    pub fn tells(&self) -> bool {
        !self.notification.is_empty()
    }

    /// Whether any filter looks at questions of this method.
    pub fn asks(&self) -> bool {
        !self.input.is_empty()
    }
}

fn decisions(call: Option<&Arc<CallView>>) -> Option<&Decisions> {
    call.map(|call| &*call.decisions)
}

fn answer<T>(asked: Option<(T, Option<String>)>) -> Option<T> {
    asked.map(|(answer, _)| answer)
}

/// What `match.names` is held against: the resource that changed, or what the call is about.
fn name_of(view: &NotificationView) -> Option<String> {
    if &*view.method == "notifications/resources/updated" {
        let uri = crate::jsonrpc::get(&view.params, "/uri").and_then(crate::jsonrpc::unescape);
        return uri.map(std::borrow::Cow::into_owned);
    }
    view.call.as_ref().and_then(|call| call.name.as_deref()).map(str::to_owned)
}

/// The call as the filter at this position may see it: with what that one stored, and no other.
fn of(call: Option<&Arc<CallView>>, states: &States, position: usize) -> Option<Arc<CallView>> {
    call.map(|call| Arc::new(CallView { state: states.of(position), ..CallView::clone(call) }))
}

#[cfg(test)]
mod tests;
