//! The imports of the contract, generated from its WIT.
#![allow(missing_docs, clippy::all, unsafe_op_in_unsafe_fn, reason = "generated")]

lockgate_plugin_macros::imports!();
