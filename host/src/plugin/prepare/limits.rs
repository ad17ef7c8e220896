//! The bounds of the preparing child: what the operating system holds against it.

/// Memory that it may write to, besides twice the plugin's own bound and a multiple of its size.
const DATA_BYTES: u64 = 2 << 30;
/// Compiling takes up to so many bytes per byte of plugin.
const DATA_PER_PLUGIN_BYTE: u64 = 64;
/// Address space: mostly reservations of the runtime that are never touched.
const ADDRESS_BYTES: u64 = 256 << 30;
/// The largest artifact.
const FILE_BYTES: u64 = 1 << 30;

/// Bounds this process for good: memory, CPU time, files, core dumps, priority.
pub(super) fn bound_this_process(seconds: u64, plugin_bytes: u64, memory_mib: u32) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let memory = u64::from(memory_mib) << 21;
    let data = DATA_BYTES + memory + plugin_bytes.saturating_mul(DATA_PER_PLUGIN_BYTE);
    for (what, most) in [
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_DATA, data),
        (libc::RLIMIT_AS, ADDRESS_BYTES),
        (libc::RLIMIT_FSIZE, FILE_BYTES),
        // The parent's clock is the real bound; this one also holds if the parent is stopped.
        (libc::RLIMIT_CPU, seconds.saturating_mul(threads).saturating_add(1)),
    ] {
        let bound = libc::rlimit { rlim_cur: most as libc::rlim_t, rlim_max: most as libc::rlim_t };
        // SAFETY: `bound` is a valid rlimit that outlives the call. A refusal (a lower bound is in force
        // already) leaves the lower bound.
        unsafe { libc::setrlimit(what, &raw const bound) };
    }
    // SAFETY: plain numbers. Calls that are being served go first.
    unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, 10) };
}
