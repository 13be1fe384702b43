//! The tracker on the kernel that the tests run on, with loop devices as its disks: what is written is marked, the
//! counts agree, and a life of the agent goes on where the one before it ended.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use core::sync::atomic::Ordering;

use hal_linux::AlignedBuffer;
use hal_linux::bpf::Map;
use pipeline_agent::blocks::BlockSet;
use pipeline_agent::devices::{Leaf, leaves, leaves_of};
use pipeline_agent::tracker::{
    Attached, KernelTracker, Making, Options, Tracker as _, attach, probe, remove, trial, tried,
};

const BLOCK: u64 = 64 * 1024;
const MIB: u64 = 1 << 20;
/// Past the page cache.
const DIRECT: i32 = 0o40_000;

/// A file as a disk of requests.
struct Disk {
    folder: PathBuf,
    node: PathBuf,
    options: Options,
}

impl Disk {
    /// Nothing where this machine does not let us.
    fn new(name: &str, bytes: u64) -> Option<Self> {
        if let Err(error) = probe() {
            eprintln!("SKIPPED, not tested on this machine: {error}");
            return None;
        }
        let label = format!("agent-tracker-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(&label);
        fs::create_dir_all(&folder).unwrap();
        File::create(folder.join("disk")).unwrap().set_len(bytes).unwrap();
        let output = Command::new("losetup")
            .args(["--find", "--show", "--direct-io=off"])
            .arg(folder.join("disk"))
            .output();
        let output = output.unwrap();
        if !output.status.success() {
            eprintln!("SKIPPED, not tested on this machine: it gives us no loop device");
            return None;
        }
        let node = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let pins = Path::new("/sys/fs/bpf").join(label);
        Some(Self { folder, node, options: Options { pins, ..Options::default() } })
    }

    fn leaf(&self) -> Leaf {
        let name = self.node.file_name().unwrap().to_str().unwrap().to_owned();
        let fact = |fact: &str| fs::read_to_string(format!("/sys/block/{name}/{fact}")).unwrap();
        let number = fact("dev")
            .trim()
            .split_once(':')
            .map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
        Leaf {
            path: self.node.clone(),
            number: number.unwrap(),
            bytes: fact("size").trim().parse::<u64>().unwrap() * 512,
            sector_bytes: 512,
            identity: format!("path={}", self.node.display()),
            untracked: None,
            name,
        }
    }

    fn attach(&self) -> Attached {
        attach(&[self.leaf()], &self.options).unwrap()
    }

    /// Writes so many bytes, past the page cache.
    fn write(&self, at: u64, bytes: u64) {
        let file = OpenOptions::new().write(true).custom_flags(DIRECT).open(&self.node).unwrap();
        let mut buffer = AlignedBuffer::zeroed(usize::try_from(bytes).unwrap()).unwrap();
        buffer.as_mut().fill(0x5A);
        file.write_all_at(&buffer.as_ref()[..usize::try_from(bytes).unwrap()], at).unwrap();
    }

    fn grow(&self, bytes: u64) {
        File::options().write(true).open(self.folder.join("disk")).unwrap().set_len(bytes).unwrap();
        assert!(
            Command::new("losetup")
                .arg("--set-capacity")
                .arg(&self.node)
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        remove(&self.options.pins).unwrap();
        let _ = Command::new("losetup").arg("--detach").arg(&self.node).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn taken(tracker: &mut KernelTracker, blocks: u64) -> Vec<u64> {
    let mut set = BlockSet::new(blocks);
    tracker.take(0, &mut set).unwrap();
    set.iter().collect()
}

#[test]
fn what_is_written_is_marked_and_the_counts_agree() {
    let Some(disk) = Disk::new("marks", 64 * MIB) else { return };
    let Attached { mut tracker, continued, remarks } = disk.attach();
    assert_eq!(continued, [false]);
    println!("{remarks:?}");
    assert_eq!(taken(&mut tracker, 1024), [0; 0]);
    disk.write(3 * BLOCK, 512);
    disk.write(BLOCK * 11 - 512, 1024);
    disk.write(100 * BLOCK, 20 * BLOCK);
    let expected: Vec<u64> = [3, 10, 11].into_iter().chain(100..120).collect();
    let found = taken(&mut tracker, 1024);
    assert!(expected.iter().all(|block| found.contains(block)), "{found:?}");
    assert!(
        found.iter().all(|block| [3, 10, 11].contains(block) || (96..128).contains(block)),
        "{found:?}"
    );
    assert_eq!(taken(&mut tracker, 1024), [0; 0], "taken is taken");
    assert_eq!(tracker.written_bytes(), 512 + 1024 + 20 * BLOCK);
    let audit = tracker.audit();
    assert_eq!((audit.incomplete, audit.words), (vec![], vec![]));
    // The kernel's own discards, and zeros.
    for (option, at) in [("--zeroout", 40 * MIB), ("--force", 20 * MIB)] {
        let mut command = Command::new("blkdiscard");
        command.args([option, "--offset", &at.to_string(), "--length", &(3 * MIB).to_string()]);
        assert!(command.arg(&disk.node).status().unwrap().success());
        let found = taken(&mut tracker, 1024);
        let wanted = at / BLOCK..(at + 3 * MIB) / BLOCK;
        assert!(wanted.clone().all(|block| found.contains(&block)), "{option}: {found:?}");
    }
    let audit = tracker.audit();
    assert_eq!((audit.incomplete, audit.words), (vec![], vec![]));
    tracker.remove().unwrap();
}

#[test]
fn a_huge_discard_marks_all_that_it_covers() {
    let Some(disk) = Disk::new("huge", 6 << 30) else { return };
    let mut tracker = disk.attach().tracker;
    let (first, end) = (7 * BLOCK, (6 << 30) - 9 * BLOCK);
    let mut command = Command::new("blkdiscard");
    command.args(["--offset", &first.to_string(), "--length", &(end - first).to_string()]);
    assert!(command.arg(&disk.node).status().unwrap().success());
    let blocks = (6 << 30) / BLOCK;
    let mut set = BlockSet::new(blocks);
    tracker.take(0, &mut set).unwrap();
    assert!((7..blocks - 9).all(|block| set.contains(block)), "{}", set.count());
    assert_eq!(tracker.audit().words, [""; 0]);
    tracker.remove().unwrap();
}

#[test]
fn another_life_of_the_agent_misses_nothing() {
    let Some(disk) = Disk::new("life", 64 * MIB) else { return };
    let mut first = disk.attach().tracker;
    if !first.is_pinned() {
        eprintln!("SKIPPED, not tested on this machine: nothing can be pinned");
        return;
    }
    disk.write(5 * BLOCK, BLOCK);
    assert_eq!(taken(&mut first, 1024), [5]);
    first.cut(1);
    disk.write(6 * BLOCK, BLOCK);
    drop(first);
    // The agent is dead.
    disk.write(7 * BLOCK, BLOCK);
    let Attached { tracker: mut second, continued, .. } = disk.attach();
    assert_eq!(continued, [true]);
    assert_eq!(taken(&mut second, 1024), [6, 7]);
    let mut held = BlockSet::new(1024);
    second.held(0, &mut held);
    assert_eq!(held.iter().collect::<Vec<_>>(), [4, 5, 6, 7], "two blocks share a bit");
    assert_eq!(second.audit().words, [""; 0], "also over the time between");
    second.resend(2);
    second.cut(2);
    second.vaulted(2);
    second.cut(3);
    second.vaulted(3);
    held.clear();
    second.held(0, &mut held);
    assert!(held.is_empty(), "{:?}", held.iter().collect::<Vec<_>>());
    second.remove().unwrap();
    disk.write(8 * BLOCK, BLOCK);
    let Attached { tracker: mut third, continued, .. } = disk.attach();
    assert_eq!(continued, [false], "what was removed left nothing");
    assert_eq!(taken(&mut third, 1024), [0; 0]);
}

#[test]
fn that_a_disk_was_sent_whole_is_known_with_its_marks_and_goes_with_them() {
    let Some(disk) = Disk::new("whole", 16 * MIB) else { return };
    let mut first = disk.attach().tracker;
    assert!(!first.is_whole(0), "of new marks nobody knows");
    drop(first);
    first = disk.attach().tracker;
    assert!(!first.is_whole(0), "and nobody said so since");
    first.set_whole(0, true);
    drop(first);
    let second = disk.attach().tracker;
    assert!(second.is_whole(0), "another life, the same marks");
    disk.grow(32 * MIB);
    let larger = second.follow(&[disk.leaf()], &disk.options).unwrap();
    assert_eq!((larger.continued, larger.tracker.is_whole(0)), (vec![true], true));
    drop(larger.tracker);
    remove(&disk.options.pins).unwrap();
    assert!(!disk.attach().tracker.is_whole(0), "other marks");
}

/// As if programs had not run for 8 sectors, and as if a command had gone past the block layer.
const MISSES: [(usize, u64); 2] = [(6, 8_u64.wrapping_neg()), (4, 1)];

/// Changes what the programs counted of the only disk of the only set.
fn miss(disk: &Disk, (counter, by): (usize, u64)) {
    let set = fs::read_dir(&disk.options.pins).unwrap().next().unwrap().unwrap().path();
    let slots = Map::pinned(&set.join("slots")).unwrap();
    slots.words().unwrap()[counter].fetch_add(by, Ordering::SeqCst);
}

#[test]
fn what_an_audit_found_is_found_again_until_it_is_obeyed_also_by_another_life() {
    for missed in MISSES {
        let Some(disk) = Disk::new(&format!("obeyed{}", missed.0), 16 * MIB) else { return };
        let mut tracker = disk.attach().tracker;
        disk.write(0, BLOCK);
        miss(&disk, missed);
        for _ in 0..2 {
            assert_eq!(tracker.audit().incomplete, [0], "the point may come to nothing");
        }
        drop(tracker);
        let again = disk.attach();
        tracker = again.tracker;
        assert_eq!((again.continued, tracker.audit().incomplete), (vec![true], vec![0]));
        disk.write(0, BLOCK);
        tracker.doubted(0);
        assert_eq!(tracker.audit().words, [""; 0]);
        miss(&disk, missed);
        tracker.doubted(0);
        assert_eq!(tracker.audit().incomplete, [0], "what no audit found yet cannot be obeyed");
    }
}

#[test]
fn a_write_that_was_missed_is_not_forgotten_with_the_set_that_missed_it() {
    for missed in MISSES {
        let Some(disk) = Disk::new(&format!("parting{}", missed.0), 16 * MIB) else { return };
        let mut tracker = disk.attach().tracker;
        tracker.set_whole(0, true);
        miss(&disk, missed);
        disk.grow(32 * MIB);
        let larger = tracker.follow(&[disk.leaf()], &disk.options).unwrap();
        println!("{:?}", larger.remarks);
        assert_eq!((larger.continued, larger.tracker.is_whole(0)), (vec![false], false));
        drop(larger.tracker);
        let next = disk.attach();
        assert_eq!((next.continued, next.tracker.is_whole(0)), (vec![true], false), "for good");
    }
}

/// The agent was killed while it put a new set of maps in the place of an old one.
#[test]
fn a_set_that_is_not_whole_is_left_for_the_one_before_it() {
    /// Where a map says that nothing of the one before is missing in it.
    const WHOLE_AT: usize = 3;
    let Some(disk) = Disk::new("half", 16 * MIB) else { return };
    let first = disk.attach().tracker;
    disk.write(5 * BLOCK, BLOCK);
    drop(first);
    let other = Options { pins: disk.options.pins.with_extension("other"), ..Options::default() };
    let pins = other.pins.to_string_lossy().replace('.', "-");
    let other = Options { pins: PathBuf::from(pins), ..other };
    drop(attach(&[disk.leaf()], &other).unwrap());
    let held = Map::pinned(&other.pins.join("1/held")).unwrap();
    let words = held.words().unwrap();
    assert_eq!(words[WHOLE_AT].swap(0, Ordering::SeqCst), 1);
    fs::rename(other.pins.join("1"), disk.options.pins.join("2")).unwrap();
    fs::remove_dir(&other.pins).unwrap();
    let Attached { mut tracker, continued, remarks } = disk.attach();
    println!("{remarks:?}");
    assert_eq!(continued, [true]);
    assert_eq!(taken(&mut tracker, 256), [5]);
    assert!(!disk.options.pins.join("2").exists());
}

#[test]
fn a_disk_that_grows_is_noticed_and_followed_without_a_gap() {
    let Some(disk) = Disk::new("grows", 64 * MIB) else { return };
    let mut tracker = disk.attach().tracker;
    disk.write(2 * BLOCK, BLOCK);
    assert_eq!(tracker.outgrown(), [0; 0]);
    disk.grow(96 * MIB);
    disk.write(80 * MIB, BLOCK);
    disk.write(64 * MIB - BLOCK, 2 * BLOCK);
    assert_eq!(tracker.outgrown(), [0]);
    let audit = tracker.audit();
    assert_eq!(audit.incomplete, [0; 0], "nothing is lost by it: {:?}", audit.words);
    assert!(audit.words[0].contains("grown"), "{:?}", audit.words);
    let Attached { tracker: mut larger, continued, remarks } =
        tracker.follow(&[disk.leaf()], &disk.options).unwrap();
    println!("{remarks:?}");
    assert_eq!(continued, [true]);
    assert_eq!(larger.outgrown(), [0; 0]);
    let expected: Vec<u64> = [2].into_iter().chain(1023..1536).collect();
    assert_eq!(taken(&mut larger, 1536), expected);
    disk.write(90 * MIB, BLOCK);
    assert_eq!(taken(&mut larger, 1536), [1440]);
    assert_eq!(larger.audit().words, [""; 0]);
    larger.remove().unwrap();
    assert!(!disk.options.pins.exists());
}

#[test]
fn a_removed_disk_is_forgotten_and_what_comes_under_its_number_is_another() {
    let Some(disk) = Disk::new("gone", 16 * MIB) else { return };
    let mut tracker = disk.attach().tracker;
    tracker.forget(0);
    disk.write(0, BLOCK);
    assert!(tracker.take(0, &mut BlockSet::new(256)).unwrap_err().contains("removed"));
    let again = tracker.follow(&[disk.leaf()], &disk.options).unwrap();
    assert_eq!(again.continued, [false]);
    let other = Leaf { identity: "serial=other".into(), ..disk.leaf() };
    let other = again.tracker.follow(&[other], &disk.options).unwrap();
    assert_eq!(other.continued, [false]);
    let untracked = Leaf { untracked: Some("of its driver".into()), ..disk.leaf() };
    let both = other.tracker.follow(&[untracked, disk.leaf()], &disk.options).unwrap();
    let mut tracker = both.tracker;
    assert!(tracker.take(0, &mut BlockSet::new(256)).unwrap_err().contains("driver"));
    disk.write(5 * BLOCK, BLOCK);
    let mut set = BlockSet::new(256);
    tracker.take(1, &mut set).unwrap();
    assert_eq!(set.iter().collect::<Vec<_>>(), [5]);
}

#[test]
fn a_set_without_its_programs_is_of_no_use() {
    let Some(disk) = Disk::new("blind", 16 * MIB) else { return };
    let tracker = disk.attach().tracker;
    let mut tracker = tracker;
    disk.write(0, BLOCK);
    // As if the programs had not run for a while.
    drop(tracker);
    let pinned = fs::read_dir(&disk.options.pins).unwrap().next().unwrap().unwrap().path();
    for entry in fs::read_dir(&pinned).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("link") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    disk.write(BLOCK, BLOCK);
    let attached = disk.attach();
    println!("{:?}", attached.remarks);
    assert_eq!(attached.continued, [false], "without its programs it is of no use");
    tracker = attached.tracker;
    let making = Making { copies: 1, ..Making::default() };
    let options = Options { making, pins: disk.options.pins.join("other") };
    let one = attach(&[disk.leaf()], &options).unwrap().tracker;
    disk.write(2 * BLOCK, BLOCK);
    assert_eq!(taken(&mut tracker, 256), [2]);
    one.remove().unwrap();
}

#[test]
fn a_terabyte_takes_less_than_20_mib() {
    let Some(disk) = Disk::new("large", 1 << 40) else { return };
    let mut tracker = disk.attach().tracker;
    let bytes = tracker.memory_bytes();
    println!("{bytes} bytes for 1 TiB");
    assert!(bytes < 20 * MIB, "{bytes}");
    disk.write((1 << 40) - BLOCK, BLOCK);
    assert_eq!(taken(&mut tracker, (1 << 40) / BLOCK), [(1 << 24) - 1]);
}

#[test]
fn a_tracker_that_does_not_see_a_write_of_our_own_is_given_up_and_leaves_nothing() {
    let folder = std::env::temp_dir().join(format!("agent-tracker-{}-trial", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let device = fs::metadata(&folder).unwrap().dev();
    let below = leaves_of((rustix::fs::major(device), rustix::fs::minor(device)));
    let leaves: Vec<Leaf> =
        leaves().into_iter().filter(|leaf| below.contains(&leaf.name)).collect();
    if leaves.is_empty() || leaves.iter().any(|leaf| leaf.untracked.is_some()) || probe().is_err() {
        eprintln!("SKIPPED, not tested on this machine: {below:?} cannot be tracked");
        return;
    }
    let pins = Path::new("/sys/fs/bpf").join(folder.file_name().unwrap());
    let options = Options { pins: pins.clone(), ..Options::default() };
    let attached = attach(&leaves, &options).unwrap();
    assert_eq!(trial(&attached.tracker, &leaves, &folder), Ok(true));
    assert_eq!(trial(&attached.tracker, &[], &folder), Ok(false), "another disk is below it");
    assert_eq!(trial(&attached.tracker, &leaves, Path::new("/proc")), Ok(false));
    let mut attached = tried(attached, &leaves, &folder).unwrap();
    // As if the programs saw nothing of it.
    attached.tracker.forget(0);
    let why = tried(attached, &leaves, &folder).unwrap_err();
    assert!(why.contains("did not see it") && why.contains("is compared"), "{why}");
    assert!(!pins.exists(), "it is still in the kernel");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "the file of the trial is left");
    fs::remove_dir(&folder).unwrap();
}

#[test]
fn what_goes_over_to_the_next_start_is_seen_without_being_taken() {
    let Some(disk) = Disk::new("restart", 64 * MIB) else { return };
    let Attached { mut tracker, .. } = disk.attach();
    disk.write(5 * BLOCK, 4096);
    assert!(!tracker.note_face(0, &[7; 32]), "it was written to");
    let mut blocks = BlockSet::new(1024);
    blocks.insert(100);
    assert!(tracker.go_on_from(0, &blocks, 3).is_err(), "its first writes were not seen");
    assert!(!tracker.is_whole(0) && tracker.goes_on_from(0).is_none());
    tracker.hold(0, 8, 10);
    tracker.ended();
    drop(tracker);
    let looks = KernelTracker::take_up(&[disk.leaf()], &disk.options.pins).unwrap();
    assert!(looks.has_ended());
    for _ in 0..2 {
        let mut seen = BlockSet::new(1024);
        looks.look(0, &mut seen).unwrap();
        assert_eq!(seen.iter().collect::<Vec<_>>(), [5, 8, 9]);
    }
    assert_eq!(looks.missed(0), None);
    drop(looks);
    let mut tracker = disk.attach().tracker;
    tracker.begun();
    assert!(!tracker.has_ended());
    assert_eq!(taken(&mut tracker, 1024), [5]);
    let other = Leaf { identity: "serial=other".to_owned(), ..disk.leaf() };
    let looks = KernelTracker::take_up(&[other], &disk.options.pins).unwrap();
    assert!(looks.look(0, &mut blocks).is_err(), "another disk under the same number");
}
