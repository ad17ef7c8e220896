//! What a component exports and imports, whether it may, and the linker that gives it just that.

use wasmparser::{Encoding, Parser, Payload};
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Instance, InstancePre, Linker};

use super::bindings::exports::lockgate::plugin as hooks;
use super::bindings::lockgate::plugin as host;
use super::engine::Engine;
use super::fault::LoadError;
use super::run::Indices;
use super::store::State;
use crate::filter::Hooks;

const PACKAGE: &str = "lockgate:plugin";
/// The track of the contract that is served; any patch of it is compatible.
const TRACK: (u64, u64) = (0, 1);
/// Imports that are always given.
const ALWAYS: [&str; 6] = ["types", "documents", "context", "log", "clock", "random"];
/// Hooks that are called.
const HOOKS: [&str; 8] =
    ["authenticate", "catalog", "access", "request", "upstream", "response", "input", "notification"];
/// In the contract, but not carried out yet.
const NOT_YET: [&str; 5] = ["kv", "http", "calls", "metrics", "observe"];

/// What a component exports and imports, read without running it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// The hooks it exports.
    pub hooks: Hooks,
    /// Whether it exports `lifecycle`.
    pub lifecycle: bool,
    /// Every import, by its full name.
    pub imports: Vec<Import>,
    /// Every exported interface or function, by its full name.
    pub exports: Vec<String>,
}

/// One import of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Such as `lockgate:plugin/secrets@0.1.0`.
    pub name: String,
    /// What it takes to have it.
    pub need: Need,
}

/// What it takes to have an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: every plugin has it.
    Nothing,
    /// WASI, which is given empty: no files, environment, arguments or sockets.
    EmptyWasi,
    /// A grant, under this key of the filter.
    Grant(&'static str),
    /// It cannot be had; says why, and what to do.
    Impossible(String),
}

impl Contract {
    /// Reads the imports and exports of a component.
    ///
    /// # Errors
    /// A sentence: it is truncated, not WebAssembly, or not a component.
    pub fn read(wasm: &[u8]) -> Result<Contract, String> {
        let broken = |error: wasmparser::BinaryReaderError| {
            format!("the file is not a whole WebAssembly component: {error}")
        };
        let mut contract = Contract::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(broken)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err("the file is a core module, not a component: build it with `lockgate \
                                plugin build`, or turn it into one with `wasm-tools component new`"
                        .into());
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        contract.import(import.map_err(broken)?.name.name);
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        contract.export(export.map_err(broken)?.name.name);
                    }
                }
                _ => {}
            }
        }
        Ok(contract)
    }

    /// Whether a filter may use the plugin: every problem, with what to do about it.
    ///
    /// # Errors
    /// [`LoadError::Contract`] with all problems.
    pub fn check(&self, plugin: &str, secrets_granted: bool) -> Result<(), LoadError> {
        let mut problems: Vec<String> = Vec::new();
        for import in &self.imports {
            match &import.need {
                Need::Grant(key) if !secrets_granted => problems.push(format!(
                    "it imports `{}`, which nothing grants: list the secrets that it may use under `{key}` \
                     of its entry in `filters`",
                    import.name
                )),
                Need::Impossible(why) => problems.push(format!("it imports `{}`: {why}", import.name)),
                Need::Nothing | Need::EmptyWasi | Need::Grant(_) => {}
            }
        }
        for export in &self.exports {
            let Some((interface, version)) = ours(export) else { continue };
            if let Some(why) = wrong_track(version) {
                problems.push(format!("it exports `{export}`: {why}"));
            } else if NOT_YET.contains(&interface) {
                problems.push(format!(
                    "it exports `{export}`, which this Lockgate never calls: build the plugin without it"
                ));
            } else if interface != "lifecycle" && !HOOKS.contains(&interface) {
                problems.push(format!("it exports `{export}`, which is no hook that this Lockgate knows"));
            }
        }
        if problems.is_empty() && self.hooks == Hooks::default() {
            problems.push(format!(
                "it exports no hook: one of {} of `{PACKAGE}@0.1.0` is needed",
                HOOKS.map(|hook| format!("`{hook}`")).join(", ")
            ));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(LoadError::Contract { plugin: plugin.into(), problems })
        }
    }

    fn of(engine: &Engine, component: &Component) -> Contract {
        let mut contract = Contract::default();
        let ty = component.component_type();
        for (name, _) in ty.imports(engine.wasmtime()) {
            contract.import(name);
        }
        for (name, _) in ty.exports(engine.wasmtime()) {
            contract.export(name);
        }
        contract
    }

    fn import(&mut self, name: &str) {
        self.imports.push(Import { name: name.into(), need: need(name) });
    }

    fn export(&mut self, name: &str) {
        self.exports.push(name.into());
        let Some((interface, version)) = ours(name) else { return };
        if wrong_track(version).is_some() {
            return;
        }
        match interface {
            "lifecycle" => self.lifecycle = true,
            "authenticate" => self.hooks.authenticate = true,
            "catalog" => self.hooks.catalog = true,
            "access" => self.hooks.access = true,
            "request" => self.hooks.request = true,
            "upstream" => self.hooks.upstream = true,
            "response" => self.hooks.response = true,
            "input" => self.hooks.input = true,
            "notification" => self.hooks.notification = true,
            _ => {}
        }
    }

    fn imports_wasi(&self) -> bool {
        self.imports.iter().any(|import| import.need == Need::EmptyWasi)
    }
}

fn need(name: &str) -> Need {
    if let Some((interface, version)) = ours(name) {
        if let Some(why) = wrong_track(version) {
            return Need::Impossible(why);
        }
        return match interface {
            "secrets" => Need::Grant("grants.secrets"),
            _ if ALWAYS.contains(&interface) => Need::Nothing,
            _ if NOT_YET.contains(&interface) => {
                Need::Impossible("this Lockgate does not offer it yet: build the plugin without it".into())
            }
            _ => Need::Impossible("this Lockgate does not know it".into()),
        };
    }
    match name.strip_prefix("wasi:").and_then(|rest| rest.split_once('/')) {
        Some(("cli" | "io" | "clocks" | "random" | "filesystem" | "sockets", rest)) => {
            match rest.split_once('@') {
                Some((_, version)) if version.starts_with("0.2.") => Need::EmptyWasi,
                _ => Need::Impossible("only WASI 0.2 is offered".into()),
            }
        }
        Some(("http", _)) => Need::Impossible(
            "plugins have no network: build it without wasi:http (componentize-js: `--disable http`)".into(),
        ),
        _ => Need::Impossible(
            "it belongs neither to Lockgate's contract nor to what is offered of WASI".into(),
        ),
    }
}

/// Interface and version of a name of our package.
fn ours(name: &str) -> Option<(&str, &str)> {
    let (interface, version) = name
        .strip_prefix(PACKAGE)?
        .strip_prefix('/')?
        .split_once('@')
        .unwrap_or((name.strip_prefix(PACKAGE)?.strip_prefix('/')?, ""));
    Some((interface, version))
}

fn wrong_track(version: &str) -> Option<String> {
    let (major, minor) = TRACK;
    let fits = semver::Version::parse(version).is_ok_and(|v| (v.major, v.minor) == TRACK && v.pre.is_empty());
    (!fits).then(|| {
        format!(
            "this Lockgate speaks version {major}.{minor} of the contract, not `{version}`: rebuild the \
             plugin against {major}.{minor}, or use a Lockgate that speaks its version"
        )
    })
}

/// Whether a component imports this function of the contract's `context`. Tools leave out what a plugin
/// never calls.
pub(super) fn imports_of_context(engine: &Engine, component: &Component, function: &str) -> bool {
    use wasmtime::component::types::ComponentItem;
    let ty = component.component_type();
    ty.imports(engine.wasmtime()).any(|(name, item)| match item.ty {
        ComponentItem::ComponentInstance(instance) if ours(name).is_some_and(|(i, _)| i == "context") => {
            instance.exports(engine.wasmtime()).any(|(export, _)| export == function)
        }
        _ => false,
    })
}

/// Links a component to what it may use, and nothing else.
pub(super) fn linked(
    engine: &Engine,
    component: &Component,
    plugin: &str,
    secrets_granted: bool,
) -> Result<InstancePre<State>, LoadError> {
    let contract = Contract::of(engine, component);
    contract.check(plugin, secrets_granted)?;
    let mut linker = Linker::<State>::new(engine.wasmtime());
    let filled = fill(&mut linker, secrets_granted, contract.imports_wasi());
    filled.and_then(|()| linker.instantiate_pre(component)).map_err(|error| LoadError::Invalid {
        plugin: plugin.into(),
        reason: format!("it does not fit the contract it names: {error:#}"),
    })
}

fn fill(linker: &mut Linker<State>, secrets: bool, wasi: bool) -> wasmtime::Result<()> {
    host::types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    host::documents::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    host::context::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    host::log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    host::clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    host::random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    if secrets {
        host::secrets::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    }
    if wasi {
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
    }
    Ok(())
}

/// Finds the functions of every exported interface. One that is there by name but lacks a function
/// is an error, never an absent hook.
pub(super) fn indices(pre: &InstancePre<State>, plugin: &str) -> Result<Indices, LoadError> {
    let partly = |interface: &str, error: wasmtime::Error| LoadError::Invalid {
        plugin: plugin.into(),
        reason: format!("it exports `{interface}` without all of its functions: {error:#}"),
    };
    macro_rules! find {
        ($interface:ident) => {{
            let name = concat!("lockgate:plugin/", stringify!($interface), "@0.1.0");
            match pre.component().get_export_index(None, name) {
                None => None,
                Some(_) => {
                    let found = hooks::$interface::GuestIndices::new(pre);
                    Some(found.map_err(|error| partly(stringify!($interface), error))?)
                }
            }
        }};
    }
    Ok(Indices {
        lifecycle: find!(lifecycle),
        authenticate: find!(authenticate),
        catalog: find!(catalog),
        access: find!(access),
        request: find!(request),
        upstream: find!(upstream),
        response: find!(response),
        input: find!(input),
        notification: find!(notification),
    })
}

/// Checks that every exported function has the type that the contract gives it.
pub(super) fn check_types(
    indices: &Indices,
    store: &mut Store<State>,
    instance: &Instance,
    plugin: &str,
) -> Result<(), LoadError> {
    macro_rules! check {
        ($($interface:ident)*) => {
            $(if let Some(found) = &indices.$interface {
                found.load(&mut *store, instance).map(drop).map_err(|error| LoadError::Invalid {
                    plugin: plugin.into(),
                    reason: format!(
                        "a function of its export `{}` has another type than in the contract: {error:#}",
                        stringify!($interface)
                    ),
                })?;
            })*
        };
    }
    check!(lifecycle authenticate catalog access request upstream response input notification);
    Ok(())
}
