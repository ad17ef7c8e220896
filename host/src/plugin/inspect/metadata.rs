//! What a plugin tells of itself in custom sections, read without trust.

use wasm_metadata::Payload as Told;
use wasmparser::{Parser, Payload};

/// The custom section with the JSON Schema of the configuration.
const SCHEMA_SECTION: &str = "lockgate:config-schema";
/// The custom section with a JSON object from import to the reason for it.
const REASONS_SECTION: &str = "lockgate:import-reasons";
const SECTION_BYTES: usize = 256 << 10;
const NAME_CHARS: usize = 128;
const TEXT_CHARS: usize = 1024;

/// What was found; everything is optional.
#[derive(Default)]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) config_schema: Option<serde_json::Value>,
    pub(super) import_reasons: Vec<(String, String)>,
    pub(super) remarks: Vec<String>,
}

/// Reads the sections of a valid component. Toolchains leave some of them on the core module inside,
/// so the component's own come first and those of its parts after.
pub(super) fn read(wasm: &[u8]) -> Metadata {
    let mut metadata = Metadata::default();
    match Told::from_binary(wasm) {
        Ok(told) => take(&mut metadata, &told, true),
        Err(error) => metadata.remarks.push(format!("its name sections cannot be read: {error}")),
    }
    for (name, data) in our_sections(wasm) {
        let value = parse_section(name, data, &mut metadata.remarks);
        match value {
            Some(value) if name == SCHEMA_SECTION && metadata.config_schema.is_none() => {
                metadata.config_schema = Some(value);
            }
            Some(serde_json::Value::Object(reasons)) if name == REASONS_SECTION => {
                for (import, reason) in reasons {
                    if let Some(reason) = reason.as_str() {
                        metadata.import_reasons.push((import, printable(reason, TEXT_CHARS)));
                    }
                }
            }
            _ => {}
        }
    }
    metadata
}

fn take(metadata: &mut Metadata, told: &Told, outermost: bool) {
    let own = told.metadata();
    // Names of inner modules are those of compilers, not of the plugin.
    if outermost {
        metadata.name = own.name.as_deref().map(|name| printable(name, NAME_CHARS));
    }
    if metadata.version.is_none() {
        metadata.version = own.version.as_ref().map(|version| printable(&version.to_string(), NAME_CHARS));
    }
    if metadata.description.is_none() {
        metadata.description = own.description.as_ref().map(|text| printable(&text.to_string(), TEXT_CHARS));
    }
    if let Told::Component { children, .. } = told {
        for child in children {
            take(metadata, child, false);
        }
    }
}

fn our_sections(wasm: &[u8]) -> Vec<(&'static str, &[u8])> {
    let payloads = Parser::new(0).parse_all(wasm).map_while(Result::ok);
    payloads
        .filter_map(|payload| match payload {
            Payload::CustomSection(section) if section.name() == SCHEMA_SECTION => {
                Some((SCHEMA_SECTION, section.data()))
            }
            Payload::CustomSection(section) if section.name() == REASONS_SECTION => {
                Some((REASONS_SECTION, section.data()))
            }
            _ => None,
        })
        .collect()
}

fn parse_section(name: &str, data: &[u8], remarks: &mut Vec<String>) -> Option<serde_json::Value> {
    if data.len() > SECTION_BYTES {
        remarks.push(format!("its section `{name}` has {} bytes and is not read", data.len()));
        return None;
    }
    match serde_json::from_slice(data) {
        Ok(value @ serde_json::Value::Object(_)) => Some(value),
        Ok(_) => {
            remarks.push(format!("its section `{name}` is not a JSON object"));
            None
        }
        Err(error) => {
            remarks.push(format!("its section `{name}` is not JSON: {error}"));
            None
        }
    }
}

/// Text of strangers, fit for a terminal and a log line.
fn printable(text: &str, most: usize) -> String {
    let clean = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(most).collect()
}
