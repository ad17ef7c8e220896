//! Flags of `wrap` and `connect` for what a configuration would say otherwise, and what is said to those
//! who mistype.

use std::process::Stdio;

use serde_json::json;

use super::support::gate::lockgate;
use super::support::{Client, Http};
use super::{Running, fixture, refused};

/// The status and the text that a request with this `Host` and `Origin` gets.
fn asked(running: &Running, host: &str, origin: Option<&str>) -> (u16, String) {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let mut headers = vec![
        ("host", host),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    headers.extend(origin.map(|origin| ("origin", origin)));
    let mut answer = Http::new(running.address).send("POST", "/mcp", &headers, body.as_bytes()).unwrap();
    (answer.status, String::from_utf8(answer.bytes().unwrap()).unwrap())
}

#[test]
fn wrap_accepts_the_hosts_and_origins_it_is_told_and_names_the_flag_to_others() {
    let server = fixture();
    let running = Running::start(&["wrap", "-l", ":0", "--", &server]);
    let (status, text) = asked(&running, "mcpserver:8080", None);
    assert!(status == 403 && text.contains("--allowed-host"), "{status} {text}");
    assert!(!text.contains("http.allowed"), "wrap has no configuration file: {text}");
    let (status, text) = asked(&running, "localhost", Some("https://app.example.com"));
    assert!(status == 403 && text.contains("--allowed-origin"), "{status} {text}");
    drop(running);
    let arguments = [
        "wrap",
        "-l",
        ":0",
        "--allowed-host",
        "mcpserver",
        "--allowed-origin",
        "https://app.example.com",
        "--",
    ];
    let running = Running::start(&[&arguments[..], &[&server]].concat());
    for (host, origin) in [("mcpserver:8080", None), ("localhost", Some("https://app.example.com"))] {
        let (status, text) = asked(&running, host, origin);
        assert_ne!(status, 403, "{host} {origin:?}: {text}");
    }
}

#[test]
fn wrap_lets_pages_of_this_machine_read_if_told_and_names_the_flag_otherwise() {
    let server = fixture();
    for (flags, status) in [(&[][..], 403), (&["--allow-loopback-origins"][..], 204)] {
        let arguments = [&["wrap", "-l", ":0"], flags, &["--", &server]].concat();
        let running = Running::start(&arguments);
        let headers = [("origin", "http://localhost:6274"), ("access-control-request-method", "POST")];
        let mut answer = Http::new(running.address).send("OPTIONS", "/mcp", &headers, b"").unwrap();
        assert_eq!(answer.status, status);
        let text = String::from_utf8(answer.bytes().unwrap()).unwrap();
        assert!(status == 204 || text.contains("--allow-loopback-origins"), "{text}");
        assert!(!text.contains("http.allow"), "{text}");
    }
}

#[test]
fn connect_accepts_the_hosts_it_is_told() {
    let server = fixture();
    let behind = Running::start(&["wrap", "-l", ":0", "--", &server]);
    let url = format!("http://{}/mcp", behind.address);
    let running = Running::start(&["connect", &url, "-l", ":0", "--allowed-host", "mcpserver:8080"]);
    assert_ne!(asked(&running, "mcpserver:8080", None).0, 403);
    let (status, text) = asked(&running, "mcpserver:8081", None);
    assert!(status == 403 && text.contains("--allowed-host"), "{status} {text}");
}

#[test]
fn wrap_has_as_many_processes_as_it_is_told() {
    let server = fixture();
    let running = Running::start(&["wrap", "-l", ":0", "--processes", "10", "--", &server]);
    let mut clients: Vec<Client> = (0..10).map(|_| running.client()).collect();
    for client in &mut clients {
        client.call("whoami", json!({})).result();
    }
}

#[test]
fn bounds_are_set_by_the_name_that_errors_have_for_them() {
    let server = fixture();
    let running = Running::start(&["wrap", "-l", ":0", "--limit", "sessions=1", "--", &server]);
    let _first = running.client();
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "0" } } });
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let mut answer =
        Http::new(running.address).send("POST", "/mcp", &headers, hello.to_string().as_bytes()).unwrap();
    let text = String::from_utf8(answer.bytes().unwrap()).unwrap();
    assert!(answer.status == 503 && text.contains("limits.sessions"), "{} {text}", answer.status);
}

#[test]
fn a_glob_that_hides_nothing_is_said() {
    let server = fixture();
    let said =
        "`--ignore-tool ecoh` hides nothing: no tool of the server is called like that; did you mean `echo`?";
    let arguments = ["wrap", "-l", ":0", "--ignore-tool", "ecoh", "--ignore-tool", "slow", "--", &server];
    let running = Running::start(&arguments);
    let text = running.process.stderr();
    assert!(text.contains(said), "{text}");
    assert!(!text.contains("`--ignore-tool slow`"), "{text}");
    // On stdio it is known with the first list.
    let url = format!("http://{}/mcp", running.address);
    let mut command = lockgate();
    command.args(["connect", &url, "--ignore-tool", "ecoh"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = super::support::child::Watched::start(&mut command);
    let mut stdin = process.process().stdin.take().unwrap();
    for message in [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "0" } } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
    ] {
        std::io::Write::write_all(&mut stdin, format!("{message}\n").as_bytes()).unwrap();
    }
    process.line("warning", |line| line.contains(said));
}

#[test]
fn what_can_match_nothing_is_wrong_usage() {
    for (flag, value, part) in [
        ("--ignore-tool", "[", "`*` stands for any text"),
        ("--ignore-tool", "{a,b}", "`*` stands for any text"),
        ("--ignore-tool", "", "`*` stands for any text"),
        ("--allowed-host", "*.example.com", "no wildcards"),
        ("--allowed-host", "https://a.example.com", "no scheme"),
        ("--allowed-origin", "null", "never let in"),
        ("--allowed-origin", "https://a.example.com/", "without the `/`"),
        ("--processes", "0", "1"),
        ("--limit", "sesions=1", "did you mean `sessions`?"),
        ("--limit", "sessions=x", "a whole number"),
    ] {
        let text = refused(&["wrap", flag, value, "--", "sh"], 2);
        assert!(text.contains(part), "{flag} {value}: {text}");
    }
    for (arguments, part) in [
        (vec!["connect", "https://a.example", "--transport", "websocket"], "ws://"),
        (vec!["connect", "wss://a.example", "--transport", "http-only"], "WebSocket only"),
        (vec!["connect", "wss://a.example", "--enable-proxy"], "--enable-proxy"),
        (vec!["connect", "https://a.example/#x"], "fragment"),
        (vec!["connect", "https://a.example", "-H", "Authorization:"], "no value"),
    ] {
        let text = refused(&arguments, 2);
        assert!(text.contains(part) && !text.contains("command line"), "{arguments:?}: {text}");
    }
}

#[test]
fn an_option_behind_the_program_is_not_swallowed() {
    let server = fixture();
    for (arguments, option) in [
        (vec!["wrap", "sh", "--listen", ":0"], "--listen"),
        (vec!["wrap", "sh", "x", "--listen=:0"], "--listen"),
        (vec!["wrap", "sh", "-l", ":0"], "-l"),
        (vec!["wrap", "-l", ":0", "sh", "--env", "A=b"], "--env"),
        (vec!["wrap", "sh", "--ignore-tool", "x"], "--ignore-tool"),
        (vec!["wrap", "sh", "--log-level", "debug"], "--log-level"),
    ] {
        let text = refused(&arguments, 2);
        assert!(text.contains(&format!("`{option}` stands after the program")), "{text}");
        assert!(text.contains(&format!("lockgate wrap {option} … -- sh")), "{text}");
    }
    // Behind `--` everything is the program's, and so is what is no option of ours.
    let script = format!("exec {server}");
    Running::start(&["wrap", "-l", ":0", "--", "sh", "-c", &script, "sh", "--timeout", "1", "-l", "x"]);
    Running::start(&["wrap", "-l", ":0", &server, "--name", "fx"]);
}

#[test]
fn a_command_in_quotes_and_a_url_are_told_what_they_are() {
    for command in ["npx -y some-server", "node server.js"] {
        let text = refused(&["wrap", "-l", ":0", command], 2);
        assert!(text.contains(&format!("remove the quotes: lockgate wrap -- {command}")), "{text}");
    }
    let text = refused(&["wrap", "https://mcp.example.com/mcp?key=x"], 2);
    assert!(text.contains("lockgate connect https://mcp.example.com/mcp\n"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let spaced = folder.path().join("my server");
    std::os::unix::fs::symlink(fixture(), &spaced).unwrap();
    Running::start(&["wrap", "-l", ":0", "--", spaced.to_str().unwrap()]);
}

#[test]
fn what_other_programs_call_otherwise_is_understood() {
    for (arguments, tip) in [
        (vec!["wrap", "--port", "8080", "--", "sh"], "did you mean '--listen'?"),
        (vec!["wrap", "--prot", "8080", "--", "sh"], "did you mean '--listen'?"),
        (vec!["serve", "--port=8080"], "did you mean '--listen'?"),
        (vec!["serve", "--host", "0.0.0.0"], "did you mean '--listen'?"),
        (vec!["serve", "--file", "x.yaml"], "did you mean '--config'?"),
        (vec!["check", "--json"], "did you mean '--output'?"),
        (vec!["check", "--verbose"], "did you mean '--log-level'?"),
        (vec!["connect", "https://a.example", "--insecure"], "did you mean '--allow-http'?"),
        (vec!["serve", "file.yaml"], "name the configuration with '--config file.yaml'"),
        (vec!["check", "./my/mcp.json"], "name the configuration with '--config ./my/mcp.json'"),
        (vec!["config", "show", "x.toml"], "name the configuration with '--config x.toml'"),
        (vec!["serve", "8080"], "say where to listen with '--listen :8080'"),
        (vec!["file.yaml"], "'lockgate serve --config file.yaml'"),
        (vec!["https://a.example/mcp"], "'lockgate connect https://a.example/mcp'"),
        (vec!["help", "serv"], "'serve'"),
    ] {
        let text = refused(&arguments, 2);
        assert!(text.contains(tip), "{arguments:?}: {text}");
        assert!(text.lines().count() <= 8, "{text}");
    }
}
