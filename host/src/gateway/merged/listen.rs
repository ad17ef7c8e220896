//! `subscriptions/listen` on several servers: each is asked for its part, and the client hears of all
//! under its one subscription.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, join_all};

use super::Merged;
use crate::jsonrpc::{Kind, Message};
use crate::protocol::methods::ACKNOWLEDGED;
use crate::proxy::{CallScope, Downlink, Wanted};

/// News that wait until all servers have acknowledged; equal ones wait once.
const EARLY: usize = 256;

impl Merged {
    /// Listens on all servers until the client goes or this side winds down. One that cannot be
    /// listened to is left out of what is acknowledged. None if it was cancelled.
    pub(super) async fn listen(&self, request: Message, scope: CallScope) -> Option<Message> {
        let together = Arc::new(Together {
            client: scope.downlink.clone(),
            state: Mutex::new(State {
                left: self.parts.len(),
                honoured: Wanted::default(),
                acknowledgement: None,
                early: Some(Vec::new()),
            }),
        });
        let wanted = request.param("notifications").map(Wanted::parse).unwrap_or_default();
        if !wanted.uris.is_empty() {
            self.index_resources(&request, &scope).await?;
        }
        let answers = join_all((0..self.parts.len()).map(|part| {
            let own = Arc::new(Own { together: together.clone(), acknowledged: Mutex::new(false) });
            let scope = CallScope { downlink: own.clone(), ..scope.clone() };
            // Each hears of its own resources only, and none of tasks: their ids are not told apart here.
            let mut own_wanted = Wanted { tasks: Default::default(), ..wanted.clone() };
            own_wanted.uris.retain(|uri| self.listed(uri) == Some(part));
            let request = request.with_param("notifications", own_wanted.json().as_bytes());
            async move {
                let answer = self.pass(part, request, scope).await;
                // One that ends without an acknowledgement honours nothing.
                own.acknowledge(None);
                answer
            }
        }))
        .await;
        let mut answers: Vec<Message> = answers.into_iter().collect::<Option<_>>()?;
        let at = answers.iter().position(|answer| answer.kind() == Kind::Result).unwrap_or_default();
        (!answers.is_empty()).then(|| answers.swap_remove(at))
    }
}

/// The one subscription that the client sees.
struct Together {
    client: Arc<dyn Downlink>,
    state: Mutex<State>,
}

struct State {
    /// Servers that have not acknowledged yet.
    left: usize,
    honoured: Wanted,
    /// The first one, for the id of the subscription.
    acknowledgement: Option<Message>,
    /// None once the acknowledgement is out.
    early: Option<Vec<Message>>,
}

/// The part of one server.
struct Own {
    together: Arc<Together>,
    acknowledged: Mutex<bool>,
}

impl Own {
    fn acknowledge(&self, acknowledgement: Option<Message>) {
        let before = {
            let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *acknowledged, true)
        };
        if !before {
            self.together.acknowledge(acknowledgement);
        }
    }
}

impl Downlink for Own {
    fn notify(&self, notification: Message) {
        if notification.method() == Some(ACKNOWLEDGED) {
            return self.acknowledge(Some(notification));
        }
        self.together.tell(notification);
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        self.together.client.ask(request)
    }
}

impl Together {
    fn acknowledge(&self, acknowledgement: Option<Message>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.left = state.left.saturating_sub(1);
        if let Some(acknowledgement) = acknowledgement {
            let honoured = acknowledgement.param("notifications").map(Wanted::parse).unwrap_or_default();
            state.honoured = std::mem::take(&mut state.honoured).or(&honoured);
            state.acknowledgement.get_or_insert(acknowledgement);
        }
        // If all failed there is nothing to acknowledge: the answer says why.
        if state.left > 0 || state.acknowledgement.is_none() {
            return;
        }
        let Some(early) = state.early.take() else { return };
        if let Some(first) = state.acknowledgement.take() {
            self.client.notify(first.with_param("notifications", state.honoured.json().as_bytes()));
        }
        // Under the lock, so that nothing overtakes them; a downlink never waits.
        for news in early {
            self.client.notify(news);
        }
    }

    fn tell(&self, news: Message) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.early {
            None => self.client.notify(news),
            Some(early) if early.len() < EARLY && early.iter().all(|old| old.bytes() != news.bytes()) => {
                early.push(news);
            }
            Some(_) => {}
        }
    }
}
