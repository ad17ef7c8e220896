//! Cached artifacts: found again, refused when changed, evicted when old.

use std::time::Duration;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a/b")
    }

    fn open(&self, max_bytes: u64) -> Cache {
        Cache::open(&self.path(), max_bytes).unwrap()
    }
}

fn key(n: u8) -> Key {
    Key::new(&[n; 32], "{}", 64, 7)
}

#[test]
fn what_was_put_is_found_by_the_next_process() {
    let folder = Folder::new();
    let cache = folder.open(MAX_BYTES);
    assert_eq!(cache.get(key(1)), None);
    let start = StartKind::Configure { reason: "nests modules".into() };
    cache.put(key(1), b"machine code", &start).unwrap();
    let entry = folder.open(MAX_BYTES).get(key(1)).unwrap();
    assert_eq!(entry.start, start);
    assert_eq!(fs::read(&entry.file).unwrap(), b"machine code");
    assert_eq!(cache.get(key(2)), None);
}

#[test]
fn every_part_of_the_key_counts() {
    let base = Key::new(&[1; 32], "{}", 64, 7);
    for other in [
        Key::new(&[2; 32], "{}", 64, 7),
        Key::new(&[1; 32], "{ }", 64, 7),
        Key::new(&[1; 32], "{}", 65, 7),
        Key::new(&[1; 32], "{}", 64, 8),
    ] {
        assert!(base != other);
    }
}

#[test]
fn folder_and_key_are_ours_alone() {
    let folder = Folder::new();
    let cache = folder.open(MAX_BYTES);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&folder.path()), 0o700);
    assert_eq!(mode(&folder.path().join(KEY_FILE)), 0o600);
    let entry = cache.put(key(1), b"x", &StartKind::Plain).unwrap();
    assert_eq!(mode(&entry.file), 0o600);
}

#[test]
fn a_folder_open_to_others_is_refused() {
    let folder = Folder::new();
    folder.open(MAX_BYTES);
    for bits in [0o750, 0o701, 0o777] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(bits)).unwrap();
        let error = Cache::open(&folder.path(), MAX_BYTES).err().unwrap();
        assert!(error.to_string().contains("open to others"), "{error}");
    }
    if nix::unistd::geteuid().is_root() {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12_345), None).unwrap();
        let error = Cache::open(&folder.path(), MAX_BYTES).err().unwrap();
        assert!(error.to_string().contains("belongs to user 12345"), "{error}");
    }
}

#[test]
fn one_flipped_bit_anywhere_is_as_if_it_were_not_there() {
    let folder = Folder::new();
    let cache = folder.open(MAX_BYTES);
    let entry = cache.put(key(1), b"machine code", &StartKind::Snapshot).unwrap();
    for file in [entry.file.clone(), entry.file.with_extension("seal")] {
        let good = fs::read(&file).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&file, &bad).unwrap();
            assert_eq!(cache.get(key(1)), None, "{} byte {place}", file.display());
        }
        fs::write(&file, &good[..good.len() - 1]).unwrap();
        assert_eq!(cache.get(key(1)), None, "cut off");
        fs::write(&file, &good).unwrap();
        assert!(cache.get(key(1)).is_some());
    }
}

#[test]
fn an_entry_does_not_verify_in_another_place_or_under_another_key() {
    let folder = Folder::new();
    let cache = folder.open(MAX_BYTES);
    let entry = cache.put(key(1), b"machine code", &StartKind::Snapshot).unwrap();
    let (file, seal) = cache.paths(key(2));
    fs::copy(&entry.file, &file).unwrap();
    fs::copy(entry.file.with_extension("seal"), &seal).unwrap();
    assert_eq!(cache.get(key(2)), None, "renamed");
    fs::remove_file(folder.path().join(KEY_FILE)).unwrap();
    assert_eq!(folder.open(MAX_BYTES).get(key(1)), None, "a new key");
}

#[test]
fn a_key_that_others_could_read_is_replaced() {
    let folder = Folder::new();
    let before = folder.open(MAX_BYTES).secret;
    assert_eq!(folder.open(MAX_BYTES).secret, before);
    let path = folder.path().join(KEY_FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let after = folder.open(MAX_BYTES).secret;
    assert_ne!(after, before);
    fs::write(&path, "short").unwrap();
    assert_ne!(folder.open(MAX_BYTES).secret, after);
}

#[test]
fn the_longest_unused_goes_first_and_the_newest_stays() {
    let folder = Folder::new();
    let cache = folder.open(3_000);
    let now = SystemTime::now();
    for n in 0..3 {
        let entry = cache.put(key(n), &[n; 600], &StartKind::Plain).unwrap();
        let seal = File::open(entry.file.with_extension("seal")).unwrap();
        seal.set_modified(now - Duration::from_secs(100 - u64::from(n))).unwrap();
    }
    assert!(cache.get(key(0)).is_some(), "which makes it the youngest");
    cache.put(key(3), &[3; 1_800], &StartKind::Plain).unwrap();
    let left: Vec<bool> = (0..4).map(|n| cache.get(key(n)).is_some()).collect();
    assert_eq!(left, [true, false, false, true]);
    cache.put(key(4), &[4; 9_000], &StartKind::Plain).unwrap();
    assert!(cache.get(key(4)).is_some() && cache.get(key(3)).is_none());
}
