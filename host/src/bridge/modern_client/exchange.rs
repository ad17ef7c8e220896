//! One call at a legacy server. Its client comes and goes: it is there until the server asks something,
//! and comes back with the answers.

mod background;
mod before;
mod guards;
mod question;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::capabilities::Capabilities;
use super::lines::Using;
use super::parks::{Parked, Parks, Place, Whose};
use super::translate::{Request, answer_to, input_required, question_params};
use super::unguessable;
use super::{lock, tasks};
use crate::jsonrpc::Message;
use crate::protocol::{errors, methods};
use crate::proxy::Downlink;
use crate::upstream::{Reply, UpstreamCall, UpstreamError};
use background::Background;
pub(super) use background::{Stands, View, now, text_at};
use guards::{Attendance, Withdrawal};
use question::{Answer, Question};

/// Servers ask several things at once one after the other: so long after the last one they are all there.
const SIBLINGS: Duration = Duration::from_millis(10);
/// Questions of one call that are open at once. A user who is asked more than this is asked too much.
const QUESTIONS: usize = 16;
/// What a server gets to end a call itself, after it learned that its questions were cancelled.
const GRACE: Duration = Duration::from_secs(2);
/// As good as for ever: how long the server may take is decided here.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// One call at a legacy server.
pub(super) struct Exchange {
    server: Arc<str>,
    parks: Arc<Parks>,
    whose: Whose,
    /// Whether its client may be asked something before it is answered.
    may_be_asked: bool,
    /// How long a question waits.
    patience: Duration,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Cancels the call at the server.
    pub(super) cancel: CancellationToken,
}

struct State {
    client: Option<Client>,
    capabilities: Capabilities,
    next: u32,
    questions: BTreeMap<u32, Question>,
    /// When the server last asked, and when it last showed any sign of life.
    asked: Instant,
    alive: Instant,
    /// The name under which it waits, and until when.
    parked: Option<(String, Instant)>,
    place: Option<Place>,
    /// Whether its client may be answered with a task, and the task, once the server made one.
    may_be_task: bool,
    task: Option<Background>,
    using: Option<Arc<Using>>,
    outcome: Option<Result<Reply, UpstreamError>>,
    /// Whether its client did not come back in time.
    expired: bool,
    over: bool,
}

struct Client {
    downlink: Arc<dyn Downlink>,
    token: Option<Bytes>,
}

/// What waiting came to.
pub(super) enum Attended {
    /// The server's answer, as it gave it.
    Answer(Reply),
    /// The result that asks the client.
    Question(Message),
    /// The server made a task of it, which goes on without anybody who waits.
    Task(Arc<Exchange>),
}

/// What a waiting client waits for next.
enum Next {
    Outcome(Result<Reply, UpstreamError>),
    Ask(Message),
    Task,
    /// More questions may come until then.
    At(Instant),
    Nothing,
}

impl Exchange {
    /// Sends the call, in a task of its own. With a `place` its client may be answered with a task, which
    /// has that place.
    pub(super) fn begin(
        parks: &Arc<Parks>,
        request: &Request,
        call: &UpstreamCall,
        using: Using,
        way: tasks::Way,
        place: Option<Place>,
    ) -> Arc<Exchange> {
        let now = Instant::now();
        let using = Arc::new(using);
        let state = State {
            client: None,
            capabilities: Capabilities::default(),
            next: 1,
            questions: BTreeMap::new(),
            asked: now,
            alive: now,
            parked: None,
            may_be_task: place.is_some(),
            task: None,
            place,
            using: Some(Arc::clone(&using)),
            outcome: None,
            expired: false,
            over: false,
        };
        let exchange = Arc::new(Exchange {
            server: Arc::clone(&way.server),
            parks: Arc::clone(parks),
            whose: Whose::new(&request.method, call.outgoing.principal()),
            may_be_asked: request.may_be_asked(),
            patience: way.patience,
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            cancel: CancellationToken::new(),
        });
        exchange.attach(request, call);
        let far = std::time::Instant::now() + FOR_EVER;
        let legacy = UpstreamCall {
            message: request.message.clone(),
            downlink: Arc::clone(&exchange) as Arc<dyn Downlink>,
            cancel: exchange.cancel.clone(),
            deadline: far,
            hard_deadline: far,
            outgoing: Arc::clone(&call.outgoing),
            definition: None,
        };
        tokio::spawn(Arc::clone(&exchange).drive(legacy, using, way));
        exchange
    }

    /// The client is back, with answers.
    pub(super) fn resume(&self, request: &Request, call: &UpstreamCall) {
        self.attach(request, call);
        self.answer(request.answers.as_ref());
    }

    /// Hands on the answers to what was asked. Others answer nothing.
    pub(super) fn answer(&self, answers: Option<&Bytes>) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        if state.over {
            return;
        }
        let all = std::mem::take(&mut state.questions);
        for (key, question) in all {
            if let Some(answer) = answer_to(answers, key) {
                // Who asked may have taken the question back meanwhile.
                let _ = question.answer.send(Ok(answer));
            } else if !state.capabilities.allow(&question.message()) {
                let _ = question.answer.send(Err((errors::METHOD_NOT_FOUND, UNDECLARED)));
            } else {
                state.questions.insert(key, question);
            }
        }
    }

    /// The client will not be back.
    pub(super) fn abandon(&self) {
        lock(&self.state).parked = None;
        self.cancel.cancel();
        self.changed.send_replace(());
    }

    fn attach(&self, request: &Request, call: &UpstreamCall) {
        let mut state = lock(&self.state);
        state.client = Some(Client { downlink: Arc::clone(&call.downlink), token: request.token.clone() });
        state.capabilities =
            if request.may_be_asked() { request.capabilities } else { Capabilities::default() };
        state.may_be_task &= request.knows_tasks;
        state.alive = Instant::now();
        state.parked = None;
        if let Some(using) = &state.using {
            using.park(false);
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Waits for the client that is there: for the server's answer, or for its questions. If the wait
    /// ends before either, the call is cancelled at the server.
    pub(super) async fn attend(self: &Arc<Self>, call: &UpstreamCall) -> Result<Attended, UpstreamError> {
        let mut attendance = Attendance { exchange: self, armed: true };
        let mut changed = self.changed.subscribe();
        let (start, hard) = (Instant::now(), Instant::from_std(call.hard_deadline));
        let mut until = Instant::from_std(call.deadline).min(hard);
        let budget = until.saturating_duration_since(start);
        loop {
            let more = match self.next() {
                Next::Outcome(outcome) => {
                    attendance.armed = false;
                    return outcome.map(Attended::Answer);
                }
                Next::Ask(message) => {
                    attendance.armed = false;
                    return Ok(Attended::Question(message));
                }
                Next::Task => {
                    attendance.armed = false;
                    return Ok(Attended::Task(Arc::clone(self)));
                }
                Next::At(at) => Some(at),
                Next::Nothing => None,
            };
            tokio::select! {
                biased;
                () = call.cancel.cancelled() => return Err(UpstreamError::Cancelled),
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(more.unwrap_or(until)), if more.is_some() => {}
                () = tokio::time::sleep_until(until) => {
                    // Signs of life move the end, as they do on every connection.
                    let later = hard.min(lock(&self.state).alive + budget);
                    if later <= until {
                        let seconds = until.saturating_duration_since(start).as_millis().div_ceil(1000);
                        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
                        return Err(UpstreamError::Timeout { server: Arc::clone(&self.server), seconds });
                    }
                    until = later;
                }
            }
        }
    }

    fn next(self: &Arc<Self>) -> Next {
        let mut state = lock(&self.state);
        if state.may_be_task && state.task.is_some() {
            state.leave();
            return Next::Task;
        }
        if let Some(outcome) = state.outcome.take() {
            return Next::Outcome(outcome);
        }
        if state.questions.is_empty() {
            return Next::Nothing;
        }
        let at = state.asked + SIBLINGS;
        if Instant::now() < at {
            return Next::At(at);
        }
        let Some(id) = unguessable() else {
            state.refuse_all();
            return Next::Nothing;
        };
        let message = input_required(state.open(), &id);
        let until = state.questions.values().map(|q| q.until).min().unwrap_or(at);
        state.leave();
        state.parked = Some((id.clone(), until));
        self.parks.park(id, Parked::Call(Arc::clone(self)), self.whose.clone(), until);
        drop(state);
        self.changed.send_replace(());
        Next::Ask(message)
    }

    /// Sees the call through, whether its client is there or not.
    async fn drive(self: Arc<Self>, legacy: UpstreamCall, using: Arc<Using>, way: tasks::Way) {
        let mut changed = self.changed.subscribe();
        let outcome = {
            let call = async {
                self.bring_waiting(&using).await?;
                tasks::run(&self, legacy, &using, &way).await
            };
            tokio::pin!(call);
            loop {
                let until = self.waits_until();
                tokio::select! {
                    biased;
                    () = way.stop.cancelled() => break Err(UpstreamError::Cancelled),
                    outcome = &mut call => break outcome,
                    _ = changed.changed() => {}
                    () = reached(until) => {
                        if !self.expire() {
                            tokio::select! {
                                _ = changed.changed() => continue,
                                () = way.stop.cancelled() => break Err(UpstreamError::Cancelled),
                            }
                        }
                        let ended = tokio::time::timeout(GRACE, &mut call).await;
                        if ended.is_err() {
                            self.cancel.cancel();
                            let _ = call.await;
                        }
                        break Err(UpstreamError::Cancelled);
                    },
                }
            }
        };
        if outcome.is_err() {
            using.spoil();
        }
        drop(using);
        self.finish(outcome);
        // Kept for the client that comes back for it.
        while let Some(until) = self.waits_until() {
            tokio::select! {
                biased;
                () = way.stop.cancelled() => return,
                _ = changed.changed() => {}
                () = reached(Some(until)) => if !self.expire() {
                    tokio::select! {
                        _ = changed.changed() => {}
                        () = way.stop.cancelled() => return,
                    }
                },
            }
        }
    }

    fn finish(&self, outcome: Result<Reply, UpstreamError>) {
        let using = {
            let mut state = lock(&self.state);
            // A task that was cancelled stays so, whatever the server made of that.
            state.outcome.get_or_insert(outcome);
            state.over = true;
            state.refuse_all();
            state.touch();
            state.using.take()
        };
        drop(using);
        self.changed.send_replace(());
    }

    /// Until when it waits for its client; none while that is there.
    fn waits_until(&self) -> Option<Instant> {
        lock(&self.state).parked.as_ref().map(|(_, until)| *until)
    }

    /// The client did not come back in time. False if it did just now, and is about to attach.
    fn expire(&self) -> bool {
        let parked = lock(&self.state).parked.clone();
        let Some((id, _)) = parked else { return false };
        if !self.parks.forget(&id) {
            return false;
        }
        let mut state = lock(&self.state);
        (state.parked, state.expired) = (None, true);
        state.cancel_all();
        true
    }

    /// Notes a question, for the client to be asked when all of its kind are there.
    fn take(&self, question: &Message) -> Result<(u32, oneshot::Receiver<Answer>), (i32, &'static str)> {
        let mut state = lock(&self.state);
        if state.over {
            return Err((errors::INTERNAL, "the call that this question belongs to is over"));
        }
        if !state.capabilities.allow(question) {
            return Err((errors::METHOD_NOT_FOUND, UNDECLARED));
        }
        if state.questions.len() >= QUESTIONS {
            return Err((
                errors::INTERNAL,
                "more than 16 questions of one call are open: answer those first",
            ));
        }
        if state.place.is_none() {
            let place = self.parks.place(&self.whose);
            let full = "too many calls wait for answers: `limits.parked_calls` is reached; try again later";
            state.place = Some(place.map_err(|_| (errors::BUSY, full))?);
        }
        let (answer, answered) = oneshot::channel();
        let (key, now) = (state.next, Instant::now());
        let method = question.method().unwrap_or_default().into();
        let params = question_params(question.params());
        let until = now + self.patience;
        state.questions.insert(key, Question { method, params, until, answer });
        (state.next, state.asked, state.alive) = (key + 1, now, now);
        state.touch();
        drop(state);
        self.changed.send_replace(());
        Ok((key, answered))
    }
}

const UNDECLARED: &str = "the client did not declare that it can be asked this";

impl Downlink for Exchange {
    fn notify(&self, notification: Message) {
        let mut state = lock(&self.state);
        state.alive = Instant::now();
        let Some(client) = &state.client else { return };
        // Under the lock, so that nothing comes after the client has its answer; a downlink never waits.
        match notification.method().unwrap_or_default() {
            methods::PROGRESS => {
                if let Some(token) = &client.token {
                    client.downlink.notify(notification.with_param("progressToken", token));
                }
            }
            // Of the legacy era, and about what was translated already.
            "notifications/elicitation/complete" | "notifications/tasks/status" => {}
            _ => client.downlink.notify(notification),
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        // On a pipe, the server may seem to ask in the course of what is made beside the call that it means.
        let host = lock(&self.state).using.as_ref().and_then(|using| using.host());
        if let Some(host) = host {
            return Box::pin(async move { host.ask(request).await });
        }
        if !self.may_be_asked {
            // The server asks while it is at work on this, but cannot mean it.
            let line = lock(&self.state).using.as_ref().map(|using| Arc::clone(using.line()));
            if let Some(line) = line {
                return Box::pin(async move { line.news.wait(request).await });
            }
        }
        let taken = self.take(&request);
        Box::pin(async move {
            let id = request.id();
            let answer = match taken {
                Ok((key, answered)) => {
                    let _withdrawal = Withdrawal { exchange: self, key };
                    let over = (errors::INTERNAL, "the call that this question belongs to is over");
                    answered.await.unwrap_or(Err(over))
                }
                Err(refusal) => Err(refusal),
            };
            match answer {
                Ok(result) => Message::response(id.unwrap_or(b"null"), &result),
                Err((code, why)) => Message::error(id, code, why, None),
            }
        })
    }
}

impl State {
    /// From here on nothing reaches the client: its exchange ends with the answer that it gets now.
    fn leave(&mut self) {
        self.client = None;
        if let Some(using) = &self.using {
            using.park(true);
        }
    }

    /// The open questions, by their keys.
    fn open(&self) -> impl Iterator<Item = (u32, &str, Option<&[u8]>)> {
        self.questions.iter().map(|(key, question)| (*key, &*question.method, question.params.as_deref()))
    }

    /// The questions have lost their sense.
    fn refuse_all(&mut self) {
        for question in std::mem::take(&mut self.questions).into_values() {
            let over = "the call that this question belongs to is over";
            let _ = question.answer.send(Err((errors::INTERNAL, over)));
        }
    }

    fn cancel_all(&mut self) {
        std::mem::take(&mut self.questions).into_values().for_each(Question::cancel);
    }
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
