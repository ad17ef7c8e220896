//! What a server offers: its definitions for `catalog`, and the items whose visibility is asked.

use crate::raw::context as raw;
use crate::{AccessError, Client, Doc, Principal};

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Tool,
    Prompt,
    /// Named by its URI.
    Resource,
    /// Named by its URI template (RFC 6570).
    ResourceTemplate,
    /// Named by its task id.
    Task,
}

/// Whether an item exists for this principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Visibility {
    Hidden,
    Visible,
}

impl From<bool> for Visibility {
    /// True is visible.
    fn from(visible: bool) -> Visibility {
        if visible { Visibility::Visible } else { Visibility::Hidden }
    }
}

/// All definitions of one kind that a server offers, before anyone in particular looks.
#[derive(Debug)]
#[repr(transparent)]
pub struct Definitions(pub(crate) raw::Definitions);

impl Definitions {
    /// The server.
    pub fn server(&self) -> String {
        self.0.server()
    }

    /// Which kind.
    pub fn kind(&self) -> Kind {
        self.0.kind().into()
    }

    /// How many there are. Indices below are 0 to this, less one.
    pub fn len(&self) -> u32 {
        self.0.length()
    }

    /// True if the server offers none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All names as the server gives them, in its order.
    pub fn names(&self) -> Vec<String> {
        self.0.names()
    }

    /// The definition, editable (description, title, schemas, annotations …) but for its name.
    pub fn definition(&self, index: u32) -> Result<Doc, AccessError> {
        Ok(Doc(self.0.definition(index)?))
    }

    /// Shows the item under another name, and translates calls back. Names must stay unique.
    pub fn rename(&self, index: u32, name: &str) -> Result<(), AccessError> {
        Ok(self.0.rename(index, name)?)
    }

    /// The new order, as a permutation of all indices.
    pub fn reorder(&self, order: &[u32]) -> Result<(), AccessError> {
        Ok(self.0.reorder(order)?)
    }
}

/// The items whose visibility is asked: all of a list, or the one that a request is about.
#[derive(Debug)]
#[repr(transparent)]
pub struct Items(pub(crate) raw::Items);

impl Items {
    /// The server.
    pub fn server(&self) -> String {
        self.0.server()
    }

    /// Which kind.
    pub fn kind(&self) -> Kind {
        self.0.kind().into()
    }

    /// The MCP method that asks: `tools/list`, `tools/call`, `completion/complete` …
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.length() as usize
    }

    /// True if there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names as the server gives them; URIs for resources.
    pub fn names(&self) -> Vec<String> {
        self.0.names()
    }

    /// Names as clients see them, after `catalog`.
    pub fn visible_names(&self) -> Vec<String> {
        self.0.visible_names()
    }

    /// The JSON at one pointer of every definition, in one crossing. None where there is none, or
    /// where the server does not list the item.
    pub fn pluck(&self, at: &str) -> Result<Vec<Option<String>>, AccessError> {
        Ok(self.0.pluck(at)?)
    }

    /// One whole definition, to read. None for items the server does not list.
    pub fn definition(&self, index: u32) -> Result<Option<Doc>, AccessError> {
        Ok(self.0.definition(index)?.map(Doc))
    }

    /// None if nothing authenticates here.
    pub fn principal(&self) -> Option<Principal> {
        self.0.principal().map(Principal)
    }

    /// The program that asks.
    pub fn client(&self) -> Client {
        Client(self.0.client())
    }

    /// As [`Call::header`](crate::Call::header).
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }
}

#[cfg(target_arch = "wasm32")]
impl From<crate::raw::types::Kind> for Kind {
    fn from(kind: crate::raw::types::Kind) -> Kind {
        use crate::raw::types::Kind as Raw;
        match kind {
            Raw::Tool => Kind::Tool,
            Raw::Prompt => Kind::Prompt,
            Raw::Resource => Kind::Resource,
            Raw::ResourceTemplate => Kind::ResourceTemplate,
            Raw::Task => Kind::Task,
        }
    }
}
