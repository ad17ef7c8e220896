//! `@modelcontextprotocol/server-filesystem` without directories: it asks its client for the roots as soon as
//! it is initialized, outside of any call, and allows what these are.

use serde_json::{Value, json};

use super::support::{Modern, Setup};
use super::{node, text};

fn server(more: Value) -> Setup {
    let program = node().join("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    let server = json!({ "command": "node", "args": [program] });
    Setup::new().with_server("files", server).server_keys("files", more)
}

#[test]
fn a_modern_client_is_asked_for_its_roots_with_its_first_call() {
    let folder = tempfile::tempdir().unwrap();
    // The server compares real paths.
    let folder = folder.path().canonicalize().unwrap();
    let file = folder.join("note.txt");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(&file, "all is allowed that is in a root").unwrap();
    let gate = server(json!({})).start();
    let client = Modern::new(gate.address, "files").able_to(json!({ "roots": {} }));
    assert!(client.request("tools/list", json!({})).result()["tools"].is_array());
    let arguments = json!({ "path": text(&file) });
    let asked = client.call("read_text_file", arguments.clone());
    let (questions, state) = asked.questions();
    assert_eq!(questions["r1"]["method"], "roots/list", "{asked:?}");
    let roots = json!({ "roots": [{ "uri": format!("file://{}", folder.display()), "name": "here" }] });
    let read = client.retry("read_text_file", arguments.clone(), state, json!({ "r1": roots }));
    assert_eq!(read.text(), "all is allowed that is in a root", "{read:?}");
    assert_eq!(client.call("read_text_file", arguments).text(), "all is allowed that is in a root");
    let outside = client.call("read_text_file", json!({ "path": "/etc/hostname" }));
    assert!(outside.text().contains("Access denied"), "{outside:?}");
}
