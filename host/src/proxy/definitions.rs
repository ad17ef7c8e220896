//! What a server offers of one kind: as it says, and as the `catalog` filters show it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::methods::List;
use super::uris;
use crate::filter::{DefinitionsEdit, DefinitionsView, ItemKind};
use crate::jsonrpc::{self, Document, Limits, Message};

/// The definitions of one kind of one server, in the order clients see them.
#[derive(Debug)]
pub struct Definitions {
    items: Vec<Definition>,
    by_visible: HashMap<Arc<str>, usize>,
    /// Resources by what all spellings of their URIs have in common.
    by_key: HashMap<String, Vec<usize>>,
    /// When they were read.
    pub read: Instant,
    /// How long they hold, where the server says so (2026-07-28, caching). Where it does not, it tells of
    /// changes.
    holds: Option<Duration>,
}

/// A server that gives its list no time to live is not asked for it with every call all the same.
const SHORTEST: Duration = Duration::from_secs(1);
/// What calls are judged by is no older than this, whatever its server says.
const LONGEST: Duration = Duration::from_secs(60);

/// One definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// As the server knows it.
    pub name: Arc<str>,
    /// As clients know it.
    pub visible_name: Arc<str>,
    /// Raw JSON as the filters edited it, but for the name: what `access` judges.
    pub judged: Bytes,
    /// Raw JSON as clients see it.
    pub shown: Bytes,
    /// Raw JSON as the server gave it.
    pub raw: Bytes,
}

impl Definitions {
    /// All of them, in the order clients see them.
    pub fn items(&self) -> &[Definition] {
        &self.items
    }

    /// Whether they still hold.
    pub fn is_fresh(&self) -> bool {
        self.holds.is_none_or(|time| self.read.elapsed() < time.clamp(SHORTEST, LONGEST))
    }

    /// The one that clients know by this name.
    pub fn find(&self, visible_name: &str) -> Option<&Definition> {
        self.items.get(*self.by_visible.get(visible_name)?)
    }

    /// The only resource whose URI has the same normal form.
    pub fn find_spelling(&self, uri: &str) -> Option<&Definition> {
        let normal = uris::normal(uri)?;
        let mut same = self.alike(uri).filter(|item| uris::normal(&item.name).as_ref() == Some(&normal));
        same.next().filter(|_| same.next().is_none())
    }

    /// The resources that some server might take this URI for.
    pub fn alike(&self, uri: &str) -> impl Iterator<Item = &Definition> {
        let places = self.by_key.get(&uris::key(uri)).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|&place| self.items.get(place))
    }

    /// Whether a URI is an expansion of one of these templates: every `{…}` stands for anything.
    pub fn template_of(&self, uri: &str) -> Option<&Definition> {
        self.items.iter().find(|item| crate::filter::glob::matches(&as_glob(&item.name), uri))
    }
}

/// Collects definitions page by page, and turns into [`Definitions`] what the filters made of them.
#[derive(Debug)]
pub struct Reading {
    list: List,
    view: DefinitionsView,
    limits: Limits,
    holds: Option<Duration>,
    /// As the server gave them, before any filter.
    raw: HashMap<Arc<str>, Bytes>,
}

impl Reading {
    /// Nothing read yet.
    /// `modern`: the server tells of no changes unless asked, so that what it does not say to hold for a
    /// while does not.
    pub fn new(server: Arc<str>, list: List, limits: Limits, modern: bool) -> Reading {
        let view = DefinitionsView { server, kind: list.kind, items: Vec::new() };
        Reading { list, view, limits, holds: modern.then_some(LONGEST), raw: HashMap::new() }
    }

    /// Adds one page; returns the cursor of the next, as raw JSON.
    pub fn page(&mut self, page: &Message) -> Result<(), String> {
        let items = page.items(self.list.member, self.list.key);
        for item in items.ok_or_else(|| self.list.missing())? {
            if let Some(raw) = page.bytes().get(item.span.clone()) {
                let raw = page.bytes().slice_ref(raw);
                let name: Arc<str> = Arc::from(&*item.name);
                self.raw.entry(name.clone()).or_insert_with(|| raw.clone());
                self.view.items.push((name, raw));
            }
        }
        let ttl = page.result_member("ttlMs").and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
        // Absent and malformed mean zero (2026-07-28, caching).
        let ttl = Duration::from_millis(ttl.unwrap_or(0));
        self.holds = self.holds.map(|shortest| shortest.min(ttl));
        Ok(())
    }

    /// Takes back what came after the first `len` items, if it only repeats those.
    pub fn without_repetition(&mut self, len: usize) {
        if let Some((before, after)) = self.view.items.split_at_checked(len) {
            let before: HashSet<&str> = before.iter().map(|(name, _)| &**name).collect();
            if after.iter().all(|(name, _)| before.contains(&**name)) {
                self.view.items.truncate(len);
            }
        }
    }

    /// How many there are so far.
    pub fn len(&self) -> usize {
        self.view.items.len()
    }

    /// What the filters may edit.
    pub fn view(&self) -> &DefinitionsView {
        &self.view
    }

    /// Applies what one `catalog` filter changed; all or nothing. The error says what is wrong.
    pub fn apply(
        list: List,
        visible: &mut Vec<Arc<str>>,
        view: &mut DefinitionsView,
        edit: DefinitionsEdit,
    ) -> Result<(), String> {
        let mut names = visible.clone();
        names.resize_with(view.items.len(), || Arc::from(""));
        for (index, raw) in edit.edited {
            let slot = view.items.get_mut(index).ok_or("`catalog` edited an item that does not exist")?;
            slot.1 = raw;
        }
        for (index, name) in edit.renamed {
            if !matches!(list.kind, ItemKind::Tool | ItemKind::Prompt) {
                return Err(
                    "`catalog` renamed a resource: URIs also stand in results and cannot be renamed".into()
                );
            }
            if !acceptable(&name) {
                return Err(format!("`catalog` gave the name {name:?}: use 1 to 128 of A-Z a-z 0-9 _ . -"));
            }
            *names.get_mut(index).ok_or("`catalog` renamed an item that does not exist")? = Arc::from(name);
        }
        if let Some(order) = edit.order {
            let mut seen = vec![false; view.items.len()];
            for &index in &order {
                match seen.get_mut(index) {
                    Some(slot @ false) => *slot = true,
                    _ => return Err("`catalog` gave an order that is no permutation of the items".into()),
                }
            }
            if order.len() != view.items.len() {
                return Err("`catalog` gave an order that leaves out items".into());
            }
            view.items = order.iter().filter_map(|&i| view.items.get(i).cloned()).collect();
            names = order.iter().filter_map(|&i| names.get(i).cloned()).collect();
        }
        *visible = names;
        Ok(())
    }

    /// Makes the definitions from what the filters left, checking that visible names are unique.
    pub fn finish(self, view: DefinitionsView, visible: &[Arc<str>]) -> Result<Definitions, String> {
        let mut items = Vec::with_capacity(view.items.len());
        let mut by_visible = HashMap::with_capacity(view.items.len());
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, (name, raw)) in view.items.into_iter().enumerate() {
            let renamed = visible.get(index).filter(|v| !v.is_empty() && **v != name);
            let visible_name = renamed.cloned().unwrap_or_else(|| name.clone());
            let shown = match renamed {
                None => raw.clone(),
                Some(new) => {
                    let mut doc = Document::new(raw.clone(), self.limits);
                    doc.set_text(&format!("/{}", self.list.key), new).map_err(|e| e.to_string())?;
                    doc.bytes().clone()
                }
            };
            // The first of several equal names wins, as clients do it. Only a rename must not
            // make a name ambiguous: it would decide which tool a call reaches.
            if by_visible.contains_key(&visible_name) {
                if renamed.is_some() {
                    return Err(format!("`catalog` gave two items the name {visible_name:?}"));
                }
            } else {
                by_visible.insert(visible_name.clone(), index);
            }
            if self.list.kind == ItemKind::Resource {
                by_key.entry(uris::key(&name)).or_default().push(index);
            }
            let original = self.raw.get(&name).cloned().unwrap_or_else(|| raw.clone());
            items.push(Definition { name, visible_name, judged: raw, shown, raw: original });
        }
        Ok(Definitions { items, by_visible, by_key, read: Instant::now(), holds: self.holds })
    }
}

/// The character set the specification recommends for tool names (2025-11-25, tools).
fn acceptable(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn as_glob(template: &str) -> String {
    let mut glob = String::with_capacity(template.len());
    let mut inside = false;
    for c in template.chars() {
        match c {
            '{' => inside = true,
            '}' if inside => {
                inside = false;
                glob.push('*');
            }
            _ if inside => {}
            // A literal `*` or `?` of the template covers itself as a glob as well.
            _ => glob.push(c),
        }
    }
    glob
}

/// The raw JSON of `{"cursor":…}` for the next page.
pub fn page_params(cursor: Option<&[u8]>) -> Vec<u8> {
    match cursor {
        None => b"{}".to_vec(),
        Some(cursor) => [b"{\"cursor\":", cursor, b"}"].concat(),
    }
}

/// The name as a JSON string, for splicing.
pub fn quoted(name: &str) -> Vec<u8> {
    jsonrpc::escape(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::methods::TOOLS;

    fn view(names: &[&str]) -> DefinitionsView {
        let items =
            names.iter().map(|n| (Arc::from(*n), Bytes::from(format!("{{\"name\":\"{n}\"}}")))).collect();
        DefinitionsView { server: "s".into(), kind: ItemKind::Tool, items }
    }

    fn apply(names: &[&str], edit: DefinitionsEdit) -> Result<Definitions, String> {
        let (mut view, mut visible) = (view(names), Vec::new());
        Reading::apply(TOOLS, &mut visible, &mut view, edit)?;
        let limits = Limits { bytes: 1 << 20, depth: 64, members: 1000, number_bytes: 100 };
        Reading::new("s".into(), TOOLS, limits, false).finish(view, &visible)
    }

    #[test]
    fn a_rename_holds_in_both_directions() {
        let edit = DefinitionsEdit { renamed: [(1, "list".to_owned())].into(), ..Default::default() };
        let definitions = apply(&["a", "b"], edit).unwrap();
        assert!(definitions.find("b").is_none(), "the old name is gone");
        let found = definitions.find("list").unwrap();
        assert_eq!(&*found.name, "b");
        assert_eq!(found.shown, "{\"name\":\"list\"}");
        assert_eq!(found.judged, "{\"name\":\"b\"}");
    }

    #[test]
    fn an_ambiguous_rename_is_refused() {
        let edit = DefinitionsEdit { renamed: [(1, "a".to_owned())].into(), ..Default::default() };
        assert!(apply(&["a", "b"], edit).is_err());
    }

    #[test]
    fn an_order_must_be_a_permutation() {
        let order = |order| DefinitionsEdit { order: Some(order), ..Default::default() };
        assert!(apply(&["a", "b"], order(vec![0, 0])).is_err());
        assert!(apply(&["a", "b"], order(vec![0])).is_err());
        assert!(apply(&["a", "b"], order(vec![0, 2])).is_err());
        let names: Vec<_> =
            apply(&["a", "b"], order(vec![1, 0])).unwrap().items().iter().map(|d| d.name.clone()).collect();
        assert_eq!(names, ["b".into(), "a".into()] as [Arc<str>; 2]);
    }

    #[test]
    fn templates_cover_their_expansions() {
        assert_eq!(as_glob("test://{id}/data"), "test://*/data");
        assert!(crate::filter::glob::matches(&as_glob("test://{id}/data"), "test://7/data"));
        assert!(!crate::filter::glob::matches(&as_glob("test://{id}/data"), "test://7/other"));
    }
}
