//! Removes or replaces what must not leave: by JSON Pointer and by pattern, in results and errors; by
//! pattern also in what servers tell and ask meanwhile.
//!
//! MCP servers repeat structured content as JSON in a text block. Whatever is redacted in the one is
//! redacted in the other.

use lockgate_plugin::any_matches;
use lockgate_plugin::prelude::*;

mod config;
mod path;
#[cfg(test)]
mod tests;
mod text;

use config::Config;
use path::Path;
use text::Pattern;

struct Redact {
    /// Tool, prompt and resource names; every call if empty.
    names: Vec<Glob>,
    /// What to replace or remove in results.
    in_results: Vec<Target>,
    /// The same in errors.
    in_errors: Vec<Target>,
    patterns: Vec<Pattern>,
    /// Stands for what a pointer names, as JSON.
    replacement: String,
}

struct Target {
    path: Path,
    /// The rest of the path below the structured content, which its copy in text has as well.
    in_copy: Option<Path>,
    remove: bool,
}

impl Filter for Redact {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Failure> {
        config.digest()
    }
}

impl OnResponse for Redact {
    fn on_response(&self, call: &Call) -> Result<Verdict, Failure> {
        if !self.is_meant(call) {
            return Ok(Verdict::Proceed);
        }
        let Some(outcome) = call.outcome() else { return Ok(Verdict::Proceed) };
        let (doc, targets) = match &outcome {
            Outcome::Failure(doc) => (doc, &self.in_errors),
            other => (other.doc(), &self.in_results),
        };
        for target in targets {
            self.redact_target(doc, target)?;
        }
        if targets.iter().any(|target| target.in_copy.is_some()) {
            self.rewrite(doc, "/content", |at, text| {
                if is_text_block(at) { self.redact_copy(text, targets) } else { None }
            })?;
        }
        if !self.patterns.is_empty() {
            self.rewrite(
                doc,
                "",
                |at, text| {
                    if is_binary(at) { None } else { text::redact(text, &self.patterns) }
                },
            )?;
        }
        Ok(Verdict::Proceed)
    }
}

/// Log messages, progress and what else a server tells.
impl OnNotification for Redact {
    fn on_notification(&self, notification: &Notification) -> Result<Delivery, Failure> {
        if notification.is_down() && self.may_be_meant(notification.call()) {
            self.redact_message(&notification.params())?;
        }
        Ok(Delivery::Pass)
    }
}

/// What a server asks the user or the model. The answer goes to the server, like arguments, and is
/// not what this filter is for.
impl OnInput for Redact {
    fn on_ask(&self, ask: &Ask) -> Result<AskVerdict, Failure> {
        if self.may_be_meant(ask.call()) {
            self.redact_message(&ask.params())?;
        }
        Ok(AskVerdict::Pass)
    }
}

impl Redact {
    fn is_meant(&self, call: &Call) -> bool {
        self.names.is_empty() || call.name().is_some_and(|name| any_matches(&self.names, &name))
    }

    /// The same for a message that may belong to no call: then nobody knows that it is not meant.
    fn may_be_meant(&self, call: Option<Call>) -> bool {
        call.is_none_or(|call| self.is_meant(&call))
    }

    fn redact_message(&self, params: &Doc) -> Result<(), AccessError> {
        if self.patterns.is_empty() {
            return Ok(());
        }
        self.rewrite(params, "", |at, text| {
            if is_binary(at) || is_reserved(at) { None } else { text::redact(text, &self.patterns) }
        })
    }

    fn redact_target(&self, doc: &Doc, target: &Target) -> Result<(), AccessError> {
        // From the last to the first, so that removing an item of a list moves none that is still to
        // be removed.
        for at in target.path.find(doc)?.iter().rev() {
            if target.remove { doc.remove(at)? } else { doc.set(at, &self.replacement)? }
        }
        Ok(())
    }

    /// Does in a text that is JSON what the pointers do in the structured content.
    fn redact_copy(&self, text: &str, targets: &[Target]) -> Option<String> {
        let mut redacted: Option<String> = None;
        for target in targets {
            let Some(path) = &target.in_copy else { continue };
            let text = redacted.as_deref().unwrap_or(text);
            let replacement = if target.remove { "null" } else { &self.replacement };
            if let Some(changed) = path.replace_in(text, replacement) {
                redacted = Some(changed);
            }
        }
        redacted
    }

    /// Rewrites all strings below a pointer; two crossings, however many there are.
    fn rewrite(
        &self,
        doc: &Doc,
        below: &str,
        change: impl Fn(&str, &str) -> Option<String>,
    ) -> Result<(), AccessError> {
        let strings = doc.strings(below)?;
        let edits: Vec<(String, String)> =
            strings.into_iter().filter_map(|(at, text)| change(&at, &text).map(|text| (at, text))).collect();
        if edits.is_empty() { Ok(()) } else { doc.replace_strings(&edits) }
    }
}

/// `/content/0/text`.
fn is_text_block(at: &str) -> bool {
    at.starts_with("/content/") && at.ends_with("/text") && at.matches('/').count() == 3
}

/// Images, audio and blobs are base64: a pattern that matches there would only damage them.
fn is_binary(at: &str) -> bool {
    let parts: Vec<&str> = at.split('/').collect();
    matches!(
        parts.as_slice(),
        ["", "content", _, "data"]
            | ["", "contents", _, "blob"]
            | ["", "content", _, "resource", "blob"]
            // What sampling puts before a model.
            | ["", "messages", _, "content", "data"]
            | ["", "messages", _, "content", _, "data"]
    )
}

/// What a message belongs to, which no filter edits.
fn is_reserved(at: &str) -> bool {
    matches!(at, "/progressToken" | "/requestId" | "/uri" | "/taskId" | "/elicitationId")
        || at == "/_meta/progressToken"
        || at.starts_with("/_meta/io.modelcontextprotocol~1")
}

lockgate_plugin::export! {
    Redact: OnResponse, OnNotification, OnInput;
    config_schema: "config.schema.json",
}
