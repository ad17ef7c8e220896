//! A downlink, watched for what makes cached definitions stale, and for what is not its client's.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Link;
use crate::filter::ItemKind;
use crate::jsonrpc::Message;
use crate::proxy::Downlink;

/// The session's downlink, watched for what makes cached definitions stale.
pub(super) struct Watched {
    pub(super) inner: Arc<dyn Downlink>,
    pub(super) shared: bool,
    /// The level that a modern request asked for.
    pub(super) logs: Option<String>,
    pub(super) link: OnceLock<Weak<Link>>,
}

impl Downlink for Watched {
    fn notify(&self, notification: Message) {
        if let Some(link) = self.link.get().and_then(Weak::upgrade) {
            match notification.method() {
                Some("notifications/tools/list_changed") => link.forget(Some(ItemKind::Tool)),
                Some("notifications/prompts/list_changed") => link.forget(Some(ItemKind::Prompt)),
                Some("notifications/resources/list_changed") => {
                    link.forget(Some(ItemKind::Resource));
                    link.forget(Some(ItemKind::ResourceTemplate));
                }
                Some("notifications/message") if !link.wants_log(&notification, self.logs.as_deref()) => {
                    return;
                }
                // Of an era that these clients do not speak, and whose it is cannot be told.
                Some("notifications/tasks") if link.has_company() => return,
                Some("notifications/resources/updated") => {
                    let uri = notification.param_text("uri").unwrap_or_default();
                    if !link.may_hear_of(&uri, self.shared) {
                        return;
                    }
                }
                _ => {}
            }
        }
        self.inner.notify(notification);
    }

    fn ask(&self, request: Message) -> BoxFuture<'_, Message> {
        self.inner.ask(request)
    }

    fn silence(&self) -> Option<Duration> {
        self.inner.silence()
    }

    fn give_way(&self) -> bool {
        self.inner.give_way()
    }
}
