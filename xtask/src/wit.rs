//! `cargo xtask wit-check`: the contract parses, and its copies are copies.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_parser::Resolve;

use crate::steps::{root, say};

/// The contract.
const SOURCE: &str = "wit/v0.1";
/// Published crates carry their own copy, because a crate cannot reach outside of itself.
const COPIES: [&str; 1] = ["plugin-sdk/rust/macros/wit"];

/// Checks; says what to do where something is wrong.
pub fn check() -> Result<()> {
    say("checking the contract");
    let source = root().join(SOURCE);
    let mut resolve = Resolve::default();
    resolve.push_dir(&source).with_context(|| format!("{SOURCE} is not valid WIT"))?;
    let wanted = files(&source)?;
    for copy in COPIES {
        let found = files(&root().join(copy))?;
        if found != wanted {
            let differing: Vec<&str> = wanted
                .keys()
                .chain(found.keys())
                .filter(|name| wanted.get(*name) != found.get(*name))
                .map(String::as_str)
                .collect();
            bail!(
                "{copy} is not a copy of {SOURCE} ({}); run: cp {SOURCE}/*.wit {copy}/",
                differing.join(", ")
            );
        }
    }
    Ok(())
}

/// Names and contents of the `*.wit` files in a folder.
fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let shown = folder.display();
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{shown} cannot be read"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            files.insert(name, text);
        }
    }
    Ok(files)
}
