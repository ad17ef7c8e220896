//! TCP and TLS towards others: the one place that decides what is trusted and how long it may take.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

use super::proxy::{Proxies, Tcp};

const KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens connections to `http:` and `https:` addresses. Cheap to clone.
pub type Connector = HttpsConnector<Tcp>;

/// Makes one that gives up on an address after `connect`. It trusts what the system trusts; without
/// the system's root certificates no `https:` server is believed, but `http:` works.
///
/// # Errors
/// If the TLS implementation supports no version of TLS that may be used.
pub fn connector(connect: Duration) -> Result<Connector, rustls::Error> {
    connector_through(connect, Proxies::none())
}

/// The same, through proxies where there is one for an address.
///
/// # Errors
/// As [`connector`].
pub fn connector_through(connect: Duration, proxies: Proxies) -> Result<Connector, rustls::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect));
    tcp.set_keepalive(Some(KEEPALIVE));
    let ring = rustls::crypto::ring::default_provider;
    let tls = match HttpsConnectorBuilder::new().with_provider_and_native_roots(ring()) {
        Ok(tls) => tls,
        Err(error) => {
            tracing::warn!(target: "server", %error, "no root certificates found: https servers cannot be verified");
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(ring()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(config)
        }
    };
    let tcp = Tcp { direct: tcp, proxies, patience: connect };
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp))
}

/// Whether the address answered that nobody listens there.
#[must_use]
pub fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        current = error.source();
    }
    false
}

/// What an error of a connection means, without the names of the libraries it passed through.
#[must_use]
pub fn cause(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(hyper) = error.downcast_ref::<hyper::Error>()
            && hyper.is_incomplete_message()
        {
            return "connection closed before the answer was complete".to_owned();
        }
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.raw_os_error().is_some()
        {
            return io.kind().to_string();
        }
        // The library's words for an answer that is no TLS name its own types.
        if let Some(rustls::Error::InvalidMessage(_)) = error.downcast_ref::<rustls::Error>() {
            return "what answers there speaks no TLS".to_owned();
        }
        deepest = error;
        current = error.source();
    }
    match deepest.downcast_ref::<io::Error>() {
        Some(io) if io.kind() == io::ErrorKind::TimedOut => "timed out".to_owned(),
        _ => deepest.to_string(),
    }
}
