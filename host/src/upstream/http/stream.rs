//! Event streams: the answer to a request, taken up again where it broke off, and the stream for
//! what belongs to no request.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::client::excerpt;
use super::decoded::Decoded;
use super::{Exchange, Failed, Inner, is};
use crate::net::cause;
use crate::upstream::backoff::jittered;
use crate::upstream::inbox::Inbox;
use crate::upstream::sse::{Event, Parser};
use crate::upstream::wire::{Head, Origin};
use crate::upstream::{Outgoing, UpstreamError};

/// How long to wait before a broken stream is taken up again, if the server does not say.
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(60);
/// Attempts to take up the answer to one request that bring nothing new.
const ATTEMPTS: u32 = 5;
/// A stream that lived this long was healthy: the next attempt is the first again.
const HEALTHY: Duration = Duration::from_secs(30);

/// Where to go on after a stream broke off.
#[derive(Default)]
struct Cursor {
    last_event: Option<String>,
    retry: Option<Duration>,
}

enum End {
    Answered,
    /// In words.
    Closed(String),
    /// The same, and not by the rules: the server, or the way to it, broke.
    Broken(String),
}

/// Reads the answer to request `id` from an event stream. Where it ends too early but named a place
/// to go on, it is taken up again from there; the request itself is never sent again.
pub(super) async fn answer(
    http: &Inner,
    id: u64,
    body: Decoded,
    head: &Head,
    inbox: &Arc<Inbox>,
    outgoing: &Arc<dyn Outgoing>,
) -> Result<(), UpstreamError> {
    let mut cursor = Cursor::default();
    let mut body = Some(body);
    let mut attempts = 0;
    let (mut why, mut broken) = (String::new(), false);
    loop {
        if let Some(body) = body.take() {
            let before = cursor.last_event.clone();
            match read(http, Origin::Call(id), body, Some(head), inbox, &mut cursor).await? {
                End::Answered => return Ok(()),
                End::Closed(how) => (why, broken) = (how, false),
                End::Broken(how) => (why, broken) = (how, true),
            }
            if cursor.last_event != before {
                attempts = 0;
            }
        }
        attempts += 1;
        let resumable = attempts <= ATTEMPTS && !http.is_modern();
        let Some(last_event) = cursor.last_event.as_deref().filter(|_| resumable) else {
            return Err(http.gone(format!("{why} before the answer"), true));
        };
        // A server that closes its stream wants to be asked again later. One whose stream broke may be dead,
        // which its address says at once.
        if !std::mem::take(&mut broken) {
            tokio::time::sleep(cursor.retry.unwrap_or(RETRY).min(MOST_RETRY) * attempts).await;
        }
        let again =
            Exchange { last_event: Some(last_event), ..Exchange::new(Method::GET, "stream", outgoing) };
        let response = match http.exchange(again).await {
            Ok(response) => response,
            Err(Failed { error: refused @ UpstreamError::Refused { .. }, .. }) => return Err(refused),
            Err(Failed { nobody_there: true, .. }) => {
                return Err(
                    http.gone(format!("{why} before the answer, and nobody listens there any more"), true)
                );
            }
            Err(Failed { error, .. }) => {
                tracing::debug!(target: "server", server = &*http.server, %error, "stream not taken up again yet");
                continue;
            }
        };
        let status = response.status();
        if status == StatusCode::OK && is(response.headers(), "text/event-stream") {
            body = Some(response.into_body());
        } else if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
            let (parts, body) = response.into_parts();
            let text = excerpt(body).await;
            if http.is_dead(status, &text) {
                // Tells everybody; of this call itself more is known: it did reach the server.
                http.refusal("stream", None, status, &parts.headers, &text);
            }
            let status = status.as_u16();
            return Err(http.gone(
                format!("{why} before the answer, and would not go on with it (HTTP {status})"),
                true,
            ));
        }
    }
}

/// Keeps the stream open for what belongs to no request, as long as the connection lives. A server
/// need not have one.
pub(super) async fn listen(http: Arc<Inner>, inbox: Arc<Inbox>) {
    let listening = async {
        let mut cursor = Cursor::default();
        let mut pace = Pace::default();
        loop {
            let began = Instant::now();
            if !listen_once(&http, &inbox, &mut cursor).await {
                return;
            }
            tokio::time::sleep(pace.pause(began.elapsed(), cursor.retry)).await;
        }
    };
    tokio::select! {
        () = listening => {}
        () = http.stop.cancelled() => {}
        () = inbox.ended.cancelled() => {}
    }
}

/// How long to wait before the stream for notifications is opened again.
struct Pace {
    wait: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { wait: RETRY }
    }
}

impl Pace {
    /// By how long it lived and not by how it ended: a server that closes it politely each time must
    /// not be asked each second for ever. `retry` is what the server wants at least.
    fn pause(&mut self, lived: Duration, retry: Option<Duration>) -> Duration {
        if lived >= HEALTHY {
            self.wait = RETRY;
        }
        let pause = jittered(self.wait).max(retry.unwrap_or_default().min(MOST_RETRY));
        self.wait = (self.wait * 2).min(MOST_RETRY);
        pause
    }
}

/// False if there is no use in trying again.
async fn listen_once(http: &Inner, inbox: &Arc<Inbox>, cursor: &mut Cursor) -> bool {
    let last_event = cursor.last_event.clone();
    let get = Exchange {
        last_event: last_event.as_deref(),
        ..Exchange::new(Method::GET, "stream", &http.outgoing)
    };
    let server = &*http.server;
    let response = match http.exchange(get).await {
        Ok(response) => response,
        Err(Failed { error: UpstreamError::Refused { .. }, .. }) => return false,
        Err(Failed { error, .. }) => {
            tracing::debug!(target: "server", server, %error, "no stream for notifications yet");
            return true;
        }
    };
    let status = response.status();
    if status == StatusCode::OK && is(response.headers(), "text/event-stream") {
        match read(http, Origin::Stream, response.into_body(), None, inbox, cursor).await {
            Ok(End::Answered) => {}
            Ok(End::Closed(how) | End::Broken(how)) => {
                tracing::debug!(target: "server", server, how, "the stream for notifications ended")
            }
            Err(error) => {
                tracing::warn!(target: "server", server, %error, "the stream for notifications was cut")
            }
        }
        return true;
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return true;
    }
    tracing::debug!(target: "server", server, status = status.as_u16(), "offers no stream for notifications");
    false
}

/// Reads one stream to its end, or to the answer.
async fn read(
    http: &Inner,
    origin: Origin,
    mut body: Decoded,
    head: Option<&Head>,
    inbox: &Arc<Inbox>,
    cursor: &mut Cursor,
) -> Result<End, UpstreamError> {
    let mut parser = Parser::new(http.limits.bytes);
    let mut events = Vec::new();
    loop {
        let data = match body.frame().await {
            None => return Ok(End::Closed("closed the stream".to_owned())),
            Some(Err(error)) => return Ok(End::Broken(format!("broke the stream ({})", cause(&error)))),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        let fed = parser.feed(&data, &mut events);
        if let Some(id) = parser.last_id().filter(|id| cursor.last_event.as_deref() != Some(*id)) {
            cursor.last_event = Some(id.to_owned());
        }
        cursor.retry = parser.retry().or(cursor.retry);
        for event in events.drain(..) {
            if take(http, origin, event, head, inbox) {
                tokio::spawn(finish(body));
                return Ok(End::Answered);
            }
        }
        fed.map_err(|_| http.too_long())?;
    }
}

/// True if this was the answer.
fn take(http: &Inner, origin: Origin, event: Event, head: Option<&Head>, inbox: &Arc<Inbox>) -> bool {
    // Empty ones only name a place to go on from.
    if event.name != "message" || event.data.is_empty() {
        return false;
    }
    inbox.text(origin, event.data, &http.limits, head)
}

/// Reads what little follows an answer, so that the connection can serve the next request.
pub(super) async fn finish(mut body: Decoded) {
    const LITTLE: usize = 16 << 10;
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, bytes::Bytes::len);
            if read > LITTLE {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_is_closed_at_once_is_opened_at_most_twenty_times_in_ten_minutes() {
        for retry in [None, Some(Duration::ZERO), Some(Duration::from_millis(10))] {
            let (mut pace, mut clock, mut opened) = (Pace::default(), Duration::ZERO, 0);
            while clock < Duration::from_secs(600) {
                opened += 1;
                clock += pace.pause(Duration::from_millis(1), retry);
            }
            assert!(opened <= 20, "{opened} times");
        }
    }

    #[test]
    fn a_stream_that_lived_is_opened_again_soon_and_a_server_may_ask_for_more_time() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.pause(Duration::ZERO, None);
        }
        assert!(pace.pause(HEALTHY, None) <= RETRY * 2);
        assert_eq!(
            Pace::default().pause(Duration::ZERO, Some(Duration::from_secs(7))),
            Duration::from_secs(7)
        );
        assert_eq!(Pace::default().pause(Duration::ZERO, Some(Duration::MAX)), MOST_RETRY);
    }
}
