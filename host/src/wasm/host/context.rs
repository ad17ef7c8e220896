//! The interface `context`: who calls.

use bytes::Bytes;
use http::HeaderMap;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::context::{
    Client, ExtraOutcome, Host, HostClient, HostExtraOutcome, HostPrincipal, Principal,
};
use super::super::store::State;
use crate::filter::ItemKind;
use crate::jsonrpc::Document;

use super::super::bindings::lockgate::plugin::types::Kind;

/// Headers that no hook but `authenticate` reads: credentials, and the session id, which is one.
const CREDENTIALS: [&str; 9] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "mcp-session-id",
    "set-cookie",
    "set-cookie2",
    "authentication-info",
    "proxy-authentication-info",
    "proxy-authenticate",
];

impl Host for State {}

impl HostPrincipal for State {
    fn id(&mut self, handle: Resource<Principal>) -> wasmtime::Result<String> {
        let principal = self.principal_at(handle.rep())?;
        self.pull(principal.id.as_str())
    }

    fn issuer(&mut self, handle: Resource<Principal>) -> wasmtime::Result<String> {
        let principal = self.principal_at(handle.rep())?;
        self.pull(principal.issuer.as_str())
    }

    fn claim(&mut self, handle: Resource<Principal>, at: String) -> wasmtime::Result<Option<String>> {
        let principal = self.principal_at(handle.rep())?;
        let found = self.metered(|state| {
            let claims = Document::new(principal.claims.clone(), state.identity.json_limits);
            Ok(claims.metered(state.meter.clone()).get(&at))
        })?;
        let Some(json) = found.ok().flatten() else { return Ok(None) };
        self.pulled(json.len())?;
        Ok(Some(text(&json)))
    }

    fn claims(&mut self, handle: Resource<Principal>) -> wasmtime::Result<String> {
        let principal = self.principal_at(handle.rep())?;
        self.pulled(principal.claims.len())?;
        Ok(text(&principal.claims))
    }

    fn drop(&mut self, _: Resource<Principal>) -> wasmtime::Result<()> {
        self.tick()
    }
}

impl HostClient for State {
    fn name(&mut self, handle: Resource<Client>) -> wasmtime::Result<Option<String>> {
        self.client_told(&handle, "/name")
    }

    fn version(&mut self, handle: Resource<Client>) -> wasmtime::Result<Option<String>> {
        self.client_told(&handle, "/version")
    }

    fn protocol_version(&mut self, handle: Resource<Client>) -> wasmtime::Result<String> {
        let caller = self.caller_at(handle.rep())?;
        self.pull(caller.client.protocol_version.as_str())
    }

    fn capabilities(&mut self, handle: Resource<Client>) -> wasmtime::Result<String> {
        let caller = self.caller_at(handle.rep())?;
        self.pulled(caller.client.capabilities.len())?;
        Ok(text(&caller.client.capabilities))
    }

    fn transport(&mut self, handle: Resource<Client>) -> wasmtime::Result<String> {
        let caller = self.caller_at(handle.rep())?;
        self.pull(caller.client.transport)
    }

    fn address(&mut self, handle: Resource<Client>) -> wasmtime::Result<Option<String>> {
        let caller = self.caller_at(handle.rep())?;
        Ok(caller.client.address.map(|address| address.to_string()))
    }

    fn drop(&mut self, _: Resource<Client>) -> wasmtime::Result<()> {
        self.tick()
    }
}

impl State {
    fn client_told(&mut self, handle: &Resource<Client>, at: &str) -> wasmtime::Result<Option<String>> {
        let caller = self.caller_at(handle.rep())?;
        let Some(info) = &caller.client.info else { return Ok(None) };
        let told = self.metered(|state| {
            let info = Document::new(info.clone(), state.identity.json_limits);
            Ok(info.metered(state.meter.clone()).text(at))
        })?;
        told.ok().flatten().map(|told| self.pull(told)).transpose()
    }

    /// A header as hooks may see it.
    pub(super) fn header(&mut self, headers: &HeaderMap, name: &str) -> wasmtime::Result<Option<String>> {
        let name = name.to_ascii_lowercase();
        // A server gives its credentials out with this one.
        if CREDENTIALS.contains(&name.as_str()) || name == "set-cookie" {
            return Ok(None);
        }
        joined(headers, &name).map(|value| self.pull(value)).transpose()
    }
}

/// All values of a header, joined; none if it is absent, not text, or one is marked sensitive.
pub(super) fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get_all(name).iter().all(|value| !value.is_sensitive()).then(|| joined_all(headers, name))?
}

/// The same, sensitive or not.
pub(super) fn joined_all(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(name) {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        match &mut joined {
            None => joined = Some(value.to_owned()),
            Some(joined) => {
                joined.push_str(", ");
                joined.push_str(value);
            }
        }
    }
    joined
}

/// JSON that passed the law, which includes being UTF-8.
pub(super) fn text(json: &Bytes) -> String {
    String::from_utf8_lossy(json).into_owned()
}

impl From<ItemKind> for Kind {
    fn from(kind: ItemKind) -> Kind {
        match kind {
            ItemKind::Tool => Kind::Tool,
            ItemKind::Prompt => Kind::Prompt,
            ItemKind::Resource => Kind::Resource,
            ItemKind::ResourceTemplate => Kind::ResourceTemplate,
            ItemKind::Task => Kind::Task,
        }
    }
}

impl HostExtraOutcome for State {
    fn drop(&mut self, _: Resource<ExtraOutcome>) -> wasmtime::Result<()> {
        self.tick()
    }
}
