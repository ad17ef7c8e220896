//! What the tasks of both eras have in common (2025-11-25, tasks; 2026-07-28, the extension).

use std::time::Duration;

use crate::jsonrpc::{Document, Limits, Message};

/// The extension that modern clients and servers declare: calls that are answered with a task, whose result
/// is asked for later.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Bounds of the pause between two looks at a task, and what it is where the server names none.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);
const USUAL: Duration = Duration::from_secs(1);

/// How long to wait before the next look at a task, from what its server says: raw JSON, in
/// milliseconds. A server may not have itself asked without a pause, nor have a client wait for ever.
pub fn pause(raw: Option<&[u8]>) -> Duration {
    let millis = raw.and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
    millis.map_or(USUAL, Duration::from_millis).clamp(SHORTEST, LONGEST)
}

/// A legacy request that does not ask for a task: who runs none answers as if there were no such
/// member (2025-11-25, tasks).
pub fn not_as_a_task(request: Message) -> Message {
    let Some(params) = request.params().filter(|_| request.param("task").is_some()) else { return request };
    let mut params = Document::new(params, Limits::default());
    // Removing makes nothing larger, so no limit is in its way.
    let _ = params.remove("/task");
    request.with_params(params.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_can_be_freed_of_its_wish_for_a_task() {
        let request = |params: &str| Message::request(b"1", "tools/call", Some(params.as_bytes()));
        let plain = not_as_a_task(request(r#"{"name":"t","t\u0061sk":{"ttl":1}}"#));
        assert_eq!(plain.params().unwrap(), r#"{"name":"t"}"#.as_bytes());
        assert_eq!(not_as_a_task(plain.clone()).bytes(), plain.bytes());
    }

    #[test]
    fn a_pause_is_bounded_and_there_is_always_one() {
        for (raw, millis) in [
            (Some("200"), 200),
            (Some("0"), 50),
            (Some("9000"), 5_000),
            (Some("\"x\""), 1_000),
            (None, 1_000),
        ] {
            assert_eq!(pause(raw.map(str::as_bytes)), Duration::from_millis(millis), "{raw:?}");
        }
    }
}
