//! What is sealed for clients: cursors and session ids, and the keys that do it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use serde_json::{Value, json};
use support::{Client, Setup, paths};

/// A server of several pages that is the same one in every test folder.
fn paged(pages: &str) -> Setup {
    let args = ["--name", "fx", "--page", pages];
    let server = json!({ "command": paths::server("fixture-server"), "args": args, "isolation": "shared" });
    Setup::new().with_server("fx", server)
}

fn first_cursor(client: &mut Client, method: &str) -> String {
    client.request(method, json!({})).result()["nextCursor"].as_str().unwrap().to_owned()
}

fn page(client: &mut Client, method: &str, cursor: impl Into<Value>) -> Result<Value, i64> {
    let answer = client.request(method, json!({ "cursor": cursor.into() }));
    match answer.message.get("error") {
        None => Ok(answer.result().clone()),
        Some(error) => Err(error["code"].as_i64().unwrap()),
    }
}

#[test]
fn a_cursor_leads_to_the_next_page_of_its_own_list_and_nowhere_else() {
    let gate = Setup::fixture(&["--page", "1"]).with_fixture("other", &["--page", "1"]).start();
    let (mut client, mut stranger, mut other) = (gate.client("fx"), gate.client("fx"), gate.client("other"));
    let cursor = first_cursor(&mut client, "resources/list");
    assert_ne!(cursor, "1", "the server's own cursor is not shown");
    let second = page(&mut client, "resources/list", &*cursor).unwrap();
    assert_eq!(second["resources"][0]["uri"], "fixture://open/2");
    assert_eq!(client.list("resources/list", "resources").len(), 4, "all pages can be walked");

    let altered = format!("{}{}", if cursor.starts_with('B') { 'C' } else { 'B' }, &cursor[1..]);
    let marks = (gate.arrived("fx").len(), gate.arrived("other").len());
    for (what, refused) in [
        ("another session", page(&mut stranger, "resources/list", &*cursor)),
        ("another list", page(&mut client, "prompts/list", &*cursor)),
        ("another server", page(&mut other, "resources/list", &*cursor)),
        ("altered", page(&mut client, "resources/list", altered)),
        ("the server's own", page(&mut client, "resources/list", "1")),
        ("no text", page(&mut client, "resources/list", 1)),
        ("empty", page(&mut client, "resources/list", "")),
        ("long", page(&mut client, "resources/list", "A".repeat(1 << 20))),
    ] {
        assert_eq!(refused, Err(-32602), "{what}");
    }
    assert_eq!((gate.arrived("fx").len(), gate.arrived("other").len()), marks, "nothing reached a server");
    assert!(page(&mut client, "resources/list", Value::Null).is_ok(), "null is no cursor");
}

#[test]
fn a_rotated_key_still_opens_and_a_removed_one_does_not() {
    let (old, new) = ("an old key of thirty-two bytes....", "a new key of thirty-two bytes.....");
    let setup = || paged("1");
    let before = setup().with_top("keys", json!([old])).start();
    let cursor = first_cursor(&mut before.client("fx"), "resources/list");
    let rotated = setup().with_top("keys", json!([new, old])).start();
    assert!(page(&mut rotated.client("fx"), "resources/list", &*cursor).is_ok());
    let fresh = first_cursor(&mut rotated.client("fx"), "resources/list");
    assert_eq!(page(&mut before.client("fx"), "resources/list", fresh), Err(-32602), "the first key seals");
    let after = setup().with_top("keys", json!([new])).start();
    assert_eq!(page(&mut after.client("fx"), "resources/list", cursor), Err(-32602));
}

#[test]
fn a_key_of_its_own_outlives_a_restart_and_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    let state = tempfile::tempdir().unwrap();
    let start = || paged("1").with_top("state_dir", json!(state.path())).start();
    let cursor = first_cursor(&mut start().client("fx"), "resources/list");
    assert!(page(&mut start().client("fx"), "resources/list", cursor).is_ok());
    let key = state.path().join("key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let setup = Setup::fixture(&[]).with_top("state_dir", json!(state.path()));
    let refused = setup.start_badly();
    refused.line("refusal", |line| line.contains("is open to others (mode 640)"));
    assert!(!refused.stderr().contains(text.trim()), "the key is never shown");
}

#[test]
fn a_cursor_is_none_of_another_server_that_got_the_name() {
    let state = tempfile::tempdir().unwrap();
    let start = |pages: &str, env: Value| {
        let setup = paged(pages).server_keys("fx", json!({ "env": env }));
        setup.with_top("state_dir", json!(state.path())).start()
    };
    let cursor = first_cursor(&mut start("1", json!({})).client("fx"), "resources/list");
    let page = |gate: support::Gate| page(&mut gate.client("fx"), "resources/list", &*cursor);
    assert_eq!(page(start("2", json!({}))), Err(-32602), "another command");
    assert_eq!(page(start("1", json!({ "TOKEN": "of another" }))), Err(-32602), "another's credentials");
    assert!(page(start("1", json!({}))).is_ok());
}

#[test]
fn weak_keys_are_refused_with_a_place_and_what_to_do() {
    for (keys, said) in [
        (json!(["short"]), "`keys[0]` has 5 bytes; a key has 32 at least"),
        (json!(["x".repeat(32), "x".repeat(32)]), "`keys[1]` is there twice"),
    ] {
        let setup = Setup::fixture(&[]).with_top("keys", keys);
        let refused = setup.start_badly();
        refused.line("refusal", |line| line.contains(said));
    }
}

#[test]
fn a_forged_session_id_is_answered_like_one_that_ended() {
    let gate = Setup::fixture(&[]).start();
    let mut client = gate.client("fx");
    let id = client.session().unwrap().to_owned();
    assert!(id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{id}");
    assert_eq!(client.close(), 204);
    let mut told = Vec::new();
    for named in [&*id, "forged", &id[..id.len() - 1], &"A".repeat(8 << 10)] {
        let headers = [("mcp-session-id", named)];
        let mut other = Client::unopened(gate.address, "fx", owned(&headers));
        let answer = other.request("tools/list", json!({}));
        told.push((answer.status, answer.message["error"].clone()));
    }
    assert_eq!(told[0].0, 404);
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_empty_cursor_stays_empty_so_that_a_client_which_loops_while_there_is_one_ends() {
    let gate = Setup::fixture(&["--lists", "empty-cursor"]).start();
    let answer = gate.client("fx").request("tools/list", json!({}));
    assert_eq!(answer.result()["nextCursor"], "");
}
