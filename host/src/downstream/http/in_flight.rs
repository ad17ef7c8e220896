//! The bytes of messages in flight: of all clients together, and of each of them. A request counts from
//! its first byte to its answer, and the answer until its client has read it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::config::Limits;
use crate::downstream::outlet::lock;
use crate::requester::Requester;

/// A request is in memory as it came, and once more as it is sent on, under another id.
const COPIES: usize = 2;

/// All of them.
#[derive(Debug, Default)]
pub struct InFlight(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Nothing is kept of who has nothing in flight.
    by: HashMap<Requester, usize>,
}

/// A share of them, given back when dropped.
#[derive(Debug)]
pub struct Share {
    counts: Arc<Mutex<Counts>>,
    requester: Requester,
    bytes: usize,
}

impl InFlight {
    /// A share of nothing yet.
    pub fn share(&self, requester: Requester) -> Share {
        Share { counts: self.0.clone(), requester, bytes: 0 }
    }
}

impl Share {
    /// Takes room for more bytes of a request. Nothing is taken where that is too much.
    ///
    /// # Errors
    /// The configuration key of the limit that is reached.
    pub fn grow(&mut self, bytes: usize, limits: &Limits) -> Result<(), &'static str> {
        let more = bytes.saturating_mul(COPIES);
        let mut counts = lock(&self.counts);
        let own = counts.by.get(&self.requester).copied().unwrap_or_default();
        // A peer on loopback may stand for everybody, and has no share to keep to.
        let bounded = self.requester != Requester::Local;
        if bounded && own.saturating_add(more) > limits.in_flight_bytes_per_principal {
            return Err("limits.in_flight_bytes_per_principal");
        }
        if counts.all.saturating_add(more) > limits.in_flight_bytes {
            return Err("limits.in_flight_bytes");
        }
        counts.add(&self.requester, more);
        self.bytes += more;
        Ok(())
    }

    /// The request was answered: what counts from now on is the answer, until its client has read it. It
    /// is there already, so it is never refused; while it waits, its client's next request may be.
    pub fn answered(&mut self, answer: usize) {
        let mut counts = lock(&self.counts);
        counts.remove(&self.requester, self.bytes);
        counts.add(&self.requester, answer);
        self.bytes = answer;
    }

    /// Bytes that count as long as anybody holds them.
    pub fn with(self, bytes: Bytes) -> Bytes {
        struct Counted {
            bytes: Bytes,
            _share: Share,
        }
        impl AsRef<[u8]> for Counted {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        Bytes::from_owner(Counted { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.counts).remove(&self.requester, self.bytes);
    }
}

impl Counts {
    fn add(&mut self, requester: &Requester, bytes: usize) {
        if bytes > 0 {
            self.all = self.all.saturating_add(bytes);
            let own = self.by.entry(requester.clone()).or_default();
            *own = own.saturating_add(bytes);
        }
    }

    fn remove(&mut self, requester: &Requester, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
        if let Some(own) = self.by.get_mut(requester) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.by.remove(requester);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { in_flight_bytes: 200, in_flight_bytes_per_principal: 120, ..Limits::default() }
    }

    fn principal(id: &str) -> Requester {
        Requester::Principal("i".into(), id.into())
    }

    #[test]
    fn every_principal_has_a_share_and_all_is_given_back() {
        let (in_flight, limits) = (InFlight::default(), limits());
        let (mut hers, mut more) = (in_flight.share(principal("ada")), in_flight.share(principal("ada")));
        assert!(hers.grow(50, &limits).is_ok());
        assert_eq!(more.grow(11, &limits), Err("limits.in_flight_bytes_per_principal"));
        assert!(more.grow(10, &limits).is_ok());
        let mut his = in_flight.share(principal("bob"));
        assert_eq!(his.grow(41, &limits), Err("limits.in_flight_bytes"));
        assert!(his.grow(40, &limits).is_ok());
        assert_eq!(his.grow(usize::MAX, &limits), Err("limits.in_flight_bytes_per_principal"), "no overflow");
        drop(hers);
        let mut local = in_flight.share(Requester::Local);
        assert!(local.grow(50, &limits).is_ok());
        drop((more, his, local));
        let counts = lock(&in_flight.0);
        assert_eq!((counts.all, counts.by.len()), (0, 0));
    }

    #[test]
    fn an_answer_counts_until_it_was_read() {
        let (in_flight, limits) = (InFlight::default(), limits());
        let mut share = in_flight.share(principal("ada"));
        share.grow(10, &limits).unwrap();
        share.answered(1_000);
        let written = share.with(Bytes::from_static(b"answer"));
        let part = written.slice(1..3);
        drop(written);
        let mut next = in_flight.share(principal("ada"));
        assert!(next.grow(1, &limits).is_err(), "some of it is not read yet");
        drop(part);
        assert!(next.grow(1, &limits).is_ok());
    }
}
