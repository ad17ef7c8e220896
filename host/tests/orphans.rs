//! What servers start ends with them, and with Lockgate, however that ends: also what left its group and
//! its session and ignores every signal that can be ignored. Issue 3, "It must hold"; F02, F03, F04.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::processes::{children_of, command_line, environment, runs, soak};
use support::{Client, Gate, Setup};

/// With cgroups where the machine has them, and in any case without.
const WAYS: [&str; 2] = ["auto", "off"];
/// The end of stdin, SIGTERM, and a moment for the end itself: without cgroups it takes a look at all of
/// /proc, and on a machine with six times the work it can do (where this was seen) that takes its time.
const GRACE: Duration = Duration::from_secs(2 + 3 + 3);

/// A Lockgate whose servers refuse to end and leave a child and a daemon behind, each of all sessions.
fn stubborn(way: &str) -> (Gate, PathBuf) {
    let setup = Setup::new();
    let folder = setup.folder().to_owned();
    // Each process of the server has files of its own to say who it left behind.
    let script = format!(
        "exec {} --ignore-sigterm --ignore-stdin-close --grandchild {dir}/grandchild.$$$$ --escapee {dir}/escapee.$$$$",
        support::paths::server("fixture-server").display(),
        dir = folder.display()
    );
    let server = json!({ "command": "sh", "args": ["-c", script] });
    let setup = setup.with_server("fx", server).with_limit("children_per_server", 64);
    (setup.with_env("LOCKGATE_CGROUPS", way).start(), folder)
}

/// The server of that session, and what it left behind.
fn family(client: &mut Client, folder: &Path) -> Vec<i32> {
    let pid = client.call("whoami", json!({})).result()["structuredContent"]["pid"].as_i64().unwrap();
    let left = ["grandchild", "escapee"].map(|kind| {
        let file = folder.join(format!("{kind}.{pid}"));
        std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
    });
    let family = [&[i32::try_from(pid).unwrap()], left.as_slice()].concat();
    assert!(family.iter().all(|pid| runs(*pid)), "or nothing is proved: {family:?}");
    family
}

/// Waits until none of them runs; fails if that takes longer than allowed.
fn gone(pids: &[i32], within: Duration, what: &str) {
    let end = Instant::now() + within;
    loop {
        let left: Vec<i32> = pids.iter().copied().filter(|pid| runs(*pid)).collect();
        if left.is_empty() {
            return;
        }
        let said: Vec<String> = left.iter().map(|pid| format!("{pid}: {}", command_line(*pid))).collect();
        assert!(Instant::now() < end, "{what}: {said:?} still run after {within:?}");
        support::processes::pause();
    }
}

fn guards(lockgate: i32) -> Vec<i32> {
    let is_guard = |pid: &i32| command_line(*pid).contains("guard-children");
    children_of(lockgate).into_iter().filter(is_guard).collect()
}

/// The cgroups of the Lockgate that started this child, wherever they may be.
fn cgroups(of: &Value) -> BTreeSet<PathBuf> {
    let mark = of["env"]["LOCKGATE_CHILD"].as_str().unwrap();
    let instance = mark.split('.').next().unwrap();
    assert_eq!(instance.len(), 32);
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(instance) {
                    found.insert(entry.path());
                }
                folders.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn nothing_is_left_after_lockgate_is_killed() {
    for way in WAYS {
        let (mut gate, folder) = stubborn(way);
        let mut clients: Vec<Client> = (0..if soak() { 50 } else { 5 }).map(|_| gate.client("fx")).collect();
        let mut all: Vec<i32> = clients.iter_mut().flat_map(|client| family(client, &folder)).collect();
        let who = clients[0].call("whoami", json!({})).result()["structuredContent"].clone();
        assert!(way == "auto" || cgroups(&who).is_empty());
        let guards = guards(gate.process().pid());
        assert_eq!(guards.len(), 1, "one for all");
        all.extend(guards);
        gate.process().process().kill().unwrap();
        gone(&all, Duration::from_secs(5), way);
        assert!(cgroups(&who).is_empty(), "{way}");
    }
}

#[test]
fn nothing_is_left_after_the_grace_of_a_session_that_ended() {
    for way in WAYS {
        let (gate, folder) = stubborn(way);
        let (mut client, mut other) = (gate.client("fx"), gate.client("fx"));
        let (family, others) = (family(&mut client, &folder), family(&mut other, &folder));
        assert_eq!(client.close() / 100, 2);
        gone(&family, GRACE, way);
        assert!(others.iter().all(|pid| runs(*pid)), "{way}: what another session started stays");
        assert_eq!(other.call("echo", json!({})).status, 200);
    }
}

#[test]
fn nothing_is_left_after_the_grace_of_lockgate() {
    for way in WAYS {
        let (mut gate, folder) = stubborn(way);
        let mut client = gate.client("fx");
        let family = family(&mut client, &folder);
        let who = client.call("whoami", json!({})).result()["structuredContent"].clone();
        let guards = guards(gate.process().pid());
        gate.process().terminate();
        gone(&family, GRACE, way);
        assert!(gate.process().wait().success(), "{way}");
        gone(&guards, Duration::from_secs(5), way);
        assert!(cgroups(&who).is_empty(), "{way}");
    }
}

#[test]
fn what_a_server_that_crashed_left_behind_ends_too() {
    for way in WAYS {
        let (gate, folder) = stubborn(way);
        let mut client = gate.client("fx");
        let family = family(&mut client, &folder);
        client.call("crash", json!({})).error();
        gone(&family, GRACE, way);
    }
}

#[test]
fn there_is_a_guard_only_where_there_are_children_and_never_two() {
    let mut gate = Setup::fixture(&[]).start();
    let lockgate = gate.process().pid();
    assert_eq!(guards(lockgate), [0; 0]);
    let mut clients: Vec<Client> = (0..3).map(|_| gate.client("fx")).collect();
    let guard = guards(lockgate);
    assert_eq!(guard.len(), 1);
    let guard = guard[0];

    // It holds nothing of the one that started it, and takes next to nothing.
    assert_eq!(environment(guard), "");
    assert_eq!(std::fs::read_link(format!("/proc/{guard}/cwd")).unwrap(), Path::new("/"));
    let open = std::fs::read_dir(format!("/proc/{guard}/fd")).unwrap().count();
    assert_eq!(open, 3, "stdin, and /dev/null twice");
    let status = std::fs::read_to_string(format!("/proc/{guard}/status")).unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let own: u64 = own.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(own < 8 << 10, "{own} kB");

    // What a terminal or a supervisor sends to all is not for it.
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(Pid::from_raw(guard), signal).unwrap();
    }
    assert_eq!(nix::unistd::getsid(Some(Pid::from_raw(guard))).unwrap().as_raw(), guard);
    assert!(runs(guard));

    // Somebody insists: the next child has a guard again.
    kill(Pid::from_raw(guard), Signal::SIGKILL).unwrap();
    gone(&[guard], Duration::from_secs(5), "killed");
    clients.push(gate.client("fx"));
    let again = guards(lockgate);
    assert_eq!(again.len(), 1);
    assert_ne!(again[0], guard);
    gate.process().terminate();
    assert!(gate.process().wait().success());
    gone(&again, Duration::from_secs(5), "the guard");
}

#[test]
fn nobody_elses_processes_are_touched() {
    for way in WAYS {
        let (mut gate, folder) = stubborn(way);
        let mut client = gate.client("fx");
        let family = family(&mut client, &folder);
        let who = client.call("whoami", json!({})).result()["structuredContent"].clone();
        let mark = who["env"]["LOCKGATE_CHILD"].as_str().unwrap().to_owned();
        let stranger = |variable: &str, value: &str| {
            // It ends with its input, and so with this test.
            let mut cat = Command::new("cat");
            cat.env(variable, value).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
        };
        let mut strangers = [
            stranger("LOCKGATE_CHILD", &format!("{}.1", "0".repeat(32))),
            stranger("LOCKGATE_CHILD", &mark[..20]),
            stranger("OTHER", &mark),
        ];
        gate.process().process().kill().unwrap();
        gone(&family, Duration::from_secs(5), way);
        for stranger in &mut strangers {
            assert!(stranger.try_wait().unwrap().is_none(), "{way}");
            stranger.kill().unwrap();
            stranger.wait().unwrap();
        }
    }
}
