//! Resident memory of this process, as Linux counts it.

use std::fs;

/// A line of `/proc/self/status`, in MiB; `None` where there is none.
fn status(field: &str) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib / 102.4).round() / 10.0)
}

/// What is resident now.
pub(crate) fn resident() -> Option<f64> {
    status("VmRSS")
}

/// The most that was resident since [`forget_peak`], or ever where the kernel does not forget.
pub(crate) fn peak() -> Option<f64> {
    status("VmHWM")
}

/// Begins a new peak (`proc_pid_clear_refs(5)`).
pub(crate) fn forget_peak() {
    // Where it is not allowed, the peak is that of the whole process: more, never less.
    let _ = fs::write("/proc/self/clear_refs", "5");
}
