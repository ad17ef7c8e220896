//! `limits:`: a bound on everything that could grow.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds on everything that could grow.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest message from a client in bytes (4 MiB).
    pub client_message_bytes: usize,
    /// Largest message from a server in bytes (16 MiB).
    pub server_message_bytes: usize,
    /// All messages in flight together in bytes (512 MiB); beyond it new calls are refused with 503. A request
    /// counts twice (as it came, and as it is sent on), an answer until its client has read it.
    pub in_flight_bytes: usize,
    /// The same of one principal (128 MiB), or of one address where nobody authenticates. Peers on loopback
    /// that nobody authenticates are not told apart, and have no share to keep to.
    pub in_flight_bytes_per_principal: usize,
    /// Largest HTTP head in bytes (32 KiB).
    pub header_bytes: usize,
    /// Deepest nesting of a message from a client (64).
    pub message_depth: u16,
    /// Most members and items of a message from a client (100,000).
    pub message_members: u32,
    /// Deepest nesting of a message from a server (128). Its members are bounded by its bytes alone: a tool
    /// has already run, and official clients take what it says.
    pub result_depth: u16,
    /// Calls in flight per session (64).
    pub calls_per_session: u32,
    /// Calls in flight of the modern era, which has no sessions, per principal (64), or per address
    /// where nobody authenticates. Peers on loopback that nobody authenticates are not told apart,
    /// and so not counted.
    pub calls_per_client: u32,
    /// Open `subscriptions/listen` of the modern era, counted in the same way (16). In all there are
    /// as many as `sessions` says.
    pub listens_per_client: u32,
    /// Messages in one array (100); arrays are spoken by clients and servers of 2025-03-26 only.
    pub batch_messages: u32,
    /// Calls in flight per server (256).
    pub calls_per_server: u32,
    /// Calls that wait per server when it is full (128).
    pub queue_per_server: u32,
    /// Sessions in all (10,000).
    pub sessions: u32,
    /// Sessions of one principal (1,250, an eighth of all); beyond it the one that was silent longest ends.
    pub sessions_per_principal: u32,
    /// A session without any sign of its client ends after this many seconds (30 min).
    pub session_idle_seconds: u64,
    /// Every session ends after this many seconds (24 h).
    pub session_seconds: u64,
    /// Bytes that wait for one slow reader of a stream (1 MiB); beyond it the stream is cut. As many
    /// may wait for `notification` filters; beyond it notifications are dropped, and that is logged.
    pub stream_buffer_bytes: usize,
    /// Bytes that a session keeps of what its streams said (1 MiB), so that a client that lost one
    /// can resume it. 0: nothing is kept.
    pub resume_bytes: usize,
    /// Events that a session keeps likewise (256).
    pub resume_events: u32,
    /// How long they are kept (5 min): a call whose client lost its stream has its answer waiting so long.
    pub resume_seconds: u64,
    /// What all sessions keep together in bytes (256 MiB).
    pub resume_total_bytes: usize,
    /// Longest wait for a connection (5 s).
    pub connect_seconds: u64,
    /// Longest wait for a request's head (10 s).
    pub header_seconds: u64,
    /// How long what was found out about a server (its era, its transport) is believed (24 h).
    pub verdict_seconds: u64,
    /// Longest wait for a child process to say which era it speaks (silence means the legacy one), and
    /// for an HTTP+SSE server to say where messages go (8 s).
    pub probe_seconds: u64,
    /// Longest wait for one call's answer (60 s), and for the user's answer to a question of a server.
    pub call_seconds: u64,
    /// Hard cap of a call, whatever progress it makes (10 min).
    pub call_max_seconds: u64,
    /// Silence on a stream after which a comment is sent to keep it open (20 s, with jitter); a
    /// WebSocket is pinged this often, and ends if nothing comes back for twice as long.
    pub ping_seconds: u64,
    /// Longest wait for calls in flight at shutdown and for old generations after a reload (20 s: with the
    /// 6 s that children may take after it, less than the 30 s that Kubernetes gives).
    pub drain_seconds: u64,
    /// Child processes per server (8). Where all are taken, the session that was silent longest and has no
    /// call under way gives way to a new one.
    pub children_per_server: u32,
    /// Child processes of one principal per server (6, three quarters): others find room.
    pub children_per_server_and_principal: u32,
    /// Child processes in all (64).
    pub children: u32,
    /// Child processes of one principal in all (32, half of them).
    pub children_per_principal: u32,
    /// A session whose client said something within so many seconds does not give way (1 s): otherwise
    /// more clients than places would only throw each other out.
    pub give_way_seconds: u64,
    /// Connections that Lockgate opens to a server of the legacy era for the modern clients of one
    /// principal together (16): where it can only be told by the connection whom a server asks, each
    /// of their calls has one to itself.
    pub bridged_connections: u32,
    /// Calls of the modern clients of one principal that wait at one server of the legacy era for
    /// answers to what it asked (64); of all of them at one server at most half of `calls_per_server`.
    /// Beyond it the server is told that it cannot ask.
    pub parked_calls: u32,
    /// How long such a call waits for each answer, and how long a `requestState` of Lockgate's is good
    /// (10 min): the user is deciding.
    pub parked_seconds: u64,
    /// How long a task lasts that Lockgate keeps for a client of the other era than its server's (1 h):
    /// to its end, and until its result was fetched. Each has a place among `parked_calls`.
    pub task_seconds: u64,
    /// Answered questions of the modern era that are remembered until they would have expired, so that
    /// none is answered twice (100,000); beyond it further answers are refused.
    pub answered_rounds: u32,
    /// Items that Lockgate reads from one server's list to judge it (10,000).
    pub list_items: u32,
    /// Most pages read of one list of one server (1,000): pages may be empty.
    pub list_pages: u32,
    /// Wall time of all filters of one phase together in milliseconds (2 s).
    pub chain_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            client_message_bytes: 4 << 20,
            server_message_bytes: 16 << 20,
            in_flight_bytes: 512 << 20,
            in_flight_bytes_per_principal: 128 << 20,
            header_bytes: 32 << 10,
            message_depth: 64,
            message_members: 100_000,
            result_depth: 128,
            calls_per_session: 64,
            calls_per_client: 64,
            listens_per_client: 16,
            batch_messages: 100,
            calls_per_server: 256,
            queue_per_server: 128,
            sessions: 10_000,
            sessions_per_principal: 1_250,
            session_idle_seconds: 30 * 60,
            session_seconds: 24 * 3600,
            stream_buffer_bytes: 1 << 20,
            resume_bytes: 1 << 20,
            resume_events: 256,
            resume_seconds: 300,
            resume_total_bytes: 256 << 20,
            connect_seconds: 5,
            header_seconds: 10,
            verdict_seconds: 24 * 3600,
            probe_seconds: 8,
            call_seconds: 60,
            call_max_seconds: 600,
            ping_seconds: 20,
            drain_seconds: 20,
            children_per_server: 8,
            children_per_server_and_principal: 6,
            children: 64,
            children_per_principal: 32,
            give_way_seconds: 1,
            bridged_connections: 16,
            parked_calls: 64,
            parked_seconds: 600,
            task_seconds: 3600,
            answered_rounds: 100_000,
            list_items: 10_000,
            list_pages: 1_000,
            chain_ms: 2_000,
        }
    }
}
