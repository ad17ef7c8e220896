//! Reading a request body within bounds: of one message, of all messages together, and of time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::in_flight::Share;
use crate::config::Limits;

/// Slowest body that is waited for, after the time that a head may take: a 4 MiB message on a bad
/// mobile connection still passes, one byte a second does not.
const BYTES_PER_SECOND: u64 = 8 << 10;

/// Most of an unwanted body that is taken in: several times the largest message that any client means
/// to send.
const LINGERING_BYTES: usize = 64 << 20;

/// Why a body was not read, and what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// 413.
    #[error("the message is larger than `limits.client_message_bytes`")]
    TooLarge,
    /// 408.
    #[error("the body came too slowly")]
    TooSlow,
    /// 503.
    #[error("too much in flight: `{0}` is reached; try again later")]
    Shed(&'static str),
    /// 400. The connection broke, or its framing.
    #[error("the body broke off")]
    Broken,
}

/// Reads a body. The share must live as long as the message.
pub async fn read(body: &mut Incoming, mut share: Share, limits: &Limits) -> Result<(Bytes, Share), Unread> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits.client_message_bytes {
        return Err(Unread::TooLarge);
    }
    let begun = Instant::now();
    let grace = Duration::from_secs(limits.header_seconds);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let read = (first.len() + all.len()) as u64;
        let deadline = begun + grace + Duration::from_secs(read / BYTES_PER_SECOND);
        let frame = tokio::time::timeout_at(deadline, body.frame()).await.map_err(|_| Unread::TooSlow)?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if first.len() + all.len() + data.len() > limits.client_message_bytes {
            return Err(Unread::TooLarge);
        }
        share.grow(data.len(), limits).map_err(Unread::Shed)?;
        // Most messages arrive in one piece: those are not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            // Grows with what came, not with what was announced: an announcement costs its sender nothing.
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, share))
}

/// Takes in what is left of a body that nobody wants, and forgets it. Many clients look for an answer only
/// after they have sent all of their request; if the connection were closed before, the refusal
/// would be lost with it. Bounded like a body that is wanted, in time, and in bytes by
/// [`LINGERING_BYTES`]; who sends on after that loses the answer.
pub async fn linger(mut body: Incoming, limits: &Limits) {
    let reading = async {
        let mut left = LINGERING_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // A client that is slower than this is gone, or means harm.
    let _ = tokio::time::timeout(Duration::from_secs(limits.header_seconds), reading).await;
}
