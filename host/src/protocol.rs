//! What the protocol fixes: revisions, header names, `_meta` keys, methods and error codes.

pub mod errors;
pub mod headers;
pub mod methods;
pub mod mirror;
pub mod pages;
pub mod rounds;
pub mod tasks;
pub mod versions;

/// Keys of `_meta` that the protocol reserves.
pub mod meta {
    /// The revision a modern request is written in. Its presence makes a request modern.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// What the client of a modern request can do; required.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// The program behind a modern request.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// From which level on the client of a modern request wants log messages; none if absent.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// The server, on modern results.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// The `subscriptions/listen` that a notification belongs to: the id of that request.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    /// The task of 2025-11-25 that a message belongs to.
    pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
    /// Names a request in its progress notifications; both eras.
    pub const PROGRESS_TOKEN: &str = "progressToken";
}
