//! Any bytes of an event stream, cut anywhere: the incremental reader finds what a plain reading of the whole
//! stream by the rules of the HTML standard (server-sent events, "interpreting an event stream") finds.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;

#[path = "../../src/upstream/sse.rs"]
#[allow(dead_code, reason = "a part of the module is under test here")]
mod sse;

/// Longer than any input that the fuzzer makes, so that what is too large is told from what is not below.
const ROOM: usize = 1 << 20;
/// Small enough to be exceeded.
const TIGHT: usize = 64;

fuzz_target!(|data: &[u8]| {
    // The first byte says where the stream is cut.
    let Some((&cut, stream)) = data.split_first() else { return };
    let (expected, last_id, retry) = plain(stream);

    let mut parser = sse::Parser::new(ROOM);
    let mut events = Vec::new();
    for chunk in stream.chunks(usize::from(cut).max(1)) {
        parser.feed(chunk, &mut events).expect("there is room");
    }
    let events: Vec<(String, Vec<u8>)> =
        events.into_iter().map(|event| (event.name, event.data.to_vec())).collect();
    assert_eq!(events, expected);
    assert_eq!(parser.last_id(), last_id.as_deref().filter(|id| !id.is_empty()));
    assert_eq!(parser.retry(), retry);

    // With little room: the same events up to where it ends, and none that is much larger than allowed.
    let mut parser = sse::Parser::new(TIGHT);
    let mut events = Vec::new();
    for chunk in stream.chunks(usize::from(cut).max(1)) {
        if parser.feed(chunk, &mut events).is_err() {
            break;
        }
    }
    for (event, (name, data)) in events.iter().zip(&expected) {
        assert_eq!((&event.name, &event.data[..]), (name, &data[..]));
        assert!(event.data.len() <= TIGHT + 4096, "{} bytes", event.data.len());
    }
});

/// Events, the last event id and the reconnection time of a whole stream.
fn plain(stream: &[u8]) -> (Vec<(String, Vec<u8>)>, Option<String>, Option<Duration>) {
    let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let (mut events, mut last_id, mut retry) = (Vec::new(), None, None);
    let (mut name, mut data, mut id) = (String::new(), None::<Vec<u8>>, None);
    for line in lines(stream) {
        if line.is_empty() {
            last_id = id.take().or(last_id);
            let name = std::mem::take(&mut name);
            if let Some(data) = data.take() {
                events.push((if name.is_empty() { "message".to_owned() } else { name }, data));
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            Some(0) => continue,
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (line, &[][..]),
        };
        match field {
            b"event" => name = String::from_utf8_lossy(value).into_owned(),
            b"data" => match &mut data {
                Some(data) => data.extend([b"\n", value].concat()),
                None => data = Some(value.to_vec()),
            },
            // Lockgate's own rule: an id that cannot be sent back in a header is not taken.
            b"id" if value.len() <= 1024 && http::HeaderValue::from_bytes(value).is_ok() => {
                id = std::str::from_utf8(value).ok().map(str::to_owned);
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                retry = std::str::from_utf8(value).unwrap().parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
    }
    (events, last_id, retry)
}

/// Lines that end with CR LF, LF or CR; what follows the last end is no line.
fn lines(stream: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut from, mut at) = (Vec::new(), 0, 0);
    while at < stream.len() {
        let ends = match (stream[at], stream.get(at + 1)) {
            (b'\r', Some(b'\n')) => 2,
            (b'\r' | b'\n', _) => 1,
            _ => 0,
        };
        if ends > 0 {
            lines.push(&stream[from..at]);
            from = at + ends;
        }
        at += ends.max(1);
    }
    lines
}
