//! `cargo xtask bench`: the benchmarks, and the measurements that need a running Lockgate.

use std::process::ExitCode;

use anyhow::Result;

use crate::plugins;
use crate::steps::{self, cargo, pass_on, root, say, target};

/// Everything behind `docs/performance.md`. `args` go to `cargo bench`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    plugins::build_all()?;
    build_guest()?;
    say("benchmarks of the library");
    steps::run(cargo().args(["bench", "--package", "lockgate"]).args(args))?;
    say("on the built binary: lists of 1,000 tools, and from rename to new behaviour");
    pass_on(cargo().args(["test", "--release", "--package", "lockgate", "--test", "measure"]).args([
        "--",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]))
}

/// The guest of `host/benches/hooks.rs`: a workspace of its own.
fn build_guest() -> Result<()> {
    say("building the guest of the benchmarks");
    let toolchain = lockgate_plugin_build::ensure_toolchain(&mut |line| say(line))?;
    let mut command = cargo();
    command.args(["build", "--release", "--target", "wasm32-unknown-unknown"]);
    command.arg("--manifest-path").arg(root().join("host/benches/guest/Cargo.toml"));
    command.arg("--target-dir").arg(target()?.join("bench-guest"));
    toolchain.apply(&mut command);
    steps::run(&mut command)
}
