//! A look at the servers before `ready`: the ones that must work, and commands that do not exist.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures_util::future::join_all;

use super::super::probe::{NO_ANSWER, probe};
use super::super::stack::Stack;
use crate::config::{Loaded, Server, mask};
use crate::filter::{glob, ignore};
use crate::upstream::LAST_WORDS;

/// A start that takes longer is spoken of: nobody should wonder whether anything happens.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connects to servers with `required: true`, and warns of commands that cannot be started. Other
/// servers are connected to when somebody asks for them.
///
/// # Errors
/// A required server does not work. All of them are named.
pub async fn check(loaded: &Loaded, stack: &Stack) -> anyhow::Result<()> {
    let served = || loaded.config.servers.iter().filter(|(_, server)| !server.disabled);
    for (name, server) in served().filter(|(_, server)| !server.required) {
        if let Some(problem) = missing_command(server) {
            tracing::warn!("server `{name}` will not start: {problem}");
        }
    }
    let timeout = Duration::from_secs(loaded.config.limits.call_seconds);
    let probes = served().filter(|(_, server)| server.required).map(|(name, _)| async move {
        let found = probe(stack.upstreams(), Arc::from(name.as_str()), stack.outgoing(name), timeout).await;
        found.err()
    });
    let broken: Vec<String> = join_all(probes).await.into_iter().flatten().collect();
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{}\n  it is `required`: repair it, or remove `required` to serve the others", broken.join("\n"))
}

/// Connects to the one server of a command that serves nothing else, as its clients will, and lets
/// go of it again.
///
/// # Errors
/// It does not work: why, with the last lines it wrote to stderr, and what to do.
pub async fn insist(loaded: &Loaded, stack: &Stack, server: &str, ignored: &[String]) -> anyhow::Result<()> {
    let Some(configured) = loaded.config.servers.get(server) else { bail!("there is no server `{server}`") };
    // A look at the files says it better than what an attempt to start would.
    if let Some(problem) = missing_command(configured) {
        bail!("cannot start `{}`: {problem}\n  install it, or give its full path", program(configured));
    }
    let timeout = Duration::from_secs(loaded.config.limits.call_seconds);
    let probing = probe(stack.upstreams(), Arc::from(server), stack.outgoing(server), timeout);
    tokio::pin!(probing);
    let found = tokio::select! {
        found = &mut probing => found,
        () = tokio::time::sleep(PATIENCE) => {
            tracing::info!("waiting up to {timeout:?} for server `{server}` to start (it may have to be downloaded first)");
            probing.await
        }
    };
    match found {
        Ok(found) => {
            for glob in
                ignored.iter().filter(|glob| !found.tools.iter().any(|tool| glob::matches(glob, tool)))
            {
                tracing::warn!("{}", ignore::hides_nothing(glob, found.tools.iter().map(String::as_str)));
            }
            Ok(())
        }
        Err(problem) if problem.contains(NO_ANSWER) => bail!(
            "`{}` is no MCP server: it sends back what it is sent\n  correct the command and its arguments",
            program(configured)
        ),
        Err(problem) => match problem.split_once(LAST_WORDS) {
            Some((what, words)) => bail!("{what}; the last it said:\n  {}", words.replace(" | ", "\n  ")),
            None => match hint(&problem) {
                Some(hint) => bail!("{problem}\n  {hint}"),
                None => bail!("{problem}"),
            },
        },
    }
}

/// What the flags of a command can do about a remote server that does not work.
fn hint(problem: &str) -> Option<&'static str> {
    let says = |status: &str| problem.contains(&format!("HTTP {status}"));
    if says("401") || says("403") {
        return Some("send credentials: --header 'Authorization: Bearer ${TOKEN}'");
    }
    (says("404") || says("405")).then_some("check the path: it usually ends with /mcp or /sse")
}

fn program(server: &Server) -> String {
    mask::word(server.command.as_deref().unwrap_or_default())
}

/// Why a server's command cannot be started, as far as a look at the files tells.
pub fn missing_command(server: &Server) -> Option<String> {
    let command = server.command.as_deref()?;
    let shown = program(server);
    if command.contains('/') {
        // Relative to where it will run.
        let path = server.cwd.as_deref().unwrap_or(Path::new("")).join(command);
        return match std::fs::metadata(path) {
            Err(e) => Some(format!("{shown}: {}", crate::config::expand::plain(&e))),
            Ok(meta) if !meta.is_file() => Some(format!("{shown} is no file")),
            Ok(meta) if !executable(&meta) => Some(format!("{shown} may not be executed (chmod +x)")),
            Ok(_) => None,
        };
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let searched = server.env.get("PATH").map_or(own, std::ffi::OsString::from);
    let found = std::env::split_paths(&searched)
        .map(|folder: PathBuf| folder.join(command))
        .any(|file| std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && executable(&meta)));
    let searched = searched.to_string_lossy();
    (!found).then(|| format!("no command `{shown}` in the PATH, which is {searched}"))
}

fn executable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(command: &str) -> Server {
        Server { command: Some(command.into()), ..Server::default() }
    }

    #[test]
    fn commands_that_cannot_start_are_found() {
        assert_eq!(missing_command(&server("sh")), None);
        assert_eq!(missing_command(&server("/bin/sh")), None);
        assert!(
            missing_command(&server("no-such-command-7f3a")).unwrap().contains("in the PATH, which is /")
        );
        assert!(missing_command(&server("/no/such")).unwrap().contains("no such file"));
        assert!(missing_command(&server("/etc")).unwrap().contains("is no file"));
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let said = missing_command(&server(plain.to_str().unwrap()));
        assert!(said.unwrap().contains("may not be executed"));
        let mut elsewhere = server("sh");
        elsewhere.env.insert("PATH".into(), "/nowhere".into());
        assert!(missing_command(&elsewhere).unwrap().ends_with("/nowhere"));
    }
}
