//! How a failure is said: what happened, to what, and what to do. The one place that renders errors.

use crate::config::{ConfigError, Problem};

/// Says why a command failed. Causes that its text does not tell are logged at debug.
pub fn failure(error: &anyhow::Error) {
    eprint!("{}", render(error));
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    if !causes.is_empty() {
        tracing::debug!(causes = causes.join(": "), "the causes of that");
    }
}

/// Says that the command was not understood.
pub fn usage(message: &str) {
    eprintln!("error: {message}");
}

/// Says what is probably not meant.
pub fn warnings(loaded: &crate::config::Loaded) {
    for warning in &loaded.warnings {
        eprintln!("warning: {}", warning.render(&loaded.path));
    }
}

/// The text of an error: one `error:` per problem.
fn render(error: &anyhow::Error) -> String {
    if let Some(config) = error.downcast_ref::<ConfigError>() {
        let mut text: String =
            config.problems.iter().map(|p| format!("error: {}\n", p.render(&config.file))).collect();
        if config.problems.len() > 1 {
            text.push_str(&format!("{} errors in {}\n", config.problems.len(), config.file.display()));
        }
        return text;
    }
    if let Some(Several(problems)) = error.downcast_ref::<Several>() {
        let each = problems.iter().map(|problem| format!("error: {}\n", problem.replace('\n', "\n  ")));
        return each
            .chain(["`lockgate check` says what else works and what does not\n".to_owned()])
            .collect();
    }
    if let Some(plain) = error.downcast_ref::<Plain>() {
        return format!("error: {}", plain.0);
    }
    format!("error: {}\n", sentence(error))
}

/// What happened, and the innermost cause where that says more: what lies between is for us.
pub fn sentence(error: &anyhow::Error) -> String {
    let outer = error.to_string();
    let inner = error.root_cause().to_string();
    if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") }
}

/// An error that is a [`Problem`] without a place in a file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Plain(String);

impl From<Problem> for Plain {
    fn from(problem: Problem) -> Plain {
        let mut text = format!("{}\n", problem.message);
        for line in &problem.help {
            text.push_str(&format!("  {line}\n"));
        }
        Plain(text)
    }
}

/// Several things that went wrong, each said for itself.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Several(pub Vec<String>);

/// A bug in Lockgate is said in one line; the traces stay for those who ask with RUST_BACKTRACE.
pub fn install_panic_message() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
            return usual(info);
        }
        let payload = info.payload();
        let text = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        eprintln!("error: a bug in Lockgate: {text}{place}\n  please report it with what you did");
    }));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context;

    use super::*;

    #[test]
    fn every_problem_gets_its_own_error() {
        let problems = vec![Problem::general("one").help("do this"), Problem::general("two")];
        let error = anyhow::Error::from(ConfigError::new(Path::new("a.yaml"), problems));
        assert_eq!(render(&error), "error: a.yaml: one\n  do this\nerror: a.yaml: two\n2 errors in a.yaml\n");
    }

    #[test]
    fn several_problems_lead_to_check() {
        let error = anyhow::Error::from(Several(vec!["a\nb".into(), "c".into()]));
        assert!(render(&error).starts_with("error: a\n  b\nerror: c\n`lockgate check`"));
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("root").context("middle").context("what happened");
        assert_eq!(render(&error), "error: what happened: root\n");
        let error = Err::<(), _>(anyhow::anyhow!("root")).context("it says root already").unwrap_err();
        assert_eq!(render(&error), "error: it says root already\n");
    }
}
