//! A server over a WebSocket: one JSON-RPC message per text frame, otherwise like a pipe. No revision of
//! the protocol has this transport; the convention is that of the official TypeScript SDK 1.x.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Uri};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::put_all;
use super::inbox::Inbox;
use super::wire::{Departure, Origin, Parcel, Wire};
use super::{ExchangeDraft, Outgoing, UpstreamError, address};
use crate::config::Server;
use crate::jsonrpc::{Limits, Message};
use crate::net::Connector;
use crate::net::websocket::{self, Error, Options, Receiver, Sender};

/// Messages that wait for the server to take them; the rest waits in its calls, which have deadlines.
const QUEUE: usize = 64;
/// Longest wait for the server to take a notification or an answer.
const QUEUE_TIME: Duration = Duration::from_secs(10);
/// What the server is told when Lockgate lets go of it.
const GOODBYE: &str = "the session is over";

/// The way to one server.
pub(super) struct WebSocket {
    server: Arc<str>,
    queue: mpsc::Sender<Outbound>,
    stop: CancellationToken,
}

struct Outbound {
    message: Message,
    departure: Option<Arc<Departure>>,
}

/// A connection, before anybody reads what comes over it.
pub(super) struct Connected {
    pub(super) wire: Arc<WebSocket>,
    sender: Sender,
    receiver: Receiver,
    outbound: mpsc::Receiver<Outbound>,
    limits: Limits,
}

/// Connects. The handshake is the one HTTP exchange that there is, so it is the one that `outgoing`
/// filters see. It ends with `stop`, which [`Wire::close`] cancels, too.
pub(super) async fn connect(
    server: &Arc<str>,
    config: &Server,
    connector: Connector,
    (limits, options): (Limits, Options),
    outgoing: &Arc<dyn Outgoing>,
    stop: CancellationToken,
) -> Result<Connected, UpstreamError> {
    let unusable = |reason| UpstreamError::Unreachable { server: Arc::clone(server), reason };
    let (uri, shown) =
        address::parse(config.url.as_deref().unwrap_or_default(), &["ws", "wss"]).map_err(unusable)?;
    let mut headers = address::headers(&config.headers).map_err(unusable)?;
    let set = filtered(server, &uri, outgoing).await?;
    put_all(&mut headers, set);
    let (sender, receiver) = websocket::connect(&uri, &headers, connector, options)
        .await
        .map_err(|error| unusable(refusal(&shown, &error, config.in_flags)))?;
    let (queue, outbound) = mpsc::channel(QUEUE);
    let wire = Arc::new(WebSocket { server: Arc::clone(server), queue, stop });
    Ok(Connected { wire, sender, receiver, outbound, limits })
}

async fn filtered(
    server: &Arc<str>,
    uri: &Uri,
    outgoing: &Arc<dyn Outgoing>,
) -> Result<HeaderMap, UpstreamError> {
    let url: Arc<str> = uri.to_string().into();
    let draft = ExchangeDraft { purpose: "stream", method: "GET", url, message: None };
    let set = outgoing.exchange(draft).await;
    set.map_err(|rejection| UpstreamError::Refused { server: Arc::clone(server), rejection })
}

/// What the end of the attempt is called, with what to do where that is known.
fn refusal(shown: &str, error: &Error, in_flags: bool) -> String {
    match error {
        Error::Refused { status: 401, .. } => format!(
            "{shown} {error}: it wants credentials, or others; {}",
            super::http::credentials(in_flags)
        ),
        Error::Refused { status: 404 | 405 | 426 | 200..=299, .. } => {
            format!("{shown} {error}: no MCP server with a WebSocket is there; check the path")
        }
        _ => format!("{shown} {error}"),
    }
}

impl Connected {
    /// From now on what the server says goes to `inbox`, which fails when the connection ends.
    pub(super) fn attach(self, inbox: &Arc<Inbox>, tracker: &TaskTracker) {
        let Connected { wire, mut sender, mut receiver, outbound, limits } = self;
        let (stop, inbox) = (wire.stop.clone(), Arc::clone(inbox));
        tracker.spawn(async move {
            let end = tokio::select! {
                error = write(&mut sender, outbound) => Some(error),
                error = read(&inbox, &mut receiver, limits) => Some(error),
                () = stop.cancelled() => None,
                () = inbox.ended.cancelled() => None,
            };
            match end {
                Some(error) => inbox.fail(&error.to_string()),
                None => inbox.fail("was disconnected by Lockgate"),
            }
            stop.cancel();
            sender.close(GOODBYE).await;
        });
    }
}

impl Wire for WebSocket {
    fn request<'a>(
        &'a self,
        parcel: Parcel,
        _inbox: &'a Arc<Inbox>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>> {
        let outbound = Outbound { message: parcel.message, departure: Some(parcel.departure) };
        Box::pin(async move {
            if self.queue.send(outbound).await.is_err() {
                // The inbox has said how it ended, to everybody under way.
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn send<'a>(
        &'a self,
        message: Message,
        _purpose: &'static str,
        _outgoing: Arc<dyn Outgoing>,
    ) -> BoxFuture<'a, Result<(), UpstreamError>> {
        let outbound = Outbound { message, departure: None };
        Box::pin(async move {
            match self.queue.send_timeout(outbound, QUEUE_TIME).await {
                Ok(()) => Ok(()),
                Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(UpstreamError::Busy {
                    server: Arc::clone(&self.server),
                    limit: "limits.queue_per_server",
                }),
                Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(UpstreamError::Gone {
                    server: Arc::clone(&self.server),
                    reason: "closed the connection".to_owned(),
                    may_have_run: false,
                }),
            }
        })
    }

    fn established(&self, _head: Option<&HeaderMap>, _protocol_version: &str) {}

    fn listen(&self, _inbox: &Arc<Inbox>) {}

    fn close(&self) {
        self.stop.cancel();
    }
}

/// Sends what is queued, and pings in between, until the connection ends.
async fn write(sender: &mut Sender, mut outbound: mpsc::Receiver<Outbound>) -> Error {
    loop {
        let next = tokio::select! {
            next = outbound.recv() => next,
            error = sender.keep_alive() => return error,
        };
        // The wire is held by the connection's user: when it is gone, `stop` ends this.
        let Some(Outbound { message, departure }) = next else { return sender.keep_alive().await };
        if departure.is_some_and(|departure| !departure.leave()) {
            continue;
        }
        if let Err(error) = sender.send(message.frame()).await {
            return error;
        }
    }
}

/// Reads until the connection ends.
async fn read(inbox: &Arc<Inbox>, receiver: &mut Receiver, limits: Limits) -> Error {
    loop {
        match receiver.next().await {
            Ok(text) => inbox.text(Origin::Pipe, text, &limits, None),
            Err(error) => return error,
        };
    }
}
