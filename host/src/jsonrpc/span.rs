//! Where the parts of a message stand in its bytes.

use super::reserved::Section;

/// A part of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
    /// The inside of a string literal.
    pub(super) fn inside(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize + 1..(self.end as usize).saturating_sub(1)).unwrap_or_default()
    }
}

/// A direct member of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The raw name, quotes included.
    pub name: Span,
    /// The value; its end is zero until it is scanned.
    pub value: Span,
    pub section: Section,
    /// Whether the name holds escapes.
    pub escaped: bool,
}
