//! One hook of one filter: under its breaker, within the time of the phase, with a line in the log if it fails.

use std::time::Instant;

use super::{Closed, DecisionKind, Decisions, Permit, Placed, told};
use crate::config::OnFailure;
use crate::filter::decisions::observed;
use crate::filter::{Failure, FailureKind, Verdict};

/// Runs one hook under the breaker and the phase's budget. With its answer comes the rule that it named,
/// if it did. `Ok(None)`: it failed and is skipped.
pub(super) async fn ask<T>(
    placed: &Placed,
    hook: &'static str,
    end: Instant,
    decisions: Option<&Decisions>,
    run: impl AsyncFnOnce() -> Result<T, Failure>,
) -> Result<Option<(T, Option<String>)>, Closed> {
    let open = placed.on_failure == OnFailure::Open && !matches!(hook, "authenticate" | "access");
    let closed = || Closed { filter: placed.name.clone() };
    let failed = |why: String| {
        let kind = if open { DecisionKind::Skipped } else { DecisionKind::Failed };
        // What is told and asked meanwhile is no decision about the call itself.
        let about_it = !matches!(hook, told::NOTIFICATION | told::ON_ASK | told::ON_ANSWER);
        if let Some(decisions) = decisions.filter(|_| about_it) {
            decisions.record(&placed.name, hook, kind, Some(why));
        }
    };
    if placed.breaker.permit() == Permit::Open {
        failed("it failed too often and is not asked for a while (limits.breaker_faults)".to_owned());
        return if open { Ok(None) } else { Err(closed()) };
    }
    let call = decisions.map(Decisions::call);
    let (outcome, rule) = observed(call, tokio::time::timeout_at(end.into(), run())).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Failure {
            kind: FailureKind::Wall,
            message: format!("`{hook}`: the filters of this phase used up limits.chain_ms together"),
        })
    });
    // The size of one call is no fault of the filter: it must not shut out everybody else.
    let fault = outcome.as_ref().is_err_and(|failure| failure.kind != FailureKind::TooLarge);
    let opened = placed.breaker.record(fault);
    match outcome {
        Ok(value) => Ok(Some((value, rule))),
        Err(failure) => {
            failed(format!("it failed: {failure}"));
            tracing::warn!(
                call,
                filter = %placed.name,
                plugin = %placed.plugin,
                version = placed.version.as_deref().unwrap_or("-"),
                hook,
                kind = %failure.kind,
                "filter failed: {failure}; {}",
                match (open, hook) {
                    (true, _) => "skipped (on_failure: open)",
                    (false, told::NOTIFICATION) => "the notification is dropped (on_failure: closed)",
                    (false, told::ON_ASK | told::ON_ANSWER) => "the server's question is refused (on_failure: closed)",
                    (false, _) => "the call is refused (on_failure: closed)",
                }
            );
            if opened {
                tracing::error!(
                    filter = %placed.name,
                    "filter tripped its breaker: {} faults within {} s; a probe follows after that time",
                    placed.limits.breaker_faults,
                    placed.limits.breaker_seconds
                );
            }
            if open { Ok(None) } else { Err(closed()) }
        }
    }
}

pub(super) fn kind_of(verdict: &Verdict, edited: bool) -> DecisionKind {
    match verdict {
        Verdict::Proceed if edited => DecisionKind::Edited,
        Verdict::Proceed => DecisionKind::Passed,
        Verdict::Respond(_) => DecisionKind::Answered,
        Verdict::Reject(_) => DecisionKind::Rejected,
        Verdict::Ask(_) => DecisionKind::Asked,
    }
}
