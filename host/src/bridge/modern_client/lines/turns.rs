//! Who asks for a connection of one kind first gets one first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

use super::super::lock;

/// One queue for each kind. There are no more kinds than sets of capabilities, so that they may stay.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for one's turn. The mutex is fair.
    pub(super) async fn take(&self, key: &str) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(lock(&self.0).entry(key.to_owned()).or_default());
        turn.lock_owned().await
    }
}
