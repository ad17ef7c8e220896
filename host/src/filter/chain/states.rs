//! What filters keep in the course of one call, and from one round of it to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Chain;

/// What each filter stored in the course of one call, by its position, and what the user answered to
/// the one that asked.
#[derive(Clone, Debug, Default)]
pub struct States {
    stored: Vec<(usize, Arc<BTreeMap<String, Bytes>>)>,
    answered: Option<(usize, Arc<[Bytes]>)>,
}

/// What filters stored, by their names: it outlives the chain.
pub type Stored = BTreeMap<String, BTreeMap<String, Bytes>>;

impl Chain {
    /// The name of the filter at a position.
    pub fn name_at(&self, position: usize) -> Option<&str> {
        self.filters.get(position).map(|placed| &*placed.name)
    }

    /// The position of a filter.
    pub fn position_of(&self, name: &str) -> Option<usize> {
        self.filters.iter().position(|placed| *placed.name == *name)
    }

    /// What filters stored, so that it can be taken up later by [`Chain::restored`].
    pub fn stored(&self, states: &States) -> Stored {
        let named = |(position, state): &(usize, Arc<BTreeMap<String, Bytes>>)| {
            Some((self.name_at(*position)?.to_owned(), BTreeMap::clone(state)))
        };
        states.stored.iter().filter_map(named).collect()
    }

    /// What filters stored in an earlier round. Those that are gone meanwhile have none.
    pub fn restored(&self, stored: Stored) -> States {
        let placed = |(name, state): (String, _)| Some((self.position_of(&name)?, Arc::new(state)));
        States { stored: stored.into_iter().filter_map(placed).collect(), answered: None }
    }
}

impl States {
    /// Nothing stored.
    pub const fn none() -> States {
        States { stored: Vec::new(), answered: None }
    }

    /// Notes what the user said to the filter that asked; forgets what they said before.
    pub fn answered(&mut self, position: usize, answers: Vec<Bytes>) {
        self.answered = Some((position, answers.into()));
    }

    pub(super) fn of(&self, position: usize) -> Arc<BTreeMap<String, Bytes>> {
        self.stored.iter().find(|(p, _)| *p == position).map(|(_, s)| s.clone()).unwrap_or_default()
    }

    pub(super) fn answers_of(&self, position: usize) -> Arc<[Bytes]> {
        match &self.answered {
            Some((asked, answers)) if *asked == position => answers.clone(),
            _ => Arc::default(),
        }
    }

    pub(super) fn put(&mut self, position: usize, state: BTreeMap<String, Bytes>) {
        let state = Arc::new(state);
        match self.stored.iter_mut().find(|(p, _)| *p == position) {
            Some((_, slot)) => *slot = state,
            None => self.stored.push((position, state)),
        }
    }
}
