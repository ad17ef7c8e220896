//! One call of a legacy client: from its request, as the server's era says it, to the answer that the
//! client knows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::handshake::Client;
use super::results::{self, Definitions};
use super::told::Told;
use super::{rounds, tasks};
use crate::protocol::rounds::result_type;
use crate::upstream::{Connection, Reply, UpstreamCall, UpstreamError};

/// How calls of one client are made at its server.
pub(super) struct Way {
    pub(super) server: Arc<str>,
    pub(super) client: Client,
    pub(super) connection: Arc<dyn Connection>,
    /// Whether the server has tasks. Then it is told that the client knows them.
    pub(super) has_tasks: bool,
    /// Whether the client may have its own calls as tasks.
    pub(super) lists_tasks: bool,
    pub(super) definitions: Definitions,
}

/// How long a call may take: every exchange of it as long as the first was given, a user for each
/// question, and all of it together until the end.
pub(super) struct Time {
    began: Instant,
    each: Duration,
    hard: Instant,
    pub(super) question: Duration,
}

impl Way {
    /// Makes a call, whatever rounds and tasks the server makes of it.
    pub(super) async fn call(
        &self,
        mut call: UpstreamCall,
        question: Duration,
    ) -> Result<Reply, UpstreamError> {
        let method = call.message.method().unwrap_or_default().to_owned();
        if call.definition.is_none() && method == "tools/call" {
            call.definition = self.definitions.of(&call.message);
        }
        let time = Time::of(&call, question);
        let told = Arc::new(Told::new(Arc::clone(&call.downlink)));
        let mut reply = rounds::run(self, &call, &time, &told).await?;
        if self.has_tasks && method == "tools/call" && result_type(&reply.message).as_deref() == Some("task")
        {
            reply = tasks::drive(self, &call, &time, &told, reply).await?;
        }
        let over_http = self.connection.wants_definitions();
        if method == "tools/list" && over_http {
            self.definitions.note(&reply.message, call.message.param("cursor").is_none());
        }
        let mut message = results::translated(&self.server, &method, reply.message, over_http);
        if method == "tools/list" && self.lists_tasks {
            message = results::with_task_support(message);
        }
        Ok(Reply { message, head: reply.head })
    }
}

impl Time {
    fn of(call: &UpstreamCall, question: Duration) -> Time {
        let began = Instant::now();
        Time {
            began,
            each: Instant::from_std(call.deadline).saturating_duration_since(began),
            hard: Instant::from_std(call.hard_deadline),
            question,
        }
    }

    /// Until when an exchange that begins now may take.
    pub(super) fn deadline(&self) -> std::time::Instant {
        (Instant::now() + self.each).min(self.hard).into_std()
    }

    /// Waits for the end of all of it.
    pub(super) async fn over(&self) {
        tokio::time::sleep_until(self.hard).await;
    }

    /// Seconds since it began.
    pub(super) fn spent(&self) -> u64 {
        self.began.elapsed().as_secs()
    }
}
