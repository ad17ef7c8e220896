//! `lockgate wrap`.

use std::net::TcpListener;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::child::Watched;
use super::support::gate::lockgate;
use super::{Running, Stream, fixture, gone, pid_of, refused};

#[test]
fn wrap_leads_to_a_call_with_one_command_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = fixture();
    let mut command = lockgate();
    command.args(["wrap", "--listen", ":0", "--", &server, "--name", "fx"]).current_dir(folder.path());
    let mut running = Running::begin(command.env("HOME", folder.path()).stdin(Stdio::null()));
    let address = running.address;
    assert!(address.ip().is_loopback());
    let said = running.process.stderr();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], format!("lockgate {} on http://{address}", env!("CARGO_PKG_VERSION")));
    let place = format!("  http://{address}/mcp  fixture-server (stdio: fixture-server --name fx)");
    assert!(lines.contains(&&*place), "{said}");
    assert!(lines.contains(&&*format!("  http://{address}/sse  the same for clients of HTTP+SSE")), "{said}");
    assert_eq!(lines[lines.len() - 2..], ["  filters: none", "ready"]);
    assert!(lines.len() <= 5, "{said}");

    let mut client = running.client();
    assert_eq!(client.initialized["serverInfo"]["name"], "fx", "identity crosses");
    let answer = client.request(
        "tools/call",
        json!({ "name": "progress", "arguments": { "n": 4 }, "_meta": { "progressToken": "p" } }),
    );
    assert_eq!((answer.text(), answer.before.len()), ("4 told", 4));
    assert!(client.tools().contains(&"echo".to_owned()), "no prefix");

    let (mut stream, initialized) = Stream::open(address, "/sse");
    assert_eq!(initialized["serverInfo"]["name"], "fx");
    assert_eq!(stream.call(1, "echo", json!({ "a": 1 }))["result"]["structuredContent"]["a"], 1);

    running.process.terminate();
    assert_eq!(running.process.wait().code(), Some(0));
    assert_eq!(running.process.stderr().matches("ready").count(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn list_changes_that_nobody_makes_are_not_promised() {
    let result = json!({ "protocolVersion": "2025-11-25", "serverInfo": { "name": "fx", "version": "0" },
        "capabilities": { "tools": { "listChanged": false }, "prompts": {}, "resources": { "listChanged": true } } });
    let running =
        Running::start(&["wrap", "-l", ":0", "--", &fixture(), "--answer", &format!("initialize={result}")]);
    assert_eq!(running.client().initialized["capabilities"], result["capabilities"]);
}

#[test]
fn wrap_hides_tools_as_if_they_did_not_exist() {
    let server = fixture();
    let running = Running::start(&[
        "wrap",
        "-l",
        ":0",
        "--ignore-tool",
        "delete_*",
        "--ignore-tool",
        "echo",
        "--",
        &server,
    ]);
    assert!(running.process.stderr().contains("  filters: ignore-tool\n"), "{}", running.process.stderr());
    let mut client = running.client();
    let tools = client.tools();
    assert!(tools.contains(&"slow".to_owned()), "{tools:?}");
    assert!(!tools.iter().any(|tool| tool.starts_with("delete_") || tool == "echo"), "{tools:?}");
    let mut error = |name: &str| client.call(name, json!({})).error().to_string().replace(name, "NAME");
    assert_eq!(error("delete_everything"), error("no_such_tool_here"));
    assert_eq!(error("echo"), error("no_such_tool_here"));
}

#[test]
fn wrap_gives_the_command_the_variables_and_the_folder_it_is_told_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    // Says where it is and what it has on stderr, and then it is the fixture server.
    let script = format!("pwd >&2; env >&2; exec {} \"$@\"", fixture());
    let mut command = lockgate();
    command
        .args(["wrap", "-l", ":0", "--env", "GIVEN=a=b", "--env", "PASSED_ON"])
        .args(["--cwd", folder.to_str().unwrap()])
        .args(["--", "sh", "-c", &script, "sh", "--name", "with space"])
        .envs([("PASSED_ON", "yes"), ("KEPT_BACK", "canary-51aa"), ("LOCKGATE_LOG", "debug")]);
    let running = Running::begin(command.stdin(Stdio::null()).stdout(Stdio::null()));
    assert_eq!(running.client().initialized["serverInfo"]["name"], "with space");
    let said = |text: &str| running.process.line(text, |line| line.contains(text));
    said(folder.to_str().unwrap());
    said("GIVEN=a=b");
    said("PASSED_ON=yes");
    assert!(!running.process.stderr().contains("canary-51aa"));
}

#[test]
fn wrap_shares_one_process_only_if_told() {
    let server = fixture();
    for (isolation, same) in [("session", false), ("shared", true)] {
        let running = Running::start(&["wrap", "-l", ":0", "--isolation", isolation, "--", &server]);
        let (mut a, mut b) = (running.client(), running.client());
        assert_eq!(pid_of(&mut a) == pid_of(&mut b), same, "{isolation}");
    }
}

#[test]
fn wrap_names_a_command_that_is_not_found_and_the_path_it_searched() {
    let mut command = lockgate();
    command.args(["wrap", "-l", ":0", "--", "no-such-command-7f3a"]).env("PATH", "/nowhere:/bin");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text,
        "error: cannot start `no-such-command-7f3a`: no command `no-such-command-7f3a` in the PATH, which is \
         /nowhere:/bin\n  install it, or give its full path\n"
    );
    let text = refused(&["wrap", "-l", ":0", "--", "./no-such-file"], 1);
    assert!(text.contains("./no-such-file") && text.contains("no such file"), "{text}");
}

#[test]
fn wrap_shows_the_last_words_of_a_server_that_exits_at_start() {
    let text = refused(
        &["wrap", "-l", ":0", "--", "sh", "-c", "echo no key: set API_KEY >&2; echo bye >&2; exit 3"],
        1,
    );
    assert!(text.contains("`sh`") && text.contains("exited with status 3"), "{text}");
    assert!(text.ends_with(":\n  no key: set API_KEY\n  bye\n"), "{text}");
    let text = refused(&["wrap", "-l", ":0", "--", "cat"], 1);
    assert!(text.contains("`cat` is no MCP server"), "{text}");
}

#[test]
fn wrap_names_a_port_in_use_and_starts_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let script = format!("touch {}", started.display());
    let text = refused(&["wrap", "--listen", &address, "--", "sh", "-c", &script], 1);
    assert!(
        text.starts_with(&format!("error: cannot listen on {address}: the port is in use by ")),
        "{text}"
    );
    assert!(text.contains("--listen 127.0.0.1:0") && text.lines().count() == 2, "{text}");
    assert!(!started.exists(), "the command was started before");
}

#[test]
fn wrap_refuses_to_listen_beyond_this_machine_with_the_ways_out() {
    let server = fixture();
    let text = refused(&["wrap", "--listen", "0.0.0.0:0", "--", &server], 1);
    assert!(text.contains("0.0.0.0:0") && text.contains("other machines can reach it"), "{text}");
    assert!(text.contains("--listen 127.0.0.1:8080") && text.contains("--allow-unauthenticated"), "{text}");
    let mut command = lockgate();
    command.args(["wrap", "--listen", "0.0.0.0:0", "--allow-unauthenticated", "--", &server]);
    Running::begin(command.stdin(Stdio::null()).stdout(Stdio::null()));
}

#[test]
fn wrap_speaks_to_programs_in_json_and_to_stdout_not_at_all() {
    let server = fixture();
    let mut command = lockgate();
    command.args(["wrap", "-l", ":0", "--log-format", "json", "--", &server]);
    let mut process = Watched::start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let ready = process.line("`ready`", |line| line.contains("\"message\":\"ready\""));
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert!(ready["on"].as_str().unwrap().ends_with("/mcp"), "{ready}");
    process.terminate();
    let mut out = String::new();
    std::io::Read::read_to_string(&mut process.process().stdout.take().unwrap(), &mut out).unwrap();
    process.wait();
    assert_eq!(out, "");
    assert!(process.stderr().lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

#[test]
fn wrap_drains_at_the_first_signal_and_ends_at_the_second_leaving_nothing() {
    let server = fixture();
    let mut running = Running::start(&["wrap", "-l", ":0", "--", &server]);
    let mut client = running.client();
    let pid = pid_of(&mut client);
    // A question that nobody answers: the call is in flight for sure, and stays so.
    let mut pending = client.start("tools/call", json!({ "name": "ask_sampling", "arguments": {} }));
    pending.expect("sampling/createMessage");
    running.signal(Signal::SIGINT);
    running.process.line("what it waits for", |line| line.contains("s for calls in flight; Ctrl-C again"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.process.wait().code(), Some(130));
    gone(pid);
}

#[test]
fn wrap_leaves_no_process_that_ignores_signals_and_a_closed_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let grandchild = folder.path().join("pid");
    let server = fixture();
    let mut running = Running::start(&[
        "wrap",
        "-l",
        ":0",
        "--",
        &server,
        "--ignore-sigterm",
        "--ignore-stdin-close",
        "--grandchild",
        grandchild.to_str().unwrap(),
    ]);
    let mut client = running.client();
    let child = pid_of(&mut client);
    let grandchild: u32 = std::fs::read_to_string(&grandchild).unwrap().trim().parse().unwrap();
    let begun = std::time::Instant::now();
    running.process.terminate();
    assert_eq!(running.process.wait().code(), Some(0));
    assert!(begun.elapsed().as_secs() <= 8, "{:?}", begun.elapsed());
    gone(child);
    gone(grandchild);
}
