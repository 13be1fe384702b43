//! How little this program takes from the server that it runs on: it stands behind everybody else, and its memory stays.

use std::fs;
use std::path::{Path, PathBuf};

use hal_linux::{manners, process};

/// The name of its control group.
const GROUP: &str = "lifeboat-agent";

/// What this program may take at most, where control groups of version 2 are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "every caller says all of it")]
pub struct Bounds {
    /// Of one processor, in percent.
    pub cpu_percent: u32,
    /// Memory, beyond which the kernel takes it back or ends us: far above what is ever needed.
    pub memory_bytes: u64,
    /// Its weight on disks among others, 1 to 10 000; 100 is everybody's.
    pub io_weight: u16,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { cpu_percent: 100, memory_bytes: 1 << 30, io_weight: 10 }
    }
}

/// Makes this process stand behind all others, and keeps its memory where it is. Threads that run already keep their
/// priority: so this is done first of all, but after the dead-man was started, who must not be kept waiting. What this
/// machine does not let us do is told, and done without.
pub fn behave(bounds: Bounds) -> Vec<String> {
    let mut told = Vec::new();
    let mut note = |what: &str, result: Result<(), String>| {
        told.extend(result.err().map(|error| format!("{what}: {error}")));
    };
    let words = |error: std::io::Error| error.to_string();
    note("priority is not lowered", manners::be_nice(19).map_err(words));
    note("priority on disks is not lowered", manners::be_idle_on_disks().map_err(words));
    note("memory that is free is kept", manners::spare_memory().map_err(words));
    note("memory is not locked", manners::lock_memory().map_err(words));
    note("no control group of its own", enter_group(bounds));
    told
}

/// Resident memory of this process, bytes.
#[must_use]
pub fn resident_bytes() -> u64 {
    process::residency().map_or(0, |residency| residency.now_bytes)
}

/// Where control groups of version 2 are mounted, where they are.
#[must_use]
pub fn control_groups() -> Option<PathBuf> {
    unified(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

fn enter_group(bounds: Bounds) -> Result<(), String> {
    let root = control_groups().ok_or("this system has no control groups of version 2")?;
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    if own.lines().any(|line| line.starts_with("0::/") && line.contains(".service")) {
        // A service manager has given it one, with bounds of its own.
        return Ok(());
    }
    join(&root, bounds)
}

fn unified(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let at = before.split(' ').nth(4)?;
        (after.split(' ').next()? == "cgroup2").then(|| PathBuf::from(at))
    })
}

/// Makes the group with its bounds, and enters it.
fn join(root: &Path, bounds: Bounds) -> Result<(), String> {
    let words = |what: &Path| {
        let name = what.display().to_string();
        move |error: std::io::Error| format!("{name}: {error}")
    };
    let controllers = root.join("cgroup.controllers");
    let there = fs::read_to_string(&controllers).map_err(words(&controllers))?;
    let has = |name: &str| there.split_whitespace().any(|found| found == name);
    let group = root.join(GROUP);
    fs::create_dir_all(&group).map_err(words(&group))?;
    let period = 100_000_u64;
    let quota = u64::from(bounds.cpu_percent.max(1)) * period / 100;
    let files = [
        ("cpu", "cpu.max", format!("{quota} {period}")),
        ("memory", "memory.max", bounds.memory_bytes.to_string()),
        ("io", "io.weight", format!("default {}", bounds.io_weight)),
    ];
    let mut troubles = Vec::new();
    for (controller, file, value) in files {
        if !has(controller) {
            troubles.push(format!("this system has no controller {controller}"));
            continue;
        }
        let switch = root.join("cgroup.subtree_control");
        let file = group.join(file);
        let set = fs::write(&switch, format!("+{controller}")).map_err(words(&switch));
        let set = set.and_then(|()| fs::write(&file, value).map_err(words(&file)));
        troubles.extend(set.err());
    }
    let door = group.join("cgroup.procs");
    fs::write(&door, "0").map_err(words(&door))?;
    if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_made_with_its_bounds_where_there_are_controllers() {
        let root = std::env::temp_dir().join(format!("lifeboat-manners-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("cgroup.controllers"), "cpuset cpu memory pids\n").unwrap();
        let told = join(&root, Bounds::default()).unwrap_err();
        assert_eq!(told, "this system has no controller io");
        let file = |name: &str| fs::read_to_string(root.join(GROUP).join(name)).unwrap();
        assert_eq!(file("cpu.max"), "100000 100000");
        assert_eq!(file("memory.max"), (1_u64 << 30).to_string());
        assert_eq!(file("cgroup.procs"), "0");
        assert!(!root.join(GROUP).join("io.weight").exists());
        fs::remove_dir_all(root).unwrap();
        assert!(join(Path::new("/nowhere"), Bounds::default()).is_err());
    }

    #[test]
    fn control_groups_of_version_2_are_found() {
        let text = "35 23 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    38 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(unified(text), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        for bad in ["", "x", "1 2 3 - cgroup2", " - "] {
            assert_eq!(unified(bad), None);
        }
    }

    #[test]
    fn a_process_that_behaves_is_nice_idle_and_locked() {
        const CHILD: &str = "LIFEBOAT_TEST_BEHAVE";
        if std::env::var_os(CHILD).is_none() {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["a_process_that_behaves", "--nocapture"]).env(CHILD, "1");
            assert!(child.status().unwrap().success());
            return;
        }
        for words in behave(Bounds::default()) {
            eprintln!("done without: {words}");
        }
        assert!(manners::is_idle_on_disks().unwrap());
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
        assert!(!locked.contains(" 0 kB"), "{locked}");
        assert!(resident_bytes() > 0);
    }
}
