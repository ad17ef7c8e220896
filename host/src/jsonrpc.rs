//! JSON-RPC messages as bytes: one strict scan, spans, splicing, and edits by JSON Pointer.
//!
//! A message stays the bytes that arrived (design: "bytes, not trees"). [`Message::parse`] enforces
//! the JSON law in one pass and records where things stand; everything else reads or splices spans.

mod alike;
mod batch;
mod document;
mod duplicates;
mod fault;
mod index;
mod message;
mod meter;
mod pointer;
mod replacements;
mod reserved;
mod scan;
mod shape;
mod span;
mod splice;
mod strings;
mod walk;

pub use alike::alike;
pub use batch::{is_array, split};
pub use document::{Document, EditError, JsonKind};
pub use message::{Kind, Limits, ListItem, Message, Source, Violation};
pub use meter::Meter;
pub use pointer::{get, pointer};
pub use strings::{escape, unescape};

#[cfg(test)]
mod tests;
