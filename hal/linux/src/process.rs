//! What this process uses of the machine, as the kernel counts it.

use std::fs;
use std::thread;

/// Resident memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residency {
    /// Resident now.
    pub now_bytes: u64,
    /// The most it ever was, or was since `reset_peak`.
    pub peak_bytes: u64,
}

/// Resident memory of this process; `None` where /proc is not mounted.
pub fn residency() -> Option<Residency> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Makes the peak start over from what is resident now; false where the kernel does not let us.
pub fn reset_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Processors that this process may run on, at least 1.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, core::num::NonZero::get)
}

fn parse(status: &str) -> Option<Residency> {
    let field = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kilobytes.checked_mul(1024)
    };
    Some(Residency { now_bytes: field("VmRSS:")?, peak_bytes: field("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_parsed_or_refused() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse(status), Some(Residency { now_bytes: 1 << 20, peak_bytes: 2 << 20 }));
        for bad in ["", "VmRSS: 1 kB", "VmRSS: x kB\nVmHWM: 1 kB", "VmRSS: 1\nVmHWM: 2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let huge = "VmRSS: 18446744073709551615 kB\nVmHWM: 1 kB";
        assert_eq!(parse(huge), None);
    }

    #[test]
    fn residency_follows_what_we_touch() {
        let before = residency().unwrap();
        let touched = vec![1_u8; 64 << 20];
        let during = residency().unwrap();
        assert!(during.now_bytes >= before.now_bytes + (48 << 20), "{before:?} {during:?}");
        assert!(during.peak_bytes >= during.now_bytes);
        drop(core::hint::black_box(touched));
        if reset_peak() {
            let after = residency().unwrap();
            assert!(after.peak_bytes < during.peak_bytes, "{during:?} {after:?}");
        } else {
            eprintln!("SKIPPED, not tested on this machine: the peak cannot be reset");
        }
        assert!(processors() >= 1);
    }
}
