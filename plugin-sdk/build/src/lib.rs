//! The plugin toolchain: from a Rust crate to a Lockgate plugin.
//!
//! [`build`] runs cargo for `wasm32-unknown-unknown`, turns the module into a component, writes the
//! crate's name, version, description, authors and licence into it and puts `<name>.wasm` into
//! `target/plugins`. [`ensure_toolchain`] finds or installs what that needs.
//!
//! No WebAssembly is run here. `lockgate plugin build` and `cargo xtask build-plugins` are thin
//! callers of this crate.

use std::path::{Path, PathBuf};

mod cargo;
mod component;
mod error;
mod toolchain;

pub use component::{About, componentize};
pub use error::Error;
pub use toolchain::{Toolchain, ensure_toolchain};

/// What to build and where to put it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only these packages of the workspace; all of its plugins if empty.
    pub packages: Vec<String>,
    /// Folder for `<name>.wasm`; `plugins` in the workspace's target folder if none.
    pub out_dir: Option<PathBuf>,
    /// The file itself, for a build of exactly one plugin. Wins over `out_dir`.
    pub out_file: Option<PathBuf>,
}

/// One finished plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Name of the package, and so of the plugin.
    pub name: String,
    /// The component.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

/// Builds the plugin crate in `dir`, or all plugins if `dir` is the root of a workspace, in one run
/// of cargo. Cargo's own output goes to standard error; `progress` gets what this crate does.
///
/// # Errors
/// If there is no toolchain, the crate does not compile, or the module is not a plugin. Files are
/// replaced only by complete ones.
pub fn build(dir: &Path, options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Vec<Built>, Error> {
    let workspace = cargo::Workspace::read(dir)?;
    let packages = workspace.plugins(dir, &options.packages)?;
    if let (Some(file), false) = (&options.out_file, packages.len() == 1) {
        return Err(Error::OneFileForMany { file: file.clone(), plugins: packages.len() });
    }
    let toolchain = ensure_toolchain(progress)?;
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    progress(&format!("compiling {} for {}", names.join(", "), toolchain::TARGET));
    let modules = cargo::compile(&workspace, &packages, &toolchain)?;
    let out_dir = options.out_dir.clone().unwrap_or_else(|| workspace.target_directory.join("plugins"));
    let mut built = Vec::with_capacity(packages.len());
    for (package, module) in packages.iter().zip(modules) {
        let path = options.out_file.clone().unwrap_or_else(|| out_dir.join(format!("{}.wasm", package.name)));
        let bytes = std::fs::read(&module).map_err(|source| Error::file("read", &module, source))?;
        let component = componentize(&bytes, &package.about())?;
        write(&path, &component)?;
        let size = component.len() as u64;
        built.push(Built { name: package.name.clone(), path, size });
    }
    Ok(built)
}

/// Builds every plugin of a workspace into `out_dir`.
///
/// # Errors
/// As [`build`].
pub fn build_all(
    workspace_root: &Path,
    out_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Built>, Error> {
    let options = Options { out_dir: Some(out_dir.to_path_buf()), ..Options::default() };
    build(workspace_root, &options, progress)
}

/// Writes beside and renames, so that a watching Lockgate never sees half a plugin.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(|source| Error::file("create", dir, source))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    std::fs::File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|source| Error::file("write", &beside, source))?;
    std::fs::rename(&beside, path).map_err(|source| Error::file("rename", &beside, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_plugin_is_complete_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/deny.wasm");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
