//! `lockgate plugin inspect`: what a plugin file is, has and wants, and how its instances will start.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::table::layout;
use super::{EXIT_CODES, Output, print};
use crate::config::FilterLimits;
use crate::plugin::directory::plugin_name;
use crate::plugin::inspect::{Access, Import, Inspection, inspect};
use crate::plugin::load::StartKind;
use crate::plugin::prepare::{PreparationError, Preparer, Request};
use crate::wasm::EngineSettings;

/// Larger than any plugin that could be served: whoever inspects wants to know why it cannot.
const MAX_BYTES: u64 = 1 << 30;

/// `lockgate plugin inspect`
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  lockgate plugin inspect ./plugins/redact.wasm
  lockgate plugin inspect redact.wasm --config '{{\"pointers\": [\"/content/*/text\"]}}'
{EXIT_CODES}"))]
pub struct Arguments {
    /// The plugin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Configuration to try it with, as JSON; `@FILE` reads a JSON file
    #[arg(long, value_name = "JSON|@FILE")]
    pub config: Option<String>,
    /// Longest wait for compiling and configuring it
    #[arg(long, default_value = "30s", value_parser = super::parse_duration)]
    pub timeout: Duration,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Everything there is to tell.
#[derive(Debug, Serialize)]
struct Findings {
    file: PathBuf,
    /// What filters of it are named by default.
    plugin: String,
    #[serde(flatten)]
    inspection: Inspection,
    /// What to write under `grants:` of its filter.
    grants: Vec<String>,
    /// How its instances start, if it could be tried.
    instances: Option<StartKind>,
    /// Why it could not be tried, or not be used.
    problems: Vec<String>,
    /// What to know besides.
    notes: Vec<String>,
}

/// Does it.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let file = &arguments.file;
    let config = configuration(arguments.config.as_deref())?;
    let wasm = std::fs::read(file).map_err(|e| unreadable(&file.display().to_string(), &e))?;
    let inspection =
        inspect(&wasm, MAX_BYTES).with_context(|| format!("{} is not a plugin", file.display()))?;
    let mut findings = findings(file, inspection);
    if findings.problems.is_empty() {
        let preparer = Preparer::child(arguments.timeout).context("cannot find this program")?;
        let text = config.as_ref().map_or_else(|| "{}".to_owned(), serde_json::Value::to_string);
        let request =
            Request::new(&findings.plugin, &text, FilterLimits::default(), &EngineSettings::default());
        let tried = super::runtime()?.block_on(preparer.prepare(request, wasm.into()));
        tell(&mut findings, tried.map(|prepared| prepared.start), config.is_some());
    }
    let text = match arguments.output {
        Output::Text => text(&findings),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&findings)?),
    };
    print(&text)?;
    Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn configuration(argument: Option<&str>) -> anyhow::Result<Option<serde_json::Value>> {
    let Some(argument) = argument else { return Ok(None) };
    let (text, from) = match argument.strip_prefix('@') {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
            (text, path.to_owned())
        }
        None => (argument.to_owned(), "the value of --config".to_owned()),
    };
    let value = serde_json::from_str(&text)
        .with_context(|| format!("{from} is not JSON; write it like '{{\"key\": 1}}', or @FILE"))?;
    Ok(Some(value))
}

fn unreadable(file: &str, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot read {file}: {}", crate::config::expand::plain(error))
}

fn findings(file: &Path, inspection: Inspection) -> Findings {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut problems = Vec::new();
    for export in inspection.exports.iter().filter(|export| !export.wired) {
        problems.push(format!("this version of Lockgate does not call the hook `{}` yet", export.hook));
    }
    for import in inspection.imports.iter().filter(|import| import.access == Access::NotWired) {
        problems.push(format!("this version of Lockgate does not provide `{}` yet", import.interface));
    }
    let needs = inspection.imports.iter().filter(|import| import.access == Access::Granted);
    let grants = needs.filter_map(|import| import.service.clone()).collect();
    let mut notes = Vec::new();
    if inspection.hooks.authenticate || inspection.hooks.upstream {
        notes.push(
            "it authenticates or sets credentials, so it must be listed under `filters:`; dropping it into the \
             plugin directory is not enough"
                .to_owned(),
        );
    }
    let plugin = plugin_name(&stem).to_owned();
    Findings { file: file.to_owned(), plugin, inspection, grants, instances: None, problems, notes }
}

/// What trying it said. That it refuses an empty configuration is only bad if it was given one.
fn tell(findings: &mut Findings, tried: Result<StartKind, PreparationError>, configured: bool) {
    match tried {
        Ok(start) => findings.instances = Some(start),
        Err(PreparationError::Plugin(reason)) if !configured => findings.notes.push(format!(
            "how it starts was not found out, because without a configuration {reason}; give it one with --config"
        )),
        Err(error) => findings.problems.push(error.to_string()),
    }
}

fn text(findings: &Findings) -> String {
    let about = &findings.inspection;
    let name = about.name.as_deref().unwrap_or(&findings.plugin);
    let version = about.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut text = format!("{name}{version}  {}\n", findings.file.display());
    if let Some(description) = &about.description {
        text.push_str(&format!("{description}\n"));
    }
    text.push('\n');
    let mut rows = vec![
        row("plugin", &findings.plugin),
        row("size", &size(about.size)),
        row("sha256", &hex::encode(about.sha256)),
        row("hooks", &hooks(about)),
        row("imports", &imports(&about.imports)),
        row("grants", &grants(findings)),
        row("instances", &instances(findings)),
        row("config", &schema(about)),
    ];
    let lists = [("note", &findings.notes), ("odd", &about.remarks), ("problem", &findings.problems)];
    for (label, list) in lists {
        rows.extend(list.iter().map(|item| row(label, item)));
    }
    text.push_str(&layout(&rows));
    text
}

fn row(label: &str, value: &str) -> Vec<String> {
    vec![format!("  {label}"), value.to_owned()]
}

fn hooks(about: &Inspection) -> String {
    let names = about.exports.iter().map(|export| match export.wired {
        true => export.hook.to_owned(),
        false => format!("{} (not called yet)", export.hook),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn imports(imports: &[Import]) -> String {
    let mut lines = Vec::new();
    for import in imports {
        let Some(service) = &import.service else { continue };
        let what = match import.access {
            Access::Contract => continue,
            Access::Free => "always there",
            Access::Granted => "needs a grant",
            Access::NotWired => "not provided yet",
            Access::Empty => "empty",
        };
        let reason = import.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("{service} ({what}){reason}"));
    }
    let wasi = imports.iter().filter(|import| import.access == Access::Empty).count();
    if wasi > 0 {
        lines.push(format!("{wasi} of WASI, with nothing behind them: no files, network or environment"));
    }
    if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
}

fn grants(findings: &Findings) -> String {
    match findings.grants.as_slice() {
        [] => "none needed".to_owned(),
        wanted => wanted.iter().map(|service| format!("{service}: [NAME, …]")).collect::<Vec<_>>().join("\n"),
    }
}

fn instances(findings: &Findings) -> String {
    match &findings.instances {
        Some(start) => start.to_string(),
        None => "not tried".to_owned(),
    }
}

fn schema(about: &Inspection) -> String {
    match &about.config_schema {
        Some(schema) => serde_json::to_string_pretty(schema).unwrap_or_default(),
        None if about.has_lifecycle() => "it takes one and brings no schema".to_owned(),
        None => "it takes none".to_owned(),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=1023 => format!("{bytes} bytes"),
        1024..=1_048_575 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::samples::component_with;

    fn found(hooks: &[&str], imports: &[&str], more: &str) -> Findings {
        let wasm = component_with(hooks, imports, more);
        findings(Path::new("/p/10-sample.wasm"), inspect(&wasm, MAX_BYTES).unwrap())
    }

    #[test]
    fn people_read_what_it_is_and_wants() {
        let mut findings = found(
            &["lifecycle", "upstream"],
            &["log", "types", "secrets", "wasi:io/error@0.2.3", "wasi:cli/exit@0.2.3"],
            r#"(@custom "version" "1.2.3") (@custom "lockgate:import-reasons" "{\"secrets\":\"to sign in\"}")
               (@custom "lockgate:config-schema" "{\"type\":\"object\"}")"#,
        );
        tell(&mut findings, Ok(StartKind::Snapshot), false);
        let text = text(&findings);
        for part in [
            "sample 1.2.3  /p/10-sample.wasm",
            "lifecycle, upstream",
            "secrets (needs a grant): to sign in",
            "2 of WASI, with nothing behind them",
            "secrets: [NAME, …]",
            "from a snapshot",
            "\"type\": \"object\"",
            "must be listed under `filters:`",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(findings.problems.is_empty());
    }

    #[test]
    fn programs_read_the_same() {
        let mut findings = found(&["access"], &["secrets"], "");
        tell(&mut findings, Ok(StartKind::Configure { reason: "nests modules".into() }), false);
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["plugin"], "sample");
        assert_eq!(json["exports"][0]["hook"], "access");
        assert_eq!(json["grants"], serde_json::json!(["secrets"]));
        assert_eq!(json["instances"], serde_json::json!({"kind": "configure", "reason": "nests modules"}));
        assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn what_is_not_wired_up_is_a_problem() {
        let findings = found(&["access", "observe"], &["kv"], "");
        assert_eq!(findings.problems.len(), 2);
        assert!(text(&findings).contains("observe (not called yet)"));
    }

    #[test]
    fn refusing_no_configuration_is_no_problem_and_refusing_a_given_one_is() {
        let refused = || Err(PreparationError::Plugin("it refuses".into()));
        let mut without = found(&["lifecycle", "access"], &[], "");
        tell(&mut without, refused(), false);
        assert!(without.problems.is_empty() && without.notes[0].contains("give it one with --config"));
        let mut with = found(&["lifecycle", "access"], &[], "");
        tell(&mut with, refused(), true);
        assert_eq!(with.problems, ["it refuses"]);
    }

    #[test]
    fn the_configuration_is_json_or_a_file_of_it() {
        assert_eq!(configuration(None).unwrap(), None);
        assert_eq!(configuration(Some("{\"a\":1}")).unwrap(), Some(serde_json::json!({"a": 1})));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[2]").unwrap();
        let argument = format!("@{}", file.path().display());
        assert_eq!(configuration(Some(&argument)).unwrap(), Some(serde_json::json!([2])));
        assert!(configuration(Some("a: 1")).unwrap_err().to_string().contains("is not JSON"));
        assert!(configuration(Some("@/nowhere")).is_err());
    }
}
