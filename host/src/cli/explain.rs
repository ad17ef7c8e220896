//! `lockgate plugin explain`: which filters a call would pass, in which order, and why.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::stack::Stack;
use super::{ConfigFile, Output, print, report};
use crate::config::load;
use crate::filter::explain::Explanation;

/// `lockgate plugin explain`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: lockgate plugin explain --server notes --method tools/call --name delete_note"
)]
pub struct Arguments {
    /// The server that is called
    #[arg(long)]
    server: String,
    /// The MCP method
    #[arg(long, default_value = "tools/call")]
    method: String,
    /// The tool, prompt or resource, as the server names it
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Does it.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let loaded = load(&arguments.file.config)?;
    report::warnings(&loaded);
    super::known_server(&loaded, &arguments.server)?;
    let runtime = super::runtime()?;
    let stack = runtime.block_on(Stack::assemble(&loaded, Vec::new()));
    super::refuse_problems(&stack)?;
    let explanations = stack.explain(&arguments.server, &arguments.method, arguments.name.as_deref());
    let text = match arguments.output {
        Output::Text => text(&arguments, &explanations),
        Output::Json => json_text(&arguments, &explanations),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn text(arguments: &Arguments, explanations: &[Explanation]) -> String {
    let name = arguments.name.as_deref().map(|n| format!(" {n}")).unwrap_or_default();
    let mut text = format!("{}{name} on server {}\n", arguments.method, arguments.server);
    if explanations.is_empty() {
        text.push_str("passes no filter: none is configured\n");
        return text;
    }
    if let Some(note) = unknown(&arguments.method) {
        text.push_str(&format!("{note}\n"));
    }
    let mut number = 0;
    let rows: Vec<Vec<String>> = explanations
        .iter()
        .map(|e| {
            let place = if e.phases.is_empty() {
                "-".to_owned()
            } else {
                number += 1;
                number.to_string()
            };
            let phases = if e.phases.is_empty() { "not called".to_owned() } else { e.phases.join(", ") };
            vec![format!("  {place}"), e.filter.to_string(), phases, e.reason.clone()]
        })
        .collect();
    text.push_str(&super::table::layout(&rows));
    let down = explanations.iter().filter(|e| e.phases.contains(&"response")).count();
    if down > 1 {
        text.push_str("responses pass in the reverse order\n");
    }
    text
}

/// What is special about a method that is in no table.
fn unknown(method: &str) -> Option<String> {
    let known = crate::proxy::method_kinds();
    let names = || known.iter().map(|(name, _)| *name);
    if names().any(|name| name == method) {
        return None;
    }
    let near = crate::config::problem::nearest(method, names());
    let tip = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(format!(
        "note: Lockgate knows no method `{method}`{tip}\n  where a filter judges access it is refused as unknown"
    ))
}

fn json_text(arguments: &Arguments, explanations: &[Explanation]) -> String {
    let filters: Vec<_> = explanations
        .iter()
        .map(|e| json!({ "filter": &*e.filter, "phases": e.phases, "reason": e.reason }))
        .collect();
    let value = json!({
        "server": arguments.server, "method": arguments.method, "name": arguments.name, "filters": filters,
        "note": unknown(&arguments.method),
    });
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_nobody_knows_is_said_to_be_one() {
        assert_eq!(unknown("tools/call"), None);
        assert!(unknown("tools/cal").unwrap().contains("did you mean `tools/call`?"));
        assert!(unknown("acme/thing").unwrap().contains("refused as unknown"));
    }

    #[test]
    fn filters_are_numbered_in_the_order_in_which_they_are_called() {
        let arguments = Arguments {
            server: "notes".into(),
            method: "tools/call".into(),
            name: Some("delete".into()),
            file: ConfigFile { config: "x.yaml".into() },
            output: Output::Text,
        };
        let one = |filter: &str, phases: &[&'static str], reason: &str| Explanation {
            filter: filter.into(),
            phases: phases.to_vec(),
            reason: reason.into(),
        };
        let said = text(
            &arguments,
            &[
                one("keys", &["authenticate"], "sees every message"),
                one("inject", &[], "`match.servers` excludes `notes`"),
                one("a", &["request", "response"], "sees every message"),
                one("b", &["response"], "`match.names` contains `delete`"),
            ],
        );
        assert_eq!(
            said,
            "tools/call delete on server notes\n\
             \u{20} 1  keys    authenticate       sees every message\n\
             \u{20} -  inject  not called         `match.servers` excludes `notes`\n\
             \u{20} 2  a       request, response  sees every message\n\
             \u{20} 3  b       response           `match.names` contains `delete`\n\
             responses pass in the reverse order\n"
        );
    }
}
