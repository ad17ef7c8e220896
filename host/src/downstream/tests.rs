//! The transports, driven over real sockets and pipes in front of an endpoint of known behaviour.

mod batches;
mod client;
mod expiry;
mod fake;
mod mirrors;
mod modern;
mod patience;
mod pipes;
mod requests;
mod resumption;
mod sessions;
mod sse;
mod streams;
