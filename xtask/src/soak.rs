//! `cargo xtask soak [NAME]`: the long forms of the tests that have one.

use std::process::ExitCode;

use anyhow::Result;

use crate::plugins;
use crate::steps::{cargo, pass_on, say};

/// Test binaries with tests that read `LOCKGATE_SOAK` (`support::processes::soak`).
const BINARIES: [&str; 5] = ["orphans", "children", "framing", "lifecycles", "swap"];

/// Runs all of them, one after the other, or those whose names contain what `args` say.
pub fn run(args: &[String]) -> Result<ExitCode> {
    plugins::build_all()?;
    say("long tests; the whole takes a while");
    let mut command = cargo();
    command.env("LOCKGATE_SOAK", "1").args(["test", "--release", "--package", "lockgate"]);
    for binary in BINARIES {
        command.args(["--test", binary]);
    }
    // Each is worth knowing, whatever became of the others.
    pass_on(command.args(["--no-fail-fast", "--", "--nocapture", "--test-threads=1"]).args(args))
}
