//! One outgoing HTTP exchange with a server.

use crate::raw::context as raw;
use crate::{AccessError, Call, Doc, Principal};

/// One outgoing HTTP exchange with a server. Lent to `upstream`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Exchange(pub(crate) raw::Exchange);

impl Exchange {
    /// The server it goes to.
    pub fn server(&self) -> String {
        self.0.server()
    }

    /// Why it is made: `call`, `initialize`, `notification`, `answer`, `stream`, `close`, `probe`.
    /// Treat an unknown one like `call`.
    pub fn purpose(&self) -> String {
        self.0.purpose()
    }

    /// HTTP method.
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// The full URL it goes to.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// The final message as it will be sent, to read; none where there is no body.
    pub fn message(&self) -> Option<Doc> {
        self.0.message().map(Doc)
    }

    /// The call it is made for; none for exchanges of Lockgate's own.
    pub fn call(&self) -> Option<Call> {
        self.0.call().map(Call)
    }

    /// For whom: none for exchanges of Lockgate's own, on servers shared across principals.
    pub fn principal(&self) -> Option<Principal> {
        self.0.principal().map(Principal)
    }

    /// A header set so far. Secrets read as none.
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }

    /// Sets a header. Refused for what Lockgate writes itself: `host`, `content-length`,
    /// `content-type`, `accept`, hop-by-hop headers, `mcp-*`, `last-event-id`.
    pub fn set_header(&self, name: &str, value: &str) -> Result<(), AccessError> {
        Ok(self.0.set_header(name, value)?)
    }

    /// Removes a header set before.
    pub fn remove_header(&self, name: &str) -> Result<(), AccessError> {
        Ok(self.0.remove_header(name)?)
    }

    /// Sets a header to `format` with its one `{}` replaced by a secret, which the filter never
    /// sees. The operator grants it (`grants.secrets`) and says where it may go (`for`).
    pub fn set_secret_header(&self, name: &str, secret: &str, format: &str) -> Result<(), AccessError> {
        Ok(crate::raw::secrets::place(&self.0, name, secret, format)?)
    }
}
