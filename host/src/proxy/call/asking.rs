//! Questions in the course of a call: of its server in the modern era, whose result they are
//! (`input_required`), and of filters, which ask the user first (verdict `ask`).
//!
//! A modern client is answered with the questions and makes its request anew with the answers; what has
//! to last meanwhile goes along, sealed. A legacy client is asked while its call waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::super::rescue;
use super::super::rounds::{self, Asked, Kept, Worthless};
use super::super::{Link, Snapshot};
use super::{Run, Target};
use crate::filter::chain::{self, States, Stored};
use crate::filter::{CallView, Caller, Outcome, Question, QuestionView};
use crate::jsonrpc::{self, Document, Kind, Message};
use crate::protocol::rounds::{METHODS, without_answers};
use crate::upstream::UpstreamError;

/// How the user's silence is told to filters and servers.
const CANCELLED: &[u8] = br#"{"action":"cancel"}"#;
/// The question of a filter with this index has this key, with the index behind it.
const KEY: &str = "lockgate-";

/// Where a call of the modern era stands.
#[derive(Default)]
pub(super) struct Round {
    /// How many questions came before, each with a request of its own.
    pub(super) number: u32,
    /// As the client made the request.
    params: Bytes,
    /// What the request's `requestState` came to, until it is looked at.
    opened: Option<Result<Kept, Worthless>>,
    /// The filters that the call began with, if it is a later round and they still serve.
    began: Option<Arc<Snapshot>>,
    /// The server's own.
    state: Option<String>,
    /// For the server.
    answers: BTreeMap<String, Box<RawValue>>,
    /// Which of the answers the client gave just now, and to what.
    heard: BTreeMap<String, Asked>,
    stored: Stored,
    /// What was called when the question was put, as the server knows it.
    target: Option<String>,
    /// The state of a call that waits at the server, while nobody else knows it: not the client, to come
    /// back with, and not the server's side, to go on with.
    owed: Option<String>,
    /// What the user said to a filter's questions.
    own: Option<(String, Vec<Bytes>)>,
}

/// How a call goes on after its server asked.
pub(super) enum Next {
    /// The client is asked.
    Client(Message),
    /// Filters answered everything: the server gets the call again.
    Server,
}

impl Round {
    /// Of a request as its client makes it. A later round of a call stays with the filters that the call
    /// began with, so that none of them sees half a call.
    pub(super) fn of(link: &Link, request: &Message, caller: &Caller) -> Round {
        let mut round = Round::default();
        let method = request.method().unwrap_or_default();
        if !link.is_modern() || !METHODS.contains(&method) {
            return round;
        }
        let text = request.param("requestState").and_then(|raw| serde_json::from_slice::<String>(raw).ok());
        let (Some(text), Some(params)) = (text, request.params()) else { return round };
        let opened = Kept::open(&text, link, caller, method, &params);
        round.began = opened.as_ref().ok().and_then(|kept| link.gateway.generation(kept.generation));
        round.opened = Some(opened);
        round
    }

    /// The filters that the call began with.
    pub(super) fn began(&self) -> Option<Arc<Snapshot>> {
        self.began.clone()
    }
}

impl Run<'_> {
    /// Takes out of a request what it brings for an earlier question.
    pub(super) async fn resume(&mut self) -> Result<(), Outcome> {
        if !self.link.is_modern() || !METHODS.contains(&&*self.method) {
            return Ok(());
        }
        self.round.params = self.params();
        let (state, responses) = (self.request.param("requestState"), self.request.param("inputResponses"));
        if state.is_none() && responses.is_none() {
            return Ok(());
        }
        let responses: BTreeMap<String, Box<RawValue>> = match responses {
            None => BTreeMap::new(),
            Some(raw) => serde_json::from_slice(raw)
                .map_err(|_| rescue::invalid_params("`inputResponses` must be an object"))?,
        };
        let state: Option<String> = match state {
            None => None,
            Some(raw) => serde_json::from_slice(raw)
                .map_err(|_| rescue::invalid_params("`requestState` must be a string"))?,
        };
        // Answers without a state belong to no question that Lockgate knows of. A server may take them all the same;
        // filters have not seen the questions, so where one looks they are no answers.
        if state.is_none() {
            if self.concerns_others().await? {
                self.request = without_answers(&self.request);
            }
            return Ok(());
        }
        self.request = without_answers(&self.request);
        let opened = self.round.opened.take().unwrap_or(Err(Worthless::Invalid));
        let mut kept = opened.map_err(|worthless| match worthless {
            Worthless::Invalid => rescue::expired(),
            Worthless::Busy => rescue::limited("limits.answered_rounds"),
        })?;
        if self.round.began.is_none() {
            self.round.owed = kept.state;
            return Err(rescue::outlived());
        }
        let round = &mut self.round;
        round.number = kept.round;
        round.stored = kept.take_stored();
        round.owed = kept.state.clone();
        round.state = kept.state;
        round.target = kept.target;
        round.answers = kept.answers;
        match kept.asking {
            Some((filter, count)) => {
                let answer = |index| responses.get(&format!("{KEY}{index}")).map(|raw| raw.get());
                let own = (0..count).map(|index| lawful(answer(index).map(str::as_bytes))).collect();
                round.own = Some((filter, own));
            }
            None => {
                let looked_at = self.chain.looks_at_questions();
                for (key, answer) in responses {
                    match kept.asked.remove(&key) {
                        Some(asked) => {
                            round.heard.insert(key.clone(), asked);
                        }
                        // Without its question no filter could judge it; the server asks again.
                        None if looked_at => continue,
                        None => {}
                    }
                    round.answers.insert(key, answer);
                }
            }
        }
        Ok(())
    }

    /// Whether what is asked on this call concerns anybody but the server: a filter, or the bridge, which keeps the
    /// call waiting.
    async fn concerns_others(&self) -> Result<bool, Outcome> {
        if self.chain.looks_at(&self.method) || self.chain.looks_at_questions() {
            return Ok(true);
        }
        let connection = self.connection().await.map_err(|error| rescue::upstream(&error))?;
        Ok(connection.parks())
    }

    /// A yes was said to a certain item: a name that means another one by now is none of it.
    pub(super) fn check_target(&mut self, target: Option<&Target>) -> Result<(), Outcome> {
        let now = target.map(|target| target.name.to_string());
        match self.round.target.replace(now.clone().unwrap_or_default()) {
            Some(then) if Some(&then) != now.as_ref() => Err(rescue::expired()),
            _ => Ok(()),
        }
    }

    /// The state goes where the call goes: from here on it is known there.
    pub(super) fn state_is_sent(&mut self) {
        self.round.owed = None;
    }

    /// Lets go of a call that waits at the server for answers that can never come.
    pub(super) async fn let_go(&mut self) {
        let Some(state) = self.round.owed.take() else { return };
        if let Ok(connection) = self.connection().await {
            connection.abandon(&state);
        }
    }

    /// What filters stored in earlier rounds, and what the user said to the one that asked.
    pub(super) fn restored(&mut self) -> States {
        let mut states = self.chain.restored(std::mem::take(&mut self.round.stored));
        if let Some((filter, answers)) = self.round.own.take()
            && let Some(position) = self.chain.position_of(&filter)
        {
            states.answered(position, answers);
        }
        states
    }

    /// Passes what the client answered to the server up through the `input` filters.
    pub(super) async fn hear(&mut self, view: &CallView, states: &States) -> Result<(), Outcome> {
        for (key, asked) in std::mem::take(&mut self.round.heard) {
            let row = self.chain.row(&asked.method);
            let Some(answer) = self.round.answers.get(&key).filter(|_| row.asks()) else { continue };
            if let Some((one, other)) = jsonrpc::alike(answer.get().as_bytes()) {
                return Err(rescue::similar_members("inputResponses", &one, &other));
            }
            let answer = Outcome::Success(Bytes::copy_from_slice(answer.get().as_bytes()));
            let params = Bytes::copy_from_slice(asked.params.get().as_bytes());
            let mut question = self.question(view, &asked.method, params);
            question.answer = Some(answer);
            self.chain.answer(&row, &mut question, states, 0).await;
            let settled = settle(&asked.method, question.answer)?;
            self.round.answers.insert(key, settled);
        }
        Ok(())
    }

    /// The request with what this round brings the server.
    pub(super) fn with_round(&self, mut request: Message) -> Message {
        if !self.round.answers.is_empty()
            && let Ok(answers) = serde_json::to_vec(&self.round.answers)
        {
            request = request.with_param("inputResponses", &answers);
        }
        if let Some(state) = &self.round.state {
            request = request.with_param("requestState", &jsonrpc::escape(state));
        }
        request
    }

    /// Passes the questions of a result down through the `input` filters, and seals what is needed when
    /// their answers come.
    pub(super) async fn asked_by_server(
        &mut self,
        reply: Message,
        view: &CallView,
        states: &States,
    ) -> Result<Next, Outcome> {
        if !METHODS.contains(&&*self.method) {
            return Err(rescue::malformed(&self.link.server, "a question where none may be"));
        }
        let server = self.link.server.clone();
        let malformed = |what: &str| rescue::malformed(&server, what);
        let result = reply.result().ok_or_else(|| malformed("a question without a result"))?;
        let mut result = Document::new(result, self.json_limits());
        let state = result.text("/requestState").ok().flatten();
        self.round.owed = state.clone();
        let keys = result.keys("/inputRequests").unwrap_or_default();
        if keys.len() > rounds::QUESTIONS {
            return Err(malformed("more questions than anybody answers (64)"));
        }
        let mut kept = Kept::until(self.round.number + 1, self.snapshot.generation());
        if kept.round > rounds::MOST {
            return Err(rescue::too_many_rounds());
        }
        for key in &keys {
            let at = jsonrpc::pointer(&["inputRequests", key]);
            let method = result.text(&format!("{at}/method")).ok().flatten();
            let method = method.ok_or_else(|| malformed("a question without a method"))?;
            let row = self.chain.row(&method);
            if !row.asks() {
                // Its answer is known by this when it comes, though nobody looks at it.
                if self.chain.looks_at_questions()
                    && let Some(params) = raw(b"{}")
                {
                    kept.asked.insert(key.clone(), Asked { method, params });
                }
                continue;
            }
            let params = result.get(&format!("{at}/params")).ok().flatten();
            let params = params.unwrap_or_else(|| Bytes::from_static(b"{}"));
            let mut question = self.question(view, &method, params.clone());
            match self.chain.ask(&row, &mut question, states).await {
                chain::Asked::Proceed => {
                    if question.params != params {
                        let edited = result.set(&format!("{at}/params"), &question.params);
                        edited.map_err(|_| malformed("a question that filters could not edit"))?;
                    }
                    if let Some(params) = raw(&question.params) {
                        kept.asked.insert(key.clone(), Asked { method, params });
                    }
                }
                chain::Asked::Answered { outcome, from } => {
                    question.answer = Some(outcome);
                    self.chain.answer(&row, &mut question, states, from).await;
                    kept.answers.insert(key.clone(), settle(&method, question.answer)?);
                    result.remove(&at).map_err(|_| malformed("a question that cannot be taken out"))?;
                }
            }
        }
        if !keys.is_empty() && kept.answers.len() == keys.len() {
            self.round.number = kept.round;
            self.round.answers = kept.answers;
            self.round.state = state;
            return Ok(Next::Server);
        }
        kept.state = state;
        kept.target = self.round.target.clone();
        kept.set_stored(self.chain.stored(states));
        let sealed = self.sealed(kept)?;
        self.round.owed = None;
        let set = result.set("/requestState", format!("\"{sealed}\"").as_bytes());
        set.map_err(|_| malformed("a question that cannot be passed on"))?;
        Ok(Next::Client(reply.with_result(result.bytes())))
    }

    /// Puts a filter's questions to the user. None if they were answered, in `states`; else the result
    /// that asks a modern client.
    pub(super) async fn asked_by_filter(
        &mut self,
        position: usize,
        questions: Vec<Question>,
        states: &mut States,
    ) -> Result<Option<Bytes>, Outcome> {
        if !can_be_asked(&self.caller.client.capabilities) {
            return Err(rescue::cannot_ask(self.link.is_modern()));
        }
        self.round.number += 1;
        if self.round.number > rounds::MOST {
            return Err(rescue::too_many_rounds());
        }
        if !self.link.is_modern() {
            let answers = self.ask_now(&questions).await?;
            states.answered(position, answers);
            return Ok(None);
        }
        let filter = self.chain.name_at(position).unwrap_or_default().to_owned();
        let mut kept = Kept::until(self.round.number, self.snapshot.generation());
        // What the server has not got yet waits for the filter.
        kept.state = self.round.state.take();
        kept.answers = std::mem::take(&mut self.round.answers);
        kept.asking = Some((filter, questions.len()));
        kept.target = self.round.target.clone();
        kept.set_stored(self.chain.stored(states));
        let mut result = br#"{"resultType":"input_required","inputRequests":{"#.to_vec();
        for (index, question) in questions.iter().enumerate() {
            if index > 0 {
                result.push(b',');
            }
            result.extend_from_slice(format!(r#""{KEY}{index}":"#).as_bytes());
            result.extend_from_slice(br#"{"method":"elicitation/create","params":"#);
            result.extend_from_slice(&elicitation(question, true));
            result.push(b'}');
        }
        let sealed = self.sealed(kept)?;
        self.round.owed = None;
        result.extend_from_slice(format!(r#"}},"requestState":"{sealed}"}}"#).as_bytes());
        Ok(Some(result.into()))
    }

    /// Asks a legacy client, one question after the other. The time that its user takes is not the
    /// server's.
    async fn ask_now(&mut self, questions: &[Question]) -> Result<Vec<Bytes>, Outcome> {
        let began = Instant::now();
        let patience = Duration::from_secs(self.snapshot.config().limits.call_seconds);
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            let params = elicitation(question, false);
            let request = Message::request(b"0", "elicitation/create", Some(&params));
            let answer = tokio::select! {
                answer = self.client.ask(request) => Some(answer),
                () = tokio::time::sleep(patience) => None,
                () = self.cancel.cancelled() => return Err(rescue::upstream(&UpstreamError::Cancelled)),
            };
            let result = answer.filter(|answer| answer.kind() == Kind::Result).and_then(|a| a.result());
            answers.push(lawful(result.as_deref()));
        }
        let waited = began.elapsed();
        self.deadline += waited;
        self.hard_deadline += waited;
        Ok(answers)
    }

    /// The definition of what is called, where a filter may look at it. A list that cannot be had is no
    /// reason to refuse a call: filters know what to make of a missing one.
    pub(super) async fn definition_for_filters(
        &self,
        row: &chain::Row,
        target: Option<&Target>,
    ) -> Option<Bytes> {
        let target = target.filter(|target| self.chain.reads_definition(row, Some(&target.name)))?;
        let all = self.definitions(target.kind).await.ok()??;
        all.items().iter().find(|definition| definition.name == target.name).map(|found| found.raw.clone())
    }

    fn question(&self, view: &CallView, method: &str, params: Bytes) -> QuestionView {
        QuestionView {
            server: self.link.server.clone(),
            method: method.into(),
            params,
            answer: None,
            call: Some(Arc::new(view.clone())),
        }
    }

    fn sealed(&self, kept: Kept) -> Result<String, Outcome> {
        kept.seal(self.link, &self.caller, &self.method, &self.round.params).map_err(|error| {
            tracing::warn!(server = %self.link.server, %error, "a question cannot be put to the client");
            rescue::malformed(&self.link.server, &format!("a question that cannot be put: {error}"))
        })
    }
}

/// What the server gets for an answer. There is no error in this place of the protocol: a refused
/// elicitation is declined, and any other question without an answer ends the call.
fn settle(method: &str, answer: Option<Outcome>) -> Result<Box<RawValue>, Outcome> {
    let declined = || raw(br#"{"action":"decline"}"#);
    let settled = match answer {
        Some(Outcome::Success(result)) => raw(&result),
        Some(Outcome::Failure(_)) if method == "elicitation/create" => declined(),
        Some(refused) => return Err(refused),
        None => declined(),
    };
    settled.ok_or_else(|| rescue::invalid_params("an answer that is no JSON"))
}

fn raw(bytes: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(bytes).ok()
}

/// What a filter gets for an answer: one of the three that the protocol has.
fn lawful(answer: Option<&[u8]>) -> Bytes {
    let action = answer.and_then(|answer| jsonrpc::unescape(jsonrpc::get(answer, "/action")?));
    match (answer, action.as_deref()) {
        (Some(answer), Some("accept" | "decline" | "cancel")) => Bytes::copy_from_slice(answer),
        _ => Bytes::from_static(CANCELLED),
    }
}

/// Whether a client can ask its user to fill in a form. Before there were other ways the capability was
/// empty (2025-06-18, elicitation).
fn can_be_asked(capabilities: &[u8]) -> bool {
    let has = |at: &str| jsonrpc::get(capabilities, at).is_some_and(|raw| raw.first() == Some(&b'{'));
    has("/elicitation") && (has("/elicitation/form") || !has("/elicitation/url"))
}

fn elicitation(question: &Question, modern: bool) -> Vec<u8> {
    let mut params =
        if modern { br#"{"mode":"form","message":"#.to_vec() } else { br#"{"message":"#.to_vec() };
    params.extend_from_slice(&jsonrpc::escape(&question.message));
    params.extend_from_slice(b",\"requestedSchema\":");
    params.extend_from_slice(&question.schema);
    params.push(b'}');
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_can_show_a_form_is_asked() {
        for (capabilities, can) in [
            (r#"{"elicitation":{}}"#, true),
            (r#"{"elicitation":{"form":{}}}"#, true),
            (r#"{"elicitation":{"form":{},"url":{}}}"#, true),
            (r#"{"elicitation":{"url":{}}}"#, false),
            (r#"{"sampling":{}}"#, false),
            ("{}", false),
        ] {
            assert_eq!(can_be_asked(capabilities.as_bytes()), can, "{capabilities}");
        }
    }

    #[test]
    fn what_is_no_answer_is_a_cancellation() {
        let accept: &[u8] = br#"{"action":"accept","content":{"ok":true}}"#;
        assert_eq!(lawful(Some(accept)), accept);
        for odd in [None, Some(&b"{}"[..]), Some(&b"[]"[..]), Some(&br#"{"action":"yes"}"#[..])] {
            assert_eq!(lawful(odd), CANCELLED);
        }
    }
}
