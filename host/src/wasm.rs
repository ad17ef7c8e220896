//! Running plugins: the only place that mentions wasmtime.
