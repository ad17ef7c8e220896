//! One key of `keys:`, which nothing prints.

use schemars::JsonSchema;
use serde::Deserialize;

/// Shortest key in bytes: what the sealing has room for. Hexadecimal digits count as they are
/// written, so 32 random bytes may be given as 64 digits.
pub const KEY_BYTES: usize = 32;

/// A key: any text of at least 32 bytes. Write `${file:path}` or `${VAR}`.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// The key itself, for whoever derives from it.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<String> for Key {
    fn from(text: String) -> Key {
        Key(text)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
