//! One JSON-RPC message: its bytes, and where in them its parts stand.

use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

/// Bounds of the JSON law. Exceeding one is a [`Violation`], never a truncation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest message in bytes.
    pub bytes: usize,
    /// Deepest nesting of arrays and objects.
    pub depth: u16,
    /// Most members and items in all.
    pub members: u32,
    /// Longest number token in bytes.
    pub number_bytes: usize,
}

/// Which side a message came from: requests are held to the law to the letter, while lone
/// surrogates in what a server sends become U+FFFD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client, or a configuration.
    Client,
    /// A server.
    Server,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has `method` and `id`.
    Request,
    /// Has `method` and no `id`.
    Notification,
    /// Has `result`.
    Result,
    /// Has `error`.
    Error,
}

/// How a message breaks the JSON law.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Violation {
    /// JSON-RPC code to answer with: -32700 (not JSON) or -32600 (not an acceptable message).
    pub code: i32,
    /// What is wrong, in words.
    pub what: Cow<'static, str>,
    /// Byte offset.
    pub at: usize,
    /// The raw id, where it could be read before the violation.
    pub id: Option<Bytes>,
}

/// One item of a list result.
#[derive(Clone, Debug)]
pub struct ListItem {
    /// Where the item stands in the message.
    pub span: Range<usize>,
    /// Its identifying member (`name`, `uri`, `uriTemplate`), unescaped; empty if it has none.
    pub name: Box<str>,
}

/// One JSON-RPC message as it arrived. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
}

#[expect(unused_variables, missing_docs, reason = "skeleton")]
impl Message {
    /// Scans the bytes under the JSON law.
    pub fn parse(bytes: Bytes, limits: &Limits, source: Source) -> Result<Message, Violation> {
        todo!()
    }
    /// `{"jsonrpc":"2.0","id":<id>,"method":..,"params":<params>}`; `id` and `params` are raw JSON.
    pub fn request(id: &[u8], method: &str, params: Option<&[u8]>) -> Message {
        todo!()
    }
    pub fn notification(method: &str, params: Option<&[u8]>) -> Message {
        todo!()
    }
    pub fn response(id: &[u8], result: &[u8]) -> Message {
        todo!()
    }
    /// Without `id` the member is left out. `data` is raw JSON.
    pub fn error(id: Option<&[u8]>, code: i32, message: &str, data: Option<&[u8]>) -> Message {
        todo!()
    }
    /// A response whose `error` member is given as raw JSON.
    pub fn response_error(id: &[u8], error: &[u8]) -> Message {
        todo!()
    }
    /// An error without `id`, for what could not be attributed; `error` is raw JSON.
    pub fn bare_error(error: &[u8]) -> Message {
        todo!()
    }
    /// The same response with the array `result.<list>` made of these items (raw JSON).
    pub fn with_items(&self, list: &str, items: &[Bytes]) -> Message {
        todo!()
    }
    /// The exact bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    pub fn kind(&self) -> Kind {
        todo!()
    }
    /// The raw JSON text of the id.
    pub fn id(&self) -> Option<&[u8]> {
        todo!()
    }
    /// The method, unescaped.
    pub fn method(&self) -> Option<&str> {
        todo!()
    }
    /// Zero-copy slice of the `params` value.
    pub fn params(&self) -> Option<Bytes> {
        todo!()
    }
    pub fn result(&self) -> Option<Bytes> {
        todo!()
    }
    pub fn error_object(&self) -> Option<Bytes> {
        todo!()
    }
    /// Raw JSON of a direct member of `params`.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        todo!()
    }
    /// A direct string member of `params`, unescaped; none if absent or no string.
    pub fn param_text(&self, name: &str) -> Option<Cow<'_, str>> {
        todo!()
    }
    /// Raw JSON of a direct member of `params._meta`.
    pub fn meta(&self, key: &str) -> Option<&[u8]> {
        todo!()
    }
    /// Raw JSON of a direct member of `result`.
    pub fn result_member(&self, name: &str) -> Option<&[u8]> {
        todo!()
    }
    /// The items of the array `result.<list>`, each with its member `name_key`. None if it is absent or no array.
    pub fn items(&self, list: &str, name_key: &str) -> Option<Vec<ListItem>> {
        todo!()
    }
    /// The same message with another id (raw JSON).
    pub fn with_id(&self, id: &[u8]) -> Message {
        todo!()
    }
    /// The same message with another `params` value (raw JSON, already under the law).
    pub fn with_params(&self, params: &[u8]) -> Message {
        todo!()
    }
    /// Replaces or adds a direct member of `params`; `params` is created where absent.
    pub fn with_param(&self, name: &str, value: &[u8]) -> Message {
        todo!()
    }
    /// Replaces, adds or (none) removes a direct member of `params._meta`.
    pub fn with_meta(&self, key: &str, value: Option<&[u8]>) -> Message {
        todo!()
    }
    /// The same response with another `result` value.
    pub fn with_result(&self, result: &[u8]) -> Message {
        todo!()
    }
    /// The same response with another `error` value.
    pub fn with_error(&self, error: &[u8]) -> Message {
        todo!()
    }
    /// Replaces or (none) removes a direct member of `result`.
    pub fn with_result_member(&self, name: &str, value: Option<&[u8]>) -> Message {
        todo!()
    }
    /// The message on one line: white space between tokens that holds a line break is dropped, so
    /// that it is one frame on stdio and one `data:` line on SSE. Same bytes (no copy) if there is none.
    pub fn frame(&self) -> Bytes {
        todo!()
    }
}
