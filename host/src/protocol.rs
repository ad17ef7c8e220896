//! What the protocol fixes: revisions, header names, `_meta` keys, methods and error codes.

pub mod errors;
pub mod headers;
pub mod methods;
pub mod versions;

/// Keys of `params._meta` that the modern era reserves.
pub mod meta {
    /// The revision a modern request is written in. Its presence makes a request modern.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
}
