//! `lockgate plugin build`: from the source of a plugin to its component.

use std::process::ExitCode;

use lockgate_plugin_build::{Options, build};

/// Builds the plugin in a folder, or all plugins of a workspace, and prints where they are.
pub fn run(arguments: super::BuildArguments) -> anyhow::Result<ExitCode> {
    let mut options = Options::default();
    match arguments.out {
        Some(out) if out.is_dir() => options.out_dir = Some(out),
        out => options.out_file = out,
    }
    let built = build(&arguments.source, &options, &mut |line| eprintln!("{line}"))?;
    for plugin in built {
        super::print(&format!("{} ({} KB)\n", plugin.path.display(), plugin.size.div_ceil(1000)))?;
    }
    Ok(ExitCode::SUCCESS)
}
