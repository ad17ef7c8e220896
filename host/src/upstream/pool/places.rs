//! Places for child processes: bounded for each server, in all, and for each principal. Where none is
//! free, the connection whose clients were silent longest gives way, if nothing is under way on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config;
use crate::requester::Requester;
use crate::upstream::wire::lock;

/// How long a place is waited for that is about to come free: a child that is told to end gets 5 s, and
/// what is left of it is killed within one more. Who is silent for too short a time is waited for as well.
const WAIT: Duration = Duration::from_secs(8);

/// All places.
pub(super) struct Places {
    bounds: Bounds,
    state: Mutex<State>,
    freed: Notify,
}

/// How many there are.
#[derive(Clone, Copy)]
struct Bounds {
    per_server: usize,
    all: usize,
    principal_per_server: usize,
    principal: usize,
    /// Who said something within this time does not give way.
    spared: Duration,
}

#[derive(Default)]
struct State {
    next: u64,
    taken: HashMap<u64, Taken>,
}

struct Taken {
    server: Arc<str>,
    requester: Requester,
    /// None until the connection is open.
    occupant: Option<Arc<dyn Occupant>>,
    /// Its child is being ended.
    leaving: bool,
    /// Somebody waits for it.
    awaited: bool,
}

/// Who has a place, as far as giving way is concerned.
pub(super) trait Occupant: Send + Sync {
    /// How long its clients have been silent; none while something is under way.
    fn silence(&self) -> Option<Duration>;
    /// Ends it, and its clients' sessions with it. False if something has begun meanwhile.
    fn give_way(&self) -> bool;
}

/// A place. It comes free when this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
}

/// What stands in the way of one more.
enum Next {
    Taken(u64),
    /// This one is leaving, or is asked to.
    Leaves(Option<Arc<dyn Occupant>>, u64),
    /// All are in use; one of them may give way after so long.
    Later(Duration),
    Full(&'static str),
}

impl Places {
    pub(super) fn new(limits: &config::Limits) -> Arc<Places> {
        let bounds = Bounds {
            per_server: limits.children_per_server as usize,
            all: limits.children as usize,
            principal_per_server: limits.children_per_server_and_principal as usize,
            principal: limits.children_per_principal as usize,
            spared: Duration::from_secs(limits.give_way_seconds),
        };
        Arc::new(Places { bounds, state: Mutex::default(), freed: Notify::new() })
    }

    /// A place for one child.
    ///
    /// # Errors
    /// The configuration key of the limit that is reached.
    pub(super) async fn take(
        self: &Arc<Self>,
        server: &Arc<str>,
        requester: &Requester,
    ) -> Result<Place, &'static str> {
        let until = Instant::now() + WAIT;
        let mut awaited = Awaited { places: self, number: None };
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // From here on: what comes free while it is looked is not missed.
            freed.as_mut().enable();
            let next = lock(&self.state).next(&self.bounds, server, requester, &mut awaited.number);
            let pause = match next {
                Next::Taken(number) => return Ok(Place { places: Arc::clone(self), number }),
                Next::Leaves(None, _) => until,
                // Outside of the lock: what ends with it is not known here.
                Next::Leaves(Some(occupant), number) => {
                    if !occupant.give_way() {
                        lock(&self.state).stays(number);
                        awaited.number = None;
                        continue;
                    }
                    until
                }
                Next::Later(pause) => until.min(Instant::now() + pause),
                Next::Full(key) => return Err(key),
            };
            if tokio::time::timeout_at(pause, freed).await.is_err() && Instant::now() >= until {
                return Err(self.bounds.key(&lock(&self.state), server, requester));
            }
        }
    }

    /// A child that was ended leaves its place to whoever waits.
    pub(super) fn leaving(&self, number: u64) {
        if let Some(taken) = lock(&self.state).taken.get_mut(&number) {
            (taken.leaving, taken.occupant) = (true, None);
        }
        self.freed.notify_waiters();
    }

    /// Its connection is open now.
    pub(super) fn occupied(&self, number: u64, occupant: Arc<dyn Occupant>) {
        if let Some(taken) = lock(&self.state).taken.get_mut(&number) {
            taken.occupant = Some(occupant);
        }
    }
}

impl Place {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gone = lock(&self.places.state).taken.remove(&self.number);
        self.places.freed.notify_waiters();
        drop(gone);
    }
}

/// The place that somebody waits for. It is no longer waited for when this is dropped.
struct Awaited<'a> {
    places: &'a Places,
    number: Option<u64>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number
            && let Some(taken) = lock(&self.places.state).taken.get_mut(&number)
        {
            taken.awaited = false;
        }
    }
}

/// A bound that is reached: its key, and whose places would help.
struct Reached {
    key: &'static str,
    of_server: bool,
    of_principal: bool,
}

impl Bounds {
    /// The first bound that is reached, the narrowest first.
    fn reached(&self, state: &State, server: &str, requester: &Requester) -> Option<Reached> {
        let bounds: [(&'static str, usize, bool, bool); 4] = [
            ("limits.children_per_server_and_principal", self.principal_per_server, true, true),
            ("limits.children_per_principal", self.principal, false, true),
            ("limits.children_per_server", self.per_server, true, false),
            ("limits.children", self.all, false, false),
        ];
        bounds.into_iter().find_map(|(key, most, of_server, of_principal)| {
            let reached = Reached { key, of_server, of_principal };
            let counted = !of_principal || requester.is_principal();
            let taken = state.taken.values().filter(|taken| reached.counts(taken, server, requester)).count();
            (counted && taken >= most).then_some(reached)
        })
    }

    fn key(&self, state: &State, server: &str, requester: &Requester) -> &'static str {
        self.reached(state, server, requester).map_or("limits.children", |reached| reached.key)
    }
}

impl Reached {
    fn counts(&self, taken: &Taken, server: &str, requester: &Requester) -> bool {
        (!self.of_server || *taken.server == *server) && (!self.of_principal || taken.requester == *requester)
    }
}

impl State {
    fn next(
        &mut self,
        bounds: &Bounds,
        server: &Arc<str>,
        requester: &Requester,
        awaited: &mut Option<u64>,
    ) -> Next {
        let Some(reached) = bounds.reached(self, server, requester) else {
            let number = self.next;
            self.next += 1;
            let taken = Taken {
                server: Arc::clone(server),
                requester: requester.clone(),
                occupant: None,
                leaving: false,
                awaited: false,
            };
            self.taken.insert(number, taken);
            return Next::Taken(number);
        };
        // Still on its way out: the one that this was promised.
        if let Some(number) = awaited.filter(|number| self.taken.contains_key(number)) {
            return Next::Leaves(None, number);
        }
        let help = self.taken.iter_mut().filter(|(_, taken)| reached.counts(taken, server, requester));
        let (mut longest, mut later): (Option<(Duration, u64)>, Option<Duration>) = (None, None);
        for (number, taken) in help {
            if taken.leaving && !taken.awaited {
                taken.awaited = true;
                *awaited = Some(*number);
                return Next::Leaves(None, *number);
            }
            let Some(silence) = taken.occupant.as_ref().and_then(|occupant| occupant.silence()) else {
                continue;
            };
            match bounds.spared.checked_sub(silence).filter(|left| !left.is_zero()) {
                Some(left) => later = Some(later.map_or(left, |least| least.min(left))),
                None if longest.is_none_or(|(most, _)| silence > most) => longest = Some((silence, *number)),
                None => {}
            }
        }
        let Some((_, number)) = longest else { return later.map_or(Next::Full(reached.key), Next::Later) };
        let Some(taken) = self.taken.get_mut(&number) else { return Next::Full(reached.key) };
        (taken.leaving, taken.awaited) = (true, true);
        *awaited = Some(number);
        Next::Leaves(taken.occupant.clone(), number)
    }

    /// Something began on it just when it was asked to leave.
    fn stays(&mut self, number: u64) {
        if let Some(taken) = self.taken.get_mut(&number) {
            (taken.leaving, taken.awaited) = (false, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// An occupant that is silent since then, or busy, and gives its place back when it is told to.
    struct Silent(Option<Instant>, Mutex<Option<Place>>);

    impl Occupant for Silent {
        fn silence(&self) -> Option<Duration> {
            self.0.map(|since| since.elapsed())
        }
        fn give_way(&self) -> bool {
            drop(lock(&self.1).take());
            true
        }
    }

    fn places(change: impl FnOnce(&mut config::Limits)) -> Arc<Places> {
        let mut limits = config::Limits { children_per_server: 3, children: 5, ..config::Limits::default() };
        limits.children_per_server_and_principal = 2;
        limits.children_per_principal = 3;
        change(&mut limits);
        Places::new(&limits)
    }

    fn principal(id: &str) -> Requester {
        Requester::Principal("i".into(), id.into())
    }

    async fn occupy(
        places: &Arc<Places>,
        server: &str,
        who: &Requester,
        since: Option<Instant>,
    ) -> Arc<Silent> {
        let place = places.take(&server.into(), who).await.unwrap();
        let number = place.number();
        let silent = Arc::new(Silent(since, Mutex::new(Some(place))));
        places.occupied(number, silent.clone());
        silent
    }

    fn left(silent: &Silent) -> bool {
        lock(&silent.1).is_none()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_gives_way_and_who_is_busy_does_not() {
        let places = places(|_| ());
        let began = Instant::now();
        let busy = occupy(&places, "s", &Requester::Local, None).await;
        let older = occupy(&places, "s", &Requester::Local, Some(began)).await;
        tokio::time::advance(Duration::from_secs(5)).await;
        let newer = occupy(&places, "s", &Requester::Local, Some(Instant::now())).await;
        let _first = places.take(&"s".into(), &Requester::Local).await.unwrap();
        assert!(left(&older) && !left(&newer) && !left(&busy));
        // It has just said something: it is waited for until it was silent for a while.
        let second = places.take(&"s".into(), &Requester::Local).await.unwrap();
        assert!(left(&newer) && !left(&busy));
        assert_eq!(began.elapsed(), Duration::from_secs(6));
        let refused = places.take(&"s".into(), &Requester::Local).now_or_never().unwrap();
        assert_eq!(refused.err(), Some("limits.children_per_server"));
        drop(second);
        assert!(places.take(&"s".into(), &Requester::Local).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn every_principal_has_a_share_and_gives_way_within_it() {
        let places = places(|_| ());
        let (ada, bob) = (principal("ada"), principal("bob"));
        let since = Some(Instant::now());
        let his = occupy(&places, "s", &bob, since).await;
        tokio::time::advance(Duration::from_secs(5)).await;
        let hers = occupy(&places, "s", &ada, Some(Instant::now())).await;
        let _busy = occupy(&places, "s", &ada, None).await;
        tokio::time::advance(Duration::from_secs(5)).await;
        let _third = occupy(&places, "s", &ada, None).await;
        assert!(left(&hers) && !left(&his), "hers, though his was silent for longer");
        let refused = places.take(&"s".into(), &ada).await;
        assert_eq!(refused.err(), Some("limits.children_per_server_and_principal"));
        let _elsewhere = occupy(&places, "t", &ada, None).await;
        let refused = places.take(&"t".into(), &ada).await;
        assert_eq!(refused.err(), Some("limits.children_per_principal"));
        let _room = occupy(&places, "t", &bob, None).await;
        let refused = places.take(&"t".into(), &Requester::Local).await;
        assert!(refused.is_ok(), "his idle one gave way: `children` was reached");
        assert!(left(&his));
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_is_on_its_way_out_is_waited_for_and_not_for_ever() {
        let places = places(|limits| limits.children_per_server = 1);
        let place = places.take(&"s".into(), &Requester::Local).await.unwrap();
        places.leaving(place.number());
        let other = tokio::spawn({
            let places = places.clone();
            async move { places.take(&"s".into(), &Requester::Local).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert_eq!(
            places.take(&"s".into(), &Requester::Local).now_or_never().and_then(Result::err),
            Some("limits.children_per_server"),
            "one place is for one"
        );
        drop(place);
        assert!(other.await.unwrap());
        let stuck = places.take(&"s".into(), &Requester::Local).await.unwrap();
        places.leaving(stuck.number());
        let began = Instant::now();
        assert!(places.take(&"s".into(), &Requester::Local).await.is_err());
        assert_eq!(began.elapsed(), WAIT);
        let again = tokio::spawn({
            let places = places.clone();
            async move { places.take(&"s".into(), &Requester::Local).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(stuck);
        assert!(again.await.unwrap(), "who gave up left the promise to others");
    }
}
