//! Plugins that misbehave, plugins that may not run, and what well-behaved ones get.

mod allocations;
mod budget;
mod configure;
mod hostile;
mod linking;
mod services;
mod support;
mod told;
mod wasi;
