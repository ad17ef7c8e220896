//! Between the eras: clients that speak one, and servers that speak the other.
//!
//! The phases of a call know nothing of it. They speak their client's era to a
//! [`Connection`](crate::upstream::Connection); where the server speaks the other one, that connection
//! is one of these, which translates both ways. `docs/bridging.md` has a row for every message.

mod legacy_client;
mod modern_client;

use std::sync::Arc;

use crate::upstream::{Hello, Lease, UpstreamError, Upstreams};

/// A connection that speaks the era of the client that says [`Hello`], whatever the server speaks.
///
/// # Errors
/// As [`Upstreams::connect`]; [`UpstreamError::OtherEra`] where the two eras cannot be bridged.
pub async fn connect(upstreams: &Arc<Upstreams>, hello: Hello) -> Result<Lease, UpstreamError> {
    if hello.params.is_some() {
        return legacy_client::connect(upstreams, hello).await;
    }
    match upstreams.connect(hello.clone()).await {
        Err(UpstreamError::OtherEra { .. }) => modern_client::connect(upstreams, hello).await,
        connected => connected,
    }
}
