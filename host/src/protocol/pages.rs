//! The pages of a list: what names the next one, and when a walk over all of them ends.

use std::collections::HashSet;

use bytes::Bytes;

use crate::jsonrpc::Message;

/// The cursor of the page after this one, as raw JSON. None on the last page: there `nextCursor` is absent or
/// null, or what the usual loop (`while (cursor)`) takes for its end: an empty text, `false` or `0`.
pub fn next(page: &Message) -> Option<&[u8]> {
    let cursor = page.result_member("nextCursor")?;
    (!matches!(cursor, b"null" | b"\"\"" | b"false" | b"0")).then_some(cursor)
}

/// A walk over the pages of one list.
#[derive(Debug)]
pub struct Walk {
    /// Pages that may still be read.
    left: u32,
    /// Digests of the cursors that were followed: a server may send long ones.
    followed: HashSet<[u8; 32]>,
}

/// Where a walk goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// With this cursor, as raw JSON.
    Next(Bytes),
    /// Nowhere: this was the last page.
    End,
    /// Nowhere: the server names a page that was read before.
    Repeated,
    /// Nowhere: as many pages as may be were read.
    TooMany,
}

impl Walk {
    /// A walk over `most` pages, the first one included.
    pub fn new(most: u32) -> Walk {
        Walk { left: most.max(1), followed: HashSet::new() }
    }

    /// Takes note of a page that was read.
    pub fn step(&mut self, page: &Message) -> Step {
        self.step_to(page, |cursor| Some(cursor.to_vec()))
    }

    /// The same where `identity` tells which page a cursor leads to. None: it cannot be told.
    pub fn step_to(&mut self, page: &Message, identity: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Step {
        self.left = self.left.saturating_sub(1);
        let Some(cursor) = next(page) else { return Step::End };
        let identity = identity(cursor).unwrap_or_else(|| cursor.to_vec());
        let digest = ring::digest::digest(&ring::digest::SHA256, &identity);
        let new = digest.as_ref().try_into().is_ok_and(|digest| self.followed.insert(digest));
        match new {
            false => Step::Repeated,
            true if self.left == 0 => Step::TooMany,
            true => Step::Next(Bytes::copy_from_slice(cursor)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::{Limits, Source};

    fn page(cursor: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[]{cursor}}}}}"#);
        Message::parse(text.into(), &Limits::default(), Source::Server).unwrap()
    }

    #[test]
    fn whatever_ends_the_loop_of_a_client_is_the_last_page() {
        for last in [
            "",
            r#","nextCursor":null"#,
            r#","nextCursor":"""#,
            r#","nextCursor":false"#,
            r#","nextCursor":0"#,
        ] {
            assert_eq!(next(&page(last)), None, "{last}");
        }
        assert_eq!(next(&page(r#","nextCursor":" ""#)), Some(&b"\" \""[..]));
        assert_eq!(next(&page(r#","nextCursor":7"#)), Some(&b"7"[..]));
    }

    #[test]
    fn a_walk_ends_at_a_cursor_that_comes_again_and_at_its_bound() {
        let mut walk = Walk::new(3);
        assert_eq!(walk.step(&page(r#","nextCursor":"a""#)), Step::Next(Bytes::from_static(b"\"a\"")));
        assert_eq!(walk.step(&page(r#","nextCursor":"b""#)), Step::Next(Bytes::from_static(b"\"b\"")));
        assert_eq!(walk.step(&page(r#","nextCursor":"c""#)), Step::TooMany);
        let mut walk = Walk::new(3);
        walk.step(&page(r#","nextCursor":"a""#));
        walk.step(&page(r#","nextCursor":"b""#));
        assert_eq!(walk.step(&page(r#","nextCursor":"a""#)), Step::Repeated);
    }
}
