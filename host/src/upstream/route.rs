//! Which transports a server may be reached over, in which order, and which of them worked the last time.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::UpstreamError;
use super::wire::lock;
use crate::config::{Server, Transport};

/// A transport as such, whatever the configuration says about when to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// A child process.
    Stdio,
    /// Streamable HTTP (2025-03-26 and later).
    Http,
    /// HTTP+SSE (2024-11-05).
    HttpSse,
    /// A WebSocket.
    WebSocket,
}

impl Over {
    /// In words for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Over::Stdio => "stdio",
            Over::Http => "Streamable HTTP",
            Over::HttpSse => "HTTP+SSE",
            Over::WebSocket => "WebSocket",
        }
    }

    /// Whether one pipe carries everything, so that an answer is known by its id only.
    pub(super) fn is_pipe(self) -> bool {
        matches!(self, Over::Stdio | Over::WebSocket)
    }

    /// Whether an end like this says that another transport is spoken there. Credentials that are
    /// missing, and a server that is down, are no evidence of it (2025-03-26, transports: backwards
    /// compatibility).
    fn is_elsewhere(self, error: &UpstreamError) -> bool {
        match error {
            UpstreamError::NotServed { status, .. } => match self {
                Over::Http => matches!(status, 400 | 404 | 405),
                Over::HttpSse => true,
                Over::Stdio | Over::WebSocket => false,
            },
            _ => false,
        }
    }
}

/// The way to one server.
pub(super) struct Route {
    order: &'static [Over],
    /// What worked, until this is believed no more: a server that was upgraded may still answer over
    /// the old transport, so the verdict must end.
    found: Mutex<Option<(Over, Instant)>>,
    lifetime: Duration,
}

impl Route {
    pub(super) fn new(server: &Server, lifetime: Duration) -> Route {
        let url = server.url.as_deref().unwrap_or_default();
        let socket = url.split_once(':').is_some_and(|(scheme, _)| {
            scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("wss")
        });
        let order: &[Over] = match server.transport {
            _ if server.command.is_some() => &[Over::Stdio],
            _ if socket => &[Over::WebSocket],
            Transport::Auto | Transport::HttpFirst => &[Over::Http, Over::HttpSse],
            Transport::SseFirst => &[Over::HttpSse, Over::Http],
            Transport::HttpOnly => &[Over::Http],
            Transport::SseOnly => &[Over::HttpSse],
            Transport::Stdio => &[Over::Stdio],
            Transport::Websocket => &[Over::WebSocket],
        };
        Route { order, found: Mutex::new(None), lifetime }
    }

    /// The transports to try for one connection: the one that worked first. HTTP+SSE was gone from the
    /// protocol before the modern era came, so nobody speaks that over it.
    pub(super) fn attempts(&self, modern: bool, now: Instant) -> Attempts<'_> {
        let mut left: VecDeque<Over> = self.order.iter().copied().collect();
        let found = lock(&self.found).filter(|(_, until)| now < *until);
        if let Some((over, _)) = found {
            left.retain(|one| *one != over);
            left.push_front(over);
        }
        left.retain(|over| !(modern && *over == Over::HttpSse));
        Attempts { route: self, left, failures: Vec::new() }
    }

    fn forget(&self, over: Over) {
        let mut found = lock(&self.found);
        if found.is_some_and(|(known, _)| known == over) {
            *found = None;
        }
    }
}

/// The attempts to open one connection.
pub(super) struct Attempts<'a> {
    route: &'a Route,
    left: VecDeque<Over>,
    failures: Vec<(Over, UpstreamError)>,
}

impl Attempts<'_> {
    /// What to try next; none if nothing is left.
    pub(super) fn next(&mut self) -> Option<Over> {
        self.left.pop_front()
    }

    /// This one worked.
    pub(super) fn worked(self, over: Over, now: Instant) {
        // With nothing to choose from there is nothing to remember.
        if self.route.order.len() > 1 {
            let until = now + self.route.lifetime;
            *lock(&self.route.found) = Some((over, until));
        }
    }

    /// This one did not. The error ends the attempts: there is no use in another, or none is left. It
    /// says everything that was tried.
    pub(super) fn failed(&mut self, over: Over, error: UpstreamError) -> Result<(), UpstreamError> {
        let elsewhere = over.is_elsewhere(&error);
        if elsewhere {
            self.route.forget(over);
        }
        self.failures.push((over, error));
        if elsewhere && !self.left.is_empty() { Ok(()) } else { Err(self.all()) }
    }

    fn all(&mut self) -> UpstreamError {
        let mut failures = std::mem::take(&mut self.failures);
        let Some((last, error)) = failures.pop() else { return UpstreamError::Cancelled };
        let mut tried: Vec<String> = failures.iter().map(|(over, error)| told(*over, error)).collect();
        if tried.is_empty() {
            return error;
        }
        tried.push(told(last, &error));
        let reason = tried.join("; ");
        match error {
            UpstreamError::NotServed { server, status, .. } => {
                UpstreamError::NotServed { server, status, reason }
            }
            UpstreamError::Unreachable { server, .. } => UpstreamError::Unreachable { server, reason },
            error => error,
        }
    }
}

fn told(over: Over, error: &UpstreamError) -> String {
    let name = over.name();
    match error {
        UpstreamError::NotServed { reason, .. } | UpstreamError::Unreachable { reason, .. } => {
            format!("tried {name}: {reason}")
        }
        error => format!("tried {name}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(transport: Transport) -> Route {
        let server = Server { url: Some("https://a.example/mcp".to_owned()), transport, ..Server::default() };
        Route::new(&server, Duration::from_secs(100))
    }

    fn all(mut attempts: Attempts<'_>) -> Vec<Over> {
        std::iter::from_fn(|| attempts.next()).collect()
    }

    fn not_served(status: u16) -> UpstreamError {
        UpstreamError::NotServed { server: "s".into(), status, reason: format!("HTTP {status}") }
    }

    fn unreachable() -> UpstreamError {
        UpstreamError::Unreachable { server: "s".into(), reason: "HTTP 401".to_owned() }
    }

    #[test]
    fn row_b5_a_strategy_is_an_order_of_transports() {
        use Over::{Http, HttpSse, Stdio, WebSocket};
        let now = Instant::now();
        for (transport, order) in [
            (Transport::Auto, &[Http, HttpSse][..]),
            (Transport::HttpFirst, &[Http, HttpSse]),
            (Transport::SseFirst, &[HttpSse, Http]),
            (Transport::HttpOnly, &[Http]),
            (Transport::SseOnly, &[HttpSse]),
        ] {
            assert_eq!(all(route(transport).attempts(false, now)), order, "{transport:?}");
            let modern: Vec<Over> = order.iter().copied().filter(|over| *over == Http).collect();
            assert_eq!(all(route(transport).attempts(true, now)), modern, "{transport:?}");
        }
        for (server, order) in [
            (Server { url: Some("WSS://a.example/".to_owned()), ..Server::default() }, WebSocket),
            (Server { command: Some("x".to_owned()), ..Server::default() }, Stdio),
        ] {
            let route = Route::new(&server, Duration::from_secs(1));
            assert_eq!(all(route.attempts(true, now)), [order]);
        }
    }

    #[test]
    fn row_b5_what_worked_comes_first_until_it_is_wrong_or_old() {
        use Over::{Http, HttpSse};
        let route = route(Transport::Auto);
        let now = Instant::now();
        let mut attempts = route.attempts(false, now);
        assert_eq!(attempts.next(), Some(Http));
        assert!(attempts.failed(Http, not_served(404)).is_ok());
        assert_eq!(attempts.next(), Some(HttpSse));
        attempts.worked(HttpSse, now);
        assert_eq!(all(route.attempts(false, now + Duration::from_secs(99))), [HttpSse, Http]);
        assert_eq!(all(route.attempts(false, now + Duration::from_secs(100))), [Http, HttpSse], "it is old");
        let mut attempts = route.attempts(false, now);
        assert_eq!(attempts.next(), Some(HttpSse));
        let error = attempts.failed(HttpSse, unreachable()).unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable { .. }), "no evidence of anything");
        assert_eq!(all(route.attempts(false, now)), [HttpSse, Http], "nor a reason to forget");
        let mut attempts = route.attempts(false, now);
        assert_eq!(attempts.next(), Some(HttpSse));
        assert!(attempts.failed(HttpSse, not_served(405)).is_ok());
        assert_eq!(all(route.attempts(false, now)), [Http, HttpSse], "it was wrong");
        assert_eq!(attempts.next(), Some(Http));
        let error = attempts.failed(Http, not_served(404)).unwrap_err().to_string();
        assert!(error.contains("tried HTTP+SSE: HTTP 405; tried Streamable HTTP: HTTP 404"), "{error}");
    }

    #[test]
    fn row_b5_only_400_404_and_405_send_to_the_older_transport() {
        for status in [200, 202, 301, 406, 409, 410, 415, 418] {
            let route = route(Transport::Auto);
            let mut attempts = route.attempts(false, Instant::now());
            let over = attempts.next().unwrap();
            assert!(attempts.failed(over, not_served(status)).is_err(), "{status}");
        }
    }
}
