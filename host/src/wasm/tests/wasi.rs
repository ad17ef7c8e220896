//! WASI 0.2 with nothing in it, for runtimes that import it.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::super::link::{Contract, Need};
use super::super::*;
use super::support::*;
use crate::filter::Filter;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Captured;

    fn make_writer(&'a self) -> Captured {
        self.clone()
    }
}

#[tokio::test]
async fn standard_output_becomes_log_lines() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt().with_writer(captured.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let contract = Contract::read(&wat("stdout")).expect("a contract");
    assert!(contract.imports.iter().any(|import| import.need == Need::EmptyWasi));
    let filter = load(&wat("stdout"), Setup::default()).await.expect("loaded");
    filter.request(Arc::new(call())).await.expect("a verdict");
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).expect("text");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" plugin: ")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("hello from stdout") && lines[0].contains("filter=\"the-filter\""), "{log}");
    assert!(lines[1].contains("second \\u{1b}[31mline"), "{log}");
}

#[test]
fn whoever_keeps_a_stream_open_is_configured_each_time() {
    match prepared(&wat("stdout"), &Setup::default()).expect("prepared").start {
        Start::Configure { reason } => assert!(reason.contains("WASI handles"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
