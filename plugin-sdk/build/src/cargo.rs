//! Asks cargo what a workspace holds, and has it compile plugins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::toolchain::TARGET;
use crate::{About, Error, Toolchain};

/// Passed on the command line, so that a plugin's own `Cargo.toml` needs no profile. `s` and not `3`:
/// see the README for the measurement.
const PROFILE: [&str; 6] = [
    "inherits=\"release\"",
    "opt-level=\"s\"",
    "lto=\"fat\"",
    "codegen-units=1",
    "panic=\"abort\"",
    "strip=true",
];

/// What `cargo metadata` says.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
    workspace_root: PathBuf,
}

/// One package of the workspace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    version: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    authors: Vec<String>,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    repository: Option<String>,
    #[serde(default)]
    homepage: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Deserialize)]
struct Dependency {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Workspace {
    pub(crate) fn read(dir: &Path) -> Result<Workspace, Error> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(dir)
            .output()
            .map_err(|source| Error::Run { program: format!("cargo, in {}", dir.display()), source })?;
        if !output.status.success() {
            let detail = format!(":\n{}", String::from_utf8_lossy(&output.stderr).trim());
            return Err(Error::Cargo { command: "metadata", dir: dir.to_path_buf(), detail });
        }
        serde_json::from_slice(&output.stdout).map_err(|source| Error::Answer { command: "metadata", source })
    }

    /// The plugins that are meant: those named, or the one in `dir`, or all if `dir` holds none.
    pub(crate) fn plugins(&self, dir: &Path, named: &[String]) -> Result<Vec<Package>, Error> {
        if let Some(name) = named.iter().find(|name| !self.plugin(|package| &package.name == *name)) {
            return Err(Error::NotAPlugin { what: format!("the package `{name}`") });
        }
        let dir = std::fs::canonicalize(dir).map_err(|source| Error::file("open", dir, source))?;
        let here =
            |package: &Package| dir.starts_with(package.folder()) && package.folder() != self.workspace_root;
        let in_package = self.packages.iter().any(here);
        let chosen: Vec<Package> = self
            .packages
            .iter()
            .filter(|package| package.is_plugin())
            .filter(|package| match (named.is_empty(), in_package) {
                (false, _) => named.contains(&package.name),
                (true, true) => here(package),
                (true, false) => true,
            })
            .cloned()
            .collect();
        if chosen.is_empty() {
            return Err(Error::NotAPlugin { what: dir.display().to_string() });
        }
        Ok(chosen)
    }

    fn plugin(&self, is_meant: impl Fn(&Package) -> bool) -> bool {
        self.packages.iter().any(|package| package.is_plugin() && is_meant(package))
    }
}

impl Package {
    fn is_plugin(&self) -> bool {
        self.dependencies.iter().any(|dependency| dependency.name == "lockgate-plugin")
            && self.targets.iter().any(Target::is_plugin)
    }

    fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }

    pub(crate) fn about(&self) -> About {
        About {
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            authors: self.authors.clone(),
            license: self.license.clone(),
            source: self.repository.clone(),
            homepage: self.homepage.clone(),
        }
    }
}

impl Target {
    fn is_plugin(&self) -> bool {
        self.crate_types.iter().any(|kind| kind == "cdylib")
    }
}

/// Compiles the packages in one run. The modules come back in the order of the packages.
pub(crate) fn compile(
    workspace: &Workspace,
    packages: &[Package],
    toolchain: &Toolchain,
) -> Result<Vec<PathBuf>, Error> {
    let mut command = cargo();
    command.current_dir(&workspace.workspace_root).stdin(Stdio::null()).stderr(Stdio::inherit());
    command.args(["build", "--lib", "--profile", "plugin", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics");
    command.arg("--target-dir").arg(workspace.target_directory.join("plugin-build"));
    for setting in PROFILE {
        command.arg("--config").arg(format!("profile.plugin.{setting}"));
    }
    for package in packages {
        command.arg("--package").arg(&package.id);
    }
    toolchain.apply(&mut command);
    let output = command.output().map_err(|source| Error::Run { program: "cargo build".into(), source })?;
    if !output.status.success() {
        let dir = workspace.workspace_root.clone();
        return Err(Error::Cargo { command: "build", dir, detail: "; see its messages above".into() });
    }
    let modules = modules(&output.stdout)?;
    packages
        .iter()
        .map(|package| {
            let missing = || Error::NotAPlugin { what: format!("the package `{}`", package.name) };
            modules.get(&package.id).cloned().ok_or_else(missing)
        })
        .collect()
}

/// Reads the `.wasm` file of each package out of cargo's messages.
fn modules(messages: &[u8]) -> Result<BTreeMap<String, PathBuf>, Error> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        #[serde(default)]
        package_id: String,
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    let mut modules = BTreeMap::new();
    for line in messages.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message: Message =
            serde_json::from_slice(line).map_err(|source| Error::Answer { command: "build", source })?;
        let wasm = message.filenames.into_iter().find(|file| file.extension().is_some_and(|e| e == "wasm"));
        if let ("compiler-artifact", Some(file)) = (message.reason.as_str(), wasm) {
            modules.insert(message.package_id, file);
        }
    }
    Ok(modules)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What is set for the host (say `-C target-cpu=native`) is wrong for the plugin.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS"] {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("plugins/deny")).unwrap();
        std::fs::create_dir_all(root.join("host")).unwrap();
        let package = |folder: &str, name: &str, dependency: &str, kind: &str| {
            serde_json::json!({
                "id": format!("path+{name}"), "name": name, "version": "0.1.0",
                "manifest_path": root.join(folder).join("Cargo.toml"),
                "dependencies": [{ "name": dependency }], "targets": [{ "crate_types": [kind] }],
            })
        };
        let metadata = serde_json::json!({
            "packages": [
                package("plugins/deny", "deny", "lockgate-plugin", "cdylib"),
                package("plugins/allow", "allow", "lockgate-plugin", "cdylib"),
                package("host", "host", "lockgate-plugin", "lib"),
                package("ffi", "ffi", "libc", "cdylib"),
            ],
            "target_directory": root.join("target"), "workspace_root": root,
        });
        (dir, serde_json::from_value(metadata).unwrap())
    }

    fn names(workspace: &Workspace, dir: &Path, named: &[&str]) -> Result<Vec<String>, Error> {
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        Ok(workspace.plugins(dir, &named)?.into_iter().map(|package| package.name).collect())
    }

    #[test]
    fn a_folder_means_its_plugin_and_the_root_means_all() {
        let (dir, workspace) = workspace();
        assert_eq!(names(&workspace, dir.path(), &[]).unwrap(), ["deny", "allow"]);
        assert_eq!(names(&workspace, &dir.path().join("plugins/deny"), &[]).unwrap(), ["deny"]);
        assert_eq!(names(&workspace, dir.path(), &["allow"]).unwrap(), ["allow"]);
    }

    #[test]
    fn what_is_not_a_plugin_is_named() {
        let (dir, workspace) = workspace();
        let error = names(&workspace, &dir.path().join("host"), &[]).unwrap_err().to_string();
        assert!(error.contains("host is not a plugin"), "{error}");
        let error = names(&workspace, dir.path(), &["ffi"]).unwrap_err().to_string();
        assert!(error.contains("the package `ffi` is not a plugin"), "{error}");
    }

    #[test]
    fn modules_are_found_by_package() {
        let messages =
            br#"{"reason":"compiler-artifact","package_id":"path+serde","filenames":["/t/libserde.rlib"]}
not json
{"reason":"compiler-artifact","package_id":"path+deny","filenames":["/t/deny.d","/t/deny.wasm"]}
{"reason":"build-finished","success":true}
"#;
        let modules = modules(messages).unwrap();
        assert_eq!(modules.len(), 1);
        assert_eq!(modules.get("path+deny"), Some(&PathBuf::from("/t/deny.wasm")));
    }
}
