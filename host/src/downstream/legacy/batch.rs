//! Several messages in one POST, as revision 2025-03-26 has them: each is judged, executed and
//! answered like one that came alone.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use tokio::sync::mpsc;

use super::{Call, EventStream, OPEN_STREAM_AFTER, Reader, Session, Visitor};
use crate::downstream::drain;
use crate::downstream::era::{self, Era};
use crate::downstream::http::{self as answer, Reply, Share, law};
use crate::downstream::outlet::Outlet;
use crate::jsonrpc::{self, Kind, Message, Source, Violation};
use crate::protocol::{errors, methods, versions};

impl Visitor {
    /// The session, if arrays are spoken in it; none if not, and then an array is no message. The
    /// error is for an id that names no session.
    pub fn batching(&self, version: Option<&str>) -> Result<Option<Arc<Session>>, Box<Reply>> {
        if self.session.is_none() {
            return Ok(None);
        }
        let session = self.session(None)?;
        let batches = session.client().protocol_version == versions::WITH_BATCHES
            && version.is_none_or(|version| version == versions::WITH_BATCHES);
        Ok(batches.then_some(session))
    }
}

/// Answers a POST that holds an array: 202 where nothing in it needs an answer, else an array of
/// answers, or a stream with one event for each.
pub async fn post(visitor: Visitor, session: Arc<Session>, bytes: Bytes, share: Share) -> Reply {
    session.touch();
    let most = visitor.limits.batch_messages as usize;
    let items = match jsonrpc::split(&bytes, &law(&visitor.limits), Source::Client, most) {
        Ok(items) => items,
        Err(violation) => return answer::message(StatusCode::BAD_REQUEST, &refused(&violation)),
    };
    let (stream, reader) = EventStream::new(
        visitor.limits.stream_buffer_bytes,
        visitor.accepts.events,
        visitor.connection.cut.clone(),
    );
    // One answer for each at most: there is always room.
    let (answered, answers) = mpsc::channel(items.len());
    let batch = Batch { visitor, session, stream, share: Arc::new(share), answered };
    for item in items {
        let told = match item {
            Ok(message) => batch.take(message).await,
            Err(violation) => Some(refused(&violation)),
        };
        if let Some(told) = told {
            // The receiver is held right here.
            let _ = batch.answered.send(told).await;
        }
    }
    let Batch { visitor, stream, answered, .. } = batch;
    drop(answered);
    collected(visitor, stream, reader, answers).await
}

struct Batch {
    visitor: Visitor,
    session: Arc<Session>,
    stream: Arc<EventStream>,
    share: Arc<Share>,
    answered: mpsc::Sender<Message>,
}

impl Batch {
    /// Acts upon one message. Returns its answer if that is known at once.
    async fn take(&self, message: Message) -> Option<Message> {
        let unacceptable = match era::classify(&message, None) {
            Ok(Era::Legacy) => None,
            Ok(Era::Modern { version }) => Some(era::refuse_modern(&message, &version)),
            Err(error) => Some(error),
        };
        match (message.kind(), message.method()) {
            (Kind::Request, _) if unacceptable.is_some() => unacceptable,
            (Kind::Request, Some(methods::INITIALIZE)) => {
                Some(errors::invalid_request(message.id(), "`initialize` must come alone"))
            }
            (Kind::Request, Some(methods::PING)) => {
                Some(Message::response(message.id().unwrap_or(b"null"), b"{}"))
            }
            (Kind::Request, _) => self.call(message).err(),
            (Kind::Notification, Some(methods::CANCELLED)) => {
                self.session.cancel(&message);
                None
            }
            (Kind::Notification, Some(methods::INITIALIZED)) => None,
            (Kind::Notification, _) => {
                super::pass_on(&self.visitor, &self.session, message, self.share.clone()).await;
                None
            }
            (Kind::Result | Kind::Error, _) => {
                self.session.questions.answer(message);
                None
            }
        }
    }

    /// Begins a call. The error is its answer.
    fn call(&self, message: Message) -> Result<(), Message> {
        let Call { standing, ticket, scope, id } =
            Call::begin(&self.visitor, &self.session, &message, &self.stream).map_err(|not| not.answer)?;
        let (answered, share, session) = (self.answered.clone(), self.share.clone(), self.session.clone());
        let over = self.visitor.front.over.clone();
        self.visitor.front.tasks.spawn(async move {
            // A task of its own, so that a panic in it still ends with an answer.
            let calling = tokio::spawn(async move { standing.call(message, scope).await });
            let answering = async { calling.await.unwrap_or_else(|_| Some(errors::internal(Some(&id)))) };
            let answer = drain::answered(answering, &over, session.server(), &id).await;
            session.touch();
            if let Some(answer) = answer.filter(|_| ticket.end()) {
                // A client that left has not cancelled, and gets no answer.
                let _ = answered.send(answer).await;
            }
            drop(share);
        });
        Ok(())
    }
}

/// Waits for all answers, or until something else comes first.
async fn collected(
    visitor: Visitor,
    stream: Arc<EventStream>,
    reader: Reader,
    mut answers: mpsc::Receiver<Message>,
) -> Reply {
    let events = visitor.accepts.events;
    let mut done = Vec::new();
    if visitor.accepts.json {
        let mut patience = std::pin::pin!(tokio::time::sleep(OPEN_STREAM_AFTER));
        loop {
            tokio::select! {
                biased;
                answer = answers.recv() => match answer {
                    Some(answer) => done.push(answer),
                    None if done.is_empty() => return answer::empty(StatusCode::ACCEPTED),
                    None => return answer::json(StatusCode::OK, array(&done)),
                },
                _ = reader.first(), if events => break,
                () = &mut patience, if events => break,
            }
        }
    }
    let body = reader.into_body(std::time::Duration::from_secs(visitor.limits.ping_seconds), None);
    visitor.front.tasks.spawn(async move {
        for answer in done {
            // A reader that is too slow is cut, and one that left wants no answer.
            let _ = stream.send(&answer);
        }
        while let Some(answer) = answers.recv().await {
            let _ = stream.send(&answer);
        }
        stream.end();
    });
    answer::events(body)
}

fn array(answers: &[Message]) -> Bytes {
    let bytes = answers.iter().map(|answer| answer.bytes().len() + 1).sum::<usize>();
    let mut array = BytesMut::with_capacity(bytes + 1);
    for (at, answer) in answers.iter().enumerate() {
        array.put_u8(if at == 0 { b'[' } else { b',' });
        array.put_slice(answer.bytes());
    }
    array.put_u8(b']');
    array.freeze()
}

fn refused(violation: &Violation) -> Message {
    let text = format!("refused: {violation}");
    Message::error(violation.id.as_deref(), violation.code, &text, None)
}
