//! WebSockets that Lockgate opens to endpoints which are the clients on them. One task per endpoint
//! keeps its connection: what one endpoint does or fails to do concerns no other.

mod waits;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conversation::{Conversation, Place, Speaker};
use super::endpoint::Endpoint;
use super::pipe::{Drain, Pipe, WhenFull};
use crate::config::DialOut;
use crate::filter::Principal;
use crate::net::{Connector, connector, websocket};
use waits::Waits;

/// Connects to every endpoint of `dial_out` and serves it, until `shutdown`; then calls in flight
/// get `limits.drain_seconds`.
pub async fn serve(endpoint: Arc<dyn Endpoint>, shutdown: CancellationToken) {
    let config = endpoint.config();
    if config.dial_out.is_empty() {
        return;
    }
    let connect = Duration::from_secs(config.limits.connect_seconds);
    let connector = match connector(connect) {
        Ok(connector) => connector,
        Err(error) => {
            tracing::error!(%error, "no endpoint is dialled: TLS cannot be set up");
            return;
        }
    };
    let lines = TaskTracker::new();
    for entry in &config.dial_out {
        let Some(server) = entry.place(&config) else { continue };
        match Line::new(endpoint.clone(), entry, server, connector.clone()) {
            Ok(line) => drop(lines.spawn(line.keep(shutdown.clone()))),
            Err(reason) => tracing::error!(endpoint = entry.name, "is not dialled: {reason}"),
        }
    }
    lines.close();
    lines.wait().await;
}

/// One endpoint, and how it is reached.
struct Line {
    endpoint: Arc<dyn Endpoint>,
    name: String,
    /// What is served there.
    server: Arc<str>,
    uri: Uri,
    headers: HeaderMap,
    speaker: Speaker,
    connector: Connector,
    options: websocket::Options,
    waits: Waits,
}

impl Line {
    /// The error says what of the configuration cannot be used.
    fn new(
        endpoint: Arc<dyn Endpoint>,
        entry: &DialOut,
        server: String,
        connector: Connector,
    ) -> Result<Line, String> {
        let uri: Uri = entry.url.parse().map_err(|_| "its `url` cannot be used".to_owned())?;
        websocket::check(&uri).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &entry.headers {
            let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            let (header, mut value) = pair.ok_or_else(|| format!("its header `{name}` cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let principal = entry.principal.as_ref().map(|principal| {
            Arc::new(Principal {
                id: principal.id.clone(),
                issuer: "dial_out".to_owned(),
                claims: serde_json::Value::Object(principal.claims.clone()).to_string().into(),
                expires_at: None,
            })
        });
        let limits = endpoint.config().limits;
        let options = websocket::Options {
            connect: Duration::from_secs(limits.connect_seconds),
            message_bytes: limits.client_message_bytes,
            ping: entry.keepalive.interval.0,
            patience: entry.keepalive.interval.0 + entry.keepalive.timeout.0,
            protocol: None,
        };
        Ok(Line {
            endpoint,
            name: entry.name.clone(),
            server: server.into(),
            uri,
            headers,
            speaker: Speaker { principal, headers: Arc::default() },
            connector,
            options,
            waits: Waits::new(&entry.reconnect),
        })
    }

    /// Connects, serves, and connects again, until `shutdown`. Changes are said once each: an
    /// endpoint that is down for a day is no news after the first time.
    async fn keep(mut self, shutdown: CancellationToken) {
        let mut down = false;
        loop {
            let connecting =
                websocket::connect(&self.uri, &self.headers, self.connector.clone(), self.options);
            let connected = tokio::select! {
                connected = connecting => connected,
                () = shutdown.cancelled() => return,
            };
            let why = match connected {
                Ok((sender, receiver)) => {
                    tracing::info!(endpoint = self.name, server = &*self.server, "connected");
                    down = false;
                    let begun = Instant::now();
                    let why = self.converse(sender, receiver, &shutdown).await;
                    if shutdown.is_cancelled() {
                        tracing::info!(endpoint = self.name, "disconnected: Lockgate ends");
                        return;
                    }
                    self.waits.lived(begun.elapsed());
                    why
                }
                Err(why) => why,
            };
            let Some(wait) = self.waits.next() else {
                tracing::warn!(endpoint = self.name, "disconnected: it {why}; `reconnect` is not enabled");
                return;
            };
            if down {
                tracing::debug!(endpoint = self.name, ?wait, "still disconnected: it {why}");
            } else {
                tracing::warn!(
                    endpoint = self.name,
                    "disconnected: it {why}; trying again, at growing intervals"
                );
                down = true;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Serves the endpoint on one connection, to its end.
    async fn converse(
        &self,
        sender: websocket::Sender,
        mut receiver: websocket::Receiver,
        shutdown: &CancellationToken,
    ) -> websocket::Error {
        let limits = self.endpoint.config().limits;
        let (pipe, drain) = Pipe::new(limits.stream_buffer_bytes, WhenFull::Cut(CancellationToken::new()));
        let mut writing = tokio::spawn(write(sender, drain));
        let place = Place {
            endpoint: self.endpoint.clone(),
            server: self.server.clone(),
            transport: "websocket",
            address: None,
        };
        let mut conversation = Conversation::new(place, pipe.clone());
        let reading = async {
            loop {
                match receiver.next().await {
                    Ok(text) => conversation.take(text, &self.speaker).await,
                    Err(why) => return why,
                }
            }
        };
        let why = tokio::select! {
            why = reading => Some(why),
            () = pipe.broken().cancelled() => None,
            () = shutdown.cancelled() => None,
        };
        let drains = why.is_none() && shutdown.is_cancelled();
        let grace = if drains { Duration::from_secs(limits.drain_seconds) } else { Duration::ZERO };
        conversation.end(grace).await;
        let written = if drains || pipe.broken().is_cancelled() {
            // It has bounds of its own: a message that is not taken, a goodbye that is not heard.
            (&mut writing).await.ok().flatten()
        } else {
            writing.abort();
            None
        };
        why.or(written).unwrap_or_else(|| websocket::Error::Broken("it reads too slowly".to_owned()))
    }
}

/// Sends what is queued, and pings between, until the pipe is closed or the connection breaks. The
/// error is why.
async fn write(mut sender: websocket::Sender, mut drain: Drain) -> Option<websocket::Error> {
    loop {
        let queued = tokio::select! {
            queued = drain.next() => queued,
            error = sender.keep_alive() => return Some(error),
        };
        let Some(queued) = queued else {
            sender.close("Lockgate ends").await;
            return None;
        };
        // Its room is held until it is sent.
        let frame: Bytes = queued.frame.clone();
        if let Err(error) = sender.send(frame).await {
            return Some(error);
        }
    }
}
