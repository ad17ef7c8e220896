//! One MCP request on its way up, and its result on its way down; and who calls.

use crate::raw::context as raw;
use crate::{AccessError, Answer, Doc};

/// One MCP request on its way up, and its result on its way down.
///
/// Lent to a hook; handles on it end with the hook.
#[derive(Debug)]
#[repr(transparent)]
pub struct Call(pub(crate) raw::Call);

impl Call {
    /// Lockgate's own identifier of the call, as it stands in logs.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// The MCP method, such as `tools/call`.
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// The configured server that will answer.
    pub fn server(&self) -> String {
        self.0.server()
    }

    /// The tool or prompt name, resource URI, or task id, as the *server* knows it. None for methods
    /// without one.
    pub fn name(&self) -> Option<String> {
        self.0.name()
    }

    /// The same as the *client* knows it: differs where a `catalog` filter renamed.
    pub fn visible_name(&self) -> Option<String> {
        self.0.visible_name()
    }

    /// None if nothing authenticates here.
    pub fn principal(&self) -> Option<Principal> {
        self.0.principal().map(Principal)
    }

    /// The program that calls.
    pub fn client(&self) -> Client {
        Client(self.0.client())
    }

    /// A header of the downstream HTTP request; none on stdio. Credentials are always none.
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }

    /// 0 for the first exchange; counts up with every `input_required` round of the same call.
    pub fn round(&self) -> u32 {
        self.0.round()
    }

    /// What the user said to the questions that this filter asked in the round before, in their order.
    /// Empty if it asked nothing. Only in `request`. What it decides by them, and wants to know in later
    /// rounds, it keeps with [`Call::put_state`].
    pub fn answers(&self) -> Vec<Answer> {
        self.0.answers().iter().map(|answer| Answer::read(answer)).collect()
    }

    /// The definition of the tool, prompt or resource, as the server lists it. None where it is not
    /// listed, and for methods without a name. Only in `request`. A plugin that calls this costs a reading
    /// of the server's list now and then.
    pub fn definition(&self) -> Option<Doc> {
        self.0.definition().map(Doc)
    }

    /// Milliseconds until the call is cut.
    pub fn remaining_ms(&self) -> u64 {
        self.0.remaining_ms()
    }

    /// The request's `params`. Editable in `request`, but for the protocol's own members.
    pub fn params(&self) -> Doc {
        Doc(self.0.params())
    }

    /// None until there is one. Editable in `response`.
    pub fn outcome(&self) -> Option<Outcome> {
        outcome(self.0.outcome()?)
    }

    /// HTTP status of the upstream's answer; none on stdio or before there is one.
    pub fn upstream_status(&self) -> Option<u16> {
        self.0.upstream_status()
    }

    /// A header of the upstream's answer. Credentials are always none.
    pub fn upstream_header(&self, name: &str) -> Option<String> {
        self.0.upstream_header(name)
    }

    /// What this filter stored in an earlier hook of the same call.
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.0.state_get(key)
    }

    /// Stores bytes for later hooks of this filter in the same call. At most 8 KiB in all.
    pub fn put_state(&self, key: &str, value: &[u8]) -> Result<(), AccessError> {
        Ok(self.0.state_put(key, value)?)
    }

    /// Sends the call to another name on the same server instead; only in `request`. `access` is
    /// decided again for the new name.
    pub fn reroute(&self, name: &str) -> Result<(), AccessError> {
        Ok(self.0.reroute(&self.0.server(), name)?)
    }
}

/// What came back. An upstream's error is as visible as its result.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The `result` member.
    Success(Doc),
    /// The `error` member: `code`, `message`, `data`.
    Failure(Doc),
}

impl Outcome {
    /// The document, whichever it is.
    pub fn doc(&self) -> &Doc {
        match self {
            Outcome::Success(doc) | Outcome::Failure(doc) => doc,
        }
    }
}

pub(crate) fn outcome(raw: raw::Outcome) -> Option<Outcome> {
    match raw {
        raw::Outcome::Success(doc) => Some(Outcome::Success(Doc(doc))),
        raw::Outcome::Failure(doc) => Some(Outcome::Failure(Doc(doc))),
        #[cfg(target_arch = "wasm32")]
        raw::Outcome::Extra(_) => None,
    }
}

/// Who calls, as an `authenticate` filter or the configuration established it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Principal(pub(crate) raw::Principal);

impl Principal {
    /// Stable identifier, unique per issuer.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// Who vouches for it: the filter's name, a token issuer, or `config`.
    pub fn issuer(&self) -> String {
        self.0.issuer()
    }

    /// The claim at the pointer, as JSON.
    pub fn claim(&self, at: &str) -> Option<String> {
        self.0.claim(at)
    }

    /// The claim at the pointer if it is a string, unescaped.
    pub fn claim_text(&self, at: &str) -> Option<String> {
        serde_json::from_str(&self.claim(at)?).ok()
    }

    /// All claims, one JSON object.
    pub fn claims(&self) -> String {
        self.0.claims()
    }
}

/// The program that calls.
#[derive(Debug)]
#[repr(transparent)]
pub struct Client(pub(crate) raw::Client);

impl Client {
    /// `clientInfo.name`, if it told.
    pub fn name(&self) -> Option<String> {
        self.0.name()
    }

    /// `clientInfo.version`, if it told.
    pub fn version(&self) -> Option<String> {
        self.0.version()
    }

    /// The MCP revision it speaks, such as `2025-11-25`.
    pub fn protocol_version(&self) -> String {
        self.0.protocol_version()
    }

    /// Its capabilities, one JSON object.
    pub fn capabilities(&self) -> String {
        self.0.capabilities()
    }

    /// How it is connected: `stdio`, `streamable-http`, `sse`, `websocket`.
    pub fn transport(&self) -> String {
        self.0.transport()
    }

    /// The address of the socket peer, if there is one. Never taken from a header.
    pub fn address(&self) -> Option<String> {
        self.0.address()
    }
}
