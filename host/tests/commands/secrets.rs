//! What was given as a secret, or by mistake where something else belongs, is shown nowhere.

use std::process::{Command, Stdio};

use super::support::gate::lockgate;
use super::{Running, fixture};

const SECRET: &str = "hush-4711-hush";

/// All that a command says, on both streams.
fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn wrong_usage_does_not_repeat_a_secret() {
    let far = "https://mcp.example.com/mcp";
    for arguments in [
        vec!["connect", far, "--header", "Authorization Bearer hush-4711-hush"],
        vec!["connect", far, "--header=Authorization Bearer hush-4711-hush"],
        vec!["connect", far, "-H", "Authorization=hush-4711-hush"],
        vec!["connect", far, "-H", "hush-4711-hush"],
        vec!["connect", far, "-H", "Authorization hush-4711-hush: x"],
        vec!["connect", far, "-H", "Authorization: a\nhush-4711-hush"],
        vec!["connect", far, "-H", "Authorization: ${Bearer hush-4711-hush}"],
        vec!["connect", far, "-H", "Authorization: ${LOCKGATE_TEST_UNSET} hush-4711-hush"],
        vec!["connect", "https://me:hush-4711-hush@mcp.example.com/mcp"],
        vec!["connect", "ftp://mcp.example.com/mcp?key=hush-4711-hush"],
        vec!["connect", "//mcp.example.com/mcp?key=hush-4711-hush"],
        vec!["connect", "http://mcp.example.com/mcp?key=hush-4711-hush"],
        vec!["connect", far, "https://other.example.com/mcp?key=hush-4711-hush"],
        vec!["connect", far, "--api-key=hush-4711-hush"],
        vec!["connect", "-H", "Authorization:", "Bearer hush-4711-hush", far],
        vec!["wrap", "--env", "API_KEY hush-4711-hush", "--", "sh"],
        vec!["wrap", "--env", "API_KEY:hush-4711-hush", "--", "sh"],
        vec!["wrap", "--api-key=hush-4711-hush", "--", "sh"],
        vec!["wrap", "-l", ":0", "--", "npx -y x --api-key hush-4711-hush"],
        vec!["wrap", "-l", ":0", "--", "npx -y x --header 'Authorization: Bearer hush-4711-hush'"],
        vec!["wrap", "-l", ":0", "--", "no-such-command-7f3a", "--token", "hush-4711-hush"],
        vec!["wrap", "-l", ":0", "--", "false", "--token", "hush-4711-hush"],
    ] {
        let said = said(lockgate().args(&arguments).env_remove("LOCKGATE_TEST_UNSET"));
        assert!(said.contains("error: "), "{arguments:?}: {said}");
        assert!(!said.contains(SECRET), "{arguments:?}: {said}");
    }
}

#[test]
fn first_lines_and_logs_do_not_show_secrets_of_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let server = folder.path().join("s");
    std::fs::write(&server, format!("#!/bin/sh\nexec {}\n", fixture())).unwrap();
    std::fs::set_permissions(&server, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = lockgate();
    command.args(["wrap", "-l", ":0", "--env", "API_KEY=hush-4711-hush", "--log-level", "trace", "--"]);
    command.arg(&server).args(["--token", SECRET, "--api-key=hush-4711-hush", "-H", "X-Key: hush-4711-hush"]);
    let running = Running::begin(command.stdin(Stdio::null()).stdout(Stdio::null()));
    running.client().call("echo", serde_json::json!({}));
    let said = running.process.stderr();
    assert!(said.contains("(stdio: s --token *** --api-key=*** -H X-Key: ***)"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

/// A configuration with the secret in every place where somebody may have put it.
const CONFIG: &str = r#"
listen: 127.0.0.1:0
servers:
  args: { command: sh, args: [x.sh, --api-key, hush-4711-hush, --token=hush-4711-hush, "https://a.example/?k=hush-4711-hush"], env: { API_KEY: hush-4711-hush, MIXED: "hush-4711-hush${EMPTY}" }, description: "uses --api-key hush-4711-hush" }
  query: { url: "https://mcp.example.invalid/mcp?key=hush-4711-hush", headers: { X-Key: hush-4711-hush, X-Mixed: "Bearer hush-4711-hush${EMPTY}" } }
  mixed: { url: "https://mcp.example.invalid/${EMPTY}mcp?key=hush-4711-hush", disabled: true }
  default: { command: sh, args: [x.sh, "--token=${EMPTY:-hush-4711-hush}"] }
command_urls: { allow: ["sh x.sh --api-key hush-4711-hush", [sh, x.sh, --token, hush-4711-hush]] }
dial_out:
  - { name: out, url: "wss://dial.example.invalid/?key=hush-4711-hush&${EMPTY}", headers: { X: "hush-4711-hush${EMPTY}" }, principal: { id: me, claims: { token: hush-4711-hush } } }
secrets: { s: { value: hush-4711-hush, for: [query] } }
limits: { connect_seconds: 1, probe_seconds: 1 }
"#;

#[test]
fn a_configuration_is_shown_without_its_secrets_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lockgate.yaml"), CONFIG).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = lockgate();
        command.args(arguments).current_dir(folder.path()).env("EMPTY", "");
        command.env("XDG_STATE_HOME", folder.path());
        command
    };
    for arguments in [
        vec!["config", "show"],
        vec!["config", "show", "--output", "json"],
        vec!["check", "--timeout", "2s"],
        vec!["check", "--timeout", "2s", "--output", "json"],
        vec!["check", "--timeout", "2s", "--log-level", "trace"],
        vec!["plugin", "explain", "--server", "query"],
    ] {
        let said = said(&mut command(&arguments));
        assert!(said.contains("query"), "{arguments:?}: {said}");
        assert!(!said.contains(SECRET), "{arguments:?}: {said}");
    }
    let running = Running::begin(
        command(&["serve", "--log-level", "debug"]).stdin(Stdio::null()).stdout(Stdio::null()),
    );
    let said = running.process.stderr();
    assert!(said.contains("  args (stdio: sh x.sh --api-key ***"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn errors_of_a_configuration_do_not_repeat_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    for (config, part) in [
        ("servers: { a: { command: sh, env: { API_KEY=hush-4711-hush: '' } } }", "`API_KEY=***`"),
        ("servers: { a: { command: sh, env: { 'API_KEY=hush-4711-hush': [] } } }", "API_KEY=***"),
        (
            "servers: { a: { url: 'https://a.example', headers: { 'Authorization Bearer hush-4711-hush': x } } }",
            "header",
        ),
        (
            "servers: { a: { url: 'https://a.example', headers: { 'Authorization: hush-4711-hush': [] } } }",
            "headers",
        ),
        ("servers: { a: { url: 'https://me:hush-4711-hush@a.example' } }", "credentials"),
        ("servers: { a: { url: 'ftp://a.example/?hush-4711-hush' } }", "`ftp`"),
        ("servers: { a: { command: sh, args: ['${Bearer hush-4711-hush}'] } }", "names no variable"),
        ("servers: { a: { command: sh, transport: 'token=hush-4711-hush' } }", "is not allowed"),
        ("servers: { a: { command: sh, '--api-key=hush-4711-hush': '' } }", "unknown key"),
        ("servers: { a: { command: 'sh x --api-key hush-4711-hush' } }", "arguments in it"),
        ("dial_out: [{ name: x, url: 'wss://me:hush-4711-hush@a.example' }]", "credentials"),
        (
            "http: { allowed_origins: ['https://a.example/?token=hush-4711-hush'] }\nservers: { a: { command: sh } }",
            "origin",
        ),
        ("listen: 'http://a.example/?token=hush-4711-hush'\nservers: { a: { command: sh } }", "`listen`"),
        ("servers:\n  a:\n    command: sh\n    args: ['--api-key=hush-4711-hush]\n", "lockgate.yaml:"),
        ("servers:\n  a:\n    env: { K: hush-4711-hush\n  b: [\n", "lockgate.yaml:"),
    ] {
        std::fs::write(folder.path().join("lockgate.yaml"), config).unwrap();
        for format in ["text", "json"] {
            let said = said(lockgate().args(["check", "--output", format]).current_dir(folder.path()));
            assert!(said.contains(part), "{config}: {said}");
            assert!(!said.contains(SECRET), "{config}: {said}");
        }
    }
}
