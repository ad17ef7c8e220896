//! Write filters for [Lockgate](https://github.com/lockgate/lockgate), the programmable MCP proxy.
//!
//! A plugin is a type that implements [`Filter`] and at least one hook, and a line that exports it:
//!
//! ```
//! use lockgate_plugin::prelude::*;
//!
//! /// Refuses calls of the tools it is given.
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Deny {
//!     tools: Vec<String>,
//! }
//!
//! impl Filter for Deny {
//!     type Config = Self;
//!     fn configure(config: Self) -> Result<Self, Failure> {
//!         Ok(config)
//!     }
//! }
//!
//! impl OnRequest for Deny {
//!     fn on_request(&self, call: &Call) -> Result<Verdict, Failure> {
//!         match call.name() {
//!             Some(name) if self.tools.contains(&name) => Ok(Verdict::reject(format!("{name} is switched off"))),
//!             _ => Ok(Verdict::Proceed),
//!         }
//!     }
//! }
//!
//! lockgate_plugin::export!(Deny: OnRequest);
//!
//! // Natively, against fake host objects, hooks are ordinary methods:
//! use lockgate_plugin::testing::CallBuilder;
//! let filter: Deny = lockgate_plugin::testing::configure(serde_json::json!({ "tools": ["rm"] })).unwrap();
//! assert!(filter.on_request(&CallBuilder::new("tools/call").name("rm").build()).unwrap().is_reject());
//! assert!(filter.on_request(&CallBuilder::new("tools/call").name("ls").build()).unwrap().is_proceed());
//! ```
//!
//! `lockgate plugin build` turns the crate (`crate-type = ["cdylib"]`) into `deny.wasm`.
//!
//! # What to know
//!
//! - **`configure` is free.** It runs once per configuration; what it leaves in memory is snapshotted,
//!   and every call starts from that. Compile regexes and build sets there, in the filter's fields.
//! - **Nothing lasts from call to call.** Every call gets a fresh copy of the configured filter. What
//!   must last from one hook to the next of the *same* call goes through [`Call::put_state`].
//! - **Pull only what you need.** The call stays in the host. [`Call::name`] costs well under a
//!   microsecond however large the arguments are; [`Doc`] reads and edits by JSON Pointer.
//! - **A failure is not a refusal.** Return [`Verdict::reject`] to refuse; an `Err` is a fault of the
//!   filter and counts against it.
//! - **`HashMap` is not random here.** On `wasm32-unknown-unknown` the standard library seeds it with
//!   a constant. Use `BTreeMap` for keys that come from callers, and [`random`] for random numbers.

#![cfg_attr(
    not(target_arch = "wasm32"),
    allow(
        clippy::needless_question_mark,
        clippy::useless_conversion,
        reason = "in a plugin these convert from the bindings; the fakes have the SDK's own types"
    )
)]

mod call;
mod config;
mod document;
mod exchange;
mod glob;
mod head;
mod hooks;
mod items;
mod told;
mod verdict;

pub mod clock;
pub mod log;
pub mod random;
pub mod secrets;

#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
mod bindings;
#[cfg(target_arch = "wasm32")]
mod export;

/// The host's side of the contract: its bindings in a plugin, fakes in a native test.
pub(crate) mod raw {
    #[cfg(target_arch = "wasm32")]
    pub(crate) use crate::bindings::lockgate::plugin::{
        clock, context, documents, log, random, secrets, types,
    };
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) use crate::testing::fake::{clock, context, documents, log, random, secrets};
}

pub use call::{Call, Client, Outcome, Principal};
pub use document::{Doc, JsonKind, Value, pointer};
pub use exchange::Exchange;
pub use glob::{Glob, any_matches};
pub use head::{Decision, Head, Identity, Refusal};
pub use hooks::{
    Access, Authenticate, Catalog, Filter, NoConfig, OnInput, OnNotification, OnRequest, OnResponse,
    OnUpstream,
};
pub use items::{Definitions, Items, Kind, Visibility};
pub use told::{Ask, AskVerdict, Delivery, Notification};
pub use verdict::{AccessError, Answer, ExchangeVerdict, Failure, Question, Rejection, Verdict};

/// Exports a filter: `export!(MyFilter: OnRequest, OnResponse)`.
///
/// The list decides which hooks the component exports, and so which the host will call: what is not
/// listed costs nothing. [`Filter`] is always exported and need not be listed.
///
/// After a `;`, what `lockgate plugin inspect` shows without running the plugin:
///
/// ```ignore
/// lockgate_plugin::export! {
///     HeaderInject: OnUpstream;
///     // JSON Schema of the configuration, relative to the plugin's Cargo.toml
///     config_schema: "config.schema.json",
///     // why the plugin wants what it imports, for the operator who grants it
///     reasons: { "secrets": "puts the secrets that the configuration names into headers" },
/// }
/// ```
///
/// [`testing::assert_config_schema`] keeps the schema file equal to the type.
pub use lockgate_plugin_macros::export;

/// The guide's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod guide {}

/// Everything a filter usually needs.
pub mod prelude {
    pub use crate::{
        Access, AccessError, Answer, Ask, AskVerdict, Authenticate, Call, Catalog, Decision, Definitions,
        Delivery, Doc, Exchange, ExchangeVerdict, Failure, Filter, Glob, Head, Identity, Items, Kind,
        NoConfig, Notification, OnInput, OnNotification, OnRequest, OnResponse, OnUpstream, Outcome,
        Principal, Question, Refusal, Rejection, Verdict, Visibility,
    };
}

/// What the expansion of [`export!`] refers to. Not part of the API.
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub mod __private {
    pub use crate::bindings::lockgate::plugin as raw;
    pub use crate::export::*;
    pub use wit_bindgen;
}
