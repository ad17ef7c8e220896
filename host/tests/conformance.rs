//! The official conformance suite finds nothing through Lockgate that it does not find without it.
//!
//! The suite is run against the server in `tests/conformance/fixture`, directly and through Lockgate.
//! What it may find is in the baseline files beside it; how to read all this: docs/testing.md.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::child::Watched;
use support::install::{conformance, node_22, sources};
use support::{Setup, paths};

/// The fixture in one era, over Streamable HTTP.
struct Fixture {
    url: String,
    _process: Watched,
}

impl Fixture {
    fn start(era: &str) -> Fixture {
        let mut command = node_22();
        command.arg(conformance().join("fixture/main.mjs")).args(["--era", era]);
        let process = Watched::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let line = process.line("line with its address", |line| line.starts_with("listening on "));
        Fixture { url: line.trim_start_matches("listening on ").to_owned(), _process: process }
    }
}

/// Checks that do not apply to what Lockgate does, so that the suite has nothing to say of them.
const NOT_APPLICABLE: [(&str, &str); 2] = [
    // Where nothing precedes an answer, Lockgate gives it as JSON; the check is about event streams.
    ("2025-11-25", "server-sse-multiple-streams:server-sse-streams-functional"),
    // The same: a scenario about how a server lets go of an event stream. Lockgate comes back to the
    // server for the answer and its client notices nothing, for which there is no check.
    ("2025-11-25", "server-sse-polling:"),
];

/// How often a check passed, failed and warned; they have no names of their own within a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    warned: usize,
}

/// What one run of the suite found.
#[derive(Default)]
struct Report {
    /// By `scenario:check`.
    checks: BTreeMap<String, Count>,
    /// What the suite said about each check that did not pass.
    complaints: Vec<String>,
    scenarios: usize,
}

impl Report {
    /// Reads the folder that the suite wrote: `[server-]<scenario>-<time>/checks.json`.
    fn read(folder: &Path) -> Report {
        let mut report = Report::default();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let scenario = &name[..name.len() - "-2026-11-28T06-29-12-552Z".len()];
            let scenario = scenario.strip_prefix("server-").unwrap_or(scenario);
            let checks = std::fs::read(path.join("checks.json")).unwrap();
            report.scenarios += 1;
            for check in serde_json::from_slice::<Vec<Value>>(&checks).unwrap() {
                report.add(scenario, &check);
            }
        }
        report
    }

    fn add(&mut self, scenario: &str, check: &Value) {
        let name = format!("{scenario}:{}", check["id"].as_str().unwrap());
        let status = check["status"].as_str().unwrap();
        if ["FAILURE", "WARNING"].contains(&status) {
            self.complaints.push(format!("{status} {name}: {}", check["errorMessage"]));
        }
        let count = self.checks.entry(name).or_default();
        match status {
            "SUCCESS" => count.passed += 1,
            "FAILURE" => count.failed += 1,
            "WARNING" => count.warned += 1,
            _ => {}
        }
    }

    fn total(&self, one: impl Fn(&Count) -> usize) -> usize {
        self.checks.values().map(one).sum()
    }

    /// The checks that were better in the other run, but for those that do not apply to this one.
    fn worse_than(&self, other: &Report, set: &str) -> Vec<String> {
        let applies =
            |name: &str| !NOT_APPLICABLE.iter().any(|(of, check)| *of == set && name.starts_with(check));
        let worse = |(name, before): (&String, &Count)| {
            let now = self.checks.get(name).copied().unwrap_or_default();
            let same =
                now.passed >= before.passed && now.failed <= before.failed && now.warned <= before.warned;
            (!same && applies(name)).then(|| format!("{name}: {before:?} directly, {now:?} through Lockgate"))
        };
        let new = self
            .checks
            .iter()
            .filter(|(name, now)| !other.checks.contains_key(*name) && now.failed + now.warned > 0);
        let new = new.map(|(name, now)| format!("{name}: {now:?} through Lockgate only"));
        other.checks.iter().filter_map(worse).chain(new).collect()
    }
}

fn suite() -> Command {
    let mut suite = node_22();
    suite.arg(conformance().join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
    suite
}

/// Runs the set of scenarios that a revision requires against `url`; the suite itself holds what it
/// found against the baseline, in which entries that pass by now are errors as well.
fn run(set: &str, way: &str, url: &str) -> Report {
    let folder = tempfile::Builder::new().prefix("lockgate-conformance-").tempdir().unwrap();
    let mut suite = suite();
    suite.args(["server", "--url", url, "--requirements", set, "--expected-failures"]);
    suite.arg(baseline(set, way)).arg("-o").arg(folder.path());
    let output = suite.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let summary = said.split_once("=== SUMMARY ===").map_or(said.as_str(), |(_, summary)| summary);
    let report = Report::read(folder.path());
    println!("--- {set} {way} ---\n{summary}\n{}", report.complaints.join("\n"));
    assert!(output.status.success(), "{set} {way} is not as its baseline says; the summary is above");
    report
}

fn baseline(set: &str, way: &str) -> PathBuf {
    sources().join(format!("conformance/baseline-{set}-{way}.yml"))
}

/// Runs a set directly and through Lockgate, against a server of their own each, and compares.
fn compare(set: &str, era: &str, scenarios: usize, directly: usize, through_lockgate: usize) {
    let (direct, behind) = (Fixture::start(era), Fixture::start(era));
    let gate = Setup::new().with_server("everything", json!({ "url": behind.url })).start();
    let through = format!("http://{}/everything/mcp", gate.address);
    let (direct, through) = std::thread::scope(|scope| {
        let direct = scope.spawn(|| run(set, "direct", &direct.url));
        let through = scope.spawn(|| run(set, "through", &through));
        (direct.join(), through.join())
    });
    let (direct, through) = (direct.unwrap(), through.unwrap());
    let reports = [("directly", &direct, directly), ("through Lockgate", &through, through_lockgate)];
    for (way, report, checks) in reports {
        let ran = (report.scenarios, report.total(|count| count.passed + count.failed + count.warned));
        assert_eq!(ran, (scenarios, checks), "scenarios and checks that ran {way}");
    }
    assert_eq!(
        through.worse_than(&direct, set),
        Vec::<String>::new(),
        "worse through Lockgate than directly"
    );
}

/// Runs a set through Lockgate against a server of the other era.
fn across(set: &str, era: &str, way: &str, scenarios: usize, checks: usize) {
    let behind = Fixture::start(era);
    let gate = Setup::new().with_server("everything", json!({ "url": behind.url })).start();
    let report = run(set, way, &format!("http://{}/everything/mcp", gate.address));
    let ran = (report.scenarios, report.total(|count| count.passed + count.failed + count.warned));
    assert_eq!(ran, (scenarios, checks), "scenarios and checks that ran {way}");
}

/// Runs one scenario of the suite's client mode: the suite is the server, and what it tests as a client
/// is Lockgate in front of it, driven by `tests/conformance/client.mjs`. So many checks must pass, and all.
fn as_client(version: &str, scenario: &str, checks: usize) {
    let folder = tempfile::Builder::new().prefix("lockgate-conformance-").tempdir().unwrap();
    let client = [node_22().get_program(), conformance().join("client.mjs").as_os_str()].map(quoted);
    let client = format!("{} {}", client.join(" "), quoted(paths::lockgate().as_os_str()));
    let mut suite = suite();
    suite.args(["client", "--scenario", scenario, "--spec-version", version, "--timeout", "60000"]);
    suite.arg("--command").arg(client).arg("-o").arg(folder.path());
    let output = suite.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let report = Report::read(folder.path());
    assert!(output.status.success(), "{scenario} of {version}: {:?}\n{said}", report.complaints);
    assert_eq!(report.complaints, Vec::<String>::new(), "{scenario} of {version}");
    assert_eq!(
        report.total(|count| count.passed),
        checks,
        "checks that ran in {scenario} of {version}\n{said}"
    );
}

/// A word for the shell.
fn quoted(word: &std::ffi::OsStr) -> String {
    format!("'{}'", word.to_str().unwrap())
}

#[test]
fn lockgate_as_a_client_of_2025_11_25() {
    // One after the other: with many at a time the suite's own deadlines pass.
    as_client("2025-11-25", "initialize", 1);
    as_client("2025-11-25", "tools_call", 2);
    as_client("2025-11-25", "elicitation-sep1034-client-defaults", 5);
    as_client("2025-11-25", "sse-retry", 3);
}

#[test]
fn lockgate_as_a_client_of_2026_07_28() {
    as_client("2026-07-28", "tools_call", 2);
    as_client("2026-07-28", "request-metadata", 8);
    as_client("2026-07-28", "sep-2322-client-request-state", 5);
    as_client("2026-07-28", "http-standard-headers", 9);
    as_client("2026-07-28", "http-custom-headers", 18);
    as_client("2026-07-28", "http-invalid-tool-headers", 12);
    as_client("2026-07-28", "json-schema-ref-no-deref", 1);
}

#[test]
fn the_required_set_of_2025_11_25() {
    compare("2025-11-25", "legacy", 33, 84, 80);
}

#[test]
fn the_required_set_of_2026_07_28() {
    compare("2026-07-28", "modern", 50, 196, 196);
}

/// No server to compare with: what a legacy server cannot give is in the baseline.
#[test]
fn the_required_set_of_2026_07_28_in_front_of_a_legacy_server() {
    let behind = Fixture::start("legacy");
    let gate = Setup::new().with_server("everything", json!({ "url": behind.url })).start();
    let report = run("2026-07-28", "to-legacy", &format!("http://{}/everything/mcp", gate.address));
    assert_eq!(report.scenarios, 50, "scenarios that ran");
}

#[test]
fn the_required_set_of_2025_11_25_in_front_of_a_modern_server() {
    across("2025-11-25", "modern", "to-modern", 33, 80);
}

#[test]
fn every_entry_of_a_baseline_has_its_reason() {
    for (set, ways) in [
        ("2025-11-25", ["direct", "through", "to-modern"]),
        ("2026-07-28", ["direct", "through", "to-legacy"]),
    ] {
        for way in ways {
            let text = std::fs::read_to_string(baseline(set, way)).unwrap();
            let lines: Vec<_> = text.lines().map(str::trim).collect();
            for pair in lines.windows(2).filter(|pair| pair[1].starts_with("- ")) {
                assert!(pair[0].starts_with('#'), "{set} {way}: say above it why `{}` fails", pair[1]);
            }
        }
    }
}
