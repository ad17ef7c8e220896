//! Member names that decide what a message means, and the spellings that some JSON reader would
//! take for them: those are refused, so that nobody downstream reads another message than we judged.

use super::strings::unescape_into;

/// An object of the message whose direct members matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Section {
    Other,
    Envelope,
    Params,
    /// `params._meta`.
    Meta,
    Result,
    Error,
    /// `params.ref` of a completion.
    Ref,
    /// `params.argument` of a completion.
    Argument,
    /// `params.context` of a completion.
    Context,
    /// `params.task`, and what relates a message to a task.
    Task,
    /// `params.notifications` of a subscription.
    Subscriptions,
    /// What a program says of itself.
    Implementation,
    /// What a client can do.
    Capabilities,
    /// One of these.
    Capability,
    /// `params.inputResponses`, whose members have names of their own.
    Answers,
    /// What a client answers to a question.
    Answer,
}

impl Section {
    /// Which section an object is that stands in this one under `name`.
    pub(super) fn child(self, name: &[u8]) -> Section {
        match (self, name) {
            (Section::Envelope, b"params") => Section::Params,
            (Section::Envelope, b"result") => Section::Result,
            (Section::Envelope, b"error") => Section::Error,
            (Section::Params, b"_meta") => Section::Meta,
            (Section::Params, b"ref") => Section::Ref,
            (Section::Params, b"argument") => Section::Argument,
            (Section::Params, b"context") => Section::Context,
            (Section::Params, b"task") => Section::Task,
            (Section::Params, b"notifications") => Section::Subscriptions,
            (Section::Params, b"clientInfo") => Section::Implementation,
            (Section::Params, b"capabilities") => Section::Capabilities,
            (Section::Params, b"inputResponses") => Section::Answers,
            (Section::Meta, b"io.modelcontextprotocol/clientInfo") => Section::Implementation,
            (Section::Meta, b"io.modelcontextprotocol/clientCapabilities") => Section::Capabilities,
            (Section::Meta, b"io.modelcontextprotocol/related-task") => Section::Task,
            // What is experimental, or an extension, has names of its own.
            (Section::Capabilities, b"roots" | b"sampling" | b"elicitation" | b"tasks") => {
                Section::Capability
            }
            (Section::Answers, _) => Section::Answer,
            _ => Section::Other,
        }
    }

    /// Whether its members are noted: where they stand is asked for later.
    pub(super) fn is_noted(self) -> bool {
        matches!(self, Section::Envelope | Section::Params | Section::Meta | Section::Result | Section::Error)
    }

    /// The names that mean something in it.
    fn reserved(self) -> &'static [&'static str] {
        match self {
            Section::Other | Section::Result | Section::Error | Section::Answers => &[],
            Section::Envelope => &ENVELOPE,
            Section::Params => &PARAMS,
            Section::Meta => &META,
            Section::Ref => &["type", "name", "title", "uri"],
            Section::Argument => &["name", "value"],
            Section::Context => &["arguments"],
            Section::Task => &["ttl", "taskId", "pollInterval"],
            Section::Subscriptions => &[
                "toolsListChanged",
                "promptsListChanged",
                "resourcesListChanged",
                "resourceSubscriptions",
                "taskIds",
            ],
            Section::Implementation => &["name", "title", "version", "description", "websiteUrl", "icons"],
            Section::Capabilities => {
                &["roots", "sampling", "elicitation", "tasks", "experimental", "extensions"]
            }
            Section::Capability => {
                &["listChanged", "form", "url", "tools", "context", "list", "cancel", "requests"]
            }
            Section::Answer => &["action", "content", "role", "model", "stopReason", "roots"],
        }
    }
}

/// The prefix of every name in `params._meta` that belongs to the protocol.
pub(super) const PREFIX: &str = "io.modelcontextprotocol/";

/// What a name is in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing special, or a reserved name exactly.
    Fine,
    /// A protocol name of `params._meta` that this version does not know: lawful, but two of them
    /// must not differ by folding only.
    Protocol,
    /// Some reader would take it for this name.
    Confusable(&'static str),
}

/// The members of a JSON-RPC message.
pub(super) const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// Every member of the `params` of any MCP method, of all revisions: one list, because `method`
/// may stand after `params`, and no two of them are equal after folding.
const PARAMS: [&str; 44] = [
    "_meta",
    "name",
    "uri",
    "arguments",
    "argument",
    "ref",
    "context",
    "cursor",
    "task",
    "taskId",
    "level",
    "logger",
    "data",
    "requestId",
    "reason",
    "progressToken",
    "progress",
    "total",
    "message",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "requestState",
    "inputResponses",
    "notifications",
    "messages",
    "modelPreferences",
    "systemPrompt",
    "includeContext",
    "temperature",
    "maxTokens",
    "stopSequences",
    "metadata",
    "tools",
    "toolChoice",
    "requestedSchema",
    "mode",
    "url",
    "elicitationId",
    "status",
    "statusMessage",
    "ttl",
    "pollInterval",
    "subscriptionId",
];

const META: [&str; 9] = [
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/serverInfo",
    "io.modelcontextprotocol/subscriptionId",
    "io.modelcontextprotocol/related-task",
    "io.modelcontextprotocol/model-immediate-response",
];

/// Judges the (unescaped) name of a direct member of a section.
pub(super) fn standing(section: Section, name: &[u8]) -> Standing {
    let reserved = section.reserved();
    if reserved.is_empty() {
        return Standing::Fine;
    }
    if name.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'_')) {
        // The usual name: folding changes nothing, so only reserved names with capitals can be meant.
        return match reserved.iter().find(|other| name.eq_ignore_ascii_case(other.as_bytes())) {
            Some(&other) if other.as_bytes() != name => Standing::Confusable(other),
            _ => Standing::Fine,
        };
    }
    if reserved.iter().any(|other| other.as_bytes() == name) {
        return Standing::Fine;
    }
    let Ok(text) = std::str::from_utf8(name) else { return Standing::Fine };
    let folded = fold(text);
    // Readers with C strings end a name at its first NUL.
    let cut = text.find('\0').map(|nul| fold(text.get(..nul).unwrap_or_default()));
    let meant = |other: &&&str| {
        other.eq_ignore_ascii_case(&folded) || cut.as_ref().is_some_and(|cut| other.eq_ignore_ascii_case(cut))
    };
    if let Some(&other) = reserved.iter().find(meant) {
        return Standing::Confusable(other);
    }
    if section == Section::Meta && folded.starts_with(PREFIX) {
        let plain = text.starts_with(PREFIX) && folded.len() == text.len() && text.is_ascii();
        return if plain { Standing::Protocol } else { Standing::Confusable(PREFIX) };
    }
    Standing::Fine
}

/// Whether two names, raw literals without quotes, are equal after folding.
pub(super) fn same_folded(a: &[u8], b: &[u8]) -> bool {
    let text = |inner: &[u8]| {
        let mut out = Vec::with_capacity(inner.len());
        unescape_into(inner, &mut out).map(|_| fold(&String::from_utf8_lossy(&out)))
    };
    text(a) == text(b)
}

/// What readers make of a name that ignore case and what cannot be seen, or end it at its first NUL.
pub(super) fn loose(name: &str) -> String {
    let end = name.find('\0').filter(|at| *at > 0).unwrap_or(name.len());
    fold(name.get(..end).unwrap_or(name))
}

/// Lower case by Unicode, without invisible characters anywhere, trimmed of white space.
fn fold(name: &str) -> String {
    let visible = name.chars().filter(|&c| !is_invisible(c));
    let folded: String = visible.flat_map(fold_char).collect();
    folded.trim().to_owned()
}

/// Through upper case first: that is what makes `ſ` an `s` and `ı` an `i`. Full-width forms are
/// those that compatibility normalization (NFKC) makes ASCII of.
fn fold_char(c: char) -> impl Iterator<Item = char> {
    let c = match c {
        'İ' => 'I',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xff01 + 0x21).unwrap_or(c),
        _ => c,
    };
    c.to_uppercase().flat_map(char::to_lowercase)
}

/// Controls but white space, and what Unicode calls default ignorable.
fn is_invisible(c: char) -> bool {
    (c.is_control() && !c.is_whitespace())
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: [Section; 12] = [
        Section::Envelope,
        Section::Params,
        Section::Meta,
        Section::Ref,
        Section::Argument,
        Section::Context,
        Section::Task,
        Section::Subscriptions,
        Section::Implementation,
        Section::Capabilities,
        Section::Capability,
        Section::Answer,
    ];

    #[test]
    fn reserved_names_are_fine_and_distinct_after_folding() {
        for section in SECTIONS {
            let names = section.reserved();
            for (at, name) in names.iter().enumerate() {
                assert_eq!(standing(section, name.as_bytes()), Standing::Fine, "{name}");
                assert!(names[..at].iter().all(|other| fold(other) != fold(name)), "{name}");
            }
        }
    }

    #[test]
    fn spellings_that_mean_a_reserved_name() {
        let confusable = [
            (Section::Envelope, "Method", "method"),
            (Section::Envelope, "METHOD", "method"),
            (Section::Envelope, "method ", "method"),
            (Section::Envelope, "\tmethod", "method"),
            (Section::Envelope, "method\0", "method"),
            (Section::Envelope, "method\0x", "method"),
            (Section::Envelope, "\0method", "method"),
            (Section::Envelope, "me\u{200b}thod", "method"),
            (Section::Envelope, "\u{feff}id", "id"),
            (Section::Envelope, "Id", "id"),
            (Section::Envelope, "ıd", "id"),
            (Section::Envelope, "İd", "id"),
            (Section::Envelope, "param\u{17f}", "params"),
            (Section::Envelope, "re\u{17f}ult", "result"),
            (Section::Envelope, "\u{a0}id\u{2003}", "id"),
            (Section::Params, "Name", "name"),
            (Section::Params, "tas\u{212a}", "task"),
            (Section::Params, "requeststate", "requestState"),
            (Section::Params, "_META", "_meta"),
            (Section::Params, "na\u{ad}me", "name"),
            (Section::Params, "arguments\u{e0001}", "arguments"),
            (Section::Meta, "progresstoken", "progressToken"),
            (Section::Meta, "progressToken\u{7f}", "progressToken"),
            (Section::Meta, "io.modelcontextprotocol/clientinfo", "io.modelcontextprotocol/clientInfo"),
            (Section::Meta, "IO.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/clientInfo"),
            (Section::Meta, "IO.modelcontextprotocol/new", PREFIX),
            (Section::Meta, "io.modelcontextprotocol/new\0", PREFIX),
            (Section::Meta, "io.modelcontextprotocol/ne\u{200d}w", PREFIX),
            (Section::Meta, "io.modelcontextprotocol/\u{212a}ey", PREFIX),
        ];
        for (section, name, meant) in confusable {
            assert_eq!(standing(section, name.as_bytes()), Standing::Confusable(meant), "{name:?}");
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        let fine = [
            (Section::Envelope, "methods"),
            (Section::Envelope, "x-id"),
            (Section::Envelope, "名前"),
            (Section::Envelope, "me thod"),
            (Section::Envelope, ""),
            (Section::Envelope, "\0"),
            (Section::Params, "names"),
            (Section::Params, "ID"),
            (Section::Params, "com.example/Name"),
            (Section::Meta, "Name"),
            (Section::Meta, "com.example/x"),
            (Section::Meta, "traceparent"),
            (Section::Result, "Name"),
            (Section::Error, "Code"),
            (Section::Other, "Method"),
            (Section::Other, "NAME\0"),
        ];
        for (section, name) in fine {
            assert_eq!(standing(section, name.as_bytes()), Standing::Fine, "{name:?}");
        }
        assert_eq!(standing(Section::Meta, b"io.modelcontextprotocol/new"), Standing::Protocol);
    }

    #[test]
    fn names_are_compared_after_folding_and_unescaping() {
        assert!(same_folded(b"io.x/newKey", br"io.x/n\u0065wkey"));
        assert!(!same_folded(b"io.x/newKey", b"io.x/newKeys"));
    }
}
