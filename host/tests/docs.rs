//! The documents speak of what is there.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Everything between single back-ticks.
fn quoted(text: &str) -> Vec<&str> {
    let mut prose = Vec::new();
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 0 {
            prose.extend(part.split('`').skip(1).step_by(2));
        }
    }
    prose
}

/// Every relative link of a document.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect()
}

#[test]
fn a_call_can_be_followed_through_files_that_exist() {
    let text = read("docs/life-of-a-call.md");
    let files: Vec<&str> = quoted(&text).into_iter().filter(|word| word.ends_with(".rs")).collect();
    assert!(files.len() >= 12, "only {} files are mentioned", files.len());
    for file in files {
        assert!(workspace().join("host/src").join(file).exists(), "docs/life-of-a-call.md mentions {file}");
    }
    for module in ["downstream/", "proxy/", "filter/", "wasm/", "upstream/", "jsonrpc/", "plugin/"] {
        assert!(
            text.contains(&format!("`{module}")),
            "docs/life-of-a-call.md does not lead through {module}"
        );
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for folder in ["docs", "docs/decisions"] {
        for entry in std::fs::read_dir(workspace().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                documents.push(format!("{folder}/{name}"));
            }
        }
    }
    for document in &documents {
        let text = read(document);
        let folder = Path::new(document).parent().unwrap();
        for link in links(&text) {
            let file = link.split('#').next().unwrap();
            assert!(workspace().join(folder).join(file).exists(), "{document} links to {link}");
        }
    }
}

#[test]
fn the_readme_has_one_command_to_install_one_to_try_and_one_to_test() {
    let readme = read("README.md");
    let commands: Vec<&str> = readme.lines().filter(|line| line.trim_start().starts_with("cargo ")).collect();
    assert_eq!(commands, ["cargo install --locked --path host", "cargo xtask demo", "cargo xtask test"]);
}

/// The subject of `access` in the source, in the words of the document.
fn subject(source: &str) -> &'static str {
    let source = source.trim();
    let items = ["Tool", "Prompt", "Template", "Resource", "Task"];
    let words = ["tool", "prompt", "template", "resource", "task"];
    for (subject, word) in [("Reference", "reference"), ("Listen", "resource")] {
        if source.contains(subject) {
            return word;
        }
    }
    let found = items.iter().position(|item| source.to_lowercase().contains(&item.to_lowercase()));
    found.map_or("none", |at| words[at])
}

/// `row("tools/call", Eras::…, Subject::…)` and `local("ping", Eras::…)` in the method table.
fn table_in_source() -> BTreeMap<String, (String, bool, &'static str)> {
    let source = read("host/src/proxy/methods.rs");
    let table = source.split("TABLE: &[Row]").nth(1).unwrap().split("];").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in table.lines().map(str::trim) {
        let Some((kind, rest)) = line.split_once("(\"") else { continue };
        let (method, rest) = rest.split_once('"').unwrap();
        let eras = rest.split("Eras::").nth(1).unwrap().split([',', ')']).next().unwrap().to_lowercase();
        rows.insert(method.to_owned(), (eras, kind == "row", subject(rest)));
    }
    rows
}

/// The rows of the document's table: method, era, forwarded, subject of `access`.
fn table_in_document() -> BTreeMap<String, (String, bool, String)> {
    let text = read("docs/wit.md");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [method, era, request, .., subject] = cells[..] else { continue };
        if !["legacy", "modern", "both"].contains(&era) {
            continue; // another table
        }
        rows.insert(
            method.trim_matches('`').to_owned(),
            (era.to_owned(), request == "✓", subject.to_lowercase()),
        );
    }
    rows
}

#[test]
fn the_table_of_methods_is_the_one_in_the_source() {
    let (source, document) = (table_in_source(), table_in_document());
    assert!(source.len() > 10, "the table was not found in the source: {source:?}");
    for (method, (eras, forwarded, subject)) in &source {
        let Some((era, passes, described)) = document.get(method) else {
            panic!("docs/wit.md has no row for {method}");
        };
        assert_eq!(era, eras, "{method}: in which eras it exists");
        assert_eq!(passes, forwarded, "{method}: whether it passes `request`");
        match *subject {
            "none" => assert_eq!(described, "–", "{method}"),
            subject => {
                assert!(described.contains(subject), "{method}: `{described}` does not mention {subject}")
            }
        }
    }
    for method in document.keys() {
        assert!(source.contains_key(method), "{method} is in docs/wit.md but not in the table");
    }
}

#[test]
fn every_row_of_the_bridge_names_tests_that_exist() {
    let text = read("docs/bridging.md");
    let (held, _) = text.split_once("## What cannot be translated").unwrap();
    let rows: Vec<&str> = held
        .lines()
        .filter(|line| line.starts_with("| ") && !line.trim_end().ends_with("| Test |"))
        .collect();
    assert!(rows.len() > 40, "only {} rows", rows.len());
    for row in rows {
        let last = row.trim_end().trim_end_matches('|').rsplit('|').next().unwrap();
        let tests: Vec<&str> = last.split("[`").skip(1).collect();
        assert!(!tests.is_empty(), "no test holds: {row}");
        for test in tests {
            let (name, rest) = test.split_once("`](../").unwrap();
            let file = rest.split(')').next().unwrap();
            assert!(read(file).contains(&format!("fn {name}(")), "{file} has no test `{name}`");
        }
    }
}

/// The first fenced block of a language.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let start = format!("```{language}\n");
    text.split(start.as_str()).nth(1).and_then(|rest| rest.split("```").next()).unwrap()
}

#[test]
fn the_crate_of_the_plugin_tutorial_can_be_had_from_a_clone() {
    let readme = read("plugin-sdk/README.md");
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(workspace(), folder.path().join("lockgate")).unwrap();
    let deny = folder.path().join("deny");
    std::fs::create_dir_all(deny.join("src")).unwrap();
    std::fs::write(deny.join("Cargo.toml"), block(&readme, "toml")).unwrap();
    std::fs::write(deny.join("src/lib.rs"), block(&readme, "rust")).unwrap();
    // The versions that are here already: nothing is fetched.
    std::fs::copy(workspace().join("Cargo.lock"), deny.join("Cargo.lock")).unwrap();
    let resolved = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(&deny)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&resolved.stderr);
    assert!(resolved.status.success(), "{said}");
}
