//! The interface `documents`: the JSON documents of a call, read and edited in place.

use std::collections::BTreeMap;

use bytes::Bytes;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::documents::{Doc, Host, HostDoc, HostValue, JsonKind, Value};
use super::super::bindings::lockgate::plugin::types::AccessError;
use super::super::fault::fault;
use super::super::store::State;
use super::reserved::Reserved;
use crate::filter::FailureKind;
use crate::jsonrpc::{self, Document, EditError};

/// The documents and values that one hook has open.
pub(in super::super) struct Documents {
    limits: jsonrpc::Limits,
    slots: Vec<Slot>,
    by_key: BTreeMap<Key, u16>,
    values: Vec<Option<Bytes>>,
    free: Vec<u16>,
}

/// Which document of the subject it is. Two handles on the same one see each other's edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Key {
    Params,
    Outcome,
    Message,
    Definition(u32),
    /// The `params` of a notification or question.
    Told,
    /// What a question was answered with.
    Answer,
}

/// Whether a document may be edited.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Access {
    /// But for these members.
    Editable(Reserved),
    /// Only lent; says why.
    Lent(&'static str),
}

struct Slot {
    document: Document,
    access: Access,
}

impl Documents {
    pub(in super::super) fn new(limits: jsonrpc::Limits) -> Documents {
        Documents { limits, slots: Vec::new(), by_key: BTreeMap::new(), values: Vec::new(), free: Vec::new() }
    }

    pub(in super::super) fn clear(&mut self) {
        self.slots.clear();
        self.by_key.clear();
        self.values.clear();
        self.free.clear();
    }

    /// Opens a document, or finds it open.
    pub(super) fn open(&mut self, key: Key, bytes: &Bytes, access: Access) -> wasmtime::Result<u16> {
        if let Some(index) = self.by_key.get(&key) {
            return Ok(*index);
        }
        let index = u16::try_from(self.slots.len()).map_err(|_| too_many())?;
        self.slots.push(Slot { document: Document::new(bytes.clone(), self.limits), access });
        self.by_key.insert(key, index);
        Ok(index)
    }

    /// The new text of a document, if it was edited.
    pub(in super::super) fn edited(&mut self, key: Key) -> Option<&mut Document> {
        let index = *self.by_key.get(&key)?;
        let slot = self.slots.get_mut(usize::from(index))?;
        slot.document.edited().then_some(&mut slot.document)
    }

    /// Every definition that was edited, with its index.
    pub(in super::super) fn edited_definitions(&self) -> BTreeMap<usize, Bytes> {
        let edited = |(key, slot): (&Key, &u16)| match key {
            Key::Definition(index) => {
                let document = &self.slots.get(usize::from(*slot))?.document;
                document.edited().then(|| (*index as usize, document.bytes().clone()))
            }
            _ => None,
        };
        self.by_key.iter().filter_map(edited).collect()
    }

    fn keep(&mut self, value: Bytes) -> wasmtime::Result<u16> {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.values.get_mut(usize::from(index))
        {
            *slot = Some(value);
            return Ok(index);
        }
        let index = u16::try_from(self.values.len()).map_err(|_| too_many())?;
        self.values.push(Some(value));
        Ok(index)
    }
}

fn too_many() -> wasmtime::Error {
    fault(FailureKind::Limit, "it holds too many documents open")
}

fn gone() -> wasmtime::Error {
    fault(FailureKind::BadOutput, "it used a handle that names nothing")
}

type Answer<T> = wasmtime::Result<Result<T, AccessError>>;

impl State {
    /// Opens a document of the subject and hands out a handle on it.
    pub(super) fn open(
        &mut self,
        key: Key,
        bytes: &Bytes,
        access: Access,
    ) -> wasmtime::Result<Resource<Doc>> {
        let index = self.documents.open(key, bytes, access)?;
        Ok(Resource::new_own(self.rep(index)))
    }

    fn slot(&mut self, handle: &Resource<Doc>) -> wasmtime::Result<&mut Slot> {
        let index = self.index(handle.rep())?;
        self.documents.slots.get_mut(usize::from(index)).ok_or_else(gone)
    }

    fn value(&self, handle: &Resource<Value>) -> wasmtime::Result<Bytes> {
        let index = self.index(handle.rep())?;
        self.documents.values.get(usize::from(index)).cloned().flatten().ok_or_else(gone)
    }

    /// Whether so many bytes may go into the guest as one answer; counts them if so.
    pub(super) fn admit(&mut self, bytes: usize) -> Result<(), AccessError> {
        if bytes as u64 > self.identity.limits.pull_bytes {
            return Err(AccessError::TooLarge(bytes as u64));
        }
        self.budget.count_pulled(bytes);
        Ok(())
    }

    /// Raw JSON on its way into the guest.
    pub(super) fn admit_json(&mut self, json: &[u8]) -> Result<String, AccessError> {
        self.admit(json.len())?;
        // Whatever passed the JSON law is UTF-8.
        Ok(String::from_utf8_lossy(json).into_owned())
    }

    fn edit(
        &mut self,
        handle: &Resource<Doc>,
        at: &str,
        bytes: usize,
        edit: impl FnOnce(&mut Document) -> Result<(), EditError>,
    ) -> Answer<()> {
        self.tick()?;
        self.output(at.len().saturating_add(bytes))?;
        let slot = self.slot(handle)?;
        let reserved = match slot.access {
            Access::Lent(why) => return Ok(Err(AccessError::ReadOnly(why.into()))),
            Access::Editable(reserved) => reserved,
        };
        if let Some(why) = reserved.refuses(at) {
            return Ok(Err(AccessError::ReadOnly(why)));
        }
        if !reserved.is_wide(at) {
            return Ok(edit(&mut slot.document).map_err(AccessError::from));
        }
        let mut trial = slot.document.clone();
        if let Err(error) = edit(&mut trial) {
            return Ok(Err(error.into()));
        }
        if let Some(why) = reserved.changed(&mut slot.document, &mut trial) {
            return Ok(Err(AccessError::ReadOnly(why)));
        }
        slot.document = trial;
        Ok(Ok(()))
    }
}

impl Host for State {}

impl HostValue for State {
    fn size(&mut self, handle: Resource<Value>) -> wasmtime::Result<u64> {
        self.tick()?;
        Ok(self.value(&handle)?.len() as u64)
    }

    fn read(&mut self, handle: Resource<Value>) -> Answer<String> {
        self.tick()?;
        let value = self.value(&handle)?;
        Ok(self.admit_json(&value))
    }

    fn drop(&mut self, handle: Resource<Value>) -> wasmtime::Result<()> {
        self.tick()?;
        // A handle of an earlier hook of a warm instance: what it named is long gone.
        let Ok(index) = self.index(handle.rep()) else { return Ok(()) };
        if let Some(slot) = self.documents.values.get_mut(usize::from(index))
            && slot.take().is_some()
        {
            self.documents.free.push(index);
        }
        Ok(())
    }
}

impl HostDoc for State {
    fn size(&mut self, handle: Resource<Doc>) -> wasmtime::Result<u64> {
        self.tick()?;
        Ok(self.slot(&handle)?.document.bytes().len() as u64)
    }

    fn kind(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<JsonKind>> {
        self.tick()?;
        Ok(match self.slot(&handle)?.document.kind(&at) {
            Ok(kind) => Ok(kind.map(JsonKind::from)),
            Err(error) => Err(error.into()),
        })
    }

    fn get(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<String>> {
        self.tick()?;
        Ok(match self.slot(&handle)?.document.get(&at) {
            Ok(Some(json)) => self.admit_json(&json).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn get_all(&mut self, handle: Resource<Doc>, at: Vec<String>) -> Answer<Vec<Option<String>>> {
        self.tick()?;
        let mut found = Vec::new();
        let mut bytes = 0;
        for at in &at {
            self.tick()?;
            match self.slot(&handle)?.document.get(at) {
                Ok(json) => {
                    bytes += json.as_ref().map_or(0, Bytes::len);
                    found.push(json);
                }
                Err(error) => return Ok(Err(error.into())),
            }
        }
        if let Err(error) = self.admit(bytes) {
            return Ok(Err(error));
        }
        let text = |json: Bytes| String::from_utf8_lossy(&json).into_owned();
        Ok(Ok(found.into_iter().map(|json| json.map(text)).collect()))
    }

    fn text(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<String>> {
        self.tick()?;
        Ok(match self.slot(&handle)?.document.text(&at) {
            Ok(Some(text)) => self.admit(text.len()).map(|()| Some(text)),
            Ok(None) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn keys(&mut self, handle: Resource<Doc>, at: String) -> Answer<Vec<String>> {
        self.tick()?;
        Ok(match self.slot(&handle)?.document.keys(&at) {
            Ok(keys) => self.admit(keys.iter().map(String::len).sum()).map(|()| keys),
            Err(error) => Err(error.into()),
        })
    }

    fn length(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<u32>> {
        self.tick()?;
        Ok(self.slot(&handle)?.document.length(&at).map_err(AccessError::from))
    }

    fn strings(&mut self, handle: Resource<Doc>, at: String) -> Answer<Vec<(String, String)>> {
        self.tick()?;
        Ok(match self.slot(&handle)?.document.strings(&at) {
            Ok(found) => {
                self.admit(found.iter().map(|(at, text)| at.len() + text.len()).sum()).map(|()| found)
            }
            Err(error) => Err(error.into()),
        })
    }

    fn set(&mut self, handle: Resource<Doc>, at: String, value: String) -> Answer<()> {
        self.edit(&handle, &at, value.len(), |document| document.set(&at, value.as_bytes()))
    }

    fn set_text(&mut self, handle: Resource<Doc>, at: String, value: String) -> Answer<()> {
        self.edit(&handle, &at, value.len(), |document| document.set_text(&at, &value))
    }

    fn remove(&mut self, handle: Resource<Doc>, at: String) -> Answer<()> {
        self.edit(&handle, &at, 0, |document| document.remove(&at))
    }

    fn replace_strings(&mut self, handle: Resource<Doc>, edits: Vec<(String, String)>) -> Answer<()> {
        self.tick()?;
        for (at, text) in &edits {
            self.tick()?;
            self.output(at.len().saturating_add(text.len()))?;
        }
        let slot = self.slot(&handle)?;
        match slot.access {
            Access::Lent(why) => return Ok(Err(AccessError::ReadOnly(why.into()))),
            Access::Editable(reserved) => {
                if let Some(why) = edits.iter().find_map(|(at, _)| reserved.refuses(at)) {
                    return Ok(Err(AccessError::ReadOnly(why)));
                }
            }
        }
        Ok(slot.document.replace_strings(&edits).map_err(AccessError::from))
    }

    fn take(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<Resource<Value>>> {
        self.tick()?;
        Ok(match self.slot(&handle)?.document.get(&at) {
            Ok(Some(json)) => {
                let index = self.documents.keep(json)?;
                Ok(Some(Resource::new_own(self.rep(index))))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn put(&mut self, handle: Resource<Doc>, at: String, value: Resource<Value>) -> Answer<()> {
        let value = self.value(&value)?;
        // The bytes are the host's own already, but splicing them in makes the message longer.
        self.edit(&handle, &at, value.len(), |document| document.set(&at, &value))
    }

    fn drop(&mut self, _: Resource<Doc>) -> wasmtime::Result<()> {
        // The document stays open: its edits count until the hook returns.
        self.tick()
    }
}

impl From<jsonrpc::JsonKind> for JsonKind {
    fn from(kind: jsonrpc::JsonKind) -> JsonKind {
        match kind {
            jsonrpc::JsonKind::Null => JsonKind::Null,
            jsonrpc::JsonKind::Boolean => JsonKind::Boolean,
            jsonrpc::JsonKind::Number => JsonKind::Number,
            jsonrpc::JsonKind::Text => JsonKind::Text,
            jsonrpc::JsonKind::Array => JsonKind::Array,
            jsonrpc::JsonKind::Object => JsonKind::Object,
        }
    }
}
