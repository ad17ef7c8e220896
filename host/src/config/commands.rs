//! Commands that are started by their URL: how one is written, and the servers that they become.
//!
//! A command is split into words without a shell: words are separated by spaces, and quotes (`'…'`,
//! `"…"`) keep what is in them together, as it stands. What a shell would act upon outside of quotes is
//! refused instead of passed on, and so is what is left open: nobody should be surprised.

use sha2::{Digest, Sha256};

use super::locate::{KeyPath, Node};
use super::problem::Problem;
use super::validate::RESERVED;
use super::{AllowedCommand, CommandUrls, Config, Server};

/// What a shell acts upon wherever it stands, and what only at the start of a word.
const SHELL: &str = "$`\\;&|<>(){}[]*?!";
const SHELL_AT_START: &str = "~#";

impl CommandUrls {
    /// The server that the first segment of a path stands for, if it is an allowed command.
    pub fn server(&self, segment: &str) -> Option<String> {
        if self.allow.is_empty() {
            return None;
        }
        let line = decode(segment)?;
        if RESERVED.contains(&line.to_ascii_lowercase().as_str()) {
            return None;
        }
        let words = split(&line).ok()?;
        let allowed = self.allow.iter().any(|command| match command {
            AllowedCommand::Line(allowed) => *allowed == line,
            AllowedCommand::Words(allowed) => *allowed == words,
        });
        allowed.then(|| server_name(&words))
    }
}

/// Makes a server of every allowed command.
pub fn add_servers(config: &mut Config, tree: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    let isolation = config.command_urls.isolation;
    for (i, command) in config.command_urls.allow.iter().enumerate() {
        let path = KeyPath::of(["command_urls", "allow"]).index(i);
        let mut wrong = |message: String, help: &str| {
            problems.push(Problem::at(tree.place(&path), format!("`{path}`: {message}")).help(help));
        };
        let (line, words) = match command {
            AllowedCommand::Line(line) => match split(line) {
                Ok(words) => (line.clone(), words),
                Err(reason) => {
                    wrong(reason, "there is no shell; give it as a list: `[npx, -y, some-server]`");
                    continue;
                }
            },
            AllowedCommand::Words(words) => (join(words), words.clone()),
        };
        let Some((program, arguments)) = words.split_first().filter(|(program, _)| !program.is_empty())
        else {
            wrong("it names no program".to_owned(), "give the program and its arguments");
            continue;
        };
        if RESERVED.contains(&line.to_ascii_lowercase().as_str()) {
            wrong(format!("`{line}` is a path of Lockgate's own"), "give the full path of the program");
            continue;
        }
        if config.servers.contains_key(&line) {
            wrong(format!("a server is named `{line}` and would be served there"), "rename the server");
            continue;
        }
        let server = Server {
            command: Some(program.clone()),
            args: arguments.to_vec(),
            isolation,
            url_segment: Some(encode(&line)),
            ..Server::default()
        };
        if config.servers.insert(server_name(&words), server).is_some() {
            wrong("this command is there already".to_owned(), "remove one of them");
        }
    }
    problems
}

/// The name of the server of a command: the same for the same words, whatever else is configured.
fn server_name(words: &[String]) -> String {
    let program = words.first().map(String::as_str).unwrap_or_default();
    let file = program.rsplit('/').next().unwrap_or_default();
    let plain: String = file.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    let digest = hex::encode(Sha256::digest(words.join("\0")));
    let digest = digest.get(..8).unwrap_or(&digest);
    if plain.is_empty() { format!("command-{digest}") } else { format!("command-{plain}-{digest}") }
}

/// The words of a command line. The error says what is wrong with it.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None => match c {
                ' ' => words.extend(word.take()),
                '\'' | '"' => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                c if c.is_control()
                    || SHELL.contains(c)
                    || (word.is_none() && SHELL_AT_START.contains(c)) =>
                {
                    return Err(format!("`{}` outside of quotes", c.escape_default()));
                }
                c => word.get_or_insert_default().push(c),
            },
        }
    }
    match quote {
        Some(open) => Err(format!("`{open}` is not closed")),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

/// The line that [`split`] makes these words of.
fn join(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:=+,%^".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\"'\"'"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// One segment of a path (RFC 3986) as the text that it stands for; none if it stands for none.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).ok()?;
        bytes.extend(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The text as one segment of a path, as `encodeURIComponent` writes it, but for `!'()*`.
fn encode(text: &str) -> String {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    let encoded =
        text.bytes().map(|b| if unreserved(b) { char::from(b).to_string() } else { format!("%{b:02X}") });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::load::load_text;
    use super::super::locate::Format;
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_line_is_split_at_spaces_and_quotes_hold_together() {
        for (line, expected) in [
            ("npx -y @upstash/context7-mcp@latest", &["npx", "-y", "@upstash/context7-mcp@latest"][..]),
            ("  a   b  ", &["a", "b"]),
            ("a 'b c' d", &["a", "b c", "d"]),
            ("a \"b 'c'\" d\"e f\"g", &["a", "b 'c'", "de fg"]),
            ("a '' b", &["a", "", "b"]),
            ("a '$HOME; rm *\\' b", &["a", "$HOME; rm *\\", "b"]),
            ("user/repo#branch a~b", &["user/repo#branch", "a~b"]),
            ("", &[]),
        ] {
            assert_eq!(split(line), Ok(words(expected)), "{line}");
        }
        for line in [
            "a; b", "a && b", "a | b", "a > b", "a $B", "a `b`", "a $(b)", "a\\ b", "a *", "a b?", "a [b]",
            "a {b}", "~/a", "a #b", "a 'b", "a \"b", "a\nb", "a\tb", "a!b", "a\0b",
        ] {
            assert!(split(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn what_is_joined_is_split_again_and_what_is_encoded_decoded() {
        for list in [&["a", "b c"][..], &["it's", "\"", ""], &["a;b", "$x", "ü/%20"], &["x", "'\"'"]] {
            let list = words(list);
            let line = join(&list);
            assert_eq!(split(&line), Ok(list), "{line}");
            assert_eq!(decode(&encode(&line)), Some(line));
        }
        assert_eq!(encode("npx -y @a/b"), "npx%20-y%20%40a%2Fb");
        for bad in ["%", "%2", "%zz", "%ff", "a%C3"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode("a+b").as_deref(), Some("a+b"), "a plus is no space in a path");
    }

    fn load(text: &str) -> Result<Config, String> {
        let loaded = load_text(text, Format::Yaml, Path::new("c.yaml"), Path::new("/etc"), &Nothing);
        loaded.map(|loaded| loaded.config).map_err(|error| error.to_string())
    }

    struct Nothing;

    impl super::super::expand::Variables for Nothing {
        fn get(&self, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }
    }

    #[test]
    fn only_what_is_allowed_leads_to_a_server() {
        let config =
            load("command_urls: { allow: ['npx -y a', [sh, -c, 'echo hi']], isolation: shared }").unwrap();
        assert_eq!(config.servers.len(), 2);
        let server = |segment: &str| config.command_urls.server(segment);
        let npx = server("npx%20-y%20a").unwrap();
        assert!(npx.starts_with("command-npx-") && npx.len() == "command-npx-".len() + 8, "{npx}");
        assert_eq!(config.servers[&npx].args, ["-y", "a"]);
        assert_eq!(config.servers[&npx].isolation, super::super::Isolation::Shared);
        assert_eq!(server("npx%20%2Dy%20%61").as_deref(), Some(&*npx), "the same line, spelled otherwise");
        let sh = server("sh%20-c%20'echo%20hi'").unwrap();
        assert_eq!(server("sh%20%20-c%20%22echo%20hi%22").as_deref(), Some(&*sh), "the same words");
        for other in [
            "npx",
            "npx%20-y",
            "npx%20-y%20b",
            "npx%20%20-y%20a",
            "npx%20-y%20a%20",
            "NPX%20-y%20a",
            "sh%20-c%20echo%20hi",
            "npx%20-y%20a%00",
            "npx%20-y%20a;id",
            "npx+-y+a",
            "",
            "%",
            "mcp",
        ] {
            assert_eq!(server(other), None, "{other}");
        }
        assert_eq!(Config::default().command_urls.server("npx%20-y%20a"), None);
    }

    #[test]
    fn commands_that_cannot_be_meant_are_refused_with_their_place() {
        for (allow, part) in [
            ("['a; b']", "`;` outside of quotes"),
            ("['']", "names no program"),
            ("[[]]", "names no program"),
            ("[health]", "a path of Lockgate's own"),
            ("[notes]", "a server is named `notes`"),
            ("['a b', [a, b]]", "there already"),
            ("[7]", "expected"),
        ] {
            let error =
                load(&format!("servers: {{ notes: {{ command: x }} }}\ncommand_urls: {{ allow: {allow} }}"));
            let error = error.unwrap_err();
            assert!(error.contains(part) && error.contains("c.yaml:2:"), "{allow}: {error}");
        }
    }
}
