//! One client on standard input and output: newline-separated messages for one server.

mod line;
mod output;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Place, Speaker};
use super::endpoint::{Endpoint, Served};
use super::pipe::{Pipe, WhenFull};
use crate::gateway::Gateway;
use line::{Line, Lines};

/// How long calls in flight may go on after the end of input. A client that is gone needs no answer;
/// `printf … | lockgate connect` does.
const AFTER_END: Duration = Duration::from_secs(5);

/// Serves one client over a reader and a writer until the end of its input, a broken output or
/// `shutdown`. Nobody is authenticated: whoever holds the pipes is the user.
pub async fn serve_stdio(
    gateway: Arc<Gateway>,
    server: &str,
    reader: impl AsyncRead + Send + Unpin,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    shutdown: CancellationToken,
) {
    serve_endpoint(Arc::new(Served(gateway)), server, reader, writer, shutdown).await;
}

/// [`serve_stdio`] in front of any endpoint.
pub async fn serve_endpoint(
    endpoint: Arc<dyn Endpoint>,
    server: &str,
    reader: impl AsyncRead + Send + Unpin,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    shutdown: CancellationToken,
) {
    let limits = endpoint.config().limits;
    // A message that does not fit is dropped: without its pipe, this client would be over.
    let (pipe, drain) = Pipe::new(limits.stream_buffer_bytes, WhenFull::Drop);
    let writing = tokio::spawn(output::write(writer, drain));
    let place = Place { endpoint, server: server.into(), transport: "stdio", address: None };
    let mut conversation = Conversation::new(place, pipe.clone());
    let mut lines = Lines::new(BufReader::with_capacity(64 << 10, reader), limits.client_message_bytes);
    let speaker = Speaker::default();
    let conversing = async {
        loop {
            match lines.next().await {
                Ok(Some(Line::Text(text))) => conversation.take(text, &speaker).await,
                Ok(Some(Line::TooLong)) => conversation.refuse_large().await,
                Ok(None) => return AFTER_END,
                Err(error) => {
                    tracing::warn!(%error, "standard input broke");
                    return AFTER_END;
                }
            }
        }
    };
    let grace = tokio::select! {
        grace = conversing => grace,
        () = shutdown.cancelled() => Duration::from_secs(limits.drain_seconds),
        () = pipe.broken().cancelled() => Duration::ZERO,
    };
    conversation.end(grace.min(Duration::from_secs(limits.drain_seconds))).await;
    // A panic in it has been reported; there is nothing left to write.
    let _ = writing.await;
}
