//! The rules of the watched directory, with real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn touch(dir: &Path, names: &[&str]) {
    for name in names {
        fs::write(dir.join(name), "").unwrap();
    }
}

#[test]
fn names_lose_their_leading_number_only() {
    for (stem, name) in [
        ("redact", "redact"),
        ("10-redact", "redact"),
        ("010_redact", "redact"),
        ("10redact", "10redact"),
        ("10-2fa", "2fa"),
        ("10", "10"),
        ("10-", ""),
        ("-redact", "-redact"),
    ] {
        assert_eq!(plugin_name(stem), name, "{stem}");
    }
}

#[test]
fn plugins_are_listed_in_file_name_order_with_their_sidecars() {
    let dir = tempfile::tempdir().unwrap();
    touch(
        dir.path(),
        &[
            "20-b.wasm",
            "10-c.wasm",
            "10-c.yaml",
            "a.wasm",
            ".hidden.wasm",
            "c.wasm.tmp",
            "README.md",
            "lone.yaml",
        ],
    );
    let listing = list(dir.path()).unwrap();
    assert_eq!(listing.order, ["c", "b", "a"]);
    assert_eq!(
        listing.plugins["c"],
        Files { wasm: vec![dir.path().join("10-c.wasm")], sidecar: vec![dir.path().join("10-c.yaml")] }
    );
    assert!(listing.plugins["b"].sidecar.is_empty());
    assert!(listing.plugins["lone"].wasm.is_empty());
    assert_eq!((listing.plugins.len(), listing.odd.len(), listing.empty), (4, 0, false));
}

#[test]
fn two_files_of_one_name_are_both_told() {
    let dir = tempfile::tempdir().unwrap();
    touch(dir.path(), &["10-a.wasm", "20-a.wasm"]);
    let listing = list(dir.path()).unwrap();
    assert_eq!(listing.order, ["a"]);
    assert_eq!(listing.plugins["a"].wasm.len(), 2);
}

#[test]
fn odd_names_are_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    touch(dir.path(), &["10-.wasm", "a b.wasm", "a.yml", &format!("{}.wasm", "x".repeat(65))]);
    let listing = list(dir.path()).unwrap();
    assert!(listing.plugins.is_empty());
    assert_eq!(listing.odd.len(), 4);
    assert!(listing.odd.iter().all(|(_, reason)| reason.starts_with("rename it")), "{:?}", listing.odd);
}

#[test]
fn an_empty_directory_is_told_from_one_without_plugins() {
    let dir = tempfile::tempdir().unwrap();
    assert!(list(dir.path()).unwrap().empty);
    touch(dir.path(), &["README"]);
    assert!(!list(dir.path()).unwrap().empty);
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, refused) in [(0o755, false), (0o775, true), (0o757, true), (0o700, false), (0o777, true)] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        match list(dir.path()) {
            Ok(_) => assert!(!refused, "{mode:o}"),
            Err(DirectoryError::Writable { mode: told, .. }) => assert!(refused && told == mode, "{mode:o}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can give a directory away
    }
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(12_345), None).unwrap();
    let error = list(dir.path()).unwrap_err();
    assert!(matches!(error, DirectoryError::Owner { owner: 12_345, .. }), "{error}");
}

#[test]
fn a_missing_directory_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = list(&dir.path().join("gone")).unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    touch(dir.path(), &["file"]);
    assert!(matches!(list(&dir.path().join("file")), Err(DirectoryError::Unreadable { .. })));
}
