//! Calls, heads and principals in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value as Json;

use super::documents::{Access, Doc};
use crate::AccessError;

mod exchange;
mod lists;
mod told;

pub(crate) use exchange::Exchange;
pub(crate) use lists::{Definitions, Items};
pub(crate) use told::{Ask, Notification};

/// Headers that no filter but an authenticating one sees.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// State that one filter may keep in one call, in bytes.
const STATE_BYTES: usize = 8 * 1024;

/// Names in lower case.
pub(crate) type Headers = BTreeMap<String, String>;

fn visible(headers: &Headers, name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    if CREDENTIALS.contains(&name.as_str()) { None } else { headers.get(&name).cloned() }
}

#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) id: String,
    pub(crate) issuer: String,
    pub(crate) claims: Json,
}

impl Principal {
    pub(crate) fn id(&self) -> String {
        self.id.clone()
    }

    pub(crate) fn issuer(&self) -> String {
        self.issuer.clone()
    }

    pub(crate) fn claim(&self, at: &str) -> Option<String> {
        self.claims.pointer(at).map(Json::to_string)
    }

    pub(crate) fn claims(&self) -> String {
        self.claims.to_string()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) capabilities: Json,
    pub(crate) address: Option<String>,
}

impl Client {
    pub(crate) fn name(&self) -> Option<String> {
        self.name.clone()
    }

    pub(crate) fn version(&self) -> Option<String> {
        self.version.clone()
    }

    pub(crate) fn protocol_version(&self) -> String {
        "2025-11-25".to_owned()
    }

    pub(crate) fn capabilities(&self) -> String {
        self.capabilities.to_string()
    }

    pub(crate) fn transport(&self) -> String {
        "streamable-http".to_owned()
    }

    pub(crate) fn address(&self) -> Option<String> {
        self.address.clone()
    }
}

impl Default for Client {
    fn default() -> Client {
        let capabilities = Json::Object(serde_json::Map::new());
        let address = Some("127.0.0.1:50000".to_owned());
        Client { name: Some("test".to_owned()), version: None, capabilities, address }
    }
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Success(Doc),
    Failure(Doc),
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) server: String,
    pub(crate) name: Option<String>,
    pub(crate) visible_name: Option<String>,
    pub(crate) principal: Option<Principal>,
    pub(crate) headers: Headers,
    pub(crate) round: u32,
    pub(crate) answers: Vec<String>,
    pub(crate) definition: Option<Rc<RefCell<Json>>>,
    pub(crate) params: Rc<RefCell<Json>>,
    /// True if it is a result.
    pub(crate) outcome: Option<(bool, Rc<RefCell<Json>>)>,
    pub(crate) upstream_status: Option<u16>,
    pub(crate) upstream_headers: Headers,
    pub(crate) state: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
    pub(crate) rerouted: Rc<RefCell<Option<String>>>,
    pub(crate) pull_bytes: usize,
}

impl Call {
    pub(crate) fn id(&self) -> String {
        "call-1".to_owned()
    }

    pub(crate) fn method(&self) -> String {
        self.method.clone()
    }

    pub(crate) fn server(&self) -> String {
        self.server.clone()
    }

    pub(crate) fn name(&self) -> Option<String> {
        self.rerouted.borrow().clone().or_else(|| self.name.clone())
    }

    pub(crate) fn visible_name(&self) -> Option<String> {
        self.visible_name.clone().or_else(|| self.name.clone())
    }

    pub(crate) fn principal(&self) -> Option<Principal> {
        self.principal.clone()
    }

    pub(crate) fn client(&self) -> Client {
        Client::default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        visible(&self.headers, name)
    }

    pub(crate) fn round(&self) -> u32 {
        self.round
    }

    pub(crate) fn answers(&self) -> Vec<String> {
        self.answers.clone()
    }

    pub(crate) fn definition(&self) -> Option<Doc> {
        let definition = self.definition.clone()?;
        Some(Doc::new(definition, Access::ReadOnly, self.pull_bytes))
    }

    pub(crate) fn remaining_ms(&self) -> u64 {
        60_000
    }

    pub(crate) fn params(&self) -> Doc {
        let access = if self.outcome.is_none() { Access::Params } else { Access::ReadOnly };
        Doc::new(self.params.clone(), access, self.pull_bytes)
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let (success, root) = self.outcome.as_ref()?;
        let doc = Doc::new(root.clone(), Access::Editable, self.pull_bytes);
        Some(if *success { Outcome::Success(doc) } else { Outcome::Failure(doc) })
    }

    pub(crate) fn upstream_status(&self) -> Option<u16> {
        self.upstream_status
    }

    pub(crate) fn upstream_header(&self, name: &str) -> Option<String> {
        visible(&self.upstream_headers, name)
    }

    pub(crate) fn state_get(&self, key: &str) -> Option<Vec<u8>> {
        self.state.borrow().get(key).cloned()
    }

    pub(crate) fn state_put(&self, key: &str, value: &[u8]) -> Result<(), AccessError> {
        let mut state = self.state.borrow_mut();
        let others: usize =
            state.iter().filter(|(name, _)| *name != key).map(|(k, v)| k.len() + v.len()).sum();
        if others + key.len() + value.len() > STATE_BYTES {
            return Err(AccessError::Limit(format!("at most {STATE_BYTES} bytes of state")));
        }
        state.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    pub(crate) fn reroute(&self, server: &str, name: &str) -> Result<(), AccessError> {
        if server != self.server {
            return Err(AccessError::Denied("a call stays on its server".to_owned()));
        }
        if self.outcome.is_some() {
            return Err(AccessError::Denied("only in `request`".to_owned()));
        }
        self.rerouted.replace(Some(name.to_owned()));
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) server: Option<String>,
    pub(crate) headers: Headers,
}

impl Head {
    pub(crate) fn method(&self) -> String {
        self.method.clone()
    }

    pub(crate) fn path(&self) -> String {
        self.path.clone()
    }

    pub(crate) fn server(&self) -> Option<String> {
        self.server.clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(&name.to_ascii_lowercase()).cloned()
    }

    pub(crate) fn header_names(&self) -> Vec<String> {
        self.headers.keys().cloned().collect()
    }

    pub(crate) fn address(&self) -> Option<String> {
        Client::default().address
    }
}
