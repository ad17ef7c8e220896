//! The scanner against `serde_json::Value` on the same bytes: realistic messages of 1 KB, 20 KB and
//! 1 MB. Prints the ratio of every case (the target is at most 0.5), then the criterion report.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use lockgate::jsonrpc::{Limits, Message, Source};
use serde_json::Value;

const SIZES: [(&str, usize); 3] = [("1KB", 1 << 10), ("20KB", 20 << 10), ("1MB", 1 << 20)];
const LIMITS: Limits = Limits { bytes: 16 << 20, depth: 64, members: 1 << 20, number_bytes: 1024 };

/// Fills `part` in, numbered, until the message has about `size` bytes.
fn message(head: &str, part: impl Fn(usize) -> String, tail: &str, size: usize) -> Bytes {
    let mut text = String::from(head);
    let mut number = 0;
    while text.len() + tail.len() < size {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&part(number));
        number += 1;
    }
    text.push_str(tail);
    text.into()
}

/// The same with the parts inside of one string.
fn text_message(head: &str, part: impl Fn(usize) -> String, tail: &str, size: usize) -> Bytes {
    let mut text = String::from(head);
    let mut number = 0;
    while text.len() + tail.len() < size {
        text.push_str(&part(number));
        number += 1;
    }
    text.push_str(tail);
    text.into()
}

const RESULT: &str = r#"{"jsonrpc":"2.0","id":4711,"result":{"#;
const TEXT: &str = r#"{"jsonrpc":"2.0","id":4711,"result":{"content":[{"type":"text","text":""#;
const TEXT_END: &str = r#""}],"isError":false}}"#;

fn cases(size: usize) -> Vec<(&'static str, Bytes)> {
    let arguments = message(
        r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"create_issues","_meta":{"progressToken":3},"arguments":{"repository":"acme/widgets","issues":["#,
        |n| {
            format!(
                r#"{{"title":"Widget {n} does not close","body":"Steps: open it, then press \"close\".\nIt stays open.","labels":["bug","ui"],"priority":{n},"draft":false,"assignee":null}}"#
            )
        },
        "]}}}",
        size,
    );
    let tools = message(
        &format!("{RESULT}\"tools\":["),
        |n| {
            format!(
                r#"{{"name":"tool_{n}","title":"Tool number {n}","description":"Searches the index of widgets by name and returns the best matches, newest first.","inputSchema":{{"type":"object","properties":{{"query":{{"type":"string","description":"What to search for"}},"limit":{{"type":"integer","minimum":1,"maximum":100,"default":20}}}},"required":["query"],"additionalProperties":false}},"annotations":{{"readOnlyHint":true,"openWorldHint":false}}}}"#
            )
        },
        "]}}",
        size,
    );
    let rows = message(
        &format!("{RESULT}\"content\":[],\"structuredContent\":{{\"rows\":["),
        |n| format!(r#"{{"id":{n},"x":{}.25,"y":-{},"t":1763{:06},"ok":true}}"#, n * 7, n * 3, n),
        "]}}}",
        size,
    );
    let numbers = message(
        &format!("{RESULT}\"content\":[],\"structuredContent\":{{\"values\":["),
        |n| format!("{}", (n * 7919) % 100_000),
        "]}}}",
        size,
    );
    let base64 = text_message(
        &format!("{RESULT}\"content\":[{{\"type\":\"image\",\"mimeType\":\"image/png\",\"data\":\""),
        |_| "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk".to_owned(),
        r#""}]}}"#,
        size,
    );
    let escaped = text_message(
        TEXT,
        |n| format!(r#"{{\"id\":{n},\"title\":\"Widget {n}\",\"state\":\"open\"}},\n"#),
        TEXT_END,
        size,
    );
    let foreign = text_message(TEXT, |_| "水門は船を二つの水位の間に通す。".to_owned(), TEXT_END, size);
    let members = message(
        &format!("{RESULT}\"content\":[],\"structuredContent\":{{"),
        |n| format!(r#""measurement-{n}":{n}"#),
        "}}}",
        size,
    );
    let pretty = serde_json::from_slice::<Value>(&arguments)
        .ok()
        .and_then(|value| serde_json::to_vec_pretty(&value).ok());
    vec![
        ("call", arguments),
        ("tools", tools),
        ("rows", rows),
        ("numbers", numbers),
        ("base64", base64),
        ("escaped", escaped),
        ("foreign", foreign),
        ("members", members),
        ("pretty", pretty.unwrap_or_default().into()),
    ]
}

fn scan(bytes: &Bytes) {
    if let Err(violation) = black_box(Message::parse(bytes.clone(), &LIMITS, Source::Server)) {
        eprintln!("not a message: {violation}");
    }
}

fn parse(bytes: &Bytes) {
    let _ = black_box(serde_json::from_slice::<Value>(bytes));
}

/// The least time of one run, over many rounds of both in turn: what other work on the machine
/// costs falls out.
fn least(bytes: &Bytes) -> (Duration, Duration) {
    let runs = (200_000 / bytes.len()).max(1) as u32;
    let timed = |run: fn(&Bytes)| {
        let start = Instant::now();
        for _ in 0..runs {
            run(black_box(bytes));
        }
        start.elapsed() / runs
    };
    let rounds = (0..60).map(|_| (timed(scan), timed(parse)));
    rounds.fold((Duration::MAX, Duration::MAX), |least, now| (least.0.min(now.0), least.1.min(now.1)))
}

fn main() {
    println!("{:<10}{:>6}{:>14}{:>14}{:>8}", "message", "size", "scan", "serde_json", "ratio");
    for (size_name, size) in SIZES {
        for (name, bytes) in cases(size) {
            let (ours, theirs) = least(&bytes);
            let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
            println!("{name:<10}{size_name:>6}{ours:>14.2?}{theirs:>14.2?}{ratio:>8.2}");
        }
    }
    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    for (size_name, size) in SIZES {
        for (name, bytes) in cases(size) {
            let mut group = criterion.benchmark_group(format!("jsonrpc/{name}"));
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_with_input(BenchmarkId::new("scan", size_name), &bytes, |b, bytes| {
                b.iter(|| scan(bytes))
            });
            group.bench_with_input(BenchmarkId::new("serde_json", size_name), &bytes, |b, bytes| {
                b.iter(|| parse(bytes));
            });
            group.finish();
        }
    }
    criterion.final_summary();
}
