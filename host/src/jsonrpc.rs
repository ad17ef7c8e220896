//! JSON-RPC messages as bytes: one strict scan, spans, splicing, and edits by JSON Pointer.
//!
//! A message stays the bytes that arrived (design: "bytes, not trees"). [`Message::parse`] enforces
//! the JSON law in one pass and records where things stand; everything else reads or splices spans.

mod document;
mod message;

pub use document::{Document, EditError, JsonKind};
pub use message::{Kind, Limits, ListItem, Message, Source, Violation};
