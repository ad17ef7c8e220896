//! What the tests over the built binary share: a running Lockgate, a raw client, built plugins.
//!
//! Nothing in here sleeps: everything waits for a line, a byte or a process, with a limit that is
//! only reached when something is broken.
#![allow(dead_code, reason = "every test binary uses another part of it")]
#![allow(unused_imports, reason = "every test binary uses another part of it")]
#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub mod child;
pub mod client;
pub mod gate;
pub mod http;
pub mod install;
pub mod modern;
pub mod paths;
pub mod peer;
pub mod processes;
pub mod versions;

pub use client::{Answer, Client, Pending};
pub use gate::{Gate, Setup};
pub use http::{Http, Response, post};
pub use modern::Modern;

use std::time::Duration;

/// When a wait for something that must happen is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);
