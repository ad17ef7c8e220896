//! Who gets in unasked: the servers that no filter authenticates for.

use std::sync::Arc;

use crate::config::Config;
use crate::filter::placed::Placed;

/// The servers for which none of these filters authenticates: everybody gets in, by their own entrance as
/// by one that merges them with others.
pub fn open_servers<'a>(config: &'a Config, filters: &[Arc<Placed>]) -> Vec<&'a str> {
    let authenticated =
        |name: &str| filters.iter().any(|placed| placed.hooks.authenticate && placed.sees_server(name));
    let served = config.servers.iter().filter(|(_, server)| !server.disabled).map(|(name, _)| name.as_str());
    served.filter(|name| !authenticated(name)).collect()
}
