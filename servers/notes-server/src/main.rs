//! A small, real MCP server on stdio: a shared notebook. Lockgate's demo stands in front of it.
//!
//! `notes-server [--log FILE]`: with `--log`, every message that arrives is appended to FILE as it
//! came, so that one can see what a proxy in front let through.

#![expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON value yields null where nothing is, and never panics"
)]

mod notebook;
mod protocol;
mod tools;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use notebook::Notebook;
use serde_json::Value;

fn main() -> ExitCode {
    let log = match arguments(std::env::args().skip(1)) {
        Ok(log) => log,
        Err(message) => {
            eprintln!("notes-server: {message}");
            return ExitCode::from(2);
        }
    };
    match serve(log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("notes-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut args: impl Iterator<Item = String>) -> Result<Option<File>, String> {
    let mut log = None;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--log" => {
                let path = args.next().ok_or("--log needs a file")?;
                let file = OpenOptions::new().create(true).append(true).open(&path);
                log = Some(file.map_err(|error| format!("cannot open {path}: {error}"))?);
            }
            other => return Err(format!("unknown argument {other}; usage: notes-server [--log FILE]")),
        }
    }
    Ok(log)
}

fn serve(mut log: Option<File>) -> io::Result<()> {
    let mut notebook = Notebook::seeded();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        if let Some(log) = &mut log {
            // One write per message: lines of several servers in one file do not mix.
            log.write_all(format!("{line}\n").as_bytes())?;
        }
        let mut send = |message: Value| {
            writeln!(out, "{message}")?;
            out.flush()
        };
        match serde_json::from_str::<Value>(&line) {
            Ok(message) => protocol::handle(&mut notebook, &message, &mut send)?,
            Err(error) => send(protocol::error(Value::Null, -32700, &format!("not JSON: {error}")))?,
        }
    }
    Ok(())
}
