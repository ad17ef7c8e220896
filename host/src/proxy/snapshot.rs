//! One immutable state of configuration, plugins and chains. A call keeps the one it began with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::methods;
use crate::config::Config;
use crate::filter::chain::{Chain, MethodKinds, Placed};
use crate::protocol::methods as protocol;

/// One generation of everything that decides.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    config: Arc<Config>,
    filters: Vec<Arc<Placed>>,
    authenticate: Vec<Arc<Placed>>,
    chains: HashMap<Arc<str>, Arc<Chain>>,
    cut: CancellationToken,
}

impl Snapshot {
    /// Computes the chain of every server.
    pub fn new(generation: u64, config: Arc<Config>, filters: Vec<Arc<Placed>>) -> Snapshot {
        let budget = Duration::from_millis(config.limits.chain_ms.into());
        let methods = method_kinds();
        let chains = config
            .servers
            .iter()
            .filter(|(_, server)| !server.disabled)
            .map(|(name, _)| {
                (Arc::from(name.as_str()), Arc::new(Chain::new(name, &filters, &methods, budget)))
            })
            .collect();
        let authenticate = filters.iter().filter(|f| f.hooks.authenticate).cloned().collect();
        Snapshot { generation, config, filters, authenticate, chains, cut: CancellationToken::new() }
    }

    /// Counts up with every swap, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// All filters, in order.
    pub fn filters(&self) -> &[Arc<Placed>] {
        &self.filters
    }

    /// The filters that authenticate.
    pub fn authenticate(&self) -> &[Arc<Placed>] {
        &self.authenticate
    }

    /// The chain of a server; none if it is not served.
    pub fn chain(&self, server: &str) -> Option<&Arc<Chain>> {
        self.chains.get(server)
    }

    /// Cancelled when this generation has outlived its successor by the drain time: calls that
    /// still run on it end then.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

/// Every method with the kinds it can be about, as chains want it.
pub fn method_kinds() -> Vec<MethodKinds> {
    let told = protocol::NOTIFICATIONS.iter().chain(&protocol::QUESTIONS);
    let requests = methods::TABLE.iter().map(|row| (row.method, methods::kinds_of(row)));
    requests.chain(told.map(|method| (*method, [].as_slice()))).collect()
}
