//! What a call is about: resolved as its client knows it, and judged by `access`.

use std::sync::Arc;

use super::super::definitions::{Definition, Definitions};
use super::super::methods::Row;
use super::super::{rescue, uris};
use super::{Run, Target};
use crate::filter::chain;
use crate::filter::{CallView, Item, ItemKind, Outcome, glob};
use crate::jsonrpc;

impl Run<'_> {
    /// Resolves a name as the client knows it and asks `access` about it.
    pub(in crate::proxy) async fn admit(
        &self,
        row: &Row,
        kind: ItemKind,
        visible: String,
    ) -> Result<Target, Outcome> {
        let visible: Arc<str> = Arc::from(visible);
        let mut target = Target { kind, name: visible.clone(), visible: visible.clone(), definition: None };
        if !self.chain.edits(kind) && !self.chain.judges(kind) {
            return Ok(target);
        }
        let unknown = || self.unknown(kind, &visible);
        if let Some(definitions) = self.definitions(kind).await? {
            let found = match self.listed(&definitions, kind, &visible) {
                Some(found) => Some(found),
                None => match self.definitions_again(kind).await? {
                    Some(again) => self.listed(&again, kind, &visible),
                    None => None,
                },
            };
            match found {
                Some(found) => {
                    target.name = found.name;
                    target.definition = Some(found.judged);
                }
                None if kind == ItemKind::Resource && self.may_be_unlisted(row, &visible).await? => {}
                None => {
                    self.decisions.not_listed(not_listed(kind));
                    return Err(unknown());
                }
            }
        }
        self.judge_one(target).await
    }

    /// The definition of a name as the client wrote it. Where `access` judges, a resource is found under
    /// every spelling of its URI; the server gets its own.
    fn listed(&self, definitions: &Definitions, kind: ItemKind, visible: &str) -> Option<Definition> {
        let spelled = kind == ItemKind::Resource && self.chain.judges(kind);
        let found = definitions.find(visible);
        found.or_else(|| spelled.then(|| definitions.find_spelling(visible))?).cloned()
    }

    /// Resources may exist without being listed, where a template covers them or a result linked
    /// to them. Only the server knows; but what needs no existing resource (a subscription, a
    /// completion) would tell a hidden one from an unknown one.
    async fn may_be_unlisted(&self, row: &Row, uri: &str) -> Result<bool, Outcome> {
        if self.chain.judges(ItemKind::Resource) && !uris::is_plain(uri) {
            // The client gets what it gets for every unknown one.
            tracing::debug!(
                server = %self.link.server,
                uri = %super::for_log(uri),
                normal_form = uris::normal(uri).map(|uri| super::for_log(&uri)),
                "a resource is unknown: no list holds it, and its URI is not written in the normal form by which \
                 `access` filters judge"
            );
            return Ok(false);
        }
        if row.method == "resources/read" {
            return Ok(true);
        }
        let templates = self.definitions(ItemKind::ResourceTemplate).await?;
        Ok(templates.is_some_and(|templates| templates.template_of(uri).is_some()))
    }

    /// The same for a name that a filter sent the call to.
    pub(super) async fn admit_rerouted(
        &self,
        row: &Row,
        target: Option<&Target>,
        name: String,
    ) -> Result<Target, Outcome> {
        let Some(target) = target else {
            return Err(rescue::invalid_params("this method has no name to reroute"));
        };
        let kind = target.kind;
        let name: Arc<str> = Arc::from(name);
        let mut target = Target { kind, visible: target.visible.clone(), name, definition: None };
        if let Some(all) = self.definitions(kind).await? {
            let named = all.items().iter().find(|d| d.name == target.name).cloned();
            match named.or_else(|| self.listed(&all, kind, &target.name)) {
                Some(found) => {
                    target.name = found.name;
                    target.definition = Some(found.judged);
                }
                None if kind == ItemKind::Resource && self.may_be_unlisted(row, &target.name).await? => {}
                None => {
                    self.decisions.not_listed(not_listed(kind));
                    return Err(self.unknown(kind, &target.visible));
                }
            }
        }
        self.judge_one(target).await
    }

    /// Where a filter judges what is said to a tool or prompt, its arguments must mean the same to every
    /// reader of JSON: to one that ignores case `path` and `Path` are one member.
    pub(super) fn check_arguments(&self, row: &chain::Row, view: &CallView) -> Result<(), Outcome> {
        let name = view.name.as_deref();
        if !self.chain.judges_request(row, name) {
            return Ok(());
        }
        for member in ["arguments", "context"] {
            let Some((one, other)) = self.request.param(member).and_then(jsonrpc::alike) else { continue };
            let config = self.snapshot.config();
            let meant = config.servers.get(&*self.link.server).is_some_and(|server| {
                let tools = &server.allow_similar_arguments;
                name.is_some_and(|name| tools.iter().any(|tool| glob::matches(tool, name)))
            });
            if !meant {
                return Err(rescue::similar_members(member, &one, &other));
            }
        }
        Ok(())
    }

    async fn judge_one(&self, target: Target) -> Result<Target, Outcome> {
        let mut items = vec![Item {
            name: target.name.clone(),
            visible_name: target.visible.clone(),
            definition: target.definition.clone(),
        }];
        // A server may take it for one that it lists: then both must be visible.
        if target.kind == ItemKind::Resource
            && target.definition.is_none()
            && self.chain.judges(target.kind)
            && let Some(all) = self.definitions(target.kind).await?
        {
            items.extend(all.alike(&target.name).map(|alike| Item {
                name: alike.name.clone(),
                visible_name: alike.visible_name.clone(),
                definition: Some(alike.judged.clone()),
            }));
        }
        match self.judge(target.kind, items).await?.iter().all(|visible| *visible) {
            true => Ok(target),
            false => Err(self.unknown(target.kind, &target.visible)),
        }
    }
}

fn not_listed(kind: ItemKind) -> String {
    let what = match kind {
        ItemKind::Tool => "tool of this name",
        ItemKind::Prompt => "prompt of this name",
        ItemKind::Resource => "resource of this URI, and no template that covers it",
        ItemKind::ResourceTemplate => "template of this URI",
        ItemKind::Task => "task of this id",
    };
    format!("the server lists no {what}")
}
