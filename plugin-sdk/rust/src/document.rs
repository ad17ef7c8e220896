//! JSON documents of a call, read and edited in the host by JSON Pointer (RFC 6901).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::AccessError;
use crate::raw::documents as raw;

/// What stands at a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of JSON")]
pub enum JsonKind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

/// One JSON document of a call.
///
/// Edits go to an overlay that only this hook sees until it returns; each edit sees the ones before.
/// If the hook fails, none of them happened. `""` points at the whole document.
#[derive(Debug)]
#[repr(transparent)]
pub struct Doc(pub(crate) raw::Doc);

impl Doc {
    /// Length of the document in bytes as it stands now.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// What kind of value stands at the pointer; none if nothing does.
    pub fn kind(&self, at: &str) -> Result<Option<JsonKind>, AccessError> {
        Ok(self.0.kind(at)?.map(JsonKind::from))
    }

    /// The JSON text at the pointer, byte for byte; none if nothing stands there.
    pub fn get(&self, at: &str) -> Result<Option<String>, AccessError> {
        Ok(self.0.get(at)?)
    }

    /// Several reads in one crossing, in the order asked.
    pub fn get_all(&self, at: &[String]) -> Result<Vec<Option<String>>, AccessError> {
        Ok(self.0.get_all(at)?)
    }

    /// The value at the pointer, parsed; none if nothing stands there.
    pub fn read<T: DeserializeOwned>(&self, at: &str) -> Result<Option<T>, AccessError> {
        let Some(json) = self.get(at)? else { return Ok(None) };
        serde_json::from_str(&json)
            .map(Some)
            .map_err(|error| AccessError::WrongKind(format!("{at}: {error}")))
    }

    /// The string at the pointer, unescaped; none if nothing stands there, [`AccessError::WrongKind`]
    /// if it is not a string.
    pub fn text(&self, at: &str) -> Result<Option<String>, AccessError> {
        Ok(self.0.text(at)?)
    }

    /// The member names of the object at the pointer, in their order; empty if nothing stands there.
    pub fn keys(&self, at: &str) -> Result<Vec<String>, AccessError> {
        Ok(self.0.keys(at)?)
    }

    /// The number of members or items at the pointer; none if nothing stands there.
    pub fn length(&self, at: &str) -> Result<Option<u32>, AccessError> {
        Ok(self.0.length(at)?)
    }

    /// Every string value at or below the pointer with its own pointer, in document order. Member
    /// names are not values and are not listed.
    pub fn strings(&self, at: &str) -> Result<Vec<(String, String)>, AccessError> {
        Ok(self.0.strings(at)?)
    }

    /// Puts JSON at the pointer: replaces, adds a member to an object, or appends to an array at
    /// `/-`. The parent must exist.
    pub fn set(&self, at: &str, json: &str) -> Result<(), AccessError> {
        Ok(self.0.set(at, json)?)
    }

    /// Like [`Doc::set`] with a value that is serialized for you.
    pub fn write<T: Serialize>(&self, at: &str, value: &T) -> Result<(), AccessError> {
        let json =
            serde_json::to_string(value).map_err(|error| AccessError::InvalidJson(error.to_string()))?;
        self.set(at, &json)
    }

    /// Like [`Doc::set`] with a string, which is escaped for you.
    pub fn set_text(&self, at: &str, value: &str) -> Result<(), AccessError> {
        Ok(self.0.set_text(at, value)?)
    }

    /// Removes what stands at the pointer. It is not an error if nothing does.
    pub fn remove(&self, at: &str) -> Result<(), AccessError> {
        Ok(self.0.remove(at)?)
    }

    /// Replaces the strings at the given pointers in one crossing: the counterpart of
    /// [`Doc::strings`]. All or nothing.
    pub fn replace_strings(&self, edits: &[(String, String)]) -> Result<(), AccessError> {
        Ok(self.0.replace_strings(edits)?)
    }

    /// A handle on the value at the pointer as it stands now, without copying it.
    pub fn take(&self, at: &str) -> Result<Option<Value>, AccessError> {
        Ok(self.0.take(at)?.map(Value))
    }

    /// Like [`Doc::set`] with a value that the host keeps.
    pub fn put(&self, at: &str, value: &Value) -> Result<(), AccessError> {
        Ok(self.0.put(at, &value.0)?)
    }
}

/// An opaque piece of JSON that the host keeps; it never enters the plugin's memory unless read.
#[derive(Debug)]
#[repr(transparent)]
pub struct Value(raw::Value);

impl Value {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Its text. [`AccessError::TooLarge`] beyond the filter's `limits.pull_bytes`.
    pub fn read(&self) -> Result<String, AccessError> {
        Ok(self.0.read()?)
    }
}

/// The JSON Pointer of a path of member names, escaped: `pointer(["a", "b/c"])` is `/a/b~1c`.
pub fn pointer<'a>(path: impl IntoIterator<Item = &'a str>) -> String {
    let mut pointer = String::new();
    for name in path {
        pointer.push('/');
        for character in name.chars() {
            match character {
                '~' => pointer.push_str("~0"),
                '/' => pointer.push_str("~1"),
                other => pointer.push(other),
            }
        }
    }
    pointer
}

#[cfg(target_arch = "wasm32")]
impl From<raw::JsonKind> for JsonKind {
    fn from(kind: raw::JsonKind) -> JsonKind {
        match kind {
            raw::JsonKind::Null => JsonKind::Null,
            raw::JsonKind::Boolean => JsonKind::Boolean,
            raw::JsonKind::Number => JsonKind::Number,
            raw::JsonKind::Text => JsonKind::Text,
            raw::JsonKind::Array => JsonKind::Array,
            raw::JsonKind::Object => JsonKind::Object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_escape_tilde_and_slash() {
        assert_eq!(pointer([]), "");
        assert_eq!(pointer(["a~/b", "", "0"]), "/a~0~1b//0");
    }
}
