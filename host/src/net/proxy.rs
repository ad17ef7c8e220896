//! The way through the proxies of the environment, for servers that are configured to be reached so.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::connection::Counted;
use super::connector::cause;

/// Which addresses are reached through which proxy. Cheap to clone.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<Matcher>>);

impl Proxies {
    /// None: every address is reached by itself.
    #[must_use]
    pub fn none() -> Proxies {
        Proxies::default()
    }

    /// Those of the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or
    /// not, as curl reads them.
    #[must_use]
    pub fn of_environment() -> Proxies {
        Proxies(Some(Arc::new(Matcher::from_env())))
    }

    fn of(&self, uri: &Uri) -> Option<Intercept> {
        self.0.as_ref().and_then(|matcher| matcher.intercept(uri))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What they are may hold passwords.
        f.write_str(if self.0.is_some() { "Proxies(some)" } else { "Proxies(none)" })
    }
}

/// What went wrong with a proxy, which is not the server.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy} {how}")]
struct Failed {
    proxy: String,
    how: String,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens TCP connections, through a proxy where there is one for the address.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub(super) direct: HttpConnector,
    pub(super) proxies: Proxies,
    /// Longest wait for a proxy to answer.
    pub(super) patience: Duration,
}

impl Service<Uri> for Tcp {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let Some(proxy) = self.proxies.of(&to) else {
            let connecting = self.direct.call(to);
            return Box::pin(async move { Ok(Stream::new(connecting.await?, false)) });
        };
        let (connector, patience) = (self.direct.clone(), self.patience);
        Box::pin(async move {
            let shown = proxy.uri().authority().map(|authority| authority.to_string()).unwrap_or_default();
            let failed = |how: String| Failed { proxy: shown.clone(), how };
            if proxy.uri().scheme_str() != Some("http") {
                return Err(failed("is none that is reached over http://".to_owned()).into());
            }
            let through = tokio::time::timeout(patience, through(connector, proxy, to)).await;
            let through =
                through.unwrap_or_else(|_| Err(format!("did not answer within {} s", patience.as_secs())));
            Ok(through.map_err(failed)?)
        })
    }
}

/// TLS goes through a tunnel, which the proxy cannot look into. Plain HTTP is forwarded by it, except
/// where it wants a password: that is sent with a tunnel only, never to anybody but the proxy.
async fn through(mut connector: HttpConnector, proxy: Intercept, to: Uri) -> Result<Stream, String> {
    let auth = proxy.basic_auth().cloned();
    if to.scheme_str() == Some("http") && auth.is_none() {
        let connected = connector.call(proxy.uri().clone()).await;
        let inner = connected.map_err(|error| format!("cannot be reached: {}", cause(&error)))?;
        return Ok(Stream::new(inner, true));
    }
    let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
    if let Some(auth) = auth {
        tunnel = tunnel.with_auth(auth);
    }
    let inner = tunnel.call(with_port(&to)).await;
    let inner = inner.map_err(|error| format!("opened no tunnel: {}", cause(&error)))?;
    Ok(Stream::new(inner, false))
}

/// A tunnel goes to 443 unless told otherwise.
fn with_port(to: &Uri) -> Uri {
    let (Some("http"), None, Some(host)) = (to.scheme_str(), to.port(), to.host()) else { return to.clone() };
    let parts = Uri::builder().scheme("http").authority(format!("{host}:80")).path_and_query("/");
    parts.build().unwrap_or_else(|_| to.clone())
}

/// A TCP connection, to a server or to the proxy that forwards to it.
#[derive(Debug)]
pub struct Stream {
    inner: TokioIo<Counted>,
    /// The request line names the whole address then (RFC 9112, 3.2.2).
    forwarded: bool,
}

impl Stream {
    fn new(tcp: TokioIo<TcpStream>, forwarded: bool) -> Stream {
        Stream { inner: TokioIo::new(Counted::new(tcp.into_inner())), forwarded }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.inner.connected().proxy(self.forwarded)
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::connector_through;

    const LONG: Duration = Duration::from_secs(20);

    /// A proxy that gives this answer, and the head that it got.
    async fn asked(uri: &str, user: &str, answer: &'static str) -> (String, Option<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let matcher = Matcher::builder().all(format!("http://{user}{address}")).no("direct.invalid").build();
        let mut connector = connector_through(LONG, Proxies(Some(Arc::new(matcher)))).unwrap();
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).await.unwrap() == 1 {
                head.push(byte[0]);
            }
            socket.write_all(answer.as_bytes()).await.unwrap();
            // Whatever comes next through the tunnel: a TLS handshake begins with 22.
            let _ = socket.read(&mut byte).await;
            format!("{}{}", String::from_utf8(head).unwrap(), byte[0])
        };
        let call = connector.call(uri.parse().unwrap());
        let connect = async { call.await.map(drop).err().map(|error| cause(&*error)) };
        tokio::join!(serve, connect)
    }

    #[tokio::test]
    async fn tls_goes_through_a_tunnel_to_the_server_by_name() {
        let (head, _) = asked("https://far.invalid/mcp", "", "HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(
            head.starts_with("CONNECT far.invalid:443 HTTP/1.1\r\n") && head.ends_with("\r\n\r\n22"),
            "{head}"
        );
        assert!(!head.to_lowercase().contains("authorization"));
    }

    #[tokio::test]
    async fn a_password_goes_to_the_proxy_in_a_tunnel_only() {
        for (uri, to) in
            [("https://far.invalid/", "far.invalid:443"), ("http://far.invalid/", "far.invalid:80")]
        {
            let (head, _) = asked(uri, "me:pw@", "HTTP/1.1 200 OK\r\n\r\n").await;
            assert!(head.starts_with(&format!("CONNECT {to} ")), "{head}");
            assert!(head.contains("Proxy-Authorization: Basic bWU6cHc="), "{head}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_named_without_its_password() {
        let (_, error) = asked("https://far.invalid/", "me:pw@", "HTTP/1.1 407 Who are you\r\n\r\n").await;
        let error = error.unwrap_or_default();
        assert!(
            error.contains("the proxy 127.0.0.1:") && error.contains("proxy authorization required"),
            "{error}"
        );
        assert!(!error.contains("pw"), "{error}");
    }

    #[test]
    fn exceptions_and_addresses_without_a_proxy_are_reached_by_themselves() {
        let matcher = Matcher::builder().http("http://p.invalid:1").no("direct.invalid,10.0.0.0/8").build();
        let proxies = Proxies(Some(Arc::new(matcher)));
        let of = |uri: &str| proxies.of(&uri.parse().unwrap()).is_some();
        assert!(of("http://far.invalid/") && !of("https://far.invalid/"));
        assert!(!of("http://direct.invalid/") && !of("http://a.direct.invalid/") && !of("http://10.1.2.3/"));
        assert!(Proxies::none().of(&"http://far.invalid/".parse().unwrap()).is_none());
        assert_eq!(with_port(&"http://far.invalid/x".parse().unwrap()), "http://far.invalid:80/");
    }
}
