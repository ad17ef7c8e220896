//! Standard output: what drains the pipe, a message per line.

use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use crate::downstream::pipe::Drain;

/// Writes until the pipe is closed and all is written, or until the writer breaks.
pub async fn write(writer: impl AsyncWrite + Send + Unpin, mut drain: Drain) {
    let mut writer = BufWriter::new(writer);
    let all = async {
        while let Some(queued) = drain.next().await {
            writer.write_all(&queued.frame).await?;
            writer.write_all(b"\n").await?;
            if drain.is_empty() {
                writer.flush().await?;
            }
            // Its room is held until it is written: what waits in the pipe still waits.
            drop(queued);
        }
        writer.flush().await
    };
    if let Err(error) = all.await {
        tracing::debug!(%error, "standard output broke");
    }
}
