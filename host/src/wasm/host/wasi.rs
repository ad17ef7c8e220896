//! WASI 0.2 with nothing in it: Go, Python and JavaScript runtimes import it.
//!
//! No files, environment, arguments or sockets; clocks of one millisecond; standard output and
//! error become log lines.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::super::bindings::lockgate::plugin::log::Level;
use super::super::store::State;
use super::clock;
use super::log::LogSink;

/// Most entries of WASI's own table; its default is a million.
const HANDLES: usize = 1_024;
/// Most random bytes at once; the default is 64 MiB. CPython asks for some 2,500.
const RANDOM_BYTES: u64 = 4_096;
/// A line that does not end is logged in pieces of this size.
const LINE_BYTES: usize = 4_096;
/// What a guest may write to a stream in one go.
const WRITE_BYTES: usize = 8_192;

/// What WASI keeps for one instance.
pub(in super::super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    /// In `configure`, time stands still.
    stands: Arc<AtomicBool>,
}

impl Wasi {
    fn new(log: &Arc<LogSink>, configuring: bool) -> Wasi {
        let stands = Arc::new(AtomicBool::new(configuring));
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(Lines::new(log.clone(), Level::Info))
            .stderr(Lines::new(log.clone(), Level::Warn))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES)
            .wall_clock(Coarse(stands.clone()))
            .monotonic_clock(Coarse(stands.clone()));
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Wasi { ctx: builder.build(), table, stands }
    }

    pub(in super::super) fn set_configuring(&self, configuring: bool) {
        self.stands.store(configuring, Ordering::Relaxed);
    }

    /// Whether the guest holds any of WASI's handles. A snapshot could not.
    pub(in super::super) fn holds_handles(&self) -> bool {
        !self.table.is_empty()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { wasi, log, configuring, .. } = self;
        let wasi = wasi.get_or_insert_with(|| Box::new(Wasi::new(log, *configuring)));
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

struct Coarse(Arc<AtomicBool>);

impl Coarse {
    fn stands(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl HostWallClock for Coarse {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(if self.stands() { 0 } else { clock::unix_ms() })
    }
}

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        if self.stands() { 0 } else { clock::monotonic_ms().saturating_mul(1_000_000) }
    }
}

/// A standard stream whose lines go to the log, within the same allowance.
#[derive(Clone)]
struct Lines {
    log: Arc<LogSink>,
    level: Level,
    begun: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    fn new(log: Arc<LogSink>, level: Level) -> Lines {
        Lines { log, level, begun: Arc::default() }
    }

    fn take(&self, bytes: &[u8]) {
        let Ok(mut begun) = self.begun.lock() else { return };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if piece.ends_with(b"\n") || begun.len() >= LINE_BYTES {
                self.log.line(self.level, &String::from_utf8_lossy(&begun), &[]);
                begun.clear();
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // A dying runtime's last words often lack the line break. Only the last handle says them.
        if Arc::strong_count(&self.begun) == 1 {
            let Ok(begun) = self.begun.lock() else { return };
            if !begun.is_empty() {
                self.log.line(self.level, &String::from_utf8_lossy(&begun), &[]);
            }
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // Without the background task of the default.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}
