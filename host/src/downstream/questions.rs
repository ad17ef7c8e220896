//! What servers ask a client: questions under ids of this session's own, and their answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::outlet::lock;
use crate::jsonrpc::Message;

/// Most questions of one session that may be open. More than a user could answer; each holds one
/// request of a server.
const OPEN: usize = 64;
const PREFIX: &str = "lg-";

/// The open questions of one session.
#[derive(Default)]
pub struct Questions {
    last: AtomicU64,
    open: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
    unmatched: AtomicU64,
}

/// One open question. Dropping it forgets it.
pub struct Question {
    questions: Arc<Questions>,
    number: u64,
    answer: oneshot::Receiver<Message>,
}

impl Questions {
    /// A further question; none if too many are open.
    pub fn pose(self: &Arc<Self>) -> Option<Question> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        let mut open = lock(&self.open);
        if open.len() >= OPEN {
            return None;
        }
        open.insert(number, sender);
        Some(Question { questions: self.clone(), number, answer })
    }

    /// Takes a client's answer. One that answers nothing open is counted and dropped.
    pub fn answer(&self, answer: Message) -> bool {
        let asker = answer.id().and_then(number_of).and_then(|number| lock(&self.open).remove(&number));
        let matched = asker.is_some_and(|asker| asker.send(answer).is_ok());
        if !matched {
            let unmatched = self.unmatched.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(unmatched, "a client answered what was not asked (any more)");
        }
        matched
    }

    /// Answers that matched nothing so far.
    pub fn unmatched(&self) -> u64 {
        self.unmatched.load(Ordering::Relaxed)
    }
}

impl Question {
    /// Its id on the wire, as raw JSON.
    pub fn id(&self) -> String {
        format!("\"{PREFIX}{}\"", self.number)
    }

    /// Waits for the answer. None cannot happen while the question is held, but costs nothing to say.
    pub async fn answered(&mut self) -> Option<Message> {
        (&mut self.answer).await.ok()
    }

    /// Whether no answer has arrived.
    pub fn is_open(&self) -> bool {
        lock(&self.questions.open).contains_key(&self.number)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        lock(&self.questions.open).remove(&self.number);
    }
}

/// The number of a question by its raw id, however the client escapes the text.
fn number_of(id: &[u8]) -> Option<u64> {
    let text: String = serde_json::from_slice(id).ok()?;
    let number = text.strip_prefix(PREFIX)?;
    // `+7` and `07` parse as well, but were never asked.
    number.parse().ok().filter(|parsed: &u64| parsed.to_string() == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_as_they_were_minted_have_a_number() {
        assert_eq!(number_of(br#""lg-7""#), Some(7));
        assert_eq!(number_of(br#""\u006cg-7""#), Some(7));
        for other in [r#"7"#, r#""7""#, r#""lg-07""#, r#""lg-+7""#, r#""lg-""#, r#""LG-7""#, "null"] {
            assert_eq!(number_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_dropped_question_makes_room_and_takes_no_answer() {
        let questions = Arc::new(Questions::default());
        let mut held: Vec<_> = (0..OPEN).map(|_| questions.pose().expect("room")).collect();
        assert!(questions.pose().is_none());
        let dropped = held.pop().map(|question| question.id()).expect("one");
        assert!(questions.pose().is_some());
        assert!(!questions.answer(Message::response(dropped.as_bytes(), b"{}")));
        assert_eq!(questions.unmatched(), 1);
    }
}
