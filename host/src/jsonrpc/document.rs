//! One JSON document read and edited by JSON Pointer (RFC 6901), over spliced bytes.

use bytes::Bytes;

use super::message::Limits;

/// What kind of value stands somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum JsonKind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

/// Why a read or an edit was refused; the document is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Not RFC 6901, or the parent does not exist.
    #[error("invalid pointer: {0}")]
    InvalidPointer(String),
    /// Not one JSON value under the law.
    #[error("invalid JSON: {0}")]
    InvalidJson(String),
    /// The value is of another kind than the operation needs.
    #[error("{0}")]
    WrongKind(String),
    /// A limit of the law is exceeded by the edit.
    #[error("{0}")]
    Limit(String),
}

/// One JSON value that already passed the law, with the edits made so far.
#[derive(Clone, Debug)]
pub struct Document {
    bytes: Bytes,
}

#[expect(unused_variables, missing_docs, reason = "skeleton")]
impl Document {
    /// `bytes` must be one JSON value that passed [`super::Message::parse`] (or a part of it).
    pub fn new(bytes: Bytes, limits: Limits) -> Document {
        todo!()
    }
    /// Scans a JSON value from elsewhere under the law first.
    pub fn parse(bytes: Bytes, limits: Limits) -> Result<Document, EditError> {
        todo!()
    }
    pub fn edited(&self) -> bool {
        todo!()
    }
    /// The document as it stands now.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    pub fn kind(&mut self, at: &str) -> Result<Option<JsonKind>, EditError> {
        todo!()
    }
    /// Zero-copy raw JSON of the value.
    pub fn get(&mut self, at: &str) -> Result<Option<Bytes>, EditError> {
        todo!()
    }
    pub fn text(&mut self, at: &str) -> Result<Option<String>, EditError> {
        todo!()
    }
    pub fn keys(&mut self, at: &str) -> Result<Vec<String>, EditError> {
        todo!()
    }
    pub fn length(&mut self, at: &str) -> Result<Option<u32>, EditError> {
        todo!()
    }
    pub fn strings(&mut self, at: &str) -> Result<Vec<(String, String)>, EditError> {
        todo!()
    }
    pub fn set(&mut self, at: &str, json: &[u8]) -> Result<(), EditError> {
        todo!()
    }
    pub fn set_text(&mut self, at: &str, text: &str) -> Result<(), EditError> {
        todo!()
    }
    pub fn remove(&mut self, at: &str) -> Result<(), EditError> {
        todo!()
    }
    /// All or nothing, in one pass over the document.
    pub fn replace_strings(&mut self, edits: &[(String, String)]) -> Result<(), EditError> {
        todo!()
    }
}
