//! `cargo xtask demo`: everything built, Lockgate running, and what to try next.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::plugins;
use crate::steps::{self, cargo, root, say, target};

/// Builds and serves until interrupted. `args` go to `lockgate serve`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let target = target()?;
    let folder = target.join("demo/plugins");
    say("building lockgate and the notes server (the first time takes some minutes)");
    steps::run(cargo().args(["build", "--package", "lockgate", "--package", "notes-server"]))?;
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    closed_to_others(&folder)?;
    plugins::build_for_demo(&folder)?;
    say("starting: lockgate serve --config configs/demo.yaml");
    let mut lockgate = Command::new(target.join("debug/lockgate"));
    lockgate.args(["serve", "--config", "configs/demo.yaml"]).args(args).current_dir(root());
    let mut lockgate = lockgate.stderr(Stdio::piped()).spawn().context("lockgate cannot be started")?;
    // Ctrl-C reaches both of us. Lockgate drains; we only wait for it.
    // SAFETY: no handler is installed, the signal is only ignored.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    if let Some(stderr) = lockgate.stderr.take() {
        follow(BufReader::new(stderr));
    }
    let status = lockgate.wait().context("lockgate cannot be waited for")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Passes Lockgate's lines on, and says what to try once it is ready.
fn follow(lines: impl BufRead) {
    let mut address = String::new();
    for line in lines.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        if let Some((_, rest)) = line.split_once(" on http://") {
            address = format!("http://{}", rest.split(['/', ' ']).next().unwrap_or_default());
        }
        if line.trim() == "ready" {
            println!("{}", what_to_try(&address));
        }
    }
}

fn what_to_try(address: &str) -> String {
    let root = root();
    let config = root.join("configs/demo.yaml");
    let folder = root.join("target/demo/plugins");
    format!(
        r#"
Lockgate stands in front of a small notebook server, with four filters. Try:

1. Call a tool (a session first, then the call; mind the redacted e-mail addresses):

   SESSION=$(curl -sD - -o /dev/null {address}/notes/mcp \
     -H 'Authorization: Bearer demo-key' -H 'Content-Type: application/json' \
     -H 'Accept: application/json, text/event-stream' \
     -d '{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{}},"clientInfo":{{"name":"curl","version":"0"}}}}}}' \
     | tr -d '\r' | sed -n 's/^mcp-session-id: //Ip')
   curl -s {address}/notes/mcp -H "Mcp-Session-Id: $SESSION" -H 'MCP-Protocol-Version: 2025-11-25' \
     -H 'Authorization: Bearer demo-key' -H 'Content-Type: application/json' \
     -H 'Accept: application/json, text/event-stream' \
     -d '{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"team"}}}}'

2. Use it from an MCP client:

   {{ "mcpServers": {{ "notes": {{
       "type": "http", "url": "{address}/notes/mcp",
       "headers": {{ "Authorization": "Bearer demo-key" }} }} }} }}

3. Watch a filter change while it runs: take `tool-filter` out of the chain in
     {config}
   (or let it deny something else) and save: within a second `delete_note` is in tools/list, and
   clients are told. Or rebuild a plugin into
     {folder}
   and see the line that says it was swapped.

Ctrl-C ends it.
"#,
        config = config.display(),
        folder = folder.display(),
    )
}

/// The watched directory must not be writable by others, whatever the umask was.
fn closed_to_others(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the permissions of {} cannot be set", folder.display()))
}
