//! Names of the methods that a transport or an era's adapter treats itself.

/// Opens a legacy session.
pub const INITIALIZE: &str = "initialize";
/// Ends the legacy handshake.
pub const INITIALIZED: &str = "notifications/initialized";
/// Are you there?
pub const PING: &str = "ping";
/// The sender no longer wants the answer to one of its requests.
pub const CANCELLED: &str = "notifications/cancelled";
/// Progress of a request.
pub const PROGRESS: &str = "notifications/progress";
/// Modern: what the server is and can do.
pub const DISCOVER: &str = "server/discover";
/// Modern: change notifications, as long as the request lasts.
pub const LISTEN: &str = "subscriptions/listen";
/// Modern: the first message of a subscription, which says what of it is honoured.
pub const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// Requests that the modern era has not: those of the handshake and of what a session remembers
/// (2026-07-28, changelog), and those of tasks before their extension.
pub const LEGACY_ONLY: [&str; 7] = [
    INITIALIZE,
    PING,
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/list",
    "tasks/result",
];
