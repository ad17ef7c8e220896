//! The resources `definitions` and `items`: what a server offers, and who may see it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::context::{
    Client, Definitions, Doc, HostDefinitions, HostItems, Items, Principal,
};
use super::super::bindings::lockgate::plugin::types::{AccessError, Kind};
use super::super::store::State;
use super::context::text;
use super::documents::{Access, Key};
use super::reserved::Reserved;
use super::subject::{Subject, absent};
use crate::filter::{DefinitionsView, ItemsView};
use crate::jsonrpc::Document;

/// Longest visible name.
const NAME_BYTES: usize = 1_024;

impl State {
    fn definitions_at(&mut self, handle: &Resource<Definitions>) -> wasmtime::Result<Arc<DefinitionsView>> {
        self.touch(handle.rep())?;
        match &self.subject {
            Subject::Definitions { view, .. } => Ok(view.clone()),
            _ => Err(absent()),
        }
    }

    fn items_at(&mut self, handle: &Resource<Items>) -> wasmtime::Result<Arc<ItemsView>> {
        self.touch(handle.rep())?;
        match &self.subject {
            Subject::Items(view) => Ok(view.clone()),
            _ => Err(absent()),
        }
    }

    fn names<'n>(
        &mut self,
        names: impl Iterator<Item = &'n Arc<str>> + Clone,
    ) -> wasmtime::Result<Vec<String>> {
        self.pulled(names.clone().map(|name| name.len()).sum())?;
        Ok(names.map(|name| name.to_string()).collect())
    }
}

fn no_item<T>(index: u32, length: usize) -> wasmtime::Result<Result<T, AccessError>> {
    Ok(Err(AccessError::InvalidPointer(format!("there is no item {index}: there are {length}"))))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl HostDefinitions for State {
    fn server(&mut self, handle: Resource<Definitions>) -> wasmtime::Result<String> {
        let view = self.definitions_at(&handle)?;
        self.pull(&*view.server)
    }

    fn kind(&mut self, handle: Resource<Definitions>) -> wasmtime::Result<Kind> {
        Ok(self.definitions_at(&handle)?.kind.into())
    }

    fn length(&mut self, handle: Resource<Definitions>) -> wasmtime::Result<u32> {
        Ok(count(self.definitions_at(&handle)?.items.len()))
    }

    fn names(&mut self, handle: Resource<Definitions>) -> wasmtime::Result<Vec<String>> {
        let view = self.definitions_at(&handle)?;
        self.names(view.items.iter().map(|(name, _)| name))
    }

    fn definition(
        &mut self,
        handle: Resource<Definitions>,
        index: u32,
    ) -> wasmtime::Result<Result<Resource<Doc>, AccessError>> {
        let view = self.definitions_at(&handle)?;
        let Some((_, bytes)) = view.items.get(index as usize) else {
            return no_item(index, view.items.len());
        };
        self.open(Key::Definition(index), bytes, Access::Editable(Reserved::Definition)).map(Ok)
    }

    fn rename(
        &mut self,
        handle: Resource<Definitions>,
        index: u32,
        name: String,
    ) -> wasmtime::Result<Result<(), AccessError>> {
        let view = self.definitions_at(&handle)?;
        self.output(name.len())?;
        let Some((own, _)) = view.items.get(index as usize) else { return no_item(index, view.items.len()) };
        if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
            return Ok(Err(AccessError::Denied(format!(
                "a name is 1 to {NAME_BYTES} bytes without control characters"
            ))));
        }
        if let Subject::Definitions { renamed, .. } = &mut self.subject {
            // Back to its own name is no renaming.
            if *name == **own {
                renamed.remove(&(index as usize));
            } else {
                renamed.insert(index as usize, name);
            }
        }
        Ok(Ok(()))
    }

    fn reorder(
        &mut self,
        handle: Resource<Definitions>,
        new: Vec<u32>,
    ) -> wasmtime::Result<Result<(), AccessError>> {
        let view = self.definitions_at(&handle)?;
        self.output(new.len().saturating_mul(4))?;
        let distinct: BTreeSet<u32> = new.iter().copied().collect();
        let length = view.items.len();
        if new.len() != length
            || distinct.len() != length
            || distinct.last().is_some_and(|last| *last as usize >= length)
        {
            return Ok(Err(AccessError::Denied(format!(
                "an order is each index from 0 to {length}, less one, once; got {} of them, {} distinct",
                new.len(),
                distinct.len()
            ))));
        }
        if let Subject::Definitions { order, .. } = &mut self.subject {
            *order = Some(new.into_iter().map(|index| index as usize).collect());
        }
        Ok(Ok(()))
    }

    fn drop(&mut self, _: Resource<Definitions>) -> wasmtime::Result<()> {
        self.tick()
    }
}

impl HostItems for State {
    fn server(&mut self, handle: Resource<Items>) -> wasmtime::Result<String> {
        let view = self.items_at(&handle)?;
        self.pull(&*view.server)
    }

    fn kind(&mut self, handle: Resource<Items>) -> wasmtime::Result<Kind> {
        Ok(self.items_at(&handle)?.kind.into())
    }

    fn method(&mut self, handle: Resource<Items>) -> wasmtime::Result<String> {
        let view = self.items_at(&handle)?;
        self.pull(&*view.method)
    }

    fn length(&mut self, handle: Resource<Items>) -> wasmtime::Result<u32> {
        Ok(count(self.items_at(&handle)?.items.len()))
    }

    fn names(&mut self, handle: Resource<Items>) -> wasmtime::Result<Vec<String>> {
        let view = self.items_at(&handle)?;
        self.names(view.items.iter().map(|item| &item.name))
    }

    fn visible_names(&mut self, handle: Resource<Items>) -> wasmtime::Result<Vec<String>> {
        let view = self.items_at(&handle)?;
        self.names(view.items.iter().map(|item| &item.visible_name))
    }

    fn pluck(
        &mut self,
        handle: Resource<Items>,
        at: String,
    ) -> wasmtime::Result<Result<Vec<Option<String>>, AccessError>> {
        let view = self.items_at(&handle)?;
        let found = self.metered(|state| {
            let pluck = |definition: &Bytes| {
                let document = Document::new(definition.clone(), state.identity.json_limits);
                document.metered(state.meter.clone()).get(&at)
            };
            let plucked = view.items.iter().map(|item| item.definition.as_ref().map(pluck));
            Ok(plucked.map(|found| found.transpose().map(Option::flatten)).collect())
        })?;
        let found: Vec<Option<Bytes>> = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = self.admit(found.iter().flatten().map(Bytes::len).sum()) {
            return Ok(Err(error));
        }
        Ok(Ok(found.into_iter().map(|json| json.as_ref().map(text)).collect()))
    }

    fn definition(
        &mut self,
        handle: Resource<Items>,
        index: u32,
    ) -> wasmtime::Result<Result<Option<Resource<Doc>>, AccessError>> {
        let view = self.items_at(&handle)?;
        let Some(item) = view.items.get(index as usize) else { return no_item(index, view.items.len()) };
        let Some(bytes) = &item.definition else { return Ok(Ok(None)) };
        let lent = Access::Lent("definitions can be edited in `catalog` only");
        self.open(Key::Definition(index), bytes, lent).map(|document| Ok(Some(document)))
    }

    fn principal(&mut self, handle: Resource<Items>) -> wasmtime::Result<Option<Resource<Principal>>> {
        self.items_at(&handle)?;
        Ok(self.principal_of_caller().map(Resource::new_own))
    }

    fn client(&mut self, handle: Resource<Items>) -> wasmtime::Result<Resource<Client>> {
        self.items_at(&handle)?;
        Ok(Resource::new_own(self.rep(0)))
    }

    fn header(&mut self, handle: Resource<Items>, name: String) -> wasmtime::Result<Option<String>> {
        let view = self.items_at(&handle)?;
        self.header(&view.caller.headers, &name)
    }

    fn drop(&mut self, _: Resource<Items>) -> wasmtime::Result<()> {
        self.tick()
    }
}
