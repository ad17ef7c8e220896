//! Builds the plugin, or all plugins of the workspace, in the folder given (or in this one).

use std::path::PathBuf;

fn main() -> Result<(), lockgate_plugin_build::Error> {
    let dir = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let options = lockgate_plugin_build::Options::default();
    for plugin in lockgate_plugin_build::build(&dir, &options, &mut |line| eprintln!("{line}"))? {
        println!("{} ({} bytes)", plugin.path.display(), plugin.size);
    }
    Ok(())
}
