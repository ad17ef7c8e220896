//! Names of the methods that a transport treats itself.

/// Opens a legacy session.
pub const INITIALIZE: &str = "initialize";
/// Ends the legacy handshake.
pub const INITIALIZED: &str = "notifications/initialized";
/// Are you there?
pub const PING: &str = "ping";
/// The sender no longer wants the answer to one of its requests.
pub const CANCELLED: &str = "notifications/cancelled";
