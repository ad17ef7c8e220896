//! An incremental, bounded reader of server-sent events.

use std::time::Duration;

use bytes::Bytes;
use memchr::memchr2;

/// Longest event id that is remembered; longer ones are ignored.
const ID_BYTES: usize = 1024;
/// What a line may hold besides its data: the field's name, or an event id.
const SLACK: usize = 2 * ID_BYTES;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Its type; `message` if it names none.
    pub(super) name: String,
    /// Its data lines, joined by LF.
    pub(super) data: Bytes,
}

/// An event larger than the cap.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event larger than {0} bytes")]
pub(super) struct TooLarge(pub(super) usize);

/// Reads events out of chunks, however they are cut. Never holds more than about `cap` bytes.
#[derive(Debug)]
pub(super) struct Parser {
    cap: usize,
    line: Vec<u8>,
    /// The current line is a comment: nothing of it is kept.
    comment: bool,
    /// The line before ended with CR: a LF that follows belongs to it.
    after_cr: bool,
    /// A byte order mark may still come.
    first_line: bool,
    data: Option<Vec<u8>>,
    name: String,
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    pub(super) fn new(cap: usize) -> Parser {
        Parser {
            cap,
            line: Vec::new(),
            comment: false,
            after_cr: false,
            first_line: true,
            data: None,
            name: String::new(),
            id: None,
            last_id: None,
            retry: None,
        }
    }

    /// The id of the last event that was complete, to go on after it.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref().filter(|id| !id.is_empty())
    }

    /// How long the server wants a client to wait before it connects again.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes one chunk and appends the events that it completes.
    pub(super) fn feed(&mut self, mut chunk: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        while let Some(&first) = chunk.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                chunk = chunk.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr2(b'\r', b'\n', chunk) else {
                return self.keep(chunk);
            };
            let (line, rest) = chunk.split_at_checked(end).unwrap_or((chunk, &[]));
            self.keep(line)?;
            self.after_cr = rest.first() == Some(&b'\r');
            chunk = rest.get(1..).unwrap_or_default();
            self.end_line(events);
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        if self.line.is_empty() && part.first() == Some(&b':') {
            self.comment = true;
        }
        if self.comment {
            return Ok(());
        }
        if self.line.len() + self.data.as_ref().map_or(0, Vec::len) + part.len() > self.cap + SLACK {
            return Err(TooLarge(self.cap));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let first_line = std::mem::take(&mut self.first_line);
        if std::mem::take(&mut self.comment) {
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        let text = match line.strip_prefix(BOM) {
            Some(text) if first_line => text,
            _ => line.as_slice(),
        };
        if text.is_empty() {
            self.dispatch(events);
        } else {
            self.field(text);
        }
        line.clear();
        self.line = line;
    }

    fn field(&mut self, line: &[u8]) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (field, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            // It goes back in a header: what cannot stand there cannot be resumed from.
            b"id" if value.len() <= ID_BYTES && http::HeaderValue::from_bytes(value).is_ok() => {
                self.id = std::str::from_utf8(value).ok().map(str::to_owned);
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                self.retry = millis.map(Duration::from_millis);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        if let Some(id) = self.id.take() {
            self.last_id = Some(id);
        }
        let name = std::mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            let name = if name.is_empty() { "message".to_owned() } else { name };
            events.push(Event { name, data: Bytes::from(data) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: Bytes::copy_from_slice(data.as_bytes()) }
    }

    fn read(chunks: &[&[u8]]) -> (Parser, Vec<Event>) {
        let mut parser = Parser::new(1000);
        let mut events = Vec::new();
        for chunk in chunks {
            parser.feed(chunk, &mut events).unwrap();
        }
        (parser, events)
    }

    const STREAM: &str = "\u{FEFF}: hello\ndata: {\"a\":1}\n\nevent: other\r\ndata:one\r\ndata: two\r\ndata\r\n\r\nid: 7\rdata: é€😀\rretry: 1500\r\rid: 8\ndata:\n\n: bye\n\nid: 9\ndata: cut";

    #[test]
    fn events_come_out_the_same_wherever_the_bytes_are_cut() {
        let expected = vec![
            event("message", "{\"a\":1}"),
            event("other", "one\ntwo\n"),
            event("message", "é€😀"),
            event("message", ""),
        ];
        let bytes = STREAM.as_bytes();
        for first in 0..=bytes.len() {
            for second in [first, (first + 1).min(bytes.len()), (first + 5).min(bytes.len())] {
                let (parser, events) = read(&[&bytes[..first], &bytes[first..second], &bytes[second..]]);
                assert_eq!(events, expected, "cut at {first} and {second}");
                assert_eq!(parser.last_id(), Some("8"), "the id of an unfinished event does not count");
                assert_eq!(parser.retry(), Some(Duration::from_millis(1500)));
            }
        }
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start() {
        let (_, events) = read(&["data: a\n\n\u{FEFF}data: b\n\n".as_bytes()]);
        assert_eq!(events, [event("message", "a")]);
    }

    #[test]
    fn an_id_stays_until_it_is_replaced_and_an_empty_one_clears_it() {
        let (parser, _) = read(&[b"id: 1\ndata: a\n\ndata: b\n\n"]);
        assert_eq!(parser.last_id(), Some("1"));
        let (parser, _) = read(&[b"id: 1\ndata: a\n\nid\ndata: b\n\n"]);
        assert_eq!(parser.last_id(), None);
        let (parser, _) = read(&[b"id: 1\n\n", b"id: b\0d\n\n", b"id: ", &[b'x'; 1025], b"\n\n"]);
        assert_eq!(parser.last_id(), Some("1"));
    }

    #[test]
    fn retry_takes_only_digits() {
        let (parser, _) = read(&[b"retry: 10x\nretry: -1\nretry:\nretry: 99999999999999999999999\n\n"]);
        assert_eq!(parser.retry(), None);
    }

    #[test]
    fn a_line_without_end_and_an_event_without_end_are_refused_and_comments_cost_nothing() {
        let mut events = Vec::new();
        let mut parser = Parser::new(1000);
        let refused = (0..100).any(|_| parser.feed(&[b'x'; 100], &mut events).is_err());
        assert!(refused);
        let mut parser = Parser::new(1000);
        let refused = (0..100)
            .any(|_| parser.feed(b"data: 0123456789012345678901234567890123456789\n", &mut events).is_err());
        assert!(refused);
        let mut parser = Parser::new(1000);
        parser.feed(b":", &mut events).unwrap();
        for _ in 0..1000 {
            parser.feed(&[b'x'; 100], &mut events).unwrap();
        }
        parser.feed(b"\ndata: still here\n\n", &mut events).unwrap();
        assert_eq!(events, [event("message", "still here")]);
        assert!(parser.line.capacity() < 1000);
    }
}
