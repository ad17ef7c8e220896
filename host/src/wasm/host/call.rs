//! The resource `call`: one MCP request on its way up, and its result on its way down.

use std::time::Instant;

use bytes::Bytes;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::context::{Call, Client, Doc, HostCall, Outcome, Principal};
use super::super::bindings::lockgate::plugin::types::AccessError;
use super::super::store::{State, outcome_bytes};
use super::documents::{Access, Key};
use super::reserved::Reserved;
use super::subject::Subject;
use crate::filter;

/// Most bytes of keys and values that one filter keeps for one call: they travel sealed in
/// `requestState` through the client.
const STATE_BYTES: usize = 8 << 10;
/// Longest name that a call can be sent to.
const NAME_BYTES: usize = 1_024;

impl HostCall for State {
    fn id(&mut self, handle: Resource<Call>) -> wasmtime::Result<String> {
        Ok(self.call_at(handle.rep())?.id.to_string())
    }

    fn method(&mut self, handle: Resource<Call>) -> wasmtime::Result<String> {
        let call = self.call_at(handle.rep())?;
        self.pull(&*call.method)
    }

    fn server(&mut self, handle: Resource<Call>) -> wasmtime::Result<String> {
        let call = self.call_at(handle.rep())?;
        self.pull(&*call.server)
    }

    fn name(&mut self, handle: Resource<Call>) -> wasmtime::Result<Option<String>> {
        let call = self.call_at(handle.rep())?;
        call.name.as_deref().map(|name| self.pull(name)).transpose()
    }

    fn visible_name(&mut self, handle: Resource<Call>) -> wasmtime::Result<Option<String>> {
        let call = self.call_at(handle.rep())?;
        call.visible_name.as_deref().map(|name| self.pull(name)).transpose()
    }

    fn principal(&mut self, handle: Resource<Call>) -> wasmtime::Result<Option<Resource<Principal>>> {
        self.call_at(handle.rep())?;
        Ok(self.principal_of_caller().map(Resource::new_own))
    }

    fn client(&mut self, handle: Resource<Call>) -> wasmtime::Result<Resource<Client>> {
        self.call_at(handle.rep())?;
        Ok(Resource::new_own(self.rep(0)))
    }

    fn header(&mut self, handle: Resource<Call>, name: String) -> wasmtime::Result<Option<String>> {
        let call = self.call_at(handle.rep())?;
        self.header(&call.caller.headers, &name)
    }

    fn round(&mut self, handle: Resource<Call>) -> wasmtime::Result<u32> {
        Ok(self.call_at(handle.rep())?.round)
    }

    fn answers(&mut self, handle: Resource<Call>) -> wasmtime::Result<Vec<String>> {
        let call = self.call_at(handle.rep())?;
        self.pulled(call.answers.iter().map(Bytes::len).sum())?;
        Ok(call.answers.iter().map(|answer| String::from_utf8_lossy(answer).into_owned()).collect())
    }

    fn definition(&mut self, handle: Resource<Call>) -> wasmtime::Result<Option<Resource<Doc>>> {
        let call = self.call_at(handle.rep())?;
        let Some(definition) = &call.definition else { return Ok(None) };
        self.open(Key::Definition(0), definition, Access::Lent("a definition is edited in `catalog`"))
            .map(Some)
    }

    fn remaining_ms(&mut self, handle: Resource<Call>) -> wasmtime::Result<u64> {
        let left = self.call_at(handle.rep())?.deadline.saturating_duration_since(Instant::now());
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn params(&mut self, handle: Resource<Call>) -> wasmtime::Result<Resource<Doc>> {
        let call = self.call_at(handle.rep())?;
        let access = match &self.subject {
            Subject::Call { up: true, .. } => Access::Editable(Reserved::Params),
            _ => Access::Lent("`params` can be edited in `request` only"),
        };
        self.open(Key::Params, &call.params, access)
    }

    fn outcome(&mut self, handle: Resource<Call>) -> wasmtime::Result<Option<Outcome>> {
        let call = self.call_at(handle.rep())?;
        let Some(outcome) = &call.outcome else { return Ok(None) };
        let access = match &self.subject {
            Subject::Call { up: false, .. } => Access::Editable(Reserved::Nothing),
            _ => Access::Lent("the outcome can be edited in `response` only"),
        };
        let document = self.open(Key::Outcome, outcome_bytes(outcome), access)?;
        Ok(Some(match outcome {
            filter::Outcome::Success(_) => Outcome::Success(document),
            filter::Outcome::Failure(_) => Outcome::Failure(document),
        }))
    }

    fn upstream_status(&mut self, handle: Resource<Call>) -> wasmtime::Result<Option<u16>> {
        Ok(self.call_at(handle.rep())?.upstream_status)
    }

    fn upstream_header(&mut self, handle: Resource<Call>, name: String) -> wasmtime::Result<Option<String>> {
        let call = self.call_at(handle.rep())?;
        match &call.upstream_headers {
            Some(headers) => self.header(headers, &name),
            None => Ok(None),
        }
    }

    fn state_get(&mut self, handle: Resource<Call>, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let call = self.call_at(handle.rep())?;
        let stored = match &self.subject {
            Subject::Call { state: Some(state), .. } => state.get(&key),
            _ => call.state.get(&key),
        };
        let stored = stored.map(|bytes| bytes.to_vec());
        self.pulled(stored.as_ref().map_or(0, Vec::len))?;
        Ok(stored)
    }

    fn state_put(
        &mut self,
        handle: Resource<Call>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), AccessError>> {
        let call = self.call_at(handle.rep())?;
        self.output(key.len().saturating_add(value.len()))?;
        let Subject::Call { state, .. } = &mut self.subject else {
            return Ok(Err(AccessError::Denied("`state-put` works in `request` and `response` only".into())));
        };
        let stored = state.as_ref().unwrap_or(&call.state);
        let others: usize =
            stored.iter().filter(|(have, _)| **have != key).map(|(key, value)| key.len() + value.len()).sum();
        let sum = others.saturating_add(key.len()).saturating_add(value.len());
        if sum > STATE_BYTES {
            return Ok(Err(AccessError::Limit(format!(
                "a filter keeps at most {STATE_BYTES} bytes for one call; this would make {sum}"
            ))));
        }
        state.get_or_insert_with(|| (*call.state).clone()).insert(key, Bytes::from(value));
        Ok(Ok(()))
    }

    fn reroute(
        &mut self,
        handle: Resource<Call>,
        server: String,
        name: String,
    ) -> wasmtime::Result<Result<(), AccessError>> {
        let call = self.call_at(handle.rep())?;
        self.output(server.len().saturating_add(name.len()))?;
        let denied = |what: String| Ok(Err(AccessError::Denied(what)));
        let Subject::Call { up: true, reroute, .. } = &mut self.subject else {
            return denied("`reroute` works in `request` only".into());
        };
        if *server != *call.server {
            return denied(format!(
                "the call goes to server `{}`; another one cannot be chosen in this version",
                call.server
            ));
        }
        if call.name.is_none() {
            return denied(format!("`{}` has no name to change", call.method));
        }
        if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
            return denied(format!("a name is 1 to {NAME_BYTES} bytes without control characters"));
        }
        *reroute = Some(name);
        Ok(Ok(()))
    }

    fn drop(&mut self, _: Resource<Call>) -> wasmtime::Result<()> {
        self.tick()
    }
}
