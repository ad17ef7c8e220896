//! The interface `random`: chance from the operating system.

use super::super::bindings::lockgate::plugin::random::Host;
use super::super::bindings::lockgate::plugin::types::AccessError;
use super::super::fault::fault;
use super::super::store::State;
use crate::filter::FailureKind;

/// Most random bytes at once.
const MOST: u32 = 4_096;

impl Host for State {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Result<Vec<u8>, AccessError>> {
        self.tick()?;
        if length > MOST {
            return Ok(Err(AccessError::TooLarge(u64::from(length))));
        }
        let mut bytes = vec![0; length as usize];
        self.draw(&mut bytes)?;
        Ok(Ok(bytes))
    }

    fn number(&mut self) -> wasmtime::Result<u64> {
        self.tick()?;
        let mut bytes = [0; 8];
        self.draw(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl State {
    fn draw(&self, bytes: &mut [u8]) -> wasmtime::Result<()> {
        // What `configure` draws would be the same in every instance made from its snapshot.
        if self.configuring {
            return Ok(());
        }
        getrandom::fill(bytes)
            .map_err(|error| fault(FailureKind::Host, format!("no random bytes from the system: {error}")))
    }
}
