//! The misbehaving MCP server that Lockgate is tested with, on stdio.
//!
//! It behaves as its flags say from the start, and as its tools say on demand. What arrives is
//! appended to `--log FILE` before anything else happens to it: the tests read there what a proxy
//! in front let through.

#![expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON value yields null where nothing is, and never panics"
)]

mod flags;
mod methods;
mod modern;
mod pipe;
mod rounds;
mod state;
mod tasks;
mod tools;

use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use flags::Flags;
use serde_json::Value;
use state::State;

fn main() -> ExitCode {
    let flags = match Flags::parse(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(message) => {
            eprintln!("fixture-server: {message}");
            return ExitCode::from(2);
        }
    };
    if let Some(text) = &flags.stderr {
        eprintln!("{text}");
    }
    if let Some(code) = flags.exit {
        return ExitCode::from(code);
    }
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixture-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> io::Result<()> {
    if flags.ignore_sigterm {
        // SAFETY: no handler is installed, the signal is only ignored; no other thread exists yet.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    }
    if let Some(path) = &flags.grandchild {
        // Ignored signals are inherited, so with --ignore-sigterm this one is as stubborn.
        let child = Command::new("sleep").arg("100000").spawn()?;
        std::fs::write(path, child.id().to_string())?;
    }
    if let Some(path) = &flags.escapee {
        escape(path)?;
    }
    if flags.noise {
        io::stdout().write_all(b"Welcome to the fixture!\n\n{\"not\":\"json-rpc\"}\n[1,2\n\xff\xfe\n")?;
    }
    if let Some(bytes) = flags.flood_stderr {
        tools::flood_stderr(bytes)?;
    }
    let stay = flags.ignore_stdin_close;
    let state = Arc::new(State::new(flags)?);
    for line in io::stdin().lock().split(b'\n') {
        let line = line?;
        state.log(&line)?;
        match serde_json::from_slice::<Value>(&line) {
            Ok(message) => methods::handle(&state, message)?,
            Err(error) => eprintln!("fixture-server: a line that is not JSON arrived: {error}"),
        }
    }
    if stay {
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

/// Leaves behind what a daemon is: out of the group, out of the session, and nobody's child.
fn escape(pid_file: &Path) -> io::Result<()> {
    let script = "trap '' TERM HUP INT QUIT; sleep 100000 </dev/null >/dev/null 2>&1 & echo $! >\"$0.tmp\" && mv \"$0.tmp\" \"$0\"";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(pid_file).stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: one system call, which needs nothing of the process it was forked from.
    unsafe {
        shell.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    match shell.status()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("nothing escaped")),
    }
}
