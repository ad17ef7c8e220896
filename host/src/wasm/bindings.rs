//! The Rust face of the contract in `wit/`, generated; the WIT files carry the documentation.

#![allow(missing_docs, dead_code, clippy::all, clippy::restriction)]

wasmtime::component::bindgen!({
    path: "../wit/v0.1",
    world: "plugin",
    // Any host function may end the hook: a limit is used up, or a handle is stale.
    imports: { default: trappable },
    // Hooks run on fibers, so that the epoch callback can yield to the executor.
    exports: { default: async },
});
