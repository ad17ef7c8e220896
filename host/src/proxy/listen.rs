//! `subscriptions/listen`: a call that lasts as long as its client likes, and brings it the changes it
//! wants (2026-07-28, subscriptions).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::call::Run;
use super::link::{Link, lock};
use super::methods::Row;
use super::{Downlink, Wanted, rescue};
use crate::filter::{CallView, Item, ItemKind, Outcome};
use crate::jsonrpc::{self, Message};
use crate::protocol::{errors, meta, methods};
use crate::upstream::UpstreamError;

/// Resources and tasks that one subscription may name; each is judged.
const NAMES: usize = 1_000;
/// News that may come before the acknowledgement is out. All are different, so more are never needed
/// by clients that subscribe to less than that.
const EARLY: usize = 64;
/// The first wait before a connection that broke is made anew for those who listen, and the longest.
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(60);

/// Everybody who listens over one link.
#[derive(Default)]
pub(super) struct Listeners {
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Listener>>>,
    link: OnceLock<Weak<Link>>,
}

struct Listener {
    /// The raw id of the request.
    subscription: Bytes,
    downlink: Arc<dyn Downlink>,
    state: Mutex<State>,
}

struct State {
    hears: Wanted,
    /// News from before the acknowledgement, which comes first; none once it is out.
    early: Option<Vec<Message>>,
}

/// A listener on the books. Dropping it takes it off.
pub(super) struct Listening {
    listeners: Arc<Listeners>,
    number: u64,
    listener: Arc<Listener>,
}

impl Listeners {
    /// Whose link it is, for judging what is told. Set once.
    pub(super) fn belong_to(&self, link: &Arc<Link>) {
        let _ = self.link.set(Arc::downgrade(link));
    }

    fn join(self: &Arc<Self>, subscription: Bytes, hears: Wanted, downlink: Arc<dyn Downlink>) -> Listening {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(State { hears, early: Some(Vec::new()) });
        let listener = Arc::new(Listener { subscription, downlink, state });
        lock(&self.all).insert(number, listener.clone());
        Listening { listeners: self.clone(), number, listener }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.listeners.all).remove(&self.number);
    }
}

impl Downlink for Listeners {
    fn notify(&self, notification: Message) {
        let judged = self.link.get().and_then(Weak::upgrade).is_some_and(|link| link.judges_resources());
        let all: Vec<_> = lock(&self.all).values().cloned().collect();
        for listener in all {
            listener.tell(&notification, judged);
        }
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        let why = "clients of this revision are asked with results";
        Box::pin(std::future::ready(Message::error(request.id(), errors::METHOD_NOT_FOUND, why, None)))
    }

    fn silence(&self) -> Option<Duration> {
        // A subscription is under way for as long as its client listens.
        lock(&self.all).is_empty().then_some(Duration::MAX)
    }
}

impl Listener {
    fn tell(&self, news: &Message, judged: bool) {
        let mut state = lock(&self.state);
        let below = news.method() == Some("notifications/resources/updated")
            && !news.param_text("uri").is_some_and(|uri| state.hears.uris.contains(&*uri));
        // What lies below a resource was not judged with it.
        if !state.hears.hears(news) || (below && judged) {
            return;
        }
        let news = news.with_meta(meta::SUBSCRIPTION_ID, Some(&self.subscription));
        match &mut state.early {
            None => self.downlink.notify(news),
            Some(early) if early.iter().any(|earlier| earlier.bytes() == news.bytes()) => {}
            Some(early) if early.len() < EARLY => early.push(news),
            Some(_) => {}
        }
    }

    /// Says what is honoured, then what was heard meanwhile. Later it only takes note.
    fn acknowledge(&self, honoured: &Wanted) {
        let mut state = lock(&self.state);
        state.hears = honoured.clone();
        let Some(early) = state.early.take() else { return };
        let params = format!(r#"{{"notifications":{}}}"#, honoured.json());
        let acknowledged = Message::notification(methods::ACKNOWLEDGED, Some(params.as_bytes()));
        // Under the lock, so that nothing overtakes it; a downlink never waits.
        self.downlink.notify(acknowledged.with_meta(meta::SUBSCRIPTION_ID, Some(&self.subscription)));
        for news in early.into_iter().filter(|news| honoured.hears(news)) {
            self.downlink.notify(news);
        }
    }

    /// After a gap: everything may have changed in it.
    fn tell_that_all_may_have_changed(&self, honoured: &Wanted) {
        let lists =
            [(honoured.tools, "tools"), (honoured.prompts, "prompts"), (honoured.resources, "resources")];
        for (_, kind) in lists.into_iter().filter(|(honoured, _)| *honoured) {
            self.tell(&Message::notification(&format!("notifications/{kind}/list_changed"), None), false);
        }
        for uri in &honoured.uris {
            let params = [b"{\"uri\":", &jsonrpc::escape(uri)[..], b"}"].concat();
            self.tell(&Message::notification("notifications/resources/updated", Some(&params)), false);
        }
    }
}

impl Run<'_> {
    /// Listens until the client goes, this side winds down, or there is nothing to listen to.
    pub(super) async fn listen(&mut self, row: &'static Row, view: &CallView) -> Result<Message, Outcome> {
        let asked = jsonrpc::get(&view.params, "/notifications").filter(|raw| raw.first() == Some(&b'{'));
        let asked =
            asked.ok_or_else(|| rescue::invalid_params("`params.notifications` must be an object"))?;
        let wanted = self.admitted(row, Wanted::parse(asked)).await?;
        let id = Bytes::copy_from_slice(self.request.id().unwrap_or(b"null"));
        let listening = self.link.listeners().join(id.clone(), wanted.clone(), self.downlink.clone());
        let mut wait = RETRY;
        let mut gap = false;
        loop {
            let subscribed = async {
                let connection = self.link.connection().await?;
                connection.subscribe(wanted.clone()).await
            };
            let subscribed = tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(UpstreamError::Cancelled),
                () = self.ending.cancelled() => break,
                subscribed = subscribed => subscribed,
            };
            match subscribed {
                Ok(subscription) => {
                    let honoured = self.with_own(&wanted, &subscription.honoured);
                    listening.listener.acknowledge(&honoured);
                    if std::mem::replace(&mut gap, true) {
                        listening.listener.tell_that_all_may_have_changed(&honoured);
                    }
                    wait = RETRY;
                    tokio::select! {
                        () = self.cancel.cancelled() => return Err(rescue::upstream(&UpstreamError::Cancelled)),
                        () = self.ending.cancelled() => break,
                        () = subscription.ended.cancelled() => {}
                    }
                }
                // The first time it is the client's to know. Later it is taken up again when it can be.
                Err(error) if !gap || self.cancel.is_cancelled() => return Err(rescue::upstream(&error)),
                Err(error) => {
                    tracing::debug!(server = %self.link.server, %error, "listening is not taken up again yet")
                }
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(rescue::upstream(&UpstreamError::Cancelled)),
                () = self.ending.cancelled() => break,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(MOST_RETRY),
            }
        }
        let result = format!(
            r#"{{"resultType":"complete","_meta":{{"{}":{}}}}}"#,
            meta::SUBSCRIPTION_ID,
            String::from_utf8_lossy(&id)
        );
        Ok(Message::response(&id, result.as_bytes()))
    }

    /// Without what this caller may not know of. It looks like what does not exist: left out.
    async fn admitted(&self, row: &'static Row, mut wanted: Wanted) -> Result<Wanted, Outcome> {
        if wanted.uris.len() + wanted.tasks.len() > NAMES {
            return Err(rescue::invalid_params("`params.notifications` names more than 1000 things"));
        }
        // News of a task bring its result with them, past the filters that look at results.
        if ["tools/call", "tasks/get"].iter().any(|method| self.chain.looks_at_results(method)) {
            wanted.tasks.clear();
        }
        if self.chain.judges(ItemKind::Resource) {
            let mut admitted = BTreeSet::new();
            for uri in std::mem::take(&mut wanted.uris) {
                if let Ok(target) = self.admit(row, ItemKind::Resource, uri).await {
                    // As the server spells it: it is what the server is asked for, and what it tells.
                    admitted.insert(target.name.to_string());
                }
            }
            wanted.uris = admitted;
        }
        if self.chain.judges(ItemKind::Task) {
            let tasks: Vec<String> = std::mem::take(&mut wanted.tasks).into_iter().collect();
            let items = tasks.iter().map(|task| {
                let name: Arc<str> = Arc::from(task.as_str());
                Item { visible_name: name.clone(), name, definition: None }
            });
            let visible = self.judge(ItemKind::Task, items.collect()).await?;
            wanted.tasks = tasks.into_iter().zip(visible).filter(|(_, v)| *v).map(|(task, _)| task).collect();
        }
        Ok(wanted)
    }

    /// Lists change by Lockgate's own doing as well: when filters are replaced.
    fn with_own(&self, wanted: &Wanted, honoured: &Wanted) -> Wanted {
        let mut all = honoured.clone();
        all.tools |= wanted.tools && self.link.has_capability("tools");
        all.prompts |= wanted.prompts && self.link.has_capability("prompts");
        all.resources |= wanted.resources && self.link.has_capability("resources");
        all
    }
}
