//! Sealing what leaves this process and must come back as it was: session ids, event ids, cursors.
//!
//! A sealed text can be read and made by holders of the keys only. It says nothing about what is in
//! it, cannot be altered, and opens for one purpose and one context (whose it is, where it belongs).
//! The keys are those of `keys:` in the configuration, shared by all replicas: the first seals, all
//! of them open, so a new key goes in front and the old one stays until what it sealed is forgotten.
//!
//! Made with `ring`, which TLS brings along already: HKDF-SHA-256 (RFC 5869) derives a secret per
//! key and purpose, and from it and a random salt a key for every single text; ChaCha20-Poly1305
//! (RFC 8439) seals with it. A key per text, because replicas that share a secret cannot count nonces
//! together, and random ones of 96 bits run out after 2^32 texts; ChaCha20, because it has no key
//! schedule to pay for every time and takes constant time on any processor.

mod state;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{aead, hkdf};

use crate::config::Key;

pub use state::{StateError, kept};

/// Before everything that is sealed, so that how it is done can change. Also in the derivation.
const VERSION: u8 = 1;
const SALT: usize = 16;
const TAG: usize = 16;

/// What a text is sealed for. One that was sealed for another purpose does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Names a session to its client.
    SessionId,
    /// Names an event of a stream.
    EventId,
    /// Leads to the next page of a list.
    Cursor,
    /// Keeps what a question was about until it is answered.
    RequestState,
}

/// The keys that seal and open.
pub struct Keys {
    secrets: Vec<Secrets>,
    instance: [u8; 8],
}

/// What one key is for each purpose.
struct Secrets([hkdf::Prk; PURPOSES.len()]);

/// Why something was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More bytes than the purpose allows.
    #[error("{bytes} bytes are too many to seal; at most {most}")]
    TooLarge {
        /// How many there were.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// Not what can be sealed.
    #[error("it is not what can be sealed")]
    Unsealable,
    /// The system has no randomness to give.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

const PURPOSES: [Purpose; 4] = [Purpose::SessionId, Purpose::EventId, Purpose::Cursor, Purpose::RequestState];

impl Purpose {
    /// Goes into the derivation: a purpose keeps its name for as long as there are keys.
    const fn name(self) -> &'static [u8] {
        match self {
            Purpose::SessionId => b"session-id",
            Purpose::EventId => b"event-id",
            Purpose::Cursor => b"cursor",
            Purpose::RequestState => b"request-state",
        }
    }

    /// Most bytes that are sealed for it. What is longer does not open, whatever it is: nothing of
    /// it is decoded or decrypted.
    pub const fn most_bytes(self) -> usize {
        match self {
            // Of our own making, and short.
            Purpose::SessionId | Purpose::EventId => 64,
            // A server's words: some keep a query in it, but a request must still fit its bounds.
            Purpose::Cursor => 8 << 10,
            // A server's state, questions that filters want to see again, and what filters stored. The
            // client sends all of it back, within its own bound on messages.
            Purpose::RequestState => 256 << 10,
        }
    }

    const fn index(self) -> usize {
        match self {
            Purpose::SessionId => 0,
            Purpose::EventId => 1,
            Purpose::Cursor => 2,
            Purpose::RequestState => 3,
        }
    }
}

impl Keys {
    /// Those keys; the first seals. Without any, a random one that lasts as long as this process.
    pub fn new(keys: &[Key]) -> Keys {
        let mut instance = [0; 8];
        // Without randomness nothing is sealed, so that nothing names this process either.
        let _ = getrandom::fill(&mut instance);
        if !keys.is_empty() {
            let secrets = keys.iter().map(|key| Secrets::derive(key.bytes())).collect();
            return Keys { secrets, instance };
        }
        let mut random = [0; 32];
        let drawn = getrandom::fill(&mut random).is_ok();
        Keys { secrets: drawn.then(|| Secrets::derive(&random)).into_iter().collect(), instance }
    }

    /// Names this process among all that share its keys.
    pub fn instance(&self) -> &[u8] {
        &self.instance
    }

    /// Seals bytes: visible ASCII that may stand in a URL or a header. It opens with the same
    /// purpose and context only.
    ///
    /// # Errors
    /// Too many bytes, or no randomness.
    pub fn seal(&self, purpose: Purpose, bytes: &[u8], context: &[&[u8]]) -> Result<String, SealError> {
        let most = purpose.most_bytes();
        if bytes.len() > most {
            return Err(SealError::TooLarge { bytes: bytes.len(), most });
        }
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(|_| SealError::NoRandomness)?;
        let secrets = self.secrets.first().ok_or(SealError::NoRandomness)?;
        let key = secrets.key(purpose, &salt).ok_or(SealError::NoRandomness)?;
        let mut sealed = Vec::with_capacity(1 + SALT + bytes.len() + TAG);
        sealed.push(VERSION);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(bytes);
        let (_, plain) = sealed.split_at_mut(1 + SALT);
        let tag = key
            .seal_in_place_separate_tag(nonce(), aead::Aad::from(associated(context)), plain)
            .map_err(|_| SealError::TooLarge { bytes: bytes.len(), most })?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Keys::seal`] made. None for everything else, without a word why: whoever forges
    /// learns nothing.
    pub fn open(&self, purpose: Purpose, text: &str, context: &[&[u8]]) -> Option<Vec<u8>> {
        let most = (1 + SALT + purpose.most_bytes() + TAG) * 4 / 3 + 3;
        if text.len() > most {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = sealed.split_first()?;
        let (salt, closed) = rest.split_at_checked(SALT)?;
        if *version != VERSION || closed.len() < TAG {
            return None;
        }
        let associated = associated(context);
        self.secrets.iter().find_map(|secrets| {
            let mut opened = closed.to_vec();
            let key = secrets.key(purpose, salt)?;
            let length = key
                .open_in_place(nonce(), aead::Aad::from(&associated), &mut opened)
                .map(|plain| plain.len())
                .ok()?;
            opened.truncate(length);
            Some(opened)
        })
    }
}

impl Secrets {
    fn derive(key: &[u8]) -> Secrets {
        let master = hkdf::Salt::new(hkdf::HKDF_SHA256, b"lockgate keys 1").extract(key);
        Secrets(PURPOSES.map(|purpose| {
            let info = [purpose.name()];
            match master.expand(&info, hkdf::HKDF_SHA256) {
                Ok(secret) => secret.into(),
                // Only more output than HKDF has is refused, and this is one block of it. Were it
                // ever otherwise, the purposes would still not share a secret.
                Err(_) => hkdf::Salt::new(hkdf::HKDF_SHA256, purpose.name()).extract(key),
            }
        }))
    }

    /// The key of one text.
    fn key(&self, purpose: Purpose, salt: &[u8]) -> Option<aead::LessSafeKey> {
        let info = [&[VERSION][..], salt];
        let key = self.0.get(purpose.index())?.expand(&info, &aead::CHACHA20_POLY1305).ok()?;
        Some(aead::LessSafeKey::new(key.into()))
    }
}

/// Every key seals once.
fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

/// The parts of a context, so that no two contexts are the same bytes.
fn associated(context: &[&[u8]]) -> Vec<u8> {
    let mut associated = Vec::new();
    for part in context {
        associated.extend_from_slice(&(part.len() as u64).to_le_bytes());
        associated.extend_from_slice(part);
    }
    associated
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(texts: &[&str]) -> Keys {
        Keys::new(&texts.iter().map(|text| Key::from(format!("{text:-<32}"))).collect::<Vec<_>>())
    }

    #[test]
    fn what_was_sealed_opens_for_its_purpose_and_context_only() {
        let keys = keys(&["a"]);
        let sealed = keys.seal(Purpose::Cursor, b"page 2", &[b"notes", b"alice"]).unwrap();
        assert_eq!(keys.open(Purpose::Cursor, &sealed, &[b"notes", b"alice"]).unwrap(), b"page 2");
        assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        for context in [&[b"notes".as_slice(), b"bob"][..], &[b"notesalice"], &[b"note", b"salice"], &[]] {
            assert_eq!(keys.open(Purpose::Cursor, &sealed, context), None, "{context:?}");
        }
        assert_eq!(keys.open(Purpose::EventId, &sealed, &[b"notes", b"alice"]), None);
        let again = keys.seal(Purpose::Cursor, b"page 2", &[b"notes", b"alice"]).unwrap();
        assert_ne!(sealed, again, "equal cursors do not look equal");
    }

    #[test]
    fn every_altered_byte_and_every_cut_is_noticed() {
        let keys = keys(&["a"]);
        let sealed = keys.seal(Purpose::EventId, b"17", &[]).unwrap();
        for at in 0..sealed.len() {
            let mut other = sealed.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(keys.open(Purpose::EventId, std::str::from_utf8(&other).unwrap(), &[]), None, "{at}");
            assert_eq!(keys.open(Purpose::EventId, &sealed[..at], &[]), None, "cut at {at}");
        }
        assert_eq!(keys.open(Purpose::EventId, &format!("{sealed}A"), &[]), None);
        assert_eq!(keys.open(Purpose::EventId, &format!("{sealed}="), &[]), None);
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, both, new) = (keys(&["old"]), keys(&["new", "old"]), keys(&["new"]));
        let by_old = old.seal(Purpose::Cursor, b"x", &[]).unwrap();
        let by_both = both.seal(Purpose::Cursor, b"x", &[]).unwrap();
        assert!(both.open(Purpose::Cursor, &by_old, &[]).is_some(), "what the old key sealed opens");
        assert!(new.open(Purpose::Cursor, &by_both, &[]).is_some(), "the first one sealed");
        assert_eq!(old.open(Purpose::Cursor, &by_both, &[]), None);
        assert_eq!(new.open(Purpose::Cursor, &by_old, &[]), None, "a key that is gone opens nothing");
        let random = Keys::new(&[]);
        let sealed = random.seal(Purpose::Cursor, b"x", &[]).unwrap();
        assert!(random.open(Purpose::Cursor, &sealed, &[]).is_some());
        assert_eq!(Keys::new(&[]).open(Purpose::Cursor, &sealed, &[]), None);
    }

    #[test]
    fn sizes_are_bounded_both_ways() {
        let keys = keys(&["a"]);
        for purpose in PURPOSES {
            let most = purpose.most_bytes();
            let sealed = keys.seal(purpose, &vec![7; most], &[]).unwrap();
            assert_eq!(keys.open(purpose, &sealed, &[]).unwrap().len(), most);
            let error = keys.seal(purpose, &vec![7; most + 1], &[]).unwrap_err();
            assert_eq!(error, SealError::TooLarge { bytes: most + 1, most });
            assert_eq!(keys.open(purpose, &"A".repeat(1 << 20), &[]), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_opened_nothing_breaks(text in ".{0,200}", ascii in "[A-Za-z0-9_-]{0,200}") {
            let keys = keys(&["a"]);
            prop_assert_eq!(keys.open(Purpose::EventId, &text, &[]), None);
            prop_assert_eq!(keys.open(Purpose::EventId, &ascii, &[]), None);
        }
    }
}
