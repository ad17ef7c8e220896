//! The failed starts of one server: kept for each who asked for one, and for all of them together only
//! where it fails for many. What one requester does to its own process makes nobody else wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use crate::requester::Requester;
use crate::upstream::backoff::Backoff;
use crate::upstream::{Owner, for_clients};

/// Most requesters and owners whose failures are remembered: beyond it those that wait for nothing are
/// forgotten first.
const REMEMBERED: usize = 1_024;
/// So many requesters that it failed for make the longest wait: more need not be told apart.
const DISTINCT: usize = 12;

/// The failed starts of one server.
#[derive(Default)]
pub(super) struct Starts {
    by: HashMap<Whose, Failed>,
    /// Whom it failed for since it last came up for anybody.
    failing: Vec<Requester>,
    together: Backoff,
}

#[derive(Default)]
struct Failed {
    backoff: Backoff,
    /// Whose connection it was: only that one is told the last words of the process.
    owner: Option<Owner>,
}

/// Who waits after a failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// Who asked for the process.
    Requester(Requester),
    /// Everybody who uses the one that all share.
    Shared,
    /// One session of a requester that is not told apart from others.
    Session(std::sync::Arc<str>),
    /// The modern clients that are not told apart, and share connections to a legacy server.
    Bridged,
}

impl Whose {
    /// Who suffers from a process that came up and ended soon.
    fn ended(owner: &Owner, requester: &Requester) -> Whose {
        match owner {
            Owner::Shared => Whose::Shared,
            Owner::Principal(issuer, id) => {
                Whose::Requester(Requester::Principal(issuer.clone(), id.clone()))
            }
            Owner::Session(_) | Owner::Bridged { .. } if requester.is_principal() => {
                Whose::Requester(requester.clone())
            }
            Owner::Session(session) => Whose::Session(session.clone()),
            Owner::Bridged { .. } => Whose::Bridged,
        }
    }
}

impl Starts {
    /// How long it must not be started yet for that one, and why not.
    pub(super) fn blocked(
        &self,
        now: Instant,
        owner: &Owner,
        requester: &Requester,
    ) -> Option<(Duration, String)> {
        let own = [Whose::Requester(requester.clone()), Whose::ended(owner, requester)];
        let own = own.iter().filter_map(|whose| {
            let failed = self.by.get(whose)?;
            let (left, reason) = failed.backoff.blocked(now)?;
            let whole = failed.owner.as_ref() == Some(owner);
            let shown = for_clients(reason).filter(|_| !whole).unwrap_or(reason);
            Some((left, shown.to_owned()))
        });
        let together = self.together.blocked(now).filter(|_| self.failing.len() > 1);
        let together = together.map(|(left, reason)| (left, reason.to_owned()));
        own.chain(together).max_by_key(|(left, _)| *left)
    }

    /// A process did not start, or died or was silent before it answered anything.
    pub(super) fn failed(&mut self, now: Instant, owner: &Owner, requester: &Requester, reason: String) {
        self.note(now, Whose::Requester(requester.clone()), owner, |backoff| backoff.failed(now, reason));
        if !self.failing.contains(requester) && self.failing.len() < DISTINCT {
            self.failing.push(requester.clone());
            // What it said to one is not for others.
            self.together.failed(now, "it fails for others as well; Lockgate's log says how".to_owned());
        } else if self.failing.len() > 1 {
            self.together.again(now);
        }
    }

    /// A process came up: it does not fail for all.
    pub(super) fn came_up(&mut self) {
        self.failing.clear();
        self.together = Backoff::default();
    }

    /// What came up ended of itself after `lived`.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        owner: &Owner,
        requester: &Requester,
        lived: Duration,
        reason: String,
    ) {
        let whose = Whose::ended(owner, requester);
        self.note(now, whose.clone(), owner, |backoff| backoff.ended(now, lived, reason));
        if self.by.get(&whose).is_some_and(|failed| failed.backoff.is_clear()) {
            self.by.remove(&whose);
            self.by.remove(&Whose::Requester(requester.clone()));
        }
    }

    fn note(&mut self, now: Instant, whose: Whose, owner: &Owner, change: impl FnOnce(&mut Backoff)) {
        if self.by.len() >= REMEMBERED && !self.by.contains_key(&whose) {
            self.by.retain(|_, failed| failed.backoff.blocked(now).is_some());
            if self.by.len() >= REMEMBERED {
                // All of them wait: the one that waits least has least to lose.
                let least = self.by.iter().min_by_key(|(_, failed)| failed.backoff.blocked(now).map(|b| b.0));
                if let Some(least) = least.map(|(whose, _)| whose.clone()) {
                    self.by.remove(&least);
                }
            }
        }
        let failed = self.by.entry(whose).or_default();
        failed.owner = Some(owner.clone());
        change(&mut failed.backoff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::LAST_WORDS;

    fn principal(id: &str) -> Requester {
        Requester::Principal("i".into(), id.into())
    }

    fn session(id: &str) -> Owner {
        Owner::Session(id.into())
    }

    #[test]
    fn what_one_principal_breaks_makes_no_other_wait() {
        let (now, mut starts) = (Instant::now(), Starts::default());
        for _ in 0..9 {
            starts.failed(now, &session("a"), &principal("ada"), "secret".into());
            starts.ended(now, &session("a"), &principal("ada"), Duration::ZERO, "secret".into());
        }
        assert!(starts.blocked(now, &session("a2"), &principal("ada")).is_some(), "her next one waits");
        assert_eq!(starts.blocked(now, &session("b"), &principal("bob")), None);
        assert_eq!(starts.blocked(now, &session("l"), &Requester::Local), None);
    }

    #[test]
    fn who_is_not_told_apart_waits_for_its_own_session_only() {
        let (now, mut starts) = (Instant::now(), Starts::default());
        starts.ended(now, &session("a"), &Requester::Local, Duration::ZERO, "it came up and ended".into());
        assert!(starts.blocked(now, &session("a"), &Requester::Local).is_some());
        assert_eq!(starts.blocked(now, &session("b"), &Requester::Local), None);
        starts.failed(now, &session("c"), &Requester::Local, "it never came up".into());
        assert!(starts.blocked(now, &session("b"), &Requester::Local).is_some());
    }

    #[test]
    fn what_fails_for_many_is_left_alone_until_it_comes_up() {
        let (now, mut starts) = (Instant::now(), Starts::default());
        let mut waits = Vec::new();
        for id in 0..DISTINCT {
            starts.failed(now, &session("x"), &principal(&id.to_string()), format!("secret of {id}"));
            waits.push(starts.blocked(now, &session("n"), &principal("new")));
        }
        assert_eq!(waits[0], None, "one is not many");
        let (last, reason) = waits[DISTINCT - 1].clone().unwrap();
        assert!(last > Duration::from_secs(20), "{waits:?}");
        assert!(!reason.contains("secret"), "{reason}");
        starts.came_up();
        assert_eq!(starts.blocked(now, &session("n"), &principal("new")), None);
        assert!(starts.blocked(now, &session("n"), &principal("3")).is_some(), "its own failures stay");
    }

    #[test]
    fn last_words_are_told_to_whose_process_said_them() {
        let (now, mut starts) = (Instant::now(), Starts::default());
        starts.failed(now, &session("a"), &Requester::Local, format!("it ended{LAST_WORDS}secret"));
        let told = |owner: &str| starts.blocked(now, &session(owner), &Requester::Local).unwrap().1;
        assert!(told("a").ends_with("secret"));
        assert_eq!(told("b"), "it ended");
    }

    #[test]
    fn a_healthy_life_clears_the_slate_and_what_is_remembered_is_bounded() {
        let (now, mut starts) = (Instant::now(), Starts::default());
        starts.failed(now, &session("a"), &principal("ada"), "no".into());
        starts.ended(now, &session("a"), &principal("ada"), Duration::from_secs(60), "later".into());
        assert_eq!(starts.blocked(now, &session("a"), &principal("ada")), None);
        for id in 0..REMEMBERED * 2 {
            starts.failed(now, &session("x"), &principal(&id.to_string()), "no".into());
        }
        assert!(starts.by.len() <= REMEMBERED);
    }
}
