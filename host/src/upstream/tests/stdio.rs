//! Servers as child processes: what they may print, and how they may end.

use std::time::{Duration, Instant};

use super::server::SERVER;
use super::support::*;
use crate::config::Server;
use crate::upstream::{UpstreamError, Upstreams};

#[tokio::test]
async fn a_call_passes_and_keeps_its_bytes() {
    let (client, _heard) = Client::new("c");
    let (all, lease) = connect(python(SERVER), client.clone()).await;
    let handshake = lease.connection.handshake();
    assert_eq!(handshake.protocol_version, "2025-11-25");
    let said = String::from_utf8(handshake.result.to_vec()).unwrap();
    assert!(
        said.contains(r#""capabilities": {"roots": {}}"#) && said.contains(r#""name": "test""#),
        "{said}"
    );
    let result = result(&lease.connection, tool("echo", r#"{"é":1}"#, client)).await;
    assert_eq!(result, r#"{"echo":{"\u00e9": 1},"big":12345678901234567890.10}"#);
    drop(lease);
    soon(all.shutdown()).await;
}

#[tokio::test]
async fn noise_is_skipped_and_the_session_lives() {
    let (client, mut heard) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    let connection = &lease.connection;
    assert_eq!(
        result(connection, tool("noise", r#"{"lines":10000}"#, client.clone())).await,
        r#"{"noisy": true}"#
    );
    assert!(result(connection, tool("echo", "1", client)).await.contains(r#""echo":1"#));
    assert!(heard.try_recv().is_err(), "none of it was forwarded");
}

#[tokio::test]
async fn an_answer_that_breaks_the_law_fails_its_own_call() {
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    let error = run(&lease.connection, tool("illegal", "1", client.clone())).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Malformed { .. }), "{error}");
    assert!(result(&lease.connection, tool("echo", "1", client)).await.contains("echo"));
}

#[tokio::test]
async fn an_over_long_answer_fails_its_call_and_the_session_lives() {
    let (client, _heard) = Client::new("c");
    let mut config = config(python(SERVER));
    config.limits.server_message_bytes = 100_000;
    let all = upstreams(config);
    let lease = soon(all.connect(hello(session("a"), client.clone()))).await.unwrap();
    for (first, bytes) in [("true", 100_000), ("false", 3_000_000)] {
        let call = tool("long", &format!(r#"{{"bytes":{bytes},"first":{first}}}"#), client.clone());
        let error = run(&lease.connection, call).await.unwrap_err();
        let said = error.to_string();
        assert!(
            matches!(error, UpstreamError::Malformed { .. }) && said.contains("limits.server_message_bytes"),
            "{said}"
        );
        assert!(result(&lease.connection, tool("echo", "1", client.clone())).await.contains("echo"));
    }
    let fits = tool("long", r#"{"bytes":90000,"first":true}"#, client);
    assert!(result(&lease.connection, fits).await.len() > 90_000);
}

#[tokio::test]
async fn a_flood_of_stderr_stops_nobody() {
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    assert_eq!(result(&lease.connection, tool("flood", "1", client)).await, r#"{"flooded": true}"#);
}

#[tokio::test]
async fn the_death_of_a_server_fails_everything_under_way_at_once_and_says_why() {
    let (client, mut heard_by) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    let connection = &lease.connection;
    let pending: Vec<_> =
        (0..50).map(|n| run(connection, tool("hold", &n.to_string(), client.clone()))).collect();
    let dying = async {
        for _ in 0..50 {
            heard(&mut heard_by).await;
        }
        let before = Instant::now();
        let error = run(connection, tool("die", "1", client.clone())).await.unwrap_err();
        (error, before.elapsed())
    };
    let (pending, (error, took)) = tokio::join!(futures_util::future::join_all(pending), dying);
    let said = error.to_string();
    assert_eq!(
        said,
        "server `s` exited with status 3; its last words: something went wrong | at the very end; the call may have run"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    for reply in pending {
        assert!(matches!(reply, Err(UpstreamError::Gone { may_have_run: true, .. })), "{reply:?}");
    }
    assert!(matches!(connection.closed(), Some(UpstreamError::Gone { may_have_run: false, .. })));
    let late = run(connection, tool("echo", "1", client)).await.unwrap_err();
    assert!(late.to_string().ends_with("the call did not reach it"), "{late}");
}

#[tokio::test]
async fn a_server_that_closes_its_output_is_over_even_if_it_lives_on() {
    let (client, _heard) = Client::new("c");
    let (all, lease) = connect(python(SERVER), client.clone()).await;
    let error = run(&lease.connection, tool("close", "1", client)).await.unwrap_err();
    assert!(error.to_string().contains("closed its output"), "{error}");
    drop(lease);
    soon(all.shutdown()).await;
}

#[tokio::test]
async fn a_server_that_ends_before_the_handshake_shows_its_last_words() {
    let (client, _heard) = Client::new("c");
    let all = upstreams(config(shell("echo 'no token given' >&2; exit 7")));
    let error = soon(all.connect(hello(session("a"), client))).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "server `s` could not be started: it exited with status 7; its last words: no token given"
    );
}

#[tokio::test]
async fn a_command_that_does_not_exist_names_command_server_and_path() {
    let (client, _heard) = Client::new("c");
    let server = Server {
        command: Some("no-such-command".to_owned()),
        env: [("PATH".to_owned(), "/nowhere:/nowhere-else".to_owned())].into(),
        ..Server::default()
    };
    let all = upstreams(config(server));
    let error = soon(all.connect(hello(session("a"), client))).await.err().unwrap().to_string();
    for part in ["server `s` could not be started", "`no-such-command`", "/nowhere:/nowhere-else"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_child_gets_its_own_group_the_declared_environment_and_no_descriptors() {
    let (client, _heard) = Client::new("c");
    let dir = tempfile::tempdir().unwrap();
    let mut server = python(SERVER);
    server.env.insert("DECLARED".to_owned(), "yes".to_owned());
    server.cwd = Some(dir.path().to_owned());
    // Not close-on-exec, as something that Lockgate was started with could be.
    let leak = std::fs::File::open("/dev/null").unwrap();
    let leak = nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_DUPFD(100)).unwrap();
    assert!(leak >= 100);
    let (_all, lease) = connect(server, client.clone()).await;
    let said = result(&lease.connection, tool("environment", "1", client)).await;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let base = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ"];
    let env = said["env"].as_object().unwrap();
    assert_eq!(env["DECLARED"], "yes");
    // Python itself adds LC_CTYPE where no locale is set.
    let other: Vec<_> = env
        .keys()
        .filter(|k| {
            !base.contains(&k.as_str()) && *k != "DECLARED" && *k != "LC_CTYPE" && *k != "LOCKGATE_CHILD"
        })
        .collect();
    assert!(other.is_empty(), "{other:?}");
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "or the check above proves nothing");
    assert_eq!(said["cwd"], std::fs::canonicalize(dir.path()).unwrap().display().to_string());
    assert_eq!(said["pid"], said["group"]);
    // The three standard ones and the directory being listed.
    assert_eq!(said["fds"].as_array().unwrap().len(), 4, "{}", said["fds"]);
}

#[tokio::test]
async fn a_child_that_does_not_read_blocks_nobody_for_ever() {
    let (client, _heard) = Client::new("c");
    let (_all, lease) = connect(python(SERVER), client.clone()).await;
    let connection = &lease.connection;
    result(connection, tool("deaf", r#"{"seconds":3}"#, client.clone())).await;
    let big = format!("\"{}\"", "x".repeat(30_000));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let mut call = tool("echo", &big, client.clone());
            call.deadline = Instant::now() + Duration::from_millis(500);
            run(connection, call)
        })
        .collect();
    let replies = futures_util::future::join_all(calls).await;
    assert!(replies.iter().any(|r| matches!(r, Err(UpstreamError::Timeout { .. }))), "what had left");
    assert!(replies.iter().any(|r| matches!(r, Err(UpstreamError::Unreachable { .. }))), "what had not");
    assert!(replies.iter().all(Result::is_err));
    assert!(result(connection, tool("echo", "2", client)).await.contains(r#""echo":2"#), "it recovers");
}

/// What is still alive of these processes, zombies included.
fn alive(pids: &[i32]) -> Vec<i32> {
    pids.iter().copied().filter(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()).collect()
}

#[tokio::test]
async fn the_end_of_a_lease_ends_the_child_and_leaves_no_zombie() {
    let (client, _heard) = Client::new("c");
    let (all, lease) = connect(python(SERVER), client.clone()).await;
    let said = result(&lease.connection, tool("environment", "1", client)).await;
    let pid = serde_json::from_str::<serde_json::Value>(&said).unwrap()["pid"].as_i64().unwrap() as i32;
    assert_eq!(alive(&[pid]), [pid]);
    drop(lease);
    soon(all.shutdown()).await;
    assert!(alive(&[pid]).is_empty());
}

#[test]
fn the_end_of_the_runtime_ends_the_children_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (pid, kept): (i32, (Upstreams, _)) = runtime.block_on(async {
        let (client, _heard) = Client::new("c");
        let (all, lease) = connect(python(SERVER), client.clone()).await;
        let said = result(&lease.connection, tool("environment", "1", client)).await;
        let pid = serde_json::from_str::<serde_json::Value>(&said).unwrap()["pid"].as_i64().unwrap();
        (pid as i32, (all, lease))
    });
    drop(runtime);
    // SIGKILL was sent; nobody but init, or the next child of tokio's, reaps it now.
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let end = Instant::now() + LONG;
    while !state().is_empty() && !state().contains(") Z ") {
        assert!(Instant::now() < end, "{}", state());
        std::thread::yield_now();
    }
    drop(kept);
}
