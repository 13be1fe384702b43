//! Whether a server can be protected: yes or no for each disk, with the reason, and what to do.
//!
//! It only looks: nothing is changed, nothing is left in the kernel.

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;

use serde::Serialize;

use crate::devices::{self, FileSystem, Leaf};
use crate::state::State;
use crate::tracker;

/// Memory that the agent has beside what goes with the size of disks, with all that may be on its way to an appliance.
const BASE_BYTES: u64 = 64 << 20;
/// Memory for each TiB of disk: 20 MiB of the kernel's, and 20 of the agent's own while a point is made.
const TIB_BYTES: u64 = 40 << 20;
/// How long an appliance may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Kinds of file systems that freeze.
const FREEZE: [&str; 11] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "nilfs2", "gfs2", "bcachefs",
];

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "yes, no, or yes with something to know")]
pub enum Verdict {
    /// As it should be.
    Yes,
    /// It works, and there is something to know.
    Know,
    /// It does not.
    No,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: a disk, a file system, the kernel.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// What to do; nothing where nothing is to be done.
    pub remedy: String,
}

impl Finding {
    fn new(
        what: impl Into<String>,
        verdict: Verdict,
        why: impl Into<String>,
        remedy: &str,
    ) -> Self {
        Self { what: what.into(), verdict, why: why.into(), remedy: remedy.to_owned() }
    }
}

/// Looks at everything.
#[must_use]
pub fn findings(state: &State) -> Vec<Finding> {
    let leaves = devices::leaves();
    let tracking = tracker::probe();
    let mut findings = vec![kernel(&tracking)];
    findings.extend(leaves.iter().map(|leaf| disk(leaf, tracking.is_ok())));
    if leaves.is_empty() {
        let why = "this server has no disk of its own";
        findings.push(Finding::new(
            "disks",
            Verdict::No,
            why,
            "protect the machine that has its disks",
        ));
    }
    findings.extend(devices::file_systems().iter().filter_map(file_system));
    findings.extend(swap(&read("/proc/swaps")));
    findings.extend(stacks(Path::new("/sys/block")));
    findings.extend(memory(&read("/proc/meminfo"), &leaves));
    findings.extend(raw_writers(Path::new("/proc"), &leaves));
    findings.extend(appliances(state));
    findings
}

/// The findings as a table for people.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { what, verdict, why, remedy } in findings {
        let word = match verdict {
            Verdict::Yes => "yes",
            Verdict::Know => "yes, but",
            Verdict::No => "no",
        };
        let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{word:<9}{what}: {why}{remedy}");
    }
    text
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn kernel(tracking: &Result<(), String>) -> Finding {
    let lockdown = read("/sys/kernel/security/lockdown");
    let lockdown = lockdown.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let lockdown = lockdown.map_or("none", |(word, _)| word);
    match tracking {
        Ok(()) => {
            let why = format!("it tracks changed blocks (lockdown: {lockdown})");
            Finding::new("kernel", Verdict::Yes, why, "")
        }
        Err(why) => {
            let why = format!(
                "changed blocks cannot be tracked: {why} (lockdown: {lockdown}); every point needs a comparison of all \
                 disks, and is of no one instant"
            );
            Finding::new(
                "kernel",
                Verdict::Know,
                why,
                "a newer kernel of the distribution mostly helps",
            )
        }
    }
}

fn disk(leaf: &Leaf, tracking: bool) -> Finding {
    let size = leaf.bytes >> 20;
    let what = format!("{} ({size} MiB)", leaf.name);
    if let Some(why) = &leaf.untracked {
        let why = format!("changes of it cannot be tracked: {why}; it is compared for each point");
        return Finding::new(
            what,
            Verdict::Know,
            why,
            "leave it out of the policy if nobody needs it",
        );
    }
    if !tracking {
        let why = "it is compared for each point, since this kernel tracks nothing";
        return Finding::new(what, Verdict::Know, why, "");
    }
    match fs::File::open(&leaf.path) {
        Ok(_) => Finding::new(what, Verdict::Yes, "it is tracked", ""),
        Err(error) => Finding::new(
            what,
            Verdict::No,
            format!("it cannot be opened: {error}"),
            "run this as root",
        ),
    }
}

fn file_system(system: &FileSystem) -> Option<Finding> {
    if system.read_only || FREEZE.contains(&system.kind.as_str()) {
        return None;
    }
    let what = system.at.display().to_string();
    let why =
        format!("{} cannot be frozen: it is written out before each point, no more", system.kind);
    Some(Finding::new(what, Verdict::Know, why, ""))
}

fn swap(swaps: &str) -> Option<Finding> {
    let areas = swaps.lines().skip(1).count();
    let why = format!("{areas} areas are in use; what they hold is not sent, their headers are");
    (areas > 0).then(|| Finding::new("swap", Verdict::Yes, why, ""))
}

/// What stands on top of disks: the disks below are what is protected.
fn stacks(block: &Path) -> Vec<Finding> {
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(block).into_iter().flatten().flatten() {
        let uuid = fs::read_to_string(entry.path().join("dm/uuid")).unwrap_or_default();
        if entry.path().join("md").exists() {
            kinds.insert(("md", "each of its disks is sent"));
        } else if uuid.starts_with("CRYPT-") {
            kinds.insert((
                "LUKS",
                "what is sent is encrypted as it lies on the disk, and does not compress",
            ));
        } else if uuid.starts_with("LVM-") {
            kinds.insert(("LVM", "its physical volumes are what is sent"));
        }
    }
    kinds.into_iter().map(|(what, why)| Finding::new(what, Verdict::Yes, why, "")).collect()
}

/// Memory that the agent and the kernel need for these disks.
#[must_use]
pub fn memory_bytes(leaves: &[Leaf]) -> u64 {
    let disks: u128 = leaves.iter().map(|leaf| u128::from(leaf.bytes)).sum();
    let of_disks = u64::try_from((disks * u128::from(TIB_BYTES)) >> 40).unwrap_or(u64::MAX);
    BASE_BYTES.saturating_add(of_disks)
}

fn memory(meminfo: &str, leaves: &[Leaf]) -> Option<Finding> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)?;
    let need = memory_bytes(leaves);
    let why = format!("{} MiB are free, {} MiB are needed", free >> 20, need >> 20);
    let (verdict, remedy) = if free >= need {
        (Verdict::Yes, "")
    } else {
        (Verdict::No, "free memory, or leave disks out")
    };
    Some(Finding::new("memory", verdict, why, remedy))
}

/// Programs that have a disk itself open for writing: no freeze stills them.
fn raw_writers(proc: &Path, leaves: &[Leaf]) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    for process in fs::read_dir(proc).into_iter().flatten().flatten() {
        for descriptor in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let disk = leaves.iter().find(|leaf| is_of(&target, leaf));
            let number = descriptor.file_name();
            let info = process.path().join("fdinfo").join(number);
            let writes = fs::read_to_string(info).is_ok_and(|info| is_for_writing(&info));
            if let Some(leaf) = disk.filter(|_| writes) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                found.insert((leaf.name.clone(), name.trim().to_owned()));
            }
        }
    }
    let words = |(disk, program): (String, String)| {
        let why =
            format!("{program} has it open for writing: no freeze of file systems stills that");
        let remedy = "use an application-consistent point with a hook for that program";
        Finding::new(disk, Verdict::Know, why, remedy)
    };
    found.into_iter().map(words).collect()
}

/// Whether a path is a disk or one of its partitions.
fn is_of(path: &Path, leaf: &Leaf) -> bool {
    let (Some(path), Some(disk)) = (path.to_str(), leaf.path.to_str()) else { return false };
    path.strip_prefix(disk).is_some_and(|rest| {
        rest.trim_start_matches('p').chars().all(|letter| letter.is_ascii_digit())
    })
}

fn is_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 3 != 0)
}

fn appliances(state: &State) -> Vec<Finding> {
    let enrolment = match state.enrolment() {
        Ok(Some(enrolment)) => enrolment,
        Ok(None) => {
            let why = "this server is not enrolled yet";
            let remedy = "where lifeboat serve runs, make a token (lifeboat server token), then: lifeboat-agent enrol TOKEN";
            return vec![Finding::new("appliance", Verdict::Know, why, remedy)];
        }
        Err(why) => return vec![Finding::new("appliance", Verdict::No, why, "")],
    };
    let reach = |text: &String| {
        let reached =
            text.parse::<SocketAddr>().map_err(|error| error.to_string()).and_then(|address| {
                TcpStream::connect_timeout(&address, CONNECT).map_err(|error| error.to_string())
            });
        match reached {
            Ok(_) => Finding::new(format!("appliance {text}"), Verdict::Yes, "it is reached", ""),
            Err(why) => {
                let remedy =
                    "see that the appliance runs, and that firewalls let this server reach it";
                Finding::new(format!("appliance {text}"), Verdict::No, why, remedy)
            }
        }
    };
    enrolment.addresses.iter().map(reach).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str, bytes: u64) -> Leaf {
        Leaf {
            name: name.to_owned(),
            path: format!("/dev/{name}").into(),
            number: (8, 0),
            bytes,
            sector_bytes: 512,
            identity: String::new(),
            untracked: None,
        }
    }

    #[test]
    fn a_disk_that_is_not_tracked_says_why_and_what_follows() {
        let bad =
            Leaf { untracked: Some("it is a pmem disk".to_owned()), ..leaf("pmem0", 1 << 30) };
        let found = disk(&bad, true);
        assert!(found.verdict == Verdict::Know && found.why.contains("pmem disk"), "{found:?}");
        assert_eq!(disk(&leaf("null-such", 1 << 30), true).verdict, Verdict::No);
        assert_eq!(disk(&leaf("sda", 1 << 30), false).verdict, Verdict::Know);
    }

    #[test]
    fn memory_is_weighed_against_the_disks() {
        let info = "MemTotal: 1 kB\nMemAvailable:  204800 kB\n";
        let small = memory(info, &[leaf("sda", 1 << 40)]).unwrap();
        assert_eq!(small.verdict, Verdict::Yes, "{small:?}");
        let large = memory(info, &[leaf("sda", 8 << 40)]).unwrap();
        assert_eq!(large.verdict, Verdict::No, "{large:?}");
        assert_eq!(memory("", &[]), None);
    }

    #[test]
    fn partitions_belong_to_their_disk_and_writers_are_known_by_their_flags() {
        assert!(is_of(Path::new("/dev/sda"), &leaf("sda", 1)));
        assert!(is_of(Path::new("/dev/sda12"), &leaf("sda", 1)));
        assert!(is_of(Path::new("/dev/nvme0n1p2"), &leaf("nvme0n1", 1)));
        assert!(!is_of(Path::new("/dev/sdaa"), &leaf("sda", 1)));
        assert!(is_for_writing("pos:\t0\nflags:\t0100002\n"));
        assert!(!is_for_writing("pos:\t0\nflags:\t0100000\n"));
    }

    #[test]
    fn file_systems_that_do_not_freeze_are_named() {
        let of = |kind: &str, read_only: bool| FileSystem {
            at: "/boot/efi".into(),
            kind: kind.to_owned(),
            number: (8, 1),
            leaves: vec!["sda".to_owned()],
            read_only,
        };
        assert!(file_system(&of("vfat", false)).unwrap().why.contains("vfat"));
        assert_eq!(file_system(&of("ext4", false)), None);
        assert_eq!(file_system(&of("vfat", true)), None);
        let table = table(&[file_system(&of("vfat", false)).unwrap()]);
        assert!(table.starts_with("yes, but /boot/efi: vfat cannot be frozen"), "{table}");
    }
}
