//! The interface `documents`: the JSON documents of a call, read and edited in place.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::documents::{Doc, Host, HostDoc, HostValue, JsonKind, Value};
use super::super::bindings::lockgate::plugin::types::AccessError;
use super::super::fault::fault;
use super::super::store::State;
use super::pins::{Pin, Pins};
use super::reserved::Reserved;
use crate::filter::FailureKind;
use crate::jsonrpc::{self, Document, EditError, Meter};

/// The documents and values that one hook has open.
pub(in super::super) struct Documents {
    limits: jsonrpc::Limits,
    slots: Vec<Slot>,
    by_key: BTreeMap<Key, u16>,
    values: Vec<Option<Kept>>,
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
    /// The text as it stands, once it is the filter's own. The message itself is not its doing.
    text: Option<Arc<Pin>>,
    index: Option<Pin>,
}

/// A value that the filter took: it keeps the whole text that it was cut out of.
struct Kept {
    json: Bytes,
    _text: Option<Arc<Pin>>,
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
    pub(super) fn open(
        &mut self,
        key: Key,
        bytes: &Bytes,
        access: Access,
        meter: &Meter,
    ) -> wasmtime::Result<u16> {
        if let Some(index) = self.by_key.get(&key) {
            return Ok(*index);
        }
        let index = u16::try_from(self.slots.len()).map_err(|_| too_many())?;
        let document = Document::new(bytes.clone(), self.limits).metered(meter.clone());
        self.slots.push(Slot { document, access, text: None, index: None });
        self.by_key.insert(key, index);
        Ok(index)
    }

    /// The new text of a document, if it was edited.
    pub(in super::super) fn edited(&mut self, key: Key) -> Option<&mut Document> {
        let index = *self.by_key.get(&key)?;
        let slot = self.slots.get_mut(usize::from(index))?;
        // The hook is over and so is its time: what is looked up from now on is the host's own business.
        slot.document = slot.document.clone().metered(Meter::default());
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

    fn keep(&mut self, value: Kept) -> wasmtime::Result<u16> {
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

impl Slot {
    /// Counts what the document takes after something was done with it.
    fn settle(&mut self, pins: &Pins, before: *const u8) {
        if self.document.bytes().as_ptr() != before && self.document.edited() {
            self.text = Some(Arc::new(pins.pin(self.document.bytes().len())));
        }
        let index = self.document.index_bytes();
        if self.index.as_ref().map_or(0, Pin::bytes) != index {
            self.index = (index > 0).then(|| pins.pin(index));
        }
    }
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
        let index = self.documents.open(key, bytes, access, &self.meter)?;
        Ok(Resource::new_own(self.rep(index)))
    }

    fn slot(&mut self, handle: &Resource<Doc>) -> wasmtime::Result<&mut Slot> {
        let index = self.index(handle.rep())?;
        self.documents.slots.get_mut(usize::from(index)).ok_or_else(gone)
    }

    fn value(&self, handle: &Resource<Value>) -> wasmtime::Result<Bytes> {
        let index = self.index(handle.rep())?;
        let kept = self.documents.values.get(usize::from(index)).and_then(Option::as_ref);
        kept.map(|kept| kept.json.clone()).ok_or_else(gone)
    }

    /// Whether so many bytes may go into the guest as one answer; counts them if so.
    pub(super) fn admit(&mut self, bytes: usize) -> Result<(), AccessError> {
        if bytes as u64 > self.identity.limits.pull_bytes {
            self.too_large = true;
            return Err(AccessError::TooLarge(bytes as u64));
        }
        self.budget.count_pulled(bytes);
        Ok(())
    }

    /// What was found, counted as pulled. That there is room for it was seen to while it was looked for.
    fn admitted<T>(
        &mut self,
        found: Result<T, AccessError>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T, AccessError> {
        if let Ok(found) = &found {
            self.budget.count_pulled(bytes(found));
        }
        found
    }

    /// Raw JSON on its way into the guest.
    pub(super) fn admit_json(&mut self, json: &[u8]) -> Result<String, AccessError> {
        self.admit(json.len())?;
        // Whatever passed the JSON law is UTF-8.
        Ok(String::from_utf8_lossy(json).into_owned())
    }

    /// Reads from a document.
    fn look<T>(
        &mut self,
        handle: &Resource<Doc>,
        look: impl FnOnce(&mut Document) -> Result<T, EditError>,
    ) -> Answer<T> {
        self.tick()?;
        let pins = self.memory.pins.clone();
        self.metered(|state| {
            let slot = state.slot(handle)?;
            let before = slot.document.bytes().as_ptr();
            let found = look(&mut slot.document);
            slot.settle(&pins, before);
            Ok(found)
        })
    }

    /// Refuses an edit that would keep more than the filter may have. An edit makes a new text, and the one
    /// before it is still there while it does.
    fn has_room_for_edit(&mut self, handle: &Resource<Doc>, bytes: usize) -> wasmtime::Result<()> {
        let text = self.slot(handle)?.document.bytes().len().saturating_add(bytes);
        if self.memory.has_room_for(text) {
            return Ok(());
        }
        let mib = self.identity.limits.memory_mib;
        Err(fault(
            FailureKind::Memory,
            format!(
                "its edits, and what it took of documents, need more memory (`limits.memory_mib: {mib}`)"
            ),
        ))
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
        self.has_room_for_edit(handle, bytes)?;
        let pins = self.memory.pins.clone();
        let mut why = None;
        let edited = self.metered(|state| {
            let slot = state.slot(handle)?;
            let before = slot.document.bytes().as_ptr();
            let mut trial = slot.document.clone();
            let result = edit(&mut trial);
            if result.is_ok() && reserved.is_wide(at) {
                why = reserved.changed(&mut slot.document, &mut trial);
            }
            if result.is_ok() && why.is_none() {
                slot.document = trial;
            }
            slot.settle(&pins, before);
            Ok(result)
        })?;
        Ok(match (edited, why) {
            (Ok(()), Some(why)) => Err(AccessError::ReadOnly(why)),
            (edited, _) => edited,
        })
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
        Ok(self.look(&handle, |document| document.kind(&at))?.map(|kind| kind.map(JsonKind::from)))
    }

    fn get(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<String>> {
        match self.look(&handle, |document| document.get(&at))? {
            Ok(json) => Ok(json.map(|json| self.admit_json(&json)).transpose()),
            Err(error) => Ok(Err(error)),
        }
    }

    fn get_all(&mut self, handle: Resource<Doc>, at: Vec<String>) -> Answer<Vec<Option<String>>> {
        for _ in &at {
            self.tick()?;
        }
        let found = self.look(&handle, |document| at.iter().map(|at| document.get(at)).collect())?;
        let found: Vec<Option<Bytes>> = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = self.admit(found.iter().flatten().map(Bytes::len).sum()) {
            return Ok(Err(error));
        }
        let text = |json: Bytes| String::from_utf8_lossy(&json).into_owned();
        Ok(Ok(found.into_iter().map(|json| json.map(text)).collect()))
    }

    fn text(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<String>> {
        let text = self.look(&handle, |document| document.text(&at))?;
        Ok(self.admitted(text, |text| text.as_ref().map_or(0, String::len)))
    }

    fn keys(&mut self, handle: Resource<Doc>, at: String) -> Answer<Vec<String>> {
        let keys = self.look(&handle, |document| document.keys(&at))?;
        Ok(self.admitted(keys, |keys| keys.iter().map(String::len).sum()))
    }

    fn length(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<u32>> {
        self.look(&handle, |document| document.length(&at))
    }

    fn strings(&mut self, handle: Resource<Doc>, at: String) -> Answer<Vec<(String, String)>> {
        let found = self.look(&handle, |document| document.strings(&at))?;
        Ok(self.admitted(found, |found| found.iter().map(|(at, text)| at.len() + text.len()).sum()))
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
        match self.slot(&handle)?.access {
            Access::Lent(why) => return Ok(Err(AccessError::ReadOnly(why.into()))),
            Access::Editable(reserved) => {
                if let Some(why) = edits.iter().find_map(|(at, _)| reserved.refuses(at)) {
                    return Ok(Err(AccessError::ReadOnly(why)));
                }
            }
        }
        self.has_room_for_edit(&handle, edits.iter().map(|(_, text)| text.len()).sum())?;
        self.look(&handle, |document| document.replace_strings(&edits))
    }

    fn take(&mut self, handle: Resource<Doc>, at: String) -> Answer<Option<Resource<Value>>> {
        let json = match self.look(&handle, |document| document.get(&at))? {
            Ok(Some(json)) => json,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let text = self.slot(&handle)?.text.clone();
        let index = self.documents.keep(Kept { json, _text: text })?;
        Ok(Ok(Some(Resource::new_own(self.rep(index)))))
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
