//! Turning a configured instance into a new component that starts configured.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use wasmtime::Store;
use wasmtime::component::{Instance, Lift, WasmList};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use super::store::{State, Subject, begin};

/// The instance whose globals and memories are read out, through functions that wizer added to it.
struct Readable<'a> {
    store: &'a mut Store<State>,
    instance: Instance,
    /// Wizer's trait has no way to fail: the first error is kept here, and what was made is thrown away.
    failed: Option<wasmtime::Error>,
}

/// Wizer's analysis of a component, and the component with its insides exported.
pub(super) fn instrument(wasm: &[u8]) -> Result<(ComponentContext<'_>, Vec<u8>), String> {
    // It may panic on what it does not know.
    match std::panic::catch_unwind(|| Wizer::new().instrument_component(wasm)) {
        Ok(Ok(instrumented)) => Ok(instrumented),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err("the snapshot tool does not know this kind of component".into()),
    }
}

/// Whether the instance is in a state that a snapshot can hold; else why not.
pub(super) fn obstacle(state: &State) -> Option<String> {
    // It is given no handle of the contract in `configure`, so those of WASI are all there can be.
    if state.wasi.as_ref().is_some_and(|wasi| wasi.holds_handles()) {
        return Some("it holds WASI handles (streams, descriptors) after `configure`".into());
    }
    let (bytes, most) = (state.memory.bytes(), state.memory.most());
    if bytes > most / 2 {
        // Memory that was grown becomes the least that every instance starts with.
        return Some(format!(
            "it uses {} KiB of memory after `configure`, more than half of `limits.memory_mib`",
            bytes >> 10
        ));
    }
    None
}

/// Reads the instance out into a new component.
pub(super) async fn take(
    context: &ComponentContext<'_>,
    store: &mut Store<State>,
    instance: Instance,
) -> Result<Vec<u8>, String> {
    // Time for reading out is bounded by the process that this runs in, and memory by `obstacle`.
    begin(store, Subject::None, true, u32::MAX);
    store.data_mut().memory.lift();
    store.set_hostcall_fuel(usize::MAX >> 1);
    let mut readable = Readable { store, instance, failed: None };
    let wizer = Wizer::new();
    let taken = AssertUnwindSafe(wizer.snapshot_component(context, &mut readable)).catch_unwind().await;
    match (taken, readable.failed) {
        (_, Some(error)) => Err(format!("its state cannot be read: {error:#}")),
        (Ok(Ok(snapshot)), None) => Ok(snapshot),
        (Ok(Err(error)), None) => Err(format!("{error:#}")),
        (Err(_), None) => Err("the snapshot tool does not know this kind of component".into()),
    }
}

impl Readable<'_> {
    async fn read<R: Lift + Send + Sync + 'static>(&mut self, interface: &str, function: &str) -> Option<R> {
        match self.try_read(interface, function).await {
            Ok(read) => Some(read),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    async fn try_read<R: Lift + Send + Sync + 'static>(
        &mut self,
        interface: &str,
        function: &str,
    ) -> wasmtime::Result<R> {
        let missing = || wasmtime::format_err!("`{interface}#{function}` is missing");
        let (_, interface_index) =
            self.instance.get_export(&mut *self.store, None, interface).ok_or_else(missing)?;
        let (_, function_index) = self
            .instance
            .get_export(&mut *self.store, Some(&interface_index), function)
            .ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, function_index)?;
        Ok(function.call_async(&mut *self.store, ()).await?.0)
    }
}

impl ComponentInstanceState for Readable<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        interface: &str,
        function: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.read::<WasmList<u8>>(interface, function).await {
            Some(list) => contents(list.as_le_slice(&*self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, interface: &str, function: &str) -> i32 {
        self.read(interface, function).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, interface: &str, function: &str) -> i64 {
        self.read(interface, function).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, interface: &str, function: &str) -> u32 {
        self.read::<f32>(interface, function).await.unwrap_or_default().to_bits()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, function: &str) -> u64 {
        self.read::<f64>(interface, function).await.unwrap_or_default().to_bits()
    }
}
