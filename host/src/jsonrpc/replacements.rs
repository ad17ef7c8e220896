//! Many strings of one document replaced in one walk, which goes only where there is something to replace.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::document::EditError;
use super::pointer::tokens;
use super::strings::unescape;
use super::walk::{Children, Node, View};

/// What is to be replaced below one place of the document.
#[derive(Default)]
pub(super) struct Replacements<'e> {
    text: Option<&'e str>,
    found: bool,
    below: HashMap<Cow<'e, str>, Replacements<'e>>,
}

impl<'e> Replacements<'e> {
    /// Of pointers and texts. Where a pointer is given twice the last text stands.
    pub(super) fn new(edits: &'e [(String, String)]) -> Result<Replacements<'e>, EditError> {
        let mut all = Replacements::default();
        for (pointer, text) in edits {
            let mut here = &mut all;
            for token in tokens(pointer).map_err(EditError::InvalidPointer)? {
                here = here.below.entry(token).or_default();
            }
            here.text = Some(text);
        }
        Ok(all)
    }

    /// Where the strings stand that are to be replaced, in the order of the document, with their new text.
    pub(super) fn find(&mut self, view: View<'_>, root: Node) -> Vec<(Range<usize>, &'e str)> {
        let mut found = Vec::new();
        self.walk(view, root, &mut found);
        found
    }

    /// As deep as the pointers are, and no deeper than the document, which the law bounds.
    fn walk(&mut self, view: View<'_>, node: Node, found: &mut Vec<(Range<usize>, &'e str)>) {
        let open = view.bytes.get(node.span.start);
        if let (Some(text), Some(b'"')) = (self.text, open) {
            self.found = true;
            found.push((node.span.clone(), text));
        }
        let mut left = self.below.len();
        let is_object = open == Some(&b'{');
        for (number, child) in Children::of(view, &node).enumerate() {
            if left == 0 {
                return;
            }
            let name = match is_object {
                true => view.bytes.get(child.name.clone()).and_then(unescape).unwrap_or_default(),
                false => Cow::Owned(number.to_string()),
            };
            if let Some(below) = self.below.get_mut(&*name) {
                left -= 1;
                below.walk(view, child.node, found);
            }
        }
    }

    /// The first pointer at which no string was found.
    pub(super) fn missing(&self, edits: &'e [(String, String)]) -> Option<&'e str> {
        let found = |pointer: &str| {
            let tokens = tokens(pointer).ok()?;
            let place = tokens.iter().try_fold(self, |here, token| here.below.get(token))?;
            place.found.then_some(())
        };
        edits.iter().map(|(pointer, _)| pointer.as_str()).find(|pointer| found(pointer).is_none())
    }
}
