//! Edits, drops, answers and refuses what passes beside calls; the words of a message say which.

use lockgate_plugin::prelude::*;

/// No configuration.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usher {}

impl Filter for Usher {
    type Config = Usher;
    fn configure(config: Usher) -> Result<Usher, Failure> {
        Ok(config)
    }
}

impl OnNotification for Usher {
    fn on_notification(&self, notification: &Notification) -> Result<Delivery, Failure> {
        let params = notification.params();
        match (notification.is_down(), notification.method().as_str()) {
            (true, "notifications/message") => {
                let tool = notification.call().and_then(|call| call.name()).unwrap_or_default();
                params.set_text("/data/set", &format!("edited for {tool}"))?;
            }
            (true, "notifications/progress") => match params.get("/progress")?.as_deref() {
                Some("2") => return Ok(Delivery::Drop),
                Some("3") => params.set_text("/message", "edited")?,
                Some("13") => return Err(Failure::Internal("thirteen".into())),
                _ => {}
            },
            (false, "notifications/roots/list_changed") => return Ok(Delivery::Drop),
            _ => {}
        }
        Ok(Delivery::Pass)
    }
}

impl OnInput for Usher {
    fn on_ask(&self, ask: &Ask) -> Result<AskVerdict, Failure> {
        let params = ask.params();
        match params.text("/message")?.as_deref() {
            Some("answer") => {
                Ok(AskVerdict::Answer(r#"{"action":"accept","content":{"name":"usher"}}"#.into()))
            }
            Some("refuse") => Ok(AskVerdict::refuse("not here")),
            Some("fail") => Err(Failure::Internal("told to".into())),
            Some(_) => {
                params.set_text("/message", "edited").map(|()| AskVerdict::Pass).map_err(Failure::from)
            }
            None if ask.method() == "sampling/createMessage" => {
                params.set_text("/messages/0/content/text", "edited")?;
                Ok(AskVerdict::Pass)
            }
            None => Ok(AskVerdict::Pass),
        }
    }

    fn on_answer(&self, ask: &Ask) -> Result<AskVerdict, Failure> {
        match ask.answer() {
            Some(Outcome::Success(answer)) if ask.method() == "elicitation/create" => {
                answer.set_text("/content/name", "edited")?;
            }
            Some(Outcome::Success(answer)) if ask.method() == "sampling/createMessage" => {
                answer.set_text("/content/text", "edited answer")?;
            }
            Some(Outcome::Success(answer)) if ask.method() == "roots/list" => {
                answer.set_text("/roots/0/uri", "file:///edited")?;
            }
            Some(Outcome::Failure(error)) => error.set_text("/message", "edited")?,
            _ => {}
        }
        Ok(AskVerdict::Pass)
    }
}

lockgate_plugin::export!(Usher: OnNotification, OnInput);
