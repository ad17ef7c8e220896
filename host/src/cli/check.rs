//! `lockgate check`: loads everything, connects to everything, and says what works.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;

use super::probe::{Found, probe};
use super::stack::{FilterReport, Stack, open_servers};
use super::{ConfigFile, Output, print};
use crate::config::validate::check_exposure;
use crate::config::{ConfigError, Loaded, load};
use crate::filter::Hooks;

mod advice;

/// `lockgate check`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockgate check
  lockgate check --config lockgate.yaml --output json --timeout 10s")]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Longest wait for each server
    #[arg(long, default_value = "30s", value_parser = super::parse_duration)]
    timeout: Duration,
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    ok: bool,
    config: ConfigFinding,
    filters: Vec<FilterFinding>,
    /// Why the chain cannot be put together at all.
    problems: Vec<String>,
    servers: Vec<ServerFinding>,
}

#[derive(Debug, Default, Serialize)]
struct ConfigFinding {
    file: String,
    errors: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FilterFinding {
    name: String,
    plugin: String,
    version: Option<String>,
    file: Option<String>,
    hooks: Vec<&'static str>,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct ServerFinding {
    name: String,
    reach: String,
    disabled: bool,
    #[serde(flatten)]
    found: Option<Found>,
    problem: Option<String>,
    advice: Option<String>,
}

/// Does it.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let findings = match load(&arguments.file.config) {
        Ok(loaded) => super::runtime()?.block_on(find(Arc::new(loaded), arguments.timeout)),
        // People read errors of the configuration where all errors are; programs read one document.
        Err(error) if arguments.output == Output::Text => return Err(error.into()),
        Err(error) => refused(&error),
    };
    let text = match arguments.output {
        Output::Text => text(&findings),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&findings)?),
    };
    print(&text)?;
    Ok(if findings.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn refused(error: &ConfigError) -> Findings {
    let errors = error.problems.iter().map(|p| p.render(&error.file)).collect();
    let file = error.file.display().to_string();
    Findings { config: ConfigFinding { file, errors, warnings: Vec::new() }, ..Findings::default() }
}

async fn find(loaded: Arc<Loaded>, timeout: Duration) -> Findings {
    let mut config = ConfigFinding {
        file: loaded.path.display().to_string(),
        errors: Vec::new(),
        warnings: loaded.warnings.iter().map(|w| w.render(&loaded.path)).collect(),
    };
    let stack = Stack::assemble(&loaded, Vec::new()).await;
    let problems = stack.problems().to_vec();
    // Without a chain it cannot be told who authenticates.
    if problems.is_empty()
        && let Err(problem) = check_exposure(&loaded.config, &open_servers(&loaded.config, &stack.placed()))
    {
        config.errors.push(problem.render(Path::new(&config.file)));
    }
    let filters: Vec<FilterFinding> = stack.filters().iter().map(filter).collect();
    let checks = loaded.config.servers.keys().map(|name| server(&loaded, &stack, name, timeout));
    let servers = join_all(checks).await;
    stack.close().await;
    let ok = config.errors.is_empty()
        && problems.is_empty()
        && filters.iter().all(|f| f.problem.is_none())
        && servers.iter().all(|s| s.problem.is_none());
    Findings { ok, config, filters, problems, servers }
}

fn filter(report: &FilterReport) -> FilterFinding {
    FilterFinding {
        name: report.name.clone(),
        plugin: report.plugin.clone(),
        version: report.version.clone(),
        file: report.file.as_ref().map(|f| f.display().to_string()),
        hooks: hook_names(report.hooks),
        problem: report.problem.clone(),
    }
}

async fn server(loaded: &Loaded, stack: &Stack, name: &str, timeout: Duration) -> ServerFinding {
    let server = loaded.config.servers.get(name);
    let disabled = server.is_some_and(|server| server.disabled);
    let mut finding = ServerFinding {
        name: name.to_owned(),
        reach: server.map(|s| super::banner::reach(loaded, name, s)).unwrap_or_default(),
        disabled,
        found: None,
        problem: None,
        advice: None,
    };
    if disabled {
        return finding;
    }
    match probe(stack.upstreams(), Arc::from(name), stack.outgoing(name), timeout).await {
        Ok(found) => finding.found = Some(found),
        Err(problem) => {
            finding.advice = server.map(|server| advice::advice(name, server, &problem));
            finding.problem = Some(problem);
        }
    }
    finding
}

/// The hooks that a filter implements, in the order of a call.
fn hook_names(hooks: Hooks) -> Vec<&'static str> {
    [
        (hooks.authenticate, "authenticate"),
        (hooks.catalog, "catalog"),
        (hooks.access, "access"),
        (hooks.request, "request"),
        (hooks.upstream, "upstream"),
        (hooks.response, "response"),
        (hooks.input, "input"),
        (hooks.notification, "notification"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect()
}

fn text(findings: &Findings) -> String {
    let mut rows = Vec::new();
    let mut row = |what: &str, name: &str, state: &str, about: String| {
        rows.push(vec![what.to_owned(), name.to_owned(), state.to_owned(), about]);
    };
    let config = &findings.config;
    let notes: Vec<&str> = config.errors.iter().chain(&config.warnings).map(String::as_str).collect();
    let state = match (config.errors.is_empty(), config.warnings.is_empty()) {
        (false, _) => "failed",
        (true, false) => "warning",
        (true, true) => "ok",
    };
    row("config", &config.file, state, notes.join("\n"));
    for filter in &findings.filters {
        if let Some(problem) = &filter.problem {
            let file = filter.file.as_deref().unwrap_or_default();
            row("filter", &filter.name, "failed", format!("{problem}\n{file}").trim_end().to_owned());
        } else {
            let version = filter.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
            let about = format!("{}{version}: {}", filter.plugin, filter.hooks.join(", "));
            row("filter", &filter.name, "ok", about);
        }
    }
    // What a filter's own line says is not said twice.
    let said = |problem: &str| {
        let mut told = findings.filters.iter().filter_map(|filter| filter.problem.as_deref());
        told.any(|told| problem.ends_with(told))
    };
    for problem in findings.problems.iter().filter(|problem| !said(problem)) {
        row("filters", "", "failed", problem.clone());
    }
    for server in &findings.servers {
        match (&server.found, &server.problem) {
            (Some(found), _) => {
                let version = found.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
                let name = found.name.as_deref().unwrap_or("unnamed");
                let tools = match found.tools.len() {
                    1 => "1 tool".to_owned(),
                    n => format!("{n} tools"),
                };
                let about = format!(
                    "{name}{version}, MCP {} over {}, {tools}, {} ms",
                    found.protocol_version, found.transport, found.milliseconds
                );
                row("server", &server.name, "ok", about);
            }
            (None, Some(problem)) => {
                let advice = server.advice.as_deref().unwrap_or_default();
                row("server", &server.name, "failed", format!("{problem}\n{advice}"));
            }
            (None, None) if server.disabled => row("server", &server.name, "disabled", String::new()),
            (None, None) => {}
        }
    }
    let total = rows.len();
    let failed = rows.iter().filter(|row| row.get(2).is_some_and(|state| state == "failed")).count();
    let mut text = super::table::layout(&rows);
    text.push_str(&match (findings.ok, failed) {
        (true, _) => "all is well\n".to_owned(),
        (false, failed) => format!("{failed} of {total} failed\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let found = Found {
            protocol_version: "2025-11-25".into(),
            transport: "stdio",
            name: Some("notes".into()),
            version: Some("1.2".into()),
            tools: vec!["a".into()],
            milliseconds: 12,
        };
        let server = |name: &str| ServerFinding {
            name: name.into(),
            reach: "stdio: x".into(),
            disabled: false,
            found: None,
            problem: None,
            advice: None,
        };
        Findings {
            ok: false,
            config: ConfigFinding { file: "c.yaml".into(), errors: vec![], warnings: vec![] },
            filters: vec![FilterFinding {
                name: "redact".into(),
                plugin: "redact".into(),
                version: Some("0.1.0".into()),
                file: None,
                hooks: hook_names(Hooks { response: true, access: true, ..Hooks::default() }),
                problem: None,
            }],
            problems: vec![],
            servers: vec![
                ServerFinding { found: Some(found), ..server("a") },
                ServerFinding { problem: Some("dead".into()), advice: Some("bury it".into()), ..server("b") },
                ServerFinding { disabled: true, ..server("c") },
            ],
        }
    }

    #[test]
    fn people_read_a_table_and_what_to_do() {
        assert_eq!(
            text(&findings()),
            "config  c.yaml  ok\n\
             filter  redact  ok        redact 0.1.0: access, response\n\
             server  a       ok        notes 1.2, MCP 2025-11-25 over stdio, 1 tool, 12 ms\n\
             server  b       failed    dead\n\
             \u{20}                         bury it\n\
             server  c       disabled\n\
             1 of 5 failed\n"
        );
    }

    #[test]
    fn a_filter_that_fails_is_said_once_and_where_it_stands_in_the_chain() {
        let mut findings = findings();
        findings.servers.clear();
        findings.filters.insert(
            0,
            FilterFinding {
                name: "deny".into(),
                plugin: "deny".into(),
                version: None,
                file: Some("/p/deny.wasm".into()),
                hooks: vec![],
                problem: Some("it is not WebAssembly".into()),
            },
        );
        findings.problems =
            vec!["filter deny (/p/deny.wasm): it is not WebAssembly".into(), "another thing".into()];
        assert_eq!(
            text(&findings),
            "config   c.yaml  ok\n\
             filter   deny    failed  it is not WebAssembly\n\
             \u{20}                        /p/deny.wasm\n\
             filter   redact  ok      redact 0.1.0: access, response\n\
             filters          failed  another thing\n\
             2 of 4 failed\n"
        );
    }

    #[test]
    fn no_member_stands_twice() {
        // `Found` is flattened into its server, and a value would hide a member that stands twice.
        let text = serde_json::to_string(&findings().servers).unwrap();
        assert_eq!(text.matches("\"name\":").count(), findings().servers.len(), "{text}");
    }

    #[test]
    fn programs_read_every_field() {
        let value = serde_json::to_value(findings()).unwrap();
        assert_eq!(value["servers"][0]["server_version"], "1.2");
        assert_eq!(value["ok"], false);
        assert_eq!(value["servers"][0]["tools"][0], "a");
        assert_eq!(value["servers"][1]["problem"], "dead");
        assert_eq!(value["filters"][0]["hooks"][1], "response");
    }
}
