//! What time does: silence, age, and questions that nobody answers. Time is paused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use super::client::{INITIALIZE, call};
use super::fake::{Events, Fake, Shared, sampling};
use crate::config::{Config, Limits};
use crate::downstream::endpoint::Endpoint;
use crate::downstream::http::law;
use crate::downstream::outlet::Outlet;
use crate::downstream::registry::Sessions;
use crate::downstream::session::{Applicant, Session};
use crate::downstream::stream::{EventStream, First};
use crate::jsonrpc::{Kind, Message, Source};
use crate::proxy::Downlink;

fn message(text: &str) -> Message {
    let law = law(&Limits::default());
    Message::parse(text.to_owned().into(), &law, Source::Client).expect("an acceptable message")
}

struct Books {
    endpoint: Arc<dyn Endpoint>,
    sessions: Arc<Sessions>,
    shared: Arc<Shared>,
    events: Events,
    limits: Limits,
}

impl Books {
    fn new(configure: impl FnOnce(&mut Config)) -> Books {
        let (fake, shared, events) = Fake::new(false, configure);
        let limits = fake.config().limits;
        let endpoint: Arc<dyn Endpoint> = Arc::new(fake);
        let sessions = Arc::new(Sessions::default());
        tokio::spawn(sessions.clone().reap(endpoint.clone(), CancellationToken::new()));
        Books { endpoint, sessions, shared, events, limits }
    }

    async fn open(&self) -> Arc<Session> {
        let applicant = Applicant {
            server: "a".into(),
            transport: "streamable-http",
            principal: None,
            address: Some(SocketAddr::from(([127, 0, 0, 1], 9))),
            headers: Arc::default(),
        };
        let room = self.sessions.room(None, &self.limits).expect("room");
        let opened = Session::open(&*self.endpoint, &message(INITIALIZE), applicant).await;
        let (session, _) = opened.unwrap_or_else(|_| panic!("it opens"));
        assert!(room.fill(session.clone()));
        session
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_ends_and_one_that_shows_signs_does_not() {
    let books = Books::new(|_| {});
    let (silent, alive) = (books.open().await, books.open().await);
    for _ in 0..31 {
        alive.touch();
        seconds(60).await;
    }
    assert!(silent.over().is_cancelled() && !alive.over().is_cancelled());
    assert_eq!(books.sessions.count(), 1);
    books.events.next().await;
    books.events.until("closed").await;
}

#[tokio::test(start_paused = true)]
async fn three_thousand_abandoned_sessions_leave_nothing() {
    let books = Books::new(|config| {
        config.limits.sessions = 3_000;
        config.limits.session_idle_seconds = 30;
    });
    for _ in 0..3_000 {
        books.open().await;
    }
    assert_eq!(books.sessions.count(), 3_000);
    assert!(books.sessions.room(None, &books.limits).is_none(), "full");
    seconds(60).await;
    assert_eq!(books.sessions.count(), 0);
    assert!(books.sessions.room(None, &books.limits).is_some());
}

#[tokio::test(start_paused = true)]
async fn no_session_outlives_its_age() {
    let books = Books::new(|config| config.limits.session_seconds = 600);
    let session = books.open().await;
    for _ in 0..13 {
        session.touch();
        seconds(60).await;
    }
    assert!(session.over().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_call_in_flight_is_not_idle() {
    let books = Books::new(|_| {});
    let session = books.open().await;
    let ticket = session.begin(b"1", 1).unwrap_or_else(|_| panic!("it begins"));
    seconds(3600).await;
    assert!(!session.over().is_cancelled());
    drop(ticket);
    seconds(60).await;
    assert!(session.over().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_open_stream_is_no_sign_of_life_but_an_answered_ping_is() {
    let books = Books::new(|_| {});
    let (answering, mute) = (books.open().await, books.open().await);
    let mut readers = Vec::new();
    for session in [&answering, &mute] {
        let (stream, reader) = EventStream::new(1 << 20, true, CancellationToken::new());
        session.unsolicited.attach(stream, Duration::ZERO).expect("the first");
        readers.push(reader);
    }
    let (mut body, session) = (readers.remove(0).into_body(Duration::from_secs(20), None), answering.clone());
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let text = String::from_utf8(frame.into_data().expect("data").to_vec()).expect("UTF-8");
            if let Some(id) = text.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()) {
                assert!(text.contains("\"ping\""), "{text}");
                session.touch();
                session.questions.answer(Message::response(id.as_bytes(), b"{}"));
            }
        }
    });
    seconds(2 * 3600).await;
    assert!(!answering.over().is_cancelled());
    assert!(mute.over().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_ends_in_time_and_is_withdrawn() {
    let books = Books::new(|config| config.limits.call_seconds = 7);
    let session = books.open().await;
    let downlink: Arc<dyn Downlink> = books.shared.session(0);
    let before = tokio::time::Instant::now();
    let unheard = downlink.ask(sampling()).await;
    assert_eq!(unheard.kind(), Kind::Error, "nobody listens");
    let (stream, reader) = EventStream::new(1 << 20, true, CancellationToken::new());
    session.unsolicited.attach(stream.clone(), Duration::ZERO).expect("the first");
    let unanswered = downlink.ask(sampling()).await;
    assert!(String::from_utf8_lossy(unanswered.bytes()).contains("within 7 s"));
    assert!(before.elapsed() <= Duration::from_secs(15));
    stream.end();
    let text = reader.into_body(Duration::from_secs(20), None).collect().await.expect("whole").to_bytes();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("sampling/createMessage") && text.contains("notifications/cancelled"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_voids_its_questions() {
    let books = Books::new(|_| {});
    let session = books.open().await;
    let downlink = books.shared.session(0);
    let asking = tokio::spawn(async move { downlink.ask(sampling()).await });
    tokio::task::yield_now().await;
    books.sessions.end(&session);
    assert_eq!(asking.await.expect("no panic").kind(), Kind::Error);
}

#[tokio::test(start_paused = true)]
async fn silence_on_a_stream_is_broken_by_comments() {
    let (stream, reader) = EventStream::new(1 << 20, true, CancellationToken::new());
    let mut body = reader.into_body(Duration::from_secs(20), None);
    let before = tokio::time::Instant::now();
    for n in 1..=3 {
        let frame = body.frame().await.expect("a frame").expect("no cut").into_data().expect("data");
        assert!(frame.starts_with(b":") && frame.ends_with(b"\n\n"));
        let waited = before.elapsed();
        assert!(waited >= Duration::from_secs(15 * n) && waited <= Duration::from_secs(20 * n), "{waited:?}");
    }
    stream.end();
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_principal_expires() {
    let (stream, reader) = EventStream::new(1 << 20, true, CancellationToken::new());
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut body = reader.into_body(Duration::from_secs(300), Some(until));
    assert!(body.frame().await.is_none());
    assert!(tokio::time::Instant::now() >= until);
    drop(body);
    assert!(!stream.is_open());
}

#[tokio::test]
async fn a_stream_holds_its_limit_and_any_one_message() {
    let cut = CancellationToken::new();
    let (stream, reader) = EventStream::new(100, true, cut.clone());
    let large = message(&call("1", &"x".repeat(500)));
    stream.send(&large).expect("one may always wait");
    assert!(matches!(reader.first().await, First::Event));
    assert!(stream.send(&message(&call("2", "x"))).is_err());
    assert!(cut.is_cancelled() && !stream.is_open());
    assert!(matches!(reader.first().await, First::Cut));
    assert!(!stream.finish(None), "nobody reads it");
}
