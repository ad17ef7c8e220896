//! What a server sends, and to whom it belongs: answers, progress, questions, notices.

mod entry;
mod question;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use entry::{Entry, Waiter};
pub(super) use question::Patience;
use question::Questions;

use super::hub::Hub;
use super::wire::{Head, Origin, Wire, lock};
use super::{Outgoing, Owner, Reply, UpstreamError};
use crate::jsonrpc::{Kind, Limits, Message, Source, Violation, is_array, split};
use crate::protocol::{meta, methods};
use crate::proxy::Downlink;

/// On a shared connection a server may still be at work on an abandoned call and ask something for
/// it: for this long nobody else is asked in its place.
const HAUNTED: Duration = Duration::from_secs(60);

/// Everything that comes in over one connection passes here, in the order it came.
pub(super) struct Inbox {
    pub(super) server: Arc<str>,
    owner: Owner,
    hub: Arc<Hub>,
    wire: Arc<dyn Wire>,
    /// For exchanges that belong to no call.
    outgoing: Arc<dyn Outgoing>,
    table: Mutex<Table>,
    questions: Questions,
    next_id: AtomicU64,
    /// Most messages in one array; 0 where the revision has no arrays.
    batch_messages: AtomicUsize,
    closed: OnceLock<UpstreamError>,
    /// Whether the server answered anything at all, be it an error.
    answered: AtomicBool,
    /// Cancelled when the connection can be used no more.
    pub(super) ended: CancellationToken,
}

/// Who is asked, and for which call.
type Asked = (Arc<dyn Downlink>, Option<Arc<Entry>>);

struct Table {
    /// When the last request was made or answered.
    used: Instant,
    open: bool,
    calls: BTreeMap<u64, Arc<Entry>>,
    abandoned: Option<Instant>,
}

impl Inbox {
    pub(super) fn new(
        server: Arc<str>,
        owner: Owner,
        hub: Arc<Hub>,
        wire: Arc<dyn Wire>,
        outgoing: Arc<dyn Outgoing>,
        patience: Patience,
    ) -> Arc<Inbox> {
        Arc::new(Inbox {
            server,
            owner,
            hub,
            wire,
            outgoing,
            table: Mutex::new(Table {
                used: Instant::now(),
                open: true,
                calls: BTreeMap::new(),
                abandoned: None,
            }),
            questions: Questions::new(patience),
            next_id: AtomicU64::new(1),
            batch_messages: AtomicUsize::new(0),
            closed: OnceLock::new(),
            answered: AtomicBool::new(false),
            ended: CancellationToken::new(),
        })
    }

    /// An id that this connection has not used.
    pub(super) fn mint(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the connection belongs to exactly one client, so that everything on it is certainly its.
    pub(super) fn one_owner(&self) -> bool {
        match self.owner {
            Owner::Session(_) => true,
            Owner::Bridged { alone, .. } => alone,
            Owner::Principal(..) => self.hub.only().is_some(),
            Owner::Shared => false,
        }
    }

    /// Registers a request before it leaves.
    pub(super) fn expect(&self, entry: &Arc<Entry>) -> Result<(), UpstreamError> {
        let mut table = lock(&self.table);
        if table.open {
            table.used = Instant::now();
            table.calls.insert(entry.id, Arc::clone(entry));
            return Ok(());
        }
        drop(table);
        Err(self.closed().unwrap_or(UpstreamError::Cancelled))
    }

    /// Nobody waits for this request any more. True if it was still under way.
    pub(super) fn abandon(&self, entry: &Entry) -> bool {
        let found = {
            let mut table = lock(&self.table);
            let found = table.calls.remove(&entry.id);
            if found.is_some() && entry.for_client && entry.departure.left() {
                table.abandoned = Some(Instant::now());
            }
            found
        };
        if found.is_some() {
            entry.finish(None);
        }
        found.is_some()
    }

    /// How long nothing has been under way; none while something is: a call, or a question.
    pub(super) fn silence(&self) -> Option<Duration> {
        let table = lock(&self.table);
        let idle = table.calls.values().all(|entry| !entry.for_client) && !self.questions.any();
        idle.then(|| table.used.elapsed())
    }

    /// Why the connection can be used no more.
    pub(super) fn closed(&self) -> Option<UpstreamError> {
        self.closed.get().cloned()
    }

    /// The connection is over: everything under way fails now, with the same reason.
    pub(super) fn fail(&self, reason: &str) {
        let gone = |may_have_run| UpstreamError::Gone {
            server: Arc::clone(&self.server),
            reason: reason.to_owned(),
            may_have_run,
        };
        // The first reason is the cause, later ones are consequences.
        let _ = self.closed.set(gone(false));
        let calls = {
            let mut table = lock(&self.table);
            table.open = false;
            std::mem::take(&mut table.calls)
        };
        for entry in calls.into_values() {
            // What is still queued must not leave any more, or `false` would be a lie.
            let left = !entry.departure.withdraw();
            entry.finish(Some(Err(gone(left))));
        }
        self.ended.cancel();
    }

    /// From now on the server may send arrays of so many messages (2025-03-26).
    pub(super) fn take_arrays(&self, most: usize) {
        self.batch_messages.store(most, Ordering::Relaxed);
    }

    /// Whether this text is an array that the server may send.
    pub(super) fn takes(&self, text: &[u8]) -> bool {
        self.batch_messages.load(Ordering::Relaxed) > 0 && is_array(text)
    }

    /// Takes one text of the server: a message, or an array of them. True if the answer to the
    /// request that `origin` names was in it.
    pub(super) fn text(
        self: &Arc<Self>,
        origin: Origin,
        text: Bytes,
        limits: &Limits,
        head: Option<&Head>,
    ) -> bool {
        let messages = if self.takes(&text) {
            split(&text, limits, Source::Server, self.batch_messages.load(Ordering::Relaxed))
        } else {
            Ok(vec![Message::parse(text, limits, Source::Server)])
        };
        let mut answered = false;
        for message in messages.unwrap_or_else(|violation| vec![Err(violation)]) {
            answered |= match message {
                Ok(message) => self.incoming(origin, message, head),
                Err(violation) => self.unacceptable(origin, violation),
            };
        }
        answered
    }

    /// Takes one message. True if it is the answer to the request that `origin` names.
    pub(super) fn incoming(self: &Arc<Self>, origin: Origin, message: Message, head: Option<&Head>) -> bool {
        match message.kind() {
            Kind::Result | Kind::Error => self.answer(origin, message, head),
            Kind::Notification => {
                self.notification(origin, message);
                false
            }
            Kind::Request => {
                question::take(self, origin, message);
                false
            }
        }
    }

    /// Something that breaks the law. The call it answers fails; what answers none is dropped.
    /// True if it ended the request that `origin` names.
    pub(super) fn unacceptable(self: &Arc<Self>, origin: Origin, violation: Violation) -> bool {
        if violation.has_method {
            // No answer to anything, whatever its id. Its server waits for one.
            tracing::debug!(target: "server", server = &*self.server, %violation, "a request or notification was refused");
            if let Some(id) = violation.id.clone() {
                question::refuse(self, id, violation.code, &violation.to_string());
            }
            return false;
        }
        let id = violation.id.as_deref().and_then(own);
        let id = match origin {
            // Whatever came instead of an answer ends an exchange that has no other.
            Origin::Call(call) => (id.is_none() || id == Some(call)).then_some(call),
            Origin::Pipe => id,
            Origin::Stream => None,
        };
        tracing::debug!(target: "server", server = &*self.server, %violation, "unacceptable message dropped");
        id.is_some_and(|id| {
            self.fail_call(id, UpstreamError::Malformed { server: Arc::clone(&self.server), violation })
        })
    }

    /// Whether the server answered anything so far, be it an error or what is no answer.
    pub(super) fn answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends one call with an error. False if it is not under way.
    pub(super) fn fail_call(&self, id: u64, error: UpstreamError) -> bool {
        if matches!(error, UpstreamError::Malformed { .. }) {
            self.answered.store(true, Ordering::Relaxed);
        }
        let entry = lock(&self.table).calls.remove(&id);
        let found = entry.is_some();
        if let Some(entry) = entry {
            entry.finish(Some(Err(error)));
        }
        found
    }

    fn answer(&self, origin: Origin, message: Message, head: Option<&Head>) -> bool {
        let id = message.id().and_then(own);
        let id = match origin {
            Origin::Pipe => id,
            // A server that could not even read the id answers without it, but on our exchange.
            Origin::Call(call) if id == Some(call) => id,
            Origin::Call(call) if message.kind() == Kind::Error && no_id(&message) => Some(call),
            Origin::Call(_) | Origin::Stream => None,
        };
        let entry = id.and_then(|id| {
            let mut table = lock(&self.table);
            table.used = Instant::now();
            match table.calls.entry(id) {
                // A guessed id must not answer what the server has not even been asked yet.
                std::collections::btree_map::Entry::Occupied(entry) if entry.get().departure.left() => {
                    Some(entry.remove())
                }
                _ => None,
            }
        });
        let Some(entry) = entry else {
            tracing::debug!(target: "server", server = &*self.server, ?origin, "answer to nothing under way dropped");
            return false;
        };
        self.answered.store(true, Ordering::Relaxed);
        entry.finish(Some(Ok(Reply { message, head: head.cloned() })));
        true
    }

    fn notification(&self, origin: Origin, message: Message) {
        match message.method().unwrap_or_default() {
            "notifications/progress" => self.progress(&message),
            methods::CANCELLED => self.cancelled(&message),
            methods::ACKNOWLEDGED => match message.meta(meta::SUBSCRIPTION_ID).and_then(minted) {
                // By the id, as a pipe has one stream for all (2026-07-28, subscriptions).
                Some(id) if origin == Origin::Pipe || origin == Origin::Call(id) => {
                    if let Some(entry) = self.call(id) {
                        entry.notify(message);
                    }
                }
                _ => {
                    tracing::debug!(target: "server", server = &*self.server, "acknowledgement of nothing asked dropped")
                }
            },
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated"
            | "notifications/tasks" => self.hub.tell_all(&message),
            "notifications/message" => match self.certain_call(origin) {
                Some(entry) => entry.notify(message),
                None => self.notice(origin, message),
            },
            _ => match origin {
                Origin::Call(id) => match self.call(id) {
                    Some(entry) => entry.notify(message),
                    None => self.notice(origin, message),
                },
                _ => self.notice(origin, message),
            },
        }
    }

    /// A server takes back a question, or ends a subscription (2026-07-28, cancellation).
    fn cancelled(&self, message: &Message) {
        let id = message.param("requestId");
        self.questions.void(id);
        let subscription = id.and_then(minted).filter(|id| self.call(*id).is_some_and(|e| !e.for_client));
        if let Some(id) = subscription {
            let server = Arc::clone(&self.server);
            let reason = "ended the subscription".to_owned();
            self.fail_call(id, UpstreamError::Gone { server, reason, may_have_run: true });
        }
    }

    fn progress(&self, message: &Message) {
        // The token was minted as the request's own id. No other spelling of it counts.
        let entry = message.param("progressToken").and_then(minted).and_then(|id| self.call(id));
        match entry {
            Some(entry) => entry.progress(message),
            None => {
                tracing::debug!(target: "server", server = &*self.server, "late or unasked progress dropped")
            }
        }
    }

    /// Tells everybody on the connection that something changed.
    pub(super) fn tell_all(&self, notification: &Message) {
        self.hub.tell_all(notification);
    }

    /// What belongs to no call: to the client, if there is only one it can be for.
    fn notice(&self, origin: Origin, message: Message) {
        match self.hub.only() {
            // What comes late on the exchange of a finished call is as late as its progress.
            Some(downlink) if self.one_owner() && !matches!(origin, Origin::Call(_)) => {
                downlink.notify(message)
            }
            _ => tracing::debug!(
                target: "server",
                server = &*self.server,
                method = message.method().unwrap_or_default(),
                "notification that belongs to nobody for certain dropped"
            ),
        }
    }

    fn call(&self, id: u64) -> Option<Arc<Entry>> {
        lock(&self.table).calls.get(&id).cloned()
    }

    /// The call that something without an id of ours belongs to, if that is certain.
    fn certain_call(&self, origin: Origin) -> Option<Arc<Entry>> {
        if let Origin::Call(id) = origin {
            return self.call(id).filter(|entry| entry.for_client);
        }
        let table = lock(&self.table);
        let haunted = table.abandoned.is_some_and(|at| at.elapsed() < HAUNTED);
        let mut calls = under_way(&table);
        let first = calls.next().cloned();
        let only = calls.next().is_none();
        drop(calls);
        drop(table);
        first.filter(|_| only && (!haunted || self.one_owner()))
    }

    /// Whom a question of the server goes to: never a guess where several clients could be meant.
    fn asked(&self, origin: Origin) -> Option<Asked> {
        let entry = match (self.certain_call(origin), origin) {
            (None, Origin::Pipe | Origin::Stream) if self.one_owner() => {
                under_way(&lock(&self.table)).next_back().cloned()
            }
            (entry, _) => entry,
        };
        match entry {
            Some(entry) => entry.downlink().map(|downlink| (downlink, Some(entry))),
            None if self.one_owner() && !matches!(origin, Origin::Call(_)) => {
                self.hub.only().map(|d| (d, None))
            }
            None => None,
        }
    }
}

fn under_way(table: &Table) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
    table.calls.values().filter(|entry| entry.departure.left() && entry.for_client)
}

/// Reads an id or token that this connection may have minted, in the only spelling that it mints.
fn minted(raw: &[u8]) -> Option<u64> {
    if raw.first().is_none_or(|first| !first.is_ascii_digit()) || (raw.len() > 1 && raw.starts_with(b"0")) {
        return None;
    }
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// The same where an answer names it: some servers write a number that they read into a text as a text.
fn own(raw: &[u8]) -> Option<u64> {
    minted(raw.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(raw))
}

fn no_id(message: &Message) -> bool {
    message.id().is_none_or(|id| id == b"null")
}
