//! What a modern server tells during a call, on its way to a legacy client.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use super::changes::{unasked, without_subscription};
use super::lock;
use crate::jsonrpc::Message;
use crate::proxy::Downlink;

/// The downlink of one call, for all its rounds. The client sees one call, whose progress only grows
/// (2025-11-25, progress); a server that is asked again may well begin anew.
pub(super) struct Told {
    client: Arc<dyn Downlink>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// The most that was told.
    most: Option<f64>,
    /// The most that was told in earlier rounds.
    before: Option<f64>,
}

impl Told {
    pub(super) fn new(client: Arc<dyn Downlink>) -> Told {
        Told { client, progress: Mutex::default() }
    }

    /// The server is asked again.
    pub(super) fn next_round(&self) {
        let mut progress = lock(&self.progress);
        progress.before = progress.most;
    }

    /// Whether this is news to the client. Within one round it is the server's own affair.
    fn goes_on(&self, notification: &Message) -> bool {
        let told = notification.param("progress").and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
        let Some(told) = told else { return true };
        let mut progress = lock(&self.progress);
        progress.most = Some(progress.most.map_or(told, |most: f64| most.max(told)));
        progress.before.is_none_or(|before| told > before)
    }
}

impl Downlink for Told {
    fn notify(&self, notification: Message) {
        if notification.method() == Some("notifications/progress") && !self.goes_on(&notification) {
            return;
        }
        self.client.notify(without_subscription(notification));
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        Box::pin(std::future::ready(unasked(&request)))
    }
}
