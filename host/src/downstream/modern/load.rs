//! How much each client has going at once: calls, and subscriptions, which last. There are no
//! sessions to count by, so it is counted by who asks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use crate::config::Limits;
use crate::downstream::outlet::lock;
use crate::requester::Requester;

/// What is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// Ends by itself.
    Call,
    /// Lasts as long as its client likes.
    Subscription,
}

/// All that is going. It holds no more entries than there are turns.
#[derive(Debug, Default)]
pub struct Load(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    clients: HashMap<Requester, Shares>,
    subscriptions: u32,
}

#[derive(Debug, Default)]
struct Shares {
    calls: u32,
    subscriptions: u32,
}

/// One thing that is going, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    load: Arc<Load>,
    client: Requester,
    going: Going,
}

impl Load {
    /// Begins a call or a subscription.
    ///
    /// # Errors
    /// The configuration key of the limit that is reached.
    pub fn begin(
        self: &Arc<Load>,
        client: Requester,
        going: Going,
        limits: &Limits,
    ) -> Result<Turn, &'static str> {
        let mut state = lock(&self.0);
        let (calls, subscriptions) =
            state.clients.get(&client).map_or((0, 0), |shares| (shares.calls, shares.subscriptions));
        let bounded = client != Requester::Local;
        match going {
            Going::Call if bounded && calls >= limits.calls_per_client => {
                return Err("limits.calls_per_client");
            }
            Going::Subscription if bounded && subscriptions >= limits.listens_per_client => {
                return Err("limits.listens_per_client");
            }
            // Each holds a connection, as a session's stream does.
            Going::Subscription if state.subscriptions >= limits.sessions => return Err("limits.sessions"),
            Going::Call | Going::Subscription => {}
        }
        state.count(client.clone(), going, |count| count.saturating_add(1));
        Ok(Turn { load: self.clone(), client, going })
    }
}

impl State {
    fn count(&mut self, client: Requester, going: Going, change: impl Fn(u32) -> u32) {
        let mut entry = match self.clients.entry(client) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Shares::default()),
        };
        let shares = entry.get_mut();
        match going {
            Going::Call => shares.calls = change(shares.calls),
            Going::Subscription => {
                shares.subscriptions = change(shares.subscriptions);
                self.subscriptions = change(self.subscriptions);
            }
        }
        if shares.calls == 0 && shares.subscriptions == 0 {
            entry.remove();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.load.0).count(self.client.clone(), self.going, |count| count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { calls_per_client: 2, listens_per_client: 1, sessions: 3, ..Limits::default() }
    }

    fn peer(address: &str) -> Requester {
        Requester::of(None, Some(address.parse().expect("an address")))
    }

    #[test]
    fn every_client_has_a_share_of_its_own() {
        let (load, limits) = (Arc::new(Load::default()), limits());
        let begin = |client: &Requester, going| load.begin(client.clone(), going, &limits);
        let (a, b) = (peer("10.0.0.1"), peer("10.0.0.2"));
        let first = begin(&a, Going::Call).expect("room");
        let _second = begin(&a, Going::Call).expect("room");
        assert_eq!(begin(&a, Going::Call).expect_err("full"), "limits.calls_per_client");
        let listening = begin(&a, Going::Subscription).expect("subscriptions take no call's place");
        assert_eq!(begin(&a, Going::Subscription).expect_err("full"), "limits.listens_per_client");
        let _others = begin(&b, Going::Call).expect("another client's");
        drop((first, listening));
        assert!(begin(&a, Going::Call).is_ok() && begin(&a, Going::Subscription).is_ok(), "given back");
    }

    #[test]
    fn subscriptions_are_bounded_in_all_and_nothing_is_kept_of_who_left() {
        let (load, limits) = (Arc::new(Load::default()), limits());
        let begin = |n: u8| load.begin(peer(&format!("10.0.0.{n}")), Going::Subscription, &limits);
        let turns: Vec<_> = (0..3).map(|n| begin(n).expect("room")).collect();
        assert_eq!(begin(9).expect_err("full"), "limits.sessions");
        let local = load.begin(Requester::Local, Going::Subscription, &limits);
        assert_eq!(local.expect_err("full for all"), "limits.sessions");
        drop(turns);
        assert!(begin(9).is_ok());
        let state = lock(&load.0);
        assert_eq!((state.clients.len(), state.subscriptions), (0, 0));
    }
}
