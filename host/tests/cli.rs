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
        assert!(help.lines().count() <= 45, "{arguments:?} has {} lines", help.lines().count());
        assert!(!help.contains('\u{1b}'), "{arguments:?} has escape codes");
    }
}

#[test]
fn no_escape_code_reaches_a_file() {
    let output = run(&["serve"]);
    assert!(!output.stderr.contains(&0x1b));
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
