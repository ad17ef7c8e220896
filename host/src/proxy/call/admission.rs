//! What a call is about: resolved as its client knows it, and judged by `access`.

use std::sync::Arc;

use super::super::methods::Row;
use super::super::rescue;
use super::{Run, Target};
use crate::filter::{Item, ItemKind, Outcome};

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
            let found = match definitions.find(&visible) {
                Some(found) => Some(found.clone()),
                None => match self.definitions_again(kind).await? {
                    Some(again) => again.find(&visible).cloned(),
                    None => None,
                },
            };
            match found {
                Some(found) => {
                    target.name = found.name;
                    target.definition = Some(found.judged);
                }
                None if kind == ItemKind::Resource && self.may_be_unlisted(row, &visible).await? => {}
                None => return Err(unknown()),
            }
        }
        self.judge_one(target).await
    }

    /// Resources may exist without being listed, where a template covers them or a result linked
    /// to them. Only the server knows; but what needs no existing resource (a subscription, a
    /// completion) would tell a hidden one from an unknown one.
    async fn may_be_unlisted(&self, row: &Row, uri: &str) -> Result<bool, Outcome> {
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
        let definition = match self.definitions(kind).await? {
            Some(all) => match all.items().iter().find(|d| d.name == name) {
                Some(found) => Some(found.judged.clone()),
                None if kind == ItemKind::Resource && self.may_be_unlisted(row, &name).await? => None,
                None => return Err(self.unknown(kind, &target.visible)),
            },
            None => None,
        };
        self.judge_one(Target { kind, visible: target.visible.clone(), name, definition }).await
    }

    async fn judge_one(&self, target: Target) -> Result<Target, Outcome> {
        let item = Item {
            name: target.name.clone(),
            visible_name: target.visible.clone(),
            definition: target.definition.clone(),
        };
        match self.judge(target.kind, vec![item]).await?.first() {
            Some(true) => Ok(target),
            _ => Err(self.unknown(target.kind, &target.visible)),
        }
    }
}
