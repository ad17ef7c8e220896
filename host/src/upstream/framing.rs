//! Newline framing of a byte stream: bytes are split first and read as text never.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much of both ends of an over-long line is kept to find out whose it is.
const KEPT: usize = 1024;
const READ: usize = 16 << 10;

/// What a newline ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its newline.
    Whole(Bytes),
    /// A line beyond the cap. It was thrown away up to its newline, so nothing of it can be taken
    /// for a line of its own.
    TooLong {
        /// Its first KiB.
        head: Bytes,
        /// Its last KiB.
        tail: Bytes,
        /// Its length.
        bytes: u64,
    },
}

/// Reads lines of at most `cap` bytes; never holds more than about that.
pub(super) struct Lines<R> {
    source: R,
    cap: usize,
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no newline.
    scanned: usize,
    draining: Option<Drain>,
}

struct Drain {
    head: Bytes,
    tail: BytesMut,
    bytes: u64,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(source: R, cap: usize) -> Lines<R> {
        Lines { source, cap, buffer: BytesMut::new(), scanned: 0, draining: None }
    }

    /// The next line; none at the end. What no newline ended is no line: it may have been cut.
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            self.buffer.reserve(READ);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// How many bytes stand after the last newline.
    pub(super) fn unfinished(&self) -> u64 {
        self.draining.as_ref().map_or(0, |d| d.bytes) + self.buffer.len() as u64
    }

    fn take(&mut self) -> Option<Line> {
        let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
        if let Some(at) = memchr(b'\n', unseen) {
            let line = self.buffer.split_to(self.scanned + at);
            self.buffer.advance(1);
            self.scanned = 0;
            if let Some(mut drain) = self.draining.take() {
                drain.swallow(&line);
                return Some(drain.finish());
            }
            if line.len() > self.cap {
                return Some(Drain::begin(&line).finish());
            }
            return Some(Line::Whole(line.freeze()));
        }
        match &mut self.draining {
            Some(drain) => {
                drain.swallow(&self.buffer);
                self.buffer.clear();
            }
            None if self.buffer.len() > self.cap => {
                self.draining = Some(Drain::begin(&self.buffer));
                // Gives the memory back as well: the cap may be many MiB.
                self.buffer = BytesMut::new();
            }
            None => {}
        }
        self.scanned = self.buffer.len();
        None
    }
}

impl Drain {
    fn begin(line: &[u8]) -> Drain {
        let head = Bytes::copy_from_slice(line.get(..KEPT).unwrap_or(line));
        let mut drain = Drain { head, tail: BytesMut::new(), bytes: 0 };
        drain.swallow(line);
        drain
    }

    fn swallow(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        let part = part.get(part.len().saturating_sub(KEPT)..).unwrap_or(part);
        self.tail.extend_from_slice(part);
        self.tail.advance(self.tail.len().saturating_sub(KEPT));
    }

    fn finish(self) -> Line {
        Line::TooLong { head: self.head, tail: self.tail.freeze(), bytes: self.bytes }
    }
}

/// The id of the answer that an over-long line was, if it stands at either end of it. A wrong guess
/// fails one call of the server that wrote the line, and nobody else's.
pub(super) fn owner_of(head: &[u8], tail: &[u8]) -> Option<u64> {
    id_near_start(head).or_else(|| id_at_end(tail))
}

/// Finds a top-level `"id"` before the first nested value that does not end within `head`.
fn id_near_start(head: &[u8]) -> Option<u64> {
    let mut depth = 0_u32;
    let mut at = 0;
    while let Some(&byte) = head.get(at) {
        match byte {
            b'"' => {
                let end = string_end(head, at)?;
                let rest = head.get(end..)?;
                if depth == 1
                    && head.get(at..end) == Some(b"\"id\"")
                    && let Some(value) = rest.trim_ascii_start().strip_prefix(b":")
                {
                    return leading_number(value.trim_ascii_start()).map(|(id, _)| id);
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Finds an `"id"` that is the last member, or the last but `"jsonrpc"`: several SDKs write it so.
fn id_at_end(tail: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"id\"";
    let start = memchr::memmem::rfind(tail, KEY)?;
    let value = tail.get(start + KEY.len()..)?.trim_ascii_start().strip_prefix(b":")?;
    let (id, rest) = leading_number(value.trim_ascii_start())?;
    let rest: Vec<u8> = rest.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    (rest == b"}" || rest == b",\"jsonrpc\":\"2.0\"}").then_some(id)
}

fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// A number and what follows it, which proves that the number is whole.
fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    rest.first()?;
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// Gives out one chunk per read.
    struct Chunks(std::collections::VecDeque<Vec<u8>>);

    impl AsyncRead for Chunks {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(mut chunk) = self.0.pop_front() {
                let now = chunk.len().min(into.remaining());
                let rest = chunk.split_off(now);
                into.put_slice(&chunk);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    async fn lines(chunks: Vec<Vec<u8>>, cap: usize) -> Vec<Line> {
        let mut lines = Lines::new(Chunks(chunks.into()), cap);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    fn whole(text: &str) -> Line {
        Line::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_come_out_the_same_wherever_the_bytes_are_cut() {
        let text = "{\"a\":\"é€😀\"}\n\n  x\r\n{\"b\":1}\nunfinished";
        let expected = vec![whole("{\"a\":\"é€😀\"}"), whole(""), whole("  x\r"), whole("{\"b\":1}")];
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks: Vec<Vec<u8>> = [&bytes[..first], &bytes[first..second], &bytes[second..]]
                    .into_iter()
                    .filter(|c| !c.is_empty())
                    .map(<[u8]>::to_vec)
                    .collect();
                assert_eq!(lines(chunks, 100).await, expected, "cut at {first} and {second}");
            }
        }
    }

    #[tokio::test]
    async fn a_line_at_the_cap_passes_and_one_beyond_is_drained_to_its_newline() {
        for size in [1, 7, 64] {
            let text = format!("{}\n{}\n{}\nok\n", "a".repeat(10), "b".repeat(11), "c".repeat(5000));
            let chunks = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            let all = lines(chunks, 10).await;
            assert_eq!(all[0], whole("aaaaaaaaaa"));
            assert!(matches!(&all[1], Line::TooLong { bytes: 11, .. }), "{:?}", all[1]);
            let Line::TooLong { head, tail, bytes } = &all[2] else { panic!("{:?}", all[2]) };
            assert_eq!(*bytes, 5000);
            assert!(head.len() <= KEPT && tail.len() == KEPT, "{} {}", head.len(), tail.len());
            assert_eq!(all[3], whole("ok"));
        }
    }

    #[tokio::test]
    async fn an_endless_line_does_not_grow_the_buffer() {
        let mut lines = Lines::new(Chunks(vec![vec![b'x'; 16 << 10]; 640].into()), 64 << 10);
        assert_eq!(lines.next().await.unwrap(), None);
        assert_eq!(lines.unfinished(), 10 << 20);
        assert!(lines.buffer.capacity() <= 128 << 10, "{}", lines.buffer.capacity());
    }

    #[test]
    fn the_owner_of_an_over_long_answer_is_found_at_either_end() {
        let found = |head: &str, tail: &str| owner_of(head.as_bytes(), tail.as_bytes());
        assert_eq!(found(r#"{"jsonrpc":"2.0","id":17,"result":{"x":"aaa"#, "aaa"), Some(17));
        assert_eq!(found(r#"{ "id" : 17 , "result":{"x":"aaa"#, ""), Some(17));
        // Not the top-level one, not a cut one, not a text.
        assert_eq!(found(r#"{"result":{"id":5,"x":"aaa"#, "aaa"), None);
        assert_eq!(found(r#"{"x":"\"id\":3,","result":["aaa"#, "aaa"), None);
        assert_eq!(found(r#"{"id":17"#, ""), None);
        assert_eq!(found(r#"{"id":"17","result":"a"#, ""), None);
        assert_eq!(found(r#"{"result":{"x":"aaa"#, r#"aa"},"jsonrpc":"2.0","id":17}"#), Some(17));
        assert_eq!(found(r#"{"result":{"x":"aaa"#, "aa\"}, \"id\": 17, \"jsonrpc\": \"2.0\" }\r"), Some(17));
        assert_eq!(found(r#"{"result":{"x":"aaa"#, r#"{"id":17},"more":1}"#), None);
    }
}
