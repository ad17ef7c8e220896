//! The way of a call to its server: over the link's connection, and over a new one if that is over.

use std::sync::Arc;

use bytes::Bytes;

use super::super::outgoing::Filtered;
use super::super::rescue;
use super::{Run, for_log};
use crate::filter::{CallView, Outcome};
use crate::jsonrpc::Message;
use crate::upstream::{Connection, Outgoing, Reply, UpstreamCall, UpstreamError};

impl Run<'_> {
    /// Sends a message to the server and waits for its answer.
    pub(in crate::proxy) async fn send(
        &self,
        message: Message,
        call: Option<Arc<CallView>>,
        definition: Option<Bytes>,
    ) -> Result<Reply, Outcome> {
        let shared = self.link.is_shared();
        let principal = if shared { None } else { self.caller.principal.clone() };
        let outgoing: Arc<dyn Outgoing> = Arc::new(Filtered {
            server: self.link.server.clone(),
            chain: self.chain.clone(),
            method: self.method.clone(),
            call: call.filter(|_| !shared),
            principal,
        });
        let failed = |error: UpstreamError| {
            if !matches!(error, UpstreamError::Cancelled) {
                let method = for_log(&self.method);
                tracing::warn!(server = %self.link.server, %method, call = self.decisions.call(), "{error}");
            }
            rescue::upstream(&error)
        };
        let mut sent_before = false;
        loop {
            let connection = self.connection().await.map_err(failed)?;
            let call = UpstreamCall {
                message: message.clone(),
                downlink: self.downlink.clone(),
                cancel: self.cancel.clone(),
                deadline: self.deadline,
                hard_deadline: self.hard_deadline,
                outgoing: outgoing.clone(),
                definition: definition.clone(),
            };
            match connection.call(call).await {
                // Servers that restarted say so in answer to a call, which has certainly not run
                // then: it is sent over a new connection. Once, or it might go on for ever.
                Err(UpstreamError::Gone { may_have_run: false, .. })
                    if !sent_before && connection.closed().is_some() =>
                {
                    sent_before = true;
                }
                answer => return answer.map_err(failed),
            }
        }
    }

    /// The link's connection. Making it anew may take longer than this call may, and goes on then
    /// for the next one.
    pub(in crate::proxy) async fn connection(&self) -> Result<Arc<dyn Connection>, UpstreamError> {
        tokio::select! {
            biased;
            connection = self.link.connection() => connection,
            () = self.cancel.cancelled() => Err(UpstreamError::Cancelled),
            () = tokio::time::sleep_until(self.deadline.into()) => Err(UpstreamError::Unreachable {
                server: self.link.server.clone(),
                reason: "it was not connected to again in time; the call did not reach it".to_owned(),
            }),
        }
    }
}
