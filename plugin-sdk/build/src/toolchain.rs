//! Finds or installs a Rust that compiles for WebAssembly.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Error;

/// The target of plugins. Not a WASI one: its standard library imports nothing from the host.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "rust-web-llvm"];

/// How plugins are compiled on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The Rust in use has the target.
    Installed,
    /// Debian's Rust compiles, its standard library included, and another Rust's linker links.
    BuildStd {
        /// Debian's compiler.
        rustc: PathBuf,
        /// `rust-lld` or `wasm-ld`.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Adds to a `cargo build --target wasm32-unknown-unknown` what this toolchain needs.
    pub fn apply(&self, command: &mut Command) {
        if let Toolchain::BuildStd { rustc, linker } = self {
            command.arg("-Zbuild-std=std,panic_abort");
            command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
}

/// Finds the target, or installs it: through rustup, or else (as root, on Debian) through Debian's
/// compiler, which builds the standard library from its sources. `progress` hears what is installed.
///
/// # Errors
/// [`Error::NoToolchain`] says what was tried and the two ways to proceed.
pub fn ensure_toolchain(progress: &mut dyn FnMut(&str)) -> Result<Toolchain, Error> {
    if has_target() {
        return Ok(Toolchain::Installed);
    }
    let mut tried = Vec::new();
    // Debian's first if it is there already: asking rustup again each time costs seconds offline.
    match build_std() {
        Ok(toolchain) => return Ok(toolchain),
        Err(why) => tried.push(why),
    }
    progress(&format!("installing the Rust target {TARGET}: rustup target add {TARGET}"));
    match run("rustup", &["target", "add", TARGET]) {
        Ok(output) if output.status.success() && has_target() => return Ok(Toolchain::Installed),
        Ok(output) => tried.push(format!("rustup could not add it ({})", last_line(&output))),
        Err(error) => tried.push(error.to_string()),
    }
    if let Err(why) = install_debian(progress) {
        tried.push(why);
        return Err(Error::NoToolchain { why: tried.join("; ") });
    }
    build_std().map_err(|why| Error::NoToolchain { why })
}

/// Looks for the target's libraries rather than asking rustup: they may come from elsewhere.
fn has_target() -> bool {
    let Ok(output) = run("rustc", &["--print", "target-libdir", "--target", TARGET]) else { return false };
    let Ok(entries) = std::fs::read_dir(stdout(&output)) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn build_std() -> Result<Toolchain, String> {
    let rustc = Path::new(DEBIAN_RUSTC);
    if !rustc.exists() {
        return Err(format!("there is no {DEBIAN_RUSTC}"));
    }
    let sysroot = run(DEBIAN_RUSTC, &["--print", "sysroot"]).map_err(|error| error.to_string())?;
    let sources = Path::new(&stdout(&sysroot)).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !sources.exists() {
        return Err(format!("{DEBIAN_RUSTC} has no standard library sources ({})", sources.display()));
    }
    let linker = linker().ok_or("there is neither rust-lld nor wasm-ld to link with")?;
    Ok(Toolchain::BuildStd { rustc: rustc.to_path_buf(), linker })
}

/// The linker that comes with Rust from rustup, or one on the PATH.
fn linker() -> Option<PathBuf> {
    let shipped = run("rustc", &["-vV"]).ok().and_then(|version| {
        let host = stdout(&version).lines().find_map(|line| Some(line.strip_prefix("host: ")?.to_owned()))?;
        let sysroot = run("rustc", &["--print", "sysroot"]).ok()?;
        Some(Path::new(&stdout(&sysroot)).join("lib/rustlib").join(host).join("bin/rust-lld"))
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("wasm-ld"));
    shipped.into_iter().chain(on_path).find(|linker| linker.exists())
}

fn install_debian(progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    let root = run("id", &["-u"]).is_ok_and(|output| stdout(&output) == "0");
    if !root || !Path::new("/usr/bin/apt-get").exists() {
        return Err("Debian's Rust cannot be installed (not root on Debian)".to_owned());
    }
    let known = |package: &str| run("apt-cache", &["show", package]).is_ok_and(|o| o.status.success());
    if !DEBIAN_PACKAGES.iter().all(|package| known(package)) {
        progress("refreshing the list of Debian packages: apt-get update");
        let _ = run("apt-get", &["update"]);
    }
    let packages = DEBIAN_PACKAGES.join(" ");
    progress(&format!("installing Debian's Rust for WebAssembly: apt-get install {packages}"));
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(DEBIAN_PACKAGES);
    match run("apt-get", &arguments) {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("apt-get could not install {packages} ({})", last_line(&output))),
        Err(error) => Err(error.to_string()),
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<Output, Error> {
    Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .map_err(|source| Error::Run { program: program.to_owned(), source })
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why").trim().to_owned()
}
