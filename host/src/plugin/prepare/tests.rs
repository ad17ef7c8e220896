//! Preparation in a real child process, and children that misbehave.

use std::time::Instant;

use super::*;
use crate::config::FilterLimits;
use crate::plugin::samples::component;

const LONG: Duration = Duration::from_secs(120);

/// A child that is this test program: it runs only the test below, which plays `plugin-prepare`.
fn real_child() -> Preparer {
    let arguments = ["plugin::prepare::tests::child_process", "--exact", "--ignored", "--nocapture"];
    let program = std::env::current_exe().unwrap();
    Preparer::with_program(program, arguments.map(String::from).to_vec(), LONG)
}

#[test]
#[ignore = "this is the child of the tests below"]
fn child_process() {
    run_prepare();
}

fn shell(script: &str, longest: Duration) -> Preparer {
    Preparer::with_program("/bin/sh".into(), vec!["-c".into(), script.into()], longest)
}

fn request() -> Request {
    let settings = wasm::EngineSettings { instances: 2, memory_mib: 64 };
    Request::new("test", "{}", FilterLimits::default(), &settings)
}

async fn prepare(preparer: &Preparer) -> Result<Prepared, PreparationError> {
    preparer.prepare(request(), component(&["access"], &[]).into()).await
}

#[tokio::test]
async fn the_answer_is_found_among_noise() {
    let script =
        r#"echo 'hello'; echo 'lockgate-prepared {"prepared":{"start":{"kind":"snapshot"}}}'; sleep 60"#;
    let start = Instant::now();
    let prepared = prepare(&shell(script, LONG)).await.unwrap();
    assert_eq!((prepared.start, prepared.artifact.len()), (StartKind::Snapshot, 0));
    assert!(start.elapsed() < Duration::from_secs(50), "a child that lingers is not waited for");
}

#[tokio::test]
async fn refusals_are_told_in_their_words() {
    let script = r#"echo 'lockgate-prepared {"refused":{"plugin":"no key `x`"}}'"#;
    let error = prepare(&shell(script, LONG)).await.unwrap_err();
    assert!(matches!(&error, PreparationError::Plugin(text) if text == "no key `x`") && !error.may_pass());
    let script = r#"echo 'lockgate-prepared {"refused":{"machine":"no memory"}}'"#;
    assert!(prepare(&shell(script, LONG)).await.unwrap_err().may_pass());
}

#[tokio::test]
async fn a_crash_is_told_with_the_last_words() {
    let error = prepare(&shell("echo 'thread panicked' >&2; exit 101", LONG)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exit status: 101") && text.contains("thread panicked"), "{text}");
    let killed = prepare(&shell("kill -9 $$", LONG)).await.unwrap_err().to_string();
    assert!(killed.contains("signal: 9"), "{killed}");
}

#[tokio::test]
async fn endless_output_is_cut() {
    for script in ["yes", "yes >&2", "yes | tr -d '\\n'"] {
        let error = prepare(&shell(script, Duration::from_secs(20))).await.unwrap_err();
        assert!(matches!(error, PreparationError::Crashed { .. }), "{script}: {error}");
    }
}

#[tokio::test]
async fn one_that_takes_too_long_is_ended_with_its_time() {
    let alive = tempfile::tempdir().unwrap();
    let pid_file = alive.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid_file.display());
    let error = prepare(&shell(&script, Duration::from_secs(1))).await.unwrap_err();
    assert!(matches!(error, PreparationError::TooLong(1)), "{error}");
    assert!(error.to_string().contains("plugins.prepare_seconds"));
    let pid = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    let gone = async {
        // Until it is reaped it is still there, as a zombie.
        while nix::sys::signal::kill(pid, None).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_there_is_the_machines_fault() {
    let preparer = Preparer::with_program("/nowhere/lockgate".into(), Vec::new(), LONG);
    assert!(prepare(&preparer).await.unwrap_err().may_pass());
}

#[tokio::test]
async fn nothing_of_our_environment_reaches_the_child() {
    let script = r#"echo "lockgate-prepared {\"refused\":{\"plugin\":\"$(env | grep -c -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD=)\"}}""#;
    let error = prepare(&shell(script, LONG)).await.unwrap_err();
    assert_eq!(error.to_string(), "0");
}

#[tokio::test]
async fn the_child_prepares_what_this_process_would() {
    let plugin = component(&["access"], &[]);
    let engine = wasm::Engine::new(&wasm::EngineSettings { instances: 2, memory_mib: 64 }).unwrap();
    let here = Preparer::in_process(engine, LONG).prepare(request(), plugin.clone().into()).await;
    let there = real_child().prepare(request(), plugin.into()).await;
    match (here, there) {
        (Ok(here), Ok(there)) => {
            assert_eq!(here.start, there.start);
            assert_eq!(here.artifact.len(), there.artifact.len());
            assert!(!there.artifact.is_empty());
        }
        (here, there) => panic!("{here:?} {there:?}"),
    }
}

#[tokio::test]
async fn the_child_refuses_what_is_no_plugin() {
    let error = real_child().prepare(request(), Bytes::from_static(b"nothing")).await.unwrap_err();
    assert!(matches!(error, PreparationError::Plugin(_)), "{error}");
}
