//! Names of the HTTP headers that MCP defines, in lower case.

/// The revision the client speaks after `initialize`.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// Names a legacy session.
pub const SESSION_ID: &str = "mcp-session-id";
/// The last event a client saw on a stream it wants to resume.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// Request headers that always carry credentials (the session id is one: who knows it can disturb
/// the session). No filter but `authenticate` ever sees them.
pub const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", SESSION_ID];
