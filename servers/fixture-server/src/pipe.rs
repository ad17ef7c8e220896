//! Ways to fill a pipe that a reader has to cope with: cut frames, noise, lines without an end.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::state::State;

/// Answers with a text of one, two, three and four bytes per character, in two writes: the second only
/// once the reader has taken the first `at` bytes, so that it cannot see them as one.
pub fn cut(id: &Value, at: usize) -> io::Result<()> {
    let frame = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"aé€😀\\\\\"}}]}}}}\n"
    );
    let (first, second) = frame.as_bytes().split_at(at.min(frame.len()));
    let mut out = io::stdout().lock();
    out.write_all(first)?;
    out.flush()?;
    while unread(&out)? > 0 {
        std::thread::yield_now();
    }
    out.write_all(second)?;
    out.flush()
}

/// Answers with a frame of exactly so many bytes, its newline not counted.
pub fn sized(state: &State, id: &Value, bytes: usize) -> io::Result<()> {
    let start = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\""
    );
    const END: &str = "\"}]}}";
    let fill = bytes.saturating_sub(start.len() + END.len());
    state.send_raw(format!("{start}{}{END}", "x".repeat(fill)).as_bytes())
}

/// Writes one line of at least so many bytes, for at least so long; nobody else gets to write before it
/// has ended.
pub fn endless(bytes: usize, time: Duration) -> io::Result<()> {
    let began = Instant::now();
    let part = [b'x'; 64 << 10];
    let mut out = io::stdout().lock();
    let mut left = bytes;
    while left > 0 || began.elapsed() < time {
        out.write_all(&part)?;
        left = left.saturating_sub(part.len());
    }
    out.write_all(b"\n")?;
    out.flush()
}

/// From now on writes so many lines per second that are no messages, for so long.
pub fn keep_up_noise(state: &Arc<State>, per_second: u64, time: Duration) {
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        let (began, mut said) = (Instant::now(), 0);
        while began.elapsed() < time {
            let due = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) * per_second / 1000;
            while said < due {
                let line = format!("\x1b[32m[info]\x1b[0m {{line {said}}} of no protocol");
                if state.send_raw(line.as_bytes()).is_err() {
                    return;
                }
                said += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

fn unread(pipe: &impl AsRawFd) -> io::Result<i32> {
    let mut bytes = 0;
    // SAFETY: the descriptor is open, and the call writes one integer.
    match unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(bytes),
    }
}
