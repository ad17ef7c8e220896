//! Between the eras: clients that speak one, and servers that speak the other.
//!
//! The phases of a call know nothing of it. They speak their client's era to a
//! [`Connection`](crate::upstream::Connection); where the server speaks the other one, that connection
//! is one of these, which translates both ways. `docs/bridging.md` has a row for every message.

mod legacy_client;
mod modern_client;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::config::ServerEra;
use crate::jsonrpc::Message;
use crate::protocol::versions;
use crate::upstream::{Hello, Lease, Reply, UpstreamError, Upstreams};

/// A connection that speaks the era of the client that says [`Hello`], whatever the server speaks.
///
/// # Errors
/// As [`Upstreams::connect`]; [`UpstreamError::OtherEra`] where the two eras cannot be bridged.
pub async fn connect(upstreams: &Arc<Upstreams>, hello: Hello) -> Result<Lease, UpstreamError> {
    let legacy_client = hello.params.is_some();
    let only = |revisions: &[&str]| UpstreamError::OtherEra {
        server: Arc::clone(&hello.server),
        speaks: revisions.iter().map(|revision| (*revision).to_owned()).collect(),
    };
    match (upstreams.era(&hello.server), legacy_client) {
        // Before anything is started: these clients try again in the other era.
        (ServerEra::Legacy, false) => Err(only(&versions::LEGACY)),
        (ServerEra::Modern, true) => Err(only(&versions::MODERN)),
        (ServerEra::Legacy, true) | (ServerEra::Modern, false) => upstreams.connect(hello).await,
        (ServerEra::Auto, true) => legacy_client::connect(upstreams, hello).await,
        (ServerEra::Auto, false) => match upstreams.connect(hello.clone()).await {
            Err(UpstreamError::OtherEra { .. }) => modern_client::connect(upstreams, hello).await,
            connected => connected,
        },
    }
}

/// An answer of the bridge's own; whoever asked puts the id in.
fn made(message: Message) -> Reply {
    Reply { message, head: None }
}

/// A name that nobody can guess; none if there is no randomness to be had.
fn unguessable() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Now, as the protocol writes it (RFC 3339), and the log.
fn timestamp() -> String {
    let mut now = String::new();
    // Nothing in it can fail: the text grows as it must.
    let _ = SystemTime.format_time(&mut Writer::new(&mut now));
    now
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves plain data, so a panic cannot leave one half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_a_date_with_its_zone() {
        let now = timestamp();
        assert!(now.starts_with("20") && now.ends_with('Z') && now.contains('T'), "{now}");
    }
}
