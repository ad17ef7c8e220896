//! Lockgate, a programmable proxy for the Model Context Protocol.

pub mod bridge;
pub mod cli;
pub mod config;
pub mod downstream;
pub mod filter;
pub mod gateway;
pub mod jsonrpc;
pub mod keys;
pub mod memory;
pub mod net;
pub mod plugin;
pub mod protocol;
pub mod proxy;
pub mod requester;
pub mod upstream;
pub mod wasm;
