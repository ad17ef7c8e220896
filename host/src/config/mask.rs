//! How a URL, an argument list, a header or a configured value is shown without the secrets in it.
//!
//! Nobody can tell for certain what is a secret, so the places where secrets usually stand are masked
//! whatever stands there: queries, user names in URLs, values of headers and variables, what follows
//! `--api-key` or `token=`, and words that have the form of a key. References such as `${TOKEN}` stay.

/// What is shown instead of a secret.
pub const MASK: &str = "***";

/// From this many letters and digits in a row on, mixed, a text is taken for a key.
const KEY_RUN: usize = 16;

/// How keys of well-known services begin.
const KEY_PREFIXES: [&str; 16] = [
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xox",
    "xapp-",
    "AKIA",
    "AIza",
    "eyJ",
    "hf_",
];

/// Words that name a secret wherever they stand in a name.
const SECRET_NAMES: [&str; 14] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "authorization",
    "cookie",
    "signature",
    "bearer",
    "webhook",
];

/// Words that name a secret if they are a whole part of a name.
const SECRET_PARTS: [&str; 7] = ["key", "auth", "pass", "pwd", "pat", "jwt", "sig"];

/// Last parts of names that say something about a secret and are none.
const ABOUT: [&str; 16] = [
    "file", "path", "dir", "env", "name", "url", "uri", "header", "type", "mode", "limit", "max", "count",
    "size", "length", "sha256",
];

/// A URL without its query, its fragment and its credentials.
pub fn url(text: &str) -> String {
    let (base, _) = split_query(text);
    let (scheme, rest) = match base.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), base),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    // A `:` that no port follows belongs to a password, which may have a `/` in it.
    let broken = authority.rsplit_once(':').is_some_and(|(host, port)| {
        !host.starts_with('[') && !host.contains("${") && !port.bytes().all(|b| b.is_ascii_digit())
    });
    let rest = if authority.contains('@') || (broken && rest.contains('@')) {
        let end = if broken { rest.len() } else { authority.len() };
        let (before, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        format!("{}{after}", before.rsplit_once('@').map_or("", |(_, host)| host))
    } else {
        rest.to_owned()
    };
    format!("{scheme}{}", words_of_form(&rest))
}

/// The same, with a mark where a query was.
pub fn url_with_mark(text: &str) -> String {
    let (_, query) = split_query(text);
    if query { format!("{}?{MASK}", url(text)) } else { url(text) }
}

/// The part before the query or the fragment, and whether there is one. `?` in `${VAR:-?}` is not looked at.
fn split_query(text: &str) -> (&str, bool) {
    match text.find(['?', '#']) {
        Some(at) => (text.get(..at).unwrap_or_default(), true),
        None => (text, false),
    }
}

/// A value that usually holds a credential: only references and the name of its scheme are left of it.
pub fn value(text: &str) -> String {
    let (scheme, rest) = match text.split_once(' ') {
        Some((first, rest)) if is_scheme(first) && !rest.is_empty() => (format!("{first} "), rest),
        _ => (String::new(), text),
    };
    let mut shown = scheme;
    for part in parts(rest, true) {
        match part {
            Part::Reference(reference) => shown.push_str(&reference),
            Part::Plain(_) if shown.ends_with(MASK) => {}
            Part::Plain(_) => shown.push_str(MASK),
        }
    }
    shown
}

/// A header as it may be shown: its name, if that is one, and nothing of its value.
pub fn header(text: &str) -> String {
    match text.split_once(':') {
        Some((name, given)) if http::HeaderName::try_from(name.trim()).is_ok() => {
            format!("{}: {}", word(name.trim()), value(given.trim()))
        }
        _ => MASK.to_owned(),
    }
}

/// `KEY=VALUE` as it may be shown.
pub fn variable(text: &str) -> String {
    match text.split_once('=') {
        Some((name, given)) if is_variable(name) => format!("{name}={}", value(given)),
        None if is_variable(text) => word(text),
        _ => MASK.to_owned(),
    }
}

/// Whether a variable may be called that without doubt.
pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One word or line that somebody wrote, with what looks like a secret in it masked.
pub fn word(text: &str) -> String {
    arguments(&[text.to_owned()]).concat()
}

/// The arguments of a command.
pub fn arguments<S: AsRef<str>>(words: &[S]) -> Vec<String> {
    let mut next = Next::Plain;
    words.iter().map(|word| argument(word.as_ref(), &mut next)).collect()
}

/// What the next word is, as far as the one before it tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Plain,
    Secret,
    Header,
    Variable,
}

fn argument(word: &str, next: &mut Next) -> String {
    let is_option = word.len() > 1 && word.starts_with('-');
    match std::mem::replace(next, Next::Plain) {
        Next::Secret if !is_option => return value(word),
        Next::Header if !is_option => return header(word),
        Next::Variable if !is_option => return variable(word),
        _ => {}
    }
    // A line in quotes, such as a script for a shell, is looked at word by word.
    if word.contains(char::is_whitespace) {
        let mut inner = Next::Plain;
        let mut shown = Vec::new();
        for part in word.split(char::is_whitespace) {
            let seen = argument(part, &mut inner);
            let ends = seen.ends_with(MASK) && named_secret(part).is_some();
            shown.push(seen);
            // The value of a header or an assignment may go on behind blanks.
            if ends || (inner == Next::Secret && part.ends_with([':', '='])) {
                if !ends {
                    shown.push(MASK.to_owned());
                }
                break;
            }
        }
        return shown.join(" ");
    }
    if let Some(at) = named_secret(word) {
        let (name, given) = word.split_at_checked(at).unwrap_or((word, ""));
        if given.is_empty() {
            *next = Next::Secret;
            return name.to_owned();
        }
        return format!("{name}{}", value(given));
    }
    match word {
        "-H" | "--header" | "--headers" => *next = Next::Header,
        "-e" | "--env" => *next = Next::Variable,
        _ if is_option && names_a_secret(word) => *next = Next::Secret,
        _ if is_scheme(word) => *next = Next::Secret,
        _ => {}
    }
    for (option, show) in
        [("--header=", header as fn(&str) -> String), ("--headers=", header), ("--env=", variable)]
    {
        if let Some(given) = word.strip_prefix(option) {
            return format!("{option}{}", show(given));
        }
    }
    match word.find("://") {
        Some(_) => url_with_mark(word),
        None => words_of_form(word),
    }
}

/// Where the value begins in `token=…`, `--api-key:…` and `{"password":"…`, if the name before it is one
/// of a secret.
fn named_secret(word: &str) -> Option<usize> {
    let bytes = word.as_bytes();
    word.match_indices([':', '=']).find_map(|(at, _)| {
        // `${TOKEN:-x}` and `https://…` are no assignments.
        if bytes.get(at + 1..at + 3) == Some(b"//") {
            return None;
        }
        let before = word.get(..at)?;
        if before.rfind("${").is_some_and(|open| !before.get(open..).unwrap_or_default().contains('}')) {
            return None;
        }
        let name = before.trim_end_matches(['"', '\'']);
        let start =
            name.rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))).map_or(0, |i| i + 1);
        names_a_secret(name.get(start..)?).then_some(at + 1)
    })
}

/// Whether what is called that usually is a secret: `--api-key`, `GITHUB_TOKEN`, `clientSecret`.
pub fn names_a_secret(name: &str) -> bool {
    let mut parts: Vec<String> = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || (lower && c.is_ascii_uppercase()) {
            parts.push(String::new());
        }
        if c.is_ascii_alphanumeric() {
            parts.last_mut().into_iter().for_each(|part| part.push(c.to_ascii_lowercase()));
        }
        lower = c.is_ascii_lowercase();
    }
    parts.retain(|part| !part.is_empty());
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
    if ABOUT.contains(&last.as_str()) || ["max", "min", "num", "no"].contains(&first.as_str()) {
        return false;
    }
    let joined = parts.concat();
    SECRET_NAMES.iter().any(|word| joined.contains(word))
        || parts.iter().any(|part| SECRET_PARTS.contains(&part.as_str()))
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Masks the words that have the form of a key.
fn words_of_form(text: &str) -> String {
    let mut shown = String::new();
    for part in parts(text, false) {
        match part {
            Part::Reference(reference) => shown.push_str(&reference),
            Part::Plain(plain) => {
                for piece in
                    plain.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || "_-+.~".contains(c)))
                {
                    let end =
                        piece.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || "_-+.~".contains(c)));
                    let (piece, separator) = piece.split_at_checked(end.len()).unwrap_or((piece, ""));
                    shown.push_str(if is_key(piece) { MASK } else { piece });
                    shown.push_str(separator);
                }
            }
        }
    }
    shown
}

fn is_key(piece: &str) -> bool {
    let known = |prefix: &str| piece.starts_with(prefix) && piece.len() > prefix.len() + 3;
    if KEY_PREFIXES.into_iter().any(known) {
        return true;
    }
    let runs = || piece.split(|c: char| !c.is_ascii_alphanumeric());
    let mixed = |run: &str| {
        run.len() >= KEY_RUN
            && run.contains(|c: char| c.is_ascii_digit())
            && run.contains(|c: char| c.is_ascii_alphabetic())
    };
    let uuid =
        runs().map(str::len).eq([8, 4, 4, 4, 12]) && piece.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    uuid || runs().any(mixed)
}

enum Part {
    /// `${NAME}` or `${file:path}`; a default is masked.
    Reference(String),
    Plain(String),
}

/// References and what stands between them. Where the whole is a secret, so is the default of a variable.
fn parts(text: &str, secret: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    let plain = |text: &str, parts: &mut Vec<Part>| {
        if !text.is_empty() {
            parts.push(Part::Plain(text.to_owned()));
        }
    };
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inside, after)) = after.split_once('}') else { break };
        plain(before, &mut parts);
        let name = inside.split(":-").next().unwrap_or_default();
        if inside.starts_with("file:") || is_variable(inside) {
            parts.push(Part::Reference(format!("${{{inside}}}")));
        } else if is_variable(name) {
            let default = inside.get(name.len() + 2..).unwrap_or_default();
            let default =
                if secret || names_a_secret(name) { MASK.to_owned() } else { words_of_form(default) };
            parts.push(Part::Reference(format!("${{{name}:-{default}}}")));
        } else {
            parts.push(Part::Plain(MASK.to_owned()));
        }
        rest = after;
    }
    plain(rest, &mut parts);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_query_their_credentials_and_keys_in_their_path() {
        for (given, shown) in [
            ("https://a.example/mcp", "https://a.example/mcp"),
            ("https://a.example:8443/mcp?api_key=hush", "https://a.example:8443/mcp"),
            ("https://a.example/mcp#hush", "https://a.example/mcp"),
            ("https://me:hush@a.example/mcp", "https://a.example/mcp"),
            ("https://me:hu/sh@a.example/mcp", "https://a.example/mcp"),
            ("https://hush@[::1]:80/mcp", "https://[::1]:80/mcp"),
            ("https://a.example/@scope/mcp", "https://a.example/@scope/mcp"),
            ("https://a.example/s/NjQ0ZGVmMjM5YWJjZGVm/mcp", "https://a.example/s/***/mcp"),
            ("https://a.example/0a1b2c3d-1111-4222-8333-abcdefabcdef/mcp", "https://a.example/***/mcp"),
            ("https://${HOST}/mcp", "https://${HOST}/mcp"),
            ("hush@a.example", "a.example"),
        ] {
            assert_eq!(url(given), shown, "{given}");
        }
        assert_eq!(url_with_mark("https://a.example/mcp?k=hush"), "https://a.example/mcp?***");
    }

    #[test]
    fn arguments_lose_what_follows_the_name_of_a_secret() {
        for (given, shown) in [
            ("npx -y @a/server-everything@2026.8.31", "npx -y @a/server-everything@2026.8.31"),
            ("x --api-key hush --verbose", "x --api-key *** --verbose"),
            ("x --api-key=hush", "x --api-key=***"),
            ("x --apiKey hush", "x --apiKey ***"),
            ("x --access_token hush", "x --access_token ***"),
            ("x token=hush", "x token=***"),
            ("x --no-auth --verbose", "x --no-auth --verbose"),
            ("x --key-file /k --max-tokens 100", "x --key-file /k --max-tokens 100"),
            ("x --monkey business", "x --monkey business"),
            ("x -H Authorization:hush", "x -H Authorization: ***"),
            ("x --header=X-Api:hush", "x --header=X-Api: ***"),
            ("docker run -e KEY=hush img", "docker run -e KEY=*** img"),
            ("docker run --env=KEY=hush img", "docker run --env=KEY=*** img"),
            ("docker run -e KEY img", "docker run -e KEY img"),
            ("x https://a.example/?k=hush", "x https://a.example/?***"),
            ("x --url=postgres://me:hush@db/x", "x --url=postgres://db/x"),
            ("x sk-hush1234", "x ***"),
            ("x ghp_hush1234", "x ***"),
            ("x --user=${USER} --token ${TOKEN}", "x --user=${USER} --token ${TOKEN}"),
            ("x --token=${TOKEN:-hush}", "x --token=${TOKEN:-***}"),
            ("x {\"apiKey\":\"hush\"}", "x {\"apiKey\":***"),
        ] {
            let words: Vec<&str> = given.split(' ').collect();
            assert_eq!(arguments(&words).join(" "), shown, "{given}");
        }
        for (given, shown) in [
            ("API_KEY=hush exec node x.js", "API_KEY=***"),
            ("Authorization: Bearer hush", "Authorization: ***"),
            ("Authorization Bearer hush", "Authorization Bearer ***"),
            ("npx -y x --token hush", "npx -y x --token ***"),
            ("{ \"token\": \"hush\" }", "{ \"token\": ***"),
            ("exec node server.js 'a b'", "exec node server.js 'a b'"),
        ] {
            assert_eq!(word(given), shown, "{given}");
        }
    }

    #[test]
    fn values_keep_their_references_only() {
        for (given, shown) in [
            ("hush", "***"),
            ("Bearer hush", "Bearer ***"),
            ("Bearer ${TOKEN}", "Bearer ${TOKEN}"),
            ("a${X}b", "***${X}***"),
            ("${X:-hush}", "${X:-***}"),
            ("${file:./key}", "${file:./key}"),
            ("Bearer", "***"),
            ("hush ${X}", "***${X}"),
        ] {
            assert_eq!(value(given), shown, "{given}");
        }
        assert_eq!(header("Authorization Bearer hush"), "***");
        assert_eq!(header("X-A: hush"), "X-A: ***");
        assert_eq!(variable("API_KEY hush"), "***");
        assert_eq!(variable("K=hush"), "K=***");
    }
}
