//! The built program, from outside: arguments, exit codes, streams, and every error text of the
//! configuration. Set `UPDATE_CASES=1` to write the expected texts anew, then read the difference.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn lockgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    for variable in ["LOCKGATE_LOG", "LOCKGATE_CONFIG", "RUST_BACKTRACE", "LOCKGATE_TEST_UNSET"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    lockgate().args(arguments).current_dir(empty().path()).output().unwrap()
}

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn errors_of_the_configuration_read_as_written_down() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/config");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for case in std::fs::read_dir(cases).unwrap() {
        let case = case.unwrap().path();
        let file = ["config.yaml", "config.json", "config.toml"]
            .into_iter()
            .find(|file| case.join(file).exists())
            .unwrap_or_else(|| panic!("no configuration in {}", case.display()));
        let output = lockgate().args(["check", "--config", file]).current_dir(&case).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}: {}", case.display(), stderr(&output));
        assert_eq!(stdout(&output), "", "{}", case.display());
        let said = stderr(&output).replace(case.to_str().unwrap(), "[case]");
        let expected = case.join("error.txt");
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&expected, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if said != expected {
            wrong.push(format!("--- {}\nexpected:\n{expected}\nsaid:\n{said}", case.display()));
        }
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_arguments_it_prints_help_and_leaves_nothing_behind() {
    let folder = empty();
    let output = lockgate().current_dir(folder.path()).env("HOME", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("Usage: lockgate") && stdout(&output).contains("serve"));
    assert!(stdout(&output).contains("Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."));
    assert_eq!(stderr(&output), "");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_version_is_one_line() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), format!("lockgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_flag_is_wrong_usage_with_the_nearest_right_one() {
    for (arguments, wrong, right) in [
        (vec!["serve", "--lisen", "127.0.0.1:0"], "--lisen", "--listen"),
        (vec!["check", "--outptu", "json"], "--outptu", "--output"),
        (vec!["chekc"], "chekc", "check"),
        (vec!["plugin", "inspekt"], "inspekt", "inspect"),
        (vec!["check", "--output", "jsn"], "jsn", "json"),
        (vec!["check", "--log-level", "inof"], "inof", "info"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = stderr(&output);
        assert!(text.contains(wrong) && text.contains(right), "{text}");
        assert!(text.starts_with("error: "), "{text}");
        assert!(text.lines().count() <= 8, "{text}");
    }
}

#[test]
fn values_that_are_none_are_wrong_usage() {
    for (arguments, part) in [
        (vec!["serve", "--listen", "8080"], "--listen"),
        (vec!["check", "--timeout", "soon"], "30s"),
        (vec!["serve", "--stdio", "a", "--listen", "127.0.0.1:0"], "--listen"),
        (vec!["plugin", "inspect"], "<FILE>"),
        (vec!["plugin", "explain"], "--server"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    for command in ["serve", "check"] {
        let output = run(&[command]);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.starts_with("error: lockgate.yaml: cannot be read: no such file"), "{text}");
        assert!(text.contains("--config FILE"), "{text}");
    }
}

#[test]
fn errors_of_the_configuration_are_one_document_for_programs() {
    let folder = empty();
    std::fs::write(folder.path().join("lockgate.yaml"), "servrs: {}\n").unwrap();
    let output = lockgate().args(["check", "--output", "json"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["ok"], false);
    assert!(document["config"]["errors"][0].as_str().unwrap().contains("did you mean `servers`?"));
}

#[test]
fn a_server_that_does_not_exist_is_named_with_the_nearest() {
    let folder = empty();
    std::fs::write(folder.path().join("lockgate.yaml"), "servers: { notes: { command: sh } }\n").unwrap();
    for arguments in [vec!["serve", "--stdio", "nots"], vec!["plugin", "explain", "--server", "nots"]] {
        let output = lockgate().args(&arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            stderr(&output),
            "error: no server `nots` in lockgate.yaml; did you mean `notes`?\n  configured servers: `notes`\n"
        );
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let output = run(&["config", "schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    for key in ["listen", "servers", "filters", "plugins", "secrets", "http", "limits"] {
        assert!(schema["properties"][key]["description"].is_string(), "{key} is not described");
    }
}

#[test]
fn what_is_in_effect_is_shown_with_its_origin_and_without_secrets() {
    let folder = empty();
    let text = "servers: { notes: { command: sh, args: ['${A_VALUE}'] } }\nsecrets: { s: { value: '${A_VALUE}', for: [notes] } }\n";
    std::fs::write(folder.path().join("lockgate.yaml"), text).unwrap();
    for format in ["text", "json"] {
        let output = lockgate()
            .args(["config", "show", "--output", format])
            .env("A_VALUE", "canary-9d1f")
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let shown = stdout(&output);
        assert!(shown.contains("servers.notes.command") && shown.contains("lockgate.yaml:1"), "{shown}");
        assert!(shown.contains("limits.call_seconds") && shown.contains("default"), "{shown}");
        assert!(!(shown + &stderr(&output)).contains("canary"));
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child =
        lockgate().args(["config", "schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn help_fits_a_screen_and_needs_nothing() {
    for arguments in [
        vec!["--help"],
        vec!["serve", "--help"],
        vec!["wrap", "--help"],
        vec!["connect", "--help"],
        vec!["check", "--help"],
        vec!["plugin", "--help"],
        vec!["plugin", "build", "--help"],
        vec!["plugin", "inspect", "--help"],
        vec!["plugin", "explain", "--help"],
        vec!["config", "--help"],
        vec!["config", "schema", "--help"],
        vec!["config", "show", "--help"],
    ] {
        let output = lockgate().args(&arguments).env_clear().current_dir(empty().path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let help = stdout(&output);
        assert!(help.contains("Example"), "{arguments:?} has no example");
        assert!(help.contains("Exit codes: 0 done, 1 failed, 2 wrong usage, 130"), "{arguments:?}: {help}");
        // `lockgate help serve` says the same as `lockgate serve --help`.
        let words: Vec<&str> = [&["help"][..], &arguments[..arguments.len() - 1]].concat();
        assert_eq!(stdout(&lockgate().args(&words).output().unwrap()), help, "{words:?}");
        assert!(help.lines().count() <= 48, "{arguments:?} has {} lines", help.lines().count());
        assert!(!help.contains('\u{1b}'), "{arguments:?} has escape codes");
    }
}

#[test]
fn no_escape_code_reaches_a_file() {
    let output = run(&["serve"]);
    assert!(!output.stderr.contains(&0x1b));
}

/// A `lockgate serve` that said it is ready, and what it said until then.
struct Serving {
    child: std::process::Child,
    stderr: std::io::BufReader<std::process::ChildStderr>,
    said: String,
    _folder: tempfile::TempDir,
}

impl Serving {
    fn start(config: &str, arguments: &[&str]) -> Serving {
        let folder = empty();
        std::fs::write(folder.path().join("lockgate.yaml"), config).unwrap();
        let mut child = lockgate()
            .arg("serve")
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut serving = Serving { child, stderr, said: String::new(), _folder: folder };
        serving.said_until(|line| line.trim() == "ready" || line.contains("\"message\":\"ready\""));
        serving
    }

    fn said_until(&mut self, accept: impl Fn(&str) -> bool) {
        loop {
            let mut line = String::new();
            let read = std::io::BufRead::read_line(&mut self.stderr, &mut line).unwrap();
            assert!(read > 0, "it ended and said only:\n{}", self.said);
            self.said.push_str(&line);
            if accept(&line) {
                return;
            }
        }
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    fn end(&mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        std::io::Read::read_to_string(&mut self.stderr, &mut self.said).unwrap();
        let mut out = String::new();
        std::io::Read::read_to_string(&mut self.child.stdout.take().unwrap(), &mut out).unwrap();
        assert_eq!(out, "", "stdout is for output");
        (status.code(), self.said.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NOTES: &str = "listen: 127.0.0.1:0\nservers: { notes: { command: sh, args: [notes.sh] } }\n";

#[test]
fn the_first_lines_say_what_is_served_where_and_with_what() {
    let serving = Serving::start(NOTES, &[]);
    let lines: Vec<&str> = serving.said.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    let address = lines[0].strip_prefix(&format!("lockgate {version} on http://")).unwrap();
    assert_ne!(address, "127.0.0.1:0");
    std::net::TcpStream::connect(address).unwrap();
    assert_eq!(lines[1], format!("  http://{address}/notes/mcp  notes (stdio: sh notes.sh)"));
    assert_eq!(lines[2..], ["  filters: none", "ready"]);
}

#[test]
fn sigterm_drains_and_ends_well() {
    let mut serving = Serving::start(NOTES, &[]);
    serving.signal(nix::sys::signal::Signal::SIGTERM);
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("waiting up to 20 s for calls in flight"), "{said}");
    assert_eq!(said.matches("ready").count(), 1, "{said}");
}

#[test]
fn ctrl_c_says_that_a_second_one_ends_at_once() {
    let mut serving = Serving::start(NOTES, &[]);
    serving.signal(nix::sys::signal::Signal::SIGINT);
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "nothing was cut: {said}");
    assert!(said.contains("Ctrl-C again ends at once"), "{said}");
}

#[test]
fn sighup_ends_nothing() {
    let mut serving = Serving::start(NOTES, &[]);
    serving.signal(nix::sys::signal::Signal::SIGHUP);
    serving.said_until(|line| line.contains("look at again"));
    serving.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(serving.end().0, Some(0));
}

#[test]
fn a_client_that_closes_stdin_ends_stdio() {
    let mut serving = Serving::start(NOTES, &["--stdio", "notes"]);
    assert!(serving.said.contains("on stdio\n  notes (stdio: sh notes.sh)"), "{}", serving.said);
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn logs_for_programs_are_json_to_the_last_line() {
    let mut serving = Serving::start(NOTES, &["--log-format", "json"]);
    serving.signal(nix::sys::signal::Signal::SIGTERM);
    let (_, said) = serving.end();
    let lines: Vec<serde_json::Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let ready = lines.iter().find(|line| line["message"] == "ready").unwrap();
    assert!(ready["on"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert_eq!(ready["servers"], "notes");
}

#[test]
fn a_command_that_does_not_exist_is_said_before_ready() {
    let config = "listen: 127.0.0.1:0\nservers: { ghost: { command: no-such-command-7f3a } }\n";
    let serving = Serving::start(config, &[]);
    let line = serving.said.lines().next().unwrap();
    assert!(
        line.contains("`ghost`") && line.contains("no-such-command-7f3a") && line.contains("PATH"),
        "{line}"
    );
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_started() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let folder = empty();
    std::fs::write(folder.path().join("lockgate.yaml"), NOTES).unwrap();
    let output =
        lockgate().args(["serve", "--listen", &address]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.starts_with(&format!("error: cannot listen on {address}: the port is in use by ")),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn an_open_address_without_authentication_is_refused_with_both_ways_out() {
    let folder = empty();
    std::fs::write(folder.path().join("lockgate.yaml"), NOTES).unwrap();
    let output =
        lockgate().args(["serve", "--listen", "0.0.0.0:0"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("0.0.0.0:0") && text.contains("api-key-auth"), "{text}");
    assert!(text.contains("http: { allow_unauthenticated: true }"), "{text}");
    let open = format!("{NOTES}http: {{ allow_unauthenticated: true }}\n");
    Serving::start(&open, &["--listen", "0.0.0.0:0"]);
}

#[test]
fn a_required_server_that_does_not_work_stops_the_start() {
    let folder = empty();
    let config =
        "listen: 127.0.0.1:0\nservers: { ghost: { command: no-such-command-7f3a, required: true } }\n";
    std::fs::write(folder.path().join("lockgate.yaml"), config).unwrap();
    let output = lockgate().arg("serve").current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("`ghost`") && text.contains("`required`") && !text.contains("ready"), "{text}");
}

#[test]
fn check_names_every_server_that_does_not_work_with_what_to_do() {
    let folder = empty();
    let config =
        "servers: { ghost: { command: no-such-command-7f3a }, off: { command: x, disabled: true } }\n";
    std::fs::write(folder.path().join("lockgate.yaml"), config).unwrap();
    let check = |format: &str| {
        let output =
            lockgate().args(["check", "--output", format]).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stdout(&output)
    };
    let text = check("text");
    assert!(text.contains("failed") && text.contains("no-such-command-7f3a"), "{text}");
    assert!(text.contains("servers.ghost.command") && text.contains("1 of 3 failed"), "{text}");
    let document: serde_json::Value = serde_json::from_str(&check("json")).unwrap();
    assert_eq!(document["servers"][0]["name"], "ghost");
    assert!(document["servers"][0]["problem"].as_str().unwrap().contains("ghost"));
    assert_eq!(document["servers"][1]["disabled"], true);
}

#[test]
fn the_configurations_of_the_repository_are_good_and_complete() {
    let folder = repository().join("configs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3);
    for file in &files {
        let loaded = lockgate::config::load(file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.warnings, [], "{}", file.display());
    }
    // The full one names every key that the schema knows.
    let full = std::fs::read_to_string(folder.join("full.yaml")).unwrap();
    let mut keys = Vec::new();
    collect_keys(&lockgate::config::json_schema(), &mut keys);
    assert!(keys.len() > 60);
    let missing: Vec<&String> = keys.iter().filter(|key| !full.contains(&format!("{key}:"))).collect();
    assert!(missing.is_empty(), "not in configs/full.yaml: {missing:?}");
}

#[test]
fn what_the_full_configuration_calls_a_default_is_one() {
    let text = std::fs::read_to_string(repository().join("configs/full.yaml")).unwrap();
    let loaded = lockgate::config::load(&repository().join("configs/full.yaml")).unwrap();
    let defaults = lockgate::config::Config::default();
    let json = |config: &lockgate::config::Limits| serde_json::to_value(config).unwrap();
    assert!(text.contains("# All of these are the defaults.\nlimits:"));
    assert_eq!(json(&loaded.config.limits), json(&defaults.limits));
    let filter = loaded.config.filters.iter().find(|f| f.name.is_some()).unwrap();
    assert_eq!(filter.limits, lockgate::config::FilterLimits::default());
}

fn collect_keys(schema: &serde_json::Value, keys: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                if name == "properties" {
                    keys.extend(value.as_object().unwrap().keys().cloned());
                }
                if name != "default" {
                    collect_keys(value, keys);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        _ => {}
    }
}
