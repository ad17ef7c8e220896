//! From a core module to a component with its metadata.

use std::borrow::Cow;
use std::str::FromStr;

use wasm_encoder::{Component, CustomSection, Module, RawSection};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

use crate::Error;

/// What a component says of itself, readable without running it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Name of the plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence.
    pub description: Option<String>,
    /// `Name <mail>` each.
    pub authors: Vec<String>,
    /// An SPDX expression.
    pub license: Option<String>,
    /// URL of the source code.
    pub source: Option<String>,
    /// URL of a page about it.
    pub homepage: Option<String>,
}

/// Sections that the SDK writes for `lockgate plugin inspect`: moved from the module to the
/// component, where they are found without parsing the module.
const OWN_SECTIONS: &str = "lockgate:";

/// Makes a component of a core module that was built against the contract.
///
/// # Errors
/// [`Error::Preview1`] if the module wants WASI preview 1; [`Error::Component`] if it is damaged, is
/// a component already, or does not follow the contract.
pub fn componentize(module: &[u8], about: &About) -> Result<Vec<u8>, Error> {
    let refuse = |why: String| Error::Component { plugin: about.name.clone(), why };
    let (module, own) = split(module, &about.name)?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| refuse(format!("{error:#}")))?;
    let component = metadata(about).and_then(|add| Ok(add.to_wasm(&component)?)).map_err(|error| {
        refuse(format!("its Cargo metadata cannot be written into the component: {error}"))
    })?;
    let mut bytes = component;
    for section in &own {
        append(&mut bytes, section);
    }
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::default())
        .validate_all(&bytes)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(bytes)
}

/// Takes Lockgate's own custom sections out of a module, and looks at its imports.
fn split<'a>(module: &'a [u8], plugin: &str) -> Result<(Vec<u8>, Vec<CustomSection<'a>>), Error> {
    let refuse = |why: String| Error::Component { plugin: plugin.to_owned(), why };
    let mut rest = Module::new();
    let mut own = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| refuse(error.to_string()))?;
        match &payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Err(refuse("it is a component already, and cargo should have made a module".into()));
            }
            Payload::CustomSection(section) if section.name().starts_with(OWN_SECTIONS) => {
                // White space of a checked-in file need not travel with every copy of the plugin.
                let json: serde_json::Value = serde_json::from_slice(section.data()).map_err(|error| {
                    refuse(format!("its section {} is not JSON: {error}", section.name()))
                })?;
                own.push(CustomSection {
                    name: Cow::Borrowed(section.name()),
                    data: Cow::Owned(json.to_string().into_bytes()),
                });
                continue;
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import.map_err(|error| refuse(error.to_string()))?;
                    if import.module.starts_with("wasi_") {
                        return Err(Error::Preview1 {
                            plugin: plugin.to_owned(),
                            import: import.name.into(),
                        });
                    }
                }
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            let data = module.get(range).ok_or_else(|| refuse("a section is cut off".into()))?;
            rest.section(&RawSection { id, data });
        }
    }
    Ok((rest.finish(), own))
}

fn append(component: &mut Vec<u8>, section: &CustomSection<'_>) {
    let mut tail = Component::new();
    tail.section(section);
    let header = Component::new().finish().len();
    component.extend(tail.finish().into_iter().skip(header));
}

fn metadata(about: &About) -> Result<AddMetadata, Box<dyn std::error::Error + Send + Sync>> {
    let mut add = AddMetadata::default();
    add.name = AddMetadataField::Set(about.name.clone());
    add.version = field(Some(&about.version))?;
    add.description = field(about.description.as_deref())?;
    let authors = about.authors.join(", ");
    add.authors = field(Some(authors.as_str()).filter(|authors| !authors.is_empty()))?;
    add.licenses = field(about.license.as_deref())?;
    add.source = field(about.source.as_deref())?;
    add.homepage = field(about.homepage.as_deref())?;
    add.processed_by = vec![(env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    Ok(add)
}

fn field<T>(text: Option<&str>) -> Result<AddMetadataField<T>, Box<dyn std::error::Error + Send + Sync>>
where
    T: FromStr + std::fmt::Debug + Clone,
    T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match text {
        Some(text) => Ok(AddMetadataField::Set(text.parse().map_err(Into::into)?)),
        None => Ok(AddMetadataField::Keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About { name: "deny".into(), version: "1.2.3".into(), ..About::default() }
    }

    fn refusal(wat: &str) -> String {
        componentize(&wat::parse_str(wat).unwrap(), &about()).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_a_plugin_is_refused_with_its_name() {
        let preview1 = refusal(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#);
        assert!(preview1.starts_with("deny imports `fd_write` from WASI preview 1"), "{preview1}");
        assert!(refusal("(component)").contains("a component already"));
        let other = refusal(r#"(module (import "env" "puts" (func)))"#);
        assert!(other.starts_with("deny is not a Lockgate plugin: "), "{other}");
        let section = refusal(r#"(module (@custom "lockgate:config-schema" "{"))"#);
        assert!(section.contains("lockgate:config-schema is not JSON"), "{section}");
        let module = wat::parse_str("(module (memory 1))").unwrap();
        let cut = componentize(&module[..module.len() - 1], &about()).unwrap_err().to_string();
        assert!(cut.starts_with("deny is not a Lockgate plugin: "), "{cut}");
    }

    #[test]
    fn own_sections_move_to_the_component_and_others_stay() {
        let module = wat::parse_str(
            r#"(module (memory (export "memory") 1)
                 (@custom "lockgate:config-schema" "{ \"type\": 1 }") (@custom "other" "x"))"#,
        )
        .unwrap();
        let component = componentize(&module, &about()).unwrap();
        let mut depth = 0;
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(&component) {
            match payload.unwrap() {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::CustomSection(section) => {
                    found.push((depth, section.name().to_owned(), section.data().to_vec()));
                }
                _ => {}
            }
        }
        assert!(found.contains(&(1, "lockgate:config-schema".into(), b"{\"type\":1}".to_vec())));
        assert!(found.contains(&(1, "version".into(), b"1.2.3".to_vec())));
        assert_eq!(found.iter().filter(|(_, name, _)| name == "lockgate:config-schema").count(), 1);
        assert!(found.iter().any(|(depth, name, _)| name == "other" && *depth == 2));
    }
}
