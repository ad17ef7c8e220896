//! A skip index: where the containers and long strings of a large value end, so that reading one
//! place does not walk through all that stands before it.

/// Strings shorter than this are skipped by reading them.
const LONG: usize = 64;
/// Most entries, 3 MiB of them: a document of nothing but small containers would have an index that is several
/// times its own size. It is read without one.
const MOST: usize = 256 << 10;

/// A place in an [`Index`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor(u32);

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    end: u32,
    /// The entry after everything inside.
    next: u32,
}

/// The containers and long strings of one value, in their order.
#[derive(Debug)]
pub(super) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// One pass over lawful JSON. None if it is not, or too large for the index.
    pub(super) fn build(bytes: &[u8]) -> Option<Index> {
        u32::try_from(bytes.len()).ok()?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if entries.len() >= MOST {
                return None;
            }
            match byte {
                b'"' => {
                    let end = super::walk::string_end(bytes, at)?;
                    if end - at >= LONG {
                        let next = entries.len() as u32 + 1;
                        entries.push(Entry { start: at as u32, end: end as u32, next });
                    }
                    at = end;
                    continue;
                }
                b'{' | b'[' => {
                    open.push(entries.len());
                    entries.push(Entry { start: at as u32, end: 0, next: 0 });
                }
                b'}' | b']' => {
                    let next = entries.len() as u32;
                    let entry = entries.get_mut(open.pop()?)?;
                    entry.end = at as u32 + 1;
                    entry.next = next;
                }
                _ => {}
            }
            at += 1;
        }
        open.is_empty().then_some(Index { entries })
    }

    /// What it takes of memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// If an indexed value begins at `at` and is the next one at `cursor`: its end, the cursor of
    /// what is inside of it, and the cursor after it.
    #[inline]
    pub(super) fn jump(&self, cursor: Cursor, at: usize) -> Option<(usize, Cursor, Cursor)> {
        let entry = self.entries.get(cursor.0 as usize).filter(|entry| entry.start as usize == at)?;
        Some((entry.end as usize, Cursor(cursor.0 + 1), Cursor(entry.next)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::{Children, Node, View};
    use super::*;

    #[test]
    fn children_are_the_same_with_and_without() {
        let long = "y".repeat(100);
        let text = format!(
            r#"{{"a":[1,[2,{{"b":"{long}"}},[]],"x"],"{long}":{{"c":"{long}","d":[{{}},{{}}]}},"e":3,"f":["{long}"]}}"#
        );
        let bytes = text.as_bytes();
        let index = Index::build(bytes).unwrap();
        fn compare(bytes: &[u8], index: &Index, node: &Node) -> usize {
            let with: Vec<_> =
                Children::of(View { index: Some(index), ..View::plain(bytes) }, node).collect();
            let without: Vec<_> = Children::at(bytes, node.span.start).collect();
            let spans = |list: &[super::super::walk::Child]| {
                list.iter().map(|child| (child.name.clone(), child.node.span.clone())).collect::<Vec<_>>()
            };
            assert_eq!(spans(&with), spans(&without));
            with.iter().map(|child| 1 + compare(bytes, index, &child.node)).sum()
        }
        let (end, cursor, _) = index.jump(Cursor::default(), 0).unwrap();
        assert_eq!(compare(bytes, &index, &Node { span: 0..end, cursor }), 16);
    }

    #[test]
    fn what_is_no_json_has_no_index() {
        for bytes in [&b"{"[..], b"]", b"\"abc", b"[}x{"] {
            let _ = Index::build(bytes);
        }
        assert!(
            Index::build(b"[").is_none() && Index::build(b"]").is_none() && Index::build(b"\"a").is_none()
        );
    }
}
