//! What the machine uses of itself: memory, programs, doors that are open to the network. Told to tests, and to a person
//! where there is too little memory to go on well.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::Appliance;

/// With less the kernel and our modules leave no room for jobs; the README says so.
const MEMORY_KIB_MIN: u64 = 192 * 1024;
/// What the firmware and the kernel itself take away of a machine's memory before it is counted.
const RESERVED_KIB_MAX: u64 = 40 * 1024;
/// After so long without anybody's doing the machine is at rest.
const REST: Duration = Duration::from_secs(20);
/// The states of a TCP socket that listens, and of a UDP socket that is bound and nobody's partner, as the kernel writes them.
const TCP_LISTENS: &str = "0A";
const UDP_OPEN: &str = "07";

/// Whether there is memory enough to work with.
pub(crate) fn check_memory() -> Result<String, String> {
    let text =
        fs::read_to_string("/proc/meminfo").map_err(|error| format!("/proc/meminfo: {error}"))?;
    judge_memory(kib(&text, "MemTotal:").ok_or("/proc/meminfo tells no total")?)
}

fn judge_memory(total: u64) -> Result<String, String> {
    let mib = total / 1024;
    match total + RESERVED_KIB_MAX >= MEMORY_KIB_MIN {
        true => Ok(format!("{mib} MiB")),
        false => Err(format!(
            "this machine has too little memory: {mib} MiB after what the kernel takes, and Lifeboat needs a machine of {} MiB; jobs may fail: give it more",
            MEMORY_KIB_MIN / 1024
        )),
    }
}

/// A line of /proc/meminfo.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How much memory the machine has, after what the kernel takes; 0 where that cannot be known.
pub(crate) fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib(&text, "MemTotal:").unwrap_or(0) * 1024
}

/// How much memory programs can still have; `None` where that cannot be known.
pub(crate) fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    kib(&text, "MemAvailable:")?.checked_mul(1024)
}

/// Tells tests once, at rest.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    if !appliance.line.test || appliance.stop.rest(REST) {
        return Ok(());
    }
    let text =
        fs::read_to_string("/proc/meminfo").map_err(|error| format!("/proc/meminfo: {error}"))?;
    let value = |name: &str| kib(&text, name).unwrap_or(0);
    let (total, available) = (value("MemTotal:"), value("MemAvailable:"));
    let doors = |file: &str, state: &str| {
        let table = fs::read_to_string(Path::new("/proc/net").join(file)).unwrap_or_default();
        open_doors(&table, state)
    };
    let listening: usize = doors("tcp", TCP_LISTENS) + doors("tcp6", TCP_LISTENS);
    let datagrams: usize = doors("udp", UDP_OPEN) + doors("udp6", UDP_OPEN);
    let programs = programs(Path::new("/"));
    let resident = hal_linux::process::residency().map_or(0, |memory| memory.now_bytes / 1024);
    appliance.events.say(
        "rest",
        &[
            ("total", &total),
            ("available", &available),
            ("resident", &resident),
            ("listening", &listening),
            ("datagrams", &datagrams),
            ("programs", &programs),
        ],
    );
    Ok(())
}

/// Sockets of one of the kernel's tables that are in this state.
fn open_doors(table: &str, state: &str) -> usize {
    table.lines().skip(1).filter(|line| line.split_whitespace().nth(3) == Some(state)).count()
}

/// Files on the first file system that may be executed: what could run, whatever runs.
fn programs(root: &Path) -> usize {
    let Ok(first) = fs::metadata(root) else { return 0 };
    let mut found = 0;
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            if facts.is_dir() && facts.dev() == first.dev() {
                folders.push(entry.path());
            } else if facts.is_file() && facts.permissions().mode() & 0o111 != 0 {
                found += 1;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_told_with_what_is_needed() {
        // As a machine of 192 MiB shows itself, and one of 128.
        assert!(judge_memory(168_000).is_ok());
        let words = judge_memory(104_000).unwrap_err();
        assert!(words.contains("101 MiB") && words.contains("192 MiB"), "{words}");
        assert_eq!(kib("MemTotal:       104000 kB\nMemFree: 1 kB\n", "MemTotal:"), Some(104_000));
        assert_eq!(kib("MemTotal: x", "MemTotal:"), None);
    }

    #[test]
    fn doors_and_programs_are_counted() {
        let table = "  sl  local_address rem_address   st tx\n   0: 0100007F:0277 00000000:0000 0A 0\n   \
            1: 0100007F:0278 0100007F:9999 01 0\n";
        assert_eq!((open_doors(table, "0A"), open_doors("", "0A")), (1, 0));
        let root = std::env::temp_dir().join(format!("lifeboat-programs-{}", std::process::id()));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/plain"), b"x").unwrap();
        fs::write(root.join("run"), b"x").unwrap();
        fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(programs(&root), 1);
        fs::remove_dir_all(&root).unwrap();
    }
}
