//! The walls between the modules, and the house rules: read from the sources.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All Rust files below a folder, with their paths relative to it.
fn sources(folder: &Path) -> Vec<(String, String)> {
    fn walk(folder: &Path, base: &Path, found: &mut Vec<(String, String)>) {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, base, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found
}

/// The source without comments and the contents of strings.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if first == '"' {
            string(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest.find("\"'").map_or(1, |end| end + 2)
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[skip..];
    }
    code
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let count = hashes.chars().take_while(|c| *c == '#').count();
    let body = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    let start = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The crates a source mentions, of those asked about (a name also stands for `name_*`).
fn mentions(source: &str, krate: &str) -> bool {
    let code = code(source);
    let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    words
        .into_iter()
        .any(|word| word == krate || word.strip_prefix(krate).is_some_and(|rest| rest.starts_with('_')))
}

/// Whether a file belongs to one of the modules.
fn within(file: &str, modules: &[&str]) -> bool {
    modules.iter().any(|module| file == format!("{module}.rs") || file.starts_with(&format!("{module}/")))
}

fn assert_only_in(krates: &[&str], modules: &[&str]) {
    let breaches: Vec<String> = sources(&root())
        .into_iter()
        .filter(|(file, _)| !within(file, modules))
        .flat_map(|(file, source)| {
            let found: Vec<String> = krates
                .iter()
                .filter(|krate| mentions(&source, krate))
                .map(|krate| format!("{file}: {krate}"))
                .collect();
            found
        })
        .collect();
    assert!(breaches.is_empty(), "only {modules:?} may mention {krates:?}, but:\n{}", breaches.join("\n"));
}

#[test]
fn only_wasm_knows_wasmtime() {
    assert_only_in(&["wasmtime"], &["wasm"]);
}

#[test]
fn only_the_edges_know_http_libraries() {
    let libraries = ["axum", "hyper", "rmcp", "tokio_tungstenite", "tungstenite"];
    assert_only_in(&libraries, &["downstream", "upstream", "auth", "admin", "net"]);
}

#[test]
fn the_path_of_a_call_knows_neither_transports_nor_wasm() {
    let forbidden = ["wasmtime", "axum", "hyper", "rmcp", "tungstenite", "wasmparser", "wit_component"];
    for (file, source) in sources(&root()) {
        if within(&file, &["proxy", "filter", "jsonrpc"]) {
            for krate in forbidden {
                assert!(!mentions(&source, krate), "{file} mentions {krate}");
            }
            let code = code(&source);
            for module in ["crate::wasm", "crate::downstream", "crate::plugin"] {
                assert!(!code.contains(module), "{file} mentions {module}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    let files = sources(&root());
    assert!(files.len() > 10);
    let mut breaches = Vec::new();
    for (file, source) in files {
        let lines = source.lines().count();
        if !source.starts_with("//! ") {
            breaches.push(format!("{file} does not begin with a sentence about itself"));
        }
        if lines > 500 {
            breaches.push(format!("{file} has {lines} lines; split it"));
        }
        if file.ends_with("mod.rs") {
            breaches.push(format!("{file}: write foo.rs beside foo/"));
        }
        for word in ["middleware", "Manager", "Helper", "Util"] {
            if code(&source).contains(word) {
                breaches.push(format!("{file} says {word}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_reader_itself_tells_code_from_comments_and_strings() {
    let source = "// wasmtime\nlet a = \"wasmtime \\\" axum\"; /* hyper */ let b = r#\"rmcp \" rmcp\"#; let c = '\"'; use axum::Router; hyper_util::x();";
    assert!(!mentions(source, "wasmtime") && !mentions(source, "rmcp"));
    assert!(mentions(source, "axum") && mentions(source, "hyper"));
}
