//! Asks the user before a tool that may destroy something is called.
//!
//! In the 2026-07-28 protocol the question is an `input_required` round, before that an elicitation while
//! the call waits: Lockgate sees to it, and the filter is the same.

use lockgate_plugin::prelude::*;
use lockgate_plugin::{any_matches, log};

mod config;
mod shown;
#[cfg(test)]
mod tests;

use config::Config;

/// Says in later rounds of a call that its user agreed.
const APPROVED: &str = "approved";

struct Approve {
    /// Tools whose calls always need a yes.
    tools: Vec<Glob>,
    /// Tools whose calls never do.
    except: Vec<Glob>,
    /// Whether tools that may destroy something need one.
    destructive: bool,
    message: String,
}

impl Filter for Approve {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Failure> {
        config.digest()
    }
}

impl OnRequest for Approve {
    fn on_request(&self, call: &Call) -> Result<Verdict, Failure> {
        if call.method() != "tools/call" || call.state(APPROVED).is_some() || !self.concerns(call)? {
            return Ok(Verdict::Proceed);
        }
        match call.answers().first() {
            None => Ok(match self.question(call)? {
                Some(question) => Verdict::ask_consent(question),
                None => {
                    log::rule("more arguments than its user could look through");
                    Verdict::reject("this call has more arguments than its user could look through")
                }
            }),
            Some(Answer::Accepted(_)) => {
                call.put_state(APPROVED, b"1")?;
                Ok(Verdict::Proceed)
            }
            Some(Answer::Declined) => {
                log::rule("the user declined");
                Ok(Verdict::reject("the user declined this call"))
            }
            Some(_) => {
                log::rule("the user did not approve");
                Ok(Verdict::reject("the user did not approve this call"))
            }
        }
    }
}

impl Approve {
    fn concerns(&self, call: &Call) -> Result<bool, Failure> {
        let name = call.name().unwrap_or_default();
        if any_matches(&self.except, &name) {
            return Ok(false);
        }
        if let Some(glob) = self.tools.iter().find(|glob| glob.matches(&name)) {
            log::rule(&format!("tools: {}", glob.pattern()));
            return Ok(true);
        }
        let concerns = self.destructive && may_destroy(call)?;
        if concerns {
            log::rule("destructive: the tool does not say that it destroys nothing");
        }
        Ok(concerns)
    }

    /// What the user reads; none if it would not be all that matters.
    fn question(&self, call: &Call) -> Result<Option<String>, Failure> {
        let arguments = call.params().get("/arguments")?.unwrap_or_else(|| "{}".to_owned());
        let Some(shown) = shown::arguments(&arguments) else { return Ok(None) };
        // The arguments last: what stands in them must not be taken for a placeholder.
        let text = self.message.replace("{tool}", &shown::text(&call.visible_name().unwrap_or_default()));
        Ok(Some(text.replace("{server}", &call.server()).replace("{arguments}", &shown)))
    }
}

/// Whether a tool says that it may destroy something, or does not say that it does not (MCP, tool
/// annotations: `destructiveHint` is true by default, and means something only where `readOnlyHint` is not).
fn may_destroy(call: &Call) -> Result<bool, Failure> {
    let Some(definition) = call.definition() else { return Ok(true) };
    let is = |at: &str, value: &str| Ok::<_, Failure>(definition.get(at)?.as_deref() == Some(value));
    Ok(!is("/annotations/readOnlyHint", "true")? && !is("/annotations/destructiveHint", "false")?)
}

lockgate_plugin::export! {
    Approve: OnRequest;
    config_schema: "config.schema.json",
}
