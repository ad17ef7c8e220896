//! Misbehaves in the way its configuration names, in calls of one tool; behaves in all others.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    unconditional_recursion,
    reason = "misbehaving is what it is for"
)]

use lockgate_plugin::prelude::*;

/// Ways to misbehave.
#[derive(Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Never returns.
    Loop,
    /// Takes memory until there is none.
    Memory,
    /// Calls itself until the stack ends.
    Recurse,
    /// Panics.
    Trap,
    /// Sets far more than it may.
    Output,
    /// Answers `access` with one item too few.
    Length,
    /// Calls the host for ever.
    HostCalls,
    /// Logs for ever, within its other limits.
    Log,
    /// Returns an error.
    Fail,
    /// Sets something that is no JSON and insists.
    BadJson,
    /// Answers with what is no result.
    BadAnswer,
    /// Edits, and then traps.
    EditThenTrap,
}

/// What to do, and in calls of which tool.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hostile {
    how: How,
    tool: String,
}

impl Filter for Hostile {
    type Config = Hostile;
    fn configure(config: Hostile) -> Result<Hostile, Failure> {
        Ok(config)
    }
}

impl Access for Hostile {
    fn decide(&self, items: &Items) -> Result<Vec<Visibility>, Failure> {
        let names = items.names();
        let short = self.how == How::Length && names.contains(&self.tool);
        Ok(vec![Visibility::Visible; names.len() - usize::from(short)])
    }
}

impl OnRequest for Hostile {
    fn on_request(&self, call: &Call) -> Result<Verdict, Failure> {
        if call.name().as_deref() != Some(&self.tool) {
            return Ok(Verdict::Proceed);
        }
        match self.how {
            How::Length => {}
            How::Loop => loop {
                core::hint::black_box(self);
            },
            How::Memory => {
                let mut kept = Vec::new();
                loop {
                    kept.push(core::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            How::Recurse => drop(core::hint::black_box(recurse(0))),
            How::Trap => panic!("on purpose"),
            How::Output => {
                let much = "x".repeat(1 << 20);
                for _ in 0..64 {
                    call.params().set_text("/arguments/much", &much)?;
                }
            }
            How::HostCalls => loop {
                core::hint::black_box(call.round());
            },
            How::Log => {
                let line = "noise ".repeat(100);
                for _ in 0..1000 {
                    lockgate_plugin::log::info(&line);
                }
            }
            How::Fail => return Err(Failure::Internal("on purpose".into())),
            How::BadJson => call.params().set("/arguments/bad", "{\"a\":1,\"a\":2}")?,
            How::BadAnswer => return Ok(Verdict::Respond("{\"content\":[}".into())),
            How::EditThenTrap => {
                call.params().set_text("/arguments/edited", "yes")?;
                panic!("after an edit");
            }
        }
        Ok(Verdict::Proceed)
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    recurse(depth + 1) + frame[7]
}

lockgate_plugin::export!(Hostile: Access, OnRequest);
