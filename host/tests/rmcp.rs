//! The official Rust SDK as a client of `lockgate serve --stdio`, in each of its ways to begin.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::process::Stdio;

use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt};
use serde_json::json;
use support::{PATIENCE, Setup};

#[derive(Clone, Default)]
struct Client;

impl ClientHandler for Client {}

/// Begins as told, lists, and calls.
async fn works(flags: &[&str], lifecycle: ClientLifecycleMode) {
    let setup = Setup::fixture(flags);
    let mut command = tokio::process::Command::from(setup.command("serve"));
    command.args(["--stdio", "fx"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut gate = command.spawn().unwrap();
    let pipes = (gate.stdout.take().unwrap(), gate.stdin.take().unwrap());
    let working = async {
        let client = Client.serve_with_lifecycle(pipes, lifecycle).await.unwrap();
        let tools = client.list_all_tools().await.unwrap();
        assert!(tools.len() > 20 && tools.iter().any(|tool| tool.name == "echo"), "{} tools", tools.len());
        let arguments = json!({ "said": "größe" }).as_object().cloned().unwrap();
        let call = CallToolRequestParams::new("echo").with_arguments(arguments);
        let result = client.call_tool(call).await.unwrap();
        assert_eq!(result.structured_content, Some(json!({ "said": "größe" })));
        let refused = client.call_tool(CallToolRequestParams::new("no_such_tool")).await.unwrap_err();
        assert!(refused.to_string().contains("no_such_tool"), "{refused}");
        client.cancel().await.unwrap();
    };
    tokio::time::timeout(PATIENCE, working).await.unwrap();
}

fn auto() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    }
}

#[tokio::test]
async fn it_initializes_a_legacy_server() {
    works(&[], ClientLifecycleMode::Initialize).await;
}

#[tokio::test]
async fn it_initializes_a_modern_server() {
    works(&["--modern"], ClientLifecycleMode::Initialize).await;
}

#[tokio::test]
async fn it_discovers_a_legacy_server() {
    let discover = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    works(&[], discover).await;
}

#[tokio::test]
async fn it_discovers_a_modern_server() {
    let discover = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    works(&["--modern"], discover).await;
}

#[tokio::test]
async fn it_finds_out_by_itself_which_era_a_server_speaks() {
    works(&["--modern"], auto()).await;
    works(&[], auto()).await;
}
