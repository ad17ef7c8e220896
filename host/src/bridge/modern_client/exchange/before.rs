//! What the server asked outside of any call, brought to the client before its next call is made.

use std::time::Duration;

use futures_util::future::join_all;

use super::super::lines::Using;
use super::super::lock;
use super::Exchange;
use crate::proxy::Downlink;
use crate::upstream::UpstreamError;

/// What a server gets to make something of an answer before the call comes. One that learned which roots
/// there are looks at them first, and refuses what it would allow a moment later.
const DIGESTION: Duration = Duration::from_millis(50);

impl Exchange {
    /// Asks the client what waits on the connection, and hands the answers on. Its call is made after that:
    /// what it comes to may depend on them.
    ///
    /// # Errors
    /// The client did not come back in time, or left: then the call is not made.
    pub(super) async fn bring_waiting(&self, using: &Using) -> Result<(), UpstreamError> {
        if !self.may_be_asked || using.host().is_some() {
            return Ok(());
        }
        let waiting = using.line().news.take_waiting();
        if waiting.is_empty() {
            return Ok(());
        }
        let asked = waiting.into_iter().map(|mut question| async move {
            let answer = tokio::select! {
                answer = self.ask(question.request.clone()) => answer,
                // The server took it back.
                () = question.answer.closed() => return,
            };
            let _ = question.answer.send(answer);
        });
        tokio::select! {
            _ = join_all(asked) => {}
            () = self.cancel.cancelled() => return Err(UpstreamError::Cancelled),
        }
        if lock(&self.state).expired {
            return Err(UpstreamError::Cancelled);
        }
        tokio::time::sleep(DIGESTION).await;
        Ok(())
    }
}
