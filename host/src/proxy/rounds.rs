//! What a question of the modern era keeps until its client makes the request anew with the answers
//! (2026-07-28, multi round-trip requests): sealed in the `requestState` that goes along.
//!
//! A client can neither read nor make one. It opens for the request that it was given for only: the same
//! principal, server, method and arguments; until it expires; once; and in the process that sealed it, which
//! alone knows what was used and has the chain that the call began with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::link::Link;
use crate::filter::Caller;
use crate::filter::chain::Stored;
use crate::jsonrpc;
use crate::keys::{Purpose, SealError};
use crate::upstream::Owner;

/// Rounds of one call. The SDKs' clients give up after ten.
pub(super) const MOST: u32 = 16;
/// Questions that a server may ask at once; each may pass filters.
pub(super) const QUESTIONS: usize = 64;

/// What one round leaves for the next.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Names this question: it is answered once.
    nonce: u128,
    /// In milliseconds of this process: a step of the system's clock ends no question.
    until: u64,
    /// Of the filters that the call began with.
    pub(super) generation: u64,
    /// The number of the round that brings the answers.
    pub(super) round: u32,
    /// What is called, as the server knows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) target: Option<String>,
    /// The server's own `requestState`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    /// What was asked, as the client saw it, by key: only where filters want to see the answers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(super) asked: BTreeMap<String, Asked>,
    /// Answers that the server has not got yet.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(super) answers: BTreeMap<String, Box<RawValue>>,
    /// What filters stored, in Base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(super) stored: BTreeMap<String, BTreeMap<String, String>>,
    /// The filter that asks, and how many questions, if it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) asking: Option<(String, usize)>,
}

/// One question of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) params: Box<RawValue>,
}

/// Why a `requestState` is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worthless {
    /// Forged, altered, foreign, expired, or used before: nobody is told which.
    Invalid,
    /// As many as `limits.answered_rounds` are remembered.
    Busy,
}

impl Kept {
    /// Nothing yet, for the round with that number.
    pub(super) fn until(round: u32, generation: u64) -> Kept {
        Kept { round, generation, ..Kept::default() }
    }

    /// Seals it for the request that it belongs to.
    pub(super) fn seal(
        mut self,
        link: &Link,
        caller: &Caller,
        method: &str,
        params: &Bytes,
    ) -> Result<String, SealError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        self.nonce = u128::from_le_bytes(nonce);
        let patience = link.gateway.config().limits.parked_seconds.saturating_mul(1_000);
        self.until = link.gateway.spent().now().saturating_add(patience);
        let bytes = serde_json::to_vec(&self).map_err(|_| SealError::Unsealable)?;
        let digest = digest(params).ok_or(SealError::Unsealable)?;
        link.gateway.keys().seal(Purpose::RequestState, &bytes, &context(link, caller, method, &digest))
    }

    /// Opens what [`Kept::seal`] made, once.
    pub(super) fn open(
        text: &str,
        link: &Link,
        caller: &Caller,
        method: &str,
        params: &Bytes,
    ) -> Result<Kept, Worthless> {
        let digest = digest(params).ok_or(Worthless::Invalid)?;
        let keys = link.gateway.keys();
        let opened = keys.open(Purpose::RequestState, text, &context(link, caller, method, &digest));
        let kept: Kept =
            opened.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or(Worthless::Invalid)?;
        let now = link.gateway.spent().now();
        if kept.until < now {
            return Err(Worthless::Invalid);
        }
        let most = link.gateway.config().limits.answered_rounds as usize;
        link.gateway.spent().spend(kept.nonce, kept.until, now, most)?;
        Ok(kept)
    }

    pub(super) fn set_stored(&mut self, stored: Stored) {
        let text = |state: BTreeMap<String, Bytes>| {
            state.into_iter().map(|(key, value)| (key, STANDARD.encode(value))).collect()
        };
        self.stored = stored.into_iter().map(|(filter, state)| (filter, text(state))).collect();
    }

    pub(super) fn take_stored(&mut self) -> Stored {
        // It was sealed here, so that it is Base64 for certain.
        let bytes = |state: BTreeMap<String, String>| {
            state
                .into_iter()
                .filter_map(|(key, text)| Some((key, STANDARD.decode(text).ok()?.into())))
                .collect()
        };
        std::mem::take(&mut self.stored).into_iter().map(|(filter, state)| (filter, bytes(state))).collect()
    }
}

/// The questions that were answered, until they would have expired anyway. Of this process, as the states
/// are: neither a replica nor the process after a restart takes one for unused.
#[derive(Debug)]
pub struct Spent {
    began: Instant,
    until: Mutex<HashMap<u128, u64>>,
}

impl Default for Spent {
    fn default() -> Spent {
        Spent { began: Instant::now(), until: Mutex::default() }
    }
}

impl Spent {
    /// Milliseconds since this process began to ask.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn spend(&self, nonce: u128, until: u64, now: u64, most: usize) -> Result<(), Worthless> {
        let mut spent = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= most {
            spent.retain(|_, until| *until >= now);
        }
        if spent.contains_key(&nonce) {
            return Err(Worthless::Invalid);
        }
        if spent.len() >= most {
            return Err(Worthless::Busy);
        }
        spent.insert(nonce, until);
        Ok(())
    }
}

/// What stays the same from round to round: all but `_meta` and the round's own members, whatever the
/// order that a client writes its members in. Numbers count as they are written: two that a program takes
/// for one are two here. None for what cannot be taken apart: that is no question's.
fn digest(params: &Bytes) -> Option<[u8; 32]> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_slice(params).ok()?;
    for member in ["_meta", "inputResponses", "requestState"] {
        members.remove(member);
    }
    let mut canonical = Vec::with_capacity(params.len());
    canonical_object(&members, &mut canonical)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &canonical);
    digest.as_ref().try_into().ok()
}

fn canonical_object(members: &BTreeMap<String, &RawValue>, out: &mut Vec<u8>) -> Option<()> {
    out.push(b'{');
    for (name, value) in members {
        out.extend_from_slice(&jsonrpc::escape(name));
        out.push(b':');
        canonicalize(value.get(), out)?;
        out.push(b',');
    }
    out.push(b'}');
    Some(())
}

/// Depth is bounded by `limits.message_depth`, which the message passed.
fn canonicalize(raw: &str, out: &mut Vec<u8>) -> Option<()> {
    match raw.as_bytes().first()? {
        b'{' => canonical_object(&serde_json::from_str(raw).ok()?, out)?,
        b'[' => {
            out.push(b'[');
            for item in serde_json::from_str::<Vec<&RawValue>>(raw).ok()? {
                canonicalize(item.get(), out)?;
                out.push(b',');
            }
            out.push(b']');
        }
        b'"' => out.extend_from_slice(&jsonrpc::escape(&jsonrpc::unescape(raw.as_bytes())?)),
        _ => out.extend_from_slice(raw.as_bytes()),
    }
    Some(())
}

/// Whose a question is, and what about.
fn context<'a>(link: &'a Link, caller: &'a Caller, method: &'a str, digest: &'a [u8]) -> [&'a [u8]; 8] {
    let principal = caller.principal.as_ref();
    let session = match &link.owner {
        Owner::Session(id) => id,
        _ => "",
    };
    [
        link.gateway.keys().instance(),
        link.server.as_bytes(),
        &link.identity,
        method.as_bytes(),
        session.as_bytes(),
        principal.map_or(b"", |principal| principal.issuer.as_bytes()),
        principal.map_or(b"", |principal| principal.id.as_bytes()),
        digest,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(params: &'static str) -> [u8; 32] {
        digest(&Bytes::from_static(params.as_bytes())).expect("an object")
    }

    #[test]
    fn the_digest_is_that_of_the_arguments_whatever_their_order() {
        let first = of(r#"{"name":"t","arguments":{"a":1,"b":[1,"x"]},"_meta":{"progressToken":1}}"#);
        let again = of(
            r#"{"arguments":{"b":[1,"x"],"a":1},"name":"t","requestState":"s","inputResponses":{"k":{}}}"#,
        );
        assert_eq!(first, again);
        for other in [
            r#"{"name":"u","arguments":{"a":1,"b":[1,"x"]}}"#,
            r#"{"name":"t","arguments":{"a":2,"b":[1,"x"]}}"#,
            r#"{"name":"t","arguments":{"a":1,"b":["x",1]}}"#,
            r#"{"name":"t","arguments":{"a":1,"b":[1,"x"],"c":null}}"#,
            r#"{"name":"t"}"#,
        ] {
            assert_ne!(first, of(other), "{other}");
        }
        // Numbers that no float holds are numbers of the law all the same.
        for (one, other) in [
            (r#"{"name":"t","arguments":{"x":1e999}}"#, r#"{"name":"u","arguments":{"x":1e999}}"#),
            (r#"{"name":"t","arguments":{"x":1e999}}"#, r#"{"name":"t","arguments":{"x":1e998}}"#),
            (r#"{"x":18446744073709551616}"#, r#"{"x":18446744073709551617}"#),
            (r#"{"x":0.12345678901234567890}"#, r#"{"x":0.12345678901234567891}"#),
        ] {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(120), "]".repeat(120));
        assert!(digest(&Bytes::from(deep)).is_some());
        assert_eq!(digest(&Bytes::from_static(b"[]")), None);
    }

    #[test]
    fn a_question_is_answered_once_and_as_many_are_remembered_as_may_be() {
        let spent = Spent::default();
        assert_eq!(spent.spend(1, 100, 50, 2), Ok(()));
        assert_eq!(spent.spend(1, 100, 50, 2), Err(Worthless::Invalid));
        assert_eq!(spent.spend(2, 60, 50, 2), Ok(()));
        assert_eq!(spent.spend(3, 100, 50, 2), Err(Worthless::Busy), "nobody is forgotten too early");
        assert_eq!(spent.spend(1, 100, 70, 2), Err(Worthless::Invalid), "not even at the limit");
        assert_eq!(spent.spend(3, 100, 70, 2), Ok(()), "what expired makes room");
    }
}
