//! A filter of Lockgate's own that hides tools by name: `--ignore-tool` of `connect` and `wrap`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;

use super::placed::{Placed, PlacedParts};
use super::{
    CallView, Decision, DefinitionsEdit, DefinitionsView, Effects, ExchangeEffects, ExchangeView, Failure,
    FailureKind, Filter, Hooks, ItemKind, ItemsView, RequestHead, Visibility, glob,
};
use crate::config::problem::nearest;
use crate::config::{FilterLimits, Match, Mode, OnFailure};

/// Its name in logs and listings.
pub const NAME: &str = "ignore-tool";

/// Hides every tool whose name one of the globs covers: from lists, and from calls, where it
/// answers like a tool that does not exist.
/// With `warn`, globs that cover none of the tools that are listed first are warned of.
pub fn ignore_tools(globs: Vec<String>, warn: bool) -> Arc<Placed> {
    let filter = IgnoreTools { globs, warned: AtomicBool::new(!warn) };
    Arc::new(Placed::new(PlacedParts {
        name: NAME.into(),
        plugin: NAME.into(),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        // There is no file that could be another one next time.
        sha256: [0; 32],
        file: PathBuf::new(),
        listed: true,
        matches: Match::default(),
        on_failure: OnFailure::Closed,
        mode: Mode::Enforce,
        limits: FilterLimits::default(),
        hooks: filter.hooks(),
        filter: Arc::new(filter),
    }))
}

/// What is said of a glob that covers no tool of the server.
pub fn hides_nothing<'a>(glob: &str, tools: impl IntoIterator<Item = &'a str>) -> String {
    let near = nearest(glob, tools);
    let tip = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("`--ignore-tool {glob}` hides nothing: no tool of the server is called like that{tip}")
}

struct IgnoreTools {
    globs: Vec<String>,
    /// Whether nothing is to be said of globs that hide nothing, any more.
    warned: AtomicBool,
}

impl IgnoreTools {
    fn hides(&self, name: &str) -> bool {
        self.globs.iter().any(|glob| glob::matches(glob, name))
    }

    fn warn(&self, view: &ItemsView) {
        if view.kind != ItemKind::Tool
            || &*view.method != "tools/list"
            || self.warned.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let covers = |glob: &str, item: &super::Item| {
            glob::matches(glob, &item.name) || glob::matches(glob, &item.visible_name)
        };
        for glob in self.globs.iter().filter(|glob| !view.items.iter().any(|item| covers(glob, item))) {
            tracing::warn!("{}", hides_nothing(glob, view.items.iter().map(|item| &*item.name)));
        }
    }
}

impl Filter for IgnoreTools {
    fn hooks(&self) -> Hooks {
        Hooks { access: true, ..Hooks::default() }
    }

    fn access<'a>(&'a self, view: Arc<ItemsView>) -> BoxFuture<'a, Result<Vec<Visibility>, Failure>> {
        self.warn(&view);
        // Both names: a filter may have given the tool another one, and either may be meant.
        let hidden = |item: &super::Item| {
            view.kind == ItemKind::Tool && (self.hides(&item.name) || self.hides(&item.visible_name))
        };
        let judged = view.items.iter().map(|item| match hidden(item) {
            true => Visibility::Hidden,
            false => Visibility::Visible,
        });
        let judged = judged.collect();
        Box::pin(async move { Ok(judged) })
    }

    fn authenticate<'a>(&'a self, _: Arc<RequestHead>) -> BoxFuture<'a, Result<Decision, Failure>> {
        unasked()
    }

    fn definitions<'a>(&'a self, _: DefinitionsView) -> BoxFuture<'a, Result<DefinitionsEdit, Failure>> {
        unasked()
    }

    fn request<'a>(&'a self, _: Arc<CallView>) -> BoxFuture<'a, Result<Effects, Failure>> {
        unasked()
    }

    fn upstream<'a>(&'a self, _: Arc<ExchangeView>) -> BoxFuture<'a, Result<ExchangeEffects, Failure>> {
        unasked()
    }

    fn response<'a>(&'a self, _: Arc<CallView>) -> BoxFuture<'a, Result<Effects, Failure>> {
        unasked()
    }
}

/// The chain asks only for hooks that a filter names.
fn unasked<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Failure>> {
    let message = format!("{NAME} was asked for a hook that it does not have");
    Box::pin(async { Err(Failure { kind: FailureKind::Host, message }) })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Caller, ClientInfo, Item};
    use super::*;

    async fn judged(globs: &[&str], kind: ItemKind, names: &[(&str, &str)]) -> Vec<bool> {
        let placed = ignore_tools(globs.iter().map(|glob| (*glob).to_owned()).collect(), false);
        let client = ClientInfo {
            info: None,
            capabilities: Bytes::from_static(b"{}"),
            protocol_version: "2025-11-25".into(),
            transport: "stdio",
            address: None,
        };
        let item = |(name, visible): &(&str, &str)| Item {
            name: (*name).into(),
            visible_name: (*visible).into(),
            definition: None,
        };
        let view = ItemsView {
            server: "a".into(),
            kind,
            method: "tools/list".into(),
            items: names.iter().map(item).collect(),
            caller: Arc::new(Caller { principal: None, client: Arc::new(client), headers: Arc::default() }),
            decisions: None,
        };
        let judged = placed.filter.access(Arc::new(view)).await.unwrap();
        judged.into_iter().map(|judged| judged == Visibility::Hidden).collect()
    }

    #[tokio::test]
    async fn tools_are_hidden_under_either_name_and_nothing_else_is() {
        let names = [("get_note", "get_note"), ("delete_note", "delete_note"), ("wipe", "delete_all")];
        let globs = ["delete_*", "nothing"];
        assert_eq!(judged(&globs, ItemKind::Tool, &names).await, [false, true, true]);
        assert_eq!(judged(&globs, ItemKind::Prompt, &names).await, [false, false, false]);
        assert_eq!(judged(&["wipe"], ItemKind::Tool, &names).await, [false, false, true]);
    }
}
