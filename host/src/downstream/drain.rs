//! The end of a drain: calls that are still under way are answered, so that no client takes the end of
//! its connection for a success.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::filter::Outcome;
use crate::jsonrpc::Message;
use crate::proxy::rescue;

/// How long the last answers may take to reach their clients: a round trip and a slow reader.
pub const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The answer of a call or, once the drain is over, the error that says that it may have run.
pub async fn answered(
    answer: impl Future<Output = Option<Message>>,
    over: &CancellationToken,
    server: &str,
    id: &[u8],
) -> Option<Message> {
    tokio::select! {
        biased;
        answer = answer => answer,
        () = over.cancelled() => match rescue::ended(server) {
            Outcome::Failure(error) => Some(rescue::message(Some(id), &error)),
            Outcome::Success(_) => None,
        },
    }
}
