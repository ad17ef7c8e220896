//! What a modern client says it can be asked, as `initialize` tells it to a legacy server.

use bytes::Bytes;

use crate::jsonrpc::{self, Message};
use crate::protocol::{meta, versions};

/// What one request's client can be asked. Two requests that differ in nothing of this may share a
/// connection, so the rest of what clients declare is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    form: bool,
    url: bool,
    roots: bool,
    sampling: bool,
    tools: bool,
    context: bool,
}

impl Capabilities {
    /// What the request declares. Members that are no objects declare nothing.
    pub(super) fn of(request: &Message) -> Capabilities {
        let Some(raw) = request.meta(meta::CLIENT_CAPABILITIES) else { return Capabilities::default() };
        let has = |at: &str| jsonrpc::get(raw, at).is_some_and(|value| value.starts_with(b"{"));
        let (elicitation, url) = (has("/elicitation"), has("/elicitation/url"));
        let sampling = has("/sampling");
        Capabilities {
            // Without a mode it means forms (2025-11-25, elicitation).
            form: elicitation && (has("/elicitation/form") || !url),
            url,
            roots: has("/roots"),
            sampling,
            tools: sampling && has("/sampling/tools"),
            context: sampling && has("/sampling/context"),
        }
    }

    /// As a legacy client declares it; always the same text for the same capabilities. Without
    /// `roots.listChanged`: nobody knows when the roots of a client change that comes and goes.
    pub(super) fn json(self) -> String {
        let mut members = Vec::new();
        match (self.form, self.url) {
            (true, true) => members.push(r#""elicitation":{"form":{},"url":{}}"#.to_owned()),
            (true, false) => members.push(r#""elicitation":{}"#.to_owned()),
            (false, true) => members.push(r#""elicitation":{"url":{}}"#.to_owned()),
            (false, false) => {}
        }
        if self.roots {
            members.push(r#""roots":{}"#.to_owned());
        }
        if self.sampling {
            let parts = [(self.context, r#""context":{}"#), (self.tools, r#""tools":{}"#)];
            let parts: Vec<_> = parts.iter().filter(|(has, _)| *has).map(|(_, part)| *part).collect();
            members.push(format!(r#""sampling":{{{}}}"#, parts.join(",")));
        }
        format!("{{{}}}", members.join(","))
    }

    /// Whether a user can be sent to a URL.
    pub(super) fn visits(self) -> bool {
        self.url
    }

    /// Whether a server may ask this.
    pub(super) fn allow(self, question: &Message) -> bool {
        match question.method().unwrap_or_default() {
            "elicitation/create" => match (question.param("mode"), question.param_text("mode").as_deref()) {
                (None, _) | (_, Some("form")) => self.form,
                (_, Some("url")) => self.url,
                _ => false,
            },
            "sampling/createMessage" => {
                let tools = question.param("tools").is_some() || question.param("toolChoice").is_some();
                self.sampling && (self.tools || !tools)
            }
            "roots/list" => self.roots,
            _ => false,
        }
    }
}

/// The `params` of `initialize` for clients with these capabilities (JSON).
pub(super) fn initialize(capabilities: &str) -> Bytes {
    let version = versions::LEGACY[0];
    let own = env!("CARGO_PKG_VERSION");
    let client = format!(r#"{{"name":"lockgate","version":"{own}"}}"#);
    format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"clientInfo":{client}}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(capabilities: &str) -> Capabilities {
        let params = format!(r#"{{"_meta":{{"{}":{capabilities}}}}}"#, meta::CLIENT_CAPABILITIES);
        Capabilities::of(&Message::request(b"1", "tools/call", Some(params.as_bytes())))
    }

    #[test]
    fn what_means_the_same_is_the_same_text_and_the_rest_is_left_out() {
        for (declared, told) in [
            ("{}", "{}"),
            (r#"{"elicitation":{}}"#, r#"{"elicitation":{}}"#),
            (r#"{"elicitation":{"form":{}}}"#, r#"{"elicitation":{}}"#),
            (r#"{"elicitation":{"url":{}}}"#, r#"{"elicitation":{"url":{}}}"#),
            (r#"{"elicitation":{"url":{},"form":{"x":1}}}"#, r#"{"elicitation":{"form":{},"url":{}}}"#),
            (
                r#"{"sampling":{"tools":{},"context":{}},"roots":{"listChanged":true}}"#,
                r#"{"roots":{},"sampling":{"context":{},"tools":{}}}"#,
            ),
            (r#"{"sampling":true,"roots":null,"elicitation":[]}"#, "{}"),
            (r#"{"tasks":{},"experimental":{"a":{}},"extensions":{"b":{}}}"#, "{}"),
        ] {
            assert_eq!(of(declared).json(), told, "{declared}");
        }
        let without = Message::request(b"1", "tools/list", None);
        assert_eq!(Capabilities::of(&without), Capabilities::default());
        let params = initialize(&of(r#"{"roots":{}}"#).json());
        assert_eq!(jsonrpc::get(&params, "/capabilities"), Some(&br#"{"roots":{}}"#[..]));
    }

    #[test]
    fn only_what_was_declared_may_be_asked() {
        let may = |capabilities: &str, method: &str, params: &str| {
            of(capabilities).allow(&Message::request(b"1", method, Some(params.as_bytes())))
        };
        let elicit = "elicitation/create";
        assert!(may(r#"{"elicitation":{}}"#, elicit, "{}"));
        assert!(may(r#"{"elicitation":{}}"#, elicit, r#"{"mode":"form"}"#));
        assert!(!may(r#"{"elicitation":{}}"#, elicit, r#"{"mode":"url"}"#));
        assert!(!may(r#"{"elicitation":{"url":{}}}"#, elicit, "{}"));
        assert!(may(r#"{"elicitation":{"url":{}}}"#, elicit, r#"{"mode":"url"}"#));
        assert!(!may(r#"{"elicitation":{"url":{},"form":{}}}"#, elicit, r#"{"mode":"telepathy"}"#));
        assert!(!may(r#"{"elicitation":{"url":{},"form":{}}}"#, elicit, r#"{"mode":1}"#));
        let sample = "sampling/createMessage";
        assert!(may(r#"{"sampling":{}}"#, sample, "{}") && !may("{}", sample, "{}"));
        assert!(!may(r#"{"sampling":{}}"#, sample, r#"{"tools":[]}"#));
        assert!(may(r#"{"sampling":{"tools":{}}}"#, sample, r#"{"tools":[]}"#));
        assert!(may(r#"{"roots":{}}"#, "roots/list", "{}") && !may("{}", "roots/list", "{}"));
        assert!(!may(r#"{"roots":{}}"#, "acme/ask", "{}"));
    }
}
