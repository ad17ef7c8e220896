//! Lists: what a server offers, as one caller may see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::call::Run;
use super::definitions::{Definitions, Reading, page_params};
use super::link::Whose;
use super::methods::List;
use super::{rescue, uris};
use crate::filter::{Item, ItemKind, ItemsView, Outcome};
use crate::jsonrpc::{Kind, Message};
use crate::protocol::meta;
use crate::protocol::pages::{Step, Walk};
use crate::upstream::Reply;

/// A definition younger than this is not read again because a name was not among them.
const FRESH: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Turns the server's page of a list into what the caller may see.
    pub(super) async fn shape_list(&self, list: List, reply: Reply) -> Result<Reply, Outcome> {
        if reply.message.kind() != Kind::Result {
            return Ok(reply);
        }
        let reply = if list.kind == ItemKind::Tool && self.link.is_modern() {
            Reply { message: self.without_invalid_tools(reply.message), ..reply }
        } else {
            reply
        };
        let message = if self.chain.edits(list.kind) {
            self.edited_list(list, &reply.message).await?
        } else if self.chain.judges(list.kind) {
            self.judged_page(list, reply.message.clone()).await?
        } else {
            return Ok(reply);
        };
        Ok(Reply { message, ..reply })
    }

    /// All definitions of a kind, as the `catalog` filters show them.
    pub(super) async fn definitions(&self, kind: ItemKind) -> Result<Option<Arc<Definitions>>, Outcome> {
        self.definitions_read_after(kind, None).await
    }

    /// The same, read again unless they are fresh: for a name that was not among them.
    pub(super) async fn definitions_again(
        &self,
        kind: ItemKind,
    ) -> Result<Option<Arc<Definitions>>, Outcome> {
        self.definitions_read_after(kind, Instant::now().checked_sub(FRESH)).await
    }

    async fn definitions_read_after(
        &self,
        kind: ItemKind,
        not_before: Option<Instant>,
    ) -> Result<Option<Arc<Definitions>>, Outcome> {
        let Some(list) = super::link::list_of(kind) else { return Ok(None) };
        let read = async || self.read_definitions(list).await;
        let capabilities = if self.link.is_modern() {
            // Their digest: a client may declare a lot, and it is kept for as long as the link.
            let digest = ring::digest::digest(&ring::digest::SHA256, &self.caller.client.capabilities);
            Bytes::copy_from_slice(digest.as_ref())
        } else {
            Bytes::new()
        };
        let whose = Whose { kind, capabilities };
        self.link.definitions(whose, self.snapshot.generation(), not_before, read).await.map(Some)
    }

    /// Reads all pages and passes them through the `catalog` filters.
    async fn read_definitions(&self, list: List) -> Result<Definitions, Outcome> {
        let limits = &self.snapshot.config().limits;
        // One of the legacy era tells of changes without being asked, whoever its clients are.
        let untold =
            self.link.is_modern() && !self.connection().await.is_ok_and(|connection| connection.parks());
        let mut reading = Reading::new(self.link.server.clone(), list, self.json_limits(), untold);
        let mut cursor: Option<Bytes> = None;
        let mut walk = Walk::new(limits.list_pages);
        loop {
            let params = page_params(cursor.as_deref());
            let mut request = Message::request(b"0", list.method, Some(&params));
            // Servers may have other tools for other clients.
            if self.link.is_modern() {
                request =
                    request.with_meta(meta::CLIENT_CAPABILITIES, Some(&self.caller.client.capabilities));
            }
            let reply = self.send(request, None, None).await?;
            if reply.message.kind() == Kind::Error {
                let error = reply.message.error_object().unwrap_or_default();
                // A server without this kind of thing has none of them.
                if crate::jsonrpc::get(&error, "/code") == Some(b"-32601") {
                    break;
                }
                return Err(Outcome::Failure(error));
            }
            let modern = list.kind == ItemKind::Tool && self.link.is_modern();
            let page = if modern { self.without_invalid_tools(reply.message) } else { reply.message };
            let before = reading.len();
            reading.page(&page).map_err(|what| rescue::malformed(&self.link.server, &what))?;
            if reading.len() > limits.list_items as usize {
                return Err(rescue::limited("limits.list_items"));
            }
            match walk.step(&page) {
                Step::Next(next) => cursor = Some(next),
                Step::End => break,
                Step::TooMany => return Err(rescue::limited("limits.list_pages")),
                Step::Repeated => {
                    reading.without_repetition(before);
                    tracing::warn!(
                        server = %self.link.server, method = list.method,
                        "the server names a page that it gave before; its list ends there"
                    );
                    break;
                }
            }
        }
        let mut visible = Vec::new();
        let view = reading.view().clone();
        let view = self
            .chain
            .definitions(&view, |view, edit| Reading::apply(list, &mut visible, view, edit))
            .await
            .map_err(|closed| rescue::closed(&closed))?;
        reading.finish(view, &visible).map_err(|message| {
            tracing::warn!(server = %self.link.server, "{message}; the list is refused");
            rescue::closed(&crate::filter::chain::Closed { filter: "catalog".into() })
        })
    }

    /// The whole list on one page, because a catalog filter may have reordered it.
    async fn edited_list(&self, list: List, first: &Message) -> Result<Message, Outcome> {
        if self.request.param("cursor").is_some_and(|cursor| cursor != b"null") {
            return Err(rescue::invalid_params("`cursor` is not one of this list"));
        }
        let definitions = self.definitions(list.kind).await?;
        let definitions = definitions.as_deref().map(Definitions::items).unwrap_or_default();
        let items: Vec<Item> = definitions
            .iter()
            .map(|d| Item {
                name: d.name.clone(),
                visible_name: d.visible_name.clone(),
                definition: Some(d.judged.clone()),
            })
            .collect();
        let visible = self.judge(list.kind, items).await?;
        let shown: Vec<Bytes> =
            definitions.iter().zip(&visible).filter(|(_, v)| **v).map(|(d, _)| d.shown.clone()).collect();
        Ok(first.with_items(list.member, &shown).with_result_member("nextCursor", None))
    }

    /// One page as the server gave it, without what is hidden.
    async fn judged_page(&self, list: List, page: Message) -> Result<Message, Outcome> {
        // What is not a list cannot be judged, and might show what is hidden.
        let found = page.items(list.member, list.key);
        let found = found.ok_or_else(|| rescue::malformed(&self.link.server, &list.missing()))?;
        let slice = |span: std::ops::Range<usize>| {
            page.bytes().get(span).map(|raw| page.bytes().slice_ref(raw)).unwrap_or_default()
        };
        let raw: Vec<Bytes> = found.iter().map(|item| slice(item.span.clone())).collect();
        let items = found
            .iter()
            .zip(&raw)
            .map(|(item, raw)| {
                let name: Arc<str> = Arc::from(&*item.name);
                Item { visible_name: name.clone(), name, definition: Some(raw.clone()) }
            })
            .collect();
        let visible = self.judge(list.kind, items).await?;
        if visible.iter().all(|v| *v) {
            return Ok(page);
        }
        let kept: Vec<Bytes> =
            raw.into_iter().zip(&visible).filter(|(_, v)| **v).map(|(raw, _)| raw).collect();
        Ok(page.with_items(list.member, &kept))
    }

    /// Asks the `access` filters. A resource is visible if it is under everything that a server may read
    /// in its URI.
    pub(super) async fn judge(&self, kind: ItemKind, mut items: Vec<Item>) -> Result<Vec<bool>, Outcome> {
        let count = items.len();
        if !self.chain.judges(kind) || items.is_empty() {
            return Ok(vec![true; count]);
        }
        let mut owners = Vec::new();
        if matches!(kind, ItemKind::Resource | ItemKind::ResourceTemplate) {
            for at in 0..count {
                let Some(item) = items.get(at).cloned() else { break };
                for reading in uris::readings(&item.name) {
                    let name: Arc<str> = Arc::from(reading);
                    items.push(Item { visible_name: name.clone(), name, ..item.clone() });
                    owners.push(at);
                }
            }
        }
        let view = ItemsView {
            server: self.link.server.clone(),
            kind,
            method: self.method.clone(),
            items,
            caller: self.caller.clone(),
            decisions: Some(self.decisions.clone()),
        };
        let mut visible = self.chain.access(view).await.map_err(|closed| rescue::closed(&closed))?;
        let readings = visible.split_off(count.min(visible.len()));
        for (owner, reading) in owners.into_iter().zip(readings) {
            if let Some(visible) = visible.get_mut(owner) {
                *visible &= reading;
            }
        }
        Ok(visible)
    }
}
