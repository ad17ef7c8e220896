//! Commands that are started by their URL.

use std::process::Stdio;

use serde_json::{Value, json};

use super::support::gate::lockgate;
use super::support::{Client, Http};
use super::{Running, Stream, fixture, pid_of};

/// One segment of a path, as `encodeURIComponent` writes it.
fn encoded(command: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b);
    command.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn serve(folder: &std::path::Path, config: &Value) -> Running {
    let file = folder.join("lockgate.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = lockgate();
    command.args(["serve", "--listen", ":0", "--config", file.to_str().unwrap()]);
    command.env("KEPT_BACK", "canary-9c41").env("NODE_OPTIONS", "--no-warnings");
    Running::begin(command.stdin(Stdio::null()).stdout(Stdio::null()))
}

fn status(running: &Running, path: &str) -> u16 {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": super::support::client::full() });
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let sent = Http::new(running.address).send("POST", path, &headers, body.to_string().as_bytes());
    sent.unwrap().status
}

#[test]
fn row_a1_an_allowed_command_is_served_at_its_url_and_no_other_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, marker) = (fixture(), folder.path().join("marker"));
    let line = format!("{fixture} --name 'by line'");
    let words = [fixture.as_str(), "--name", "by words"];
    let touch = format!("touch {}", marker.display());
    let running = serve(
        folder.path(),
        &json!({
            "servers": { "notes": { "command": fixture, "args": ["--name", "configured"] } },
            "command_urls": { "allow": [line, words] },
        }),
    );
    let said = running.process.stderr();
    let place = format!("  http://{}/{}/mcp ", running.address, encoded(&line).replace('\'', "%27"));
    assert!(said.contains(&place), "{place} is not in:\n{said}");

    for (command, name) in
        [(line.clone(), "by line"), (format!("{fixture}  --name \"by words\""), "by words")]
    {
        let mut client = Client::open_at(running.address, &format!("/{}/mcp", encoded(&command)));
        assert_eq!(client.initialized["serverInfo"]["name"], name);
        assert!(client.tools().contains(&"echo".to_owned()), "no prefix");
        let said = client.call("whoami", json!({}));
        let variables = said.result()["structuredContent"]["env"].as_object().unwrap();
        // LOCKGATE_CHILD is how Lockgate finds its own again.
        let fixed = ["LOCKGATE_CHILD", "PATH", "HOME", "USER", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ"];
        assert!(variables.keys().all(|name| fixed.contains(&name.as_str())), "{variables:?}");
    }
    // The URL of the original: an SSE stream, and where to post to beside it.
    let (mut stream, initialized) = Stream::open(running.address, &format!("/{}/sse", encoded(&line)));
    assert_eq!(initialized["serverInfo"]["name"], "by line");
    assert!(stream.post_to.starts_with(&format!("/{}/message?", encoded(&line))), "{}", stream.post_to);
    assert_eq!(stream.call(1, "echo", json!({ "a": 1 }))["result"]["structuredContent"]["a"], 1);

    // Each session has a process of its own, as configured servers have.
    let path = format!("/{}/mcp", encoded(&line));
    let (mut a, mut b) = (Client::open_at(running.address, &path), Client::open_at(running.address, &path));
    assert_ne!(pid_of(&mut a), pid_of(&mut b));

    // Whatever is not on the list, however it is put, is not found and not run.
    for command in [
        touch.clone(),
        format!("{line}; {touch}"),
        format!("{line} && {touch}"),
        format!("{line} "),
        format!("{line} --ignore-sigterm"),
        format!("{fixture} --name by line"),
        format!("sh -c '{touch}'"),
        fixture.clone(),
        "mcp".to_owned(),
    ] {
        assert_eq!(status(&running, &format!("/{}/mcp", encoded(&command))), 404, "{command}");
    }
    for path in ["/%/mcp", "/%zz/mcp", "/%ff/mcp", "/../mcp", "//mcp"] {
        assert_eq!(status(&running, path), 404, "{path}");
    }
    assert!(!marker.exists(), "something was run");
    assert!(!running.process.stderr().contains("WARN"), "nor was a start tried");
    let mut notes = Client::open(running.address, "notes");
    assert_eq!(notes.initialized["serverInfo"]["name"], "configured");
    assert!(notes.call("echo", json!({})).message.get("result").is_some());
}

#[test]
fn row_a1_without_a_list_no_command_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let running = serve(folder.path(), &json!({ "servers": { "notes": { "command": fixture() } } }));
    assert_eq!(status(&running, &format!("/{}/mcp", encoded(&fixture()))), 404);
}
