//! What strace saw between the first freeze and the last thaw.

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// File systems frozen.
    pub(crate) freezes: usize,
    /// Calls that may wait for a frozen file system, or for memory that may have to be written to one first.
    pub(crate) forbidden: Vec<String>,
}

/// What is needed to wait, to thaw and to talk to each other. `write` is the test's own word that it is frozen.
const ALLOWED: [&str; 14] = [
    "ioctl",
    "futex",
    "poll",
    "ppoll",
    "sendmsg",
    "recvmsg",
    "clock_nanosleep",
    "nanosleep",
    "clock_gettime",
    "restart_syscall",
    "write(1",
    "sched_yield",
    "gettid",
    "close",
];

/// Calls of both processes while anything was frozen.
pub(crate) fn under_freeze(log: &str) -> Calls {
    let mut calls = Calls::default();
    let mut frozen = 0_usize;
    for line in log.lines() {
        let call = line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
        let call = call.trim_start_matches("<... ");
        let begins = !call.contains(" resumed>");
        if call.contains("FIFREEZE") || call.contains("0xc0045877") {
            calls.freezes += 1;
            frozen += 1;
        }
        let known = ALLOWED.iter().any(|name| call.starts_with(name));
        if frozen > 0 && begins && !known && !call.starts_with("+++") && !call.starts_with("---") {
            calls.forbidden.push(line.to_owned());
        }
        if call.contains("FITHAW") || call.contains("0xc0045878") {
            frozen = frozen.saturating_sub(1);
        }
    }
    calls
}
