//! The interface `types`: resources that nobody can make yet, and errors on their way to the guest.

use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::types::{
    AccessError, ExtraAccessError, ExtraFailure, ExtraRejection, ExtraVerdict, Host, HostExtraAccessError,
    HostExtraFailure, HostExtraRejection, HostExtraVerdict,
};
use super::super::store::State;
use crate::jsonrpc::EditError;

impl Host for State {}

impl HostExtraFailure for State {
    fn drop(&mut self, _: Resource<ExtraFailure>) -> wasmtime::Result<()> {
        self.tick()
    }
}

impl HostExtraAccessError for State {
    fn drop(&mut self, _: Resource<ExtraAccessError>) -> wasmtime::Result<()> {
        self.tick()
    }
}

impl HostExtraRejection for State {
    fn drop(&mut self, _: Resource<ExtraRejection>) -> wasmtime::Result<()> {
        self.tick()
    }
}

impl HostExtraVerdict for State {
    fn drop(&mut self, _: Resource<ExtraVerdict>) -> wasmtime::Result<()> {
        self.tick()
    }
}

impl From<EditError> for AccessError {
    fn from(error: EditError) -> AccessError {
        match error {
            EditError::InvalidPointer(what) => AccessError::InvalidPointer(what),
            EditError::InvalidJson(what) => AccessError::InvalidJson(what),
            EditError::WrongKind(what) => AccessError::WrongKind(what),
            EditError::Limit(what) => AccessError::Limit(what),
            EditError::TooLarge(bytes) => AccessError::TooLarge(bytes as u64),
            // Whoever set the time ends the hook for this; the text is for nobody.
            EditError::OutOfTime => AccessError::Limit(error.to_string()),
        }
    }
}
