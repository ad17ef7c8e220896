//! What a call writes to the log, and that it can be spawned.

use super::*;

#[test]
fn a_method_forges_no_line_of_the_log() {
    assert_eq!(for_log("tools/call"), "tools/call");
    assert_eq!(for_log("x\n2026 INFO call ok\u{1b}[2J"), "x\\n2026 INFO call ok\\u{1b}[2J");
    assert_eq!(for_log(&"x".repeat(1 << 20)).len(), 128);
}

/// Transports spawn calls, so their futures must be `Send`.
#[expect(dead_code, reason = "compiling is the test")]
fn calls_can_be_spawned(link: &'static Arc<Link>, request: Message, scope: CallScope) -> impl Send {
    link.call(request, scope)
}
