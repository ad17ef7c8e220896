//! The HTTP listener: connections, their bounds, and how they end.

mod alive;
mod bind;
mod body;
mod cors;
mod entrance;
mod guard;
mod head;
mod in_flight;
mod pace;
mod refusals;
mod reply;
mod route;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::drain::LAST_ANSWERS;
use super::endpoint::{Endpoint, Served};
use super::modern::Load;
use super::registry::Sessions;
use super::sse::Streams;
use crate::gateway::Gateway;

use pace::{Pace, Paced};

pub use bind::{BindError, bind};
pub use head::Accepts;
pub use in_flight::Share;
pub use reply::Reply;
pub(super) use reply::{accepted, empty, events, json, message, no_session, refuse, stream};
pub(super) use route::law;

/// Most that is buffered per connection in each direction, besides the messages themselves.
const CONNECTION_BUFFER: usize = 64 << 10;
/// Most header lines of a request: twice what browsers and proxies add up to.
const HEADERS: usize = 100;

/// Serves all servers of a gateway on a bound listener until `shutdown`; then calls in flight get
/// `limits.drain_seconds`, and every session is ended before this returns.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, shutdown: CancellationToken) {
    HttpFront::new(Arc::new(Served(gateway))).serve(listener, shutdown).await;
}

/// What `/readyz` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// 200 or 503.
    pub ready: bool,
    /// One word or sentence. Anybody can read it: no names of servers, tools or filters.
    pub status: String,
}

/// The HTTP side of the proxy.
pub struct HttpFront {
    pub(super) endpoint: Arc<dyn Endpoint>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) streams: Streams,
    /// Calls, and whatever else must not be dropped with the connection that it came on.
    pub(super) tasks: TaskTracker,
    /// Cancelled when shutdown begins: ends what would last as long as its client likes.
    pub(super) ending: CancellationToken,
    /// Cancelled when the drain is over: calls that are still under way are answered with an error.
    pub(super) over: CancellationToken,
    /// What modern clients, who have no sessions to count by, have going.
    pub(super) load: Arc<Load>,
    in_flight: in_flight::InFlight,
    refusals: refusals::RefusalLog,
    /// The one server that is served at `/mcp` itself.
    bare: Option<Arc<str>>,
    readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
}

/// One connection, for the requests on it.
pub struct Connection {
    /// The socket peer. Forwarding headers are never believed.
    pub(super) peer: SocketAddr,
    /// Where it was accepted.
    local: SocketAddr,
    /// Breaks it.
    pub(super) cut: CancellationToken,
    pace: Arc<Pace>,
}

impl HttpFront {
    /// Nothing listens before [`HttpFront::serve`].
    pub fn new(endpoint: Arc<dyn Endpoint>) -> HttpFront {
        HttpFront {
            endpoint,
            sessions: Arc::default(),
            streams: Streams::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
            over: CancellationToken::new(),
            load: Arc::default(),
            in_flight: in_flight::InFlight::default(),
            refusals: refusals::RefusalLog::default(),
            bare: None,
            readiness: Box::new(|| Readiness { ready: true, status: "ready".into() }),
        }
    }

    /// What `/readyz` answers; asked every time. Ready as soon as it serves unless told.
    pub fn readiness(mut self, readiness: impl Fn() -> Readiness + Send + Sync + 'static) -> HttpFront {
        self.readiness = Box::new(readiness);
        self
    }

    /// Serves that server at `/mcp` as well: for a process that has no other.
    pub fn bare(mut self, server: impl Into<Arc<str>>) -> HttpFront {
        self.bare = Some(server.into());
        self
    }

    /// See [`serve`].
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let front = Arc::new(self);
        let (closing, broken) = (CancellationToken::new(), CancellationToken::new());
        let connections = TaskTracker::new();
        let most = front.endpoint.config().limits.sessions as usize * 2;
        let room = Arc::new(Semaphore::new(most.clamp(64, Semaphore::MAX_PERMITS)));
        let reaper = tokio::spawn(front.sessions.clone().reap(front.endpoint.clone(), closing.clone()));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&listener, &room) => accepted,
            };
            match accepted {
                Ok((stream, peer, permit)) => {
                    let serving =
                        front.clone().connection(stream, peer, closing.clone(), broken.child_token());
                    connections.spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: the connections in service go on, and end.
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        closing.cancel();
        front.sessions.stop_listening();
        front.ending.cancel();
        let drain = Duration::from_secs(front.endpoint.config().limits.drain_seconds);
        connections.close();
        front.tasks.close();
        let drained = || async { tokio::join!(connections.wait(), front.tasks.wait()) };
        if tokio::time::timeout(drain, drained()).await.is_err() {
            tracing::warn!(
                seconds = drain.as_secs(),
                "calls were still in flight at the end of the drain time: they are answered with an error"
            );
            front.over.cancel();
            // Who does not read the answer by then is cut.
            let _ = tokio::time::timeout(LAST_ANSWERS, drained()).await;
        }
        front.sessions.end_all();
        broken.cancel();
        connections.wait().await;
        // Ended by `closing`; a panic in it has been reported already.
        let _ = reaper.await;
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        closing: CancellationToken,
        cut: CancellationToken,
    ) {
        let Ok(local) = stream.local_addr() else { return };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        let limits = self.endpoint.config().limits;
        if let Err(error) = alive::watch(&stream, Duration::from_secs(limits.ping_seconds)) {
            tracing::debug!(%peer, %error, "no TCP keep-alive");
        }
        let pace = Pace::new(Duration::from_secs(limits.header_seconds));
        let paced = Paced { stream, pace: pace.clone() };
        let connection = Arc::new(Connection { peer, local, cut: cut.clone(), pace: pace.clone() });
        let service = service_fn(move |request| self.clone().answer(request, connection.clone()));
        let serving = http1::Builder::new()
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes)
            .max_headers(HEADERS)
            .max_buf_size(CONNECTION_BUFFER.max(limits.header_bytes))
            .serve_connection(TokioIo::new(paced), service);
        let mut serving = std::pin::pin!(serving);
        let mut told = false;
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection broke");
                    }
                    return;
                }
                () = closing.cancelled(), if !told => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = pace.exceeded() => {
                    tracing::debug!(%peer, "closed a connection that idled or sent its head too slowly");
                    return;
                }
                () = cut.cancelled() => return,
            }
        }
    }
}

/// The next connection, once there is room for it. Those that come too early wait in the backlog.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}
