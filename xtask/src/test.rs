//! `cargo xtask test`: everything the tests need, and then all of them.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::steps::{self, cargo, is_there, pass_on, say};
use crate::{plugins, wit};

/// Programs that the suites of other MCP clients run on, and an argument they answer to.
const CLIENTS: [(&str, &str, &str); 4] = [
    ("node", "--version", "Node.js 20 or later"),
    ("npm", "--version", "npm, which comes with Node.js"),
    ("go", "version", "Go 1.25.5 or later (from 1.21 on it fetches that by itself)"),
    ("python3", "--version", "Python 3.10 or later with venv and pip"),
];

/// Builds, then tests. `args` go to `cargo test`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let missing: Vec<&str> = CLIENTS
        .iter()
        .filter(|(name, argument, _)| !is_there(name, argument))
        .map(|(.., what)| *what)
        .collect();
    if !missing.is_empty() {
        bail!("the suites of other MCP clients need {}; install it and run this again", missing.join(", "));
    }
    wit::check()?;
    plugins::build_all()?;
    say("building the servers of the tests");
    steps::run(cargo().args([
        "build",
        "--quiet",
        "--package",
        "fixture-server",
        "--package",
        "notes-server",
    ]))?;
    say(
        "testing (the first run also installs the pinned npm, Python and Go packages into the target folder)",
    );
    pass_on(cargo().args(["test", "--workspace"]).args(args))
}
