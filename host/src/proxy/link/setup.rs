//! What a client set up on its link: subscriptions and a log level. They are kept beside those of
//! others on the same connection, and said again on a connection that replaces one that died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Link, SUBSCRIPTIONS, lock};
use crate::jsonrpc::Message;
use crate::upstream::{Lease, Outgoing, Owner, UpstreamCall, is_urgent_enough};

impl Link {
    /// Notes the URI of a subscription about to be made; none if it is no such request, or noted
    /// already.
    pub(in crate::proxy) fn subscribe(&self, method: &str, request: &Message) -> Option<String> {
        let uri = (method == "resources/subscribe").then(|| request.param_text("uri"))??.into_owned();
        let mut subscriptions = lock(&self.subscriptions);
        (subscriptions.len() < SUBSCRIPTIONS && subscriptions.insert(uri.clone())).then_some(uri)
    }

    /// Forgets a subscription.
    pub(in crate::proxy) fn unsubscribe(&self, uri: &str) {
        lock(&self.subscriptions).remove(uri);
    }

    /// Whether several clients may use the connection at once.
    pub(super) fn has_company(&self) -> bool {
        !matches!(self.owner, Owner::Session(_)) && !self.is_modern()
    }

    /// Whether this unsubscribes from what others on the connection still want: then the server is not
    /// told, and the client has what it asked for.
    pub(in crate::proxy) fn keeps_for_others(&self, method: &str, request: &Message) -> bool {
        if method != "resources/unsubscribe" || !self.has_company() {
            return false;
        }
        let (Some(uri), Some(lease)) = (request.param_text("uri"), lock(&self.lease).clone()) else {
            return false;
        };
        let told = lease.unsubscribed(&uri);
        if !told {
            self.unsubscribe(&uri);
        }
        !told
    }

    /// A level that is set counts for its client; the server is told the lowest of all on the
    /// connection, and each client gets its own share.
    pub(in crate::proxy) fn at_the_lowest_level(&self, method: &str, request: Message) -> Message {
        if method != "logging/setLevel" || !self.has_company() {
            return request;
        }
        let (Some(level), Some(lease)) = (request.param_text("level"), lock(&self.lease).clone()) else {
            return request;
        };
        let Some(lowest) = lease.level(&level) else { return request };
        *lock(&self.own_level) = Some(level.into_owned());
        request.with_param("level", format!("\"{lowest}\"").as_bytes())
    }

    /// Whether a log message is urgent enough for this client, where others on the connection may have
    /// asked for more.
    pub(super) fn wants_log(&self, message: &Message, asked: Option<&str>) -> bool {
        // A modern request says itself from which level on, and none wants none (2026-07-28, logging).
        if self.is_modern() && asked.is_none() {
            return false;
        }
        let own = asked.map(str::to_owned).or_else(|| lock(&self.own_level).clone());
        let level = message.param_text("level");
        own.is_none_or(|own| level.is_none_or(|level| is_urgent_enough(&level, &own)))
    }

    /// Remembers what a successful call set up on the connection.
    pub(in crate::proxy) fn remember(&self, method: &str, request: &Message) {
        match method {
            "logging/setLevel" => *lock(&self.level) = Some(request.clone()),
            "resources/subscribe" if self.has_company() => {
                if let (Some(uri), Some(lease)) = (request.param_text("uri"), lock(&self.lease).clone()) {
                    lease.subscribed(&uri);
                }
            }
            "resources/unsubscribe" => {
                if let Some(uri) = request.param_text("uri") {
                    self.unsubscribe(&uri);
                }
            }
            _ => {}
        }
    }

    /// Whether news of this resource are this client's. What it subscribed to was judged; a server
    /// may also tell of what is below (specification 2025-11-25, resources) or of what was never
    /// asked for, and that may be another client's, or hidden.
    pub(super) fn may_hear_of(&self, uri: &str, shared: bool) -> bool {
        // Those who listen are told by what each of them wanted.
        if self.is_modern() {
            return true;
        }
        match (self.judges_resources(), shared) {
            (true, _) => lock(&self.subscriptions).contains(uri),
            (false, _) if shared || self.has_company() => {
                lock(&self.subscriptions).iter().any(|mine| uri.starts_with(mine.as_str()))
            }
            (false, _) => true,
        }
    }

    /// Log level and subscriptions, on a connection that replaces one that died.
    pub(super) async fn say_again(&self, lease: &Lease, outgoing: &Arc<dyn Outgoing>) {
        let connection = &lease.connection;
        let mut level = lock(&self.level).clone();
        let uris: Vec<_> = lock(&self.subscriptions).iter().cloned().collect();
        if self.has_company() {
            uris.iter().for_each(|uri| lease.subscribed(uri));
            let own = lock(&self.own_level).clone();
            if let (Some(message), Some(lowest)) = (&level, own.and_then(|own| lease.level(&own))) {
                level = Some(message.with_param("level", format!("\"{lowest}\"").as_bytes()));
            }
        }
        let subscribe = |uri: &String| {
            let params = [b"{\"uri\":".as_slice(), &crate::jsonrpc::escape(uri), b"}"].concat();
            Message::request(b"0", "resources/subscribe", Some(&params))
        };
        for message in level.into_iter().chain(uris.iter().map(subscribe)) {
            let deadline = Instant::now() + Duration::from_secs(self.gateway.config().limits.connect_seconds);
            let call = UpstreamCall {
                message,
                downlink: self.downlink.clone(),
                cancel: CancellationToken::new(),
                deadline,
                hard_deadline: deadline,
                outgoing: outgoing.clone(),
                definition: None,
            };
            if let Err(error) = connection.call(call).await {
                tracing::warn!(server = %self.server, %error, "could not restore a session's state after reconnecting");
                return;
            }
        }
    }
}
