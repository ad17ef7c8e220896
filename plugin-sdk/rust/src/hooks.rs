//! The traits a filter implements: [`Filter`], and one for each hook.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{
    Ask, AskVerdict, Call, Decision, Definitions, Delivery, Exchange, ExchangeVerdict, Failure, Head, Items,
    Notification, Verdict, Visibility,
};

/// A configured filter. Every plugin has one.
pub trait Filter: Sized + 'static {
    /// What the operator writes under `config:`; an empty object if nothing ([`NoConfig`]). Derive `Deserialize` with
    /// `#[serde(deny_unknown_fields)]`, so that a misspelt key is refused with its name.
    type Config: DeserializeOwned;

    /// Digests the configuration, once; calls start from a snapshot of the result.
    ///
    /// Must be deterministic and without side effects: the clock reads 0, random bytes are zero and
    /// host services that act are not available. Refuse with [`Failure::InvalidConfig`] and name the
    /// key.
    fn configure(config: Self::Config) -> Result<Self, Failure>;

    /// Proves that the configured filter works, on an instance made from the snapshot, before it is
    /// put into service.
    fn self_test(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The configuration of a filter that has none: any key is refused.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Who is calling? Asked on the head of every downstream HTTP request, before its body is read.
///
/// The first filter that does not skip decides; if all skip, the answer is 401. Never fails open.
pub trait Authenticate: Filter {
    /// Decides by the head of the request, which still carries the credentials.
    fn authenticate(&self, request: &Head) -> Result<Decision, Failure>;
}

/// What does a server offer? Asked once per server and set of definitions, for nobody in particular:
/// the answer must not depend on who looks, on time or on chance.
pub trait Catalog: Filter {
    /// Renames, reorders and edits definitions in place.
    fn on_definitions(&self, definitions: &Definitions) -> Result<(), Failure>;
}

/// May this principal see, and so call, read, complete and subscribe to, these items?
///
/// The same function answers for lists and for single calls, so what is hidden cannot be called.
/// Never fails open.
pub trait Access: Filter {
    /// One answer per item, in their order. A list of another length is a fault.
    fn decide(&self, items: &Items) -> Result<Vec<Visibility>, Failure>;
}

/// A request on its way up, before the upstream sees it.
pub trait OnRequest: Filter {
    /// Reads, edits ([`Call::params`]), answers, refuses or reroutes.
    fn on_request(&self, call: &Call) -> Result<Verdict, Failure>;
}

/// One outgoing HTTP exchange with a server: the place for its headers and credentials. Not called
/// for servers on stdio.
pub trait OnUpstream: Filter {
    /// Sets headers, or refuses the exchange.
    fn on_upstream(&self, exchange: &Exchange) -> Result<ExchangeVerdict, Failure>;
}

/// A final outcome on its way down: result or error, from the upstream or from a filter after this.
pub trait OnResponse: Filter {
    /// Reads, edits ([`Call::outcome`]), replaces or refuses.
    fn on_response(&self, call: &Call) -> Result<Verdict, Failure>;
}

/// A server asks the user or the model behind the client: elicitation, sampling, roots.
///
/// The question goes down, in reverse order of the chain; its answer goes up. What a filter answers
/// or refuses is seen by the filters that have seen the question.
pub trait OnInput: Filter {
    /// The question, before the client sees it: reads, edits ([`Ask::params`]), answers or refuses.
    fn on_ask(&self, ask: &Ask) -> Result<AskVerdict, Failure>;

    /// Its answer, before the server sees it: reads, edits ([`Ask::answer`]), replaces or refuses.
    fn on_answer(&self, ask: &Ask) -> Result<AskVerdict, Failure> {
        let _ = ask;
        Ok(AskVerdict::Pass)
    }
}

/// Progress, log messages, list and resource changes, in both directions.
///
/// Those of one call come in their order and never after its result. On failure the notification is
/// dropped, unless the filter may fail open.
pub trait OnNotification: Filter {
    /// Reads, edits ([`Notification::params`]) or drops.
    fn on_notification(&self, notification: &Notification) -> Result<Delivery, Failure>;
}
