//! The configuration of `approve`, and what is refused in it.

use lockgate_plugin::{Failure, Glob};
use serde::Deserialize;

use crate::Approve;

/// Which tools need the user's yes. In patterns `*` stands for any characters and `?` for one; names are
/// those that the server gives.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Tools that always need it, as globs.
    tools: Vec<String>,
    /// Tools that never do, as globs. Wins over everything else.
    except: Vec<String>,
    /// Whether tools need it that may destroy something by their annotations. A tool that says nothing
    /// of itself may.
    destructive: bool,
    /// What the user reads. `{tool}`, `{server}` and `{arguments}` stand for those of the call.
    message: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            tools: Vec::new(),
            except: Vec::new(),
            destructive: true,
            message: "May `{tool}` of `{server}` be called with {arguments}?".to_owned(),
        }
    }
}

/// Longest text that the user reads, before the arguments are put in.
const MESSAGE: usize = 1_000;

impl Config {
    pub(crate) fn digest(self) -> Result<Approve, Failure> {
        if self.message.trim().is_empty() || self.message.len() > MESSAGE {
            return Err(Failure::config("message", format!("has 1 to {MESSAGE} bytes")));
        }
        if !self.destructive && self.tools.is_empty() {
            return Err(Failure::config(
                "tools",
                "names nothing, and `destructive` is off: no call would need a yes",
            ));
        }
        let globs = |patterns: Vec<String>| patterns.into_iter().map(Glob::new).collect();
        Ok(Approve {
            tools: globs(self.tools),
            except: globs(self.except),
            destructive: self.destructive,
            message: self.message,
        })
    }
}
