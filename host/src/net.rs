//! The way out into the network: one set of rules for every connection that Lockgate opens itself.

mod connector;
mod proxy;
pub mod websocket;

pub use connector::{Connector, cause, connector, connector_through};
pub use proxy::Proxies;
