//! Definitions and items in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::documents::{Access, Doc};
use super::{Client, Headers, Principal, visible};
use crate::{AccessError, Kind};

#[derive(Clone, Debug)]
pub(crate) struct Definitions {
    pub(crate) server: String,
    pub(crate) kind: Kind,
    pub(crate) items: Vec<(String, Doc)>,
    pub(crate) renamed: RefCell<BTreeMap<u32, String>>,
    pub(crate) order: RefCell<Vec<u32>>,
}

impl Definitions {
    pub(crate) fn server(&self) -> String {
        self.server.clone()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn length(&self) -> u32 {
        u32::try_from(self.items.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.items.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn definition(&self, index: u32) -> Result<Doc, AccessError> {
        self.item(index).map(|(_, doc)| doc.clone())
    }

    pub(crate) fn rename(&self, index: u32, name: &str) -> Result<(), AccessError> {
        self.item(index)?;
        let taken = (0..self.length()).any(|other| other != index && self.visible_name(other) == name);
        if taken || name.is_empty() {
            return Err(AccessError::Denied(format!("the name `{name}` is taken or empty")));
        }
        self.renamed.borrow_mut().insert(index, name.to_owned());
        Ok(())
    }

    pub(crate) fn reorder(&self, order: &[u32]) -> Result<(), AccessError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.length()) {
            return Err(AccessError::Denied("not a permutation of all indices".to_owned()));
        }
        self.order.replace(order.to_vec());
        Ok(())
    }

    pub(crate) fn visible_names(&self) -> Vec<String> {
        let order = self.order.borrow();
        let unordered: Vec<u32> = (0..self.length()).collect();
        let order = if order.is_empty() { &unordered } else { &*order };
        order.iter().map(|index| self.visible_name(*index)).collect()
    }

    fn visible_name(&self, index: u32) -> String {
        let renamed = self.renamed.borrow().get(&index).cloned();
        renamed.unwrap_or_else(|| self.item(index).map(|(name, _)| name.clone()).unwrap_or_default())
    }

    fn item(&self, index: u32) -> Result<&(String, Doc), AccessError> {
        let missing = || AccessError::InvalidPointer(format!("there is no definition {index}"));
        self.items.get(index as usize).ok_or_else(missing)
    }
}

#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) server: String,
    pub(crate) kind: Kind,
    pub(crate) method: String,
    /// Name, visible name and definition.
    pub(crate) items: Vec<(String, String, Option<Json>)>,
    pub(crate) principal: Option<Principal>,
    pub(crate) headers: Headers,
    /// How often the hook asked the host, whatever for.
    pub(crate) crossings: Cell<u32>,
}

impl Items {
    pub(crate) fn server(&self) -> String {
        self.cross();
        self.server.clone()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.cross();
        self.kind
    }

    pub(crate) fn method(&self) -> String {
        self.cross();
        self.method.clone()
    }

    pub(crate) fn length(&self) -> u32 {
        self.cross();
        u32::try_from(self.items.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.cross();
        self.items.iter().map(|(name, ..)| name.clone()).collect()
    }

    pub(crate) fn visible_names(&self) -> Vec<String> {
        self.cross();
        self.items.iter().map(|(_, name, _)| name.clone()).collect()
    }

    pub(crate) fn pluck(&self, at: &str) -> Result<Vec<Option<String>>, AccessError> {
        self.cross();
        Ok(self.items.iter().map(|(.., json)| json.as_ref()?.pointer(at).map(Json::to_string)).collect())
    }

    pub(crate) fn definition(&self, index: u32) -> Result<Option<Doc>, AccessError> {
        self.cross();
        let missing = || AccessError::InvalidPointer(format!("there is no item {index}"));
        let (.., json) = self.items.get(index as usize).ok_or_else(missing)?;
        Ok(json.clone().map(|json| Doc::of(json, Access::ReadOnly)))
    }

    pub(crate) fn principal(&self) -> Option<Principal> {
        self.cross();
        self.principal.clone()
    }

    pub(crate) fn client(&self) -> Client {
        self.cross();
        Client::default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.cross();
        visible(&self.headers, name)
    }

    fn cross(&self) {
        self.crossings.set(self.crossings.get() + 1);
    }
}
