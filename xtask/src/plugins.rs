//! Building plugins, through the same crate as `lockgate plugin build`.

use std::path::Path;

use anyhow::Result;
use lockgate_plugin_build::{Options, build};

use crate::steps::{root, say, target};

/// The filters of the demo's chain, in their order. `approve` would be attached as well if it lay beside them.
pub const OF_DEMO: [&str; 4] = ["api-key-auth", "tool-filter", "header-inject", "redact"];

/// All plugins of the workspace, the guests of the tests included, into `target/plugins`.
pub fn build_all() -> Result<()> {
    let folder = target()?.join("plugins");
    say("building all plugins");
    lockgate_plugin_build::build_all(&root(), &folder, &mut |line| say(line))?;
    Ok(())
}

/// Those of the demo into a folder of their own.
pub fn build_for_demo(folder: &Path) -> Result<()> {
    say("building the plugins");
    let options = Options {
        packages: OF_DEMO.map(str::to_owned).to_vec(),
        out_dir: Some(folder.to_owned()),
        ..Options::default()
    };
    build(&root(), &options, &mut |line| say(line))?;
    Ok(())
}
