//! Answers of one `authenticate` filter that may be used again: for the same credentials, for a while.
//!
//! A filter that verifies a signature takes milliseconds for each request; it says with `keep-seconds` for how
//! long its answer holds. What is kept belongs to one version of one filter and ends with it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::hmac;
use tokio::time::Instant;

use super::{Decision, HeadReads, RequestHead};
use crate::protocol::headers::{CREDENTIALS, SESSION_ID};

/// Nothing is kept longer than this, whatever a filter says: a key that its owner revoked elsewhere, where the
/// filter cannot see it, must not work for ever.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A keyed hash: who reads the memory of the process finds no credentials in here.
type Digest = [u8; 32];

/// Bounded; what is oldest gives way.
pub struct IdentityCache {
    /// Most answers that are kept. 0: none.
    most: usize,
    /// None if the system has no randomness: then nothing is kept.
    key: Option<hmac::Key>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    answers: HashMap<Digest, Answer>,
    /// Digests in the order in which they came, with the number of the answer that they stand for.
    order: VecDeque<(Digest, u64)>,
    number: u64,
}

struct Answer {
    number: u64,
    until: Instant,
    /// Unix seconds.
    expires_at: Option<u64>,
    /// Of all that the filter looked at.
    seen: Digest,
    reads: HeadReads,
    decision: Decision,
}

impl IdentityCache {
    /// Keeps `most` answers.
    pub fn new(most: u32) -> IdentityCache {
        let mut secret = [0; 32];
        let key = getrandom::fill(&mut secret).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &secret));
        IdentityCache { most: most as usize, key, kept: Mutex::default() }
    }

    /// The answer for a request like this one, if it still holds.
    pub fn find(&self, head: &RequestHead) -> Option<Decision> {
        if self.most == 0 {
            return None;
        }
        let credentials = self.credentials(head)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = kept.answers.get(&credentials)?;
        let holds = answer.until > Instant::now()
            && answer.expires_at.is_none_or(|at| at > unix_seconds())
            && self.seen(head, &answer.reads) == Some(answer.seen);
        holds.then(|| answer.decision.clone())
    }

    /// Keeps what the filter decided, if it wants that.
    pub fn keep(&self, head: &RequestHead, decision: &Decision) {
        let Decision::Accept { principal, keep_seconds, reads } = decision else { return };
        if self.most == 0 || *keep_seconds == 0 {
            return;
        }
        let (Some(credentials), Some(seen)) = (self.credentials(head), self.seen(head, reads)) else {
            return;
        };
        let until = Instant::now() + Duration::from_secs(u64::from(*keep_seconds)).min(LONGEST);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.number += 1;
        let number = kept.number;
        let answer = Answer {
            number,
            until,
            expires_at: principal.expires_at,
            seen,
            reads: reads.clone(),
            decision: decision.clone(),
        };
        kept.answers.insert(credentials, answer);
        kept.order.push_back((credentials, number));
        kept.make_room(self.most);
    }

    /// Of the credentials that requests are known to carry, and of where the request goes.
    fn credentials(&self, head: &RequestHead) -> Option<Digest> {
        let mut hash = self.hash()?;
        part(&mut hash, head.server.as_deref().map(str::as_bytes));
        // Session ids are Lockgate's own, and checked after this: they would only tell the sessions of one
        // client apart.
        for name in CREDENTIALS.into_iter().filter(|name| *name != SESSION_ID) {
            values(&mut hash, head, name);
        }
        digest(hash)
    }

    /// Of all that the filter looked at, whatever it took for a credential.
    fn seen(&self, head: &RequestHead, reads: &HeadReads) -> Option<Digest> {
        let mut hash = self.hash()?;
        for name in &reads.headers {
            values(&mut hash, head, name);
        }
        if reads.header_names {
            head.headers.keys().for_each(|name| part(&mut hash, Some(name.as_str().as_bytes())));
        }
        part(&mut hash, reads.method.then_some(head.method.as_bytes()));
        part(&mut hash, reads.path.then_some(head.path.as_bytes()));
        let address = head.address.filter(|_| reads.address).map(|address| address.to_string());
        part(&mut hash, address.as_deref().map(str::as_bytes));
        digest(hash)
    }

    fn hash(&self) -> Option<hmac::Context> {
        self.key.as_ref().map(hmac::Context::with_key)
    }
}

impl Kept {
    /// The oldest answers go; so does the order's memory of those that were replaced.
    fn make_room(&mut self, most: usize) {
        while self.answers.len() > most || self.order.len() > most.saturating_mul(2) {
            let Some((digest, number)) = self.order.pop_front() else { return };
            if self.answers.get(&digest).is_some_and(|answer| answer.number == number) {
                self.answers.remove(&digest);
            }
        }
    }
}

fn values(hash: &mut hmac::Context, head: &RequestHead, name: &str) {
    part(hash, Some(name.as_bytes()));
    for value in head.headers.get_all(name) {
        part(hash, Some(value.as_bytes()));
    }
    part(hash, None);
}

/// With its length in front, so that no two lists of parts are the same bytes.
fn part(hash: &mut hmac::Context, part: Option<&[u8]>) {
    let length = part.map_or(u64::MAX, |part| part.len() as u64);
    hash.update(&length.to_le_bytes());
    hash.update(part.unwrap_or_default());
}

fn digest(hash: hmac::Context) -> Option<Digest> {
    hash.sign().as_ref().try_into().ok()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::filter::Principal;

    fn head(headers: &[(&'static str, &'static str)]) -> RequestHead {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_static(value));
        }
        RequestHead {
            method: "POST".into(),
            path: "/mcp".into(),
            server: Some("s".into()),
            headers: map,
            address: Some(([10, 0, 0, 1], 1).into()),
        }
    }

    fn accept(keep_seconds: u32, expires_at: Option<u64>, headers: &[&str]) -> Decision {
        let headers = headers.iter().map(|name| (*name).to_owned()).collect();
        let principal = Principal {
            id: "ada".into(),
            issuer: "keys".into(),
            claims: bytes::Bytes::from_static(b"{}"),
            expires_at,
        };
        Decision::Accept {
            principal: Arc::new(principal),
            keep_seconds,
            reads: HeadReads { headers, ..HeadReads::default() },
        }
    }

    const ADA: &[(&str, &str)] = &[("authorization", "Bearer ada")];

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_for_its_time_and_never_longer_than_an_hour() {
        let cache = IdentityCache::new(10);
        for (seconds, holds) in [(30, 30), (100_000, 3_600)] {
            cache.keep(&head(ADA), &accept(seconds, None, &["authorization"]));
            tokio::time::advance(Duration::from_secs(holds - 1)).await;
            assert!(cache.find(&head(ADA)).is_some(), "{seconds}");
            tokio::time::advance(Duration::from_secs(2)).await;
            assert!(cache.find(&head(ADA)).is_none(), "{seconds}");
        }
    }

    #[test]
    fn what_is_not_to_be_kept_or_has_expired_is_not_found() {
        let cache = IdentityCache::new(10);
        cache.keep(&head(ADA), &accept(0, None, &[]));
        cache.keep(&head(ADA), &Decision::Skip);
        assert!(cache.find(&head(ADA)).is_none());
        cache.keep(&head(ADA), &accept(60, Some(unix_seconds() - 1), &[]));
        assert!(cache.find(&head(ADA)).is_none());
        cache.keep(&head(ADA), &accept(60, Some(unix_seconds() + 60), &[]));
        assert!(cache.find(&head(ADA)).is_some());
        let none = IdentityCache::new(0);
        none.keep(&head(ADA), &accept(60, None, &[]));
        assert!(none.find(&head(ADA)).is_none());
    }

    #[test]
    fn whatever_the_filter_looked_at_must_be_the_same_absent_headers_included() {
        let cache = IdentityCache::new(10);
        cache.keep(&head(ADA), &accept(60, None, &["authorization", "x-tenant"]));
        assert!(
            cache.find(&head(&[ADA, &[("accept", "*/*")]].concat())).is_some(),
            "it did not look at that"
        );
        for other in [
            vec![("authorization", "Bearer bob")],
            vec![],
            vec![("authorization", "Bearer ada"), ("authorization", "Bearer bob")],
            vec![("authorization", "Bearer ada"), ("x-tenant", "other")],
            vec![("authorization", "Bearer ada"), ("cookie", "user=bob")],
        ] {
            assert!(cache.find(&head(&other)).is_none(), "{other:?}");
        }
        let elsewhere = RequestHead { server: Some("t".into()), ..head(ADA) };
        assert!(cache.find(&elsewhere).is_none(), "another server");

        let address = HeadReads { address: true, path: true, method: true, ..HeadReads::default() };
        let Decision::Accept { principal, keep_seconds, .. } = accept(60, None, &[]) else { unreachable!() };
        cache.keep(&head(ADA), &Decision::Accept { principal, keep_seconds, reads: address });
        assert!(cache.find(&head(ADA)).is_some());
        for other in [
            RequestHead { address: Some(([10, 0, 0, 2], 1).into()), ..head(ADA) },
            RequestHead { path: "/other".into(), ..head(ADA) },
            RequestHead { method: "GET".into(), ..head(ADA) },
        ] {
            assert!(cache.find(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn the_oldest_answers_give_way() {
        let cache = IdentityCache::new(2);
        let heads: Vec<_> = ["a", "b", "c"].iter().map(|key| head(&[("authorization", *key)])).collect();
        for _ in 0..100 {
            cache.keep(&heads[0], &accept(60, None, &[]));
        }
        for head in &heads {
            cache.keep(head, &accept(60, None, &[]));
        }
        let found: Vec<_> = heads.iter().map(|head| cache.find(head).is_some()).collect();
        assert_eq!(found, [false, true, true]);
        let kept = cache.kept.lock().unwrap();
        assert!(kept.answers.len() == 2 && kept.order.len() <= 4, "{}", kept.order.len());
    }
}
