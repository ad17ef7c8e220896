//! One client on standard input and output: newline-separated messages for one server.

mod line;
mod output;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::downlink::CallDownlink;
use super::endpoint::{Endpoint, Served};
use super::era::{self, Era};
use super::http::law;
use super::outlet::Outlet;
use super::session::{Applicant, NotBegun, Session};
use crate::config::Limits;
use crate::filter::Caller;
use crate::gateway::Gateway;
use crate::jsonrpc::{Kind, Message, Source};
use crate::protocol::{errors, methods};
use crate::proxy::CallScope;
use line::{Line, Lines};
use output::Output;

/// How long calls in flight may go on after the end of input. A client that is gone needs no answer;
/// `printf … | lockgate connect` does.
const AFTER_END: Duration = Duration::from_secs(5);
/// Notifications of the client that may wait to be passed on.
const NOTIFICATIONS: usize = 64;

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
    let (output, writing) = Output::new(writer, limits.stream_buffer_bytes);
    let writing = tokio::spawn(writing);
    let mut conversation = Conversation {
        endpoint,
        server: server.into(),
        limits,
        output,
        tasks: TaskTracker::new(),
        open: None,
    };
    let mut lines = Lines::new(BufReader::with_capacity(64 << 10, reader), limits.client_message_bytes);
    let broken = conversation.output.broken().clone();
    let conversing = async {
        loop {
            match lines.next().await {
                Ok(Some(line)) => conversation.line(line).await,
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
        () = broken.cancelled() => Duration::ZERO,
    };
    conversation.end(grace.min(Duration::from_secs(limits.drain_seconds))).await;
    // A panic in it has been reported; there is nothing left to write.
    let _ = writing.await;
}

struct Conversation {
    endpoint: Arc<dyn Endpoint>,
    server: Arc<str>,
    limits: Limits,
    output: Arc<Output>,
    tasks: TaskTracker,
    open: Option<Open>,
}

/// What there is after `initialize`.
struct Open {
    session: Arc<Session>,
    caller: Arc<Caller>,
    /// To the one task that passes notifications on, in order.
    notifications: mpsc::Sender<Message>,
}

impl Conversation {
    async fn line(&mut self, line: Line) {
        let text = match line {
            Line::Text(text) => text,
            Line::TooLong => {
                let text = "the message is larger than `limits.client_message_bytes`";
                return self.output.deliver(&errors::invalid_request(None, text)).await;
            }
        };
        match Message::parse(text, &law(&self.limits), Source::Client) {
            Ok(message) => self.message(message).await,
            Err(violation) => {
                let text = format!("refused: {violation}");
                let error = Message::error(violation.id.as_deref(), violation.code, &text, None);
                self.output.deliver(&error).await;
            }
        }
    }

    async fn message(&mut self, message: Message) {
        let refusal = match era::classify(&message, None) {
            Ok(Era::Legacy) => return self.legacy(message).await,
            Ok(Era::Modern { version }) => era::refuse_modern(&message, &version),
            Err(refusal) => refusal,
        };
        if message.kind() == Kind::Request {
            self.output.deliver(&refusal).await;
        }
    }

    async fn legacy(&mut self, message: Message) {
        match (message.kind(), message.method()) {
            (Kind::Request, Some(methods::PING)) => {
                let pong = Message::response(message.id().unwrap_or(b"null"), b"{}");
                self.output.deliver(&pong).await;
            }
            (Kind::Request, Some(methods::INITIALIZE)) => self.initialize(&message).await,
            (Kind::Request, _) => match &self.open {
                Some(open) => self.call(open, message).await,
                None => {
                    let error = errors::invalid_request(message.id(), "begin with `initialize`");
                    self.output.deliver(&error).await;
                }
            },
            // Part of the handshake, which the server has had already.
            (Kind::Notification, Some(methods::INITIALIZED)) => {}
            (Kind::Notification, Some(methods::CANCELLED)) => {
                if let Some(open) = &self.open {
                    open.session.cancel(&message);
                }
            }
            (Kind::Notification, _) => {
                if let Some(open) = &self.open
                    && open.notifications.try_send(message).is_err()
                {
                    tracing::debug!("dropped a notification: the server takes them too slowly");
                }
            }
            (Kind::Result | Kind::Error, _) => {
                if let Some(open) = &self.open {
                    open.session.questions.answer(message);
                }
            }
        }
    }

    async fn initialize(&mut self, message: &Message) {
        if self.open.is_some() {
            let error = errors::invalid_request(message.id(), "initialized already");
            return self.output.deliver(&error).await;
        }
        let applicant = Applicant {
            server: self.server.clone(),
            transport: "stdio",
            principal: None,
            address: None,
            headers: Arc::default(),
        };
        match Session::open(&*self.endpoint, message, applicant).await {
            Ok((session, answer)) => {
                // What the server said meanwhile follows the answer.
                self.output.deliver(&answer).await;
                let outlet: Arc<dyn Outlet> = self.output.clone();
                // The first and only one.
                let _ = session.unsolicited.attach(outlet, Duration::ZERO);
                let caller = Arc::new(Caller {
                    principal: None,
                    client: session.client().clone(),
                    headers: Arc::default(),
                });
                let notifications = self.pass_notifications(&session, &caller);
                self.open = Some(Open { session, caller, notifications });
            }
            Err(error) => self.output.deliver(&error).await,
        }
    }

    fn pass_notifications(&self, session: &Arc<Session>, caller: &Arc<Caller>) -> mpsc::Sender<Message> {
        let (sender, mut waiting) = mpsc::channel(NOTIFICATIONS);
        let (session, caller) = (session.clone(), caller.clone());
        tokio::spawn(async move {
            while let Some(message) = waiting.recv().await {
                if let Some(standing) = session.standing() {
                    standing.notify(message, caller.clone()).await;
                }
            }
        });
        sender
    }

    async fn call(&self, open: &Open, message: Message) {
        let id = message.id().map(Bytes::copy_from_slice).unwrap_or_default();
        let ticket = match open.session.begin(&id, self.limits.calls_per_session) {
            Ok(ticket) => ticket,
            Err(not) => {
                let error = match not {
                    NotBegun::Duplicate => {
                        errors::invalid_request(Some(&id), "a call with this id is in flight already")
                    }
                    NotBegun::Busy => errors::busy(Some(&id), "limits.calls_per_session"),
                    NotBegun::Over => errors::invalid_request(Some(&id), "the session has ended"),
                };
                return self.output.deliver(&error).await;
            }
        };
        let Some(standing) = open.session.standing().cloned() else {
            return self.output.deliver(&errors::internal(Some(&id))).await;
        };
        let outlet: Arc<dyn Outlet> = self.output.clone();
        let scope = CallScope {
            caller: open.caller.clone(),
            downlink: Arc::new(CallDownlink::new(open.session.clone(), outlet)),
            cancel: ticket.cancel.clone(),
            // A pipe that winds down ends its session, and with it all that lasts.
            ending: open.session.over().clone(),
        };
        let output = self.output.clone();
        self.tasks.spawn(async move {
            // A task of its own, so that a panic in it still ends with an answer.
            let answer = tokio::spawn(async move { standing.call(message, scope).await }).await;
            drop(ticket);
            match answer {
                Ok(Some(answer)) => output.deliver(&answer).await,
                Ok(None) => {}
                Err(_) => output.deliver(&errors::internal(Some(&id))).await,
            }
        });
    }

    async fn end(self, grace: Duration) {
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = tokio::time::sleep(grace) => {}
            () = self.output.broken().cancelled() => {}
        }
        if let Some(open) = &self.open {
            open.session.end();
        }
        self.output.close();
    }
}
