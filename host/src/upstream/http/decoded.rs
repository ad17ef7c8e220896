//! The body of an answer, as it was before it was compressed. Lockgate asks for no compression; some
//! servers, and what stands in front of them, compress all the same.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use hyper::body::{Body, Frame, Incoming};
use std::io::Write;

/// What is unfolded in one step: deflate makes at most about 1,000 bytes of one, so a step holds no more
/// than half a MiB, however the server made it. Whoever reads it bounds the whole.
const STEP: usize = 512;
/// Room for one step of plain deflate.
const ROOM: usize = 64 << 10;
/// Steps that bring nothing to read before others get their turn.
const STEPS: u32 = 64;

/// What a body is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Coding {
    Gzip,
    /// Zlib by the standard; some servers leave its header out.
    Deflate,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::upstream) enum Broken {
    #[error("{0}")]
    Connection(#[source] hyper::Error),
    #[error("its compressed body is damaged")]
    Damaged,
    #[error("its compressed body ended before it was complete")]
    Short,
}

/// A body.
pub(in crate::upstream) struct Decoded {
    inner: Incoming,
    decoder: Option<Decoder>,
    /// Came, and is not unfolded yet.
    input: Bytes,
    ended: bool,
}

enum Decoder {
    Unbegun(Coding),
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Deflate { state: Box<Decompress>, over: bool },
}

/// What the head says the body is compressed with. The error is a coding that is not known here.
pub(super) fn coding(headers: &HeaderMap) -> Result<Option<Coding>, String> {
    let mut found = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in String::from_utf8_lossy(value.as_bytes()).split(',').map(str::trim) {
            let coding = match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                _ => return Err(name.escape_debug().take(40).collect()),
            };
            if found.replace(coding).is_some() {
                return Err("more than one coding".to_owned());
            }
        }
    }
    Ok(found)
}

impl Decoded {
    pub(super) fn new(inner: Incoming, coding: Option<Coding>) -> Decoded {
        Decoded { inner, decoder: coding.map(Decoder::Unbegun), input: Bytes::new(), ended: false }
    }
}

impl Body for Decoded {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let Some(decoder) = &mut this.decoder else {
            return Pin::new(&mut this.inner).poll_frame(cx).map_err(Broken::Connection);
        };
        for _ in 0..STEPS {
            if this.ended {
                return Poll::Ready(None);
            }
            let unfolded = if this.input.is_empty() {
                match Pin::new(&mut this.inner).poll_frame(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Some(Err(Broken::Connection(error))));
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        this.input = frame.into_data().unwrap_or_default();
                        continue;
                    }
                    Poll::Ready(None) => {
                        this.ended = true;
                        decoder.finish()
                    }
                }
            } else {
                let step = this.input.len().min(STEP);
                let unfolded = decoder.step(this.input.get(..step).unwrap_or_default());
                unfolded.map(|(used, unfolded)| {
                    let _ = this.input.split_to(used.min(step));
                    unfolded
                })
            };
            match unfolded {
                Ok(unfolded) if unfolded.is_empty() => {}
                Ok(unfolded) => return Poll::Ready(Some(Ok(Frame::data(unfolded.into())))),
                Err(broken) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(broken)));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Decoder {
    /// How much of the input it took, and what came of it. Everything that can be read already is
    /// there: an event must not wait for the next one.
    fn step(&mut self, input: &[u8]) -> Result<(usize, Vec<u8>), Broken> {
        match self {
            Decoder::Unbegun(Coding::Gzip) => {
                *self = Decoder::Gzip(Box::new(MultiGzDecoder::new(Vec::new())));
                self.step(input)
            }
            Decoder::Unbegun(Coding::Deflate) => {
                // The method of zlib is 8; a first block of plain deflate that looks like it is not written.
                let zlib = input.first().is_some_and(|first| first & 0x0f == 8);
                *self = Decoder::Deflate { state: Box::new(Decompress::new(zlib)), over: false };
                self.step(input)
            }
            Decoder::Gzip(gzip) => {
                let done = gzip.write_all(input).and_then(|()| gzip.flush());
                done.map_err(|_| Broken::Damaged)?;
                Ok((input.len(), std::mem::take(gzip.get_mut())))
            }
            // What follows the end is nothing.
            Decoder::Deflate { over: true, .. } => Ok((input.len(), Vec::new())),
            Decoder::Deflate { state, over } => {
                let (mut room, before) = (Vec::with_capacity(ROOM), state.total_in());
                let status = state.decompress_vec(input, &mut room, FlushDecompress::None);
                *over = status.map_err(|_| Broken::Damaged)? == Status::StreamEnd;
                let used = usize::try_from(state.total_in() - before).unwrap_or(usize::MAX);
                if used == 0 && room.is_empty() && !*over {
                    return Err(Broken::Damaged);
                }
                Ok((used, room))
            }
        }
    }

    /// The rest, where the body was whole.
    fn finish(&mut self) -> Result<Vec<u8>, Broken> {
        match self {
            // No body at all.
            Decoder::Unbegun(_) => Ok(Vec::new()),
            Decoder::Gzip(gzip) => {
                gzip.try_finish().map_err(|_| Broken::Short)?;
                Ok(std::mem::take(gzip.get_mut()))
            }
            Decoder::Deflate { over: true, .. } => Ok(Vec::new()),
            Decoder::Deflate { state, over } => {
                // All input is taken; what is unfolded of it may not have had room.
                let mut all = Vec::new();
                while !*over {
                    let mut room = Vec::with_capacity(ROOM);
                    let status = state.decompress_vec(&[], &mut room, FlushDecompress::Finish);
                    if room.is_empty() && !matches!(status, Ok(Status::StreamEnd)) {
                        return Err(Broken::Short);
                    }
                    *over = matches!(status, Ok(Status::StreamEnd));
                    all.append(&mut room);
                }
                Ok(all)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_known_by_name() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            coding(&headers)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["identity", ""]), Ok(None));
        assert_eq!(of(&["X-GZip"]), Ok(Some(Coding::Gzip)));
        assert_eq!(of(&["identity, deflate"]), Ok(Some(Coding::Deflate)));
        assert_eq!(of(&["br"]), Err("br".to_owned()));
        assert!(of(&["gzip, gzip"]).is_err() && of(&["gzip", "deflate"]).is_err());
    }

    #[test]
    fn an_event_is_there_as_soon_as_it_was_flushed() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mut decoder = Decoder::Unbegun(Coding::Gzip);
        for event in [&b"data: one\n\n"[..], b"data: two\n\n"] {
            encoder.write_all(event).unwrap();
            encoder.flush().unwrap();
            let sent = std::mem::take(encoder.get_mut());
            assert_eq!(decoder.step(&sent).unwrap().1, event);
        }
        assert!(decoder.finish().is_err(), "it has no end");
    }
}
