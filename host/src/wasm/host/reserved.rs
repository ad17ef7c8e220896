//! Members that a plugin may not edit, because Lockgate routes and correlates by them.

use crate::jsonrpc::Document;

/// Which members of a document are out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Reserved {
    /// None: a result or an error.
    Nothing,
    /// Those of a request's `params` that say what it is about, and the protocol's own `_meta`.
    Params,
    /// Those of the `params` of a notification or question by which it finds what it belongs to, and
    /// the protocol's own `_meta`.
    Told,
    /// Those that name a definition.
    Definition,
}

/// What an edit would have changed, for the plugin's author.
pub(super) type Refusal = String;

impl Reserved {
    fn members(self) -> &'static [&'static str] {
        match self {
            Reserved::Nothing => &[],
            Reserved::Params => &["name", "uri", "ref", "cursor", "taskId"],
            Reserved::Told => &["progressToken", "requestId", "uri", "taskId", "elicitationId"],
            Reserved::Definition => &["name", "uri", "uriTemplate"],
        }
    }

    /// Members that may be edited, but have no look-alike beside them: the server might take that one.
    fn unmistakable(self) -> &'static [&'static str] {
        match self {
            Reserved::Params => &["arguments", "_meta", "method", "params", "id", "jsonrpc"],
            Reserved::Told => &["_meta", "method", "params", "id", "jsonrpc"],
            Reserved::Nothing | Reserved::Definition => &[],
        }
    }

    /// Whether the document is `params`, in whose `_meta` the protocol has its part.
    fn has_meta(self) -> bool {
        matches!(self, Reserved::Params | Reserved::Told)
    }

    /// Whether an edit at the pointer is refused whatever the value.
    pub(super) fn refuses(self, at: &str) -> Option<Refusal> {
        if self == Reserved::Nothing {
            return None;
        }
        let mut tokens = at.strip_prefix('/')?.split('/').map(unescape);
        let first = tokens.next()?;
        if let Some(why) = self.refuses_member(&first) {
            return Some(why);
        }
        if self.has_meta() && first == "_meta" {
            let second = tokens.next()?;
            if is_protocol_meta(&second) {
                return Some(format!("`_meta/{second}` belongs to the protocol"));
            }
        }
        None
    }

    fn refuses_member(self, name: &str) -> Option<Refusal> {
        let folded = fold(name);
        if let Some(reserved) = self.members().iter().find(|reserved| fold(reserved) == folded) {
            return Some(match self {
                Reserved::Told => format!("`{reserved}` says what the message belongs to"),
                Reserved::Params => format!("`{reserved}` is what Lockgate routes by; use `reroute`"),
                _ => format!("`{reserved}` names the item; use `rename`"),
            });
        }
        let like = self.unmistakable().iter().find(|like| **like != name && fold(like) == folded)?;
        Some(format!("`{}` would pass for `{like}`", name.escape_debug()))
    }

    /// Whether an edit at the pointer replaces more than one member, so that only a look at the
    /// result tells what it changed.
    pub(super) fn is_wide(self, at: &str) -> bool {
        match self {
            Reserved::Nothing => false,
            Reserved::Params | Reserved::Told => at.is_empty() || at == "/_meta",
            Reserved::Definition => at.is_empty(),
        }
    }

    /// What a wide edit changed that it may not.
    pub(super) fn changed(self, before: &mut Document, after: &mut Document) -> Option<Refusal> {
        let Ok(names) = after.keys("") else { return Some("it must stay an object".into()) };
        for member in self.members() {
            let at = format!("/{member}");
            if before.get(&at).ok().flatten() != after.get(&at).ok().flatten() {
                return self.refuses_member(member);
            }
        }
        let known = |name: &String| {
            self.members().contains(&name.as_str()) || self.unmistakable().contains(&name.as_str())
        };
        for name in names.iter().filter(|name| !known(name)) {
            if let Some(why) = self.refuses_member(name) {
                return Some(why);
            }
        }
        if !self.has_meta() {
            return None;
        }
        let meta = |document: &mut Document| {
            let mut own: Vec<_> = document.keys("/_meta").unwrap_or_default();
            own.retain(|key| is_protocol_meta(key));
            own.sort();
            own.into_iter()
                .map(|key| {
                    let value = document.get(&format!("/_meta/{}", escape(&key))).ok().flatten();
                    (key, value)
                })
                .collect::<Vec<_>>()
        };
        (meta(before) != meta(after)).then(|| "it would change the protocol's own part of `_meta`".into())
    }
}

fn is_protocol_meta(key: &str) -> bool {
    let folded = fold(key);
    folded == "progresstoken" || folded.starts_with("io.modelcontextprotocol/")
}

/// Names that some parser might take for one another: case, including the letters whose upper case
/// is ASCII, and white space around.
fn fold(name: &str) -> String {
    name.trim().to_uppercase().to_lowercase()
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_is_about_is_out_of_reach() {
        for at in [
            "/name",
            "/uri",
            "/ref",
            "/ref/name",
            "/cursor",
            "/taskId",
            "/Name",
            "/ name",
            "/uRI/x",
            "/_meta/progressToken",
            "/_meta/io.modelcontextprotocol~1related-task",
            "/_meta/io.modelcontextprotocol~1x/y",
            "/Arguments",
            "/_META",
        ] {
            assert!(Reserved::Params.refuses(at).is_some(), "{at}");
        }
        for at in ["", "/arguments", "/arguments/name", "/_meta", "/_meta/mine", "/argument/name", "/level"] {
            assert_eq!(Reserved::Params.refuses(at), None, "{at}");
        }
    }

    #[test]
    fn what_a_message_belongs_to_is_out_of_reach() {
        for at in [
            "/progressToken",
            "/ProgressToken",
            "/uri",
            "/requestId",
            "/elicitationId",
            "/_meta/io.modelcontextprotocol~1subscriptionId",
            "/_Meta",
        ] {
            assert!(Reserved::Told.refuses(at).is_some(), "{at}");
        }
        for at in ["", "/data", "/data/uri", "/message", "/name", "/_meta", "/_meta/mine"] {
            assert_eq!(Reserved::Told.refuses(at), None, "{at}");
        }
        let doc = |text: &'static str| {
            Document::new(bytes::Bytes::from_static(text.as_bytes()), crate::jsonrpc::Limits::default())
        };
        let mut before = doc(r#"{"progressToken":1,"progress":1}"#);
        assert!(Reserved::Told.changed(&mut before, &mut doc(r#"{"progress":1}"#)).is_some());
        assert!(
            Reserved::Told.changed(&mut before, &mut doc(r#"{"progress":2,"progressToken":1}"#)).is_none()
        );
    }

    #[test]
    fn a_definition_keeps_its_name() {
        assert!(Reserved::Definition.refuses("/name").is_some());
        assert!(Reserved::Definition.refuses("/uriTemplate").is_some());
        assert!(Reserved::Definition.refuses("/NAME").is_some());
        assert_eq!(Reserved::Definition.refuses("/description"), None);
        assert_eq!(Reserved::Definition.refuses("/inputSchema/properties/name"), None);
    }

    #[test]
    fn letters_that_fold_to_ascii_count_as_ascii() {
        // U+017F is the long s, whose upper case is S; U+212A the Kelvin sign, whose lower case is k.
        assert!(Reserved::Params.refuses("/argument\u{17f}").is_some());
        assert!(Reserved::Params.refuses("/ta\u{17f}\u{212a}Id").is_some());
    }
}
