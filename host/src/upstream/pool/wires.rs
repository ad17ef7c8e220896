//! Opening a transport for one attempt: a child, an HTTP address, a stream or a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Attempt;
use crate::config::Proxy;
use crate::net;
use crate::upstream::command::Command;
use crate::upstream::http::{self, Http, HttpSse};
use crate::upstream::inbox::{Inbox, Patience};
use crate::upstream::route::Over;
use crate::upstream::wire::{Wire, lock};
use crate::upstream::{Owner, UpstreamError, stdio, websocket};

impl Attempt {
    /// Opens the transport, and gives what comes over it to an inbox.
    pub(super) async fn wire(&self, over: Over) -> Result<(Arc<dyn Wire>, Arc<Inbox>), UpstreamError> {
        let Attempt { pool, upstream, key: (server, owner, _), outgoing, hub, stop, .. } = self;
        let limits = &pool.config.limits;
        let stop = stop.child_token();
        let patience = match owner {
            // The bridge ends the questions itself; what is left here is a net below it.
            Owner::Bridged { .. } => Patience {
                time: Duration::from_secs(limits.parked_seconds + limits.call_max_seconds),
                open: Patience::OPEN + limits.parked_calls as usize,
            },
            _ => Patience { time: Duration::from_secs(limits.call_seconds), open: Patience::OPEN },
        };
        let owner = match (owner, over) {
            // There a question comes on the exchange of the call that it belongs to, and calls share one.
            (Owner::Bridged { name, .. }, Over::Http) => Owner::Bridged { name: name.clone(), alone: false },
            _ => owner.clone(),
        };
        let inbox = |wire: Arc<dyn Wire>| {
            let (server, owner) = (Arc::clone(server), owner.clone());
            Inbox::new(server, owner, Arc::clone(hub), wire, Arc::clone(outgoing), patience)
        };
        let unusable = |reason| UpstreamError::Unreachable { server: Arc::clone(server), reason };
        let parts = |client, stop| http::Parts {
            server,
            config: &upstream.config,
            client,
            limits: pool.limits,
            outgoing,
            stop,
            tracker: &pool.tracker,
        };
        Ok(match over {
            Over::Stdio => {
                let started = self.start_child(stop).await?;
                let wire = Arc::clone(&started.wire);
                let inbox = inbox(Arc::clone(&wire) as Arc<dyn Wire>);
                started.attach(&inbox, &pool.tracker);
                (wire, inbox)
            }
            Over::Http => {
                let (_, client) = pool.network(upstream.config.proxy).map_err(unusable)?;
                let http = Arc::new(Http::new(parts(client, stop))?);
                let inbox = inbox(Arc::clone(&http) as Arc<dyn Wire>);
                http.attach(&inbox);
                (http, inbox)
            }
            Over::HttpSse => {
                let (_, client) = pool.network(upstream.config.proxy).map_err(unusable)?;
                let patience = Duration::from_secs(limits.probe_seconds);
                let streaming = HttpSse::open(parts(client, stop), patience).await?;
                let wire = Arc::clone(&streaming.wire);
                let inbox = inbox(Arc::clone(&wire) as Arc<dyn Wire>);
                streaming.attach(&inbox, &pool.tracker);
                (wire, inbox)
            }
            Over::WebSocket => {
                let (connector, _) = pool.network(Proxy::None).map_err(unusable)?;
                let options = net::websocket::Options {
                    connect: Duration::from_secs(limits.connect_seconds),
                    message_bytes: pool.limits.bytes,
                    ping: Duration::from_secs(limits.ping_seconds),
                    patience: Duration::from_secs(limits.ping_seconds * 2),
                    protocol: Some("mcp"),
                };
                let bounds = (pool.limits, options);
                let connected =
                    websocket::connect(server, &upstream.config, connector, bounds, outgoing, stop).await?;
                let wire = Arc::clone(&connected.wire);
                let inbox = inbox(Arc::clone(&wire) as Arc<dyn Wire>);
                connected.attach(&inbox, &pool.tracker);
                (wire, inbox)
            }
        })
    }

    async fn start_child(&self, stop: CancellationToken) -> Result<stdio::Started, UpstreamError> {
        let Attempt { pool, upstream, key: (server, ..), .. } = self;
        let busy = |limit| UpstreamError::Busy { server: Arc::clone(server), limit };
        let place = pool.places.take(server, &self.requester).await.map_err(busy)?;
        let command = Command::resolve(&upstream.config, |key| std::env::var_os(key));
        let command =
            command.map_err(|reason| UpstreamError::NotStarted { server: Arc::clone(server), reason })?;
        let number = place.number();
        *lock(&self.place) = Some(number);
        // Whatever ends it: it is on its way out from then on.
        let (places, over) = (Arc::clone(&pool.places), stop.clone());
        pool.tracker.spawn(async move {
            over.cancelled().await;
            places.leaving(number);
        });
        stdio::start(server, command, pool.limits, (stop, pool.hurry.clone()), &pool.tracker, place).await
    }
}
