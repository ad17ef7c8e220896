//! The command line: how the server misbehaves from the start.

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::Value;

/// What `--help` would say; the tests are its only readers.
const USAGE: &str = "flags: --name S, --log FILE, --tools N, --page N, --lists null|object|same-cursor|empty-cursor, --protocol VERSION, --stderr TEXT, \
     --exit CODE, --hang METHOD, --modern, --tasks, --noise, --flood-stderr BYTES, --ignore-sigterm, --ignore-stdin-close, \
     --grandchild PIDFILE, --escapee PIDFILE, --answer METHOD=RESULT";

/// The parsed command line.
#[derive(Default)]
pub struct Flags {
    /// Name in `serverInfo` and in `whoami`.
    pub name: Option<String>,
    /// Where every line that arrives is appended.
    pub log: Option<PathBuf>,
    /// How many further tools (`tool_0000` …) there are.
    pub tools: usize,
    /// Items per page of a list; all on one page if absent.
    pub page: Option<usize>,
    /// What is wrong with the lists: `null` or an object instead of one, a cursor that never changes, an empty one.
    pub lists: Option<String>,
    /// Answer `initialize` with this revision, whatever was asked.
    pub protocol: Option<String>,
    /// Written to stderr at start.
    pub stderr: Option<String>,
    /// Exit at start with this code.
    pub exit: Option<u8>,
    /// Never answer this method.
    pub hang: Option<String>,
    /// Answer these methods with these results, whatever is asked.
    pub answers: Vec<(String, Value)>,
    /// Write what is no message to stdout at start.
    pub noise: bool,
    /// Write this many bytes to stderr at start.
    pub flood_stderr: Option<usize>,
    /// Ignore SIGTERM.
    pub ignore_sigterm: bool,
    /// Stay when stdin is closed.
    pub ignore_stdin_close: bool,
    /// Speak revision 2026-07-28, and no other.
    pub modern: bool,
    /// With `--modern`: have the extension of tasks, and the tool `job`.
    pub tasks: bool,
    /// Start a `sleep` and write its process id to this file.
    pub grandchild: Option<PathBuf>,
    /// Start a `sleep` in a session of its own, whose parent is gone and which ignores every signal
    /// that can be ignored, and write its process id to this file.
    pub escapee: Option<PathBuf>,
}

impl Flags {
    /// Reads the command line without the program's name.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Flags, String> {
        let mut flags = Flags::default();
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value; {USAGE}"));
            match flag.as_str() {
                "--name" => flags.name = Some(value()?),
                "--log" => flags.log = Some(value()?.into()),
                "--tools" => flags.tools = number(&value()?)?,
                "--page" => flags.page = Some(number(&value()?)?),
                "--lists" => flags.lists = Some(value()?),
                "--protocol" => flags.protocol = Some(value()?),
                "--stderr" => flags.stderr = Some(value()?),
                "--exit" => flags.exit = Some(number(&value()?)?),
                "--hang" => flags.hang = Some(value()?),
                "--answer" => flags.answers.push(result(&value()?)?),
                "--noise" => flags.noise = true,
                "--modern" => flags.modern = true,
                "--tasks" => flags.tasks = true,
                "--flood-stderr" => flags.flood_stderr = Some(number(&value()?)?),
                "--ignore-sigterm" => flags.ignore_sigterm = true,
                "--ignore-stdin-close" => flags.ignore_stdin_close = true,
                "--escapee" => flags.escapee = Some(value()?.into()),
                "--grandchild" => flags.grandchild = Some(value()?.into()),
                other => return Err(format!("unknown argument {other}; {USAGE}")),
            }
        }
        Ok(flags)
    }
}

fn result(text: &str) -> Result<(String, Value), String> {
    let (method, result) =
        text.split_once('=').ok_or_else(|| format!("{text} is no METHOD=RESULT; {USAGE}"))?;
    let result = serde_json::from_str(result).map_err(|error| format!("{text}: {error}"))?;
    Ok((method.to_owned(), result))
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number in range; {USAGE}"))
}
