//! Secrets that the operator granted by name. They are used, never read.
//!
//! To put one into an outgoing header, see [`Exchange::set_secret_header`](crate::Exchange::set_secret_header).

use crate::AccessError;

/// HMAC-SHA-256 of the bytes under the secret.
pub fn hmac_sha256(secret: &str, data: &[u8]) -> Result<Vec<u8>, AccessError> {
    Ok(crate::raw::secrets::hmac_sha256(secret, data)?)
}
