//! Who asks, as far as it can be told: what shares are counted by.

use std::net::{IpAddr, Ipv6Addr};

use crate::filter::Principal;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requester {
    /// Issuer and id.
    Principal(String, String),
    /// Where nobody authenticates: the socket peer, of IPv6 the /64 (one customer has all of it).
    Address(IpAddr),
    /// A peer on loopback that nobody authenticates: any program of this machine, or a reverse proxy
    /// that stands for everybody. It says nothing about who asks, so there is no share to keep to.
    Local,
}

impl Requester {
    /// Who sends a request. Without a peer (stdio) it is a program of this machine.
    pub fn of(principal: Option<&Principal>, peer: Option<IpAddr>) -> Requester {
        match (principal, peer.map(|peer| peer.to_canonical())) {
            (Some(principal), _) => Requester::Principal(principal.issuer.clone(), principal.id.clone()),
            (None, None) => Requester::Local,
            (None, Some(peer)) if peer.is_loopback() => Requester::Local,
            (None, Some(IpAddr::V6(peer))) => {
                Requester::Address(Ipv6Addr::from_bits(peer.to_bits() & (u128::MAX << 64)).into())
            }
            (None, Some(peer)) => Requester::Address(peer),
        }
    }

    /// Whether it is a principal: one that a filter knows, and that others are told apart from.
    pub fn is_principal(&self) -> bool {
        matches!(self, Requester::Principal(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Requester {
        Requester::of(None, Some(address.parse().expect("an address")))
    }

    #[test]
    fn a_requester_is_its_principal_or_else_its_address() {
        let alice = Principal {
            id: "alice".into(),
            issuer: "i".into(),
            claims: bytes::Bytes::from_static(b"{}"),
            expires_at: None,
        };
        let known = Requester::of(Some(&alice), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(known, Requester::Principal("i".into(), "alice".into()));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        for local in [peer("127.0.0.2"), peer("::1"), peer("::ffff:127.0.0.1"), Requester::of(None, None)] {
            assert_eq!(local, Requester::Local);
        }
    }
}
