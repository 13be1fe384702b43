//! The kernel's switches, as data: what each is set to, and why.
//!
//! What a kernel does not have is skipped and told; nothing here can keep the machine from starting.

use std::fs;
use std::path::Path;

/// Path under /proc/sys, value, and the reason.
const TABLE: [(&str, &str, &str); 23] = [
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
    ("net/ipv4/conf/all/rp_filter", "2", "no packet from where no route leads, with several links"),
    ("net/ipv4/conf/all/accept_redirects", "0", "nobody else says where our traffic goes"),
    ("net/ipv6/conf/all/accept_redirects", "0", "the same"),
    ("net/ipv4/conf/all/accept_source_route", "0", "the same"),
    ("net/ipv4/tcp_syncookies", "1", "a flood of half-open connections shuts nobody out"),
    ("vm/overcommit_memory", "0", "the kernel's own sense of what memory there is"),
    ("vm/panic_on_oom", "0", "one job that wants too much ends, the machine does not"),
];

/// How long the machine waits before it starts again after the kernel crashed: long enough to read why.
pub(crate) const PANIC_PAUSE_SECONDS: u32 = 30;

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
        match fs::write(&path, format!("{value}\n")) {
            Ok(()) => set += 1,
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
        assert_eq!(set(&root).unwrap(), "1 switches, 23 not in this kernel");
        assert_eq!(fs::read_to_string(root.join("kernel/sysrq")).unwrap(), "0\n");
        fs::create_dir(root.join("kernel/panic")).unwrap();
        assert!(set(&root).unwrap_err().contains("kernel/panic: "));
        fs::remove_dir_all(&root).unwrap();
    }
}
