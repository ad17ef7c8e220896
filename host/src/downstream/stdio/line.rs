//! Lines of bounded length from a reader.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// One line, without its end. Blank lines are skipped.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes.
    Text(Bytes),
    /// Longer than allowed; its bytes were not kept.
    TooLong,
}

/// The lines of a reader.
pub struct Lines<R> {
    reader: R,
    most: usize,
    text: BytesMut,
    too_long: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Lines of up to `most` bytes.
    pub fn new(reader: R, most: usize) -> Lines<R> {
        Lines { reader, most, text: BytesMut::new(), too_long: false }
    }

    /// The next line; none at the end. A last line may lack its end.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let read = self.reader.fill_buf().await?;
            if read.is_empty() {
                return Ok(self.take());
            }
            let (part, used, ended) = match memchr::memchr(b'\n', read) {
                Some(end) => (read.get(..end).unwrap_or_default(), end + 1, true),
                None => (read, read.len(), false),
            };
            if self.text.len() + part.len() > self.most {
                self.too_long = true;
                self.text = BytesMut::new();
            }
            if !self.too_long {
                self.text.extend_from_slice(part);
            }
            self.reader.consume(used);
            if ended && let Some(line) = self.take() {
                return Ok(Some(line));
            }
        }
    }

    fn take(&mut self) -> Option<Line> {
        let text = self.text.split().freeze();
        if std::mem::take(&mut self.too_long) {
            return Some(Line::TooLong);
        }
        (!text.trim_ascii().is_empty()).then_some(Line::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8], buffer: usize, most: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(tokio::io::BufReader::with_capacity(buffer, text), most);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.expect("a slice") {
            all.push(match line {
                Line::Text(text) => Some(text.to_vec()),
                Line::TooLong => None,
            });
        }
        all
    }

    #[tokio::test]
    async fn lines_are_whole_whatever_the_buffer() {
        for buffer in 1..12 {
            let found = lines(b"one\n\n  \r\ntwo\r\ntoo long by far\nlast", buffer, 8).await;
            let expected: Vec<Option<Vec<u8>>> =
                vec![Some(b"one".into()), Some(b"two\r".into()), None, Some(b"last".into())];
            assert_eq!(found, expected, "buffer of {buffer}");
        }
    }

    #[tokio::test]
    async fn a_long_line_costs_no_memory() {
        let text = [b"x".repeat(1 << 20), b"\n{}\n".to_vec()].concat();
        assert_eq!(lines(&text, 4096, 100).await, vec![None, Some(b"{}".to_vec())]);
    }
}
