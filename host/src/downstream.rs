//! The side of the clients: Streamable HTTP, HTTP+SSE, stdio, and WebSockets that are dialled.
//!
//! A transport ([`http`], [`stdio`]) reads messages, [`era`] says which era one belongs to, that
//! era's adapter ([`legacy`], [`modern`]) turns it into a call, in the legacy era within a [`session`], and [`endpoint`] is what
//! the calls go to. Back to the client it goes through a [`downlink`] and an [`outlet`].

pub mod conversation;
pub mod dial_out;
pub mod downlink;
mod drain;
pub mod endpoint;
pub mod era;
pub mod http;
pub mod in_flight;
pub mod legacy;
pub mod modern;
mod names;
pub mod outlet;
pub mod pipe;
pub mod questions;
pub mod registry;
pub mod replay;
pub mod session;
pub mod sse;
pub mod stdio;
pub mod stream;
pub mod unsolicited;

#[cfg(test)]
mod tests;
