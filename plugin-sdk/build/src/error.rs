//! What can go wrong on the way to a plugin, and what to do about it.

use std::path::{Path, PathBuf};

/// Why there is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the Rust target nor a way to make it.
    #[error(
        "cannot compile for wasm32-unknown-unknown: {why}\n\
         Do one of these and try again:\n  \
         1. `rustup target add wasm32-unknown-unknown`\n  \
         2. on Debian, as root: `apt-get install rustc-web rust-web-src rust-web-llvm` \
         (and a Rust from rustup, for its linker)"
    )]
    NoToolchain {
        /// What was tried.
        why: String,
    },
    /// A program could not be started.
    #[error("cannot run `{program}`: {source}; is it installed and on the PATH?")]
    Run {
        /// The program.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Cargo said no.
    #[error("`cargo {command}` failed in {dir}{detail}")]
    Cargo {
        /// The subcommand.
        command: &'static str,
        /// Where.
        dir: PathBuf,
        /// What it said, where that was not already shown.
        detail: String,
    },
    /// Cargo's answer could not be read.
    #[error("cannot read the answer of `cargo {command}`: {source}")]
    Answer {
        /// The subcommand.
        command: &'static str,
        /// Why not.
        source: serde_json::Error,
    },
    /// There is nothing to build.
    #[error(
        "{what} is not a plugin: a plugin depends on `lockgate-plugin` and has `[lib] crate-type = [\"cdylib\"]`"
    )]
    NotAPlugin {
        /// The folder or package.
        what: String,
    },
    /// One file cannot hold several plugins.
    #[error("{plugins} plugins do not fit into the one file {file}; build one of them, or give a folder")]
    OneFileForMany {
        /// The file asked for.
        file: PathBuf,
        /// How many plugins there are.
        plugins: usize,
    },
    /// The module wants WASI preview 1.
    #[error(
        "{plugin} imports `{import}` from WASI preview 1, which Lockgate does not offer: \
         build for wasm32-unknown-unknown and without crates that need files, clocks or sockets"
    )]
    Preview1 {
        /// The plugin.
        plugin: String,
        /// The first such import.
        import: String,
    },
    /// The module does not follow the contract.
    #[error("{plugin} is not a Lockgate plugin: {why}")]
    Component {
        /// The plugin.
        plugin: String,
        /// What the component tools say.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: std::io::Error) -> Error {
        Error::File { action, path: path.to_path_buf(), source }
    }
}
