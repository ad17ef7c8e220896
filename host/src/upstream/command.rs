//! What a child process is started with: its program, found without a shell, and its environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::{Server, mask};

/// What a child inherits of Lockgate's own environment. Nothing else: not the loader's and the
/// interpreters' variables, and no secret that Lockgate was started with.
const BASE: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ"];

/// A command, ready to be run.
#[derive(Debug)]
pub(super) struct Command {
    /// As configured: what the program sees as its own name.
    pub(super) name: OsString,
    /// The file to run.
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// All of it.
    pub(super) env: BTreeMap<OsString, OsString>,
    pub(super) cwd: Option<PathBuf>,
}

impl Command {
    /// Finds the program of `server`. The error says what was looked for, and where.
    pub(super) fn resolve(
        server: &Server,
        own: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Command, String> {
        let name = server.command.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err("no `command` is configured".to_owned());
        }
        if let Some(cwd) = server.cwd.as_deref().filter(|cwd| !cwd.is_dir()) {
            return Err(format!("its `cwd` {} is not a directory", cwd.display()));
        }
        let mut env: BTreeMap<OsString, OsString> =
            BASE.iter().filter_map(|key| Some(((*key).into(), own(key)?))).collect();
        for (key, value) in &server.env {
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!(
                    "its `env` has an entry that is no environment variable: `{}`",
                    mask::variable(key)
                ));
            }
            env.insert(key.into(), value.into());
        }
        let path = env.get(OsStr::new("PATH")).map(OsString::as_os_str);
        let program = find(name, path, server.cwd.as_deref())?;
        Ok(Command { name: name.into(), program, args: server.args.clone(), env, cwd: server.cwd.clone() })
    }
}

fn find(name: &str, path: Option<&OsStr>, cwd: Option<&Path>) -> Result<PathBuf, String> {
    let shown = mask::word(name);
    if name.contains('/') {
        // Relative to where it will run, as a shell in that directory would have it.
        let file = cwd.map_or_else(|| PathBuf::from(name), |cwd| cwd.join(name));
        let file = std::path::absolute(&file).unwrap_or(file);
        return match runnable(&file) {
            Ok(()) => Ok(file),
            Err(why) => Err(format!("command `{shown}` {why} ({})", file.display())),
        };
    }
    let path = path.unwrap_or_default();
    let mut not_runnable = None;
    for dir in std::env::split_paths(path).filter(|dir| dir.is_absolute()) {
        let file = dir.join(name);
        match runnable(&file) {
            Ok(()) => return Ok(file),
            Err(NOT_EXECUTABLE) => not_runnable = Some(file),
            Err(_) => {}
        }
    }
    if let Some(file) = not_runnable {
        return Err(format!("command `{shown}` {NOT_EXECUTABLE} ({})", file.display()));
    }
    let searched = if path.is_empty() { "empty".to_owned() } else { path.to_string_lossy().into_owned() };
    Err(format!(
        "command `{shown}` was not found; PATH searched: {searched}. Install it, or give its full path as `command`, \
         or set PATH in the server's `env`"
    ))
}

const NOT_EXECUTABLE: &str = "is not executable";

fn runnable(file: &Path) -> Result<(), &'static str> {
    let Ok(meta) = file.metadata() else { return Err("does not exist") };
    if !meta.is_file() {
        return Err("is not a file");
    }
    let c_path = std::ffi::CString::new(file.as_os_str().as_bytes()).map_err(|_| "does not exist")?;
    // SAFETY: `c_path` is a NUL-terminated string that outlives the call.
    if unsafe { libc::access(c_path.as_ptr(), libc::X_OK) } == 0 { Ok(()) } else { Err(NOT_EXECUTABLE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(command: &str) -> Server {
        Server { command: Some(command.to_owned()), ..Server::default() }
    }

    fn own(key: &str) -> Option<OsString> {
        match key {
            "PATH" => Some("/nonexistent/a:/bin".into()),
            "HOME" => Some("/home/me".into()),
            "LD_PRELOAD" | "SECRET" | "NODE_OPTIONS" => Some("no".into()),
            _ => None,
        }
    }

    #[test]
    fn a_command_that_is_not_found_names_itself_and_the_path_searched() {
        let error = Command::resolve(&server("no-such-command"), own).unwrap_err();
        assert!(error.contains("`no-such-command`") && error.contains("/nonexistent/a:/bin"), "{error}");
        let mut with_path = server("no-such-command");
        with_path.env.insert("PATH".into(), "/declared".into());
        let error = Command::resolve(&with_path, own).unwrap_err();
        assert!(error.contains("/declared") && !error.contains("/nonexistent"), "{error}");
    }

    #[test]
    fn the_environment_is_the_base_and_what_is_declared() {
        let mut declaring = server("sh");
        declaring.env.insert("LD_LIBRARY_PATH".into(), "/declared".into());
        declaring.env.insert("HOME".into(), "/other".into());
        let command = Command::resolve(&declaring, own).unwrap();
        assert_eq!(command.program, Path::new("/bin/sh"));
        let keys: Vec<_> =
            command.env.iter().map(|(k, v)| format!("{}={}", k.display(), v.display())).collect();
        assert_eq!(keys, ["HOME=/other", "LD_LIBRARY_PATH=/declared", "PATH=/nonexistent/a:/bin"]);
    }

    #[test]
    fn files_that_cannot_run_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "x").unwrap();
        let mut relative = server("./plain");
        relative.cwd = Some(dir.path().to_owned());
        let error = Command::resolve(&relative, own).unwrap_err();
        assert!(error.contains("is not executable"), "{error}");
        relative.command = Some("./absent".into());
        assert!(Command::resolve(&relative, own).unwrap_err().contains("does not exist"));
        relative.cwd = Some(dir.path().join("absent"));
        assert!(Command::resolve(&relative, own).unwrap_err().contains("`cwd`"));
        relative.cwd = None;
        relative.command = Some("plain".into());
        relative.env.insert("PATH".into(), dir.path().display().to_string());
        assert!(Command::resolve(&relative, own).unwrap_err().contains("is not executable"));
        assert!(Command::resolve(&Server::default(), own).unwrap_err().contains("no `command`"));
    }
}
