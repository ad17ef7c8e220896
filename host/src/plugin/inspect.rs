//! Reads a plugin file without running any of it: what it is, exports, imports and tells of itself.

mod contract;
mod metadata;

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, Validator};

pub use contract::{Access, PACKAGE, TRACK};
use contract::{HOOKS, HookInterface, on_track, service, split_name};

use crate::filter::Hooks;

/// What a plugin file tells of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Its name, if it tells; without control characters, at most 128 characters, like the next two.
    pub name: Option<String>,
    /// Its version, if it tells.
    pub version: Option<String>,
    /// What it is for (at most 1,024 characters), if it tells.
    pub description: Option<String>,
    /// File size in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    #[serde(serialize_with = "hex_text")]
    pub sha256: [u8; 32],
    /// The hooks that Lockgate will call.
    #[serde(skip)]
    pub hooks: Hooks,
    /// Every interface of the contract that it exports, in the contract's order.
    pub exports: Vec<Export>,
    /// Every interface that it imports, by name.
    pub imports: Vec<Import>,
    /// The JSON Schema of its configuration, if it brings one.
    pub config_schema: Option<Arc<serde_json::Value>>,
    /// What is odd about the file and stops nothing.
    pub remarks: Vec<String>,
}

impl Inspection {
    /// Whether it wants to be configured and can test itself.
    pub fn has_lifecycle(&self) -> bool {
        self.exports.iter().any(|export| export.hook == "lifecycle")
    }

    /// Whether it imports the service `name` of the contract.
    pub fn imports_service(&self, name: &str) -> bool {
        self.imports.iter().any(|import| import.service.as_deref() == Some(name))
    }
}

/// One exported interface of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Export {
    /// Its short name, such as `access`.
    pub hook: &'static str,
    /// Its full name, such as `lockgate:plugin/access@0.1.0`.
    pub interface: String,
    /// Whether this version of Lockgate calls it.
    pub wired: bool,
}

/// One imported interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Import {
    /// Its full name, such as `lockgate:plugin/secrets@0.1.0`.
    pub interface: String,
    /// Its short name if it is one of the contract's.
    pub service: Option<String>,
    /// What it gives.
    pub access: Access,
    /// Why the plugin wants it, in its author's words.
    pub reason: Option<String>,
}

/// Why a file is not a plugin. Every message says what it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Nothing in it.
    #[error("the file is empty; write it whole, or under another name first and rename it")]
    Empty,
    /// Larger than allowed.
    #[error("the file has {size} bytes and {limit} are allowed; make it smaller, or raise `plugins.max_mib`")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The most allowed.
        limit: u64,
    },
    /// Not WebAssembly.
    #[error("it is not WebAssembly ({looks}); build it with `lockgate plugin build`")]
    NotWasm {
        /// What it looks like instead.
        looks: &'static str,
    },
    /// It ends too early.
    #[error("it is cut off after {size} bytes; copy it again, whole")]
    Truncated {
        /// How many bytes there are.
        size: u64,
    },
    /// A module where a component is needed.
    #[error(
        "it is a core WebAssembly module and not a component; build it with `lockgate plugin build`, \
         or for the target `wasm32-wasip2`"
    )]
    CoreModule,
    /// A binary format of another time.
    #[error("its WebAssembly version ({0:#010x}) is unknown; build it with newer tools")]
    UnknownFormat(u32),
    /// Damaged.
    #[error("it is not valid WebAssembly (at byte {offset}: {message}); build or copy it again")]
    Invalid {
        /// Where.
        offset: u64,
        /// What.
        message: String,
    },
    /// Of another version of the contract.
    #[error(
        "it is built for `{interface}`, and this Lockgate speaks `{PACKAGE}` {TRACK}; \
         build it with an SDK of that version"
    )]
    WrongVersion {
        /// The interface that told.
        interface: String,
    },
    /// An interface that the contract does not have.
    #[error("it {verb} `{interface}`, which `{PACKAGE}` {TRACK} does not have; expected one of: {known}")]
    UnknownInterface {
        /// `exports` or `imports`.
        verb: &'static str,
        /// The interface.
        interface: String,
        /// Those there are.
        known: String,
    },
    /// An import that nothing provides.
    #[error("it imports `{interface}`, which Lockgate does not provide; remove what uses it from the plugin")]
    UnknownImport {
        /// The interface.
        interface: String,
    },
    /// A hook with a function missing.
    #[error("its hook `{hook}` lacks the function `{function}`; rebuild it against `{PACKAGE}` {TRACK}")]
    PartialHook {
        /// The hook.
        hook: &'static str,
        /// What it lacks.
        function: &'static str,
    },
    /// Nothing to call.
    #[error("it exports no hook{found}; export at least one of: {known}")]
    NoHook {
        /// What it exports instead.
        found: String,
        /// Those there are.
        known: String,
    },
}

impl InspectError {
    /// Whether more bytes could heal it: a file that is being written looks like this.
    pub fn may_be_unfinished(&self) -> bool {
        !matches!(self, InspectError::TooLarge { .. } | InspectError::CoreModule)
    }
}

/// Reads and validates a whole plugin file of at most `limit` bytes.
pub fn inspect(wasm: &[u8], limit: u64) -> Result<Inspection, InspectError> {
    let size = wasm.len() as u64;
    if size > limit {
        return Err(InspectError::TooLarge { size, limit });
    }
    check_format(wasm)?;
    let types = Validator::new().validate_all(wasm).map_err(|error| unreadable(&error, size))?;
    let names = top_level_names(wasm).map_err(|error| unreadable(&error, size))?;

    let mut exports = Vec::new();
    let mut hooks = Hooks::default();
    let mut others = Vec::new();
    for name in &names.exports {
        match our_export(name)? {
            Some(hook) => {
                check_functions(&types, name, hook)?;
                if let Some(set) = hook.set {
                    set(&mut hooks);
                }
                exports.push(Export { hook: hook.name, interface: name.clone(), wired: hook.wired });
            }
            None => others.push(name.clone()),
        }
    }
    if exports.iter().all(|export| export.hook == "lifecycle") {
        return Err(InspectError::NoHook { found: what_else(&exports, &others), known: known_hooks() });
    }
    exports.sort_by_key(|export| HOOKS.iter().position(|hook| hook.name == export.hook));

    let told = metadata::read(wasm);
    let mut remarks = told.remarks;
    let mut imports = Vec::new();
    for name in &names.imports {
        let (service, access) = our_import(name)?;
        let reason = told
            .import_reasons
            .iter()
            .find(|(import, _)| *import == name.as_str() || Some(import.as_str()) == service.as_deref())
            .map(|(_, reason)| reason.clone());
        imports.push(Import { interface: name.clone(), service, access, reason });
    }
    imports.sort_by(|a, b| a.interface.cmp(&b.interface));
    for other in others {
        remarks.push(format!("exports `{other}`, which Lockgate never calls"));
    }
    Ok(Inspection {
        name: told.name,
        version: told.version,
        description: told.description,
        size,
        sha256: Sha256::digest(wasm).into(),
        hooks,
        exports,
        imports,
        config_schema: told.config_schema.map(Arc::new),
        remarks,
    })
}

fn check_format(wasm: &[u8]) -> Result<(), InspectError> {
    let size = wasm.len() as u64;
    let magic = b"\0asm";
    if wasm.is_empty() {
        return Err(InspectError::Empty);
    }
    if !wasm.starts_with(magic) {
        if magic.starts_with(wasm) {
            return Err(InspectError::Truncated { size });
        }
        let text = String::from_utf8_lossy(wasm.get(..64).unwrap_or(wasm)).trim_start().to_owned();
        let looks = if wasm.iter().all(|byte| *byte == 0) {
            "nothing but zeros"
        } else if text.starts_with("(component") || text.starts_with("(module") {
            "its text form: translate it first"
        } else if wasm.starts_with(b"\x7fELF") {
            "a native program or library, such as a precompiled plugin"
        } else if text.starts_with("version https://git-lfs") {
            "a Git LFS pointer: fetch the file itself"
        } else {
            "it does not begin with `\\0asm`"
        };
        return Err(InspectError::NotWasm { looks });
    }
    let Some(version) = wasm.get(4..8).and_then(|v| <[u8; 4]>::try_from(v).ok()) else {
        return Err(InspectError::Truncated { size });
    };
    match u32::from_le_bytes(version) {
        0x0001_000d => Ok(()),
        0x0000_0001 => Err(InspectError::CoreModule),
        other => Err(InspectError::UnknownFormat(other)),
    }
}

fn unreadable(error: &wasmparser::Error, size: u64) -> InspectError {
    let message = error.to_string();
    if message.contains("unexpected end") || error.offset() as u64 >= size {
        return InspectError::Truncated { size };
    }
    // The text repeats the offset in its own way.
    let message = message.split(" (at offset").next().unwrap_or_default().to_owned();
    InspectError::Invalid { offset: error.offset() as u64, message }
}

struct Names {
    exports: Vec<String>,
    imports: Vec<String>,
}

fn top_level_names(wasm: &[u8]) -> Result<Names, wasmparser::Error> {
    let mut names = Names { exports: Vec::new(), imports: Vec::new() };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn our_export(name: &str) -> Result<Option<&'static HookInterface>, InspectError> {
    let Some((package, interface, version)) = split_name(name) else { return Ok(None) };
    if package != PACKAGE {
        return Ok(None);
    }
    if !on_track(version) {
        return Err(InspectError::WrongVersion { interface: name.to_owned() });
    }
    HOOKS.iter().find(|hook| hook.name == interface).map(Some).ok_or_else(|| InspectError::UnknownInterface {
        verb: "exports",
        interface: name.to_owned(),
        known: known_hooks(),
    })
}

fn our_import(name: &str) -> Result<(Option<String>, Access), InspectError> {
    let unknown = || InspectError::UnknownImport { interface: name.to_owned() };
    let (package, interface, version) = split_name(name).ok_or_else(unknown)?;
    if package == PACKAGE {
        if !on_track(version) {
            return Err(InspectError::WrongVersion { interface: name.to_owned() });
        }
        let access = service(interface).ok_or_else(|| InspectError::UnknownInterface {
            verb: "imports",
            interface: name.to_owned(),
            known: "types, documents, context, log, clock, random, secrets, kv, http, calls, metrics".into(),
        })?;
        return Ok((Some(interface.to_owned()), access));
    }
    let known = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];
    if known.contains(&package) { Ok((None, Access::Empty)) } else { Err(unknown()) }
}

fn check_functions(types: &Types, export: &str, hook: &HookInterface) -> Result<(), InspectError> {
    let types = types.as_ref();
    let instance = match types.component_item_for_export(export).map(|item| item.ty) {
        Some(ComponentEntityType::Instance(id)) => types.get(id),
        _ => None,
    };
    for function in hook.functions {
        let item = instance.and_then(|instance| instance.exports.get(*function));
        if !item.is_some_and(|item| matches!(item.ty, ComponentEntityType::Func(_))) {
            return Err(InspectError::PartialHook { hook: hook.name, function });
        }
    }
    Ok(())
}

fn known_hooks() -> String {
    let names: Vec<&str> =
        HOOKS.iter().filter(|hook| hook.wired && hook.set.is_some()).map(|hook| hook.name).collect();
    names.join(", ")
}

fn what_else(exports: &[Export], others: &[String]) -> String {
    if !exports.is_empty() {
        return " besides `lifecycle`".to_owned();
    }
    match others {
        [] => String::new(),
        [first, ..] if first.starts_with("wasi:cli/run") => {
            format!(" (it exports `{first}`: it is a command, not a plugin)")
        }
        [first, ..] => format!(" (it exports `{first}`)"),
    }
}

fn hex_text<S: serde::Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

#[cfg(test)]
pub(crate) fn functions_of(hook: &str) -> &'static [&'static str] {
    HOOKS.iter().find(|known| known.name == hook).map_or(&[], |known| known.functions)
}

#[cfg(test)]
mod tests;
