//! Globs as `match` and the filters use them: `*` is any run, `?` one character, all else itself.

/// Whether the glob covers the whole text. Linear in practice, quadratic at worst; never fails.
pub fn matches(glob: &str, text: &str) -> bool {
    let (mut g, mut t) = (glob.chars(), text.chars());
    // Where to resume after the last `*` if what followed it does not fit.
    let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (next_g, next_t) = (g.clone().next(), t.clone().next());
        match (next_g, next_t) {
            (Some('*'), _) => {
                g.next();
                star = Some((g.clone(), t.clone()));
            }
            (Some('?'), Some(_)) => {
                g.next();
                t.next();
            }
            (Some(a), Some(b)) if a == b => {
                g.next();
                t.next();
            }
            (None, None) => return true,
            _ => match &mut star {
                Some((after, from)) => {
                    if from.next().is_none() {
                        return false;
                    }
                    g = after.clone();
                    t = from.clone();
                }
                None => return false,
            },
        }
    }
}

/// Whether somebody seems to expect more of the glob than it does: a set (`[a-z]`), a choice (`{a,b}`), a
/// regular expression. Braces of URI templates (`{id}`) are themselves.
pub fn literal(glob: &str) -> bool {
    let choice = glob.split('{').skip(1).any(|rest| rest.split('}').next().is_some_and(|c| c.contains(',')));
    let set = glob.contains('[') && !glob.contains("://[");
    choice || set || glob.starts_with('^') || glob.ends_with('$') || glob.contains('|') || glob.contains('\\')
}

/// Whether any of the globs covers the text; an empty list covers everything.
pub fn any(globs: &[String], text: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| matches(glob, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_what_it_says() {
        for (glob, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("delete_*", "delete_note", true),
            ("delete_*", "undelete_note", false),
            ("*_note", "delete_note", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("?", "é", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("A", "a", false),
            ("**x", "x", true),
            ("*a*", "bbb", false),
        ] {
            assert_eq!(matches(glob, text), expected, "{glob} on {text}");
        }
    }

    #[test]
    fn no_globs_cover_everything() {
        assert!(any(&[], "x"));
        assert!(!any(&["y".into()], "x"));
    }
}
