//! Removes or replaces what must not leave: by JSON Pointer and by pattern, in results and errors; by
//! pattern also in what servers tell and ask meanwhile.
//!
//! MCP servers repeat structured content as JSON in a text block. Whatever is redacted in the one is
//! redacted in the other.

use lockgate_plugin::prelude::*;
use lockgate_plugin::{JsonKind, any_matches, pointer};

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
            self.rewrite(doc, "", |_, text| text::redact(text, &self.patterns))?;
            // Elsewhere names are the protocol's, and a client finds nothing without them.
            for below in ["/structuredContent", "/_meta", "/data"] {
                self.rename(doc, below, &mut 0)?;
            }
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
        self.rewrite(
            params,
            "",
            |at, text| {
                if is_reserved(at) { None } else { text::redact(text, &self.patterns) }
            },
        )?;
        self.rename(params, "/data", &mut 0)
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

    /// Redacts the names of members at and below a pointer. `count` is of the names that were changed.
    fn rename(&self, doc: &Doc, at: &str, count: &mut usize) -> Result<(), AccessError> {
        let changed = match doc.get(at) {
            Ok(json) => json.and_then(|json| text::redact_names(&json, &self.patterns, count)),
            Err(AccessError::TooLarge(size)) => {
                for (name, child) in children(doc, at)? {
                    // It would have to be written anew with all that is in it.
                    if name.is_some_and(|name| text::is_found(&name, &self.patterns)) {
                        return Err(AccessError::TooLarge(size));
                    }
                    self.rename(doc, &child, count)?;
                }
                None
            }
            Err(error) => return Err(error),
        };
        changed.map_or(Ok(()), |json| doc.set(at, &json))
    }

    /// Rewrites all strings below a pointer; two crossings, however many there are, if they can be pulled at once.
    fn rewrite(
        &self,
        doc: &Doc,
        below: &str,
        change: impl Fn(&str, &str) -> Option<String>,
    ) -> Result<(), AccessError> {
        let mut strings = Vec::new();
        gather(doc, below, &mut strings)?;
        let edits: Vec<(String, String)> =
            strings.into_iter().filter_map(|(at, text)| change(&at, &text).map(|text| (at, text))).collect();
        if edits.is_empty() { Ok(()) } else { doc.replace_strings(&edits) }
    }
}

/// `/content/0/text`.
fn is_text_block(at: &str) -> bool {
    at.starts_with("/content/") && at.ends_with("/text") && at.matches('/').count() == 3
}

/// The strings at and below a pointer, but for images and audio. What is too large to be pulled at once is pulled
/// part by part: an image must not keep the text beside it from being searched.
fn gather(doc: &Doc, at: &str, found: &mut Vec<(String, String)>) -> Result<(), AccessError> {
    match doc.strings(at) {
        Ok(strings) => {
            for (at, text) in strings {
                if !is_media(doc, &at)? {
                    found.push((at, text));
                }
            }
            Ok(())
        }
        Err(AccessError::TooLarge(_)) if is_media(doc, at)? => Ok(()),
        Err(AccessError::TooLarge(size)) => {
            let children = children(doc, at)?;
            if children.is_empty() {
                return Err(AccessError::TooLarge(size));
            }
            children.iter().try_for_each(|(_, child)| gather(doc, child, found))
        }
        Err(error) => Err(error),
    }
}

/// The members or items of a value: names (of members), and pointers.
fn children(doc: &Doc, at: &str) -> Result<Vec<(Option<String>, String)>, AccessError> {
    Ok(match doc.kind(at)? {
        Some(JsonKind::Object) => {
            let below = |name: String| {
                let pointer = format!("{at}{}", pointer([name.as_str()]));
                (Some(name), pointer)
            };
            doc.keys(at)?.into_iter().map(below).collect()
        }
        Some(JsonKind::Array) => {
            let length = doc.length(at)?.unwrap_or(0);
            (0..length).map(|item| (None, format!("{at}/{item}"))).collect()
        }
        _ => Vec::new(),
    })
}

/// Whether a string is an image or audio in base64: a pattern that matches there would only damage it. The block
/// says so itself; one that says otherwise is searched like any other text.
fn is_media(doc: &Doc, at: &str) -> Result<bool, AccessError> {
    let Some((block, member)) = at.rsplit_once('/') else { return Ok(false) };
    let parts: Vec<&str> = block.split('/').collect();
    let says = |name: &str| Ok(doc.text(&format!("{block}/{name}")).ok().flatten().unwrap_or_default());
    match (parts.as_slice(), member) {
        // The second and the third are what sampling puts before a model.
        (["", "content", _] | ["", "messages", _, "content"] | ["", "messages", _, "content", _], "data") => {
            says("type").map(|kind: String| matches!(kind.as_str(), "image" | "audio"))
        }
        (["", "contents", _] | ["", "content", _, "resource"], "blob") => {
            says("mimeType").map(|kind: String| kind.starts_with("image/") || kind.starts_with("audio/"))
        }
        _ => Ok(false),
    }
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
