//! Runs hooks natively, against fake host objects made of JSON.
//!
//! Build what a hook is lent, call the hook, and look at its answer and at what it did:
//!
//! ```
//! use lockgate_plugin::prelude::*;
//! use lockgate_plugin::testing::CallBuilder;
//! use serde_json::json;
//!
//! struct Shout;
//!
//! impl Filter for Shout {
//!     type Config = NoConfig;
//!     fn configure(_: NoConfig) -> Result<Self, Failure> {
//!         Ok(Shout)
//!     }
//! }
//!
//! impl OnRequest for Shout {
//!     fn on_request(&self, call: &Call) -> Result<Verdict, Failure> {
//!         if let Some(text) = call.params().text("/arguments/text")? {
//!             call.params().set_text("/arguments/text", &text.to_uppercase())?;
//!         }
//!         Ok(Verdict::Proceed)
//!     }
//! }
//!
//! let call = CallBuilder::new("tools/call").name("say").arguments(json!({ "text": "hi" })).build();
//! assert_eq!(Shout.on_request(&call), Ok(Verdict::Proceed));
//! assert_eq!(call.params().text("/arguments/text"), Ok(Some("HI".into())));
//! ```
//!
//! The fakes follow the contract: documents are editable in their own phase only, reserved members
//! never, and credentials are hidden. They differ from the host in one thing: texts that they return
//! are encoded anew, so white space and the spelling of numbers are lost.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::{Call, Definitions, Exchange, Failure, Filter, Items};

mod builders;
pub(crate) mod fake;

pub use builders::{
    AskBuilder, CallBuilder, DefinitionsBuilder, ExchangeBuilder, HeadBuilder, ItemsBuilder,
    NotificationBuilder, PrincipalBuilder,
};
pub use fake::log::{Level, Line};

/// Configures a filter as the host does: from JSON text, with the clock at 0 and random bytes zero.
///
/// # Errors
/// The filter's own, and those of a configuration that does not parse.
pub fn configure<F: Filter>(config: impl Into<Value>) -> Result<F, Failure> {
    fake::while_configuring(|| F::configure(crate::config::parse(&config.into().to_string())?))
}

/// What the log got from this thread since last asked.
pub fn take_log() -> Vec<Line> {
    fake::log::take()
}

/// Sets the wall clock of this thread, in milliseconds since 1970.
pub fn set_unix_ms(now: u64) {
    fake::clock::set(now);
}

/// The headers that an exchange would be sent with, names in lower case, secrets in the clear.
pub fn sent_headers(exchange: &Exchange) -> BTreeMap<String, String> {
    exchange.0.sent()
}

/// The names that clients would see, in their order.
pub fn visible_names(definitions: &Definitions) -> Vec<String> {
    definitions.0.visible_names()
}

/// Where a call was sent instead, if the hook rerouted it.
pub fn rerouted(call: &Call) -> Option<String> {
    call.0.rerouted.borrow().clone()
}

/// How often a hook asked the host about these items. Crossings are what lists are made slow by.
pub fn crossings(items: &Items) -> u32 {
    items.0.crossings.get()
}

/// Asserts that a schema file equals the schema of the configuration type; with
/// `LOCKGATE_BLESS=1` in the environment, writes it instead.
///
/// ```ignore
/// lockgate_plugin::testing::assert_config_schema(
///     concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json"),
///     schemars::schema_for!(Config).as_value(),
/// );
/// ```
///
/// # Panics
/// If they differ or the file cannot be read or written.
#[allow(clippy::panic, reason = "an assertion for tests")]
pub fn assert_config_schema(path: impl AsRef<Path>, schema: &Value) {
    let path = path.as_ref();
    if std::env::var_os("LOCKGATE_BLESS").is_some() {
        if let Err(error) = std::fs::write(path, format!("{schema:#}\n")) {
            panic!("cannot write {}: {error}", path.display());
        }
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    let parsed: Option<Value> = serde_json::from_str(&found).ok();
    assert!(
        parsed.as_ref() == Some(schema),
        "{} is not the schema of the configuration type; run the tests with LOCKGATE_BLESS=1 and look at the change",
        path.display()
    );
}
