//! Answers of hooks, checked: nothing that a plugin returns is taken on trust.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::bindings::exports::lockgate::plugin as hooks;
use super::bindings::lockgate::plugin::types;
use super::filter::Identity;
use super::host::documents::{Documents, Key};
use super::run::{Answer, Hook, Ran, words};
use super::store::Subject;
use crate::filter::{
    AskEffects, Decision, DefinitionsEdit, Delivery, Effects, ExchangeEffects, Failure, FailureKind, Outcome,
    Principal, Question, Rejection, Verdict, Visibility,
};
use crate::jsonrpc::{Document, JsonKind, Limits, Message, Source};

/// Longest text of a refusal.
const MESSAGE_BYTES: usize = 4 << 10;
/// Most questions that a filter asks the user at once: more than anybody reads.
const QUESTIONS: usize = 8;
/// Longest identifier of a principal.
const ID_BYTES: usize = 256;

fn bad(hook: Hook, what: impl std::fmt::Display) -> Failure {
    Failure { kind: FailureKind::BadOutput, message: format!("{}: {what}", hook.name()) }
}

fn returned(hook: Hook, failure: &types::Failure) -> Failure {
    Failure { kind: FailureKind::Returned, message: format!("{}: {}", hook.name(), words(failure)) }
}

fn mismatch(hook: Hook) -> Failure {
    Failure { kind: FailureKind::Host, message: format!("{}: answered for another hook", hook.name()) }
}

pub(super) fn done(hook: Hook, answer: Answer) -> Result<(), Failure> {
    match answer {
        Answer::Done(result) => result.map_err(|failure| returned(hook, &failure)),
        _ => Err(mismatch(hook)),
    }
}

pub(super) fn decision(ran: Ran, identity: &Identity) -> Result<Decision, Failure> {
    let hook = Hook::Authenticate;
    let (Answer::Decision(answer), Subject::Head { reads, .. }) = (ran.answer, ran.subject) else {
        return Err(mismatch(hook));
    };
    match answer.map_err(|failure| returned(hook, &failure))? {
        hooks::authenticate::Decision::Skip => Ok(Decision::Skip),
        hooks::authenticate::Decision::Accept(accepted) => {
            if accepted.id.is_empty() || accepted.id.len() > ID_BYTES {
                return Err(bad(hook, format_args!("an identity's id is 1 to {ID_BYTES} bytes")));
            }
            if accepted.extra.is_some() {
                return Err(bad(hook, "`extra` of an identity must be none"));
            }
            let claims = object(hook, "claims", accepted.claims, identity)?;
            Ok(Decision::Accept {
                principal: Arc::new(Principal {
                    id: accepted.id,
                    issuer: accepted.issuer.unwrap_or_else(|| identity.name.to_string()),
                    claims,
                    expires_at: accepted.expires_at,
                }),
                keep_seconds: accepted.keep_seconds,
                reads,
            })
        }
        hooks::authenticate::Decision::Refuse(refusal) => {
            if !matches!(refusal.status, 401 | 403 | 429) {
                return Err(bad(
                    hook,
                    format_args!("a refusal has status 401, 403 or 429, not {}", refusal.status),
                ));
            }
            if let Some(challenge) = &refusal.challenge
                && http::HeaderValue::from_str(challenge).is_err()
            {
                return Err(bad(hook, "the challenge holds characters that no header may hold"));
            }
            if refusal.message.len() > MESSAGE_BYTES || refusal.extra.is_some() {
                return Err(bad(hook, format_args!("a refusal's message has at most {MESSAGE_BYTES} bytes")));
            }
            Ok(Decision::Refuse {
                status: refusal.status,
                challenge: refusal.challenge,
                message: refusal.message,
            })
        }
        hooks::authenticate::Decision::Extra(_) => {
            Err(bad(hook, "a decision that this Lockgate does not know"))
        }
    }
}

pub(super) fn definitions(ran: Ran) -> Result<DefinitionsEdit, Failure> {
    let hook = Hook::Catalog;
    let (Answer::Done(answer), Subject::Definitions { view, renamed, order }) = (ran.answer, ran.subject)
    else {
        return Err(mismatch(hook));
    };
    answer.map_err(|failure| returned(hook, &failure))?;
    let mut seen = BTreeSet::new();
    if !renamed.is_empty() {
        for (index, (own, _)) in view.items.iter().enumerate() {
            let name = renamed.get(&index).map_or(&**own, String::as_str);
            if !seen.insert(name) {
                return Err(bad(hook, format_args!("two items would be called `{}`", name.escape_debug())));
            }
        }
    }
    Ok(DefinitionsEdit { edited: ran.documents.edited_definitions(), renamed, order })
}

pub(super) fn visibilities(ran: Ran, expected: usize) -> Result<Vec<Visibility>, Failure> {
    let hook = Hook::Access;
    let Answer::Visibilities(answer) = ran.answer else { return Err(mismatch(hook)) };
    let answer = answer.map_err(|failure| returned(hook, &failure))?;
    if answer.len() != expected {
        return Err(bad(hook, format_args!("{} answers for {expected} items", answer.len())));
    }
    let visibility = |answer| match answer {
        hooks::access::Visibility::Hidden => Visibility::Hidden,
        hooks::access::Visibility::Visible => Visibility::Visible,
    };
    Ok(answer.into_iter().map(visibility).collect())
}

pub(super) fn effects(hook: Hook, ran: Ran, identity: &Identity) -> Result<Effects, Failure> {
    let Ran { answer: Answer::Verdict(answer), subject, mut documents, .. } = ran else {
        return Err(mismatch(hook));
    };
    let Subject::Call { view, state, reroute, .. } = subject else { return Err(mismatch(hook)) };
    let verdict = match answer.map_err(|failure| returned(hook, &failure))? {
        types::Verdict::Proceed => Verdict::Proceed,
        types::Verdict::Respond(result) => {
            within_output(hook, result.len(), identity)?;
            Verdict::Respond(object(hook, "the result", result, identity)?)
        }
        types::Verdict::Reject(rejection) => Verdict::Reject(rejected(hook, rejection, identity)?),
        types::Verdict::Ask(questions) if hook == Hook::Request => {
            Verdict::Ask(self::questions(hook, questions, identity)?)
        }
        types::Verdict::Ask(_) => {
            return Err(bad(hook, "it answered `ask`, which is for `on-request` only"));
        }
        types::Verdict::Extra(_) => return Err(bad(hook, "a verdict that this Lockgate does not know")),
    };
    let mut effects = Effects { state, ..Effects::verdict(verdict) };
    if !matches!(effects.verdict, Verdict::Proceed) {
        // It answered in place of what it edited.
        return Ok(effects);
    }
    effects.reroute = reroute;
    effects.params = edited_params(hook, &mut documents, Key::Params, identity)?;
    if let Some(outcome) = &view.outcome {
        effects.outcome = edited_outcome(hook, &mut documents, Key::Outcome, outcome)?;
    }
    Ok(effects)
}

/// Questions for the user, within their bounds.
fn questions(
    hook: Hook,
    questions: Vec<types::Question>,
    identity: &Identity,
) -> Result<Vec<Question>, Failure> {
    if questions.is_empty() || questions.len() > QUESTIONS {
        let what = format_args!("it asks {} questions; 1 to {QUESTIONS} are asked at once", questions.len());
        return Err(bad(hook, what));
    }
    let question = |types::Question { message, schema }| {
        if message.is_empty() || message.len() > MESSAGE_BYTES {
            let what = format_args!("the message of a question has 1 to {MESSAGE_BYTES} bytes");
            return Err(bad(hook, what));
        }
        within_output(hook, schema.len(), identity)?;
        Ok(Question { message, schema: object(hook, "the schema of a question", schema, identity)? })
    };
    questions.into_iter().map(question).collect()
}

fn edited_params(
    hook: Hook,
    documents: &mut Documents,
    key: Key,
    identity: &Identity,
) -> Result<Option<Bytes>, Failure> {
    let edited = documents.edited(key).map(|document| document.bytes().clone());
    edited.map(|params| lawful_params(hook, &params, identity.json_limits)).transpose()
}

/// Edits were judged one by one, and as a document of its own. The server reads them as part of a
/// message: there names are reserved in every spelling, and nesting begins one level up.
fn lawful_params(hook: Hook, params: &Bytes, limits: Limits) -> Result<Bytes, Failure> {
    let (before, after): (&[u8], &[u8]) = (br#"{"jsonrpc":"2.0","id":0,"method":"-","params":"#, b"}");
    let limits = Limits { bytes: limits.bytes.saturating_add(before.len() + after.len()), ..limits };
    let message = Bytes::from([before, params, after].concat());
    match Message::parse(message, &limits, Source::Client) {
        Ok(_) => Ok(params.clone()),
        Err(violation) => {
            Err(bad(hook, format_args!("its edits leave unacceptable params: {}", violation.what)))
        }
    }
}

fn edited_outcome(
    hook: Hook,
    documents: &mut Documents,
    key: Key,
    was: &Outcome,
) -> Result<Option<Bytes>, Failure> {
    let Some(document) = documents.edited(key) else { return Ok(None) };
    let mut is = |at: &str, kind| document.kind(at).is_ok_and(|found| found == Some(kind));
    if !is("", JsonKind::Object) {
        return Err(bad(hook, "its edits leave an outcome that is not an object"));
    }
    if matches!(was, Outcome::Failure(_))
        && !(is("/code", JsonKind::Number) && is("/message", JsonKind::Text))
    {
        return Err(bad(hook, "its edits leave an error without `code` or `message`"));
    }
    Ok(Some(document.bytes().clone()))
}

pub(super) fn exchange(ran: Ran, identity: &Identity) -> Result<ExchangeEffects, Failure> {
    let hook = Hook::Upstream;
    let (Answer::Exchange(answer), Subject::Exchange { set, remove, .. }) = (ran.answer, ran.subject) else {
        return Err(mismatch(hook));
    };
    match answer.map_err(|failure| returned(hook, &failure))? {
        hooks::upstream::ExchangeVerdict::Proceed => Ok(ExchangeEffects { reject: None, set, remove }),
        hooks::upstream::ExchangeVerdict::Reject(rejection) => Ok(ExchangeEffects {
            reject: Some(rejected(hook, rejection, identity)?),
            ..ExchangeEffects::default()
        }),
        hooks::upstream::ExchangeVerdict::Extra(_) => {
            Err(bad(hook, "a verdict that this Lockgate does not know"))
        }
    }
}

/// What an `input` hook answered: `on-ask` may edit the question, `on-answer` its answer.
pub(super) fn asked(hook: Hook, ran: Ran, identity: &Identity) -> Result<AskEffects, Failure> {
    let Ran { answer: Answer::Ask(answer), subject: Subject::Question(view), mut documents, .. } = ran else {
        return Err(mismatch(hook));
    };
    match answer.map_err(|failure| returned(hook, &failure))? {
        hooks::input::AskVerdict::Pass => match &view.answer {
            None => Ok(AskEffects::Pass(edited_params(hook, &mut documents, Key::Told, identity)?)),
            Some(answer) => Ok(AskEffects::Pass(edited_outcome(hook, &mut documents, Key::Answer, answer)?)),
        },
        hooks::input::AskVerdict::Answer(result) => {
            within_output(hook, result.len(), identity)?;
            Ok(AskEffects::Answer(object(hook, "the answer", result, identity)?))
        }
        hooks::input::AskVerdict::Refuse(rejection) => {
            Ok(AskEffects::Refuse(rejected(hook, rejection, identity)?))
        }
        hooks::input::AskVerdict::Extra(_) => Err(bad(hook, "a verdict that this Lockgate does not know")),
    }
}

pub(super) fn delivery(ran: Ran, identity: &Identity) -> Result<Delivery, Failure> {
    let hook = Hook::Notification;
    let Ran { answer: Answer::Delivery(answer), mut documents, .. } = ran else { return Err(mismatch(hook)) };
    match answer.map_err(|failure| returned(hook, &failure))? {
        hooks::notification::Delivery::Pass => {
            Ok(Delivery::Pass(edited_params(hook, &mut documents, Key::Told, identity)?))
        }
        hooks::notification::Delivery::Drop => Ok(Delivery::Drop),
        hooks::notification::Delivery::Extra(_) => {
            Err(bad(hook, "a delivery that this Lockgate does not know"))
        }
    }
}

fn rejected(hook: Hook, rejection: types::Rejection, identity: &Identity) -> Result<Rejection, Failure> {
    if rejection.message.len() > MESSAGE_BYTES {
        return Err(bad(hook, format_args!("a rejection's message has at most {MESSAGE_BYTES} bytes")));
    }
    let data = match rejection.data {
        None => None,
        Some(data) => {
            within_output(hook, data.len(), identity)?;
            Some(json(hook, "`data` of the rejection", data, identity)?.bytes().clone())
        }
    };
    Ok(Rejection { code: rejection.code, message: rejection.message, data })
}

fn within_output(hook: Hook, bytes: usize, identity: &Identity) -> Result<(), Failure> {
    let most = identity.limits.output_bytes;
    if bytes as u64 <= most {
        return Ok(());
    }
    Err(Failure {
        kind: FailureKind::Limit,
        message: format!("{}: it answered with {bytes} bytes (`limits.output_bytes: {most}`)", hook.name()),
    })
}

fn json(hook: Hook, what: &str, text: String, identity: &Identity) -> Result<Document, Failure> {
    Document::parse(Bytes::from(text), identity.json_limits)
        .map_err(|error| bad(hook, format_args!("{what} is not acceptable: {error}")))
}

fn object(hook: Hook, what: &str, text: String, identity: &Identity) -> Result<Bytes, Failure> {
    let mut document = json(hook, what, text, identity)?;
    match document.kind("") {
        Ok(Some(JsonKind::Object)) => Ok(document.bytes().clone()),
        _ => Err(bad(hook, format_args!("{what} must be a JSON object"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edited_params_are_judged_as_the_part_of_a_message_that_they_are() {
        let limits = Limits { depth: 4, ..Limits::default() };
        let judged = |params: &'static str| {
            lawful_params(Hook::Request, &Bytes::from_static(params.as_bytes()), limits)
                .map_err(|failure| failure.kind)
        };
        for params in [r#"{"name":"t","arguments":{"Name":"x"}}"#, r#"{"a":{"b":[]}}"#, "{}"] {
            assert_eq!(judged(params).as_deref(), Ok(params.as_bytes()));
        }
        // A zero-width space, full-width letters, and one level too many with the message around.
        for params in ["{\"na\u{200b}me\":\"t\"}", "{\"\u{ff4e}ame\":\"t\"}", r#"{"a":{"b":[[]]}}"#] {
            assert_eq!(judged(params), Err(FailureKind::BadOutput), "{params}");
        }
    }
}
