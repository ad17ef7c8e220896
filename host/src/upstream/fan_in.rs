//! What several clients set up on one connection of the legacy era: a server keeps one set of
//! subscriptions and one log level for it, and each client must get its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::wire::lock;
use super::{Connection, Outgoing, UpstreamCall};
use crate::jsonrpc::{self, Message};
use crate::protocol::errors;
use crate::proxy::Downlink;

/// Levels from the least urgent on (2025-11-25, logging; RFC 5424).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
/// How long a server may take to forget a subscription that nobody wants any more.
const FORGET: Duration = Duration::from_secs(10);

/// What the users of one connection set up on it. Users are numbers of its pool.
#[derive(Default)]
pub(super) struct FanIn {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    subscribers: HashMap<String, BTreeSet<u64>>,
    levels: HashMap<u64, usize>,
}

impl FanIn {
    /// The user subscribed to that resource.
    pub(super) fn subscribed(&self, user: u64, uri: &str) {
        lock(&self.state).subscribers.entry(uri.to_owned()).or_default().insert(user);
    }

    /// The user wants no news of that resource any more. True if nobody else does either.
    pub(super) fn unsubscribed(&self, user: u64, uri: &str) -> bool {
        lock(&self.state).unsubscribed(user, uri)
    }

    /// The user wants log messages from that level on. Returns the lowest that anybody wants; none for
    /// what is no level: then the server says so.
    pub(super) fn level(&self, user: u64, level: &str) -> Option<&'static str> {
        let level = rank(level)?;
        let mut state = lock(&self.state);
        state.levels.insert(user, level);
        state.levels.values().min().and_then(|lowest| LEVELS.get(*lowest)).copied()
    }

    /// The user is gone. Returns the resources that nobody wants news of any more.
    pub(super) fn left(&self, user: u64) -> Vec<String> {
        let mut state = lock(&self.state);
        state.levels.remove(&user);
        let mine = state.subscribers.iter().filter(|(_, users)| users.contains(&user));
        let mut uris: Vec<String> = mine.map(|(uri, _)| uri.clone()).collect();
        uris.retain(|uri| state.unsubscribed(user, uri));
        uris
    }
}

impl State {
    fn unsubscribed(&mut self, user: u64, uri: &str) -> bool {
        let Some(users) = self.subscribers.get_mut(uri) else { return true };
        users.remove(&user);
        let last = users.is_empty();
        if last {
            self.subscribers.remove(uri);
        }
        last
    }
}

/// Whether a message of that level is for somebody who asked for `wanted` and what is more urgent.
/// What is no level is for everybody.
pub fn is_urgent_enough(level: &str, wanted: &str) -> bool {
    match (rank(level), rank(wanted)) {
        (Some(level), Some(wanted)) => level >= wanted,
        _ => true,
    }
}

/// The level by its one spelling; none for what is no level.
pub(crate) fn known(level: &str) -> Option<&'static str> {
    LEVELS.get(rank(level)?).copied()
}

fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// Tells a server that nobody wants news of these resources any more.
pub(super) async fn forget(connection: Arc<dyn Connection>, outgoing: Arc<dyn Outgoing>, uris: Vec<String>) {
    for uri in uris {
        let params = [b"{\"uri\":", &jsonrpc::escape(&uri)[..], b"}"].concat();
        let deadline = Instant::now() + FORGET;
        let call = UpstreamCall {
            message: Message::request(b"0", "resources/unsubscribe", Some(&params)),
            downlink: Arc::new(Nobody),
            cancel: CancellationToken::new(),
            deadline,
            hard_deadline: deadline,
            outgoing: outgoing.clone(),
            definition: None,
        };
        if connection.call(call).await.is_err() {
            return;
        }
    }
}

/// Whoever left wants to know nothing more.
struct Nobody;

impl Downlink for Nobody {
    fn notify(&self, _: Message) {}

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let refusal = Message::error(request.id(), errors::METHOD_NOT_FOUND, "the client is gone", None);
        Box::pin(std::future::ready(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_lasts_until_the_last_one_who_wants_it_is_gone() {
        let all = FanIn::default();
        all.subscribed(1, "a");
        all.subscribed(2, "a");
        all.subscribed(2, "b");
        assert!(!all.unsubscribed(1, "a"), "2 still wants it");
        assert!(all.unsubscribed(3, "never"), "what nobody has is passed on for the server to refuse");
        let mut left = all.left(2);
        left.sort();
        assert_eq!(left, ["a", "b"]);
        assert_eq!(all.left(1), Vec::<String>::new());
    }

    #[test]
    fn the_lowest_level_is_asked_for_and_each_gets_its_own() {
        let all = FanIn::default();
        assert_eq!(all.level(1, "error"), Some("error"));
        assert_eq!(all.level(2, "info"), Some("info"));
        assert_eq!(all.level(1, "critical"), Some("info"));
        assert_eq!(all.level(1, "loud"), None);
        all.left(2);
        assert_eq!(all.level(1, "error"), Some("error"));
        assert!(is_urgent_enough("error", "error") && !is_urgent_enough("info", "error"));
        assert!(is_urgent_enough("odd", "error"));
    }
}
