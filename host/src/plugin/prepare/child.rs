//! The other side: what the child process does.

use std::io::{Read, Write};
use std::process::ExitCode;

use bytes::Bytes;

use super::protocol::{Answer, PREFIX, Refusal, Request, read};
use super::{Prepared, limits};
use crate::plugin::load::StartKind;
use crate::wasm;

/// Instances of the engine that only prepares: one is needed, a large plugin counts for several.
const INSTANCES: u32 = 8;

/// The subcommand `plugin-prepare`: reads a request on stdin, writes the artifact to the file that it
/// names and one line to stdout. Ends when stdin closes, so that it never outlives who asked.
pub fn run_prepare() -> ExitCode {
    let (request, plugin) = match read(std::io::stdin().lock()) {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("`plugin-prepare` is for Lockgate itself: {error}");
            return ExitCode::from(2);
        }
    };
    limits::bound_this_process(request.seconds, request.plugin_bytes, request.limits.memory_mib);
    let watch = std::thread::Builder::new().name("parent".to_owned()).spawn(|| {
        let _ = std::io::stdin().lock().read(&mut [0]);
        std::process::exit(3);
    });
    if let Err(error) = watch {
        eprintln!("cannot start a thread: {error}");
        return ExitCode::FAILURE;
    }
    let answer = match answer(&request, &plugin) {
        Ok(start) => Answer::Prepared { start },
        Err(refusal) => Answer::Refused(refusal),
    };
    match serde_json::to_string(&answer).map(|line| println!("\n{PREFIX}{line}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer(request: &Request, plugin: &[u8]) -> Result<StartKind, Refusal> {
    let machine = |error: &dyn std::fmt::Display| Refusal::Machine(error.to_string());
    // What is compiled does not depend on how many will run, and address space is bounded here.
    let instances = request.engine_instances.min(INSTANCES);
    let settings = wasm::EngineSettings { instances, memory_mib: request.engine_memory_mib };
    let engine = wasm::Engine::new(&settings).map_err(|error| machine(&error))?;
    let prepared = prepare(&engine, request, plugin)?;
    let file = std::fs::OpenOptions::new().write(true).truncate(true).open(&request.artifact);
    file.and_then(|mut file| file.write_all(&prepared.artifact)).map_err(|error| machine(&error))?;
    Ok(prepared.start)
}

/// Prepares right here.
pub(super) fn prepare(engine: &wasm::Engine, request: &Request, plugin: &[u8]) -> Result<Prepared, Refusal> {
    let prepared = wasm::prepare(
        engine,
        wasm::Preparation {
            wasm: plugin,
            config: &request.config,
            limits: &request.limits,
            name: &request.name,
        },
    );
    match prepared {
        Ok(prepared) => {
            let start = match prepared.start {
                wasm::Start::Snapshot => StartKind::Snapshot,
                wasm::Start::Configure { reason } => StartKind::Configure { reason },
                wasm::Start::Plain => StartKind::Plain,
            };
            Ok(Prepared { artifact: Bytes::from(prepared.artifact), start })
        }
        Err(wasm::PrepareError::Host(reason)) => Err(Refusal::Machine(reason)),
        Err(error) => Err(Refusal::Plugin(error.to_string())),
    }
}
