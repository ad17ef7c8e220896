//! One call: resolve, access, request filters, upstream, response filters, answer.

mod admission;
mod asking;
mod sending;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use asking::{Next, Round};

use super::definitions::quoted;
use super::link::{CallScope, Link};
use super::methods::{self, Row, Subject};
use super::notices::{Closing, Screened};
use super::{Downlink, Snapshot, cursors, rescue};
use crate::filter::chain::{Chain, Up};
use crate::filter::decisions::Decisions;
use crate::filter::{CallView, Caller, ItemKind, Outcome};
use crate::jsonrpc::{self, Document, Kind, Limits, Message};
use crate::protocol::methods::{DISCOVER, LISTEN};
use crate::protocol::rounds::{asks, result_type};

/// Names calls in logs and for plugins.
static CALLS: AtomicU64 = AtomicU64::new(1);

/// One call under way.
pub(super) struct Run<'a> {
    pub(super) link: &'a Arc<Link>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) chain: Arc<Chain>,
    pub(super) request: Message,
    pub(super) method: Arc<str>,
    pub(super) caller: Arc<Caller>,
    pub(super) downlink: Arc<dyn Downlink>,
    /// The client itself, past all filters: for what Lockgate asks on behalf of one.
    client: Arc<dyn Downlink>,
    /// What filters look at of it; none if none do.
    screened: Option<Arc<Screened>>,
    pub(super) cancel: CancellationToken,
    pub(super) ending: CancellationToken,
    deadline: Instant,
    hard_deadline: Instant,
    round: Round,
    pub(super) decisions: Arc<Decisions>,
}

/// What a call is about, after `catalog` and `access` had their say.
pub(super) struct Target {
    pub(super) kind: ItemKind,
    pub(super) visible: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) definition: Option<Bytes>,
}

/// How a call ends: with the server's own message, or with one made here.
pub(super) enum End {
    Reply(Message),
    Made(Outcome),
}

impl Link {
    /// Passes one request through the chain and returns the answer with the request's own id.
    /// None if it was cancelled: then the client gets no answer. Never called with `initialize` or `ping`.
    pub async fn call(self: &Arc<Self>, request: Message, scope: CallScope) -> Option<Message> {
        let started = Instant::now();
        // Who listens waits for nothing.
        let listens = request.method() == Some(LISTEN);
        let _under_way = (!listens).then(|| self.gateway.under_way());
        let round = Round::of(self, &request, &scope.caller);
        let snapshot = round.began().unwrap_or_else(|| self.gateway.snapshot());
        let id = Bytes::copy_from_slice(request.id().unwrap_or(b"null"));
        let method: Arc<str> = Arc::from(request.method().unwrap_or_default());
        let Some(chain) = snapshot.chain(&self.server).cloned() else {
            return Some(answer(&id, End::Made(rescue::unknown_method(&method))));
        };
        let config = snapshot.config();
        let seconds = config.servers.get(&*self.server).and_then(|s| s.timeout_seconds);
        let seconds = seconds.unwrap_or(config.limits.call_seconds);
        let cancel = scope.cancel.child_token();
        let (cut, ending) = (snapshot.cut().clone(), scope.ending.child_token());
        let principal = scope.caller.principal.clone();
        let (limit, budget) = (config.limits.stream_buffer_bytes, chain.budget());
        let screened = match listens {
            true => Some(Screened::lasting(scope.downlink.clone(), &self.server, &self.gateway)),
            false => Screened::of_call(&scope.downlink, &self.server, &chain, limit),
        };
        let decisions = Arc::new(Decisions::of_call(CALLS.fetch_add(1, Ordering::Relaxed)));
        let _closing = Closing(screened.as_ref());
        let mut run = Run {
            link: self,
            chain,
            method: method.clone(),
            caller: scope.caller,
            client: scope.downlink.clone(),
            downlink: self.watched(screened.clone().map_or(scope.downlink, |screened| screened), &request),
            screened: screened.clone(),
            cancel: cancel.clone(),
            ending: ending.clone(),
            deadline: started + Duration::from_secs(seconds),
            hard_deadline: started + Duration::from_secs(config.limits.call_max_seconds.max(seconds)),
            round,
            decisions: decisions.clone(),
            request,
            snapshot: snapshot.clone(),
        };
        let name = log_name(&run.request);
        let end = {
            let work = run.run();
            tokio::pin!(work);
            tokio::select! {
                end = &mut work => end,
                // Who listens is told that it is over, and listens anew under the filters of now.
                () = cut.cancelled(), if listens => {
                    ending.cancel();
                    work.await
                }
                () = cut.cancelled() => {
                    cancel.cancel();
                    let end = work.await;
                    if scope.cancel.is_cancelled() { end } else { Some(End::Made(rescue::cut())) }
                }
            }
        };
        if let (Some(screened), Some(_)) = (&screened, &end) {
            screened.finish(budget).await;
        }
        let refusal = end.as_ref().filter(|end| end.is_error()).and_then(|_| decisions.refusal());
        let refusal = refusal.as_ref();
        tracing::info!(
            target: "call",
            call = decisions.call(),
            server = %self.server,
            method = %for_log(&method),
            name = name.as_deref().map(tracing::field::display),
            principal = principal.as_ref().map(|p| tracing::field::display(p.id.escape_debug().to_string())),
            outcome = end.as_ref().map_or("cancelled".to_owned(), End::word),
            refused_by = refusal.map(|refusal| &*refusal.filter),
            hook = refusal.map(|refusal| refusal.hook),
            rule = refusal.and_then(|refusal| refusal.rule.as_deref()),
            ms = started.elapsed().as_millis() as u64,
            generation = snapshot.generation(),
        );
        let answer = end.map(|end| answer(&id, end));
        if self.is_modern() { answer.map(|answer| run.stamped(answer)) } else { answer }
    }
}

impl Run<'_> {
    /// None: cancelled.
    async fn run(&mut self) -> Option<End> {
        let row = methods::find(&self.method);
        let end = self.phases(row).await;
        self.let_go().await;
        match end {
            Ok(end) => Some(end),
            Err(_) if self.cancel.is_cancelled() => None,
            Err(outcome) => Some(End::Made(outcome)),
        }
    }

    async fn phases(&mut self, row: &'static Row) -> Result<End, Outcome> {
        if row.method == DISCOVER && self.link.is_modern() {
            return self.discover().await;
        }
        let known = row.forwarded && row.eras.include(self.link.is_modern());
        if !known || (row.method == "*" && self.chain.judges_anything()) {
            // Nobody could judge what an unknown method reaches.
            return Err(rescue::unknown_method(&self.method));
        }
        self.resume().await?;
        let named = methods::named(row, &self.request).map_err(rescue::invalid_params)?;
        let target = match named {
            Some((kind, visible)) => Some(self.admit(row, kind, visible).await?),
            None => None,
        };
        self.check_target(target.as_ref())?;
        self.check_mirrors(row, target.as_ref()).await?;
        if let Some(target) = target.as_ref().filter(|t| t.name != t.visible) {
            self.request = self.with_name(row, &target.name)?;
        }
        let chain = self.chain.clone();
        let hooks = chain.row(&self.method);
        let mut states = self.restored();
        let mut view = self.view(target.as_ref());
        view.definition = self.definition_for_filters(&hooks, target.as_ref()).await;
        self.check_arguments(&hooks, &view)?;
        self.hear(&view, &states).await?;
        let mut from = 0;
        let below = loop {
            match chain.request(&hooks, &mut view, &mut states, from).await {
                Up::Proceed => break usize::MAX,
                Up::Rerouted { name, next } => {
                    let target = self.admit_rerouted(row, target.as_ref(), name).await?;
                    view.name = Some(target.name.clone());
                    view.definition = self.definition_for_filters(&hooks, Some(&target)).await;
                    self.request = self.request.with_params(&view.params);
                    self.request = self.with_name(row, &target.name)?;
                    view.params = self.params();
                    self.check_arguments(&hooks, &view)?;
                    from = next;
                }
                Up::Answered { outcome, below } => {
                    view.outcome = Some(outcome);
                    break below;
                }
                Up::Asked { position, questions } => {
                    match self.asked_by_filter(position, questions, &mut states).await? {
                        Some(result) => return Ok(End::Made(Outcome::Success(result))),
                        None => {
                            (from, view.round, view.deadline) = (position, self.round.number, self.deadline)
                        }
                    }
                }
            }
        };
        let mut reply = None;
        if view.outcome.is_none() {
            if let Some(screened) = &self.screened {
                screened.about(&view, &states);
            }
            reply = loop {
                match self.exchange(row, &mut view, target.as_ref()).await {
                    Ok(message) if self.link.is_modern() && asks(&message) => {
                        match self.asked_by_server(message, &view, &states).await? {
                            // No outcome yet: `response` filters see the final one.
                            Next::Client(question) => return Ok(End::Reply(question)),
                            Next::Server => view.outcome = None,
                        }
                    }
                    // Nobody can say what a client makes of it (2026-07-28: an unknown type is invalid).
                    Ok(message) if self.link.is_modern() && !self.is_known(&message) => {
                        view.outcome =
                            Some(rescue::malformed(&self.link.server, "a result of an unknown type"));
                        break None;
                    }
                    Ok(message) => break Some(message),
                    Err(outcome) if self.cancel.is_cancelled() => return Err(outcome),
                    Err(outcome) => {
                        view.outcome = Some(outcome);
                        break None;
                    }
                }
            };
        }
        let before = view.outcome.clone();
        chain.response(&hooks, &mut view, &mut states, below).await;
        Ok(match (reply, view.outcome) {
            (Some(reply), Some(outcome)) => {
                if before.as_ref().is_some_and(|before| same(before, &outcome)) {
                    End::Reply(reply)
                } else {
                    edited(reply, outcome)
                }
            }
            (Some(reply), None) => End::Reply(reply),
            (None, Some(outcome)) => End::Made(outcome),
            (None, None) => End::Made(rescue::unknown_method(&self.method)),
        })
    }

    /// Sends the call up and shapes what comes back; sets `view.outcome` from it.
    async fn exchange(
        &mut self,
        row: &'static Row,
        view: &mut CallView,
        target: Option<&Target>,
    ) -> Result<Message, Outcome> {
        if !same_bytes(&view.params, &self.params()) {
            self.request = self.request.with_params(&view.params);
        }
        if row.subject == Subject::Listen {
            return self.listen(row, view).await;
        }
        let definition = self.prepare(row, view).await;
        if row.method == "tools/call"
            && !self.link.is_modern()
            && self.request.param("task").is_some()
            && !self.chain.follows_task(view.name.as_deref(), "tasks/result")
        {
            return Err(rescue::invalid_params(
                "`task`: a filter that looks at what this tool returns could not; call it without",
            ));
        }
        if matches!(row.subject, Subject::List(_)) {
            self.request = cursors::open(self.link, &self.caller, self.request.clone())?;
        }
        if self.link.keeps_for_others(&self.method, &self.request) {
            view.outcome = Some(Outcome::Success(Bytes::from_static(b"{}")));
            return Ok(Message::response(b"0", b"{}"));
        }
        self.request = self.link.at_the_lowest_level(&self.method, self.request.clone());
        // Before it is sent: what it asks for may come before its answer is looked at.
        let subscribed = self.link.subscribe(&self.method, &self.request);
        // What a `request` filter stored is its own; no `upstream` filter sees it.
        let shown = CallView { state: Arc::default(), ..view.clone() };
        let request = self.with_round(self.request.clone());
        self.state_is_sent();
        let sent = self.send(request, Some(Arc::new(shown)), definition).await;
        if let Some(uri) = &subscribed
            && sent.as_ref().map_or(true, |reply| reply.message.kind() != Kind::Result)
        {
            self.link.unsubscribe(uri);
        }
        let mut reply = sent?;
        if let Subject::List(list) = row.subject {
            reply = self.shape_list(list, reply).await?;
            reply = cursors::seal(self.link, &self.caller, &self.method, reply)?;
        }
        if let Some((status, headers)) = &reply.head {
            view.upstream_status = Some(*status);
            view.upstream_headers = Some(headers.clone());
        }
        let message = reply.message;
        view.outcome = match message.kind() {
            Kind::Result => {
                self.link.remember(&self.method, &self.request);
                message.result().map(Outcome::Success)
            }
            _ => message.error_object().map(Outcome::Failure),
        };
        // An unlisted name that the server refuses must look like one that is hidden.
        if message.kind() == Kind::Error
            && let Some(target) = target.filter(|t| t.definition.is_none() && self.chain.judges(t.kind))
        {
            return Err(self.unknown(target.kind, &target.visible));
        }
        Ok(message)
    }

    fn view(&self, target: Option<&Target>) -> CallView {
        CallView {
            id: self.decisions.call(),
            method: self.method.clone(),
            server: self.link.server.clone(),
            name: target.map(|t| t.name.clone()),
            visible_name: target.map(|t| t.visible.clone()),
            caller: self.caller.clone(),
            round: self.round.number,
            deadline: self.deadline,
            params: self.params(),
            answers: Arc::default(),
            definition: None,
            outcome: None,
            upstream_status: None,
            upstream_headers: None,
            state: Arc::default(),
            decisions: self.decisions.clone(),
        }
    }

    /// Whether the type of a result is known, where filters look.
    fn is_known(&self, message: &Message) -> bool {
        let known = result_type(message).is_none_or(|kind| matches!(&*kind, "complete" | "task"));
        known || !(self.chain.looks_at(&self.method) || self.chain.looks_at_questions())
    }

    fn params(&self) -> Bytes {
        self.request.params().unwrap_or_else(|| Bytes::from_static(b"{}"))
    }

    /// The request with the item's name as the server knows it.
    fn with_name(&self, row: &Row, name: &str) -> Result<Message, Outcome> {
        match row.subject {
            Subject::Named(_, param) => Ok(self.request.with_param(param, &quoted(name))),
            Subject::Reference => {
                let at = methods::reference_at(&self.request);
                let mut params = Document::new(self.params(), self.json_limits());
                params.set_text(at, name).map_err(|e| rescue::invalid_params(&e.to_string()))?;
                Ok(self.request.with_params(params.bytes()))
            }
            Subject::None | Subject::List(_) | Subject::Listen => Ok(self.request.clone()),
        }
    }

    pub(super) fn json_limits(&self) -> Limits {
        self.link.gateway.server_json_limits()
    }
}

impl End {
    fn is_error(&self) -> bool {
        match self {
            End::Made(outcome) => matches!(outcome, Outcome::Failure(_)),
            End::Reply(message) => message.kind() == Kind::Error,
        }
    }

    /// For the log: never contents.
    fn word(&self) -> String {
        let error = |error: &[u8]| {
            let code = jsonrpc::get(error, "/code").map(String::from_utf8_lossy).unwrap_or_default();
            format!("error {code}")
        };
        let success =
            |result: &[u8]| match (jsonrpc::get(result, "/isError"), jsonrpc::get(result, "/resultType")) {
                (Some(b"true"), _) => "tool error".to_owned(),
                (_, Some(b"\"input_required\"")) => "asked".to_owned(),
                _ => "ok".to_owned(),
            };
        match self {
            End::Made(Outcome::Success(result)) => success(result),
            End::Made(Outcome::Failure(e)) => error(e),
            End::Reply(message) => match (message.kind(), message.error_object()) {
                (Kind::Error, Some(e)) => error(&e),
                // Spans of the result's own members are known: no second scan of a large result.
                _ if asks(message) => "asked".to_owned(),
                _ => match message.result_member("isError") {
                    Some(b"true") => "tool error".to_owned(),
                    _ => "ok".to_owned(),
                },
            },
        }
    }
}

/// Whether these are the same bytes, not only equal ones: then nothing was edited.
fn same(a: &Outcome, b: &Outcome) -> bool {
    match (a, b) {
        (Outcome::Success(a), Outcome::Success(b)) | (Outcome::Failure(a), Outcome::Failure(b)) => {
            same_bytes(a, b)
        }
        _ => false,
    }
}

fn same_bytes(a: &Bytes, b: &Bytes) -> bool {
    a.as_ptr() == b.as_ptr() && a.len() == b.len()
}

/// The server's message with another outcome; its other members stay where the kind is the same.
fn edited(reply: Message, outcome: Outcome) -> End {
    match (reply.kind(), outcome) {
        (Kind::Result, Outcome::Success(result)) => End::Reply(reply.with_result(&result)),
        (Kind::Error, Outcome::Failure(error)) => End::Reply(reply.with_error(&error)),
        (_, outcome) => End::Made(outcome),
    }
}

fn answer(id: &[u8], end: End) -> Message {
    match end {
        End::Reply(message) => message.with_id(id),
        End::Made(Outcome::Success(result)) => Message::response(id, &result),
        End::Made(Outcome::Failure(error)) => rescue::message(Some(id), &error),
    }
}

/// The name of what is called, for the log.
fn log_name(request: &Message) -> Option<String> {
    let name = request.param_text("name").or_else(|| request.param_text("uri"))?;
    Some(for_log(&name))
}

/// What a client wrote, for the log: bounded and without control characters.
fn for_log(text: &str) -> String {
    text.chars().take(128).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests;
