//! Bounds that would stop all work, or bound nothing.

use super::Check;
use crate::config::locate::KeyPath;

/// Deepest nesting that may be allowed: beyond it, code that reads a message recursively is at risk.
const MAX_DEPTH: u16 = 512;
/// Longest time that makes sense anywhere: a year. Much longer ones cannot be added to a clock.
const MAX_SECONDS: u64 = 366 * 24 * 3600;
/// Most memory of one instance in MiB: what 32-bit WebAssembly can address.
const MAX_MEMORY_MIB: u32 = 4096;

pub(super) fn check(check: &mut Check<'_>) {
    let l = check.config.limits;
    let path = KeyPath::of(["limits"]);
    let zero = [
        ("client_message_bytes", l.client_message_bytes == 0),
        ("server_message_bytes", l.server_message_bytes == 0),
        ("in_flight_bytes", l.in_flight_bytes == 0),
        ("in_flight_bytes_per_principal", l.in_flight_bytes_per_principal == 0),
        ("header_bytes", l.header_bytes == 0),
        ("message_depth", l.message_depth == 0),
        ("message_members", l.message_members == 0),
        ("result_depth", l.result_depth == 0),
        ("calls_per_session", l.calls_per_session == 0),
        ("calls_per_client", l.calls_per_client == 0),
        ("batch_messages", l.batch_messages == 0),
        ("calls_per_server", l.calls_per_server == 0),
        ("sessions", l.sessions == 0),
        ("sessions_per_principal", l.sessions_per_principal == 0),
        ("session_idle_seconds", l.session_idle_seconds == 0),
        ("session_seconds", l.session_seconds == 0),
        ("stream_buffer_bytes", l.stream_buffer_bytes == 0),
        ("connect_seconds", l.connect_seconds == 0),
        ("header_seconds", l.header_seconds == 0),
        ("probe_seconds", l.probe_seconds == 0),
        ("call_seconds", l.call_seconds == 0),
        ("call_max_seconds", l.call_max_seconds == 0),
        ("ping_seconds", l.ping_seconds == 0),
        ("children_per_server", l.children_per_server == 0),
        ("children_per_server_and_principal", l.children_per_server_and_principal == 0),
        ("children", l.children == 0),
        ("children_per_principal", l.children_per_principal == 0),
        ("bridged_connections", l.bridged_connections == 0),
        ("parked_seconds", l.parked_seconds == 0),
        ("task_seconds", l.task_seconds == 0),
        ("answered_rounds", l.answered_rounds == 0),
        ("list_items", l.list_items == 0),
        ("list_pages", l.list_pages == 0),
        ("chain_ms", l.chain_ms == 0),
    ];
    not_zero(check, &path, &zero);
    for (name, seconds) in [
        ("session_idle_seconds", l.session_idle_seconds),
        ("session_seconds", l.session_seconds),
        ("resume_seconds", l.resume_seconds),
        ("connect_seconds", l.connect_seconds),
        ("verdict_seconds", l.verdict_seconds),
        ("probe_seconds", l.probe_seconds),
        ("header_seconds", l.header_seconds),
        ("call_seconds", l.call_seconds),
        ("call_max_seconds", l.call_max_seconds),
        ("ping_seconds", l.ping_seconds),
        ("drain_seconds", l.drain_seconds),
        ("parked_seconds", l.parked_seconds),
        ("give_way_seconds", l.give_way_seconds),
        ("task_seconds", l.task_seconds),
    ] {
        if seconds > MAX_SECONDS {
            let message = format!("`limits.{name}`: {seconds} is too long");
            check.error(&path.key(name), message, format!("at most {MAX_SECONDS} (a year)"));
        }
    }
    for (name, depth) in [("message_depth", l.message_depth), ("result_depth", l.result_depth)] {
        if depth > MAX_DEPTH {
            let message = format!("`limits.{name}`: {depth} is too deep");
            check.error(&path.key(name), message, format!("at most {MAX_DEPTH}"));
        }
    }
    for (low, high, low_name, high_name) in [
        (l.call_seconds, l.call_max_seconds, "call_seconds", "call_max_seconds"),
        (
            l.client_message_bytes.max(l.server_message_bytes) as u64,
            l.in_flight_bytes as u64,
            if l.client_message_bytes > l.server_message_bytes {
                "client_message_bytes"
            } else {
                "server_message_bytes"
            },
            "in_flight_bytes",
        ),
    ] {
        if low > high && high > 0 {
            let message = format!("`limits.{low_name}` ({low}) is above `limits.{high_name}` ({high})");
            let given = if check.tree.entry("limits").is_some_and(|e| e.node.entry(low_name).is_some()) {
                low_name
            } else {
                high_name
            };
            check.error(
                &path.key(given),
                message,
                "the second bounds the first: raise it, or lower the first",
            );
        }
    }
    let (largest, share) = (l.client_message_bytes, l.in_flight_bytes_per_principal);
    if share > 0 && share < largest.saturating_mul(2) {
        let message = format!(
            "`limits.in_flight_bytes_per_principal` ({share}) is less than twice `limits.client_message_bytes` ({largest})"
        );
        check.error(
            &path.key("in_flight_bytes_per_principal"),
            message,
            "a message counts twice, and the largest would never fit: raise it",
        );
    }
    for (name, server) in &check.config.servers {
        if server.timeout_seconds.is_some_and(|s| s > l.call_max_seconds && l.call_max_seconds > 0) {
            let here = KeyPath::of(["servers", name, "timeout_seconds"]);
            let message = format!("`{here}` is above `limits.call_max_seconds` ({})", l.call_max_seconds);
            check.error(&here, message, "raise `limits.call_max_seconds` as well");
        }
    }
    plugins(check);
    for (i, filter) in check.config.filters.iter().enumerate() {
        let path = KeyPath::of(["filters"]).index(i).key("limits");
        let l = filter.limits;
        let zero = [
            ("cpu_ms", l.cpu_ms == 0),
            ("wall_ms", l.wall_ms == 0),
            ("memory_mib", l.memory_mib == 0),
            ("pull_bytes", l.pull_bytes == 0),
            ("output_bytes", l.output_bytes == 0),
            ("host_calls", l.host_calls == 0),
            ("concurrent", l.concurrent == 0),
            ("breaker_seconds", l.breaker_seconds == 0 && l.breaker_faults > 0),
        ];
        not_zero(check, &path, &zero);
        if l.memory_mib > MAX_MEMORY_MIB {
            let here = path.key("memory_mib");
            check.error(
                &here,
                format!("`{here}`: {} MiB are more than a plugin can address", l.memory_mib),
                format!("at most {MAX_MEMORY_MIB}"),
            );
        }
    }
}

fn plugins(check: &mut Check<'_>) {
    let path = KeyPath::of(["plugins"]);
    let plugins = &check.config.plugins;
    let zero =
        [("max_mib", plugins.max_mib == Some(0)), ("prepare_seconds", plugins.prepare_seconds == Some(0))];
    not_zero(check, &path, &zero);
}

fn not_zero(check: &mut Check<'_>, path: &KeyPath, keys: &[(&str, bool)]) {
    for (key, zero) in keys {
        if *zero {
            let here = path.key(key);
            check.error(
                &here,
                format!("`{here}` is 0: nothing would work"),
                "remove it for the default, or give at least 1",
            );
        }
    }
}
