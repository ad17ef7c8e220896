//! Lists of several servers as one: in the order of the configuration, then in the servers' own.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{EACH, Merged, SEPARATOR, too_late};
use crate::filter::{ItemKind, Outcome};
use crate::jsonrpc::{self, Document, Kind, ListItem, Message};
use crate::protocol::pages::{Step, Walk};
use crate::proxy::methods::List;
use crate::proxy::{CallScope, rescue};

/// What one server offers, all pages of it.
struct Offer {
    items: Vec<Bytes>,
    names: Vec<Box<str>>,
    /// Its first page, for what else stands there.
    first: Message,
    ttl: Option<u64>,
    public: bool,
}

impl Merged {
    /// All items of a list on one page. None if it was cancelled.
    pub(super) async fn list(
        &self,
        list: List,
        request: &Message,
        scope: &CallScope,
    ) -> Option<Result<Message, Outcome>> {
        if request.param("cursor").is_some_and(|cursor| cursor != b"null") {
            return Some(Err(rescue::invalid_params("`cursor` is not one of this list; it has one page")));
        }
        let offers = join_all((0..self.parts.len()).map(|part| async move {
            let offer = tokio::time::timeout(EACH, self.offer(part, list, request, scope)).await;
            let server = self.parts.get(part).map(|part| part.server.clone()).unwrap_or_default();
            offer.unwrap_or_else(|_| Some(Err(too_late(&server))))
        }))
        .await;
        let (mut items, mut first, mut refused): (Vec<Bytes>, Option<Message>, Option<Message>) =
            (Vec::new(), None, None);
        let (mut ttl, mut public) = (None, true);
        for (part, offer) in offers.into_iter().enumerate() {
            match offer? {
                Ok(Some(offer)) => {
                    if list.kind == ItemKind::Resource {
                        self.note(part, &offer.names);
                    }
                    ttl = match (ttl, offer.ttl) {
                        (Some(a), Some(b)) => Some(u64::min(a, b)),
                        (a, b) => a.or(b),
                    };
                    public &= offer.public;
                    items.extend(offer.items);
                    first.get_or_insert(offer.first);
                }
                // A server that has none of that kind.
                Ok(None) => {}
                // One that fails does not take the others with it.
                Err(error) => {
                    let server = self.parts.get(part).map(|part| &*part.server).unwrap_or_default();
                    let reason =
                        error.error_member("message").and_then(jsonrpc::unescape).unwrap_or_default();
                    tracing::warn!(server, method = list.method, "left out of the merged list: {reason}");
                    refused.get_or_insert(error);
                }
            }
        }
        // What lacks a server must not be kept until it is back.
        if refused.is_some() {
            (ttl, public) = (None, false);
        }
        let page = match (first, refused) {
            (Some(first), _) => first.with_items(list.member, &items).with_result_member("nextCursor", None),
            (None, Some(error)) => return Some(Ok(error)),
            (None, None) => return Some(Err(rescue::unknown_method(list.method))),
        };
        Some(Ok(self.cached(page, ttl, public)))
    }

    /// With the shortest time to live of all parts, and private if any of them is.
    fn cached(&self, page: Message, ttl: Option<u64>, public: bool) -> Message {
        if self.joining.is_none() {
            return page;
        }
        let scope: &[u8] = if public { b"\"public\"" } else { b"\"private\"" };
        page.with_result_member("ttlMs", Some(ttl.unwrap_or(0).to_string().as_bytes()))
            .with_result_member("cacheScope", Some(scope))
    }

    /// None outside: cancelled. None inside: nothing of that kind. The error is the server's answer.
    async fn offer(
        &self,
        part: usize,
        list: List,
        request: &Message,
        scope: &CallScope,
    ) -> Option<Result<Option<Offer>, Message>> {
        let link = match self.link(part).await {
            Ok(link) => link,
            Err(error) => return Some(Err(error)),
        };
        let capability = list.method.split('/').next().unwrap_or_default();
        if !link.has_capability(capability) {
            return Some(Ok(None));
        }
        let limits = &self.gateway.config().limits;
        let most = limits.list_items as usize;
        let server = link.server().clone();
        let mut offer: Option<Offer> = None;
        let mut cursor: Option<Bytes> = None;
        let mut walk = Walk::new(limits.list_pages);
        loop {
            let asked = match &cursor {
                Some(cursor) => request.with_param("cursor", cursor),
                None => request.clone(),
            };
            let page = link.call(asked, scope.clone()).await?;
            if page.kind() == Kind::Error {
                let none = page.error_member("code") == Some(b"-32601");
                return Some(if none { Ok(None) } else { Err(page) });
            }
            let Some(items) = page.items(list.member, list.key) else {
                return Some(Err(rescue::refusal(rescue::malformed(&server, &list.missing()))));
            };
            let all = offer.get_or_insert_with(|| Offer::begin(&page));
            let before = all.names.len();
            self.add(all, list, &server, &page, items);
            if all.items.len() > most {
                tracing::warn!(%server, method = list.method, "has more than limits.list_items; its list is cut there");
                all.cut(most);
                break;
            }
            match walk.step_to(&page, |sealed| link.page_of(&scope.caller, list.method, sealed)) {
                Step::Next(next) => cursor = Some(next),
                Step::End => break,
                Step::TooMany => {
                    tracing::warn!(%server, method = list.method, "has more than limits.list_pages; its list is cut there");
                    break;
                }
                Step::Repeated => {
                    all.without_repetition(before);
                    tracing::warn!(
                        %server, method = list.method,
                        "the server names a page that it gave before; its list ends there"
                    );
                    break;
                }
            }
        }
        Some(Ok(offer))
    }

    fn add(&self, offer: &mut Offer, list: List, server: &Arc<str>, page: &Message, items: Vec<ListItem>) {
        for item in items {
            let Some(raw) = page.bytes().get(item.span) else { continue };
            let mut raw = page.bytes().slice_ref(raw);
            if matches!(list.kind, ItemKind::Tool | ItemKind::Prompt) {
                let mut document = Document::new(raw, self.gateway.server_json_limits());
                let name = format!("{server}{SEPARATOR}{}", item.name);
                // An item that cannot be named cannot be called either.
                if document.set_text(&format!("/{}", list.key), &name).is_err() {
                    continue;
                }
                raw = document.bytes().clone();
            }
            offer.items.push(raw);
            offer.names.push(item.name);
        }
    }

    /// Notes whose these resources are. The first server in the configuration wins.
    fn note(&self, part: usize, uris: &[Box<str>]) {
        let mut index = self.uris.lock().unwrap_or_else(PoisonError::into_inner);
        for uri in uris {
            let owner = index.entry(uri.to_string()).or_insert(part);
            *owner = part.min(*owner);
        }
    }
}

impl Offer {
    fn begin(first: &Message) -> Offer {
        let ttl = first.result_member("ttlMs").and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
        let public = first.result_member("cacheScope") == Some(b"\"public\"");
        Offer { items: Vec::new(), names: Vec::new(), first: first.clone(), ttl, public }
    }

    fn cut(&mut self, len: usize) {
        self.items.truncate(len);
        self.names.truncate(len);
    }

    /// Takes back what came after the first `len` items, if it only repeats those.
    fn without_repetition(&mut self, len: usize) {
        if let Some((before, after)) = self.names.split_at_checked(len) {
            let before: HashSet<&str> = before.iter().map(|name| &**name).collect();
            if after.iter().all(|name| before.contains(&**name)) {
                self.cut(len);
            }
        }
    }
}
