//! Building plugins, through the same crate as `lockgate plugin build`.

use std::path::Path;

use anyhow::Result;
use lockgate_plugin_build::{Options, build};

use crate::steps::{root, say, target};

/// The four that the product exists for, in the order of the demo's chain.
pub const SHIPPED: [&str; 4] = ["api-key-auth", "tool-filter", "header-inject", "redact"];

/// All plugins of the workspace, the guests of the tests included, into `target/plugins`.
pub fn build_all() -> Result<()> {
    let folder = target()?.join("plugins");
    say("building all plugins");
    lockgate_plugin_build::build_all(&root(), &folder, &mut |line| say(line))?;
    Ok(())
}

/// The shipped ones into a folder of their own.
pub fn build_shipped(folder: &Path) -> Result<()> {
    say("building the plugins");
    let options = Options {
        packages: SHIPPED.map(str::to_owned).to_vec(),
        out_dir: Some(folder.to_owned()),
        ..Options::default()
    };
    build(&root(), &options, &mut |line| say(line))?;
    Ok(())
}
