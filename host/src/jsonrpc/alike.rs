//! Members of one object that some reader takes for one another: `path` and `Path` are the same member to
//! a server whose JSON reader ignores case, and it depends on the reader which of them counts.

use std::collections::HashMap;

use super::reserved::loose;
use super::strings::unescape;
use super::walk::{skip_space, string_end};

/// The first two members of one object, at any depth, whose names are equal without regard to case,
/// invisible characters and white space around. `raw` is lawful JSON.
pub fn alike(raw: &[u8]) -> Option<(String, String)> {
    // The names of each open object; none for an array.
    let mut open: Vec<Option<HashMap<String, String>>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        match byte {
            b'{' => open.push(Some(HashMap::new())),
            b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let end = string_end(raw, at)?;
                let is_name = raw.get(skip_space(raw, end)) == Some(&b':');
                if let (true, Some(Some(names))) = (is_name, open.last_mut()) {
                    let name = unescape(raw.get(at..end)?)?.into_owned();
                    if let Some(other) = names.insert(loose(&name), name.clone()) {
                        return Some((other, name));
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_a_reader_takes_for_one_another_are_found_at_every_depth() {
        for (raw, pair) in [
            (r#"{"path":1,"Path":2}"#, ("path", "Path")),
            (r#"{"a":[{"b":{"x":1,"y":{},"X":2}}]}"#, ("x", "X")),
            (r#"{"a" : "b" , "\u0041" : 1}"#, ("a", "A")),
            (r#"{"":1,"\u200b":2}"#, ("", "\u{200b}")),
            (r#"{"path":1,"path\u0000x":2}"#, ("path", "path\0x")),
            (r#"{"path":1," path":2}"#, ("path", " path")),
            (r#"{"path":1,"\uff50ath":2}"#, ("path", "\u{ff50}ath")),
            (r#"{"disk":1,"dis\u212a":2}"#, ("disk", "dis\u{212a}")),
        ] {
            assert_eq!(alike(raw.as_bytes()), Some((pair.0.to_owned(), pair.1.to_owned())), "{raw}");
        }
    }

    #[test]
    fn others_are_left_alone() {
        for raw in [
            r#"{"a":{"x":1},"b":{"X":1}}"#,
            r#"[{"x":1},{"X":1}]"#,
            r#"{"x":"X","y":"x"}"#,
            r#"{"a":["a","A"],"b":{}}"#,
            r#"{"file_path":1,"filePath":2}"#,
            "{}",
            "1",
            "",
        ] {
            assert_eq!(alike(raw.as_bytes()), None, "{raw}");
        }
    }
}
