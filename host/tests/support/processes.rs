//! Other processes, as /proc shows them.

use std::time::{Duration, Instant};

/// Whether the long forms of tests are asked for (`cargo xtask soak`).
pub fn soak() -> bool {
    std::env::var_os("LOCKGATE_SOAK").is_some_and(|value| !value.is_empty())
}

/// Whether it runs; a zombie does not.
pub fn runs(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// All processes, zombies included, that have that parent.
pub fn children_of(parent: i32) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent)).collect()
}

/// Its arguments, with spaces between them.
pub fn command_line(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Its environment, with spaces between the variables.
pub fn environment(pid: i32) -> String {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&environment).replace('\0', " ")
}

/// The most memory it has had since [`forget_peak`], in bytes.
pub fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Takes what it has now for its peak, and returns it.
pub fn forget_peak(pid: i32) -> u64 {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak_memory(pid)
}

/// Waits until it is so.
pub fn until(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        pause();
    }
}

/// Between two looks at what nothing tells of: the processor belongs to what is looked at.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
