//! Where the built programs and plugins are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Lockgate under test.
pub fn lockgate() -> PathBuf {
    env!("CARGO_BIN_EXE_lockgate").into()
}

/// A server program of this workspace, built if it is not up to date.
pub fn server(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", "fixture-server", "--package", "notes-server"])
            .current_dir(workspace())
            .status()
            .expect("cargo can be started");
        assert!(
            status.success(),
            "the test servers do not build: cargo build -p fixture-server -p notes-server"
        );
    });
    let path = workspace().join(target()).join("debug").join(name);
    assert!(path.exists(), "{} is missing; build it with: cargo build -p {name}", path.display());
    path
}

/// The target folder, which cargo lets one move.
pub fn target() -> PathBuf {
    // <target>/debug/lockgate
    lockgate().parent().unwrap().parent().unwrap().to_owned()
}

/// A built plugin: `tool-filter` is `target/plugins/tool-filter.wasm`.
pub fn plugin(name: &str) -> PathBuf {
    let folder = std::env::var_os("LOCKGATE_PLUGINS").map_or_else(|| target().join("plugins"), PathBuf::from);
    let path = folder.join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is missing; build the plugins with: cargo xtask build-plugins",
        path.display()
    );
    path
}

/// A folder that outlives the test run: compiled plugins are kept there between tests.
pub fn compile_cache() -> PathBuf {
    use std::os::unix::fs::DirBuilderExt;
    let path = target().join("test-compile-cache");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).unwrap();
    path
}
