//! What filters decided about one call, and by which rule: for its line in the log and for
//! `lockgate plugin explain`.
//!
//! A plugin names its rule with a log line that has a field `rule`; the host takes it for the decision
//! of the hook that runs, whatever is logged.

use std::sync::{Arc, Mutex, PoisonError};

/// Longest rule that is kept, in characters.
const RULE_CHARS: usize = 256;
/// Most decisions that are kept of one call; the last ones are those that count.
const MOST: usize = 256;

tokio::task_local! {
    static HOOK: RunningHook;
}

/// The hook that runs in this task.
#[derive(Default)]
struct RunningHook {
    call: Option<u64>,
    rule: Mutex<Option<String>>,
}

/// What the filters decided about one call, in order.
#[derive(Debug, Default)]
pub struct Decisions {
    call: u64,
    all: Mutex<Vec<Decision>>,
}

/// What one filter decided in one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The filter; `lockgate` where Lockgate itself decided.
    pub filter: Arc<str>,
    /// The hook; `definitions` where a name was looked up.
    pub hook: &'static str,
    /// What it decided.
    pub kind: DecisionKind,
    /// By which rule, if it said so.
    pub rule: Option<String>,
}

/// Kinds of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionKind {
    /// Passed on as it came.
    Passed,
    /// Passed on with edits.
    Edited,
    /// Sent to another name.
    Rerouted,
    /// Exists for this caller.
    Visible,
    /// Does not exist for this caller.
    Hidden,
    /// Answered in the server's place, or with another result.
    Answered,
    /// Refused.
    Rejected,
    /// The user is asked first.
    Asked,
    /// The filter failed, and the call with it.
    Failed,
    /// The filter failed and was passed over.
    Skipped,
}

impl DecisionKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            DecisionKind::Passed => "passed",
            DecisionKind::Edited => "changed it",
            DecisionKind::Rerouted => "sent it to another name",
            DecisionKind::Visible => "visible",
            DecisionKind::Hidden => "hidden",
            DecisionKind::Answered => "answered",
            DecisionKind::Rejected => "refused",
            DecisionKind::Asked => "asks the user first",
            DecisionKind::Failed => "failed, so the call is refused",
            DecisionKind::Skipped => "failed and is skipped",
        }
    }

    fn refuses(self) -> bool {
        use DecisionKind::{Asked, Failed, Hidden, Rejected};
        matches!(self, Hidden | Rejected | Asked | Failed)
    }
}

impl Decisions {
    /// For the call of this id.
    pub fn of_call(call: u64) -> Decisions {
        Decisions { call, all: Mutex::default() }
    }

    /// The id of the call.
    pub fn call(&self) -> u64 {
        self.call
    }

    /// One more.
    pub fn record(&self, filter: &Arc<str>, hook: &'static str, kind: DecisionKind, rule: Option<String>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(Decision { filter: filter.clone(), hook, kind, rule: rule.map(|rule| bounded(&rule)) });
    }

    /// Lockgate itself found no such thing.
    pub fn not_listed(&self, rule: String) {
        self.record(&Arc::from("lockgate"), "definitions", DecisionKind::Hidden, Some(rule));
    }

    /// All of them.
    pub fn all(&self) -> Vec<Decision> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The decision that a failed call failed by; none if no filter refused it. After a refusal only
    /// `response` hooks still run, and those that let it pass did not decide.
    pub fn refusal(&self) -> Option<Decision> {
        use DecisionKind::{Edited, Passed};
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let decided = |d: &&Decision| !(d.hook == "response" && matches!(d.kind, Passed | Edited));
        all.iter().rev().find(decided).filter(|d| d.kind.refuses()).cloned()
    }
}

/// Runs a hook; returns what it answered and the rule that it named meanwhile.
pub(super) async fn observed<T>(call: Option<u64>, hook: impl Future<Output = T>) -> (T, Option<String>) {
    let running = RunningHook { call, rule: Mutex::default() };
    let mut scope = std::pin::pin!(HOOK.scope(running, hook));
    let answer = scope.as_mut().await;
    let rule = scope.take_value().and_then(|hook| hook.rule.into_inner().ok().flatten());
    (answer, rule)
}

/// The id of the call that the hook of this task is about.
pub fn running_call() -> Option<u64> {
    HOOK.try_with(|hook| hook.call).ok().flatten()
}

/// Says by which rule the hook of this task decides. The last one counts.
pub fn name_rule(rule: &str) {
    let _ = HOOK.try_with(|hook| {
        *hook.rule.lock().unwrap_or_else(PoisonError::into_inner) = Some(bounded(rule));
    });
}

fn bounded(rule: &str) -> String {
    let mut text = String::new();
    for c in rule.chars().take(RULE_CHARS) {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(list: &[(&'static str, DecisionKind)]) -> Option<&'static str> {
        let decisions = Decisions::of_call(1);
        for (hook, kind) in list {
            decisions.record(&"f".into(), hook, *kind, None);
        }
        decisions.refusal().map(|decision| decision.hook)
    }

    #[test]
    fn the_refusal_is_the_last_decision_that_counts() {
        use DecisionKind::*;
        assert_eq!(decided(&[("access", Visible), ("request", Passed)]), None);
        assert_eq!(decided(&[("access", Visible), ("access", Hidden)]), Some("access"));
        let after = [("request", Rejected), ("response", Passed), ("response", Edited)];
        assert_eq!(decided(&after), Some("request"));
        assert_eq!(decided(&[("request", Asked)]), Some("request"));
        assert_eq!(decided(&[("request", Asked), ("request", Passed), ("response", Passed)]), None);
        assert_eq!(decided(&[("request", Rejected), ("response", Answered)]), None);
        assert_eq!(decided(&[("upstream", Rejected), ("response", Passed)]), Some("upstream"));
    }

    #[tokio::test]
    async fn a_rule_belongs_to_the_hook_that_named_it() {
        let hook = async {
            name_rule("a\n\"b\"");
            running_call()
        };
        let (call, rule) = observed(Some(7), hook).await;
        assert_eq!((call, rule.as_deref()), (Some(7), Some("a\\n\"b\"")));
        let (call, rule) = observed(None, async { running_call() }).await;
        assert_eq!((call, rule), (None, None));
        name_rule("nobody's");
        assert_eq!(running_call(), None);
    }
}
