//! Children that do not want to end.

use std::collections::BTreeMap;

use super::*;
use crate::config::Server;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Shorter than any that children get.
fn short() -> Farewell {
    let grace = Grace { stdin: Duration::from_millis(100), term: Duration::from_millis(300) };
    Farewell { grace, hurry: CancellationToken::new() }
}

fn shell(script: &str) -> Command {
    let server = Server {
        command: Some("sh".to_owned()),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        ..Server::default()
    };
    Command::resolve(&server, |_| None).unwrap()
}

/// Whether it runs; a zombie does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn pids(stdout: ChildStdout, count: usize) -> Vec<i32> {
    let mut lines = BufReader::new(stdout).lines();
    let mut pids = Vec::new();
    while pids.len() < count {
        pids.push(lines.next_line().await.unwrap().unwrap().trim().parse().unwrap());
    }
    pids
}

#[tokio::test]
async fn a_tree_that_ignores_sigterm_and_the_end_of_its_input_is_killed_whole() {
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & echo $$; while :; do sleep 1; done";
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let (kept, dropped) = oneshot::channel::<()>();
    let running = start(shell(script), short(), stop.clone(), &tracker, kept).await.unwrap();
    let pids = pids(running.stdout, 2).await;
    assert!(pids.iter().all(|pid| runs(*pid)));
    let began = tokio::time::Instant::now();
    stop.cancel();
    drop(running.stdin);
    tracker.close();
    tracker.wait().await;
    assert!(began.elapsed() >= short().grace.stdin + short().grace.term, "it got its grace");
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
    assert!(dropped.await.is_err(), "its place is given back");
}

#[tokio::test]
async fn a_child_that_ends_with_its_input_is_not_signalled() {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let running = start(
        shell("cat >/dev/null; exit 5"),
        Farewell::new(CancellationToken::new()),
        stop.clone(),
        &tracker,
        (),
    )
    .await
    .unwrap();
    stop.cancel();
    drop(running.stdin);
    let mut exit = running.exit;
    let status = exit.wait_for(Option::is_some).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(5));
}

#[tokio::test]
async fn what_a_child_leaves_behind_ends_with_it() {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & sleep 0.2; exit 0";
    let running = start(shell(script), short(), stop.clone(), &tracker, ()).await.unwrap();
    let pids = pids(running.stdout, 1).await;
    tracker.close();
    tracker.wait().await;
    assert!(stop.is_cancelled(), "the end is told to whoever shares the token");
    assert!(!runs(pids[0]));
}

#[tokio::test]
async fn a_file_that_the_system_cannot_run_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken");
    std::fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server { command: Some(file.display().to_string()), ..Server::default() };
    let command = Command::resolve(&server, |_| None).unwrap();
    let error =
        start(command, short(), CancellationToken::new(), &TaskTracker::new(), ()).await.err().unwrap();
    assert!(error.contains("broken") && error.contains("No such file"), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_child_dies_with_the_process_and_not_with_a_thread() {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let script = "echo $$; cat";
    let runtime = Handle::current();
    let (asked, token) = (tracker.clone(), stop.clone());
    // Started on behalf of a thread that ends at once.
    let starter =
        std::thread::spawn(move || runtime.block_on(start(shell(script), short(), token, &asked, ())));
    let running = tokio::task::spawn_blocking(|| starter.join().unwrap()).await.unwrap().unwrap();
    let pids = pids(running.stdout, 1).await;
    assert!(runs(pids[0]), "it outlives the thread that asked for it");
    stop.cancel();
    drop(running.stdin);
    tracker.close();
    tracker.wait().await;
}
