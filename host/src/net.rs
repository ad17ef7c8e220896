//! The way out into the network: one set of rules for every connection that Lockgate opens itself.

mod connection;
mod connector;
mod proxy;
pub mod websocket;

pub use connection::Sent;
pub use connector::{Connector, cause, connector, connector_through, is_refused};
pub use proxy::Proxies;
