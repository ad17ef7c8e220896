//! Outgoing exchanges in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::documents::{Access, Doc};
use super::{Call, Principal};
use crate::AccessError;

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) server: String,
    pub(crate) purpose: String,
    pub(crate) call: Option<Call>,
    pub(crate) principal: Option<Principal>,
    pub(crate) message: Option<Json>,
    /// Value, and whether it is a secret.
    pub(crate) headers: RefCell<BTreeMap<String, (String, bool)>>,
    /// Granted secrets and the servers they may go to.
    pub(crate) secrets: BTreeMap<String, (String, Vec<String>)>,
}

impl Exchange {
    pub(crate) fn server(&self) -> String {
        self.server.clone()
    }

    pub(crate) fn purpose(&self) -> String {
        self.purpose.clone()
    }

    pub(crate) fn method(&self) -> String {
        "POST".to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}.example/mcp", self.server)
    }

    pub(crate) fn message(&self) -> Option<Doc> {
        self.message.clone().map(|json| Doc::of(json, Access::ReadOnly))
    }

    pub(crate) fn call(&self) -> Option<Call> {
        self.call.clone()
    }

    pub(crate) fn principal(&self) -> Option<Principal> {
        self.principal.clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let headers = self.headers.borrow();
        headers.get(&name.to_ascii_lowercase()).filter(|(_, secret)| !secret).map(|(value, _)| value.clone())
    }

    pub(crate) fn set_header(&self, name: &str, value: &str) -> Result<(), AccessError> {
        self.store(name, value, false)
    }

    pub(crate) fn remove_header(&self, name: &str) -> Result<(), AccessError> {
        self.headers.borrow_mut().remove(&name.to_ascii_lowercase());
        Ok(())
    }

    pub(crate) fn place(&self, header: &str, secret: &str, format: &str) -> Result<(), AccessError> {
        let denied = |why: &str| AccessError::Denied(format!("secret {secret}: {why}"));
        let (value, servers) = self.secrets.get(secret).ok_or_else(|| denied("not granted"))?;
        if !servers.contains(&self.server) {
            return Err(denied("may not go to this server"));
        }
        if format.matches("{}").count() != 1 {
            return Err(denied("the format needs one `{}`"));
        }
        self.store(header, &format.replace("{}", value), true)
    }

    pub(crate) fn sent(&self) -> BTreeMap<String, String> {
        self.headers.borrow().iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect()
    }

    fn store(&self, name: &str, value: &str, secret: bool) -> Result<(), AccessError> {
        let name = name.to_ascii_lowercase();
        if ["host", "content-length", "content-type", "accept", "last-event-id"].contains(&name.as_str())
            || name.starts_with("mcp-")
        {
            return Err(AccessError::Denied(format!("{name} is written by Lockgate itself")));
        }
        if value.chars().any(char::is_control) {
            return Err(AccessError::Denied(format!("the value of {name} has control characters")));
        }
        self.headers.borrow_mut().insert(name, (value.to_owned(), secret));
        Ok(())
    }
}
