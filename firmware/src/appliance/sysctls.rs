//! The kernel's switches, as data: what each is set to, and why.
//!
//! What a kernel does not have is skipped and told; nothing here can keep the machine from starting.

use std::fs;
use std::path::Path;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Path under /proc/sys, value, and the reason.
const TABLE: [(&str, &str, &str); 42] = [
    ("kernel/modprobe", "", "the kernel starts no helper program: there is none"),
    ("kernel/hotplug", "", "the same of an older kernel's helper"),
    ("kernel/core_pattern", "|/nowhere", "no core file, which could hold keys, is ever written"),
    ("fs/suid_dumpable", "0", "the same for programs that changed their identity"),
    ("kernel/kptr_restrict", "2", "addresses of the kernel are nobody's business"),
    ("kernel/dmesg_restrict", "1", "nor is its log, but the first process's"),
    ("kernel/perf_event_paranoid", "3", "nobody measures here"),
    ("kernel/unprivileged_bpf_disabled", "1", "nobody loads programs into the kernel"),
    ("net/core/bpf_jit_harden", "2", "those of our own sockets are hardened"),
    ("kernel/yama/ptrace_scope", "3", "no process looks into another, for good"),
    ("kernel/kexec_load_disabled", "1", "no other kernel is started from this one"),
    ("kernel/sysrq", "0", "no keys around the console"),
    ("user/max_user_namespaces", "0", "nobody makes a world of their own"),
    ("vm/unprivileged_userfaultfd", "0", "a tool of exploits only"),
    ("dev/tty/ldisc_autoload", "0", "no line discipline comes by itself"),
    ("kernel/io_uring_disabled", "1", "io_uring is root's alone, and of that only what has disks"),
    ("fs/protected_symlinks", "1", "no link of somebody else is followed where many write"),
    ("fs/protected_hardlinks", "1", "nobody keeps hold of a file that is not his"),
    ("fs/protected_fifos", "2", "no pipe that somebody else put there is taken for a file"),
    ("fs/protected_regular", "2", "nor a file"),
    ("vm/memfd_noexec", "2", "what is only in memory is not run"),
    ("vm/mmap_min_addr", "65536", "nothing lies where the kernel's own mistakes would point"),
    ("kernel/randomize_va_space", "2", "where things lie in memory is not known beforehand"),
    ("kernel/oops_limit", "100", "who makes the kernel stumble again and again gets no further"),
    ("kernel/core_pipe_limit", "0", "no crash waits for a helper"),
    ("dev/tty/legacy_tiocsti", "0", "nobody types for a person at the console"),
    ("net/ipv4/conf/default/accept_redirects", "0", "the same for links that come later"),
    ("net/ipv6/conf/default/accept_redirects", "0", "the same"),
    ("net/ipv4/conf/all/secure_redirects", "0", "not even who is a router"),
    ("net/ipv4/conf/all/send_redirects", "0", "this machine is no router"),
    ("net/ipv4/conf/default/accept_source_route", "0", "nobody says by which way we answer"),
    ("net/ipv6/conf/all/accept_source_route", "-1", "the same"),
    ("net/ipv4/icmp_echo_ignore_broadcasts", "1", "nobody is flooded in our name"),
    ("net/ipv4/tcp_fastopen", "0", "nobody connects without asking for it"),
    ("net/ipv4/tcp_rfc1337", "1", "no stray packet ends a connection that is over"),
    ("net/ipv4/conf/all/rp_filter", "2", "no packet from where no route leads, with several links"),
    ("net/ipv4/conf/all/accept_redirects", "0", "nobody else says where our traffic goes"),
    ("net/ipv6/conf/all/accept_redirects", "0", "the same"),
    ("net/ipv4/conf/all/accept_source_route", "0", "the same"),
    ("net/ipv4/tcp_syncookies", "1", "a flood of half-open connections shuts nobody out"),
    ("vm/overcommit_memory", "0", "the kernel's own sense of what memory there is"),
    ("vm/panic_on_oom", "0", "one job that wants too much ends, the machine does not"),
];

/// Set to 1 it stays so.
const LOCK: &str = "/proc/sys/kernel/modules_disabled";

/// How long the machine waits before it starts again after the kernel crashed: long enough to read why.
pub(crate) const PANIC_PAUSE_SECONDS: u32 = 30;

/// From now on the kernel takes no module, whoever asks, until the machine starts again.
pub(crate) fn lock_modules() -> Result<(), String> {
    fs::write(LOCK, "1\n").map_err(|error| format!("{LOCK}: {error}"))
}

/// Whether it takes none any more.
pub(crate) fn modules_are_locked() -> bool {
    fs::read_to_string(LOCK).is_ok_and(|text| text.trim() == "1")
}

/// No core file of the first process, nor of anything that it starts.
pub(crate) fn forbid_cores() -> Result<(), String> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|errno| format!("a crash could write a core file: {errno}"))
}

/// Sets them all under `root`, which is /proc/sys.
pub(crate) fn set(root: &Path) -> Result<String, String> {
    let mut set = 0;
    let mut missing = Vec::new();
    let mut refused = Vec::new();
    let pause = PANIC_PAUSE_SECONDS.to_string();
    let rows = TABLE.iter().map(|(name, value, _)| (*name, *value));
    for (name, value) in rows.chain([("kernel/panic", pause.as_str())]) {
        let path = root.join(name);
        if !path.exists() {
            missing.push(name);
            continue;
        }
        let written = fs::write(&path, format!("{value}\n"));
        match written.and_then(|()| fs::read_to_string(&path)) {
            Ok(now) if now.trim() == value => set += 1,
            Ok(now) => refused.push(format!("{name}: it stays at {}", now.trim())),
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    for name in &missing {
        log::debug!("this kernel has no switch {name}");
    }
    if refused.is_empty() {
        Ok(format!("{set} switches, {} not in this kernel", missing.len()))
    } else {
        Err(format!("the kernel refuses {}", refused.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_is_named_once_and_has_its_reason() {
        for (place, (name, _, reason)) in TABLE.iter().enumerate() {
            assert!(reason.len() > 5, "{name}");
            assert!(TABLE[..place].iter().all(|(earlier, ..)| earlier != name), "{name}");
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_skipped_and_a_refusal_is_told() {
        let root = std::env::temp_dir().join(format!("lifeboat-sysctls-{}", std::process::id()));
        fs::create_dir_all(root.join("kernel")).unwrap();
        fs::write(root.join("kernel/sysrq"), "176\n").unwrap();
        // With the pause after a crash, which is no row.
        let missing = TABLE.len();
        assert_eq!(set(&root).unwrap(), format!("1 switches, {missing} not in this kernel"));
        assert_eq!(fs::read_to_string(root.join("kernel/sysrq")).unwrap(), "0\n");
        fs::create_dir(root.join("kernel/panic")).unwrap();
        assert!(set(&root).unwrap_err().contains("kernel/panic: "));
        fs::remove_dir_all(&root).unwrap();
    }
}
