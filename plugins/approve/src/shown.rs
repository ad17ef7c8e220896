//! Arguments as the user reads them: all of them by name, and nothing in them that only looks like something.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Arguments up to this are shown as they are, in bytes of JSON; of longer ones each member has its share.
const WHOLE: usize = 2_500;
/// What of one member is shown then, in characters.
const SHARE: usize = 120;

/// The arguments for the user's eyes. None if they are too many to be shown, each by its name.
pub(crate) fn arguments(json: &str) -> Option<String> {
    let whole = text(json);
    if whole.len() <= WHOLE {
        return Some(whole);
    }
    let members: Map<String, Value> = serde_json::from_str(json).ok()?;
    let mut shown = String::new();
    for (name, value) in members {
        let value = value.to_string();
        let length = value.chars().count();
        let head: String = value.chars().take(SHARE).collect();
        let rest = if length > SHARE { format!("… ({length} characters)") } else { String::new() };
        let _ = write!(shown, "\n{}: {}{rest}", text(&name), text(&head));
        if shown.len() > WHOLE {
            return None;
        }
    }
    Some(shown)
}

/// Without characters that hide, or turn around, what is beside them.
pub(crate) fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{00ad}'
            | '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}' => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}
