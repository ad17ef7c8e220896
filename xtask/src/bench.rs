//! `cargo xtask bench`: the benchmarks, and the measurements that need a running Lockgate.

use std::process::ExitCode;

use anyhow::Result;

use crate::plugins;
use crate::steps::{self, cargo, pass_on, say};

/// Everything behind `docs/performance.md`. `args` go to `cargo bench`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    plugins::build_all()?;
    say("benchmarks of the library");
    steps::run(cargo().args(["bench", "--package", "lockgate"]).args(args))?;
    say("from rename to new behaviour, on the built binary");
    pass_on(cargo().args(["test", "--release", "--package", "lockgate", "--test", "reload"]).args([
        "--",
        "--ignored",
        "--nocapture",
        "measure",
    ]))
}
