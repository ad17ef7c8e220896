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

/// Notifications of the specification that pass `notification` filters, in either direction; those of
/// extensions do as well. What Lockgate keeps to itself (`notifications/initialized`,
/// `notifications/cancelled`) is not among them.
pub const NOTIFICATIONS: [&str; 9] = [
    "notifications/progress",
    "notifications/message",
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "notifications/elicitation/complete",
];

/// What servers ask of clients by the specification, and so passes `input` filters; requests of
/// extensions do as well.
pub const QUESTIONS: [&str; 3] = ["elicitation/create", "sampling/createMessage", "roots/list"];
