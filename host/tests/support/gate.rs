//! A Lockgate under test: its configuration, its folder, its process.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::child::Watched;
use super::client::{Client, Headers};
use super::paths;

/// A configuration in the making.
pub struct Setup {
    folder: TempDir,
    servers: Map<String, Value>,
    filters: Vec<Value>,
    secrets: Map<String, Value>,
    limits: Map<String, Value>,
    auto_attach: bool,
    top: Map<String, Value>,
    environment: Vec<(String, String)>,
    listen: String,
}

/// A running Lockgate.
pub struct Gate {
    folder: TempDir,
    process: Watched,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Setup {
    /// No server, no filter, an empty watched directory.
    pub fn new() -> Setup {
        let folder = tempfile::Builder::new().prefix("lockgate-test-").tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        std::fs::set_permissions(&plugins, std::fs::Permissions::from_mode(0o755)).unwrap();
        Setup {
            folder,
            servers: Map::new(),
            filters: Vec::new(),
            secrets: Map::new(),
            limits: Map::new(),
            auto_attach: false,
            top: Map::new(),
            environment: Vec::new(),
            listen: "127.0.0.1:0".to_owned(),
        }
    }

    /// A configuration with one fixture server, `fx`.
    pub fn fixture(flags: &[&str]) -> Setup {
        Setup::new().with_fixture("fx", flags)
    }

    /// One more fixture server, which logs what arrives.
    pub fn with_fixture(self, name: &str, flags: &[&str]) -> Setup {
        let log = self.log_path(name);
        let mut args = vec!["--name", name, "--log", log.to_str().unwrap()];
        args.extend(flags);
        let server = json!({ "command": paths::server("fixture-server"), "args": args });
        self.with_server(name, server)
    }

    /// One more server.
    pub fn with_server(mut self, name: &str, server: Value) -> Setup {
        self.servers.insert(name.to_owned(), server);
        self
    }

    /// Further keys for a server that is there.
    pub fn server_keys(mut self, name: &str, keys: Value) -> Setup {
        let server = self.servers.get_mut(name).unwrap().as_object_mut().unwrap();
        server.extend(keys.as_object().unwrap().clone());
        self
    }

    /// One more filter, and the built plugin it names in the watched directory.
    pub fn with_filter(mut self, filter: Value) -> Setup {
        let plugin = filter["plugin"].as_str().unwrap();
        let place = self.plugins().join(format!("{plugin}.wasm"));
        if !place.exists() {
            put(&std::fs::read(paths::plugin(plugin)).unwrap(), &place);
        }
        self.filters.push(filter);
        self
    }

    /// One more filter whose plugin the test puts where it wants it.
    pub fn with_bare_filter(mut self, filter: Value) -> Setup {
        self.filters.push(filter);
        self
    }

    /// One more secret.
    pub fn with_secret(mut self, name: &str, secret: Value) -> Setup {
        self.secrets.insert(name.to_owned(), secret);
        self
    }

    /// One more limit.
    pub fn with_limit(mut self, key: &str, value: impl Into<Value>) -> Setup {
        self.limits.insert(key.to_owned(), value.into());
        self
    }

    /// One more key at the top of the configuration.
    pub fn with_top(mut self, key: &str, value: Value) -> Setup {
        self.top.insert(key.to_owned(), value);
        self
    }

    /// Whether plugins that no filter names join the chain.
    pub fn auto_attach(mut self, on: bool) -> Setup {
        self.auto_attach = on;
        self
    }

    /// Where it listens.
    pub fn listening(mut self, address: &str) -> Setup {
        self.listen = address.to_owned();
        self
    }

    /// A variable in Lockgate's environment.
    pub fn with_env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The watched directory.
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// The folder of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log_path(&self, server: &str) -> PathBuf {
        self.folder.path().join(format!("{server}.log"))
    }

    /// Writes the configuration and returns its path.
    pub fn write(&self) -> PathBuf {
        let mut config = json!({
            "servers": self.servers,
            "filters": self.filters,
            "secrets": self.secrets,
            "limits": self.limits,
            "plugins": { "dir": "plugins", "auto_attach": self.auto_attach, "cache_dir": paths::compile_cache() }
        });
        config.as_object_mut().unwrap().extend(self.top.clone());
        let path = self.folder.path().join("lockgate.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
        path
    }

    /// `lockgate <subcommand> --config <this>`, not started yet.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = lockgate();
        command.arg(subcommand).arg("--config").arg(self.write());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `lockgate serve` and waits until it says it is ready.
    pub fn start(self) -> Gate {
        let process = Watched::start(&mut self.serve_command());
        process.line("`ready` line", |line| line.trim() == "ready");
        let banner = process.line("banner with an address", |line| line.contains(" on http://"));
        let address = banner.split("http://").nth(1).unwrap();
        let address = address.split(['/', ' ']).next().unwrap().parse();
        Gate {
            address: address.unwrap_or_else(|error| panic!("{error}: {banner}")),
            folder: self.folder,
            process,
        }
    }

    /// Starts `lockgate serve` where it is not expected to become ready.
    pub fn start_badly(&self) -> Watched {
        Watched::start(&mut self.serve_command())
    }

    fn serve_command(&self) -> Command {
        let mut command = self.command("serve");
        command.args(["--listen", &self.listen]).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::new()
    }
}

impl Gate {
    /// Opens a client session on a server.
    pub fn client(&self, server: &str) -> Client {
        Client::open(self.address, server)
    }

    /// The same with further headers on every request.
    pub fn client_with(&self, server: &str, headers: &[(&str, &str)]) -> Client {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Client::open_with(self.address, server, headers.collect::<Headers>())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Watched {
        &mut self.process
    }

    /// What it said on stderr.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Lines on stderr so far.
    pub fn mark(&self) -> usize {
        self.process.mark()
    }

    /// Waits for a line on stderr after the mark.
    pub fn said(&self, mark: usize, what: &str, accept: impl Fn(&str) -> bool) -> String {
        self.process.line_after(mark, what, accept)
    }

    /// Everything that arrived at a fixture server, parsed; a line that is no JSON is a string.
    pub fn arrived(&self, server: &str) -> Vec<Value> {
        let log = std::fs::read(self.folder.path().join(format!("{server}.log"))).unwrap_or_default();
        let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let parse = |line: &[u8]| {
            serde_json::from_slice(line)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(line).into_owned()))
        };
        lines.map(parse).collect()
    }

    /// Every byte that arrived at a fixture server.
    pub fn arrived_text(&self, server: &str) -> String {
        let log = std::fs::read(self.folder.path().join(format!("{server}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Puts a plugin file into the watched directory by rename, as a careful operator would.
    pub fn put_plugin(&self, name: &str, wasm: &[u8]) {
        put(wasm, &self.plugins().join(format!("{name}.wasm")));
    }

    /// The watched directory.
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("lockgate.json")
    }
}

/// `lockgate`, without colours and without a home of its own.
pub fn lockgate() -> Command {
    let mut command = Command::new(paths::lockgate());
    // The key that is made at the first start belongs to the tests, not to who runs them.
    command.env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"));
    command.env_remove("STATE_DIRECTORY");
    command.env("NO_COLOR", "1").env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    command
}

/// Writes a file beside its place and renames it there.
pub fn put(bytes: &[u8], place: &Path) {
    let beside = place.with_extension("tmp");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::rename(&beside, place).unwrap();
}
