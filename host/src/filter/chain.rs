//! The ordered filters that the calls of one server pass: forward on the way up, backward down.
//!
//! Rows are computed with the snapshot, so a call pays for the filters that match it and for no
//! other. Edits are committed here, after a hook returned: a filter that fails leaves no trace.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

mod ask;
mod authentication;
mod states;
mod told;

pub use super::placed::{Placed, PlacedParts};
use ask::{ask, kind_of};
pub use authentication::authenticate;
pub use states::{States, Stored};
pub use told::Asked;

use super::breaker::Permit;
use super::decisions::{DecisionKind, Decisions};
use super::{
    CallView, DefinitionsEdit, DefinitionsView, ExchangeView, Failure, FailureKind, ItemKind, ItemsView,
    Outcome, Question, Rejection, Verdict, Visibility,
};

/// The filters of one server, by what they see.
#[derive(Debug)]
pub struct Chain {
    filters: Vec<Arc<Placed>>,
    rows: HashMap<&'static str, Arc<Row>>,
    catalog: HashMap<ItemKind, Vec<Arc<Placed>>>,
    access: HashMap<ItemKind, Vec<Arc<Placed>>>,
    budget: Duration,
}

/// The filters that see one method, by hook. Positions are those in the whole chain.
#[derive(Debug, Default)]
pub struct Row {
    request: Vec<(usize, Arc<Placed>)>,
    response: Vec<(usize, Arc<Placed>)>,
    upstream: Vec<Arc<Placed>>,
    input: Vec<(usize, Arc<Placed>)>,
    notification: Vec<(usize, Arc<Placed>)>,
}

/// A method and the kinds of items it can be about, for building the rows.
pub type MethodKinds = (&'static str, &'static [ItemKind]);

/// How a call leaves the request phase.
#[derive(Debug)]
pub enum Up {
    /// Towards the server.
    Proceed,
    /// A filter sent it to another name: judge that name, then go on with the filter at `next`.
    Rerouted {
        /// The new name, as the server knows it.
        name: String,
        /// Where to go on.
        next: usize,
    },
    /// Answered here. Only filters before `below` have seen it and see the answer.
    Answered {
        /// The answer.
        outcome: Outcome,
        /// Position of the filter that answered.
        below: usize,
    },
    /// A filter wants to hear the user first.
    Asked {
        /// Its position: the phase goes on with it.
        position: usize,
        /// What it asks, one question at least.
        questions: Vec<Question>,
    },
}

/// A filter failed and its failure closes the call.
#[derive(Clone, Debug)]
pub struct Closed {
    /// Which filter.
    pub filter: Arc<str>,
}

impl Chain {
    /// Places the filters that see `server`. `budget` bounds the wall time of each phase.
    pub fn new(server: &str, filters: &[Arc<Placed>], methods: &[MethodKinds], budget: Duration) -> Chain {
        let filters: Vec<_> = filters.iter().filter(|f| f.sees_server(server)).cloned().collect();
        let rows =
            methods.iter().map(|(method, _)| (*method, Arc::new(Row::new(&filters, method)))).collect();
        let mut catalog: HashMap<_, Vec<Arc<Placed>>> = HashMap::new();
        let mut access: HashMap<_, Vec<Arc<Placed>>> = HashMap::new();
        for placed in &filters {
            for kind in [
                ItemKind::Tool,
                ItemKind::Prompt,
                ItemKind::Resource,
                ItemKind::ResourceTemplate,
                ItemKind::Task,
            ] {
                // What is hidden in a list must not be callable, nor the reverse: a filter that
                // sees one method about a kind judges that kind everywhere.
                if !methods.iter().any(|(method, kinds)| kinds.contains(&kind) && placed.sees_method(method))
                {
                    continue;
                }
                if placed.hooks.catalog && kind != ItemKind::Task {
                    catalog.entry(kind).or_default().push(placed.clone());
                }
                if placed.hooks.access {
                    access.entry(kind).or_default().push(placed.clone());
                }
            }
        }
        Chain { filters, rows, catalog, access, budget }
    }

    /// All filters of the chain, in order.
    pub fn filters(&self) -> &[Arc<Placed>] {
        &self.filters
    }

    /// The filters that see a method. Methods of a server's own, which `match.methods` may name as
    /// well, have no row ready.
    pub fn row(&self, method: &str) -> Arc<Row> {
        self.rows.get(method).cloned().unwrap_or_else(|| Arc::new(Row::new(&self.filters, method)))
    }

    /// Whether any filter may shape what this method returns, on its way up or down.
    pub fn looks_at(&self, method: &str) -> bool {
        let row = self.row(method);
        !row.request.is_empty() || !row.response.is_empty()
    }

    /// Whether a `request` filter that sees this name may look at its definition.
    pub fn reads_definition(&self, row: &Row, name: Option<&str>) -> bool {
        row.request.iter().any(|(_, placed)| placed.filter.reads_definitions() && placed.sees_name(name))
    }

    /// Whether a `request` filter judges what is said to this name.
    pub fn judges_request(&self, row: &Row, name: Option<&str>) -> bool {
        row.request.iter().any(|(_, placed)| placed.sees_name(name))
    }

    /// Whether any `response` filter looks at what this method returns.
    pub fn looks_at_results(&self, method: &str) -> bool {
        !self.row(method).response.is_empty()
    }

    /// Whether the `response` filters that look at what this tool returns do so as well if it returns
    /// it to `by` (`tasks/result`; in the modern era `tasks/get`), which names a task and no tool.
    pub fn follows_task(&self, tool: Option<&str>, by: &str) -> bool {
        let mut looking = self.row("tools/call").response.clone();
        looking.retain(|(_, placed)| placed.sees_name(tool));
        looking.iter().all(|(_, placed)| placed.sees_name(None) && placed.sees_method(by))
    }

    /// Whether any filter edits the definitions of this kind.
    pub fn edits(&self, kind: ItemKind) -> bool {
        self.catalog.contains_key(&kind)
    }

    /// Whether any filter judges items of this kind.
    pub fn judges(&self, kind: ItemKind) -> bool {
        self.access.contains_key(&kind)
    }

    /// Whether any filter judges anything of this server.
    pub fn judges_anything(&self) -> bool {
        !self.access.is_empty()
    }

    /// Passes definitions through the `catalog` filters, one after the other.
    ///
    /// # Errors
    /// [`Closed`] if a filter fails: a catalog that is not what was configured is not shown.
    pub async fn definitions(
        &self,
        view: &DefinitionsView,
        mut apply: impl FnMut(&mut DefinitionsView, DefinitionsEdit) -> Result<(), String>,
    ) -> Result<DefinitionsView, Closed> {
        let mut view = view.clone();
        let end = Instant::now() + self.budget;
        for placed in self.catalog.get(&view.kind).into_iter().flatten() {
            let hook = async || {
                let edit = placed.filter.definitions(view.clone()).await?;
                let mut edited = view.clone();
                apply(&mut edited, edit)
                    .map_err(|message| Failure { kind: FailureKind::BadOutput, message })?;
                Ok(edited)
            };
            match ask(placed, "catalog", end, None, hook).await? {
                Some((edited, _)) => view = edited,
                None => continue,
            }
        }
        Ok(view)
    }

    /// Which items this caller may see: all filters must agree.
    ///
    /// # Errors
    /// [`Closed`] if a filter fails, whatever its `on_failure`: access never fails open.
    pub async fn access(&self, items: ItemsView) -> Result<Vec<bool>, Closed> {
        let mut visible = vec![true; items.items.len()];
        let end = Instant::now() + self.budget;
        let items = Arc::new(items);
        for placed in self.access.get(&items.kind).into_iter().flatten() {
            let seen: Vec<usize> = (0..items.items.len())
                .filter(|&i| items.items.get(i).is_some_and(|item| placed.sees_name(Some(&item.name))))
                .collect();
            if seen.is_empty() {
                continue;
            }
            let asked = if seen.len() == items.items.len() {
                items.clone()
            } else {
                let mut subset = (*items).clone();
                subset.items = seen.iter().filter_map(|&i| items.items.get(i).cloned()).collect();
                Arc::new(subset)
            };
            let hook = async || {
                let answers = placed.filter.access(asked).await?;
                if answers.len() != seen.len() {
                    return Err(Failure {
                        kind: FailureKind::BadOutput,
                        message: format!(
                            "`access` answered {} of {} items; it must give one answer for each",
                            answers.len(),
                            seen.len()
                        ),
                    });
                }
                Ok(answers)
            };
            let decisions = items.decisions.as_deref();
            let Some((answers, rule)) = ask(placed, "access", end, decisions, hook).await? else { continue };
            // A list is no refusal of what it leaves out.
            if let Some(decisions) = decisions.filter(|_| !items.method.ends_with("/list")) {
                let all = answers.iter().all(|answer| *answer == Visibility::Visible);
                let kind = if all { DecisionKind::Visible } else { DecisionKind::Hidden };
                decisions.record(&placed.name, "access", kind, rule);
            }
            for (&i, answer) in seen.iter().zip(&answers) {
                if let Some(slot) = visible.get_mut(i) {
                    *slot &= *answer == Visibility::Visible;
                }
            }
        }
        Ok(visible)
    }

    /// Runs the `request` filters at or after `from`.
    pub async fn request(&self, row: &Row, call: &mut CallView, states: &mut States, from: usize) -> Up {
        let end = Instant::now() + self.budget;
        for (position, placed) in row.request.iter().filter(|(position, _)| *position >= from) {
            if !placed.sees_name(call.name.as_deref()) {
                continue;
            }
            call.state = states.of(*position);
            call.answers = states.answers_of(*position);
            let decisions = call.decisions.clone();
            let hook = async || placed.filter.request(Arc::new(call.clone())).await;
            let (effects, rule) = match ask(placed, "request", end, Some(&decisions), hook).await {
                Ok(Some(decided)) => decided,
                Ok(None) => continue,
                Err(closed) => {
                    return Up::Answered { outcome: Outcome::Failure(closed.error()), below: *position };
                }
            };
            let kind = match (&effects.verdict, &effects.reroute) {
                (Verdict::Proceed, Some(_)) => DecisionKind::Rerouted,
                (verdict, _) => kind_of(verdict, effects.params.is_some()),
            };
            decisions.record(&placed.name, "request", kind, rule);
            if let Some(state) = effects.state {
                states.put(*position, state);
            }
            match effects.verdict {
                Verdict::Proceed => {}
                Verdict::Respond(result) => {
                    return Up::Answered { outcome: Outcome::Success(result), below: *position };
                }
                Verdict::Reject(rejection) => {
                    let said = rejection.message.as_str();
                    tracing::debug!(filter = %placed.name, call = call.id, said, "the filter refused the call");
                    return Up::Answered { outcome: Outcome::Failure(rejection.error()), below: *position };
                }
                Verdict::Ask(questions) => return Up::Asked { position: *position, questions },
            }
            if let Some(params) = effects.params {
                call.params = params;
            }
            if let Some(name) = effects.reroute {
                return Up::Rerouted { name, next: position + 1 };
            }
        }
        Up::Proceed
    }

    /// Runs the `response` filters before `below`, backward, over `call.outcome`.
    pub async fn response(&self, row: &Row, call: &mut CallView, states: &mut States, below: usize) {
        let end = Instant::now() + self.budget;
        for (position, placed) in row.response.iter().rev().filter(|(position, _)| *position < below) {
            if !placed.sees_name(call.name.as_deref()) {
                continue;
            }
            call.state = states.of(*position);
            let hook = async || placed.filter.response(Arc::new(call.clone())).await;
            match ask(placed, "response", end, Some(&call.decisions), hook).await {
                Ok(Some((effects, rule))) => {
                    let kind = kind_of(&effects.verdict, effects.outcome.is_some());
                    call.decisions.record(&placed.name, "response", kind, rule);
                    if let Some(state) = effects.state {
                        states.put(*position, state);
                    }
                    match (effects.verdict, effects.outcome) {
                        (Verdict::Proceed, None) => {}
                        (Verdict::Proceed, Some(edited)) => {
                            call.outcome = call.outcome.take().map(|outcome| match outcome {
                                Outcome::Success(_) => Outcome::Success(edited),
                                Outcome::Failure(_) => Outcome::Failure(edited),
                            });
                        }
                        (Verdict::Respond(result), _) => call.outcome = Some(Outcome::Success(result)),
                        (Verdict::Reject(rejection), _) => {
                            call.outcome = Some(Outcome::Failure(rejection.error()));
                        }
                        // Where verdicts are read, one that asks here is a fault.
                        (Verdict::Ask(_), _) => {}
                    }
                }
                Ok(None) => {}
                // The filter may be the one that keeps something from the client: nothing of what
                // came back passes.
                Err(closed) => call.outcome = Some(Outcome::Failure(closed.error())),
            }
        }
    }

    /// Whether an exchange for this method passes any `upstream` filter.
    pub fn has_exchange(&self, method: &str) -> bool {
        !self.row(method).upstream.is_empty()
    }

    /// Passes one outgoing exchange through the `upstream` filters; returns the headers they set.
    pub async fn exchange(&self, method: &str, mut view: ExchangeView) -> Result<http::HeaderMap, Rejection> {
        let end = Instant::now() + self.budget;
        for placed in &self.row(method).upstream {
            if !placed.sees_name(view.call.as_ref().and_then(|call| call.name.as_deref())) {
                continue;
            }
            let hook = async || placed.filter.upstream(Arc::new(view.clone())).await;
            let decisions = view.call.as_ref().map(|call| call.decisions.clone());
            match ask(placed, "upstream", end, decisions.as_deref(), hook).await {
                Ok(Some((effects, rule))) => {
                    let edited = !(effects.set.is_empty() && effects.remove.is_empty());
                    let kind = match (&effects.reject, edited) {
                        (Some(_), _) => DecisionKind::Rejected,
                        (None, true) => DecisionKind::Edited,
                        (None, false) => DecisionKind::Passed,
                    };
                    if let Some(decisions) = &decisions {
                        decisions.record(&placed.name, "upstream", kind, rule);
                    }
                    if let Some(rejection) = effects.reject {
                        return Err(rejection);
                    }
                    for name in effects.remove {
                        view.headers.remove(name);
                    }
                    for (name, value) in &effects.set {
                        view.headers.insert(name.clone(), value.clone());
                    }
                }
                Ok(None) => {}
                Err(closed) => return Err(closed.rejection()),
            }
        }
        Ok(view.headers)
    }
}

impl Row {
    fn new(filters: &[Arc<Placed>], method: &str) -> Row {
        let mut row = Row::default();
        for (position, placed) in filters.iter().enumerate().filter(|(_, f)| f.sees_method(method)) {
            if placed.hooks.request {
                row.request.push((position, placed.clone()));
            }
            if placed.hooks.response {
                row.response.push((position, placed.clone()));
            }
            if placed.hooks.upstream {
                row.upstream.push(placed.clone());
            }
            if placed.hooks.input {
                row.input.push((position, placed.clone()));
            }
            if placed.hooks.notification {
                row.notification.push((position, placed.clone()));
            }
        }
        row
    }
}

impl Closed {
    /// What the client is told: which filter, and that it is not the client's doing.
    pub fn rejection(&self) -> Rejection {
        Rejection {
            code: -32603,
            message: format!(
                "refused: filter `{}` could not judge this call; its operator finds the reason in Lockgate's log",
                self.filter
            ),
            data: None,
        }
    }

    fn error(&self) -> Bytes {
        self.rejection().error()
    }
}

#[cfg(test)]
mod tests;
