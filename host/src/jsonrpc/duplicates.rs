//! Finds a member name that an object already has: a few names are compared one by one, many go
//! through a hash seeded per process, all in one arena that is reused from message to message.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::strings::word_at;

/// Objects with more members than this are looked up by hash.
const LINEAR: usize = 16;
/// First size of a hash table; it doubles at half load.
const TABLE: usize = 64;
/// Set in [`Name::start`] for names that stand in the arena's text (they were unescaped) and not in the message.
const UNESCAPED: u32 = 1 << 31;

/// One member name of an object that is still open.
#[derive(Clone, Copy)]
struct Name {
    /// A digest of its ends: names that differ in it differ.
    ends: u64,
    start: u32,
    len: u32,
}

/// The names of one open object, as a part of [`Names`].
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// One bit for every name: a name whose bit is not set is new.
    bits: u64,
    first: u32,
    table: u32,
    /// Slots of the table less one; zero while there is no table.
    mask: u32,
}

/// The names of all open objects, innermost last.
pub(super) struct Names {
    list: Vec<Name>,
    /// Hash tables of the open objects that need one. A slot holds the upper half of the hash and
    /// the name's place in `list` plus one; zero is free.
    table: Vec<u64>,
    text: Vec<u8>,
    state: RandomState,
}

impl Names {
    pub(super) fn new() -> Names {
        Names { list: Vec::new(), table: Vec::new(), text: Vec::new(), state: RandomState::new() }
    }

    /// Forgets everything, and memory beyond `keep` entries.
    pub(super) fn clear(&mut self, keep: usize) {
        self.list.clear();
        self.table.clear();
        self.text.clear();
        self.list.shrink_to(keep);
        self.table.shrink_to(keep);
        self.text.shrink_to(keep);
    }

    /// Begins an object.
    #[inline]
    pub(super) fn open(&mut self) -> Seen {
        Seen { bits: 0, first: self.list.len() as u32, table: 0, mask: 0 }
    }

    /// Ends the innermost object.
    #[inline]
    pub(super) fn close(&mut self, seen: Seen) {
        self.list.truncate(seen.first as usize);
        if seen.mask != 0 {
            self.table.truncate(seen.table as usize);
        }
    }

    /// Adds the name at `start..end` of the message to the innermost object; false if it has it already.
    #[inline]
    pub(super) fn add(&mut self, seen: &mut Seen, bytes: &[u8], start: usize, end: usize) -> bool {
        let ends = ends(bytes, start, end);
        self.insert(seen, bytes, Name { ends, start: start as u32, len: (end - start) as u32 })
    }

    /// Like [`Names::add`] with a name that had to be unescaped.
    pub(super) fn add_text(&mut self, seen: &mut Seen, bytes: &[u8], name: &[u8]) -> bool {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let name =
            Name { ends: ends(name, 0, name.len()), start: start as u32 | UNESCAPED, len: name.len() as u32 };
        self.insert(seen, bytes, name)
    }

    #[inline]
    fn insert(&mut self, seen: &mut Seen, bytes: &[u8], name: Name) -> bool {
        if seen.mask != 0 {
            return self.insert_hashed(seen, bytes, name);
        }
        let bit = 1 << (name.ends.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58);
        if seen.bits & bit != 0 && self.has(seen, bytes, name) {
            return false;
        }
        seen.bits |= bit;
        self.list.push(name);
        if self.list.len() - seen.first as usize > LINEAR {
            self.grow(seen, bytes);
        }
        true
    }

    fn has(&self, seen: &Seen, bytes: &[u8], name: Name) -> bool {
        let names = self.list.get(seen.first as usize..).unwrap_or_default();
        names.iter().any(|&other| self.same(bytes, other, name))
    }

    #[inline]
    fn same(&self, bytes: &[u8], a: Name, b: Name) -> bool {
        a.ends == b.ends && a.len == b.len && (a.len < 8 || self.text_of(bytes, a) == self.text_of(bytes, b))
    }

    fn text_of<'a>(&'a self, bytes: &'a [u8], name: Name) -> &'a [u8] {
        let (from, start) = match name.start & UNESCAPED {
            0 => (bytes, name.start as usize),
            _ => (self.text.as_slice(), (name.start & !UNESCAPED) as usize),
        };
        from.get(start..start + name.len as usize).unwrap_or_default()
    }

    #[inline(never)]
    fn insert_hashed(&mut self, seen: &mut Seen, bytes: &[u8], name: Name) -> bool {
        let hash = self.hash(bytes, name);
        let mut slot = hash & seen.mask;
        while let Some(&entry) = self.table.get((seen.table + slot) as usize).filter(|&&entry| entry != 0) {
            if (entry >> 32) as u32 == hash
                && let Some(&other) = self.list.get((entry as u32 - 1) as usize)
                && self.same(bytes, other, name)
            {
                return false;
            }
            slot = (slot + 1) & seen.mask;
        }
        self.list.push(name);
        self.put(seen.table, seen.mask, u64::from(hash) << 32 | self.list.len() as u64);
        if (self.list.len() - seen.first as usize) * 2 > seen.mask as usize {
            self.grow(seen, bytes);
        }
        true
    }

    fn hash(&self, bytes: &[u8], name: Name) -> u32 {
        let mut hasher = self.state.build_hasher();
        hasher.write(self.text_of(bytes, name));
        (hasher.finish() >> 32) as u32
    }

    /// Writes an entry to its first free slot.
    fn put(&mut self, table: u32, mask: u32, entry: u64) {
        let mut slot = (entry >> 32) as u32 & mask;
        while let Some(place) = self.table.get_mut((table + slot) as usize) {
            if *place == 0 {
                *place = entry;
                return;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Makes the innermost object's table, or doubles it. It is always the last one.
    #[cold]
    fn grow(&mut self, seen: &mut Seen, bytes: &[u8]) {
        if seen.mask == 0 {
            seen.table = self.table.len() as u32;
            seen.mask = TABLE as u32 - 1;
            self.table.resize(self.table.len() + TABLE, 0);
            for at in seen.first as usize..self.list.len() {
                if let Some(&name) = self.list.get(at) {
                    let hash = self.hash(bytes, name);
                    self.put(seen.table, seen.mask, u64::from(hash) << 32 | (at as u64 + 1));
                }
            }
            return;
        }
        let old = seen.table as usize..self.table.len();
        let slots = old.len() * 2;
        let (table, mask) = (old.end as u32, slots as u32 - 1);
        self.table.resize(old.end + slots, 0);
        for at in old.clone() {
            if let Some(&entry) = self.table.get(at).filter(|&&entry| entry != 0) {
                self.put(table, mask, entry);
            }
        }
        self.table.copy_within(old.end.., old.start);
        self.table.truncate(old.start + slots);
        seen.mask = mask;
    }
}

/// Up to seven bytes whole with their number, or a mixture of the first and the last eight.
#[inline]
fn ends(bytes: &[u8], start: usize, end: usize) -> u64 {
    let len = end - start;
    if len < 8 {
        let word = word_at(bytes, start).unwrap_or_else(|| word_before(bytes, start, end));
        return (word & !(u64::MAX << (len * 8))) | (len as u64) << 56;
    }
    let first = word_at(bytes, start).unwrap_or_default();
    let last = word_at(bytes, end - 8).unwrap_or_default();
    first ^ last.rotate_left(29)
}

#[cold]
fn word_before(bytes: &[u8], start: usize, end: usize) -> u64 {
    let name = bytes.get(start..end).unwrap_or_default();
    name.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// Adds names one after the other, as if they stood in a message, and tells which were new.
    fn added(names: &mut Names, seen: &mut Seen, message: &[u8], spans: &[(usize, usize)]) -> Vec<bool> {
        spans.iter().map(|&(start, end)| names.add(seen, message, start, end)).collect()
    }

    fn message(list: &[String]) -> (Vec<u8>, Vec<(usize, usize)>) {
        let mut bytes = Vec::new();
        let spans = list.iter().map(|name| {
            let start = bytes.len();
            bytes.extend_from_slice(name.as_bytes());
            (start, bytes.len())
        });
        let spans = spans.collect();
        (bytes, spans)
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(list in proptest::collection::vec("[ab]{0,12}", 0..200)) {
            let (bytes, spans) = message(&list);
            let mut names = Names::new();
            let mut seen = names.open();
            let mut set = HashSet::new();
            let expected: Vec<bool> = list.iter().map(|name| set.insert(name)).collect();
            // A set does not add twice, so the arena must not either.
            prop_assert_eq!(added(&mut names, &mut seen, &bytes, &spans), expected);
        }
    }

    #[test]
    fn nested_tables_do_not_disturb_each_other() {
        let list: Vec<String> = (0..1000).map(|n| format!("a-longer-name-{n}")).collect();
        let (bytes, spans) = message(&list);
        let mut names = Names::new();
        let mut outer = names.open();
        assert!(added(&mut names, &mut outer, &bytes, &spans[..500]).iter().all(|new| *new));
        let mut inner = names.open();
        assert!(
            added(&mut names, &mut inner, &bytes, &spans).iter().all(|new| *new),
            "an inner object is its own"
        );
        assert!(added(&mut names, &mut inner, &bytes, &spans).iter().all(|new| !*new));
        names.close(inner);
        assert!(added(&mut names, &mut outer, &bytes, &spans[500..]).iter().all(|new| *new));
        assert!(added(&mut names, &mut outer, &bytes, &spans).iter().all(|new| !*new));
        names.close(outer);
        assert!(names.list.is_empty() && names.table.is_empty());
    }

    #[test]
    fn unescaped_names_are_compared_with_plain_ones() {
        let bytes = b"a-name-in-the-message";
        let mut names = Names::new();
        let mut seen = names.open();
        assert!(names.add(&mut seen, bytes, 0, bytes.len()));
        assert!(!names.add_text(&mut seen, bytes, bytes));
        assert!(names.add_text(&mut seen, bytes, b"another"));
        assert!(!names.add_text(&mut seen, bytes, b"another"));
    }

    #[test]
    fn the_hash_is_seeded() {
        let hash = |names: &Names| names.hash(b"name", Name { ends: 0, start: 0, len: 4 });
        let differing = (0..8).map(|_| hash(&Names::new())).collect::<HashSet<_>>();
        assert!(differing.len() > 1);
    }
}
