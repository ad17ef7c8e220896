//! What clients hold of ours and show again: session ids and event ids, sealed.

use std::sync::Arc;

use super::endpoint::Endpoint;
use super::registry::Owner;
use crate::keys::{Keys, Purpose};

/// A new session's id: visible ASCII, unguessable. It says, to holders of the keys, which process
/// owns the session, and belongs to one server and one owner. None if the system has no randomness.
pub fn session_id(keys: &Keys, server: &str, owner: &Owner) -> Option<Arc<str>> {
    let sealed = keys.seal(Purpose::SessionId, keys.instance(), &session_context(server, owner));
    sealed.ok().map(Arc::from)
}

/// The process that made this session id, for that server and owner; none if none that has our
/// keys did. A session that is found needs no such look: this tells what was ours from what is made up.
pub fn instance_of(keys: &Keys, id: &str, server: &str, owner: &Owner) -> Option<Vec<u8>> {
    keys.open(Purpose::SessionId, id, &session_context(server, owner))
}

/// The ids of the events of one stream of a session.
pub struct EventIds {
    endpoint: Arc<dyn Endpoint>,
    session: Arc<str>,
    stream: u32,
}

impl EventIds {
    /// Of that stream of the session with that id.
    pub fn new(endpoint: Arc<dyn Endpoint>, session: Arc<str>, stream: u32) -> EventIds {
        EventIds { endpoint, session, stream }
    }

    /// The id of one event. None if the system has no randomness.
    pub fn id(&self, number: u64) -> Option<String> {
        let mut bytes = self.stream.to_le_bytes().to_vec();
        bytes.extend_from_slice(&number.to_le_bytes());
        self.endpoint.keys().seal(Purpose::EventId, &bytes, &[self.session.as_bytes()]).ok()
    }
}

/// Stream and number of the event with this id, if it is one of this session's.
pub fn event_of(keys: &Keys, session: &str, id: &str) -> Option<(u32, u64)> {
    let bytes = keys.open(Purpose::EventId, id, &[session.as_bytes()])?;
    let (stream, number) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*stream), u64::from_le_bytes(number.try_into().ok()?)))
}

fn session_context<'a>(server: &'a str, owner: &'a Owner) -> [&'a [u8]; 3] {
    let (issuer, id) = owner.as_ref().map_or(("", ""), |(issuer, id)| (issuer, id));
    [server.as_bytes(), issuer.as_bytes(), id.as_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_names_its_process_and_belongs_to_one_server_and_owner() {
        let keys = Keys::new(&[]);
        let alice = Some(("test".to_owned(), "alice".to_owned()));
        let id = session_id(&keys, "a", &alice).unwrap();
        assert!(id.len() <= 64 && id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{id}");
        assert_eq!(instance_of(&keys, &id, "a", &alice).unwrap(), keys.instance());
        assert_ne!(Keys::new(&[]).instance(), keys.instance());
        let bob = Some(("test".to_owned(), "bob".to_owned()));
        assert_eq!(instance_of(&keys, &id, "b", &alice), None);
        assert_eq!(instance_of(&keys, &id, "a", &bob), None);
        assert_eq!(instance_of(&keys, &id, "a", &None), None);
        assert_ne!(session_id(&keys, "a", &alice).unwrap(), id);
    }
}
