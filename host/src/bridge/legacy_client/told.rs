//! What a modern server tells during a call, on its way to a legacy client.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use super::changes::{unasked, without_subscription};
use super::lock;
use crate::jsonrpc::Message;
use crate::protocol::methods;
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

    /// Tells of what the server says in words alone, as one step on the way. `token` and `words` are raw.
    pub(super) fn step(&self, token: &[u8], words: &[u8]) {
        let step = {
            let mut progress = lock(&self.progress);
            let step = progress.most.map_or(1.0, |most| most.floor() + 1.0);
            progress.most = Some(step);
            step
        };
        let params = [
            br#"{"progressToken":"#,
            token,
            format!(r#","progress":{step},"message":"#).as_bytes(),
            words,
            b"}",
        ]
        .concat();
        self.client.notify(Message::notification(methods::PROGRESS, Some(&params)));
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
        if notification.method() == Some(methods::PROGRESS) && !self.goes_on(&notification) {
            return;
        }
        self.client.notify(without_subscription(notification));
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        Box::pin(std::future::ready(unasked(&request)))
    }
}
